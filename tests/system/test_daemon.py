"""The daemon as a process: start, signals, systemd, state that cannot be used, crashes."""

import contextlib
import functools
import http.client
import json
import os
import queue
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chef_devserver.faults import Fault
from chef_failover.api import client
from chef_failover.config import settings as config
from chef_failover.engine.sidecar import Sidecar
from chef_failover.errors import SidecarUnavailableError
from tests.support.daemon_process import command, daemon, free_port, run, until, write_config
from tests.support.parts import require_program
from tests.support.strange_sidecar import ODD


@pytest.fixture(autouse=True)
def started(servers):
    for server in servers:
        server.fault = None
        server.start()


def _ask_in_vain(running):
    with pytest.raises(SidecarUnavailableError):
        running.ask("/v1/server", timeout_s=20)


def name(running):
    return running.ask("/v1/server?max_age=0").body["name"]


def test_main_dies_and_comes_back(servers, tmp_path):
    with daemon(write_config(tmp_path, servers, failback="2s")) as running:
        assert name(running) == "mainserver"
        servers[0].stop()
        answer = running.ask("/v1/server?max_age=0").body
        assert answer["name"] == "standbyserver"
        assert answer["chef_server_url"] == servers[1].chef_server_url
        assert answer["passed_over"] == [{"name": "mainserver", "reason": "connection refused", "reachable": False}]
        until(lambda: running.ask("/v1/servers").body["choice"] == "standbyserver")
        servers[0].start()
        until(lambda: running.ask("/v1/servers").body["servers"][0]["health"] == "UP")
        up_at = time.monotonic()
        assert name(running) == "standbyserver"
        until(lambda: name(running) == "mainserver")
        assert time.monotonic() - up_at > 1.5
        assert "INFO mainserver UP->DOWN connection refused" in running.log
        assert "INFO choice mainserver->standbyserver mainserver is DOWN: connection refused" in running.log
        until(lambda: "INFO choice standbyserver->mainserver" in running.log)  # with the next probe


def test_it_says_nothing_in_a_steady_state(servers, tmp_path):
    with daemon(write_config(tmp_path, servers)) as running:
        until(lambda: [entry["health"] for entry in running.ask("/v1/servers").body["servers"]] == ["UP", "UP"])
        until(lambda: running.log.count("UNKNOWN->UP") == 2)  # a thread of its own writes the log
        before = running.log
        count = len(servers[0].requests)
        until(lambda: len(servers[0].requests) > count + 2)
        assert running.log == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_even_while_a_probe_hangs(servers, tmp_path, number):
    servers[0].fault = Fault.SILENT
    slow = "{interval: 1s, retry_interval: 200ms, timeout: 30s}"
    with daemon(write_config(tmp_path, servers, health=slow)) as running:
        waiting = threading.Thread(target=_ask_in_vain, args=(running,))
        waiting.start()
        until(lambda: servers[0].open_connections)
        started = time.monotonic()
        assert running.stop(number) == 0
        assert time.monotonic() - started < 10  # the probe has 30
        waiting.join()
    assert not (tmp_path / "sidecar.sock").exists()


def test_the_socket_is_for_its_group_and_the_state_for_everybody(servers, tmp_path):
    with daemon(write_config(tmp_path, servers)) as running:
        name(running)
        until((tmp_path / "state.json").exists)
        assert stat.S_IMODE((tmp_path / "sidecar.sock").stat().st_mode) == 0o660
        assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o644


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(servers, tmp_path):
    path = write_config(tmp_path, servers)
    with daemon(path) as running:
        second = run("serve", "--config", path)
        assert (second.returncode, f"state_dir {tmp_path}: another sidecar" in second.stderr) == (2, True)
        assert name(running) == "mainserver"
        running.stop(signal.SIGKILL)
        assert (tmp_path / "sidecar.sock").is_socket()
        running.restart()
        assert name(running) == "mainserver"


