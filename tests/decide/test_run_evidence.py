"""Two runs in a row that a server failed before they converged put it behind the others, and what ends that."""

import itertools
import math

import attrs
import pytest

from chef_failover.decide.outlook import conditions_for_use, shortcomings
from chef_failover.decide.run_evidence import HOLD_DOWN_S, why_behind
from chef_failover.decide.selection import select
from chef_failover.decide.world import apply_run
from chef_failover.model.model import Health, Outcome, Standing
from chef_failover.model.needs import ParityMode
from chef_failover.model.run_history import Phase, Run, RunEvidence, Used
from tests.support.builders import ON, bare, drained, ordered, pin, probed, server, with_failback, world

UP, DOWN = Health.UP, Health.DOWN
HOUR = HOLD_DOWN_S
TLS = {"error_class": "OpenSSL::SSL::SSLError", "phase": Phase.START}
COOKBOOK = {"error_class": "Errno::ECONNREFUSED", "phase": Phase.CONVERGE}
SAVE = {"error_class": "Net::HTTPFatalError", "phase": Phase.SAVE, "http_status": 500}
WORKED = {"result": "succeeded"}


def ran(snapshot, at, name="a", result="failed", error_class=None, **more):
    """The world after a run on that server ended ``at`` that instant."""
    run = Run(str(at), name, result, error_class, ON, **more)
    return apply_run(snapshot, run, now=at, on=ON)


def after(*runs, snapshot=None, step_s=1800.0):
    """The world after such runs on the first server, one each half hour, and when the last one ended."""
    snapshot, at = snapshot or world(server("a"), server("b")), 0.0
    for run in runs:
        at += step_s
        snapshot = ran(snapshot, at, **run)
    return snapshot, at


@pytest.mark.parametrize(
    ("runs", "in_use"),
    [
        ([TLS], "a"),
        ([TLS, TLS], "b"),
        ([TLS, WORKED, TLS], "a"),
        ([TLS, COOKBOOK, TLS], "a"),
        ([TLS, SAVE, TLS], "a"),
        ([COOKBOOK, COOKBOOK, COOKBOOK], "a"),
        ([SAVE, SAVE, SAVE], "a"),
        ([TLS, {"error_class": "NoMethodError", "phase": Phase.START}, TLS], "b"),  # which tells nothing, either way
        ([{"error_class": "Chef::Exceptions::PrivateKeyMissing", "phase": Phase.START}] * 3, "a"),
        ([{"error_class": "OpenSSL::SSL::SSLError"}] * 3, "a"),  # an old shim tells no phase
        *(
            ([{"error_class": "Net::HTTPClientException", "phase": Phase.START, "http_status": status}] * 2, in_use)
            for status, in_use in (
                (401, "b"),
                (403, "b"),
                (404, "b"),
                (406, "a"),
                (412, "a"),
                (429, "b"),
                (500, "b"),
                (503, "b"),
            )
        ),
        *(
            ([{"error_class": name, "phase": Phase.START}] * 2, "b")
            for name in ("Errno::ECONNREFUSED", "Errno::ETIMEDOUT", "SocketError", "Timeout::Error", "EOFError")
        ),
        ([{"phase": Phase.START, "http_status": 500}] * 2, "b"),
    ],
)
def test_two_failed_starts_in_a_row_move_the_node_and_no_cookbook_does(runs, in_use):
    assert after(*runs)[0].choice.name == in_use


@pytest.mark.parametrize(("has_left_node", "in_use"), [(True, "b"), (False, "a")])
def test_what_only_probes_lack_explains_no_failure_of_a_run(has_left_node, in_use):
    trouble = {"is_node_trouble": True, "never_left_node": not has_left_node}
    snapshot = probed(world(server("a"), server("b")), "a", Outcome.TLS, 1.0, **trouble)
    assert after(TLS, TLS, snapshot=snapshot)[0].choice.name == in_use


def test_why_it_moved_and_what_would_move_it_back_is_said():
    snapshot, at = after(TLS, TLS)
    words = "the last 2 runs there failed before any cookbook ran, with OpenSSL::SSL::SSLError"
    until = "other servers are preferred for another 2 h, or until a run there gets further"
    assert snapshot.choice.reason == f"a fails runs: {words}; {until}"
    assert snapshot.transitions[-1].after == "b"
    assert not snapshot.choice.is_degraded
    a = snapshot.server("a")
    lacks = shortcomings(snapshot, a, now=at, on=None)
    assert [line.startswith(f"fails runs: {words}") for line in lacks] == [True]
    verdict = snapshot.choice.verdicts[0]
    assert verdict.standing is Standing.FAILS_RUNS
    assert conditions_for_use(snapshot, verdict, snapshot.choice, now=at + 60.0) == (
        "time must pass, or a run must get further there: chef-failover pin a --strict"
    )


