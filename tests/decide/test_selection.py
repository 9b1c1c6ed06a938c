import functools
import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.decide.selection import select, select_for_run, server_worth_waiting_for
from chef_failover.model.model import (
    Health,
    NodeCheck,
    Outcome,
    ProbeResult,
    Registration,
    RegistrationState,
    RiseFall,
    SelectionPolicy,
    Snapshot,
    Standing,
)
from chef_failover.model.needs import Content, ParityMode, ReadinessMode, ReadinessPolicy
from chef_failover.model.run_history import RunEvidence, Used
from tests.support.builders import (
    EMPTY,
    ON,
    WEB,
    asked,
    bare,
    drain,
    drained,
    holding,
    ordered,
    pin,
    proven,
    server,
    with_failback,
    without,
)

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN


def name_of(snapshot, **more):
    choice = select(snapshot, now=more.pop("now", 0.0), **more)
    return choice.name if choice else None


# --- the settled choice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "chosen", "degraded"),
    [
        (server("a"), server("b"), "a", False),
        (server("a", DOWN), server("b"), "b", False),
        (server("a", DOWN), server("b", DOWN), "a", True),
        (server("a", UNKNOWN), server("b"), "b", False),
        (server("a", UNKNOWN), server("b", DOWN), "b", True),
        (drained(server("a")), server("b"), "b", False),
        (drained(server("a")), server("b", DOWN), "a", True),
        (server("a", registration=Registration(RegistrationState.UNREGISTERED)), server("b"), "b", False),
        (server("a", registration=Registration(RegistrationState.FAILED)), server("b", DOWN), "a", True),
        (server("a", outcome=Outcome.NOT_ASSOCIATED), server("b"), "b", False),
        (server("a", outcome=Outcome.CLOCK_SKEW), server("b"), "b", False),
        (server("a", outcome=Outcome.FORBIDDEN), server("b"), "b", False),
        (server("a", outcome=Outcome.WRONG_ORGANIZATION), server("b"), "b", False),
        (server("a", outcome=Outcome.NOT_ASSOCIATED), drained(server("b")), "b", True),
        (server("a", outcome=Outcome.DEGRADED), server("b"), "a", False),
    ],
)
def test_the_best_standing_wins_and_health_is_never_a_veto(a, b, chosen, degraded):
    choice = select(bare(a, b), now=0.0)
    assert (choice.name, choice.is_degraded) == (chosen, degraded)


def test_no_server_no_choice():
    assert select(bare(), now=0.0) is None


OFF = ReadinessPolicy(ReadinessMode.OFF)
CHECK = ReadinessPolicy(ReadinessMode.CHECK)
WORKED = RunEvidence(has_succeeded=True)
POLICY = ReadinessPolicy(policy_group="production", policy_name="webserver")


@pytest.mark.parametrize("runs_from", [None, 0.0])
@pytest.mark.parametrize(
    ("a", "b", "readiness", "expected"),
    [
        (without("a"), proven("b"), None, ("b", False)),
        (without("a"), proven("b"), CHECK, ("b", False)),
        (without("a"), holding("b"), None, ("a", False)),  # a standby decides nothing for the others
        (without("a"), holding("b"), OFF, ("a", False)),
        (without("a"), holding("b"), POLICY, ("a", False)),
        (without("a"), proven("b", health=DOWN, at=-1.0), None, ("a", True)),
        (without("a"), holding("b", EMPTY), None, ("a", False)),  # an empty one is as good as none
        (holding("a", EMPTY), proven("b"), None, ("b", False)),
        (holding("a", EMPTY), holding("b"), None, ("a", False)),
        (holding("a", EMPTY), holding("b"), OFF, ("a", False)),
        (holding("a", EMPTY), server("b", had_useful_node_object=True, run_evidence=WORKED), None, ("b", False)),
        (holding("a", EMPTY), server("b", had_useful_node_object=True), None, ("a", False)),
        (holding("a", EMPTY), without("b"), None, ("a", False)),
        (without("a"), without("b"), None, ("a", False)),  # a new node
        (without("a"), server("b", DOWN, at=-1.0), None, ("a", False)),
        (without("a", node_check=NodeCheck(0.0, policy_found=False)), server("b"), POLICY, ("b", False)),
        (without("a", node_check=NodeCheck(0.0, policy_found=False)), server("b"), OFF, ("a", False)),
    ],
)
def test_a_server_that_is_not_ready_stands_between_a_ready_one_and_a_dead_one(a, b, readiness, expected, runs_from):
    choice = select(bare(a, b, readiness=readiness), now=0.0, runs_from=runs_from)
    assert (choice.name, choice.is_degraded) == expected


