"""Drains and pins from outside: the socket, the command line, restarts and reloads."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from chef_failover.api import client
from chef_failover.api.app import create_app
from chef_failover.config import settings as config
from chef_failover.engine.sidecar import Sidecar
from tests.support.daemon_process import daemon, run, until, write_config

CALM = "{interval: 1h, retry_interval: 1h, timeout: 2s}"


@pytest.fixture(autouse=True)
def started(servers):
    for server in servers:
        server.start()


@pytest.fixture
def http(tmp_path, servers):
    sidecar = Sidecar(config.load(write_config(tmp_path, servers, health=CALM)))
    return create_app(sidecar, may_change=True).test_client()


def both_up(running):
    until(lambda: [entry["health"] for entry in running.ask("/v1/servers?refresh=yes").body["servers"]] == ["UP", "UP"])


def choice(running):
    return running.ask("/v1/servers").body["choice"]


def kept(tmp_path):
    return json.loads((tmp_path / "state.json").read_text())


def test_undrain_says_where_a_drain_of_the_fleet_s_list_is_ended(servers, tmp_path):
    fleet = tmp_path / "fleet.yml"
    entries = [
        f"{{name: {one.name}, url: '{one.url}', ca_file: {tmp_path}/ca.pem, association: {{provider: none}}}}"
        for one in servers
    ]
    fleet.write_text(f"servers: [{', '.join(entries)}]\ndrains: [{{server: mainserver, reason: upgrade}}]\n")
    path = write_config(tmp_path, servers, health=CALM, more=f"discovery: {{source: 'file:{fleet}'}}\n")
    with daemon(path) as running:
        until(lambda: running.ask("/v1/servers").body["servers"][0]["drain"])
        run("drain", "mainserver", "--for", "1d", "--config", path)
        for is_changed in (True, False):
            ended = run("undrain", "mainserver", "--config", path)
            assert ended.returncode == 1
            assert ("Nothing changed" in ended.stdout) is not is_changed
            assert ended.stderr == (
                f"mainserver is still drained by the fleet's list, file:{fleet}: end that drain there, for all nodes\n"
            )
        assert run("undrain", "standbyserver", "--config", path).returncode == 0


# --- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "body", "status", "words"),
    [
        ("/v1/servers/mainserver/drain", "[]", 400, "must be a JSON object"),
        ("/v1/servers/mainserver/drain", "{", 400, "must be a JSON object"),
        ("/v1/servers/mainserver/drain", '{"for": "2h"}', 400, "unknown key 'for'; known keys: reason, for_s"),
        ("/v1/servers/mainserver/drain", '{"for_s": "2h"}', 400, "for_s must be null or seconds"),
        ("/v1/servers/mainserver/drain", '{"for_s": true}', 400, "for_s must be"),
        ("/v1/servers/mainserver/drain", '{"for_s": 0}', 400, "for_s must be"),
        ("/v1/servers/mainserver/drain", '{"for_s": NaN}', 400, "for_s must be"),
        ("/v1/servers/mainserver/drain", '{"for_s": 1e300}', 400, "for_s must be"),
        ("/v1/servers/mainserver/drain", '{"force": 1, "reason": "a\\nb"}', 400, "reason must be"),
        ("/v1/servers/mainserver/drain", '{"force": "yes"}', 400, "force must be true or false"),
        ("/v1/servers/mainserver/drain", '{"on_behalf_of": ""}', 400, "on_behalf_of must be"),
        ("/v1/servers/mainserver/pin", '{"force": true}', 400, "unknown key 'force'"),
        ("/v1/servers/mainserver/undrain", '{"reason": "x"}', 400, "unknown key 'reason'"),
        ("/v1/servers/gone/drain", "", 404, "no server 'gone'; it has: mainserver, standbyserver"),
        ("/v1/servers/gone/undrain", "", 404, "no server 'gone'"),
        ("/v1/servers/gone/pin", "", 404, "no server 'gone'"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_words_and_changes_nothing(http, target, body, status, words):
    answer = http.post(target, data=body)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert words in answer.json["detail"]
    assert http.get("/v1/facts").json["drains"] == {}


def test_draining_everything_needs_force_and_everything_shows_it(http):
    assert http.post("/v1/servers/standbyserver/drain").json["changed"]
    refused = http.post("/v1/servers/mainserver/drain", json={"reason": "all"})
    assert (refused.status_code, refused.json["title"]) == (409, "Conflict")
    assert "no server would be left" in refused.json["detail"]
    forced = http.post("/v1/servers/mainserver/drain", json={"reason": "all", "force": True, "for_s": 3600})
    assert (forced.status_code, forced.json["degraded"]) == (200, True)
    drain = forced.json["drains"]["mainserver"]
    assert (drain["who"], drain["reason"], drain["ends"] > drain["created"]) == ("unknown user", "all", True)
    shown = http.get("/v1/servers").json
    assert [entry["drain"] is None for entry in shown["servers"]] == [False, False]
    assert http.get("/v1/facts").json["drains"].keys() == {"mainserver", "standbyserver"}
    assert not http.post("/v1/unpin").json["changed"]
    assert http.post("/v1/servers/mainserver/undrain").json["drains"].keys() == {"standbyserver"}


def test_a_pin_is_shown_with_who_reason_and_end(http):
    answer = http.post(
        "/v1/servers/standbyserver/pin", json={"strict": True, "for_s": 60, "on_behalf_of": "alice"}
    ).json
    assert (answer["choice"], answer["pin"]["strict"], answer["pin"]["reason"]) == ("standbyserver", True, None)
    for target in ("/v1/servers", "/v1/facts"):
        assert http.get(target).json["pin"] == answer["pin"]
    assert answer["pin"]["who"] == "unknown user (for alice)"


def test_the_loopback_port_steers_nothing(tmp_path, servers):
    sidecar = Sidecar(config.load(write_config(tmp_path, servers, health=CALM)))
    read_only = create_app(sidecar, may_change=False).test_client()
    for target in ("/v1/servers/mainserver/drain", "/v1/servers/mainserver/pin", "/v1/unpin"):
        assert read_only.post(target).status_code in (404, 405)
    assert sidecar.snapshot.orders.drains == ()


def test_what_cannot_be_written_down_is_done_and_said(tmp_path, servers):
    (tmp_path / "state.json").mkdir()
    sidecar = Sidecar(config.load(write_config(tmp_path, servers, health=CALM)))
    answer = create_app(sidecar, may_change=True).test_client().post("/v1/servers/mainserver/drain")
    assert (answer.json["changed"], answer.json["not_kept"]) == (True, "Is a directory")


# --- on a daemon ----------------------------------------------------------------------------------------------------


def test_a_drain_moves_the_next_run_and_outlives_restarts_and_reloads(servers, tmp_path):
    path = write_config(tmp_path, servers, failback="immediately")
    with daemon(path) as running:
        both_up(running)
        ended = run("drain", "mainserver", "--reason", "kernel upgrade", "--for", "2h", "--config", path)
        assert ended.returncode == 0, ended.stderr
        first, second = ended.stdout.splitlines()
        assert first.startswith("Drained: mainserver, by root since 2")
        assert first.endswith(": kernel upgrade")
        assert second == "Using standbyserver: mainserver is drained by root for another 2 h: kernel upgrade"
        assert kept(tmp_path)["drains"].keys() == {"mainserver"}  # before the command has ended
        answer = running.ask("/v1/server?max_age=0").body
        assert (answer["name"], answer["degraded"]) == ("standbyserver", False)
        assert answer["passed_over"][0]["reason"] == "drained by root for another 2 h: kernel upgrade"
        assert "INFO mainserver in service->drained by root for 2 h: kernel upgrade" in running.log
        assert "INFO choice mainserver->standbyserver mainserver is drained by root" in running.log
        ends = running.ask("/v1/servers").body["servers"][0]["drain"]["ends"]
        running.stop(signal.SIGKILL)
        running.restart()
        assert running.ask("/v1/servers").body["servers"][0]["drain"]["ends"] == ends
        assert running.ask("/v1/server?max_age=0").body["name"] == "standbyserver"
        for some in (servers[1:], servers):
            write_config(tmp_path, some, failback="immediately")
            count = running.log.count("reloaded")
            running.send(signal.SIGHUP)
            until(lambda count=count: running.log.count("reloaded") > count)
        assert running.ask("/v1/servers").body["servers"][0]["drain"]["ends"] == ends
        both_up(running)  # the one that returned is a new one
        ended = run("undrain", "mainserver", "--config", path)
        assert ended.stdout.startswith("Using mainserver: first in order of preference")
        assert "mainserver drained->in service ended by root; set by root for 2 h" in running.log
        assert run("undrain", "mainserver", "--config", path).stdout.startswith("Nothing changed.\n")


def test_a_pin_is_a_rehearsal_that_ends_by_itself(servers, tmp_path):
    path = write_config(tmp_path, servers, failback="immediately")
    with daemon(path) as running:
        both_up(running)
        started = time.monotonic()
        ended = run("pin", "standbyserver", "--for", "1s", "--reason", "drill", "--json", "--config", path)
        document = json.loads(ended.stdout)
        assert (document["choice"], document["pin"]["reason"]) == ("standbyserver", "drill")
        until(lambda: choice(running) == "mainserver")
        assert time.monotonic() - started >= 1
        assert "standbyserver pinned->not pinned expired; set by" in running.log
        assert running.ask("/v1/servers").body["pin"] is None


def test_an_order_ends_though_no_probe_is_due_for_an_hour(servers, tmp_path):
    path = write_config(tmp_path, servers, health=CALM, failback="immediately")
    with daemon(path) as running:
        both_up(running)
        run("pin", "standbyserver", "--for", "6s", "--config", path)
        assert choice(running) == "standbyserver"
        until(lambda: choice(running) == "mainserver")


def test_an_order_that_ended_while_the_sidecar_was_down_is_said_at_the_start(servers, tmp_path):
    path = write_config(tmp_path, servers, failback="immediately")
    with daemon(path) as running:
        both_up(running)
        run("drain", "mainserver", "--for", "500ms", "--config", path)
        assert running.stop() == 0
        time.sleep(0.5)
        running.restart()
        until(lambda: "mainserver drained->in service expired; set by" in running.log)
        until(lambda: kept(tmp_path)["drains"] == {})
        until(lambda: choice(running) == "mainserver")


def test_a_pin_to_a_dead_server_falls_through_and_a_strict_one_stays(servers, tmp_path):
    path = write_config(tmp_path, servers, failback="immediately")
    with daemon(path) as running:
        both_up(running)
        run("pin", "standbyserver", "--config", path)
        servers[1].stop()
        answer = running.ask("/v1/server?max_age=0").body
        assert (answer["name"], answer["degraded"]) == ("mainserver", True)
        until(lambda: choice(running) == "mainserver")
        shown = running.ask("/v1/servers").body
        assert shown["reason"] == (
            "pinned to standbyserver by root, but standbyserver is DOWN: connection refused; until that changes, this"
            " is the best of the rest"
        )
        assert run("status", "--config", path).returncode == 1
        ended = run("pin", "standbyserver", "--strict", "--config", path)
        assert "Using standbyserver (degraded): pinned strictly to standbyserver by root, though" in ended.stdout
        assert running.ask("/v1/server?max_age=0").body["name"] == "standbyserver"
        assert run("unpin", "--config", path).stdout.startswith("Using mainserver: first in order")


def test_the_last_server_is_not_drained_by_mistake(servers, tmp_path):
    path = write_config(tmp_path, servers)
    with daemon(path) as running:
        both_up(running)
        run("drain", "standbyserver", "--config", path)
        ended = run("drain", "mainserver", "--config", path)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "no server would be left" in ended.stderr
        assert run("drain", "mainserver", "--force", "--config", path).returncode == 0
        ended = run("drain", "gone", "--config", path)
        assert (ended.returncode, "no server 'gone'" in ended.stderr) == (1, True)
    assert run("unpin", "--config", path).returncode == 1


def test_who_is_the_peer_of_the_socket_and_sudo_only_adds_a_name(servers, tmp_path):
    path = write_config(tmp_path, servers)
    with daemon(path) as running:
        ended = run("pin", "mainserver", "--config", path, env=os.environ | {"SUDO_USER": "alice"})
        assert "by root (for alice) since" in ended.stdout
        client.ask(running.socket, "/v1/unpin", method="POST", body={"on_behalf_of": "root"})
        assert "ended by root; set by root (for alice)" in running.log


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_of_the_group_is_named_and_one_outside_it_cannot_ask(servers, tmp_path):
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and directory != directory.parent:
            directory.chmod(directory.stat().st_mode | 0o011)
    code = (
        "import http.client, socket, sys\n"
        "connection = http.client.HTTPConnection('localhost'); connection.sock = socket.socket(socket.AF_UNIX)\n"
        f"connection.sock.connect('{tmp_path}/sidecar.sock')\n"
        "connection.request('POST', '/v1/servers/mainserver/pin', '{\"on_behalf_of\": \"root\"}')\n"
        "print(connection.getresponse().read().decode())"
    )
    with daemon(write_config(tmp_path, servers)) as running:
        python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
        ours, theirs = (
            subprocess.run(
                [python, "-c", code],
                user=65534,
                group=group,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
                env={},
            )
            for group in (os.getegid(), 65534)
        )
        assert json.loads(ours.stdout)["pin"]["who"] == "nobody (for root)", ours.stderr
        assert "PermissionError" in theirs.stderr
        assert running.ask("/v1/servers").body["pin"]["who"] == "nobody (for root)"


def test_a_drain_that_comes_while_the_configuration_is_swapped_is_not_lost(servers, tmp_path):
    path = write_config(tmp_path, servers)
    with daemon(path) as running:
        for number in range(10):
            running.send(signal.SIGHUP)
            action = "undrain" if number % 2 else "drain"
            answer = running.ask(f"/v1/servers/mainserver/{action}", method="POST")
            assert answer.body["changed"]
            assert ("mainserver" in running.ask("/v1/facts").body["drains"]) == (action == "drain")