def test_the_choice_survives_a_restart_and_a_kill(servers, tmp_path):
    with daemon(write_config(tmp_path, servers)) as running:
        servers[0].stop()
        until(lambda: running.ask("/v1/servers").body["choice"] == "standbyserver")
        since = running.ask("/v1/servers").body["since"]
        until(lambda: json.loads((tmp_path / "state.json").read_text())["choice"]["name"] == "standbyserver")
        servers[0].start()
        for number in (signal.SIGTERM, signal.SIGKILL):
            running.stop(number)
            running.restart()
            assert name(running) == "standbyserver"
            assert running.ask("/v1/servers").body["since"] == since


def test_a_change_is_written_down_soon(servers, tmp_path):
    with daemon(write_config(tmp_path, servers)) as running:
        assert name(running) == "mainserver"
        servers[0].stop()
        until(lambda: running.ask("/v1/servers").body["choice"] == "standbyserver")
        until(lambda: json.loads((tmp_path / "state.json").read_text())["choice"]["name"] == "standbyserver")


FROM_THE_FUTURE = {"name": "standbyserver", "since": "2126-01-01T00:00:00Z"}
GOOD = {"schema": 1, "choice": {"name": "standbyserver", "since": "2026-11-22T10:00:00Z"}, "transitions": []}


@pytest.mark.parametrize(
    ("content", "word", "kept"),
    [
        (json.dumps(GOOD)[:40], "not whole JSON", True),
        ("", "not whole JSON", True),
        ("[]", "not a state file of chef-failover", True),
        (json.dumps(GOOD | {"schema": 2}), "newer than", True),
        (json.dumps(GOOD | {"choice": {"name": 5}}), "choice.name is not text", True),
        (json.dumps(GOOD | {"transitions": [{}]}), "server", True),
        (
            json.dumps(GOOD | {"choice": {"name": "standbyserver", "since": "2126-01-01T00:00:00Z"}}),
            "clock was set",
            False,
        ),
    ],
)
def test_a_state_that_cannot_be_used_is_said_and_set_aside(servers, tmp_path, content, word, kept):
    (tmp_path / "state.json").write_text(content)
    with daemon(write_config(tmp_path, servers)) as running:
        assert name(running) == ("mainserver" if kept else "standbyserver")
        assert "WARNING" in running.log
        assert word in running.log
        assert (tmp_path / "state.json.rejected").exists() == kept
        if kept:
            assert (tmp_path / "state.json.rejected").read_text() == content


def test_a_state_that_cannot_be_read_or_written_is_no_reason_to_stop(servers, tmp_path):
    (tmp_path / "state.json").mkdir()
    with daemon(write_config(tmp_path, servers)) as running:
        assert name(running) == "mainserver"
        assert "cannot be read (Is a directory)" in running.log
        until(lambda: "cannot save the state: Is a directory" in running.log)
        assert running.log.count("cannot save the state") == 1


def test_reload_takes_a_valid_configuration_in_whole(servers, tmp_path):
    path = write_config(tmp_path, servers[:1])
    with daemon(path) as running:
        assert name(running) == "mainserver"
        write_config(tmp_path, tuple(reversed(servers)), more="trusted_hosts: [chef.example.com]\n")
        running.send(signal.SIGHUP)
        until(lambda: "reloaded" in running.log)
        names = [entry["name"] for entry in running.ask("/v1/servers").body["servers"]]
        assert names == ["standbyserver", "mainserver"]
        # What is known of a server that stays is kept, and the hold-down keeps the node where it is.
        assert running.ask("/v1/servers").body["servers"][1]["health"] == "UP"
        assert name(running) == "mainserver"