def test_readiness_that_came_back_waits_for_the_hold_down_too():
    back = bare(holding("a", changed_at=100.0), holding("b"), current="b")
    assert name_of(back, now=200.0) == "b"
    assert name_of(back, now=1100.0) == "a"


def test_a_run_waits_for_a_server_never_heard_of_which_may_have_the_missing_object():
    assert wanted(bare(without("a", at=5.0), server("b", UNKNOWN, run_evidence=WORKED))) == "b"
    assert wanted(bare(without("a", at=5.0), server("b", UNKNOWN))) is None  # a standby decides nothing
    assert wanted(bare(holding("a", at=5.0), server("b", UNKNOWN))) is None
    assert wanted(bare(without("a", at=5.0), server("b", DOWN))) is None


def test_priority_is_what_orders_and_not_the_place():
    assert name_of(bare(server("a", priority=20), server("b", priority=10))) == "b"


@pytest.mark.parametrize(
    ("a", "b", "is_strict", "expected"),
    [
        (server("a"), server("b"), False, ("b", False)),
        (server("a"), server("b", DOWN), False, ("a", True)),
        (server("a"), server("b", DOWN), True, ("b", True)),
        (server("a", DOWN), server("b", DOWN), False, ("b", True)),
        (server("a"), server("b", UNKNOWN), False, ("a", True)),
        (server("a"), server("b", outcome=Outcome.NOT_ASSOCIATED), False, ("a", True)),
        (server("a"), server("b", outcome=Outcome.NOT_ASSOCIATED), True, ("b", True)),
        (holding("a"), without("b"), False, ("a", True)),
        (holding("a"), without("b"), True, ("b", True)),
        (server("a"), drained(server("b")), False, ("a", True)),
        (server("a"), drained(server("b")), True, ("b", True)),
        (server("a"), server("b", changed_at=-1.0), False, ("b", False)),  # no hold-down
    ],
)
def test_a_pin_goes_before_preference_and_only_a_strict_one_before_standing(a, b, is_strict, expected):
    choice = select(bare(a, b, pin("b", is_strict=is_strict), current="a"), now=0.0)
    assert (choice.name, choice.is_degraded) == expected


def test_a_pin_to_a_better_server_knows_no_hold_down():
    back = bare(server("a", changed_at=99.0), server("b"), current="b", failback_s=math.inf)
    assert name_of(back, now=100.0) == "b"
    assert name_of(ordered(back, pin("a")), now=100.0) == "a"


def test_a_pin_to_a_server_that_is_gone_leaves_the_best_degraded():
    choice = select(bare(server("a"), pin("gone")), now=0.0)
    assert (choice.name, choice.is_degraded, choice.passed_over) == ("a", True, ())


def test_what_is_over_has_no_say_whoever_has_not_noticed_yet():
    both = bare(server("a"), drain("a", ends_at=5.0), server("b"), server("c"), pin("c", ends_at=3.0))
    assert [name_of(both, now=now) for now in (2.9, 3.0, 4.9, 5.0)] == ["c", "b", "b", "a"]


def test_a_run_waits_for_the_server_it_is_pinned_to_and_not_for_one_that_is_drained():
    pinned = bare(server("a", at=5.0), server("b", at=1.0), pin("b"), current="b")
    assert wanted(pinned) == "b"
    assert select_for_run(pinned, now=5.0, runs_from=4.0).is_degraded
    assert wanted(ordered(pinned, pin("a"))) is None
    assert wanted(bare(server("a", at=1.0), drain("a"), server("b", at=5.0), current="b")) is None


def test_what_a_dead_server_once_said_of_this_node_still_holds():
    proof = ProbeResult(Outcome.NOT_ASSOCIATED, "401", 0.0)
    forgotten = attrs.evolve(
        server("a", last_alive_probe=proof), last_probe=ProbeResult(Outcome.REFUSED, "refused", 9.0)
    )
    assert name_of(bare(forgotten, server("b"))) == "b"


