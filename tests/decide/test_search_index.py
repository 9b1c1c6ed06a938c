"""A server whose search index fails: how many looks it takes, and where it then stands."""

import math

import attrs
import pytest

from chef_failover.decide import outlook
from chef_failover.decide.selection import select, server_worth_waiting_for
from chef_failover.model.model import Health, Outcome, RiseFall, Standing, Transition
from chef_failover.model.needs import ParityMode
from chef_failover.model.run_history import RunEvidence
from tests.support.builders import ON, bare, drained, pin, probed, server, without, world

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN
BROKEN = RiseFall(DOWN, changed_at=0.0)
MET = Transition(ON, "a", "UNKNOWN", "UP", "ok")
FAILED = Transition(ON, "a", "index works", "index fails", "no")
WORKS_AGAIN = Transition(ON, "a", "index fails", "index works", "ok")


def impaired(name, **more):
    return server(name, index=BROKEN, **more)


def looks(snapshot, name, script, start=1.0):
    """The world after one probe a second: ``-`` says that the index fails, ``+`` that it works, ``.`` does not look."""
    for step, sign in enumerate(script):
        outcome = Outcome.DEGRADED if sign == "-" else Outcome.OK
        index_fails = {"-": True, "+": False, ".": None}[sign]
        snapshot = probed(snapshot, name, outcome, start + step, index_fails=index_fails)
    return snapshot


def used(snapshot, name, script):
    """Which server was in use after each of these looks, as one word."""
    found = ""
    for step, sign in enumerate(script):
        snapshot = looks(snapshot, name, sign, 1.0 + step)
        found += snapshot.choice.name
    return found


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("+", "a"),
        ("-+-+--+", "aaaaaaa"),
        ("---", "aab"),  # not even the first look counts at once
        ("-.-..-", "aaaaab"),  # what does not look says nothing
        ("+---+-++", "aaabbbba"),  # and back after two that work in a row
    ],
)
def test_so_many_looks_as_of_anything_else(script, expected):
    assert used(world(server("a"), server("b"), current="a", failback_s=0.0), "a", script) == expected


def test_an_index_that_is_back_is_held_down_as_a_server_is():
    snapshot = looks(world(server("a"), server("b"), current="a", failback_s=100.0), "a", "---++")
    assert snapshot.choice.name == "b"
    said = {verdict.name: verdict.sentence for verdict in snapshot.choice.verdicts}
    assert said["a"].startswith("UP again; the node returns in")
    assert looks(snapshot, "a", ".", 99.0).choice.name == "b"
    assert looks(snapshot, "a", ".", 156.0).choice.name == "a"  # 5 s, 100 s and up to half as long again


def test_an_index_that_never_failed_holds_nothing_down():
    start = world(server("a", UNKNOWN), server("b"), current="b", transitions=(MET,))
    assert used(start, "a", "+") == "a"
    assert start.server("a").index_fails is None
    assert looks(start, "a", "+").server("a").index_fails is False


@pytest.mark.parametrize(
    ("before", "script", "expected"),
    [
        ((FAILED,), "-", "b"),  # what was known before the restart is confirmed by one look
        ((FAILED,), "+", "b"),  # and one that says otherwise begins the hold-down
        ((FAILED, WORKS_AGAIN), "-+", "ba"),  # what worked then comes back from nowhere
        ((FAILED, WORKS_AGAIN), "+", "a"),
    ],
)
def test_after_a_restart(before, script, expected):
    start = world(server("a", UNKNOWN), server("b"), current="b", transitions=(MET, *before))
    assert used(start, "a", script) == expected


def test_changes_are_remembered():
    snapshot = looks(world(server("a"), server("b"), current="a"), "a", "+----+-++")
    assert [(one.before, one.after) for one in snapshot.transitions if one.server == "a"] == [
        ("index works", "index fails"),
        ("index fails", "index works"),
    ]


def test_a_server_that_fails_altogether_says_nothing_of_its_index():
    snapshot = probed(world(server("a"), server("b")), "a", Outcome.SERVER_ERROR, 1.0, index_fails=True)
    assert snapshot.server("a").index == RiseFall()


def test_only_a_look_hurries_the_next():
    start = world(server("a"), server("b"))
    assert looks(start, "a", "-").server("a").is_changing
    assert not looks(start, "a", "-.").server("a").is_changing
    assert not looks(start, "a", "---").server("a").is_changing


# Where it stands.


