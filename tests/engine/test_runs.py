import datetime

import attrs
import pytest

from chef_failover.api import render
from chef_failover.cli import tables
from chef_failover.engine.runs import FORGOTTEN_AFTER_S, RunReport, Runs, parse_report
from chef_failover.model.about import About
from chef_failover.model.run_history import RUNS_KEPT, Phase, Run, RunEvidence, RunHistory, Used
from chef_failover.state import document as state
from chef_failover.state import written
from tests.support.builders import ON, server, world

MINUTE = datetime.timedelta(minutes=1)


def test_a_failed_run_makes_us_look_at_its_server_at_once():
    looked = []
    runs = Runs(looked.append)
    runs.report(RunReport("1", "started", "main"))
    runs.report(RunReport("2", "succeeded", "main"))
    runs.report(RunReport("3", "failed"))
    assert looked == []
    runs.report(RunReport("1", "failed", "main", "NoMethodError"))
    assert looked == ["main"]


def test_a_run_whose_end_is_never_reported_is_forgotten_after_a_while():
    now = [0.0]
    runs = Runs(lambda name: None, clock=lambda: now[0])
    runs.report(RunReport("1", "started", "main"))
    now[0] = FORGOTTEN_AFTER_S - 1
    assert [run.run_id for run in runs.under_way] == ["1"]
    now[0] = FORGOTTEN_AFTER_S + 1
    assert runs.under_way == ()


def ended(number, result="failed", on=ON):
    return Run(str(number), "main", result, None if result == "succeeded" else "Errno::ECONNREFUSED", on)


def test_a_run_is_kept_with_its_length_and_the_end_is_told_once():
    now, told = [100.0], []
    utc_now = lambda: ON + datetime.timedelta(seconds=now[0] - 100)  # noqa: E731
    runs = Runs(lambda name: None, clock=lambda: now[0], utc_now=utc_now, on_end=told.append)
    runs.report(RunReport("1", "started", "main"))
    now[0] = 134.5
    runs.report(RunReport("1", "succeeded", "main"))
    runs.report(RunReport("1", "failed", "main", "SystemExit"))
    assert told == [Run("1", "main", "succeeded", None, utc_now(), ON, 34.5)]
    assert runs.history == RunHistory(tuple(told), 0, utc_now())


def test_the_start_of_a_run_may_be_unknown():
    runs = Runs(lambda name: None, utc_now=lambda: ON)
    runs.report(RunReport("1", "failed", None, "NoMethodError"))
    assert runs.history.last == Run("1", None, "failed", "NoMethodError", ON)


def test_runs_since_the_last_success_are_counted_beyond_those_that_are_kept():
    history = RunHistory().add(ended(0, "succeeded"))
    for number in range(1, 100):
        history = history.add(ended(number, on=ON + number * MINUTE))
    assert (len(history.runs), history.since_success, history.last_success_on) == (RUNS_KEPT, 99, ON)
    assert history.last.run_id == "99"
    again = history.add(ended(100, "succeeded", ON + 100 * MINUTE))
    assert (again.since_success, again.last_success_on) == (0, ON + 100 * MINUTE)


def test_a_restart_keeps_them(tmp_path):
    last = attrs.evolve(ended(2), started_on=ON, duration_s=3.25, phase=Phase.SAVE, http_status=403)
    history = RunHistory().add(ended(1, "succeeded")).add(last)
    path = tmp_path / state.FILE_NAME
    state.write(path, written.kept(world(server("a")), About("1", runs=history), on=ON))
    assert state.read(path, ON).history == history
    early = state.read(path, ON - MINUTE).history
    assert (early.runs, early.since_success, early.last_success_on) == ((), 1, ON - MINUTE)


BEHIND = RunEvidence(2, 50.0, "OpenSSL::SSL::SSLError")


@pytest.mark.parametrize(
    ("boot_id", "evidence", "expected"),
    [
        ("b1", BEHIND, BEHIND),
        ("b2", BEHIND, RunEvidence(saves=BEHIND.saves)),  # nobody knows when
        ("b1", attrs.evolve(BEHIND, failed_at=99.0), attrs.evolve(BEHIND, failed_at=90.0)),
        ("b2", RunEvidence(saves=False), RunEvidence(failed_at=90.0, saves=False)),
        *((boot_id, RunEvidence(has_succeeded=True), RunEvidence(has_succeeded=True)) for boot_id in ("b1", "b2")),
    ],
)
def test_a_restart_keeps_what_runs_tell_of_a_server(tmp_path, boot_id, evidence, expected):
    path = tmp_path / state.FILE_NAME
    snapshot = world(server("a", run_evidence=evidence), server("b"))
    state.write(path, written.kept(snapshot, About("1", boot_id="b1"), on=ON))
    found = state.read(path, ON, at=90.0, boot_id=boot_id).run_evidence
    assert found == {("a", "https://a.example.com/organizations/default"): expected}


