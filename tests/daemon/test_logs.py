import contextlib
import fcntl
import json
import logging
import logging.handlers
import os
import sys
import threading
import time

import pytest

from chef_failover.daemon import logs
from chef_failover.engine.live_snapshot import log_changes
from chef_failover.metrics.faults import Faults
from chef_failover.model.model import Health, Outcome
from chef_failover.printable import printable
from tests.support.builders import probed, server, world
from tests.support.daemon_process import until
from tests.support.strange_sidecar import ODD


@pytest.fixture
def lines(caplog):
    formatter = logs.JsonFormatter()
    caplog.set_level(logging.INFO)
    return lambda: [json.loads(formatter.format(record)) for record in caplog.records]


def test_a_transition_has_its_parts_as_fields(lines):
    before = world(server("main"), server("other"), current="main")
    after = before
    for at in range(3):
        after = probed(after, "main", Outcome.REFUSED, float(at))
    assert after.server("main").health is Health.DOWN
    after = probed(after, "other", Outcome.OK, 3.0)
    assert log_changes(before, after)
    health, choice = lines()
    assert health["message"] == "main UP->DOWN refused"
    assert {key: health[key] for key in logs.FIELDS} == {
        "server": "main", "from": "UP", "to": "DOWN", "reason": "refused",
    }  # fmt: skip
    assert (health["level"], health["logger"]) == ("INFO", "chef_failover.engine.live_snapshot")
    assert (choice["server"], choice["from"], choice["to"]) == (None, "main", "other")


def test_a_line_is_one_line_with_the_time_in_utc(lines):
    log = logging.getLogger("chef_failover.x")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("broke: %s", "a\nb")
    (line,) = lines()
    assert line["message"] == "broke: a\nb"
    assert "ValueError: two\nlines" in line["exception"]
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-11-22T10:00:00.000Z")
    assert "\n" not in logs.JsonFormatter().format(logging.makeLogRecord({"exc_info": sys.exc_info(), "msg": "a\nb"}))
    assert set(line) == {"time", "level", "logger", "message", "exception"}


def test_the_format_can_be_changed_at_any_time(monkeypatch):
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    record = logging.makeLogRecord({"levelname": "INFO", "msg": "hello"})
    logs.use("json")
    assert json.loads(handler.format(record))["message"] == "hello"
    logs.use("text")
    assert handler.format(record) == "INFO hello"


def written(log_call):
    """The lines that ``log_call(log)`` writes as text."""
    log = logging.Logger("x")
    handler = logging.handlers.BufferingHandler(1000)
    log.addHandler(handler)
    log_call(log)
    return [line for record in handler.buffer for line in logs.TextFormatter().format(record).split("\n")]


def test_no_text_forges_a_line_or_commands_the_terminal_that_shows_it():
    lines = written(lambda log: log.warning("the key %s is unknown", ODD))
    assert lines == [f"WARNING the key {printable(ODD)} is unknown"]

    def broken(log):
        try:
            raise ValueError(ODD)
        except ValueError:
            log.exception("broke")

    first, *trace = written(broken)
    assert first == "ERROR broke"
    assert all(line.startswith("  ") and line.isprintable() for line in trace)
    assert any("ERROR forged" in line for line in trace)


class Pipe:
    """Stderr as a pipe of one page, and its other end."""

    def __init__(self):
        self._out, self.descriptor = os.pipe()
        fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self._out, False)
        self.lines = []

    def fill(self):
        os.set_blocking(self.descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.descriptor, b"\n")
        os.set_blocking(self.descriptor, True)

    def read(self):
        """All lines that have come so far."""
        with contextlib.suppress(BlockingIOError):
            self.lines += filter(None, os.read(self._out, 65536).decode().split("\n"))
        return self.lines

    def close_reader(self):
        os.close(self._out)


@pytest.fixture
def pipe():
    return Pipe()


@pytest.fixture
def queued(pipe):
    """A logger behind a queue of three, and its handler."""
    handler = logs.Lines(3, logs.Stream(pipe.descriptor), Faults())
    log = logging.Logger("x")
    log.addHandler(handler)
    return log, handler


def test_nobody_waits_for_a_pipe_that_nobody_reads_and_what_is_dropped_is_counted(pipe, queued):
    log, handler = queued
    pipe.fill()
    log.info("first")  # which the thread takes, and hangs with
    until(handler.queue.empty)
    for number in range(10):
        log.info("%d", number)
    began = time.monotonic()
    handler.flush()
    assert time.monotonic() - began < 30
    until(lambda: "INFO 2" in pipe.read())
    assert pipe.lines == ["INFO first", "INFO 0", "INFO 1", "INFO 2"]
    log.info("last")
    until(lambda: "INFO last" in pipe.read())
    assert pipe.lines[4:] == ["WARNING 7 log lines were lost here: the log was not read fast enough", "INFO last"]


def test_a_line_has_its_format_and_its_traceback_behind_the_queue(pipe, queued):
    log, handler = queued
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("broke %s", "it")
    handler.setFormatter(logs.JsonFormatter())
    log.info("hello", extra={"server": "a"})
    until(lambda: "hello" in "".join(pipe.read()))
    *text, last = pipe.lines
    assert (text[0], text[-1].strip()) == ("ERROR broke it", "ValueError: x")
    assert {key: json.loads(last)[key] for key in ("message", "server")} == {"message": "hello", "server": "a"}


def test_a_reader_that_has_gone_is_no_fault(pipe, queued):
    log, handler = queued
    pipe.close_reader()
    for _ in range(3):
        log.info("in vain")
    until(handler.queue.empty)


def test_what_only_the_log_hears_of_is_counted(monkeypatch, pipe):
    faults = Faults()
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "stderr", None)
    logs.from_a_thread(faults)
    try:
        logging.getLogger("waitress").error("uncaptured python exception, closing channel")
        assert (faults.count, faults.last) == (1, "request in waitress")
        logging.getLogger("waitress").warning("total open connections reached the connection limit")
        ending = threading.Thread(target=[].pop, name="listen.socket")
        ending.start()
        ending.join()
        assert (faults.count, faults.last) == (2, "thread listen.socket: IndexError")
        log = logging.Logger("x")
        log.addHandler(logs.Lines(3, logs.Stream(pipe.descriptor), faults))
        log.info("%d", "no number")
        assert (faults.count, faults.last) == (3, "log line of x: TypeError")
    finally:
        logging.getLogger("waitress").filters.clear()


def test_what_anybody_can_have_said_is_said_so_often_and_the_rest_is_counted():
    now = [0.0]
    seldom = logs.Seldom(3, clock=lambda: now[0])

    def passed(count):
        records = [logging.makeLogRecord({"msg": "bad %s", "args": (number,)}) for number in range(count)]
        return [record.getMessage() for record in records if seldom.filter(record)]

    assert passed(5) == ["bad 0", "bad 1", "bad 2"]
    now[0] = 59.0
    assert passed(2) == []
    now[0] = 60.0
    assert passed(2) == ["bad 0 (4 similar lines suppressed before this one)", "bad 1"]
    now[0] = 200.0
    assert passed(1) == ["bad 0"]