def run_goes_to(*servers, **more):
    """Where this node belongs, and where a run goes; they are the same."""
    snapshot = bare(*servers, **more)
    settled, of_a_run = select(snapshot, now=10.0), select(snapshot, now=10.0, runs_from=0.0)
    assert (settled.name, settled.standing) == (of_a_run.name, of_a_run.standing)
    return settled.name, settled.is_degraded


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (impaired("a"), server("b"), ("b", False)),
        (server("a"), impaired("b"), ("a", False)),
        (impaired("a"), impaired("b"), ("a", True)),
        (impaired("b"), server("a", DOWN), ("b", True)),
        (impaired("b"), server("a", outcome=Outcome.FORBIDDEN), ("b", True)),
        (impaired("b"), drained(server("a")), ("b", True)),
        (drained(impaired("a")), drained(server("b")), ("a", True)),
    ],
)
def test_below_a_sound_server_and_above_all_others(a, b, expected):
    assert run_goes_to(a, b) == expected


def test_above_a_server_where_a_run_does_nothing():
    assert run_goes_to(
        without("a"),
        attrs.evolve(impaired("b"), had_useful_node_object=True, run_evidence=RunEvidence(has_succeeded=True)),
    ) == ("b", True)


def test_the_only_server_is_used():
    assert run_goes_to(impaired("a")) == ("a", True)


def test_a_stale_server_is_better():
    assert Standing.IMPAIRED < Standing.STALE
    assert run_goes_to(impaired("a"), server("b"), current="a", parity=ParityMode.REQUIRE) == ("b", False)


def test_of_two_impaired_ones_the_node_stays():
    assert run_goes_to(impaired("a"), impaired("b"), current="b", failback_s=0.0) == ("b", True)


def test_where_all_begin_to_fail_the_node_does_not_move():
    snapshot = world(server("a"), server("b"), current="a")
    for at in range(4):
        snapshot = looks(looks(snapshot, "b", "-", at), "a", "-", at + 0.5) if at else looks(snapshot, "a", "-", 0.0)
        assert snapshot.choice.name == select(snapshot, now=at + 0.9, runs_from=0.0).name == "a"
    assert [one.index_fails for one in snapshot.servers] == [True, True]


def test_a_standby_that_was_just_seen_to_fail_is_gone_to_by_nobody():
    snapshot = looks(world(server("a"), server("b"), current="a"), "b", "-")
    assert snapshot.choice.name == "a"
    snapshot = looks(snapshot, "a", "---", 2.0)
    said = {verdict.name: verdict.sentence for verdict in snapshot.choice.verdicts}
    assert (snapshot.choice.name, said["b"]) == ("a", "its search index failed its last check")
    assert looks(snapshot, "b", "+", 6.0).choice.name == "b"


def test_a_pin_does_not_overrule_it_unless_it_is_strict():
    a, b = impaired("a"), server("b")
    assert run_goes_to(a, b, pin("a")) == ("b", True)
    assert run_goes_to(a, b, pin("a", is_strict=True)) == ("a", True)


def test_a_run_waits_for_no_look_and_minds_no_single_one():
    sound = looks(world(server("a"), server("b"), current="a"), "a", "--")
    assert select(sound, now=2.0, runs_from=1.5).name == "a"
    impaired_one = looks(sound, "a", "-", 3.0)
    assert server_worth_waiting_for(impaired_one, now=10.0, runs_from=9.0) == "b"
    answered = probed(impaired_one, "b", Outcome.OK, 9.5)
    assert server_worth_waiting_for(answered, now=10.0, runs_from=9.0) is None


# What is said of it.

SENTENCE = "its search index fails, so the last save of a run fails"


def test_why_it_is_passed_over():
    choice = select(bare(impaired("a"), server("b")), now=0.0)
    assert choice.reason == f"a is impaired: {SENTENCE}"
    assert choice.verdicts[0].sentence == SENTENCE
    alone = select(bare(impaired("a")), now=0.0)
    assert alone.reason == f"no server is eligible; the best of the rest: a is impaired: {SENTENCE}"
    proving = select(bare(server("a", index=RiseFall(DOWN, 1, 0.0)), server("b")), now=0.0)
    assert proving.verdicts[0].sentence == "its search index failed a moment ago"


def test_what_it_lacks_and_what_would_have_to_change():
    snapshot = bare(impaired("a"), server("b"))
    assert outlook.shortcomings(snapshot, snapshot.server("a"), now=0.0, on=ON) == (f"is impaired: {SENTENCE}",)
    choice = select(snapshot, now=0.0)
    wants = outlook.conditions_for_use(snapshot, choice.verdicts[0], choice, now=0.0)
    assert wants == "its search index must work; it must then stay UP for 13 min (failback), or the node be pinned"
    assert snapshot.server("b").well_since == 0.0
    assert attrs.evolve(server("a"), index=RiseFall(UP, changed_at=-math.inf)).well_since == 0.0
