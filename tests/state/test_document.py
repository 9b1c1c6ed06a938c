import datetime
import json
import math
import os
import tracemalloc

import pytest

from chef_failover.chef.used import write
from chef_failover.model.model import Returns, Transition
from chef_failover.model.run_history import Used
from chef_failover.node.boot import boot_id
from chef_failover.state import document as state
from chef_failover.state.remembered import KnownUse, Remembered

NOW = datetime.datetime(2026, 11, 22, 12, 0, tzinfo=datetime.UTC)
BEFORE = NOW - datetime.timedelta(hours=1)
BOOT = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def test_nothing_is_remembered_where_there_is_nothing(tmp_path):
    assert state.read(tmp_path / "state.json", NOW) == Remembered()


def test_the_contract_file_is_understood(contract):
    remembered = state.read(contract / "state.json", NOW)
    assert remembered.problems == ()
    assert remembered.choice == "standbyserver"
    assert [entry.server for entry in remembered.transitions] == ["mainserver", None]


WEB = Used(("role[web]",), "production", None, None, None, {"web": "1.2.3"})
KEPT = {"node": "web-1", "since": "2026-11-22T11:00:00Z", **write(WEB)}


@pytest.mark.parametrize("since", ["2026-11-22T11:00:00Z", "2999-01-01T00:00:00Z"])
def test_what_runs_use_is_remembered_with_the_time_since_when(tmp_path, since):
    path = tmp_path / "state.json"
    state.write(path, {"used": {**KEPT, "since": since}})
    on = BEFORE if since == KEPT["since"] else NOW
    at = 5000.0 - (NOW - on).total_seconds()
    assert state.read(path, NOW, at=5000.0).use == KnownUse(WEB, "web-1", at, on)


@pytest.mark.parametrize(
    "odd",
    [
        *({key: value} for key in KEPT for value in (5, [5], {"a": 5})),
        {"server": 5},
        *({key: None} for key in ("node", "since", "run_list", "environment", "cookbooks")),
        {"since": "yesterday"},
        {"node": "a\nb"},
        {"cookbooks": {"web": "new"}},
    ],
)
def test_of_what_runs_use_nothing_is_taken_that_is_not_whole(tmp_path, odd):
    path = tmp_path / "state.json"
    state.write(path, {"choice": {"name": "a"}, "used": {**KEPT, **odd}})
    remembered = state.read(path, NOW)
    assert (remembered.choice, remembered.use, remembered.problems) == ("a", None, ())


@pytest.mark.parametrize("odd", [5, "x", [], True, None, {}])
def test_what_runs_use_may_be_missing(tmp_path, odd):
    path = tmp_path / "state.json"
    state.write(path, {"choice": {"name": "a"}, "used": odd})
    remembered = state.read(path, NOW)
    assert (remembered.choice, remembered.use) == ("a", None)


@pytest.mark.parametrize("odd", [{}, {"stale": None}, {"stale": [5, "a\nb"]}])
def test_which_servers_were_stale_is_remembered(tmp_path, odd):
    path = tmp_path / "state.json"
    state.write(path, {"stale": ["b"], **odd})
    assert state.read(path, NOW).stale == (frozenset() if odd else {"b"})


@pytest.mark.parametrize("lagging", [True, False, "later"])
def test_what_an_older_version_wrote_of_stale_servers_is_taken(tmp_path, lagging):
    path = tmp_path / "state.json"
    state.write(path, {"choice": {"name": "a"}, "lagging": lagging})
    assert (state.read(path, NOW).choice, state.read(path, NOW).problems) == ("a", ())


@pytest.mark.parametrize(("server", "expected"), [(None, None), ("b", "b")])
def test_where_runs_use_what_they_use_is_remembered(tmp_path, server, expected):
    path = tmp_path / "state.json"
    state.write(path, {"used": {**KEPT, "server": server}})
    assert state.read(path, NOW).use.server == expected


WHOLE = {"doublings": 2, "failed_at": [1.0, 2.0], "came_back_at": 3.0}


