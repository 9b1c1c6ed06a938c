"""The hold-down that learns: its tables, and a node on a simulated clock whose main server comes and goes."""

import datetime
import itertools
import math

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chef_failover.decide import hold_down, outlook
from chef_failover.decide import world as changes
from chef_failover.decide.hold_down import DAY_S, LONGEST_S, MOST_A_DAY
from chef_failover.decide.selection import select_for_run
from chef_failover.decide.spread import unit_hash
from chef_failover.model.model import (
    Health,
    Outcome,
    Registration,
    RegistrationState,
    Returns,
    RiseFall,
    SelectionPolicy,
)
from chef_failover.model.orders import Pin
from chef_failover.model.run_history import RunEvidence
from tests.support.builders import ON, bare, drain, pin, probed, server, world

MINUTE_S = 60.0
NEVER = -math.inf
TEN = SelectionPolicy(600.0, "web-1")
SHARE = unit_hash("hold-down", "web-1", "main")


# --- how long it lasts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failback_s", "returns", "now", "minutes"),
    [
        (600.0, Returns(), 0.0, 10),
        (600.0, Returns(0, (0.0,)), 0.0, 10),
        (600.0, Returns(1, (0.0,)), 0.0, 20),
        (600.0, Returns(2, (0.0,)), 0.0, 40),
        (600.0, Returns(4, (0.0,)), 0.0, 160),
        (600.0, Returns(5, (0.0,)), 0.0, 240),
        (600.0, Returns(2, (0.0,)), 0.99 * DAY_S, 40),
        (600.0, Returns(2, (0.0,)), DAY_S, 20),
        (600.0, Returns(2, (-DAY_S, 0.0)), DAY_S, 20),  # since the last failure
        (600.0, Returns(2, (0.0,)), 2 * DAY_S, 10),
        (600.0, Returns(2, (0.0,)), 9 * DAY_S, 10),
        (LONGEST_S * 2, Returns(0, (0.0,)), 0.0, 480),
        (0.0, Returns(3, (0.0,)), 0.0, 0),
        (math.inf, Returns(3, (0.0,)), 0.0, math.inf),
    ],
)
def test_it_doubles_up_to_four_hours_and_a_day_of_peace_halves_it(failback_s, returns, now, minutes):
    policy = SelectionPolicy(failback_s, "web-1")
    length_s = hold_down.length_s(server("main", returns=returns), policy, now=now)
    assert length_s == pytest.approx(minutes * MINUTE_S * (1 + SHARE))


@pytest.mark.parametrize(
    ("failback_s", "returns", "well_since", "base_s", "began_at"),
    [
        (600.0, Returns(), 1000.0, 600.0, 1000.0),
        (600.0, Returns(1, (900.0,)), 1000.0, 1200.0, 1000.0),
        (600.0, Returns(1, (900.0,)), 800.0, 1200.0, 900.0),  # what failed may have been UP all the while
        (600.0, Returns(0, (900.0,)), 800.0, 600.0, 800.0),
        (600.0, Returns(2, (1.0,)), 1000.0, 2400.0, 1000.0),
        (600.0, Returns(2, (1.0, 2.0)), 1000.0, 2400.0, 1.0 + DAY_S - 2400.0),
        (600.0, Returns(0, (1.0, 2.0)), 1000.0, 600.0, 1.0 + DAY_S - 600.0),
        (600.0, Returns(1, (1.0 - DAY_S, 2.0)), 1000.0, 1200.0, 1000.0),
    ],
)
def test_when_it_ends(failback_s, returns, well_since, base_s, began_at):
    policy = SelectionPolicy(failback_s, "web-1")
    left_s = hold_down.left_s(server("main", returns=returns), policy, well_since=well_since, now=1000.0)
    assert left_s == pytest.approx(began_at + base_s * (1 + SHARE) - 1000.0)


def test_a_server_that_was_never_down_has_none_and_one_that_is_not_well_has_no_end():
    assert hold_down.left_s(server("main"), TEN, well_since=NEVER, now=0.0) == 0.0
    assert hold_down.left_s(server("main"), TEN, well_since=None, now=0.0) == math.inf


def test_immediately_and_never_stay_what_they_are_whatever_was_learned():
    flapped = server("main", returns=Returns(3, (1.0, 2.0)))
    for failback_s, expected in ((0.0, 0.0), (math.inf, math.inf)):
        policy = SelectionPolicy(failback_s, "web-1")
        assert hold_down.left_s(flapped, policy, well_since=5.0, now=5.0) == expected


