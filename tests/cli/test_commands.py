"""The command line as people and scripts meet it: output, and exit codes."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from chef_devserver.faults import Fault
from chef_failover import __version__
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.cli.main import cli, commands
from chef_failover.errors import SocketForbiddenError
from chef_failover.node.accepted import accept
from tests.support.daemon_process import command, daemon, dev_servers, free_port, run, until, write_config

CALM = "{interval: 1h, retry_interval: 1h, timeout: 2s}"


@pytest.fixture(autouse=True)
def started(servers):
    for server in servers:
        server.start()


def test_help_has_the_whole_first_sentence_of_each_command_in_80_columns():
    told = CliRunner().invoke(cli, ["--help"], terminal_width=80).output.partition("Commands:\n")[2]
    for name, one in commands().items():
        sentence = re.match(r".*?\.(?=\s|$)", one.help)[0]
        assert re.search(rf"^  {name} +{re.escape(sentence)}$", told, re.MULTILINE), name


def test_version():
    assert run("--version").stdout == f"chef-failover, version {__version__}\n"


def test_garbage_is_collected_as_python_does():
    code = """
import gc, sys
before = gc.isenabled(), gc.get_threshold()
from chef_failover.cli.main import main
sys.argv = ["chef-failover", "serve", "--help"]
main()
assert (gc.isenabled(), gc.get_threshold()) == before
"""
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize("arguments", [["nonsense"], ["server", "--nonsense"], ["wait", "--timeout", "soon"]])
def test_wrong_usage_is_exit_2(arguments):
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stderr


@pytest.mark.parametrize("name", ["serve", "server", "status", "check", "wait", "facts"])
def test_a_bad_configuration_is_exit_2_with_its_line(tmp_path, name):
    path = tmp_path / "config.yml"
    path.write_text("node:\n  colour: red\n")
    ended = run(name, "--config", path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"{path}:2: node.colour: unknown key")


def test_with_stderr_closed_an_error_does_not_go_where_scripts_read(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text("node:\n  colour: red\n")
    shell = ["sh", "-c", '"$@" 2>&-', "sh"]
    ended = subprocess.run(
        [*shell, *command("server", "--config", path)], stdout=subprocess.PIPE, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (2, b"")


def test_server_prints_the_url_alone(servers, tmp_path):
    path = write_config(tmp_path, servers, health=CALM)
    with daemon(path):
        ended = run("server", "--config", path)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{servers[0].chef_server_url}\n", "")
        servers[0].stop()
        document = json.loads(run("server", "--config", path, "--json").stdout)
        assert (document["name"], document["degraded"]) == ("standbyserver", False)


def test_server_without_a_sidecar_says_what_chef_client_would_use(servers, tmp_path):
    path = write_config(tmp_path, servers)
    ended = run("server", "--config", path)
    assert (ended.returncode, ended.stdout) == (0, f"{servers[0].chef_server_url}\n")
    assert "the sidecar does not answer" in ended.stderr
    assert "it left no choice; using the first server of config.yml" in ended.stderr
    (tmp_path / "state.json").write_text('{"schema": 1, "choice": {"name": "standbyserver"}}')
    ended = run("server", "--config", path)
    assert (ended.returncode, ended.stdout) == (0, f"{servers[1].chef_server_url}\n")
    assert "using its last choice in" in ended.stderr
    assert "chef-client keeps its own server until the service starts" in ended.stderr
    accept(path)
    assert "own server" not in run("server", "--config", path).stderr


def test_server_without_any_server_is_a_no(tmp_path):
    path = write_config(tmp_path)
    assert run("server", "--config", path).returncode == 1
    with daemon(path):
        ended = run("server", "--config", path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "names no Chef server" in ended.stderr


def test_status_tells_why(servers, tmp_path):
    path = write_config(tmp_path, servers)
    servers[0].stop()
    with daemon(path) as running:
        until(lambda: running.ask("/v1/servers").body["choice"] == "standbyserver")
        until(lambda: running.ask("/v1/servers").body["degraded"] is False)
        ended = run("status", "--config", path)
        assert ended.returncode == 0
        lines = ended.stdout.splitlines()
        assert lines[0].startswith("Using standbyserver since 2")
        assert lines[0].endswith(": mainserver is DOWN: connection refused")
        assert lines[2].split() == ["SERVER", "HEALTH", "ASSOCIATION", "READY", "LAST", "PROBE", "WHY"]
        assert lines[3].split()[:3] == ["mainserver", "DOWN", "associated"]
        assert lines[4].split()[:3] == ["*", "standbyserver", "UP"]
        assert json.loads(run("status", "--config", path, "--json").stdout)["choice"] == "standbyserver"


def test_status_claims_nothing_that_was_not_asked(servers, tmp_path):
    """Right after a start and after a reload, with the server dead that was in use."""
    path = write_config(tmp_path, servers, health=CALM)
    (tmp_path / "state.json").write_text('{"schema": 1, "choice": {"name": "mainserver"}}')
    servers[0].stop()
    with daemon(path) as running:
        first_line = until(lambda: _uses_the_standby(path))  # each of the two is asked once more before the node moves
        assert first_line.endswith(": mainserver is DOWN: connection refused")
        write_config(tmp_path, servers, health=CALM, node="{organization: null}")
        running.send(signal.SIGHUP)
        until(lambda: "UNKNOWN" in str(running.ask("/v1/servers").body["servers"]))
        ended = run("status", "--config", path)
        assert "UNKNOWN" not in ended.stdout.partition("Last changes")[0]
        assert until(lambda: _uses_the_standby(path)).endswith(": mainserver is DOWN: connection refused")


def _uses_the_standby(path):
    first_line = run("status", "--config", path).stdout.splitlines()[0]
    return first_line if first_line.startswith("Using standbyserver since 2") else None


def test_status_tells_what_would_have_to_change_and_what_happened(servers, tmp_path):
    path = write_config(tmp_path, servers)
    with daemon(path) as running:
        until(
            lambda: (
                [entry["health"] for entry in running.ask("/v1/servers?refresh=yes").body["servers"]] == ["UP", "UP"]
            )
        )
        run("drain", "mainserver", "--reason", "kernel upgrade", "--config", path)
        ended = run("status", "--config", path)
        assert ended.returncode == 0
        assert "Drained: mainserver, by root since 2" in ended.stdout.splitlines()[1]
        assert "To move this node:\n  mainserver  its drain must end\n\nNot ready to take over:" in ended.stdout
        assert (
            "Not ready to take over:\n  mainserver  is drained by root: kernel upgrade\n\nLast changes:" in ended.stdout
        )
        assert "  choice         mainserver -> standbyserver: mainserver is drained by root" in ended.stdout
        one = run("status", "mainserver", "--config", path)
        assert one.returncode == 1
        for words in (
            "to be used   its drain must end",
            "lacks        is drained by root",
            "Last changes:",
            "health       UP",
        ):
            assert words in one.stdout
        assert "(standbyserver is in use)" in one.stdout
        two = run("status", "standbyserver", "--config", path)
        assert (two.returncode, two.stdout.startswith("standbyserver is in use\n")) == (0, True)
        gone = run("status", "gone", "--config", path)
        assert (gone.returncode, "it has: mainserver, standbyserver" in gone.stderr) == (1, True)
        running.stop(signal.SIGKILL)
        ended = run("status", "--config", path)
        assert ended.returncode == 1
        assert "Its last choice: standbyserver since 2" in ended.stdout
        assert "Drained: mainserver, by root" in ended.stdout
        assert "Last changes:" in ended.stdout


def test_status_tells_scripts_whether_another_server_could_take_over(servers, tmp_path):
    path = write_config(tmp_path, servers)
    with daemon(path) as running:
        until(lambda: [entry["health"] for entry in running.ask("/v1/servers").body["servers"]] == ["UP", "UP"])
        ended = run("status", "--standby", "--config", path)
        assert (ended.returncode, ended.stdout) == (0, "standbyserver could take over now.\n")
        servers[1].stop()
        until(lambda: running.ask("/v1/servers").body["servers"][1]["health"] == "DOWN")
        ended = run("status", "--standby", "--config", path)
        assert ended.returncode == 1
        assert ended.stdout.splitlines() == [
            "No other server could take over now: none of them is ready.",
            "  standbyserver  is DOWN: connection refused",
        ]
        told = json.loads(run("status", "--standby", "--json", "--config", path).stdout)
        assert (told["standby"], told["servers"][0]["obstacle"]) == (None, "down")
    assert "the sidecar is down" in run("status", "--standby", "--config", path).stdout
    assert run("status", "--standby", "--watch", "--config", path).returncode == 2


def test_status_starts_without_the_heavy_libraries():
    code = "import sys, chef_failover.cli.look; print([m for m in ('flask', 'boto3', 'requests') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_status_of_a_sidecar_that_is_down_is_a_no_with_what_is_known(servers, tmp_path):
    path = write_config(tmp_path, servers)
    (tmp_path / "state.json").write_text('{"schema": 1, "choice": {"name": "standbyserver"}}')
    ended = run("status", "--config", path)
    assert ended.returncode == 1
    assert "The sidecar is down" in ended.stdout
    assert "last choice: standbyserver" in ended.stdout
    assert "\nchef-client keeps its own server. Start the sidecar" in ended.stdout
    accept(path)
    assert "\nchef-client keeps using that choice. Start" in run("status", "--config", path).stdout
    (tmp_path / "state.json").unlink()
    assert "\nchef-client uses the first server of config.yml, if it has one." in run("status", "--config", path).stdout


@pytest.fixture
def another_user(servers, tmp_path, request):
    """Gives a running sidecar with that loopback port, for a test of somebody who may not ask on its socket."""

    @contextlib.contextmanager
    def beside(loopback):
        with daemon(write_config(tmp_path, servers, health=CALM, loopback=loopback)) as running:
            running.socket.chmod(0)
            commands()  # what they import may be readable for root alone
            request.getfixturevalue("nobody")
            yield running

    return beside


def test_another_user_looks_through_the_loopback_port(another_user):
    with another_user(f"'127.0.0.1:{free_port()}'") as running:
        for name in ("status", "facts", "wait", "server"):
            ended = invoke(name, "--config", str(running.config_path))
            assert (ended.exit_code, "mainserver" in ended.stdout or name == "server") == (0, True), ended.output
        with pytest.raises(SocketForbiddenError, match="only root and the group .* may; try sudo"):
            invoke("drain", "mainserver", "--config", str(running.config_path))


def test_another_user_without_a_loopback_port_is_told_who_may_ask(another_user):
    with another_user("off") as running:
        for name in ("status", "facts", "wait"):
            who = "only root and the group .* may; try sudo"
            said = f"this user may not connect to the sidecar at {running.socket}: {who}"
            with pytest.raises(SocketForbiddenError, match=said):
                invoke(name, "--config", str(running.config_path))


def invoke(name, *arguments):
    """That command in this process; what it raises `main` makes an exit code of."""
    return CliRunner().invoke(commands()[name], arguments, catch_exceptions=False)


def test_status_watch_goes_on_until_interrupted(servers, tmp_path):
    path = write_config(tmp_path, servers)
    with daemon(path):
        watching = subprocess.Popen(command("status", "--watch", "--config", path), stdout=subprocess.PIPE, text=True)
        assert "Using mainserver" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
        watching.stdout.close()


def test_check_probes_each_server_without_a_daemon(servers, tmp_path):
    path = write_config(tmp_path, servers)
    ended = run("check", "--config", path)
    assert ended.returncode == 0
    assert "is valid. Probes are unsigned: node.name is not set." in ended.stdout
    servers[1].stop()
    ended = run("check", "--config", path)
    assert ended.returncode == 1
    assert "ok  mainserver     ok" in ended.stdout
    assert "!!  standbyserver  refused  connection refused" in ended.stdout
    found = json.loads(run("check", "--config", path, "--json").stdout)
    assert [(entry["outcome"], entry["usable"]) for entry in found["servers"]] == [("ok", True), ("refused", False)]


def test_check_finds_a_missing_node_object_unless_the_node_is_new(servers, tmp_path):
    key = PrivateKey.generate()
    (tmp_path / "client.pem").write_bytes(key.private_pem())
    for server in servers:
        server.register("web-1", key.public_pem())

    def usable(policy="", more=""):
        node = f"{{name: web-1, client_key: {tmp_path}/client.pem{policy}}}"
        path = write_config(tmp_path, servers, node=node, more=more)
        return [entry["usable"] for entry in json.loads(run("check", "--config", path, "--json").stdout)["servers"]]

    assert usable() == [True, True]
    servers[0].put_node("web-1", ["recipe[web]"])
    assert usable() == [True, False]
    assert usable(more="readiness: off") == [True, True]
    servers[1].state.policies["prod", "web"] = "1"
    assert usable(policy=", policy_name: web, policy_group: prod") == [False, True]


@pytest.mark.parametrize("policy", ["", ", policy_name: web, policy_group: prod"])
@pytest.mark.parametrize("protocols", [("1.3",), ("1.0", "1.1")])
def test_check_tells_of_an_object_that_the_node_cannot_save(servers, tmp_path, monkeypatch, policy, protocols):
    key = PrivateKey.generate()
    (tmp_path / "client.pem").write_bytes(key.private_pem())
    for server, creator in zip(servers, (None, "admin"), strict=True):
        assert server.administrator_key
        monkeypatch.setattr(server.state, "protocols", frozenset(protocols))
        server.state.policies["prod", "web"] = "1"
        server.register("web-9", key.public_pem())
        server.put_node("web-9", ["recipe[web]"], created_by=creator)
    path = write_config(tmp_path, servers, node=f"{{name: web-9, client_key: {tmp_path}/client.pem{policy}}}")
    ended = run("check", "--config", path)
    assert ended.returncode == 0, ended.stdout
    said = [line for line in ended.stdout.splitlines() if "cannot save" in line]
    assert [line.split()[:2] for line in said] == [["ok", "standbyserver"]]
    assert "knife acl add client web-9 nodes web-9 update,grant" in said[0]


def test_check_says_how_a_server_knows_the_node_that_it_turns_away(servers, tmp_path):
    """One that the sidecar is about to register is no trouble; one whose name is taken is."""
    for server in servers:
        server.fault = None
    key = PrivateKey.generate()
    (tmp_path / "client.pem").write_bytes(key.private_pem())
    servers[0].register("db-7", key.public_pem())

    path = write_config(tmp_path, servers, node=f"{{name: db-7, client_key: {tmp_path}/client.pem}}", registers=True)

    def told():
        ended = run("check", "--config", path)
        return ended.returncode, [line.split()[:3] for line in ended.stdout.splitlines() if "server  " in line][-2:]

    assert told() == (0, [["ok", "mainserver", "ok"], ["--", "standbyserver", "not_associated"]])
    servers[1].register("db-7", PrivateKey.generate().public_pem())
    assert told() == (1, [["ok", "mainserver", "ok"], ["!!", "standbyserver", "not_associated"]])

    def known():
        found = json.loads(run("check", "--json", "--config", path).stdout)["servers"]
        return [(entry["known"], entry["usable"]) for entry in found]

    assert known() == [(None, True), ("another key", False)]
    path.write_text(
        re.sub("provider: chef-server[^}]*", "provider: none", path.read_text().replace("db-7", "db-8"), count=1)
    )
    assert known() == [("unknown", False), ("unknown", None)]


@pytest.mark.parametrize("has_key", [True, False])
def test_check_says_that_a_server_has_no_organizations(tmp_path, has_key):
    """A key is signed with only where the server knows the node: nothing else shows it."""
    key = PrivateKey.generate()
    if has_key:
        (tmp_path / "client.pem").write_bytes(key.private_pem())
    with dev_servers("mainserver", organization=None) as servers:
        path = write_config(tmp_path, servers, node=f"{{name: web-1, client_key: {tmp_path}/client.pem}}")
        ended = run("check", "--config", path)
        what_to_do = "no Chef API under /organizations/default; for a server without organizations (goiardi, Chef 11)"
        words = f"!!  mainserver  wrong_organization  {what_to_do} set organization: null "
        assert (ended.returncode, words in ended.stdout) == (1, True), ended.stdout
        path.write_text(path.read_text().replace("{name: web-1", "{organization: null, name: web-1"))
        assert "no Chef API" not in run("check", "--config", path).stdout


def test_check_of_a_node_whose_name_cannot_be_found(tmp_path, servers, monkeypatch):
    path = write_config(tmp_path, servers, node='{name: "{instance_id}"}')
    ended = run("check", "--config", path)
    assert ended.returncode == 1
    assert "node.name needs {instance_id}" in ended.stderr


def test_wait_ends_when_there_is_a_server(servers, tmp_path):
    path = write_config(tmp_path, servers)
    ended = run("wait", "--config", path, "--timeout", "300ms")
    assert ended.returncode == 1
    assert "waiting for the sidecar" in ended.stderr
    assert "gave up after 0.3 s" in ended.stderr
    with daemon(path):
        ended = run("wait", "--associated", "--config", path, "--timeout", "20s")
        assert ended.returncode == 0
        assert ended.stdout == f"ready: mainserver {servers[0].chef_server_url}\n"


def test_wait_without_any_server_says_so_at_once(tmp_path):
    path = write_config(tmp_path)
    said = f"no server is configured, nothing to wait for; add servers to {path}, then systemctl reload"
    ended = run("wait", "--associated", "--config", path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said in ended.stderr
    with daemon(path):
        ended = run("wait", "--config", path)
    assert (ended.returncode, said in ended.stderr) == (1, True)


def test_wait_goes_on_while_the_sidecar_has_not_reloaded_yet(servers, tmp_path):
    path = write_config(tmp_path)
    with daemon(path) as running:
        waiting = subprocess.Popen(
            command("wait", "--config", write_config(tmp_path, servers)), stderr=subprocess.PIPE, text=True
        )
        assert waiting.stderr.readline() == "waiting: no server is configured\n"
        running.send(signal.SIGHUP)
        assert waiting.wait(60) == 0
        waiting.stderr.close()


def test_wait_does_not_wait_for_the_first_probe_to_be_due(servers, tmp_path):
    path = write_config(tmp_path, servers, health=CALM)
    with daemon(path):
        ended = run("wait", "--config", path, "--timeout", "10s")
    assert ended.returncode == 0, ended.stderr


def test_wait_gives_a_better_server_its_time_and_no_more_than_there_is(servers, tmp_path):
    """The first is silent: nobody has heard of it yet, and the second is ready."""
    servers[0].fault = Fault.SILENT
    path = write_config(tmp_path, servers, health="{timeout: 30s}")
    try:
        with daemon(path) as running:
            until(lambda: running.ask("/v1/servers").body["choice"] == "mainserver")
            run("pin", "standbyserver", "--config", path)
            until(
                lambda: (
                    running.ask("/v1/server?wait=no")
                    and running.ask("/v1/servers").body["servers"][1]["health"] == "UP"
                )
            )
            ended = run("wait", "--config", path, "--timeout", "3s")
            assert (ended.returncode, ended.stdout.split()[:2]) == (0, ["ready:", "standbyserver"]), ended.stderr
            assert "waiting briefly for mainserver, which is preferred" in ended.stderr
    finally:
        servers[0].fault = None


def test_wait_gives_up_while_all_servers_are_down(servers, tmp_path):
    path = write_config(tmp_path, servers)
    for server in servers:
        server.stop()
    with daemon(path):
        started = time.monotonic()
        ended = run("wait", "--config", path, "--timeout", "1s")
        assert time.monotonic() - started < 30
    assert ended.returncode == 1


def test_a_long_wait_finds_a_server_that_comes_up_meanwhile(servers, tmp_path):
    path = write_config(tmp_path, servers, health=CALM)  # no probe of its own in an hour
    for server in servers:
        server.stop()
    waiting = command("wait", "--config", path, "--timeout", "2m")
    with daemon(path) as running, subprocess.Popen(waiting, stdout=subprocess.DEVNULL) as one:
        until(lambda: all(entry["health"] == "DOWN" for entry in running.ask("/v1/servers").body["servers"]))
        servers[0].start()
        assert one.wait(150) == 0


def test_facts(servers, tmp_path):
    path = write_config(tmp_path, servers)
    assert run("facts", "--config", path).returncode == 1
    with daemon(path) as running:
        running.ask("/v1/server")
        assert json.loads(run("facts", "--config", path).stdout)["server"]["name"] == "mainserver"