@pytest.mark.parametrize(
    ("entry", "boot_id", "expected"),
    [
        (WHOLE, BOOT, Returns(2, (1.0, 2.0), 3.0)),
        (WHOLE | {"came_back_at": None}, BOOT, Returns(2, (1.0, 2.0))),
        (WHOLE | {"failed_at": [9.0, *map(float, range(5))]}, BOOT, Returns(2, (3.0, 4.0), 3.0)),
        (WHOLE | {"failed_at": [1e8], "came_back_at": 1e8}, BOOT, Returns(2, (5.0,), 5.0)),
        (WHOLE, "c" * 32, Returns()),
        (None, BOOT, Returns()),
        ("x", BOOT, Returns()),
        ({}, BOOT, Returns()),
        (WHOLE | {"doublings": 1e9}, BOOT, Returns()),
        (WHOLE | {"doublings": True}, BOOT, Returns()),
        (WHOLE | {"failed_at": [float("nan")]}, BOOT, Returns()),
        (WHOLE | {"failed_at": 5.0}, BOOT, Returns()),
        (WHOLE | {"failed_at": {"a": 1}}, BOOT, Returns()),
        (WHOLE | {"came_back_at": "x"}, BOOT, Returns()),
    ],
)
def test_how_returns_to_a_server_went_is_read_with_care(tmp_path, entry, boot_id, expected):
    server = {"chef_server_url": "https://a", "well_since": 1.0} | ({} if entry is None else {"returns": entry})
    state.write(tmp_path / "state.json", {"boot_id": boot_id, "servers": {"a": server}})
    known = state.read(tmp_path / "state.json", NOW, at=5.0, boot_id=BOOT).servers["a"]
    assert (known.returns, known.chef_server_url) == (expected, "https://a")


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
    state.write(tmp_path / "state.json", {"choice": {"name": "a"}})
    assert (victim.read_text(), state.peek(tmp_path / "state.json", NOW).choice) == ("precious", "a")


def test_the_shim_may_read_it_whatever_the_umask_of_the_unit(tmp_path):
    before = os.umask(0o077)
    try:
        state.write(tmp_path / "state.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", [b"[" + b"{}," * 300_000 + b"{}]", b"[" * 1_000_000, b'"' + b"x" * 5_000_000 + b'"'])
def test_a_file_of_any_content_takes_little_memory(tmp_path, text):
    (tmp_path / "state.json").write_bytes(text)
    tracemalloc.start()
    try:
        said = state.peek(tmp_path / "state.json", NOW).problems[0]
        assert "state.json rejected and renamed" in said or said.endswith("; starting without it")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


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


CREATED = datetime.datetime(2026, 11, 22, 10, 0, tzinfo=datetime.UTC)


def test_in_the_same_boot_an_order_ends_by_the_monotonic_clock(contract):
    for jump in (-3, 0, 0.5, 900):
        remembered = state.read(
            contract / "state.json", CREATED + datetime.timedelta(hours=jump), at=1300.0, boot_id=BOOT
        )
        assert ([one.ends_at for one in remembered.orders.drains], remembered.orders.pin.ends_at) == ([7300.0], 7300.0)


def test_after_a_reboot_the_wall_clock_tells_what_is_left_of_an_order(contract):
    for hours, left_s in ((0.5, 5400.0), (1.5, 1800.0), (3, 0.0), (-9, 7200.0)):
        on = CREATED + datetime.timedelta(hours=hours)
        for boot in ("another", None):
            remembered = state.peek(contract / "state.json", on, at=20.0, boot_id=boot)
            assert [one.ends_at for one in remembered.orders.drains] == [20.0 + left_s]
            assert remembered.orders.pin.created_on == min(CREATED, on)