def test_reload_keeps_the_old_configuration_when_the_new_one_is_bad(servers, tmp_path):
    path = write_config(tmp_path, servers)
    with daemon(path) as running:
        before = running.ask("/v1/servers").body["servers"]
        path.write_text("node: {colour: red}\nhealth: {interval: 5}\n")
        running.send(signal.SIGHUP)
        until(lambda: "stays" in running.log)
        assert f"{path}:1: node.colour: unknown key" in running.log
        assert f"{path}:2: health.interval: 5 is not a duration" in running.log
        after = running.ask("/v1/servers").body["servers"]
        assert [entry["name"] for entry in after] == [entry["name"] for entry in before]


def test_a_bad_configuration_at_start_is_exit_2_with_every_problem(tmp_path):
    (tmp_path / "config.yml").write_text("node: {colour: red}\nhealth: {interval: 5}\n")
    ended = run("serve", "--config", tmp_path / "config.yml")
    assert ended.returncode == 2
    assert [line.split(":")[1] for line in ended.stderr.splitlines()] == ["1", "2"]


def test_a_loopback_port_that_is_taken_is_tried_again_and_the_socket_is_served(servers, tmp_path):
    port = free_port()
    path = write_config(tmp_path, servers, loopback=f'"127.0.0.1:{port}"')
    taken = socket.create_server(("127.0.0.1", port))
    with taken, daemon(path, WATCHDOG_USEC="400000") as running:
        assert name(running) == "mainserver"
        time.sleep(1)
        assert running.log.count(f"listen.loopback 127.0.0.1:{port}: Address already in use; retrying every ") == 1
        taken.close()
        until(lambda: "opened" in running.log)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
            peer.sendall(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert peer.recv(100).startswith(b"HTTP/1.0 200 OK")


def test_a_socket_whose_file_has_gone_is_made_again(servers, tmp_path):
    with daemon(write_config(tmp_path, servers), WATCHDOG_USEC="400000") as running:
        for _ in range(2):
            running.socket.unlink()
            until(running.socket.exists)
            running.wait_up()
        assert stat.S_IMODE(running.socket.stat().st_mode) == 0o660
        until(lambda: running.log.count("the file was gone; recreated") == 2)
        assert running.stop() == 0
        assert not running.socket.exists()


def test_a_socket_that_cannot_be_opened_names_its_key(servers, tmp_path):
    (tmp_path / "sidecar.sock").mkdir()
    ended = run("serve", "--config", write_config(tmp_path, servers))
    assert (ended.returncode, f"listen.socket {tmp_path}/sidecar.sock: " in ended.stderr) == (1, True)


def test_a_state_directory_and_a_socket_have_one_daemon(servers, tmp_path):
    path = write_config(tmp_path, servers)
    other = tmp_path / "other"
    other.mkdir()
    with daemon(path) as running:
        for old, new, what in (
            (f"socket: {tmp_path}/", f"socket: {other}/", f"state_dir {tmp_path}"),
            (f"state_dir: {tmp_path}", f"state_dir: {other}", f"listen.socket {tmp_path}/sidecar.sock"),
        ):
            (other / "config.yml").write_text(path.read_text().replace(old, new))
            second = run("serve", "--config", other / "config.yml")
            assert second.returncode == 2
            assert f"{what}: another sidecar uses it and holds the lock on " in second.stderr
        assert name(running) == "mainserver"


def test_without_servers_it_idles_and_is_healthy(tmp_path):
    with daemon(write_config(tmp_path)) as running:
        assert running.ask("/livez").status == 200
        answer = running.ask("/v1/server?max_age=0")
        assert (answer.status, answer.body["title"]) == (404, "No server is configured")
        assert running.ask("/v1/facts").body["server"] is None


def test_systemd_is_told(servers, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)

        def told(word):
            while word not in (message := systemd.recv(4096).decode()):
                pass
            return message

        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        with daemon(write_config(tmp_path, servers), **environ) as running:
            told("READY=1")
            name(running)
            assert told("STATUS=using mainserver; ")
            told("WATCHDOG=1")
            running.send(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in told("RELOADING=1")
            told("READY=1")
            told("WATCHDOG=1")
            running.send(signal.SIGTERM)
            told("STOPPING=1")


def test_the_watchdog_is_fed_by_the_loops_and_not_by_whoever_answers(servers, tmp_path, monkeypatch):
    """One loop hangs, and the HTTP threads are well."""
    from chef_failover.api.app import create_app
    from chef_failover.daemon import serve as module
    from chef_failover.daemon.systemd import Notifier

    sidecar = Sidecar(config.load(write_config(tmp_path, servers)))
    http = create_app(sidecar, may_change=False).test_client()
    hangs, told = [], []

    class Systemd(Notifier):
        watchdog_s = 0.02

        def __init__(self):
            pass

        def alive(self):
            told.append(tuple(hangs))

    class Signals(queue.SimpleQueue):
        def get(self, block=True, timeout=None):
            time.sleep(timeout)
            if len(told) >= 3 and not hangs:
                hangs.append("mainserver")
                assert (answered := http.get("/livez", base_url="http://localhost")).status_code == 503
                assert "mainserver" in answered.json["detail"]
                ends.append(time.monotonic() + 0.3)
            if not ends or time.monotonic() < ends[0]:
                raise queue.Empty
            return signal.SIGTERM

    def dead():
        return ("listen.socket",) if hangs == ["a listener"] else ()

    listening: Any = SimpleNamespace(tend=lambda: None, dead=dead)
    ends = []
    monkeypatch.setattr(sidecar, "late", lambda: tuple(hangs))
    assert http.get("/livez", base_url="http://localhost").status_code == 200
    module._obey(sidecar, listening, None, Systemd(), Signals())
    assert told == [()] * len(told), "never while one hangs"
    told.clear()
    hangs[:], ends[:] = ["a listener"], [time.monotonic() + 0.3]
    monkeypatch.setattr(sidecar, "late", tuple)
    module._obey(sidecar, listening, None, Systemd(), Signals())
    assert not told, "nor when a listener has died"


def test_a_machine_that_stood_still_does_not_stop_it(servers, tmp_path):
    """Longer than the watchdog's half, after which the wait for a signal has no time left."""
    with daemon(write_config(tmp_path, servers), WATCHDOG_USEC="1000000") as running:
        for _ in range(3):
            running.send(signal.SIGSTOP)
            time.sleep(0.7)
            running.send(signal.SIGCONT)
            running.wait_up()
        running.send(signal.SIGHUP)
        until(lambda: "reloaded" in running.log)
        assert running.stop() == 0


def choice_at(path):
    with contextlib.suppress(SidecarUnavailableError):
        return client.ask(path, "/v1/servers").body["choice"]


def test_a_full_pipe_behind_stderr_stops_nothing(servers, tmp_path):
    path = write_config(tmp_path, servers)
    reading, stderr = os.pipe()
    os.set_blocking(stderr, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(stderr, b"\n" * 4096)
    os.set_blocking(stderr, True)
    process = subprocess.Popen(command("serve", "--config", path), stderr=stderr)
    try:
        for wanted in ("mainserver", "standbyserver"):
            until(lambda wanted=wanted: choice_at(tmp_path / "sidecar.sock") == wanted)
            servers[0].stop()
        process.send_signal(signal.SIGHUP)  # each of these is said, or would be
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(stderr)


def test_no_key_of_a_list_forges_a_line_of_the_log(servers, tmp_path):
    listed = tmp_path / "list.yml"
    listed.write_text(f"servers:\n- {{name: a, url: 'https://a.example', {json.dumps(ODD)}: 1}}\n")
    path = write_config(tmp_path, servers, more=f"discovery: {{source: 'file:{listed}'}}\n")
    with daemon(path) as running:
        until(lambda: "unknown key" in running.log)
        path.write_text(path.read_text() + f"{json.dumps(ODD)}: 1\n{json.dumps(ODD + ODD)}: 1\n")
        running.send(signal.SIGHUP)
        until(lambda: "the configuration in use stays" in running.log)
        for line in running.log.splitlines():
            assert re.match(r"(INFO|WARNING|ERROR) (?!forged)", line), line
            assert line.isprintable(), line


def test_a_hundred_servers_work_within_the_limits_of_the_unit(servers, tmp_path):
    """Defaults, a server that is well, and 99 that are not: 40 of them hang, so probes overstay their turn."""
    unit = (Path(__file__).parents[2] / "packaging" / "chef-failover.service").read_text()
    limit = int(re.search(r"^TasksMax=(\d+)$", unit, re.MULTILINE)[1])
    config_path = write_config(tmp_path, servers[:1], health="{}", node="{name: web-1}")
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        ports = [
            silent.getsockname()[1] if number % 5 < 2 else free_port() for number in range(config.MOST_SERVERS - 1)
        ]
        more = "".join(
            f"  - {{name: s{n}, url: 'https://127.0.0.1:{port}/organizations/o{n}'}}\n" for n, port in enumerate(ports)
        )
        text = config_path.read_text()
        config_path.write_text(text.replace("health:", more + "health:", 1))
        with daemon(config_path) as running:
            assert name(running) == "mainserver"
            running.ask("/v1/servers?refresh=yes")
            seen = []

            def all_are_judged():
                seen.append(sum(1 for _ in Path(f"/proc/{running.process.pid}/task").iterdir()))
                told = running.ask("/v1/servers").body["servers"]
                return all(server["health"] != "UNKNOWN" for server in told)

            until(all_are_judged, timeout_s=120)
            assert name(running) == "mainserver"
            assert max(seen) <= limit
            assert running.ask("/livez").body["faults"] == 0
            one_more = "  - {name: x, url: 'https://127.0.0.1:1'}\nhealth:"
            config_path.write_text(config_path.read_text().replace("health:", one_more, 1))
            running.send(signal.SIGHUP)
            until(lambda: "names 101 servers; write at most 100" in running.log)
            assert running.process.poll() is None


def test_boto3_is_not_loaded_until_it_is_needed(servers, tmp_path):
    with daemon(write_config(tmp_path, servers)) as running:
        name(running)
        maps = (tmp_path.parent / f"/proc/{running.process.pid}/maps").read_text()
        assert "boto" not in maps
    modules = "sys, chef_failover.cli.look, chef_failover.daemon.serve"
    code = f"import {modules}; print([m for m in sys.modules if 'boto' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_daemon_is_ready_without_what_only_others_need():
    late = {"flask", "requests", "chef_failover.engine.workers", "chef_failover.chef.node_objects"}
    code = f"import sys, chef_failover.daemon.serve; print({late} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_nobody_is_told_that_there_is_nothing_to_guess_encodings_with(servers, tmp_path):
    with daemon(write_config(tmp_path, servers), PYTHONPROFILEIMPORTTIME="1") as running:
        name(running)
        assert "requests.adapters" in running.log
        assert "charset_normalizer.api" not in running.log
        assert "RequestsDependencyWarning" not in running.log


def test_a_hundred_requests_at_once_start_one_round_of_probes(servers, tmp_path):
    calm = "{interval: 1h, retry_interval: 1h, timeout: 2s, fresh_for: 30s}"  # a busy host may take some to ask
    before = [len(server.requests) for server in servers]
    with daemon(write_config(tmp_path, servers, health=calm)) as running:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(running.ask("/v1/server").body["name"])) for _ in range(100)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["mainserver"] * 100
        main, standby = (len(server.requests) - count for server, count in zip(servers, before, strict=True))
        assert main == 1
        assert standby <= 1, "which is asked where the first is slow"


def test_nobody_on_the_loopback_port_can_have_servers_probed_at_will(servers, tmp_path):
    """Any local user may ask there; only who may use the socket may ask for results of this very moment."""
    port = free_port()
    calm = "{interval: 1h, retry_interval: 1h, fresh_for: 30s}"
    with daemon(write_config(tmp_path, servers, health=calm, loopback=f'"127.0.0.1:{port}"')) as running:
        until(lambda: all(one["outcome"] for one in running.ask("/v1/servers?refresh=yes").body["servers"]))
        before = [server.connections for server in servers]
        for query in ("max_age=0", "wait=no&max_age=0") * 20:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", f"/v1/server?{query}")
            assert connection.getresponse().status == 200
            connection.close()
        assert [server.connections for server in servers] == before
        name(running)
        assert [server.connections for server in servers] != before


def test_the_loopback_port_only_reads_and_only_under_our_names(servers, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with daemon(write_config(tmp_path, servers, loopback=f'"127.0.0.1:{port}"')) as running:

        def ask(method, target, host=f"127.0.0.1:{port}", body=None):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request(method, target, body=body, headers={"Host": host})
            response = connection.getresponse()
            document = response.read()
            connection.close()
            return response.status, document

        assert ask("GET", "/v1/server")[0] == 200
        assert ask("HEAD", "/livez") == (200, b"")
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", "[::1]", "LOCALHOST"):
            assert ask("GET", "/livez", host)[0] == 200, host
        for host in ("evil.example.com", "127.0.0.1.evil.com", "localhost.evil", "x@127.0.0.1:1:2", ""):
            assert ask("GET", "/livez", host)[0] in (400, 421), host
        report = json.dumps({"run_id": "1", "event": "failed"})
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            status, _ = ask(method, "/v1/runs", body=report)
            assert status in (404, 405), method
        assert client.ask(running.socket, "/v1/runs", method="POST", body=json.loads(report)).status == 202


def test_whatever_is_done_to_the_loopback_port_the_socket_answers(servers, tmp_path):
    import contextlib

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = write_config(tmp_path, servers, loopback=f'"127.0.0.1:{port}"')
    with daemon(path) as running, contextlib.ExitStack() as stack:
        for _ in range(260):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        assert name(running) == "mainserver"
        assert running.ask("/livez").status == 200


def test_a_reload_that_moves_the_choice_says_so(servers, tmp_path):
    path = write_config(tmp_path, servers, failback="immediately")
    with daemon(path) as running:
        assert name(running) == "mainserver"
        until(lambda: running.ask("/v1/servers").body["servers"][1]["health"] == "UP")
        write_config(tmp_path, tuple(reversed(servers)), failback="immediately")
        running.send(signal.SIGHUP)
        until(lambda: "choice mainserver->standbyserver" in running.log)


def test_reloads_do_not_starve_the_watchdog(servers, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        with daemon(write_config(tmp_path, servers), **environ) as running:
            fed = 0
            for _ in range(2000):
                message = systemd.recv(4096).decode()
                fed += message == "WATCHDOG=1"
                if fed == 2:
                    break
                if message == "READY=1":
                    running.send(signal.SIGHUP)
            assert fed == 2


def test_readyz_tells_when_a_choice_exists(servers, tmp_path):
    calm = "{interval: 1h, retry_interval: 1h, timeout: 2s}"
    with daemon(write_config(tmp_path, servers, health=calm)) as running:
        name(running)
        until(lambda: running.ask("/readyz").status == 200)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_local_user_cannot_reach_the_socket(servers, tmp_path):
    ruby = require_program("ruby", "ruby")
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and directory != directory.parent:
            directory.chmod(directory.stat().st_mode | 0o011)
    code = f"require 'socket'; UNIXSocket.new('{tmp_path}/sidecar.sock').write('GET /livez HTTP/1.0')"
    with daemon(write_config(tmp_path, servers)):
        ask = functools.partial(
            subprocess.run, [ruby, "-e", code], cwd="/", capture_output=True, text=True, check=False
        )
        ours, theirs = ask(), ask(user=65534, group=65534, extra_groups=[])
    assert ours.returncode == 0
    assert "Errno::EACCES" in theirs.stderr
