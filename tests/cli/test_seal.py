"""What makes a machine this node is taken from it, and nothing else."""

import datetime
import socket

import pytest

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.cli.seal import remove_all
from chef_failover.config import settings as config
from chef_failover.errors import SealError
from chef_failover.node import clone, key_file
from chef_failover.node import key as node_key
from chef_failover.state import document as state
from tests.support.crash import deaths
from tests.support.daemon_process import daemon, run, write_config

NOW = datetime.datetime.now(datetime.UTC)
A, B = "i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb"
UNASSOCIATED = {"mainserver": {"association": "unassociated", "chef_server_url": "https://a"}}


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "state").mkdir()
    written = tmp_path / "config.yml"
    written.write_text(f"state_dir: {tmp_path}/state\nlisten: {{socket: {tmp_path}/sidecar.sock}}\n")
    return written


@pytest.fixture
def directory(path):
    return path.parent / "state"


def sealed(path, *more):
    ended = run("seal", "--config", path, *more)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout.splitlines(), ended.stderr


def names(directory):
    return sorted(entry.name for entry in directory.iterdir())


def test_everything_that_we_made_goes_and_the_second_run_finds_nothing(path, directory, key):
    for former in (A, B):
        state.write(directory / "state.json", {"instance_id": former})
        key_file.create(directory, key)
        assert clone.set_aside(directory, B if former == A else A, NOW)
    key_file.create(directory, key)
    state.write(directory / "state.json", {"instance_id": A, "associations": UNASSOCIATED})
    for name in ("unassociated_servers.txt", ".state.json.new", "state.json.rejected", *key_file.LEFTOVERS):
        (directory / name).write_text("x")
    (directory / "notes.txt").write_text("the administrator's")
    before = names(directory)
    code, told, errors = sealed(path)
    assert (code, errors) == (0, "")
    assert sorted(told) == sorted(f"removed {directory / name}" for name in before if name != "notes.txt")
    assert told[-1] == f"removed {directory}/state.json"
    assert names(directory) == ["notes.txt"]
    assert sealed(path) == (0, [f"nothing to remove in {directory}"], "")


def test_a_node_that_was_sealed_makes_another_key(path, directory):
    loaded = config.load(path)
    where = node_key.Places(directory, adoptable=())
    first = node_key.ClientKey(loaded, "web-1", where=where).ensure()
    assert list(remove_all(loaded))
    second = node_key.ClientKey(loaded, "web-1", where=where).ensure()
    assert first.public_pem() != second.public_pem()


def test_nothing_to_remove_where_there_was_never_anything(path, directory):
    directory.rmdir()
    assert sealed(path) == (0, [f"nothing to remove in {directory}"], "")


def test_a_key_that_we_did_not_make_is_kept_and_told(path, directory, key):
    (directory / "client.pem").write_bytes(key.private_pem())
    state.write(directory / "state.json", {})
    kept = f"kept {directory}/client.pem: chef-failover did not make it; remove it before you take an image"
    assert sealed(path) == (0, [f"removed {directory}/state.json", kept], "")
    assert sealed(path) == (0, [f"nothing to remove in {directory}", kept], "")
    (directory / "client.pub").write_bytes(PrivateKey.generate().public_pem())
    assert sealed(path) == (0, [f"removed {directory}/client.pub", kept], "")
    assert (directory / "client.pem").read_bytes() == key.private_pem()


def test_a_configured_key_is_kept_and_told(path, directory, key):
    mine = path.parent / "node.pem"
    mine.write_bytes(key.private_pem())
    path.write_text(f"{path.read_text()}node: {{name: web-1, client_key: {mine}}}\n")
    code, told, _ = sealed(path)
    assert code == 0
    assert told[-1].startswith(f"kept {mine}: ")
    assert mine.exists()