def test_it_is_spread_over_the_fleet_over_its_own_length():
    for returns, base_s in ((Returns(), 600.0), (Returns(2, (0.0,)), 2400.0)):
        main = server("main", returns=returns)
        lengths = [hold_down.length_s(main, SelectionPolicy(600.0, f"web-{i}"), now=0.0) for i in range(400)]
        assert base_s <= min(lengths) < 1.02 * base_s
        assert 1.98 * base_s < max(lengths) < 2 * base_s
        assert all(
            25 < sum(part <= length / base_s * 10 - 10 < part + 1 for length in lengths) < 60 for part in range(10)
        )


# --- what counts as a failure ---------------------------------------------------------------------------------------


def at(seconds):
    return ON + datetime.timedelta(seconds=seconds)


def settled(snapshot, now):
    return changes.refresh_choice(snapshot, now=now, on=at(now))


def dies(snapshot, now, name="main"):
    for step in range(3):
        snapshot = probed(snapshot, name, Outcome.REFUSED, now + step)
    return probed(snapshot, "standby", Outcome.OK, now + 2)


def recovers(snapshot, now):
    for step in range(2):
        snapshot = probed(snapshot, "main", Outcome.OK, now + step)
    return snapshot


def pair(main=None, current="main", **more):
    main = main or server("main", priority=1, changed_at=NEVER)
    return world(main, server("standby", priority=2), current=current, **more)


def returns_of(snapshot, name="main"):
    return snapshot.server(name).returns


def test_a_return_that_fails_within_a_day_doubles_it():
    away = dies(pair(), 0.0)
    assert (away.choice.name, returns_of(away)) == ("standby", Returns(0, (2.0,)))
    back = settled(recovers(away, 100.0), 1400.0)
    assert (back.choice.name, returns_of(back)) == ("main", Returns(0, (2.0,), 1400.0))
    again = dies(back, 1400.0 + DAY_S - 3)
    assert returns_of(again) == Returns(1, (2.0, 1400.0 + DAY_S - 1))


def test_after_two_failures_in_a_day_the_node_stays_away_for_the_rest_of_it():
    back = settled(recovers(dies(pair(), 0.0), 100.0), 1400.0)
    held = recovers(dies(back, 2000.0), 2100.0)
    assert settled(held, DAY_S).choice.name == "standby"
    returned = settled(held, 2.0 + DAY_S + 1200 * SHARE + 1)
    assert returned.choice.name == "main"
    again = recovers(dies(returned, DAY_S + 1500), DAY_S + 1600)
    assert returns_of(again) == Returns(2, (2002.0, DAY_S + 1502), NEVER)
    assert settled(again, DAY_S + 1600 + 2390).choice.name == "standby"
    assert settled(again, DAY_S + 2002 + 4800).choice.name == "main"


def test_a_return_that_held_for_a_day_and_failed_then_doubles_nothing():
    back = settled(recovers(dies(pair(), 0.0), 100.0), 1400.0)
    assert returns_of(dies(back, 1400.0 + DAY_S)) == Returns(0, (2.0, 1402.0 + DAY_S))


def test_what_a_server_does_while_the_node_is_elsewhere_is_no_failure():
    snapshot = dies(pair(), 0.0)
    for begin in range(100, 5000, 500):
        snapshot = dies(recovers(snapshot, float(begin)), begin + 400.0)
    assert (snapshot.choice.name, returns_of(snapshot)) == ("standby", Returns(0, (2.0,)))
    up = recovers(snapshot, 5000.0)
    assert settled(up, 5600.0).choice.name == "standby"
    assert settled(up, 6201.0).choice.name == "main"


@pytest.mark.parametrize(
    ("main", "orders", "is_failure"),
    [
        (server("main", Health.DOWN, priority=1), (), True),
        (server("main", priority=1, run_evidence=RunEvidence(2, 99.0, "SocketError")), (), True),
        (server("main", priority=1, index=RiseFall(Health.DOWN, changed_at=99.0)), (), True),
        (server("main", priority=1, outcome=Outcome.NOT_ASSOCIATED), (), True),
        (server("main", priority=1, registration=Registration(RegistrationState.REFUSED)), (), False),
        (server("main", priority=1), (drain("main"),), False),
    ],
)
def test_what_takes_the_node_away_by_no_wish_is_a_failure(main, orders, is_failure):
    for before, failed in (
        (Returns(0, (40.0,), 50.0), Returns(1, (40.0, 100.0))),
        (Returns(0, (), 50.0), Returns(0, (100.0,))),  # it had not failed before the node came to it
    ):
        known = attrs.evolve(main, returns=before)
        moved = settled(bare(known, *orders, server("standby", at=100.0, priority=2), current="main"), 100.0)
        assert moved.choice.name == "standby"
        assert returns_of(moved) == (failed if is_failure else before)