# --- hold-down ----------------------------------------------------------------------------------------------------


def test_the_node_comes_back_only_after_the_hold_down():
    back = bare(server("a", changed_at=100.0), server("b", changed_at=0.0), current="b", failback_s=600.0)
    moved_at = next(now for now in range(100, 2000) if name_of(back, now=float(now)) == "a")
    assert 700 <= moved_at <= 1300
    assert all(name_of(back, now=float(now)) == "a" for now in range(moved_at, 2000, 50))


def test_hold_downs_end_spread_over_the_fleet():
    def end(identity):
        back = bare(server("a"), server("b"), current="b", failback_s=600.0, identity=identity)
        return next(now for now in range(0, 3000, 10) if name_of(back, now=float(now)) == "a")

    ends = [end(f"web-{number}") for number in range(60)]
    assert max(ends) - min(ends) > 200
    assert all(600 <= moment <= 1200 for moment in ends)


def test_failback_never_and_immediately():
    back = bare(server("a"), server("b"), current="b")
    assert name_of(with_failback(back, math.inf), now=1e9) == "b"
    assert name_of(with_failback(back, 0.0)) == "a"


def test_no_hold_down_protects_a_server_that_died():
    assert name_of(bare(server("a", changed_at=99.0), server("b", DOWN, at=99.5), current="b"), now=100.0) == "a"


def test_between_dead_servers_nothing_moves():
    assert name_of(bare(server("a", DOWN), server("b", DOWN), current="b", failback_s=0.0)) == "b"


def test_nobody_leaves_a_dead_server_for_one_that_fails():
    failing = server("b", outcome=Outcome.REFUSED)
    assert failing.health is UP
    assert name_of(bare(server("a", DOWN), failing, current="a")) == "a"
    assert name_of(bare(server("a", DOWN), failing, server("c"), current="a")) == "c"
    assert name_of(bare(failing, server("c", DOWN), current="c", failback_s=0.0)) == "c"


@pytest.mark.parametrize(
    ("failed_at", "answered_at", "came_up_at", "expected"),
    [
        (12.0, 12.1, 0.0, "b"),
        (12.0, 9.9, 0.0, "a"),  # the other has not answered since this one went DOWN, and may have gone with it
        (50.0, 101.0, 100.0, "a"),  # what brought the other back may have brought this one back
        (101.0, 101.0, 100.0, "b"),
        (101.0, 101.0, -math.inf, "b"),
    ],
)
def test_a_dead_server_is_left_once_each_was_asked_after_the_other_changed(
    failed_at, answered_at, came_up_at, expected
):
    a = server("a", DOWN, at=failed_at, changed_at=10.0)
    both = bare(a, server("b", at=answered_at, changed_at=came_up_at), current="a")
    assert name_of(both) == expected
    assert name_of(both, now=answered_at, runs_from=answered_at) == "b"
    assert name_of(ordered(both, pin("b"))) == "b"


def test_a_dead_server_whose_last_probe_was_good_is_not_left():
    a = server("a", DOWN, outcome=Outcome.OK, at=101.0, changed_at=10.0)
    assert name_of(bare(a, server("b", at=102.0, changed_at=100.0), current="a")) == "a"


def test_a_middle_server_is_taken_while_the_best_is_held_down():
    fleet = bare(server("a", changed_at=990.0), server("b", changed_at=0.0), server("c"), current="c")
    assert name_of(fleet, now=1000.0) == "b"


def test_moving_to_a_worse_server_is_never_held_down():
    assert name_of(bare(server("a", DOWN, at=100.0), server("b", changed_at=100.0), current="a"), now=100.0) == "b"


def test_after_a_restart_the_server_in_use_has_the_benefit_of_the_doubt():
    assert name_of(bare(server("a"), server("b", UNKNOWN), current="b")) == "b"
    assert name_of(bare(server("a", UNKNOWN), server("b", UNKNOWN))) == "a"


def test_a_run_goes_to_what_only_our_probes_cannot_reach_before_what_is_down():
    ours = ProbeResult(Outcome.TLS, "tls", 5.0, is_node_trouble=True)
    unknown = attrs.evolve(server("b", UNKNOWN), last_probe=ours)
    assert name_of(bare(server("a", DOWN, at=5.0), unknown, current="a"), now=5.0, runs_from=4.0) == "b"