@pytest.mark.parametrize("association", ["associated", "requested", "failed", "refused"])
def test_a_registered_node_is_sealed_by_force_alone(path, directory, key, association):
    key_file.create(directory, key)
    entries = UNASSOCIATED | {"standbyserver": {"association": association, "chef_server_url": "https://b"}}
    state.write(directory / "state.json", {"associations": entries})
    before = names(directory)
    code, told, errors = sealed(path)
    assert (code, told) == (1, [])
    assert f"this node is registered, or about to be: standbyserver ({association}). " in errors
    assert "mainserver" not in errors
    assert "--force" in errors
    assert names(directory) == before
    assert sealed(path, "--force")[0] == 0
    assert names(directory) == []


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"associations": {"a": 5}}', '{"associations": {"a": {}}}', "[" * 99999]
)
def test_a_state_that_cannot_be_used_is_no_licence(path, directory, content):
    (directory / "state.json").write_text(content)
    code, told, errors = sealed(path)
    assert (code, told) == (1, [])
    assert "cannot be read (damaged), so it is unknown whether this node is registered" in errors
    assert sealed(path, "--force") == (0, [f"removed {directory}/state.json"], "")


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_never_while_the_sidecar_runs(tmp_path, force):
    path = write_config(tmp_path)
    with daemon(path):
        before = names(tmp_path)
        code, told, errors = sealed(path, *force)
        assert (code, told) == (1, [])
        assert f"the sidecar runs ({tmp_path}/sidecar.sock answers); stop it first" in errors
        assert "systemctl stop chef-failover" in errors
        assert names(tmp_path) == before
    assert sealed(path, *force)[0] == 0


def test_a_socket_that_nobody_serves_any_more_is_no_sidecar(path, directory):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path.parent / "sidecar.sock"))
    assert sealed(path)[0] == 0


def test_a_sidecar_too_busy_to_answer_counts(path, directory):
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path.parent / "sidecar.sock"))
        busy.listen(0)
        client.connect(str(path.parent / "sidecar.sock"))
        code, _, errors = sealed(path)
    assert code == 1
    assert "the sidecar runs (" in errors


def test_what_may_not_be_written_is_said_before_anything_is_removed(nobody, path, directory, key):
    key_file.create(directory, key)
    state.write(directory / "state.json", {})
    before = names(directory)
    directory.chmod(0o500)
    with pytest.raises(SealError) as refusal:
        next(remove_all(config.load(path)))
    assert str(refusal.value) == f"this user cannot write {directory}; nothing was removed; run this as root"
    assert names(directory) == before


def test_what_cannot_even_be_seen(nobody, path, directory):
    directory.chmod(0)
    try:
        with pytest.raises(SealError) as refusal:
            next(remove_all(config.load(path)))
    finally:
        directory.chmod(0o700)
    assert str(refusal.value) == f"cannot read {directory}: Permission denied; run this as root"


def test_what_cannot_be_removed_is_said_after_what_was(path, directory, key):
    key_file.create(directory, key)
    (directory / "state.json").mkdir()
    code, told, errors = sealed(path, "--force")
    assert code == 1
    assert told == [f"removed {directory}/{name}" for name in ("client.pem", ".client.lock", "client.pub")]
    assert errors == f"cannot remove {directory}/state.json: Is a directory\n"


def test_what_is_written_again_meanwhile_is_found_out(path, directory):
    state.write(directory / "state.json", {})
    with pytest.raises(SealError, match=r"state\.json is back: something still writes to"):
        for sentence in remove_all(config.load(path)):
            assert sentence == f"removed {directory}/state.json"
            state.write(directory / "state.json", {})


WALK = """
from pathlib import Path
from chef_failover.config import settings as config
from chef_failover.cli.seal import remove_all
def act():
    list(remove_all(config.load(Path({path!r}))))
"""


def test_kill_9_at_every_step_leaves_what_a_second_run_finishes(path, directory, key):
    key_file.create(directory, key)
    state.write(directory / "state.json", {"associations": UNASSOCIATED})
    left = set()
    for step in deaths(WALK.format(path=str(path)), "seal.py"):
        left.add(tuple(names(directory)))
        list(remove_all(config.load(path)))
        assert names(directory) == [], step
        key_file.create(directory, key)
        state.write(directory / "state.json", {"associations": UNASSOCIATED})
    assert {len(names) for names in left} == {0, 1, 2, 3, 4}


def test_an_unknown_configuration_is_exit_2(tmp_path):
    assert run("seal", "--config", tmp_path / "gone.yml").returncode == 2


def test_the_fleet_s_list_as_kept_here_goes_too(path, directory):
    for name in ("discovered.yml", ".discovered.yml.new"):
        (directory / name).write_text("# {}\n")
    assert sealed(path)[0] == 0
    assert names(directory) == []


def test_the_metrics_of_this_life_go_wherever_they_are_kept(path, directory):
    metrics = path.parent / "collector" / "chef_failover.prom"
    metrics.parent.mkdir()
    metrics.write_text("x 1\n")
    path.write_text(path.read_text() + f"metrics: {{textfile: {metrics}}}\n")
    (directory / "state.json").write_text('{"schema": 1}')
    code, told, errors = sealed(path)
    assert (code, errors) == (0, "")
    assert told[-1] == f"removed {metrics}"
    assert not metrics.exists()
