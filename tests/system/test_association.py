"""Registration end to end: real daemons, embedded servers and goiardi, crashes, full disks and planted secrets."""

import contextlib
import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.node.key_file import LEFTOVERS
from tests.support.daemon_process import ROOT, command, daemon, dev_servers, run, until, write_config

NODE = "{name: web-1}"
QUICK = "{interval: 1s, retry_interval: 100ms, timeout: 2s, rise: 1, fall: 2}"


@pytest.fixture
def servers():
    with dev_servers("mainserver", "standbyserver") as started:
        yield started


def associations(sidecar):
    return {entry["name"]: entry["association"] for entry in sidecar.ask("/v1/servers").body["servers"]}


def public_pem(path):
    return PrivateKey.from_pem(Path(path).read_bytes()).public_pem().decode().strip()


def test_a_node_with_nothing_but_its_configuration_registers_everywhere(servers, tmp_path):
    path = write_config(tmp_path, servers, health=QUICK, node=NODE, registers=True)
    with daemon(path) as sidecar:
        ended = run("wait", "--associated", "--all", "--timeout", "1m", "--config", path)
        assert (ended.returncode, ended.stdout.splitlines()) == (
            0,
            [
                "mainserver: associated (registered by default-validator)",
                "standbyserver: associated (registered by default-validator)",
            ],
        )
        assert sidecar.ask("/v1/server").body["client_key"] == f"{tmp_path}/client.pem"
    assert stat.S_IMODE((tmp_path / "client.pem").stat().st_mode) == 0o600
    for server in servers:
        assert server.state.clients["web-1"].strip() == public_pem(tmp_path / "client.pem")
    assert (tmp_path / "unassociated_servers.txt").read_text() == ""


def test_a_new_node_registers_with_main_and_takes_its_time_for_the_rest(servers, tmp_path):
    path = write_config(tmp_path, servers, health="{interval: 1h}", node=NODE, registers=True)
    with daemon(path) as sidecar:
        until(lambda: associations(sidecar) == {"mainserver": "associated", "standbyserver": "unassociated"})
        told = run("status", "standbyserver", "--config", path).stdout
        assert "unassociated, registers in " in told
        assert not any(method == "POST" for method, _, _ in servers[1].requests)
        ended = run("associate", "standbyserver", "--wait", "--timeout", "1m", "--config", path)
        assert ended.returncode == 0, ended.stderr


def test_the_recipes_second_test_and_beyond(servers, tmp_path):
    """Main down at boot: the node registers with the standby and runs there; main comes back: there, too."""
    main, _ = servers
    path = write_config(tmp_path, servers, health=QUICK, failback="2s", node=NODE, registers=True)
    main.stop()
    with daemon(path) as sidecar:
        ended = run("wait", "--associated", "--timeout", "1m", "--config", path)
        assert ended.returncode == 0
        assert ended.stdout.startswith("ready: standbyserver ")
        assert (tmp_path / "unassociated_servers.txt").read_text() == "mainserver\n"
        assert run("wait", "--associated", "--all", "--timeout", "500ms", "--config", path).returncode == 1
        main.start()
        until(lambda: associations(sidecar) == {"mainserver": "associated", "standbyserver": "associated"})
        until(lambda: (tmp_path / "unassociated_servers.txt").read_text() == "")
        until(lambda: sidecar.ask("/v1/server").body["name"] == "mainserver")
    assert main.state.clients["web-1"].strip() == public_pem(tmp_path / "client.pem")


def test_a_restart_knows_its_associations_and_asks_nobody(servers, tmp_path):
    path = write_config(tmp_path, servers, health=QUICK, node=NODE, registers=True)
    with daemon(path) as sidecar:
        assert run("wait", "--associated", "--all", "--timeout", "1m", "--config", path).returncode == 0
        until(lambda: json.loads((tmp_path / "state.json").read_text())["associations"]["mainserver"]["association"]
              == "associated")  # fmt: skip
        assert sidecar.stop() == 0
        for server in servers:
            server.requests.clear()
        sidecar.restart()
        until(lambda: any(path.endswith("/clients/web-1") for _, path, _ in servers[0].requests))
        assert set(associations(sidecar).values()) == {"associated"}
        assert not any(method == "POST" for server in servers for method, _, _ in server.requests)