@pytest.mark.parametrize(("saves", "expected"), [(True, True), (False, False), (None, False)])
def test_a_run_that_an_older_version_knew_to_have_saved_the_node_succeeded(tmp_path, saves, expected):
    path = tmp_path / state.FILE_NAME
    evidence = {"failed_starts": 0, "failed_at": None, "failure": "", "saves": saves}
    state.write(path, {"run_evidence": {"a": {"chef_server_url": "https://a.example.com", **evidence}}})
    found = state.read(path, ON).run_evidence["a", "https://a.example.com"]
    assert (found.saves, found.has_succeeded) == (saves, expected)


@pytest.mark.parametrize(
    "more", [{"failed_starts": "two"}, {"saves": "yes"}, {"failed_at": "x"}, {"succeeded": "yes"}, {"succeeded": 1}]
)
def test_evidence_that_is_none_is_dropped_alone(tmp_path, more):
    path = tmp_path / state.FILE_NAME
    document = written.kept(world(server("a", run_evidence=BEHIND)), About("1", boot_id="b1"), on=ON)
    document["run_evidence"]["a"] |= more
    state.write(path, document)
    remembered = state.peek(path, ON, at=90.0, boot_id="b1")
    assert not remembered.is_useless
    assert {(one.saves, one.has_succeeded) for one in remembered.run_evidence.values()} <= {(None, False)}


def test_what_the_shim_tells_of_a_failure_is_kept_with_the_run():
    runs = Runs(lambda name: None, utc_now=lambda: ON)
    body = {"run_id": "1", "event": "failed", "server": "main", "error_class": "E", "phase": "save", "http_status": 403}
    runs.report(parse_report(body))
    assert runs.history.last == Run("1", "main", "failed", "E", ON, phase=Phase.SAVE, http_status=403)


def test_what_a_run_used_is_told_with_its_end_and_not_kept_in_the_history():
    told = []
    runs = Runs(lambda name: None, utc_now=lambda: ON, on_end=told.append)
    used = {"run_list": ["role[web]"], "environment": "production", "cookbooks": {"web": "1.2.3"}}
    for number in range(3):
        runs.report(parse_report({"run_id": str(number), "event": "succeeded", "server": "main", "used": used}))
    assert {run.used for run in runs.history.runs} == {None}
    assert told[0].used == Used(("role[web]",), "production", cookbooks={"web": "1.2.3"})


@pytest.mark.parametrize(
    "runs", [{"since_success": "many"}, {"last": [{}]}, {"last": [5]}, [1], {"last_success_at": 5}]
)
def test_runs_that_are_none_make_a_state_useless(tmp_path, runs):
    path = tmp_path / state.FILE_NAME
    state.write(path, {**written.kept(world(server("a")), About("1"), on=ON), "runs": runs})
    assert state.peek(path, ON).is_useless


def test_a_state_of_a_version_without_runs_is_read(tmp_path):
    path = tmp_path / state.FILE_NAME
    document = written.kept(world(server("a")), About("1"), on=ON)
    state.write(path, {key: value for key, value in document.items() if key != "runs"})
    remembered = state.read(path, ON)
    assert (remembered.choice, remembered.history) == ("a", RunHistory())


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], None),
        ([ended(1, "succeeded")], "The last run succeeded on main at 2026-11-22T10:00:00Z."),
        (
            [ended(1, "succeeded"), attrs.evolve(ended(2), server=None, duration_s=61.4)],
            "The last run failed with Errno::ECONNREFUSED on an unknown server at 2026-11-22T10:00:00Z, after 61 s."
            " Failed since the last success at 2026-11-22T10:00:00Z: 1.",
        ),
        ([ended(1)], "Failed, and none succeeded: 1."),
        (
            [attrs.evolve(ended(1), phase=Phase.START)],
            "The last run failed with Errno::ECONNREFUSED before it converged on main at 2026-11-22T10:00:00Z."
            " Failed, and none succeeded: 1.",
        ),
    ],
)
def test_status_tells_how_the_last_runs_went(runs, words):
    history = RunHistory()
    for run in runs:
        history = history.add(run)
    text = tables.status(render.servers(world(server("main")), About("1", runs=history), now=1.0))
    assert text.endswith(words) if words else "last run" not in text


@pytest.mark.parametrize(
    ("used", "words"),
    [
        (Used(), "environment _default with 0 cookbooks"),
        (Used(environment="production", cookbooks={"web": "1.0.0"}), "environment production with 1 cookbook"),
        (
            Used((), "staging", "web", "staging", "4b3a8f2" * 9, {"web": "1.0.0", "yum": "7.4.13"}),
            "revision 4b3a8f24b3a8 of policy web in group staging with 2 cookbooks",
        ),
    ],
)
def test_status_tells_what_runs_use(used, words):
    snapshot = world(server("main"), used=used, used_since=0.0, used_on=ON)
    text = tables.status(render.servers(snapshot, About("1"), now=1.0))
    assert text.endswith(f"\n\nRuns use {words} since 2026-11-22T10:00:00Z.")
