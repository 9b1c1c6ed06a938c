"""What every run asks on the Unix socket, answered without waiting, and before waitress sees the connection."""

import http.client
import io
import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chef_devserver.faults import Fault
from chef_failover.api import client
from chef_failover.api.front import Front
from chef_failover.api.listeners import Listener
from chef_failover.config import settings as config
from chef_failover.engine import watch
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Health, Outcome
from tests.support.daemon_process import until, write_config

QUESTION = b"GET /v1/server HTTP/1.0\r\nHost: localhost\r\n\r\n"
UNHURRIED = QUESTION.replace(b"server", b"server?wait=no")
CALM = "{interval: 1h, retry_interval: 1h, timeout: 2s, fresh_for: 1h}"


@pytest.fixture
def make_sidecar(servers, tmp_path):
    """Gives a running sidecar, unless ``starts`` is false; ``fresh_for`` as in the configuration."""
    made = []

    def make(fresh_for="1h", *, starts=True):
        health = CALM.replace("fresh_for: 1h", f"fresh_for: {fresh_for}")
        made.append(Sidecar(config.load(write_config(tmp_path, servers, health=health))))
        if starts:
            made[-1].start()
        return made[-1]

    yield make
    for server in servers:
        server.fault = None
    for sidecar in made:
        assert sidecar.stop(5)


def front_of(sidecar):
    return Front(sidecar, no_application, answers_runs=True)


def no_application():
    raise AssertionError("nobody asked for Flask")


def heard(sidecar):
    """A sidecar that has heard of all its servers."""
    sidecar.choose_for_run()
    until(lambda: all(server.health is Health.UP for server in sidecar.snapshot.servers))
    return sidecar


def parsed(answer):
    """Status and document of raw HTTP."""

    class Connection:
        def makefile(self, *_):
            return io.BytesIO(answer)

    response = http.client.HTTPResponse(Connection())
    response.begin()
    return response.status, json.loads(response.read())


def test_nothing_but_the_question_is_answered_past_waitress(make_sidecar):
    front = front_of(heard(make_sidecar()))
    assert parsed(front.at_once(QUESTION))[1]["name"] == "mainserver"
    assert parsed(front.at_once(QUESTION.replace(b"1.0", b"1.1")))[0] == 200
    for other in (
        b"",
        QUESTION[:-2],
        QUESTION + b"x",
        QUESTION.replace(b"GET", b"HEAD"),
        QUESTION.replace(b"server", b"servers"),
        QUESTION.replace(b"server", b"server?wait=yes"),
        QUESTION.replace(b"\r\n", b"\n"),
        QUESTION + b"POST /v1/unpin HTTP/1.1\r\n\r\n",
    ):
        assert front.at_once(other) is None, other


def test_an_answer_that_needs_a_probe_is_not_there_at_once(make_sidecar):
    front = front_of(heard(make_sidecar("0s")))
    assert front.at_once(QUESTION) is None


def test_without_waiting_the_latest_results_count_and_probes_begin(make_sidecar, servers):
    sidecar = heard(make_sidecar("0s"))
    servers[0].fault = Fault.SILENT
    began = time.monotonic()
    assert parsed(front_of(sidecar).at_once(UNHURRIED))[1]["name"] == "mainserver"
    assert time.monotonic() - began < 1
    until(lambda: sidecar.snapshot.server("mainserver").last.outcome is Outcome.READ_TIMEOUT)
    answer = parsed(front_of(sidecar).at_once(UNHURRIED))[1]
    assert [answer["name"], answer["passed_over"][0]["name"]] == ["standbyserver", "mainserver"]


def test_behind_waitress_a_run_needs_no_flask_either_way(make_sidecar):
    front = front_of(make_sidecar())
    for query in ("", "wait=no"):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/server", "QUERY_STRING": query}
        (body,) = front(environ, lambda status, headers: None)
        assert json.loads(body)["name"] == "mainserver"


def test_without_waiting_there_is_no_answer_before_any_server_was_heard(make_sidecar, servers):
    for server in servers:
        server.fault = Fault.SILENT
    sidecar = make_sidecar()
    assert sidecar.choose_at_once(is_final=False) is None
    assert front_of(sidecar).at_once(UNHURRIED) is None