def test_a_server_that_has_lost_its_clients_gets_this_one_again(servers, tmp_path):
    path = write_config(tmp_path, servers, health=QUICK, failback="2s", node=NODE, registers=True)
    with daemon(path):
        assert run("wait", "--associated", "--all", "--timeout", "1m", "--config", path).returncode == 0
        del servers[1].state.clients["web-1"]
        until(lambda: "web-1" in servers[1].state.clients)


def test_another_name_is_another_registration(servers, tmp_path):
    path = write_config(tmp_path, servers, health=QUICK, node=NODE, registers=True)
    with daemon(path) as sidecar:
        assert run("wait", "--associated", "--all", "--timeout", "1m", "--config", path).returncode == 0
        write_config(tmp_path, servers, health=QUICK, node="{name: web-2}", registers=True)
        sidecar.send(signal.SIGHUP)
        until(lambda: "web-2" in servers[0].state.clients)
        assert run("wait", "--associated", "--all", "--timeout", "1m", "--config", path).returncode == 0
        until(lambda: all("web-2" in server.state.clients for server in servers))
        until(lambda: set(associations(sidecar).values()) == {"associated"})


def test_a_reload_tries_again_what_was_refused_and_keeps_what_holds(servers, tmp_path):
    path = write_config(tmp_path, servers, health=QUICK, node=NODE, registers=True)
    right = (tmp_path / "mainserver-validator.pem").read_bytes()
    (tmp_path / "mainserver-validator.pem").write_bytes(PrivateKey.generate().private_pem())
    with daemon(path) as sidecar:
        until(lambda: associations(sidecar) == {"mainserver": "refused", "standbyserver": "associated"})
        (tmp_path / "mainserver-validator.pem").write_bytes(right)
        sidecar.send(signal.SIGHUP)
        until(lambda: set(associations(sidecar).values()) == {"associated"})
        (tmp_path / "client.pem").rename(tmp_path / "away.pem")
        sidecar.send(signal.SIGHUP)
        until(lambda: sidecar.log.count("reloaded") == 2)
        assert set(associations(sidecar).values()) == {"associated"}
        (tmp_path / "away.pem").rename(tmp_path / "client.pem")
        path.write_text(path.read_text().replace("name: mainserver", "name: {instance_id}"))  # without quotes
        sidecar.send(signal.SIGHUP)
        until(lambda: "the configuration in use stays" in sidecar.log)
        assert set(associations(sidecar)) == {"mainserver", "standbyserver"}


def test_a_key_conflict_says_what_to_do_and_associate_tries_again(servers, tmp_path):
    main, _ = servers
    main.register("web-1", PrivateKey.generate().public_pem())
    path = write_config(tmp_path, servers, health=QUICK, node=NODE, registers=True)
    with daemon(path) as sidecar:
        until(lambda: associations(sidecar) == {"mainserver": "refused", "standbyserver": "associated"})
        assert sidecar.ask("/v1/server").body["name"] == "standbyserver"
        told = run("status", "--config", path).stdout
        assert "key conflict" in told
        assert "knife client delete web-1" in told
        ended = run("wait", "--associated", "--all", "--timeout", "300ms", "--config", path)
        assert (ended.returncode, "needs manual action" in ended.stderr) == (1, True)
        del main.state.clients["web-1"]
        ended = run("associate", "mainserver", "--wait", "--timeout", "1m", "--config", path)
        assert (ended.returncode, ended.stdout) == (0, "mainserver: associated (registered by default-validator)\n")
        document = json.loads(run("associate", "--json", "--config", path).stdout)
        assert {entry["association"] for entry in document["servers"]} == {"associated"}