# --- equals -------------------------------------------------------------------------------------------------------


def equals(identity, *alive):
    servers = [server(name, UP if name in alive else DOWN, priority=1) for name in "abcd"]
    return name_of(bare(*servers, identity=identity))


def test_equals_share_the_fleet_and_losing_one_moves_only_its_nodes():
    nodes = [f"web-{number}" for number in range(400)]
    before = {node: equals(node, *"abcd") for node in nodes}
    after = {node: equals(node, *"abc") for node in nodes}
    assert all(60 < list(before.values()).count(name) < 140 for name in "abcd")
    assert all(after[node] == before[node] for node in nodes if before[node] != "d")
    assert {after[node] for node in nodes if before[node] == "d"} == set("abc")


# --- where a run starts -------------------------------------------------------------------------------------------


def test_a_run_passes_over_a_server_that_just_failed_and_the_settled_choice_stays():
    failing = attrs.evolve(
        server("a"), last_probe=ProbeResult(Outcome.REFUSED, "refused", 5.0), liveness=RiseFall(UP, 1, 0.0)
    )
    snapshot = bare(failing, server("b", at=5.0), current="a")
    assert name_of(snapshot, now=5.0) == "a"
    assert name_of(snapshot, now=5.0, runs_from=4.0) == "b"
    verdict = select(snapshot, now=5.0, runs_from=4.0).passed_over[0]
    assert (verdict.name, verdict.standing, verdict.is_reachable) == ("a", Standing.FAILING, False)


def test_a_run_passes_over_a_server_whose_result_is_too_old():
    assert name_of(bare(server("a", at=1.0), server("b", at=5.0), current="a"), now=5.0, runs_from=4.0) == "b"


def test_a_run_takes_a_server_that_just_came_back_when_no_other_answers():
    rising = attrs.evolve(server("a", DOWN), last_probe=ProbeResult(Outcome.OK, "ok", 5.0), last_alive_probe=None)
    rising = attrs.evolve(rising, last_alive_probe=rising.last_probe)
    choice = select(bare(rising, server("b", DOWN, at=5.0), current="b"), now=5.0, runs_from=4.0)
    assert (choice.name, choice.standing, choice.is_degraded) == ("a", Standing.RISING, True)


def test_a_run_leaves_a_held_down_rule_for_a_server_that_answers():
    silent = server("b", at=0.0)
    assert name_of(bare(server("a", at=5.0, changed_at=4.0), silent, current="b"), now=5.0, runs_from=4.0) == "a"


# --- when waiting ends ----------------------------------------------------------------------------------------------


def wanted(snapshot, now=5.0, runs_from=4.0):
    return server_worth_waiting_for(snapshot, now=now, runs_from=runs_from)


def test_decided_at_once_when_the_preferred_server_has_answered():
    assert None is wanted(bare(server("a", at=5.0), server("b", at=1.0), current="a"))


def test_not_decided_while_a_preferred_server_that_is_up_may_answer():
    assert wanted(bare(server("a", at=1.0), server("b", at=5.0), current="a")) == "a"


def test_decided_without_a_preferred_server_that_is_known_to_be_down():
    assert None is wanted(bare(server("a", DOWN, at=1.0), server("b", at=5.0), current="b"))


def test_not_decided_when_only_failures_are_in():
    assert wanted(bare(server("a", at=5.0, outcome=Outcome.REFUSED), server("b", at=1.0), current="a")) == "b"


def test_not_decided_before_the_first_result_and_decided_without_servers():
    assert wanted(bare(server("a", UNKNOWN), server("b", UNKNOWN))) == "a"
    assert None is wanted(bare())


def test_not_decided_when_the_server_in_use_is_silent_and_the_better_one_held_down():
    assert wanted(bare(server("a", at=5.0, changed_at=4.9), server("b", at=1.0), current="b")) == "b"


def test_a_held_down_server_that_nobody_waited_for_is_explained_by_its_hold_down():
    snapshot = bare(server("a", at=1.0, changed_at=0.5), server("b", at=5.0), server("c", at=1.0), current="b")
    assert wanted(snapshot) is None
    choice = select_for_run(snapshot, now=5.0, runs_from=4.0)
    assert choice.name == "b"
    assert choice.reason.startswith("a is UP again; the node returns in")
    assert choice.verdicts[2].sentence == "could take over, ok"


