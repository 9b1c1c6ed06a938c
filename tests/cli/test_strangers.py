"""Root types commands, and others wrote what they read: a state, a list, whatever answers on the socket."""

import json
import os
import resource

import pytest

from tests.support.daemon_process import run, write_config
from tests.support.strange_sidecar import ODD, answering, made_odd, saying

LIST = 'discovery: {source: "file:/nowhere/list.yml"}\n'


@pytest.fixture
def path(servers, tmp_path):
    return write_config(tmp_path, servers, more=LIST)


def is_clean(ended):
    """Nothing in what was said commands the terminal or forges a line, and no exception was met by accident."""
    said = ended.stdout + ended.stderr
    assert ended.returncode in (0, 1), said
    assert "Traceback" not in said
    lines = said.split("\n")
    return all(line.isprintable() and not line.lstrip().startswith("ERROR forged") for line in lines)


def contracted(contract, name):
    return json.loads((contract / f"{name}.json").read_text())


ASKING = [
    (["status"], "servers"),
    (["status", "mainserver"], "servers"),
    (["status", "--json"], "servers"),
    (["associate", "mainserver"], "servers"),
    (["wait", "--timeout", "100ms"], "servers"),
    (["wait", "--associated", "--all", "--timeout", "100ms"], "servers"),
    (["server"], "server"),
    (["server", "--json"], "server"),
    (["facts"], "facts"),
    (["drain", "mainserver"], "steered"),
    (["unpin"], "steered"),
    (["unpin", "--json"], "steered"),
]


@pytest.mark.parametrize(("arguments", "name"), ASKING, ids=lambda value: " ".join(value) if value else None)
def test_what_the_socket_says_commands_no_terminal(path, tmp_path, contract, arguments, name):
    with answering(tmp_path / "sidecar.sock", saying(made_odd(contracted(contract, name)))):
        ended = run(*arguments, "--config", path)
    assert is_clean(ended), ended
    assert "owned" in ended.stdout + ended.stderr, "it was shown"


@pytest.mark.parametrize("arguments", [["status"], ["associate", "a"], ["server"], ["facts"], ["unpin"]], ids=" ".join)
def test_a_refusal_commands_no_terminal(path, tmp_path, arguments):
    with answering(tmp_path / "sidecar.sock", saying({"detail": ODD}, 409)):
        assert is_clean(run(*arguments, "--config", path))


STRANGE: list[object] = [[], {"servers": [5], "choice": {}}, {"servers": [{"name": "mainserver"}], "not_kept": 1}]


@pytest.mark.parametrize("document", STRANGE, ids=json.dumps)
@pytest.mark.parametrize("arguments", [["status"], ["server"], ["associate", "mainserver"], ["unpin"]], ids=" ".join)
def test_an_answer_of_another_shape_is_said(path, tmp_path, document, arguments):
    with answering(tmp_path / "sidecar.sock", saying(document)):
        ended = run(*arguments, "--config", path)
    assert is_clean(ended), ended
    assert (ended.returncode, "cannot show the sidecar's answer" in ended.stderr) == (1, True)


def test_what_state_json_says_commands_no_terminal(path, tmp_path, contract):
    (tmp_path / "state.json").write_text(json.dumps(made_odd(contracted(contract, "state"))))
    for arguments in (["status"], ["server"], ["seal"]):
        assert is_clean(run(*arguments, "--config", path)), arguments
    odd = json.dumps({"associations": {f"a{ODD}": {"association": ODD}}})
    (tmp_path / "state.json").write_text(odd)
    ended = run("seal", "--config", path)
    assert (is_clean(ended), ended.returncode, "owned" in ended.stderr) == (True, 1, True)
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / f"client.pem.of-{ODD}").write_text("")
    ended = run("seal", "--config", path)
    assert (is_clean(ended), ended.returncode, "owned" in ended.stdout) == (True, 0, True)


def test_what_a_list_says_commands_no_terminal(servers, tmp_path):
    listed = tmp_path / "list.yml"
    listed.write_text(f"servers:\n- {{name: a, url: 'https://a.example', {json.dumps(ODD)}: {json.dumps(ODD)}}}\n")
    path = write_config(tmp_path, servers, more=f"discovery: {{source: 'file:{listed}'}}\n")
    ended = run("check", "--config", path)
    assert (is_clean(ended), "unknown key" in ended.stdout) == (True, True), ended


def test_a_key_of_config_yml_forges_no_line(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text(f"node:\n  {json.dumps(ODD)}: 1\n  x: 2\n")
    ended = run("check", "--config", path)
    assert ended.returncode == 2
    assert [line.partition(": ")[0] for line in ended.stderr.splitlines()] == [f"{path}:2", f"{path}:3"]
    assert ended.stderr.replace("\n", "").isprintable()


def _sparse(path):
    path.touch()
    os.truncate(path, 1 << 40)


LAID = {
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "sparse": _sparse,
}


def _with_little_memory():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


READERS = [("status", "state.json"), ("seal", "state.json"), ("server", "discovered.yml"), ("seal", "client.pub")]


@pytest.mark.parametrize(("reader", "name"), READERS)
@pytest.mark.parametrize("kind", LAID)
def test_what_lies_in_the_place_of_a_file_stops_no_command(path, tmp_path, reader, name, kind):
    for other in ("client.pem", "client.pub"):
        (tmp_path / other).write_text("")
    (tmp_path / name).unlink(missing_ok=True)
    LAID[kind](tmp_path / name)
    ended = run(reader, "--config", path, preexec_fn=_with_little_memory)
    assert is_clean(ended), ended


def test_what_the_locale_has_no_character_for_is_escaped(path, tmp_path):
    choice = {"name": "mainserver", "since": "2026-11-22T10:00:00Z", "reason": "a → b"}
    (tmp_path / "state.json").write_text(json.dumps({"schema": 1, "choice": choice}))
    ended = run("status", "--config", path, env=os.environ | {"PYTHONIOENCODING": "latin-1"})
    assert (ended.returncode, r"a \u2192 b" in ended.stdout) == (1, True), ended