def test_what_a_person_wants_is_no_failure():
    back = attrs.evolve(server("main", priority=1, changed_at=NEVER), returns=Returns(0, (), 50.0))
    both = pair(back)
    pinned = changes.apply_order(both, pin("standby"), is_forced=False, now=100.0, on=at(100))
    assert (pinned.choice.name, returns_of(pinned)) == ("standby", returns_of(both))
    unpinned = changes.lift(pinned, Pin, who="bob", now=200.0, on=at(200))
    assert (unpinned.choice.name, returns_of(unpinned)) == ("main", Returns(0, (), 200.0))
    reordered = attrs.evolve(both, servers=(attrs.evolve(both.servers[0], priority=3), both.servers[1]))
    assert returns_of(settled(reordered, 100.0)) == returns_of(both)
    without = attrs.evolve(both, servers=both.servers[1:])
    assert settled(without, 100.0).choice.name == "standby"


@pytest.mark.parametrize("failback_s", [0.0, math.inf])
def test_with_immediately_or_never_nothing_is_learned(failback_s):
    assert returns_of(dies(pair(failback_s=failback_s), 0.0)) == Returns()


def test_what_is_kept_is_bounded():
    snapshot = pair(failback_s=1.0)
    for now in range(0, 100_000, 1000):
        main = attrs.evolve(snapshot.server("main"), returns=attrs.evolve(returns_of(snapshot), came_back_at=now))
        snapshot = attrs.evolve(snapshot.with_server(main), choice=attrs.evolve(snapshot.choice, name="main"))
        snapshot = recovers(dies(snapshot, float(now)), now + 10.0)
    assert len(returns_of(snapshot).failed_at) == MOST_A_DAY
    assert returns_of(snapshot).doublings == 14
    assert hold_down.length_s(snapshot.server("main"), snapshot.policy, now=100_000.0) < 2 * LONGEST_S


# --- what is said of it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (Returns(0, (0.0,)), "UP again; the node returns in 15 min (failback)"),
        (Returns(1, (0.0, 1.0)), "UP again; the node returns in 24 h (failback, since it failed twice in 24 h)"),
        (
            Returns(2, (0.0,)),
            "UP again; the node returns in 60 min (failback, since it failed after the node had come back)",
        ),
    ],
)
def test_how_long_it_must_stay_well_and_why_is_said(returns, said):
    main = server("main", priority=1, changed_at=100.0, at=100.0, returns=returns)
    held = settled(bare(main, server("standby", at=100.0, priority=2), current="standby"), 100.0)
    assert held.choice.verdicts[0].sentence == said
    words = outlook.conditions_for_use(held, held.choice.verdicts[0], held.choice, now=100.0)
    assert words == said.replace("UP again; the node returns in", "it must stay UP for") + ", or the node be pinned"


def test_a_server_that_is_down_is_told_how_long_it_must_then_stay_well():
    main = server("main", Health.DOWN, priority=1, returns=Returns(2, (0.0,)))
    held = settled(bare(main, server("standby", at=100.0, priority=2), current="standby"), 100.0)
    words = outlook.conditions_for_use(held, held.choice.verdicts[0], held.choice, now=100.0)
    assert words == (
        "it must come UP; it must then stay UP for 60 min (failback, since it failed after the node had come back)"
        ", or the node be pinned"
    )


def test_where_no_server_works_none_is_told_to_stay_well():
    main = server("main", Health.DOWN, priority=1, returns=Returns(1, (0.0, 1.0)))
    world = settled(bare(main, server("standby", Health.DOWN, at=100.0, priority=2), current="standby"), 100.0)
    assert outlook.conditions_for_use(world, world.choice.verdicts[0], world.choice, now=100.0) == "it must come UP"