def test_a_dead_server_that_nobody_waited_for_is_still_dead():
    snapshot = bare(server("a", DOWN, at=1.0), server("b", at=5.0), current="b")
    choice = select_for_run(snapshot, now=5.0, runs_from=4.0)
    assert choice.reason == "a is DOWN: refused"


def test_a_run_waits_for_the_better_of_two_standbys_never_met_before():
    snapshot = bare(server("a", DOWN, at=5.0), server("b", UNKNOWN), server("c", at=5.0), current="c")
    assert wanted(snapshot) == "b"


def test_a_run_that_waited_in_vain_goes_to_the_one_that_answered():
    snapshot = bare(server("a", at=1.0), server("b", at=5.0), current="a")
    choice = select_for_run(snapshot, now=5.0, runs_from=4.0)
    assert (choice.name, choice.passed_over[0].sentence) == ("b", "no answer in time for this run")


def test_a_run_minds_the_latest_word_and_trusts_a_pardoned_server_only_in_need():
    pardoned = attrs.evolve(server("a", at=5.0), access=RiseFall(DOWN, 1, 0.0))
    assert name_of(bare(pardoned, server("b", at=5.0), current="b"), now=5.0, runs_from=4.0) == "b"
    choice = select(bare(pardoned, server("b", DOWN, at=5.0), current="b"), now=5.0, runs_from=4.0)
    assert (choice.name, choice.standing) == ("a", Standing.RISING)


# --- properties ---------------------------------------------------------------------------------------------------

healths = st.sampled_from([UP, DOWN, UNKNOWN])


checks = st.none() | st.builds(
    NodeCheck,
    st.floats(0, 1000),
    st.sampled_from([None, WEB, EMPTY]),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, True, False]),
    st.sampled_from(["", "no answer"]),
    st.none()
    | st.builds(Content, st.floats(0, 1000), st.just(("webserver", "production")), st.sampled_from([None, "1", "2"])),
)


def pins(names):
    ends = st.floats(0, 2000) | st.just(math.inf)
    return st.none() | st.builds(pin, st.sampled_from(names), is_strict=st.booleans(), ends_at=ends)


@st.composite
def snapshots(draw):
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6))
    servers = tuple(
        server(
            name,
            health := draw(healths),
            node_check=draw(checks),
            priority=draw(st.integers(1, 3)),
            changed_at=draw(st.floats(0, 1000)),
            at=draw(st.floats(0, 1000)),
            outcome=draw(st.sampled_from(Outcome)) if health is not UNKNOWN else None,
            registration=Registration(draw(st.sampled_from(RegistrationState))),
            run_evidence=RunEvidence(has_succeeded=draw(st.booleans())),
            was_stale=draw(st.booleans()),
        )
        for name in names
    )
    current = draw(st.sampled_from([None, *names, "gone"]))
    ends = st.floats(0, 2000) | st.just(math.inf)
    drains = [draw(st.none() | st.builds(drain, st.just(name), ends_at=ends)) for name in names]
    return bare(
        *servers,
        *filter(None, [*drains, draw(pins([*names, "gone"]))]),
        current=current,
        failback_s=draw(st.sampled_from([0.0, 600.0, math.inf])),
        readiness=draw(st.sampled_from([ReadinessPolicy(), CHECK, OFF, POLICY])),
        parity=draw(st.sampled_from(ParityMode)),
        used=draw(
            st.sampled_from([None, Used(policy_name="webserver", policy_group="production", policy_revision="1")])
        ),
        used_since=draw(st.sampled_from([-math.inf, 500.0])),
        used_server=draw(st.sampled_from([None, *names])),
    )


@given(snapshots(), st.floats(0, 2000), st.none() | st.floats(0, 1000))
def test_there_is_always_an_answer_and_it_is_always_the_same(snapshot, now, runs_from):
    choice = select(snapshot, now=now, runs_from=runs_from)
    assert (choice is None) == (not snapshot.servers)
    if choice is None:
        return
    assert choice == select(snapshot, now=now, runs_from=runs_from)
    shuffled = attrs.evolve(snapshot, servers=tuple(reversed(snapshot.servers)))
    assert select(shuffled, now=now, runs_from=runs_from) == choice
    assert [verdict.name for verdict in choice.verdicts].count(choice.name) == 1
    assert {verdict.name for verdict in choice.verdicts} == {one.name for one in snapshot.servers}
    assert choice.reason
    assert all(verdict.sentence for verdict in choice.verdicts)


