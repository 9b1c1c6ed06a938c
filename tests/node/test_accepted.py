"""One file for the sidecar and the shim to go by: what is in it, who may write it, and that mistakes change nothing."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from chef_failover.config import settings
from chef_failover.errors import ConfigError, IdentityError, NotAcceptedError
from chef_failover.node import accepted
from chef_failover.node.accepted import accept, at_work, for_sidecar, read
from tests.support.parts import require_program

ROOT = Path(__file__).parents[2]
GOOD = "node: {name: web-1}\nservers: [{name: a, url: https://a.example.com}]\n"
MISTAKES = [
    "organisation: acme\n",
    "servers: [{name: b, url: https://b.example.com}]\n",
    "node: {organization: no}\n",
    "servers: [{name: b, url: http://b.example.com}]\n",
    "health: {timeout: soon}\n",
    "[",
]
"""Each after `GOOD`, or in its place. Another parser might make a server of them."""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "config.yml").write_text(GOOD)
    return tmp_path / "config.yml"


def file_of(path):
    return path.with_name("config.yml.accepted.json")


def unknown(_pattern):
    raise IdentityError("this machine's name does not resolve")


def no_writing(monkeypatch):
    """As for the service: the directory is not its to write."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)


def test_the_document_is_that_of_the_contract(contract):
    text = (contract / "config.yml").read_text()
    document = accepted.document(settings.parse(text), text, "web-1")
    assert document == json.loads((contract / "accepted.json").read_text())


def test_it_has_what_the_shim_compares_with_as_it_is_used(path):
    path.write_text(
        "node: {name: '{hostname}', organization: acme}\nstate_dir: /srv//cf/./state\nhealth: {timeout: 500ms}\n"
        "servers:\n- {name: b, url: 'HTTPS://b.example.com/', priority: 20, ca_file: /etc//b.pem, organization: null}\n"
        "- {name: a, url: 'https://a.example.com', priority: 10}\n"
    )
    accept(path, lambda pattern: pattern.replace("{hostname}", "web-7"))
    document = json.loads(file_of(path).read_text())
    assert document.pop("text") == path.read_text()
    assert document == {
        "schema": 1,
        "node_name": "web-7",
        "client_key": "/srv/cf/state/client.pem",
        "servers": [
            {"name": "a", "chef_server_url": "https://a.example.com/organizations/acme", "ssl_ca_file": None},
            {"name": "b", "chef_server_url": "https://b.example.com", "ssl_ca_file": "/etc/b.pem"},
        ],
        "trusted_hosts": [],
        "socket": "/run/chef-failover/sidecar.sock",
        "state_file": "/srv/cf/state/state.json",
        "budget_s": 1.5,
    }


def test_everybody_may_read_it_and_only_its_owner_write(path):
    before = os.umask(0o077)
    try:
        accept(path)
    finally:
        os.umask(before)
    assert file_of(path).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("is_running", [True, False])
def test_a_mistake_changes_nothing(path, mistake, is_running):
    accept(path)
    before = file_of(path).read_bytes()
    for text in (mistake, GOOD + mistake):
        path.write_text(text)
        if settings_are_good(path):
            continue
        with pytest.raises(ConfigError):
            accept(path, is_running=is_running)
        assert file_of(path).read_bytes() == before
        assert for_sidecar(path).text == GOOD
        assert "is invalid and not in use: " in at_work(path).why_not


def settings_are_good(path):
    try:
        settings.load(path)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("mistake", MISTAKES[3:])
def test_a_first_file_with_a_mistake_leaves_nothing(path, mistake):
    path.write_text(mistake)
    for take in (accept, for_sidecar, at_work):
        with pytest.raises(ConfigError):
            take(path)
    assert list(path.parent.iterdir()) == [path]


def test_an_edit_that_nobody_accepted_is_not_at_work(path, monkeypatch):
    accept(path)
    path.write_text(GOOD.replace("a.example", "b.example"))
    assert [str(one.url) for one in at_work(path).config.servers] == ["https://a.example.com"]
    assert at_work(path).why_not.endswith("changed and is not in use yet; run: systemctl reload chef-failover")
    no_writing(monkeypatch)
    assert for_sidecar(path).text == GOOD


