import datetime
import os

import pytest

from chef_failover import state
from chef_failover.model import Transition
from chef_failover.state import Remembered

NOW = datetime.datetime(2026, 11, 22, 12, 0, tzinfo=datetime.UTC)
BEFORE = NOW - datetime.timedelta(hours=1)


def test_nothing_is_remembered_where_there_is_nothing(tmp_path):
    assert state.read(tmp_path / "state.json", NOW) == Remembered()


def test_the_contract_file_is_understood(contract):
    remembered = state.read(contract / "state.json", NOW)
    assert remembered.problems == ()
    assert remembered.choice == "standbyserver"
    assert [entry.server for entry in remembered.transitions] == ["mainserver", None]


def test_what_is_written_is_read_again_and_no_temporary_file_stays(tmp_path):
    path = tmp_path / "state.json"
    state.write(path, {"choice": {"name": "a", "since": "2026-11-22T11:00:00Z"}, "transitions": []})
    assert state.read(path, NOW) == Remembered("a", BEFORE, ())
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    state.write(path, {"choice": {"name": "a"}})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        state.write(path, {"choice": {"name": "b"}})
    assert state.read(path, NOW).choice == "a"


def test_it_does_not_write_through_a_link_laid_in_its_way(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".state.json.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        state.write(tmp_path / "state.json", {})
    assert victim.read_text() == "precious"


def test_times_after_now_are_dropped_and_the_choice_is_kept(tmp_path):
    path = tmp_path / "state.json"
    entries = [
        {"at": "2026-11-22T11:00:00Z", "server": "a", "from": "UP", "to": "DOWN", "reason": "x"},
        {"at": "2027-11-22T11:00:00Z", "server": "a", "from": "DOWN", "to": "UP", "reason": "x"},
    ]
    state.write(path, {"choice": {"name": "a", "since": "2027-01-01T00:00:00Z"}, "transitions": entries})
    remembered = state.read(path, NOW)
    assert (remembered.choice, remembered.chosen_on) == ("a", NOW)
    assert remembered.transitions == (Transition(BEFORE, "a", "UP", "DOWN", "x"),)
    assert "the clock was set back" in remembered.problems[0]


def test_peek_sets_nothing_aside(tmp_path):
    path = tmp_path / "state.json"
    path.write_text("{")
    assert "not whole JSON" in state.peek(path, NOW).problems[0]
    assert path.read_text() == "{"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"schema": 1, "choice": 5}', '{"schema": 1, "choice": {"name": "a", "since": 5}}']
)
def test_odd_documents_are_set_aside(tmp_path, text):
    path = tmp_path / "state.json"
    path.write_text(text)
    remembered = state.read(path, NOW)
    assert (remembered.choice, remembered.is_useless, path.exists()) == (None, True, False)