def test_http_status_is_said():
    snapshot, at = after(*[{"error_class": "Net::HTTPFatalError", "phase": Phase.START, "http_status": 502}] * 2)
    assert "with Net::HTTPFatalError (HTTP 502)" in why_behind(snapshot, snapshot.server("a"), now=at)


@pytest.mark.parametrize(("count", "hours"), [(0, 0), (1, 0), (2, 2), (3, 3), (4, 4), (40, 4)])
def test_it_stays_behind_for_an_hour_for_each_run_four_at_the_most(count, hours):
    snapshot = bare(server("a", run_evidence=RunEvidence(count, 100.0), changed_at=-math.inf), server("b"), current="b")
    a = snapshot.server("a")
    assert f"another {hours} h" in (why_behind(snapshot, a, now=100.0) or "another 0 h")
    end = 100.0 + hours * HOUR
    assert select(snapshot, now=end).name == "a"
    assert select(snapshot, now=end - 1.0).name == ("b" if hours else "a")
    assert why_behind(snapshot, a, now=end) is None


def test_a_longer_failback_holds_here_too_and_never_is_never():
    snapshot, at = after(TLS, TLS)
    long = with_failback(snapshot, 10 * HOUR)
    assert "another 10 h" in why_behind(long, long.server("a"), now=at)
    never = with_failback(snapshot, math.inf)
    assert select(never, now=at + 1000 * HOUR).name == "b"
    words = why_behind(never, never.server("a"), now=at)
    assert words.endswith("; other servers are preferred until a run there gets further")
    assert conditions_for_use(never, never.choice.verdicts[0], never.choice, now=at).startswith("time must pass")


@pytest.mark.parametrize("further", [WORKED, COOKBOOK, SAVE])
def test_a_run_there_that_gets_further_ends_it(further):
    snapshot, at = after(TLS, TLS, TLS)
    snapshot = ran(snapshot, at + 60.0, **further)
    assert snapshot.choice.name == "a"
    assert snapshot.server("a").run_evidence.failed_starts == 0


def test_one_more_failure_after_the_hold_down_puts_it_back_for_longer():
    snapshot, at = after(TLS, TLS)
    snapshot = probed(snapshot, "a", Outcome.OK, at + 2 * HOUR)
    assert snapshot.choice.name == "a"
    snapshot = ran(snapshot, at + 2 * HOUR + 60.0, **TLS)
    assert snapshot.choice.name == "b"
    assert "another 3 h" in why_behind(snapshot, snapshot.server("a"), now=at + 2 * HOUR + 60.0)


def test_where_all_fail_the_node_stays_and_tries_each_in_turn():
    snapshot, at = after(TLS, TLS)
    for _ in range(2):
        at += 1800.0
        snapshot = ran(snapshot, at, "b", **TLS)
    assert (snapshot.choice.name, snapshot.choice.is_degraded) == ("b", True)
    assert snapshot.choice.reason.startswith("no server is eligible; the best of the rest: b fails runs")
    names = []
    for _ in range(48):  # a day
        at += 1800.0
        snapshot = probed(snapshot, snapshot.choice.name, Outcome.OK, at)
        snapshot = ran(snapshot, at, snapshot.choice.name, **TLS)
        names.append(snapshot.choice.name)
    assert set(names) == {"a", "b"}
    assert sum(one != other for one, other in itertools.pairwise(names)) <= 24


def test_the_only_server_is_used_and_called_degraded():
    snapshot, _ = after(TLS, TLS, snapshot=world(server("a")))
    assert (snapshot.choice.name, snapshot.choice.is_degraded) == ("a", True)


@pytest.mark.parametrize(
    "b",
    [
        server("b", DOWN),
        server("b", outcome=Outcome.NOT_ASSOCIATED),
        drained(server("b")),
    ],
)
def test_it_goes_behind_none_that_is_not_eligible(b):
    snapshot, _ = after(TLS, TLS, snapshot=world(server("a"), b))
    assert snapshot.choice.name == "a"


def test_a_run_that_starts_goes_elsewhere_too():
    snapshot, at = after(TLS, TLS)
    fresh = bare(
        *(attrs.evolve(one, last_probe=attrs.evolve(one.last_probe, finished_at=at)) for one in snapshot.servers)
    )
    assert select(fresh, now=at, runs_from=at).name == "b"


def test_a_pin_does_not_help_a_server_that_fails_runs_unless_it_is_strict():
    snapshot, at = after(TLS, TLS)
    for is_strict, name in ((False, "b"), (True, "a")):
        pinned = ordered(snapshot, pin("a", is_strict=is_strict))
        assert select(pinned, now=at).name == name