def test_a_comment_is_no_change(path):
    accept(path)
    path.write_text(f"# new\n{GOOD}")
    assert at_work(path).why_not is None


def test_a_file_that_is_gone_stays_at_work(path):
    accept(path)
    path.unlink()
    found = at_work(path)
    assert (found.text, found.node_name) == (GOOD, "web-1")
    assert "No such file" in found.why_not


def test_where_nothing_is_accepted_the_file_itself_is_at_work(path, monkeypatch):
    """In a container whose configuration cannot be written: the sidecar works, and chef-client is let alone."""
    no_writing(monkeypatch)
    found = for_sidecar(path)
    assert (found.text, found.node_name, found.is_written) == (GOOD, "web-1", False)
    assert "no configuration is accepted yet" in found.why_not
    assert not file_of(path).exists()


def test_nothing_is_written_where_nothing_has_changed(path):
    accept(path)
    before = file_of(path).stat()
    accept(path)
    assert file_of(path).stat().st_ino == before.st_ino
    file_of(path).chmod(0o666)
    accept(path)
    assert file_of(path).stat().st_mode & 0o777 == 0o644


def test_a_name_that_is_not_known_at_a_reload_leaves_all_as_it_was(path):
    accept(path)
    path.write_text(GOOD.replace("web-1", "'{fqdn}'"))
    with pytest.raises(IdentityError):
        accept(path, unknown, is_running=True)
    assert read(path).text == GOOD


def test_a_name_that_is_not_known_at_first_is_no_name_until_it_is(path, monkeypatch):
    path.write_text(GOOD.replace("web-1", "'{fqdn}'"))
    with pytest.raises(IdentityError):
        accept(path, unknown)
    document = json.loads(file_of(path).read_text())
    assert (document["node_name"], len(document["servers"])) == (None, 1)
    with monkeypatch.context() as patch:
        no_writing(patch)
        with pytest.raises(IdentityError, match="this node is web-1, accepted for None"):
            for_sidecar(path, lambda _: "web-1")
    accept(path, lambda _: "web-1")
    assert read(path).node_name == "web-1"


def test_a_copied_disk_does_not_go_on_under_the_other_s_name(path, monkeypatch):
    path.write_text(GOOD.replace("web-1", "'{hostname}'"))
    accept(path, lambda _: "web-1")
    no_writing(monkeypatch)
    assert for_sidecar(path, lambda _: "web-1").node_name == "web-1"
    for name_of in (lambda _: "web-2", unknown):
        with pytest.raises(IdentityError):
            for_sidecar(path, name_of)
    assert for_sidecar(path, unknown, is_running=True).node_name == "web-1"


@pytest.mark.parametrize("key", ["listen: {socket: /run/other.sock}", "state_dir: /srv/other"])
def test_where_sidecar_and_shim_meet_is_moved_by_a_restart_alone(path, key):
    accept(path)
    path.write_text(f"{GOOD}{key}\n")
    with pytest.raises(NotAcceptedError, match="listen.socket or state_dir changed: systemctl restart"):
        accept(path, is_running=True)
    assert "listen.socket or state_dir changed: systemctl restart" in for_sidecar(path, is_running=True).why_not
    assert read(path).text == GOOD
    accept(path)
    assert read(path).text == path.read_text()


def test_two_configurations_in_one_directory_have_each_their_own(path):
    other = path.with_name("other.yml")
    other.write_text("")
    accept(path)
    accept(other)
    assert (read(path).text, read(other).text) == (GOOD, "")


