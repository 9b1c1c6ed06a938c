import json
import logging
import sys

import pytest

from chef_failover.daemon import logs
from chef_failover.engine.live_snapshot import log_changes
from chef_failover.model.model import Health, Outcome
from tests.support.builders import probed, server, world


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