def test_what_cannot_be_associated_is_said(servers, tmp_path):
    path = write_config(tmp_path, servers, health=QUICK)
    with daemon(path):
        assert "servers[].association is none" in run("associate", "--config", path).stderr
        assert "association of mainserver is none" in run("associate", "mainserver", "--config", path).stderr
        ended = run("associate", "nobody", "--config", path)
        assert (ended.returncode, "no server 'nobody'" in ended.stderr) == (1, True)
    assert run("wait", "--all", "--config", path).returncode == 2


@contextlib.contextmanager
def lives():
    """``live(kill_at, config_path)`` gives the exit code of a sidecar that is killed at that step."""
    program = [sys.executable, "-m", "tests.support.kill_at_step"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:

        def live(kill_at, config_path):
            child.stdin.write(f"{kill_at} {config_path}\n")
            child.stdin.flush()
            return int(child.stdout.readline())

        yield live
        child.stdin.close()


def test_killed_at_each_step_it_ends_associated_with_one_client_and_one_key(servers, tmp_path):
    """Walks all of them: dies at the first thing the association does, then at the second, until it comes through."""
    server, steps = servers[0], 0
    with lives() as live:
        for steps in range(1, 200):
            folder = tmp_path / str(steps)
            folder.mkdir()
            server.state.clients.pop("web-1", None)
            path = write_config(folder, [server], health=QUICK, node=NODE, registers=True)
            first = live(steps, path)
            key = folder / "client.pem"
            before = key.read_bytes() if key.exists() else None
            if first == 0:
                break
            assert first == -signal.SIGKILL
            assert live(0, path) == 0
            assert before in (None, key.read_bytes()), "the key has changed"
            assert server.state.clients["web-1"].strip() == public_pem(key)
            assert server.state.clients.keys() == {"web-1", server.state.validator}
            assert not any((folder / name).exists() for name in LEFTOVERS)
    assert 10 < steps < 199


def test_a_full_disk_serves_choices_says_why_and_corrupts_nothing(servers, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    path = write_config(tmp_path, servers, health=QUICK, node=NODE, registers=True)
    path.write_text(path.read_text().replace(f"state_dir: {tmp_path}", f"state_dir: {state}"))
    script = (
        f'mount -t tmpfs -o size=4k none {state} && head -c 4096 /dev/zero >{state}/ballast; exec "$@" 2>{tmp_path}/log'
    )
    serve = command("serve", "--config", path)
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh", *serve])
    log = tmp_path / "log"
    try:
        until(lambda: log.exists() and "No space left on device" in log.read_text())
        ended = run("wait", "--associated", "--all", "--timeout", "3s", "--config", path)
        assert ended.returncode == 1
        assert "No space left on device" in ended.stderr
        answer = json.loads(run("server", "--json", "--config", path).stdout)
        assert (answer["name"], answer["degraded"]) == ("mainserver", True)
        assert not any(method == "POST" for server in servers for method, _, _ in server.requests)
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_no_secret_is_said_anywhere(servers, tmp_path):
    """The validator's key is of a server that refuses it, and of one that takes it; the client key is new."""
    _, standby = servers
    path = write_config(tmp_path, servers, health=QUICK, node=NODE, registers=True)
    stranger = PrivateKey.generate().private_pem()
    (tmp_path / "mainserver-validator.pem").write_bytes(stranger)
    with daemon(path) as sidecar:
        until(lambda: associations(sidecar) == {"mainserver": "refused", "standbyserver": "associated"})
        arguments = Path(f"/proc/{sidecar.process.pid}/cmdline").read_text()
        environment = Path(f"/proc/{sidecar.process.pid}/environ").read_text()
        views = [run("status", "--config", path).stdout, run("check", "--config", path).stdout]
        views += [json.dumps(sidecar.ask(target).body) for target in ("/v1/server", "/v1/servers", "/v1/facts")]
    said = "\n".join([arguments, environment, sidecar.log, (tmp_path / "state.json").read_text(), *views])
    for pem in (stranger, standby.validator_key.private_pem(), (tmp_path / "client.pem").read_bytes()):
        for line in pem.decode().splitlines()[1:-1]:
            assert line not in said
    assert "PRIVATE" not in said


EC_KEY = """-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49
AwEHoUQDQgAEPR3tU2Fta9ktY+6P9G0cWO+0kETA6SFs38GecTyudlHz6xvCdz8q
EKTcWGekdmdDPsHloRNtsiCa697B2O9IFA==
-----END EC PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"key": None}, "association.validator_key file:"),
        ({"key": ""}, "is empty"),
        ({"key": EC_KEY}, "RSA"),
        ({"key": "no key at all"}, "association.validator_key file:"),
        ({"validator": "nobody"}, "association.validator_key is not the key of client nobody on this server"),
        ({"organization": "nope"}, "set node.organization to one that exists there"),
    ],
)
def test_wrong_input_is_a_server_that_needs_a_person(servers, tmp_path, wrong, words):
    node = f"{{name: web-1, organization: {wrong.get('organization', 'default')}}}"
    path = write_config(tmp_path, servers[:1], health=QUICK, node=node, registers=True)
    validator = wrong.get("validator", "default-validator")
    path.write_text(path.read_text().replace("chef-server,", f"chef-server, validator: {validator},"))
    key_path = tmp_path / "mainserver-validator.pem"
    if "key" in wrong:
        key_path.unlink()
    if wrong.get("key") is not None:
        key_path.write_text(wrong["key"])
    with daemon(path) as sidecar:
        until(lambda: associations(sidecar) == {"mainserver": "refused"})
        entry = sidecar.ask("/v1/servers").body["servers"][0]
        assert words in entry["association_detail"]
        assert "Traceback" not in sidecar.log
        assert words in run("status", "--config", path).stdout


def test_a_client_key_that_is_no_rsa_key_is_said_with_its_key_in_the_configuration(servers, tmp_path):
    (tmp_path / "ec.pem").write_text(EC_KEY)
    node = f"{{name: web-1, client_key: {tmp_path}/ec.pem}}"
    path = write_config(tmp_path, servers[:1], health=QUICK, node=node, registers=True)
    with daemon(path) as sidecar:
        until(lambda: associations(sidecar) == {"mainserver": "refused"})
        detail = sidecar.ask("/v1/servers").body["servers"][0]["association_detail"]
        assert "node.client_key" in detail
        assert "EC key" in detail


def test_opsworks_registers_and_the_server_confirms(servers, tmp_path, monkeypatch):
    from tests.support.opsworks_stub import OpsworksStub

    main = servers[0]
    for name, value in (("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "planted-aws-secret")):
        monkeypatch.setenv(name, value)

    def registered(_server, node, public_key):
        main.register(node, public_key)

    with OpsworksStub("mainserver", polls=1, on_registered=registered) as service:
        path = write_config(tmp_path, [main], health=QUICK, node=NODE, registers=True)
        text = path.read_text().partition("association: ")
        association = f"{{provider: opsworks-cm, region: us-east-1, endpoint_url: '{service.url}'}}}}"
        path.write_text(f"{text[0]}association: {association}\n{text[2].partition(chr(10))[2]}")
        with daemon(path) as sidecar:
            ended = run("wait", "--associated", "--timeout", "1m", "--config", path)
            assert ended.returncode == 0, ended.stderr
            entry = sidecar.ask("/v1/servers").body["servers"][0]
            assert "OpsWorks" in entry["association_detail"]
        said = sidecar.log + (tmp_path / "state.json").read_text() + ended.stderr
        assert "planted-aws-secret" not in said
    assert main.state.clients["web-1"].strip() == public_pem(tmp_path / "client.pem")