@pytest.mark.parametrize(
    "a",
    [
        server("a", DOWN),
        server("a", Health.UNKNOWN),
        server("a", outcome=Outcome.NOT_ASSOCIATED),
        server("a", UP, outcome=Outcome.REFUSED),
    ],
)
def test_what_its_probes_explain_is_not_held_against_it_twice(a):
    snapshot, _ = after(TLS, TLS, TLS, snapshot=world(a, server("b")))
    assert snapshot.server("a").run_evidence == RunEvidence()


def test_nothing_is_counted_while_this_node_is_offline():
    snapshot, _ = after(TLS, TLS, TLS, snapshot=world(server("a"), server("b"), offline="no route"))
    assert snapshot.server("a").run_evidence == RunEvidence()


def test_a_server_that_goes_down_begins_with_a_clean_slate():
    snapshot, at = after(WORKED, TLS)
    for second in range(3):
        snapshot = probed(snapshot, "a", Outcome.REFUSED, at + second)
    evidence = snapshot.server("a").run_evidence
    assert (evidence.failed_starts, evidence.failure) == (0, "")
    assert (evidence.saves, evidence.has_succeeded) == (True, True)


@pytest.mark.parametrize("name", [None, "elsewhere"])
def test_a_run_on_no_server_of_ours_tells_nothing(name):
    snapshot = world(server("a"))
    assert ran(snapshot, 1.0, name, **TLS) is snapshot


def test_a_stale_server_comes_before_one_that_fails_runs():
    standings = sorted([Standing.FAILS_RUNS, Standing.STALE, Standing.RISING, Standing.DRAINED])
    assert standings[2:] == [Standing.FAILS_RUNS, Standing.STALE]
    both = world(server("a", run_evidence=RunEvidence(2, 0.0)), server("b"), parity=ParityMode.REQUIRE)
    assert both.choice.name == "b"


@pytest.mark.parametrize(
    ("runs", "saves"),
    [
        ([WORKED], True),
        ([{"phase": Phase.SAVE, "http_status": 403}], False),
        ([{"phase": Phase.SAVE, "http_status": 403}, COOKBOOK], False),
        ([{"phase": Phase.SAVE, "http_status": 403}, WORKED], True),
        ([WORKED, SAVE], True),
        ([{"phase": Phase.CONVERGE, "http_status": 403}], None),
        ([TLS], None),
    ],
)
def test_whether_a_run_could_save_the_node_is_remembered(runs, saves):
    snapshot, _ = after(*runs)
    assert snapshot.server("a").run_evidence.saves is saves


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], False),
        ([WORKED], True),
        ([TLS, COOKBOOK, SAVE], False),
        ([WORKED, TLS, TLS], True),
        ([WORKED, COOKBOOK], True),
        ([WORKED, {"phase": Phase.SAVE, "http_status": 403}], True),
    ],
)
def test_that_a_run_has_succeeded_there_once_is_remembered(runs, expected):
    snapshot, _ = after(*runs)
    assert [one.has_had_success for one in snapshot.servers] == [expected, False]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([Outcome.NOT_ASSOCIATED] * 2, True),
        ([Outcome.NOT_ASSOCIATED] * 3, False),
        ([Outcome.NOT_ASSOCIATED] * 3 + [Outcome.OK] * 2, False),
        ([Outcome.FORBIDDEN] * 3, True),
        ([Outcome.REFUSED] * 3, True),
    ],
)
def test_a_server_that_does_not_know_the_node_any_more_had_no_run(outcomes, expected):
    snapshot, at = after(WORKED)
    for second, outcome in enumerate(outcomes):
        snapshot = probed(snapshot, "a", outcome, at + second)
    assert snapshot.server("a").has_had_success is expected


OLD, NEW = (Used(("recipe[web]",), "production", cookbooks={"web": version}) for version in ("1.0.0", "1.1.0"))


@pytest.mark.parametrize(
    ("runs", "used", "since"),
    [
        ([{**WORKED, "used": OLD}], OLD, 1800.0),
        ([{**WORKED, "used": OLD}, {**WORKED, "used": attrs.evolve(OLD)}], OLD, 1800.0),
        ([{**WORKED, "used": OLD}, {**WORKED, "used": NEW}], NEW, 3600.0),
        ([{**WORKED, "used": OLD}, {**COOKBOOK, "used": NEW}], OLD, 1800.0),
        ([{**WORKED, "used": OLD}, WORKED, TLS], OLD, 1800.0),
        ([{**WORKED, "used": OLD}, {**WORKED, "used": NEW}, {**WORKED, "used": OLD}], OLD, 5400.0),
        ([{**WORKED, "used": OLD}, {**WORKED, "used": NEW, "name": "elsewhere"}], NEW, 3600.0),
        ([WORKED, {**TLS, "used": OLD}], None, -math.inf),
    ],
)
def test_what_the_last_run_that_succeeded_used_is_known_and_since_when(runs, used, since):
    snapshot, _ = after(*runs)
    assert (snapshot.used, snapshot.used_since) == (used, since)
    assert snapshot.used_on == (ON if used else None)