@given(snapshots(), st.floats(0, 2000), st.none() | st.floats(0, 1000))
def test_nobody_stands_better_than_the_chosen_one(snapshot, now, runs_from):
    choice = select(snapshot, now=now, runs_from=runs_from)
    is_strict = snapshot.pin is not None and snapshot.pin.is_strict
    if choice is None or is_strict:
        return
    was = snapshot.choice.name if snapshot.choice else None
    if runs_from is not None or choice.standing is not Standing.DOWN or choice.name != was:
        assert choice.standing == max(verdict.standing for verdict in choice.verdicts)


@given(snapshots(), st.floats(1000, 2000), st.floats(0, 1000), st.data())
def test_once_decided_no_further_answer_changes_where_a_run_starts(snapshot, now, runs_from, data):
    if not snapshot.servers or wanted(snapshot, now, runs_from):
        return
    decided_on = select(snapshot, now=now, runs_from=runs_from).name
    assert select_for_run(snapshot, now=now, runs_from=runs_from).name == decided_on
    for late in [one for one in snapshot.servers if not one.is_probed_since(runs_from)]:
        answer = data.draw(st.sampled_from([Outcome.REFUSED, None]))
        well = late.last_alive_probe or ProbeResult(Outcome.OK, "late", now, is_signed=late.health is UNKNOWN)
        result = attrs.evolve(well, outcome=answer or well.outcome, finished_at=now)
        from chef_failover.decide.world import apply_probe

        after = apply_probe(snapshot, late, result, offline=None, on=ON)
        after = attrs.evolve(after, choice=snapshot.choice)
        assert select(after, now=now, runs_from=runs_from).name == decided_on


@given(snapshots(), st.floats(0, 2000), st.none() | st.floats(0, 1000))
def test_a_pin_in_force_is_followed_or_the_choice_is_degraded(snapshot, now, runs_from):
    choice = select(snapshot, now=now, runs_from=runs_from)
    if choice is None or snapshot.pin is None or snapshot.pin.ends_at <= now:
        return
    assert choice.name == snapshot.pinned or choice.is_degraded
    if runs_from is None and choice.standing is Standing.DOWN and snapshot.is_in_use(choice.name):
        return  # it is left only for a server that has answered since
    if snapshot.server(snapshot.pinned):
        ranks = {  # of two servers that fail, one that was alive when last asked comes first
            one.name: (one.standing, one.standing is not Standing.FAILING or snapshot.server(one.name).is_alive)
            for one in choice.verdicts
        }
        is_followed = snapshot.pin.is_strict or ranks[snapshot.pinned] == max(ranks.values())
        assert (choice.name == snapshot.pinned) == is_followed


@given(snapshots(), st.floats(0, 2000), st.none() | st.floats(0, 1000))
def test_a_drained_server_is_used_only_when_no_other_is_eligible_or_by_a_strict_pin(snapshot, now, runs_from):
    choice = select(snapshot, now=now, runs_from=runs_from)
    if choice is None:
        return
    drain = snapshot.orders.drain_of(choice.name)
    if drain and drain.ends_at > now and not (snapshot.pin and snapshot.pin.is_strict):
        assert all(verdict.standing < Standing.ELIGIBLE for verdict in choice.verdicts)


def test_policy_is_a_value():
    assert Snapshot((), SelectionPolicy(1.0, "x")) == Snapshot((), SelectionPolicy(1.0, "x"))


# A registration under way.


def registering(name, association=RegistrationState.REQUESTED, *, retry_at=0.0, attempts=1, since=None, **more):
    registration = Registration(association, retry_at=retry_at, attempts=attempts, throttled_since=since)
    return server(name, registration=registration, changed_at=-math.inf, **more)