def test_an_order_without_an_end_stays_without_one(tmp_path):
    path = tmp_path / "state.json"
    entry = {"server": "a", "reason": "", "who": "root", "created": "2026-11-22T10:00:00Z", "ends": None}
    state.write(path, {"pin": entry | {"strict": True, "lasts_s": None, "ends_at": None, "in_use": None}})
    found = state.read(path, NOW, at=5.0, boot_id=BOOT).orders.pin
    assert (found.ends_at, found.is_strict, found.in_use) == (math.inf, True, None)


GOOD = {
    "server": "a",
    "reason": "",
    "who": "root",
    "created": "2026-11-22T10:00:00Z",
    "ends": "2026-11-22T13:00:00Z",
    "lasts_s": 10800.0,
    "ends_at": 99.0,
    "in_use": "a",
}


@pytest.mark.parametrize(
    "broken",
    [
        5,
        {},
        GOOD | {"who": 5},
        GOOD | {"ends": None},
        GOOD | {"lasts_s": None},
        GOOD | {"lasts_s": -1},
        GOOD | {"lasts_s": "nan"},
        GOOD | {"ends_at": "soon"},
        GOOD | {"ends_at": None},
        GOOD | {"created": "2026-11-22"},
        GOOD | {"in_use": ["a"]},
    ],
)
def test_a_bad_order_is_dropped_with_a_word_and_the_others_stay(tmp_path, broken):
    path = tmp_path / "state.json"
    document = {"boot_id": BOOT, "choice": {"name": "a"}, "drains": {"a": GOOD, "b": broken}, "pin": broken}
    state.write(path, document)
    remembered = state.read(path, NOW, at=1.0, boot_id=BOOT)
    assert (remembered.choice, [one.server for one in remembered.orders]) == ("a", ["a"])
    assert list(remembered.problems) == [
        f"state.json: dropped a damaged {what}: {str(broken)[:200]!r}" for what in ("drain", "pin")
    ]
    state.write(path, document | {"drains": 5, "pin": None})
    assert len(state.read(path, NOW, at=1.0, boot_id=BOOT).problems) == 1


def test_the_boot_is_what_the_unit_or_the_kernel_says(tmp_path):
    kernel = tmp_path / "boot_id"
    assert boot_id({}, kernel) is None
    kernel.write_text("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n")
    assert boot_id({}, kernel) == BOOT
    assert boot_id({"CHEF_FAILOVER_BOOT_ID": BOOT[::-1]}, kernel) == BOOT[::-1]
    assert boot_id({"CHEF_FAILOVER_BOOT_ID": "%b"}, kernel) is None
    assert boot_id() == boot_id({})


def test_one_association_of_a_later_version_loses_nothing_else(tmp_path):
    whole = {
        "chef_server_url": "https://a",
        "detail": "",
        "attempts": 0,
        "ticket": None,
        "identity": "x",
        "since": None,
    }
    document = {
        "schema": 1,
        "choice": {"name": "a"},
        "associations": {"a": {**whole, "association": "associated"}, "b": {**whole, "association": "paused"}},
    }
    (tmp_path / "state.json").write_text(json.dumps(document))
    remembered = state.read(tmp_path / "state.json", NOW)
    assert (remembered.choice, [name for name, _ in remembered.registrations]) == ("a", ["a"])
    assert any("damaged registration with b; the node registers again" in sentence for sentence in remembered.problems)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("ends_at", float("nan")),
        ("ends_at", float("inf")),
        ("ends_at", -1e308),
        ("lasts_s", 1e308),
        ("created", "9999-12-31T23:59:59-01:00"),
        ("created", "0001-01-01T00:00:00+01:00"),
        ("ends", "9999-12-31T23:59:59Z"),
        ("who", "x" * 1000),
        ("who", "a\x1b[2J"),
    ],
)
def test_an_order_that_no_clock_can_bear_is_dropped(tmp_path, part, value):
    state.write(tmp_path / "state.json", {"boot_id": BOOT, "drains": {"a": GOOD | {part: value}, "b": GOOD}})
    found = state.read(tmp_path / "state.json", NOW, at=1.0, boot_id=BOOT)
    assert [drain.server for drain in found.orders.drains] == ["b"]
    assert len(found.problems) == 1