def spoil(file, how):
    text = file.read_text()
    if how == "a link":
        file.rename(file.with_name("elsewhere"))
        file.symlink_to("elsewhere")
    elif how == "a pipe":
        file.unlink()
        os.mkfifo(file)
    elif how == "of a later version":
        file.write_text(text.replace('"schema": 1', '"schema": 2'))
    elif how == "with a text that this version refuses":
        file.write_text(json.dumps(json.loads(text) | {"text": "colour: red\n"}))
    elif how == "another user's":
        os.chown(file, 65534, -1)
    else:
        file.write_text({"half": text[: len(text) // 2], "a list": "[]", "without a text": '{"schema": 1}'}[how])


@pytest.mark.parametrize(
    "how",
    [
        *("a link", "a pipe", "half", "a list", "without a text"),
        *("of a later version", "with a text that this version refuses"),
        pytest.param("another user's", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give")),
    ],
)
def test_what_is_not_root_s_or_not_whole_is_not_at_work_and_is_written_anew(path, how):
    accept(path)
    spoil(file_of(path), how)
    with pytest.raises(NotAcceptedError):
        read(path)
    assert at_work(path).is_written is False
    accept(path)
    assert (read(path).text, file_of(path).is_symlink()) == (GOOD, False)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_not_believed(path, mode):
    accept(path)
    file_of(path).chmod(mode)
    with pytest.raises(NotAcceptedError, match="cannot read .*: users other than root can write it"):
        read(path)


@pytest.mark.parametrize("text", ["", "\n \n", "# node:\n#   name: web-1\n\n  # servers:\n"])
def test_an_empty_file_takes_no_server_away(path, text):
    accept(path)
    path.write_text(text)
    with pytest.raises(NotAcceptedError, match="is empty; write servers: \\[\\]"):
        accept(path)
    assert at_work(path).text == GOOD
    path.write_text("servers: []\n")
    assert accept(path).config.servers == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's file is everybody's concern")
def test_what_others_than_root_can_write_is_not_accepted(path):
    for mode in (0o646, 0o644):
        path.chmod(mode)
        os.chown(path, 0 if mode == 0o646 else 65534, 0)
        with pytest.raises(NotAcceptedError, match="users other than root can write"):
            accept(path)
    assert not file_of(path).exists()


def test_a_mistake_on_a_copied_disk_leaves_no_other_machine_s_name(path):
    path.write_text(GOOD.replace("web-1", "'{hostname}'"))
    accept(path, lambda _: "original")
    path.write_text("[")
    with pytest.raises(ConfigError):
        accept(path, lambda _: "copy")
    assert read(path).node_name == "copy"


def test_a_reload_accepts_no_node_without_its_name(path, monkeypatch):
    path.write_text(GOOD.replace("web-1", "'{hostname}'"))
    with pytest.raises(IdentityError):
        accept(path, unknown, is_running=True)
    assert not file_of(path).exists()
    with pytest.raises(IdentityError):
        accept(path, unknown)
    no_writing(monkeypatch)
    with pytest.raises(IdentityError, match="accepted before the node's name was known"):
        for_sidecar(path, unknown, is_running=True)


def test_a_directory_that_cannot_be_written_leaves_what_was_accepted(path, monkeypatch):
    accept(path)
    path.write_text(GOOD.replace("a.example", "b.example"))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chef_failover.files.replace", full)
    with pytest.raises(NotAcceptedError, match="cannot write .*: No space left"):
        accept(path)
    found = for_sidecar(path)
    assert found.text == GOOD
    assert "No space left on device; run this as root" in found.why_not


def test_the_unit_accepts_as_root_before_each_start_and_at_each_reload():
    unit = (ROOT / "packaging" / "chef-failover.service").read_text().splitlines()
    assert "ExecStartPre=+-/usr/bin/chef-failover accept" in unit
    assert "ExecReload=+/usr/bin/chef-failover accept --reload $MAINPID" in unit


def test_the_shim_reads_what_is_written(path):
    accept(path)
    code = "require ARGV[0]; c = {}; ChefFailover.apply(c, ARGV[1]); p c[:chef_server_url]"
    command = [require_program("ruby", "ruby"), "-e", code, ROOT / "ruby_shim/lib/chef_failover.rb", path]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == '"https://a.example.com/organizations/default"\n'