@pytest.mark.parametrize(
    ("first", "is_wanted"),
    [
        (registering("a", at=10.0), True),
        (registering("a", RegistrationState.UNREGISTERED, attempts=0, at=10.0), True),
        (registering("a", retry_at=300.0, at=10.0), False),
        (registering("a", RegistrationState.FAILED, at=10.0, since=1.0), True),
        (registering("a", RegistrationState.FAILED, retry_at=300.0, at=10.0, since=1.0), False),
        (registering("a", RegistrationState.FAILED, at=10.0), False),
        (registering("a", RegistrationState.REFUSED, at=10.0), False),
        (registering("a", outcome=Outcome.REFUSED, at=10.0), False),
        (registering("a", health=DOWN, at=10.0), False),
        (registering("a", RegistrationState.REGISTERED, retry_at=9.0, at=8.0), True),
        (registering("a", RegistrationState.REGISTERED, retry_at=1.0, at=10.0), False),
        (registering("a", RegistrationState.REGISTERED, attempts=0, retry_at=9.0, at=10.0), False),
    ],
    ids=[
        "requested",
        "not begun yet",
        "asked for again in minutes",
        "throttled, and due",
        "throttled for minutes yet",
        "failed",
        "refused",
        "the server just failed",
        "it is down",
        "not proven by a probe yet",
        "a while ago",
        "proven",
    ],
)
def test_a_run_waits_for_a_better_server_that_is_about_to_know_this_node(first, is_wanted):
    snapshot = bare(first, server("b", at=10.0), current="b")
    ask = functools.partial(server_worth_waiting_for, snapshot, now=10.0, runs_from=5.0)
    assert ask() == ("a" if is_wanted else None)
    assert ask(registers=False) is None


@pytest.mark.parametrize(("outcome", "is_wanted"), [(Outcome.OK, True), (Outcome.REFUSED, False)])
def test_where_no_other_works_a_run_waits_for_a_server_that_has_just_come_back(outcome, is_wanted):
    back = registering("a", RegistrationState.UNREGISTERED, attempts=0, health=DOWN, outcome=outcome, at=10.0)
    snapshot = bare(back, server("b", DOWN, at=10.0), current="a")
    assert wanted(snapshot, now=10.0, runs_from=5.0) == ("a" if is_wanted else None)


@pytest.mark.parametrize(
    ("first", "is_wanted"),
    [
        (asked("a", at=10.0), True),
        (asked("a", at=10.0, was_known=True), False),
        (asked("a", at=10.0, was_known=True, registration=Registration(retry_at=1.0)), True),
        (asked("a", at=10.0, node_check=NodeCheck(2.0), registration=Registration(retry_at=1.0)), False),
    ],
    ids=["never read", "read in a former life", "registered in this one", "read since"],
)
def test_a_run_waits_for_the_first_reading_on_the_server_that_it_wants(first, is_wanted):
    snapshot = bare(attrs.evolve(first, liveness=RiseFall(UP, changed_at=-math.inf)), server("b", at=10.0), current="b")
    wanted = server_worth_waiting_for(snapshot, now=10.0, runs_from=5.0)
    assert wanted == ("a" if is_wanted else None)


def test_a_registration_under_way_elsewhere_is_not_waited_for():
    snapshot = bare(server("a", at=10.0), registering("b", at=10.0), current="a")
    assert server_worth_waiting_for(snapshot, now=10.0, runs_from=5.0) is None


def test_a_run_goes_to_a_server_that_asked_to_be_left_alone_before_one_that_fails():
    failed, alone = server("a", outcome=Outcome.REFUSED, at=5.0), server("b", at=1.0, stay_away_until=60.0)
    snapshot = bare(failed, alone, current="a")
    assert wanted(snapshot) is None
    choice = select_for_run(snapshot, now=5.0, runs_from=4.0)
    assert (choice.name, choice.is_degraded) == ("b", True)
    well = select_for_run(bare(alone, server("c", at=5.0)), now=5.0, runs_from=4.0)
    assert well.name == "c"


def test_a_server_that_failed_its_last_probe_comes_after_all_that_answered():
    failing = server("a", UP, outcome=Outcome.REFUSED, at=10.0)
    for other in (
        without("b", at=10.0),
        server("b", outcome=Outcome.NOT_ASSOCIATED, at=10.0),
        drained(server("b", at=10.0)),
    ):
        snapshot = bare(failing, holding("c", health=DOWN, at=10.0), other, current="a")
        assert select(snapshot, now=10.0, runs_from=5.0).name == "b"
