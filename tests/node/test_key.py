"""The node's key: found, read with suspicion, or made; once, whole, whatever happens meanwhile."""

import errno
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import pytest

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config import settings as config
from chef_failover.config.settings import Config
from chef_failover.errors import KeyFileError
from chef_failover.node import key as node_key
from chef_failover.node import key_file
from chef_failover.node.key import ClientKey, Places, places
from tests.support.crash import deaths
from tests.support.parts import require_program


@pytest.fixture(scope="module")
def keys():
    return tuple(PrivateKey.generate(2048) for _ in range(3))


def a_config(directory, node=""):
    return config.parse(f"node: {{name: web-1, {node}}}\nstate_dir: {directory}")


def client_key(directory, *, generate=PrivateKey.generate, configured=None, credential=None, adoptable=()):
    where = Places(directory, configured=configured, credential=credential, adoptable=adoptable)
    return ClientKey(a_config(directory), "web-1", where=where, generate=generate)


def put(path, key, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key.private_pem())
    path.chmod(mode)
    return path


def same(one, other):
    return one is not None and one.public_pem() == other.public_pem()


def names(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != key_file.LOCK_NAME)


def never(bits):
    raise AssertionError("no key is to be made here")


# --- making one


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_a_key_is_made_once_and_is_0600_whatever_the_umask(tmp_path, umask, keys):
    before = os.umask(umask)
    try:
        key = client_key(tmp_path, generate=lambda bits: keys[0]).ensure()
    finally:
        os.umask(before)
    assert same(key, keys[0])
    assert names(tmp_path) == ["client.pem", "client.pub"]
    assert stat.S_IMODE((tmp_path / "client.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "client.pub").stat().st_mode) == 0o644
    assert (tmp_path / "client.pub").read_bytes() == keys[0].public_pem()
    assert same(client_key(tmp_path, generate=never).ensure(), keys[0])


def test_its_length_is_as_configured(tmp_path):
    asked = []

    def generate(bits):
        asked.append(bits)
        return PrivateKey.generate(bits)

    for bits, more in ((2048, ""), (3072, "key_bits: 3072")):
        directory = tmp_path / str(bits)
        directory.mkdir()
        ClientKey(a_config(directory, more), "web-1", where=Places(directory, adoptable=()), generate=generate).ensure()
        text = subprocess.run(
            ["openssl", "pkey", "-in", directory / "client.pem", "-noout", "-text"], capture_output=True, check=True
        ).stdout
        assert f"({bits} bit".encode() in text
    assert asked == [2048, 3072]


def test_ruby_reads_it(tmp_path, keys):
    ruby = require_program("ruby", "ruby")
    client_key(tmp_path, generate=lambda bits: keys[0]).ensure()
    code = (
        f'require "openssl"; print OpenSSL::PKey::RSA.new(IO.read("{tmp_path}/client.pem").strip, "").public_key.to_pem'
    )
    printed = subprocess.run([ruby, "-e", code], capture_output=True, text=True, check=True).stdout
    assert printed == keys[0].public_pem().decode()


def test_nothing_is_made_and_nothing_is_said_until_somebody_needs_it(tmp_path, caplog):
    key = client_key(tmp_path, generate=never)
    assert (key.signer(), key.private_key(), key.path_for_chef_client(), key.trouble) == (None, None, None, None)
    assert names(tmp_path) == []
    assert caplog.text == ""


def test_chef_client_gets_the_key_that_we_made(tmp_path, keys):
    key = client_key(tmp_path, generate=lambda bits: keys[0])
    key.ensure()
    assert key.path_for_chef_client() == tmp_path / "client.pem"
    request = type("Request", (), {"body": b"", "method": "GET", "url": "https://a/x", "headers": {}})()
    assert key.signer()("1.3")(request).headers["X-Ops-Userid"] == "web-1"


WALK = """
from pathlib import Path
from chef_failover.node import key_file
from chef_failover.chef.libcrypto import PrivateKey
key = PrivateKey.from_pem(Path({pem!r}).read_bytes())
def act():
    key_file.create(Path({directory!r}), key)
"""


@pytest.mark.parametrize("is_resumed", [False, True], ids=["each alone", "one after the other"])
def test_kill_9_at_every_step_leaves_no_key_or_a_whole_one(tmp_path, keys, is_resumed):
    mine = put(tmp_path / "mine.pem", keys[0])
    directory = tmp_path / "state"
    directory.mkdir()
    seen = set()
    for step in deaths(WALK.format(pem=str(mine), directory=str(directory)), "key_file.py"):
        seen.add(tuple(names(directory)))
        path = directory / "client.pem"
        was_there = path.exists()
        if was_there:
            assert path.read_bytes() == keys[0].private_pem(), step
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert key_file.is_ours(directory), step
        for left in directory.iterdir():
            assert left.name.endswith(".pub") or stat.S_IMODE(left.stat().st_mode) == 0o600 or ".pub" in left.name, step
        if is_resumed and not was_there:
            continue  # the next life starts on what this one has left
        after = client_key(directory, generate=never if was_there else lambda bits: keys[1]).ensure()
        assert same(after, keys[0] if was_there else keys[1]), step
        assert names(directory) == ["client.pem", "client.pub"], step
        assert key_file.is_ours(directory)
        shutil.rmtree(directory)
        directory.mkdir()
    assert step > 25
    assert {(), ("client.pem", "client.pub")} < seen
    assert (".client.pem.new", ".client.pub.new") in seen
    assert (".client.pem.new", "client.pem", "client.pub") in seen


def test_two_processes_at_once_end_with_one_key(tmp_path):
    code = """
import sys
from chef_failover.config import settings as config
from chef_failover.node.key import ClientKey, Places
from pathlib import Path
directory = Path(sys.argv[1])
key = ClientKey(config.parse(f"state_dir: {directory}"), "web-1", where=Places(directory, adoptable=()))
sys.stdin.readline()
print(key.ensure().public_pem().decode())
"""
    for attempt in range(2):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        command = [sys.executable, "-c", code, str(directory)]
        makers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        for maker in makers:
            maker.stdin.write("\n")
            maker.stdin.flush()
        printed = {maker.communicate(timeout=60)[0] for maker in makers}
        assert len(printed) == 1
        assert printed.pop().strip().encode() == (directory / "client.pub").read_bytes().strip()
        assert names(directory) == ["client.pem", "client.pub"]
        assert key_file.is_ours(directory)


def test_many_threads_make_one_key(tmp_path, keys):
    made, results = [], []

    def generate(bits):
        made.append(bits)
        return keys[len(made) - 1]

    key = client_key(tmp_path, generate=generate)
    threads = [threading.Thread(target=lambda: results.append(key.ensure().public_pem())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [2048]
    assert set(results) == {keys[0].public_pem()}


def test_probes_go_on_unsigned_while_a_key_is_being_made(tmp_path, keys):
    begun, go_on = threading.Event(), threading.Event()

    def slow(bits):
        begun.set()
        assert go_on.wait(60)
        return keys[0]

    key = client_key(tmp_path, generate=slow)
    thread = threading.Thread(target=key.ensure)
    thread.start()
    assert begun.wait(60)
    assert key.signer() is None
    go_on.set()
    thread.join()
    assert key.signer() is not None


def test_a_key_that_appears_while_we_make_one_is_kept(tmp_path, keys):
    def slow(bits):
        put(tmp_path / "client.pem", keys[1])
        return keys[0]

    assert same(client_key(tmp_path, generate=slow).ensure(), keys[1])
    assert names(tmp_path) == ["client.pem"]
    assert not key_file.is_ours(tmp_path)


def test_one_that_appears_at_the_last_instant_is_kept_and_is_not_ours(tmp_path, keys, monkeypatch):
    link = os.link

    def too_late(source, target, **more):
        put(tmp_path / "client.pem", keys[1])
        link(source, target, **more)

    monkeypatch.setattr(os, "link", too_late)
    assert same(client_key(tmp_path, generate=lambda bits: keys[0]).ensure(), keys[1])
    assert names(tmp_path) == ["client.pem", "client.pub"]
    assert not key_file.is_ours(tmp_path)


def test_a_link_laid_in_the_way_of_a_new_key_is_not_followed(tmp_path, keys):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    state = tmp_path / "state"
    state.mkdir()
    for name in key_file.LEFTOVERS:
        (state / name).symlink_to(victim)
    client_key(state, generate=lambda bits: keys[0]).ensure()
    assert victim.read_text() == "precious"
    assert names(state) == ["client.pem", "client.pub"]


def test_a_key_that_a_dead_process_made_is_flushed_and_its_leftovers_go(tmp_path, keys, monkeypatch):
    put(tmp_path / "client.pem", keys[0])
    os.link(tmp_path / "client.pem", tmp_path / ".client.pem.new")
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    key = client_key(tmp_path, generate=never)
    assert same(key.ensure(), keys[0])
    assert names(tmp_path) == ["client.pem"]
    assert flushed == [tmp_path]
    key.ensure()
    assert flushed == [tmp_path]


# --- where none can be made


def _refused(key, caplog):
    with pytest.raises(KeyFileError) as refusal:
        key.ensure()
    with pytest.raises(KeyFileError):
        key.ensure()
    assert key.trouble == str(refusal.value)
    assert caplog.text.count(str(refusal.value)) == 1
    return str(refusal.value)


@pytest.mark.parametrize("call", ["open", "fchmod", "fsync", "link"])
def test_a_full_disk_leaves_nothing_and_is_said_once(tmp_path, keys, monkeypatch, caplog, call):
    key = client_key(tmp_path, generate=lambda bits: keys[0])
    genuine = getattr(os, call)

    def full(target, *arguments, **more):
        if call == "open" and not str(target).endswith(".new"):
            return genuine(target, *arguments, **more)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        said = _refused(key, caplog)
    assert said == f"node.client_key: cannot create a key in {tmp_path}: No space left on device"
    assert set(names(tmp_path)) <= {"client.pub"}
    assert same(key.ensure(), keys[0])
    assert key.trouble is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a file system")
def test_a_disk_that_is_really_full(tmp_path):
    unshare = require_program("unshare", "util-linux")
    code = """
import os, sys
from pathlib import Path
from chef_failover.config import settings as config
from chef_failover.errors import KeyFileError
from chef_failover.node.key import ClientKey, Places
directory = Path(sys.argv[1])
filler = directory / "filler"
key = ClientKey(config.parse(f"state_dir: {directory}"), "web-1", where=Places(directory, adoptable=()))
try:
    with filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
except OSError:
    pass
try:
    key.ensure()
except KeyFileError as error:
    print(error)
print(sorted({*os.listdir(directory)} - {".client.lock"}))
filler.unlink()
key.ensure()
print(sorted({*os.listdir(directory)} - {".client.lock"}))
"""
    script = f'mount -t tmpfs -o size=64k none {tmp_path} && exec "$0" -c "$1" {tmp_path}'
    command = [unshare, "--mount", "--propagation", "private", "sh", "-c", script, sys.executable, code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "mount" in ended.stderr:
        pytest.skip(f"nothing can be mounted here: {ended.stderr.strip()}")
    assert ended.stdout.splitlines() == [
        f"node.client_key: cannot create a key in {tmp_path}: No space left on device",
        "['filler']",
        "['client.pem', 'client.pub']",
    ], ended.stderr


def test_a_directory_that_we_may_not_write(tmp_path, keys, caplog, nobody):
    tmp_path.chmod(0o500)
    said = _refused(client_key(tmp_path, generate=lambda bits: keys[0]), caplog)
    assert said == f"node.client_key: cannot create a key in {tmp_path}: Permission denied"
    tmp_path.chmod(0o700)
    assert names(tmp_path) == []


def test_a_directory_that_is_not_there(tmp_path, keys, caplog):
    said = _refused(client_key(tmp_path / "gone", generate=lambda bits: keys[0]), caplog)
    assert said == f"node.client_key: cannot create a key in {tmp_path}/gone: No such file or directory"


def test_openssl_that_makes_no_such_key(tmp_path, caplog):
    def refuse(bits):
        raise ValueError("OpenSSL rejects this key")

    assert "OpenSSL rejects this key" in _refused(client_key(tmp_path, generate=refuse), caplog)


# --- finding one


def test_the_places_and_their_order(tmp_path, keys):
    own, chef, cinc = tmp_path / "state", tmp_path / "chef/client.pem", tmp_path / "cinc/client.pem"
    own.mkdir()
    credential = tmp_path / "credentials/client.pem"
    key = client_key(own, credential=credential, adoptable=(chef, cinc), generate=never)

    put(cinc, keys[0])
    assert same(key.ensure(), keys[0])
    assert key.path_for_chef_client() is None
    put(chef, keys[1])
    assert same(key.private_key(), keys[1])
    assert key.path_for_chef_client() is None
    put(own / "client.pem", keys[2])
    assert same(key.private_key(), keys[2])
    assert key.path_for_chef_client() == own / "client.pem"
    put(credential, keys[0])
    assert same(key.private_key(), keys[0])
    assert key.path_for_chef_client() is None
    configured = put(tmp_path / "node.pem", keys[1])
    named = client_key(own, configured=configured, credential=credential, adoptable=(chef,), generate=never)
    assert same(named.ensure(), keys[1])
    assert named.path_for_chef_client() == configured


def test_a_credential_that_is_a_copy_of_our_own_key_counts_as_our_own(tmp_path, keys):
    """Else chef-client, which has no other, would be told of none."""
    own = put(tmp_path / "state/client.pem", keys[0])
    credential = put(tmp_path / "credentials/client.pem", keys[0], mode=0o400)
    key = client_key(own.parent, credential=credential, generate=never)
    assert same(key.ensure(), keys[0])
    assert key.path_for_chef_client() == own
    put(own, keys[1])
    assert key.path_for_chef_client() is None, "it is another key now"
    own.unlink()
    own.symlink_to(credential)
    assert key.path_for_chef_client() is None, "no link is followed in our own directory"


def test_what_the_configuration_makes_of_the_places(tmp_path):
    environ = {"CREDENTIALS_DIRECTORY": "/run/credentials/chef-failover.service"}
    bare = Config(state_dir=tmp_path)
    assert node_key.places(bare, {}) == Places(tmp_path, adoptable=node_key.ADOPTABLE)
    credential = Path("/run/credentials/chef-failover.service/client.pem")
    assert node_key.places(bare, environ) == Places(tmp_path, credential=credential)
    elsewhere = a_config(tmp_path, "client_key: /etc/node.pem")
    assert node_key.places(elsewhere, environ) == Places(tmp_path, configured=Path("/etc/node.pem"), adoptable=())
    # Our own place, written down, asks for a key of its own whatever else the node has.
    own = a_config(tmp_path, f"client_key: {tmp_path}/client.pem")
    assert node_key.places(own, environ) == Places(tmp_path, adoptable=())


def test_a_credential_whose_file_was_missing_stops_nothing_and_makes_no_key(tmp_path, caplog):
    """What the documented drop-in has systemd hand over then; systemd itself is tried in tests/packaging."""
    drop_in = (Path(__file__).parents[2] / "packaging/examples/client-key.conf").read_text()
    told = dict(re.findall(r"^(Load|Set)Credential=client.pem:(.+)$", drop_in, re.MULTILINE))
    assert told["Load"] == str(node_key.ADOPTABLE[0])
    credential = tmp_path / "credentials/client.pem"
    credential.parent.mkdir()
    credential.write_text(told["Set"])
    said = _refused(client_key(tmp_path, credential=credential, generate=never), caplog)
    assert said.startswith(f"node.client_key: {credential}: LoadCredential found no file when the service started")
    assert names(tmp_path) == ["credentials"]


def test_a_configured_key_that_is_not_there_is_waited_for(tmp_path, keys, caplog):
    configured = tmp_path / "later.pem"
    key = client_key(tmp_path, configured=configured, generate=never)
    said = _refused(key, caplog)
    assert said.startswith(f"node.client_key: {configured}: No such file or directory; waiting for it")
    assert key.path_for_chef_client() == configured
    put(configured, keys[0])
    assert same(key.ensure(), keys[0])
    assert key.trouble is None
    assert names(tmp_path) == ["later.pem"]


def test_chef_clients_key_that_we_may_not_read_is_no_reason_to_make_another(tmp_path, keys, caplog, nobody):
    chef = put(tmp_path / "chef/client.pem", keys[0], mode=0)
    key = client_key(tmp_path, adoptable=(chef,), generate=never)
    said = _refused(key, caplog)
    assert said.startswith(f"node.client_key: {chef}: Permission denied; no new key is made")
    assert f"LoadCredential=client.pem:{chef}" in said
    assert key.path_for_chef_client() is None
    assert names(tmp_path) == ["chef"]
    chef.chmod(0o400)  # which changes neither its time nor its inode
    assert same(key.ensure(), keys[0])


def test_nor_is_one_that_we_cannot_even_see(tmp_path, keys, caplog, nobody):
    chef = put(tmp_path / "chef/client.pem", keys[0])
    chef.parent.chmod(0)
    try:
        said = _refused(client_key(tmp_path, adoptable=(chef,), generate=never), caplog)
    finally:
        chef.parent.chmod(0o700)
    assert said.startswith(f"node.client_key: cannot tell whether {chef} exists: Permission denied; chgrp ")


def test_nor_is_a_link_to_nothing(tmp_path, caplog):
    chef = tmp_path / "chef.pem"
    chef.symlink_to(tmp_path / "gone")
    assert "No such file" in _refused(client_key(tmp_path, adoptable=(chef,), generate=never), caplog)


def test_it_is_read_again_when_it_changes(tmp_path, keys, caplog):
    caplog.set_level(logging.INFO)
    path = put(tmp_path / "client.pem", keys[0])
    key = client_key(tmp_path)
    first = key.private_key()
    assert key.private_key() is first
    put(tmp_path / "other", keys[1]).replace(path)
    assert same(key.private_key(), keys[1])
    path.unlink()
    assert key.private_key() is None
    put(path, keys[1])
    assert same(key.private_key(), keys[1])
    assert caplog.text.count("the node's key is") == 1


def _ec(directory):
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", directory / "k"]
    subprocess.run(command, check=True)
    return (directory / "k").read_bytes()


def _ec_pkcs8(directory):
    _ec(directory)
    return subprocess.run(["openssl", "pkey", "-in", directory / "k"], capture_output=True, check=True).stdout


def _locked(directory, *more):
    (directory / "plain").write_bytes(PrivateKey.generate().private_pem())
    command = ["openssl", "rsa", "-in", directory / "plain", "-aes256", "-passout", "pass:x", *more]
    return subprocess.run(command, capture_output=True, check=True).stdout


UNUSABLE = {
    "EC": (_ec, "this is an EC key; Chef needs an RSA key"),
    "EC in PKCS#8": (_ec_pkcs8, "not an RSA private key"),
    "passphrase": (_locked, "the key has a passphrase"),
    "passphrase, PKCS#1": (lambda directory: _locked(directory, "-traditional"), "the key has a passphrase"),
    "public": (lambda directory: PrivateKey.generate().public_pem(), "this is a public key"),
    "certificate": (lambda directory: b"-----BEGIN CERTIFICATE-----", "this is a certificate"),
    "empty": (lambda directory: b"", "not an RSA private key"),
    "cut": (lambda directory: PrivateKey.generate().private_pem()[:900], "not an RSA private key"),
    "huge": (lambda directory: bytes(1 << 20), "it is longer than 64 KiB"),
}


@pytest.mark.parametrize("place", ["own", "configured", "adopted"])
@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_file_that_is_no_usable_key_is_said_and_left_alone(tmp_path, tmp_path_factory, caplog, kind, place):
    make, word = UNUSABLE[kind]
    content = make(tmp_path_factory.mktemp("made"))
    path = tmp_path / "client.pem"
    path.write_bytes(content)
    elsewhere = tmp_path / "state"
    elsewhere.mkdir()
    key = {
        "own": lambda: client_key(tmp_path, generate=never),
        "configured": lambda: client_key(elsewhere, configured=path, generate=never),
        "adopted": lambda: client_key(elsewhere, adoptable=(path,), generate=never),
    }[place]()
    said = _refused(key, caplog)
    assert said.startswith(f"node.client_key: {path}: {word}")
    assert path.read_bytes() == content
    body = content.splitlines()[1:-1]
    assert not any(line.decode() in caplog.text for line in body if len(line) > 20)
    assert key.signer() is None


def test_what_is_no_file_is_not_read(tmp_path, caplog):
    path = tmp_path / "client.pem"
    path.mkdir()
    assert "Is a directory" in _refused(client_key(tmp_path, generate=never), caplog)
    path.rmdir()
    os.mkfifo(path)
    assert "pipe" in _refused(client_key(tmp_path, generate=never), caplog)
    path.unlink()
    caplog.clear()
    path.symlink_to("/dev/zero")
    assert "pipe or a device" in _refused(client_key(tmp_path, configured=path, generate=never), caplog)


def test_in_our_own_directory_no_link_is_followed_elsewhere_root_may_lay_them(tmp_path, keys, caplog):
    real = put(tmp_path / "real.pem", keys[0])
    (tmp_path / "client.pem").symlink_to(real)
    assert "it is a symbolic link" in _refused(client_key(tmp_path, generate=never), caplog)
    assert same(client_key(tmp_path / "state", configured=tmp_path / "client.pem").ensure(), keys[0])


def test_pkcs1_is_read(tmp_path, keys):
    put(tmp_path / "plain", keys[0])
    command = ["openssl", "rsa", "-in", tmp_path / "plain", "-traditional", "-out", tmp_path / "client.pem"]
    subprocess.run(command, check=True, capture_output=True)
    assert b"BEGIN RSA PRIVATE KEY" in (tmp_path / "client.pem").read_bytes()
    assert same(client_key(tmp_path).private_key(), keys[0])
    assert not key_file.is_ours(tmp_path)


def test_a_key_that_servers_know_and_that_is_gone_for_a_moment_is_never_replaced(tmp_path):
    """Somebody repairs chef-client by moving its key away, and moves it back."""
    own, adopted = tmp_path / "own", tmp_path / "client.pem"
    own.mkdir()
    adopted.write_bytes(PrivateKey.generate().private_pem())
    where = Places(own, adoptable=(adopted,))
    key = ClientKey(config.parse(f"state_dir: {own}"), "web-1", where=where)
    before = key.ensure().public_pem()
    adopted.rename(tmp_path / "away.pem")
    with pytest.raises(KeyFileError, match="is missing; waiting for it") as caught:
        key.ensure()
    assert caught.value.is_passing
    assert names(own) == []
    (tmp_path / "away.pem").rename(adopted)
    assert key.ensure().public_pem() == before


def test_a_node_that_servers_know_makes_no_key_after_a_restart_either(tmp_path):
    where = Places(tmp_path, adoptable=())
    key = ClientKey(config.parse(f"state_dir: {tmp_path}"), "web-1", may_make=False, where=where)
    with pytest.raises(KeyFileError, match="seal --force"):
        key.ensure()


@pytest.mark.parametrize(
    ("text", "is_awaited"),
    [
        ("node: {name: n}\nservers: [{name: a, url: https://a, association: {provider: chef-server}}]", True),
        ("servers: [{name: a, url: https://a}]", False),
        ("node: {client_key: DIR/promised.pem}", True),
        ("node: {client_key: DIR/locked/client.pem}", False),
        ("node: {client_key: DIR/there.pem}", False),
    ],
    ids=["registering makes it", "nobody makes it", "promised", "where we may not look", "there"],
)
@pytest.mark.usefixtures("nobody")
def test_whether_a_key_is_to_come(tmp_path, text, is_awaited):
    (tmp_path / "there.pem").touch()
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o000)
    text = f"state_dir: {tmp_path}\n{text.replace('DIR', str(tmp_path))}"
    where = places(config.parse(text), {})
    where = attrs.evolve(where, adoptable=())
    assert ClientKey(config.parse(text), "web-1", where=where).is_awaited is is_awaited
    (tmp_path / "locked").chmod(0o700)


def test_a_key_that_servers_know_and_that_is_gone_is_not_to_come(tmp_path):
    text = f"{{state_dir: {tmp_path}, node: {{name: n}}, servers: [{{name: a, url: 'https://a'}}]}}"
    text = text.replace("'https://a'", "'https://a', association: {provider: chef-server}")
    where = Places(tmp_path, adoptable=())
    assert not ClientKey(config.parse(text), "web-1", may_make=False, where=where).is_awaited