def test_a_run_that_asks_before_probing_begins_has_the_whole_time_of_a_probe_from_then_on(
    make_sidecar, servers, monkeypatch
):
    """The daemon answers while it still loads what probes."""
    monkeypatch.setattr(watch, "START_S", 60)
    servers[0].fault = Fault.SILENT
    sidecar = make_sidecar(starts=False)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(sidecar.choose_for_run)
        time.sleep(2 * watch.ANSWER_SLACK_S)
        sidecar.start()
        snapshot, choice = asked.result(20)
    assert choice.name == "standbyserver"
    assert snapshot.server("mainserver").last.outcome is Outcome.READ_TIMEOUT, "waited out"


def test_what_was_never_started_answers_and_stops(make_sidecar):
    _, choice = make_sidecar(starts=False).choose_for_run()
    assert choice.name == "mainserver"


def test_without_waiting_a_better_server_that_was_never_heard_of_is_waited_for(make_sidecar, servers):
    """Right after the start, when the standby happens to answer first."""
    servers[0].fault = Fault.SILENT
    sidecar = make_sidecar()
    sidecar.choose_at_once(is_final=False)  # has both probed
    until(lambda: sidecar.snapshot.server("standbyserver").health is Health.UP)
    assert sidecar.choose_at_once(is_final=False) is None
    until(lambda: sidecar.snapshot.server("mainserver").last)
    _, choice = sidecar.choose_at_once(is_final=False)
    assert choice.name == "standbyserver"


@pytest.fixture
def listen(tmp_path):
    """Gives the path of a socket on which these answer: past waitress, and behind it."""
    opened = []

    def open_one(at_once):
        def app(environ, start_response):
            body = json.dumps({"path": environ["PATH_INFO"]}).encode()
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]

        path = tmp_path / "sidecar.sock"
        opened.append(
            Listener("x", path, app, at_once=at_once, threads=1, connections=10),
        )
        opened[-1].start()
        return path

    yield open_one
    for listener in opened:
        listener.close()


def exchange(path, first, *more):
    """What comes back for a request that is sent in parts, to the end of the stream; a reset raises."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        peer.sendall(first)
        for part in more:
            time.sleep(0.05)  # so that it comes by itself
            peer.sendall(part)
        return b"".join(iter(lambda: peer.recv(65536), b""))


def test_a_request_in_one_piece_is_answered_at_once_and_its_connection_ends_well(listen):
    path = listen(lambda request: b"HTTP/1.0 200 OK\r\n\r\n{}" if request == QUESTION else None)
    answers = [exchange(path, QUESTION) for _ in range(200)]
    # The listener may look before the question is there, and then it is waitress' affair.
    assert {answer.rpartition(b"\n")[2] for answer in answers} <= {b"{}", b'{"path": "/v1/server"}'}
    assert any(answer.endswith(b"{}") for answer in answers)


def test_a_request_in_pieces_and_any_other_is_waitress_affair(listen):
    path = listen(lambda request: b"HTTP/1.0 200 OK\r\n\r\n{}" if request == QUESTION else None)
    assert b'"/v1/server"' in exchange(path, QUESTION[:20], QUESTION[20:])
    assert b'"/v1/facts"' in exchange(path, QUESTION.replace(b"server", b"facts"))
    assert client.ask(path, "/livez").body == {"path": "/livez"}


def test_who_does_not_take_a_whole_answer_gets_no_second_one(listen):
    path = listen(lambda _: b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1_000_000)
    answers = []
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(str(path))
            peer.sendall(QUESTION)
            time.sleep(0.02)
            answers.append(b"".join(iter(lambda: peer.recv(65536), b"")))
    assert {answer.count(b"HTTP/1.") for answer in answers} == {1}


def test_a_fault_of_ours_is_logged_and_waitress_answers(listen, caplog):
    def broken(request):
        raise RuntimeError("a bug")

    path = listen(broken)
    with caplog.at_level(logging.ERROR):
        # A question that comes a little later than its connection is never seen there.
        until(lambda: client.ask(path, "/v1/server").status == 200 and "RuntimeError: a bug" in caplog.text)
        assert client.ask(path, "/v1/server").body == {"path": "/v1/server"}  # the loop is alive


def test_who_connects_and_goes_does_no_harm(listen):
    path = listen(lambda _: b"HTTP/1.0 200 OK\r\n\r\n{}")
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(QUESTION)
    assert exchange(path, QUESTION).endswith((b"{}", b'server"}'))