@pytest.mark.parametrize("came_back_at", [NEVER, 1.0, 50.0])
def test_what_was_learned_counts_until_the_node_has_come_back(came_back_at):
    """A drill ends where it began, though the server failed twice today before the node came back to it."""
    main = server("main", returns=Returns(1, (0.0, 1.0), came_back_at))
    left_s = hold_down.left_s(main, TEN, well_since=2.0, now=3600.0)
    assert left_s == 0.0 if came_back_at == 50.0 else left_s > DAY_S / 2
    why = "" if came_back_at == 50.0 else ", since it failed twice in 24 h"
    assert hold_down.in_words(600.0, main, now=3600.0) == f"10 min (failback{why})"


# --- a node whose main server comes and goes ------------------------------------------------------------------------


class Node:
    """One node with a main server that comes and goes, and a standby that works; on a simulated clock.

    Both are asked by each run, main in the background besides, and the standby when main goes DOWN. What contradicts
    what is held is asked again in 2 s.
    """

    def __init__(self, up_s, down_s, *, probe_every_s, phase_s=0.0, identity="web-1", failback_s=600.0):
        self.period_s, self.up_s, self.phase_s = up_s + down_s, up_s, phase_s
        self.probe_every_s = probe_every_s
        self.next_run, self.next_probe = 5 * MINUTE_S, 0.0
        self.world = pair(identity=identity, failback_s=failback_s)
        self.moves, self.runs = [], []

    def is_up(self, now):
        return (now + self.phase_s) % self.period_s < self.up_s

    def ask(self, name, now):
        before = self.world
        outcome = Outcome.OK if name == "standby" or self.is_up(now) else Outcome.REFUSED
        self.world = probed(before, name, outcome, now)
        if name == "main":
            main = self.world.server(name)
            self.next_probe = now + (2.0 if main.is_changing else self.probe_every_s)
            if main.health < before.server(name).health:
                self.ask("standby", now)

    def live(self, days):
        while (now := min(self.next_probe, self.next_run)) < days * DAY_S:
            was = self.world.choice.name
            self.ask("main", now)
            if now == self.next_run:
                self.ask("standby", now)
                choice = select_for_run(self.world, now=now, runs_from=now)
                self.runs.append((now, choice.name))
                self.next_run += 30 * MINUTE_S
            if self.world.choice.name != was:
                self.moves.append(now)
        return self


def most_in_a_day(instants):
    return max((sum(0 <= one - first < DAY_S for one in instants) for first in instants), default=0)


def changes_of_server(runs):
    return [now for (_, before), (now, after) in itertools.pairwise(runs) if before != after]


SOONEST = min((f"web-{number}" for number in range(200)), key=lambda name: unit_hash("hold-down", name, "main"))
"""A node whose hold-down is hardly longer than ``failback``: the first that every pattern finds back."""


@pytest.mark.parametrize("probe_every", [2, 30])
@pytest.mark.parametrize(
    ("up", "down"),
    [(13, 2), (18, 2), (5, 5), (30, 5), (61, 10), (120, 10), (161, 1), (241, 4), (500, 60)],
)
def test_however_main_comes_and_goes_the_node_moves_a_few_times_a_day(up, down, probe_every):
    node = Node(up * MINUTE_S, down * MINUTE_S, probe_every_s=probe_every * MINUTE_S, identity=SOONEST).live(2)
    assert most_in_a_day(node.moves) <= 4
    assert most_in_a_day(changes_of_server(node.runs)) <= 4


@settings(max_examples=20, deadline=None)
@given(
    up=st.floats(1.0, 700.0),
    down=st.floats(0.5, 120.0),
    phase=st.floats(0.0, 800.0),
    probe_every=st.floats(5.0, 30.0),
    policy=st.tuples(st.integers(0, 50), st.sampled_from([60.0, 600.0, 3600.0])),
)
def test_no_pattern_moves_a_node_more_than_four_times_a_day(up, down, phase, probe_every, policy):
    number, failback_s = policy
    node = Node(
        up * MINUTE_S,
        down * MINUTE_S,
        phase_s=phase * MINUTE_S,
        probe_every_s=probe_every * MINUTE_S,
        identity=f"web-{number}",
        failback_s=failback_s,
    ).live(3)
    assert most_in_a_day(node.moves) <= 2 * MOST_A_DAY


def test_after_an_outage_the_node_is_back_after_its_hold_down():
    node = Node(600 * MINUTE_S, 30 * MINUTE_S, probe_every_s=2 * MINUTE_S).live(0.5)
    away, back = node.moves
    assert 600 * MINUTE_S <= away <= 603 * MINUTE_S
    length_s = 600 * (1 + SHARE)
    assert length_s <= back - 630 * MINUTE_S <= length_s + 5 * MINUTE_S
