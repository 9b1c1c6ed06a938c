"""Drains and pins over time: given, taken back, over; and what they leave behind."""

import datetime
import math

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chef_failover.decide import world as worlds_of
from chef_failover.decide.steering import ABSENT_KEPT, carried, ends_at_after_reboot
from chef_failover.decide.world import refresh_choice
from chef_failover.errors import RefusedError
from chef_failover.model.model import Health, Outcome, Standing
from chef_failover.model.orders import Drain, Orders, Pin
from tests.support.builders import ON, bare, drain, pin, probed, server, world

DOWN = Health.DOWN


def later(seconds):
    return ON + datetime.timedelta(seconds=seconds)


def apply_order(snapshot, order, now=0.0, *, is_forced=False):
    return worlds_of.apply_order(snapshot, order, is_forced=is_forced, now=now, on=later(now))


def undrain(snapshot, name, now=0.0):
    return worlds_of.lift(snapshot, (Drain, name), who="bob", now=now, on=later(now))


def unpin(snapshot, now=0.0):
    return worlds_of.lift(snapshot, Pin, who="bob", now=now, on=later(now))


def settled(snapshot, now):
    return refresh_choice(snapshot, now=now, on=later(now))


def lasting(make, name, seconds, now=0.0, **more):
    return make(name, lasts_s=seconds, ends_at=now + seconds, ends_on=later(now + seconds), **more)


def last(snapshot, count=2):
    return [(entry.server, entry.before, entry.after, entry.reason) for entry in snapshot.transitions[-count:]]


def test_a_drain_of_the_server_in_use_moves_the_node_at_once_and_says_so():
    moved = apply_order(world(server("a"), server("b"), now=5.0), drain("a", reason="kernel"), 5.0)
    assert (moved.choice.name, moved.choice.is_degraded) == ("b", False)
    assert last(moved) == [
        ("a", "in service", "drained", "by alice: kernel"),
        (None, "a", "b", "a is drained by alice: kernel"),
    ]


def test_a_server_that_was_well_gets_the_node_back_when_its_drain_ends():
    moved = apply_order(world(server("a"), server("b"), current="a", now=1000.0), drain("a"), 1000.0)
    back = undrain(moved, "a", 1060.0)
    assert back.choice.name == "a"
    assert last(back)[0] == ("a", "drained", "in service", "ended by bob; set by alice")
    assert undrain(back, "a", 1070.0) == settled(back, 1070.0)


def test_one_that_was_rebooted_meanwhile_is_held_down_as_after_any_outage():
    moved = apply_order(world(server("a"), server("b"), current="a", now=1000.0), drain("a"), 1000.0)
    for at in (1010.0, 1012.0, 1014.0):
        moved = probed(moved, "a", Outcome.REFUSED, at)
    assert moved.choice.reason == "a is DOWN: refused; drained by alice"
    for at in (1050.0, 1052.0):
        moved = probed(moved, "a", Outcome.OK, at)
    back = undrain(moved, "a", 1060.0)
    assert back.choice.name == "b"
    assert back.choice.reason.startswith("a is UP again")
    assert probed(back, "a", Outcome.OK, 1052.0 + 901.0).choice.name == "a"


def test_a_drain_ends_by_itself():
    moved = apply_order(
        world(server("a"), server("b"), current="a", now=1000.0), lasting(drain, "a", 60.0, 1000.0), 1000.0
    )
    assert settled(moved, 1059.9).choice.name == "b"
    back = settled(moved, 1060.0)
    assert (back.choice.name, back.orders.drains, back.orders.next_end) == ("a", (), math.inf)
    assert last(back)[0] == ("a", "drained", "in service", "expired; set by alice for 60 s")


def test_a_pin_is_a_failover_that_ends_by_itself():
    both = world(server("a"), server("b"), current="a", now=1000.0)
    drill = apply_order(both, lasting(pin, "b", 1800.0, 1000.0, reason="drill"), 1000.0)
    assert drill.choice.reason == "pinned to b by alice for another 30 min: drill"
    back = settled(drill, 2800.0)
    assert (back.choice.name, back.pin) == ("a", None)
    assert [entry[:3] for entry in last(back)] == [("b", "pinned", "not pinned"), (None, "b", "a")]


@pytest.mark.parametrize("order", [drain("a"), pin("b")])
def test_with_failback_never_the_node_returns_all_the_same_when_an_order_ends(order):
    both = world(server("a"), server("b"), current="a", failback_s=math.inf, now=1000.0)
    moved = apply_order(both, order, 1000.0)
    assert moved.choice.name == "b"
    assert unpin(undrain(moved, "a", 1100.0), 1100.0).choice.name == "a"
    dead = moved
    for at in (1010.0, 1012.0, 1014.0):
        dead = probed(dead, "a", Outcome.REFUSED, at)
    dead = unpin(undrain(dead, "a", 1100.0), 1100.0)
    for at in (1110.0, 1112.0):
        dead = probed(dead, "a", Outcome.OK, at)
    assert dead.choice.name == "b"


def test_with_failback_never_orders_that_moved_nothing_leave_nothing():
    fled = world(server("a", changed_at=9.0), server("b"), server("c"), current="b", failback_s=math.inf, now=10.0)
    assert undrain(apply_order(fled, drain("a"), 10.0), "a", 20.0).choice.name == "b"
    missed = apply_order(attrs.evolve(fled, servers=(*fled.servers[:2], server("c", DOWN))), pin("c"), 10.0)
    assert (missed.choice.name, unpin(missed, 20.0).choice.name) == ("b", "b")
    gone = attrs.evolve(apply_order(fled, pin("c"), 10.0), servers=fled.servers[::2])
    assert unpin(settled(gone, 15.0), 20.0).choice.name == "c"


def test_a_second_pin_replaces_the_first_and_remembers_where_the_node_came_from():
    three = world(server("a"), server("b"), server("c"), current="a", failback_s=math.inf, now=10.0)
    twice = apply_order(apply_order(three, pin("b"), 10.0), pin("c"), 20.0)
    assert [entry[:3] for entry in last(twice, 3)] == [
        ("b", "pinned", "not pinned"),
        ("c", "not pinned", "pinned"),
        (None, "b", "c"),
    ]
    assert unpin(twice, 30.0).choice.name == "a"
    again = apply_order(twice, pin("c", reason="longer"), 25.0)
    assert again.pin.reason == "longer"


def test_a_drain_is_replaced_by_another_of_the_same_server():
    twice = apply_order(apply_order(world(server("a"), server("b")), drain("a")), drain("a", reason="still"))
    assert [one.reason for one in twice.orders.drains] == ["still"]


@pytest.mark.parametrize(
    ("snapshot", "order", "words"),
    [
        (world(server("a")), drain("a"), "no server would be left"),
        (world(server("a"), server("b"), drain("b")), drain("a"), "undrain one, or drain a with --force"),
        (world(server("a"), server("b"), pin("a", is_strict=True)), drain("a"), "pinned strictly to a by alice;"),
        (world(server("a"), server("b"), drain("b")), pin("b"), "b is drained by alice; undrain it, or pin"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out(snapshot, order, words):
    with pytest.raises(RefusedError, match=words):
        apply_order(snapshot, order)
    forced = apply_order(snapshot, order, is_forced=True).orders
    assert order in [attrs.evolve(one, in_use=None) for one in forced]


def test_a_strict_pin_may_be_to_a_drained_server():
    assert apply_order(world(server("a"), server("b"), drain("b")), pin("b", is_strict=True)).choice.name == "b"


def test_a_drain_that_is_over_is_no_reason_to_refuse_another():
    snapshot = world(server("a"), server("b"), lasting(drain, "b", 5.0))
    assert [one.server for one in apply_order(snapshot, drain("a"), 6.0).orders.drains] == ["a"]


def test_the_drain_of_a_server_that_left_is_kept_and_can_be_taken_back():
    gone = [drain(f"gone-{number}") for number in range(ABSENT_KEPT + 5)]
    kept = carried(Orders((drain("a"), *gone, pin("gone-1"))), {"a"})
    assert [order.server for order in kept] == ["a", *(one.server for one in gone[5:]), "gone-1"]
    snapshot = world(server("a"), *kept)
    assert len(undrain(snapshot, "gone-50").orders.drains) == ABSENT_KEPT
    ended = settled(world(server("a"), lasting(drain, "gone", 5.0)), 5.0)
    assert (ended.orders.drains, ended.transitions[-1].server) == ((), "gone")


def test_nothing_moves_while_offline_and_orders_end_all_the_same():
    offline = world(server("a"), server("b"), current="a", offline="no route")
    drained_offline = apply_order(offline, lasting(drain, "a", 5.0))
    assert (drained_offline.choice.name, len(drained_offline.orders.drains)) == ("a", 1)
    assert settled(drained_offline, 5.0).orders.drains == ()


def test_the_wall_clock_only_dates_the_end():
    snapshot = apply_order(world(server("a"), server("b")), lasting(drain, "a", 3600.0))
    for jump in (-86400, 86400, 60):
        jumped = refresh_choice(snapshot, now=600.0, on=later(600 + jump))
        assert jumped.orders.drains[0].ends_at == 3600.0
        assert jumped.orders.drains[0].ends_on == later(3600 + jump)
    assert settled(snapshot, 600.0).orders.drains == snapshot.orders.drains
    assert refresh_choice(snapshot, now=600.0, on=later(601)).orders == snapshot.orders  # not worth a word


@pytest.mark.parametrize(("wall_s", "left_s"), [(0, 3600), (600, 3000), (3600, 0), (1e6, 0), (-1e6, 3600)])
def test_after_a_reboot_the_wall_clock_is_believed_within_bounds(wall_s, left_s):
    assert ends_at_after_reboot(later(3600), 3600.0, 7.0, later(wall_s)) == 7.0 + left_s


def test_without_any_server_orders_still_end():
    gone = bare(lasting(drain, "gone", 5.0))
    assert settled(gone, 6.0).orders.drains == ()


class Steered(RuleBasedStateMachine):
    """Any life of three servers and of the people who steer."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.world = world(*(server(name) for name in "abc"), failback_s=50.0)

    def give(self, order):
        try:
            self.world = apply_order(self.world, order, self.now)
        except RefusedError:
            assert isinstance(order, type(drain("a"))) or not order.is_strict

    @rule(seconds=st.floats(0.1, 100.0))
    def time_passes(self, seconds):
        self.now += seconds
        self.world = settled(self.world, self.now)

    @rule(name=st.sampled_from("abc"), seconds=st.none() | st.floats(1.0, 200.0))
    def drain(self, name, seconds):
        self.give(lasting(drain, name, seconds, self.now) if seconds else drain(name))

    @rule(name=st.sampled_from("abc"), seconds=st.none() | st.floats(1.0, 200.0), is_strict=st.booleans())
    def pin(self, name, seconds, is_strict):
        more = {"is_strict": is_strict}
        self.give(lasting(pin, name, seconds, self.now, **more) if seconds else pin(name, **more))

    @rule(name=st.sampled_from("abc"))
    def undrain(self, name):
        self.world = undrain(self.world, name, self.now)
        assert self.world.orders.drain_of(name) is None

    @rule()
    def unpin(self):
        self.world = unpin(self.world, self.now)
        assert self.world.pin is None

    @rule(name=st.sampled_from("abc"), outcome=st.sampled_from([Outcome.OK, Outcome.REFUSED, Outcome.NOT_ASSOCIATED]))
    def a_probe_ends(self, name, outcome):
        self.now += 0.01
        self.world = probed(self.world, name, outcome, self.now)

    @invariant()
    def what_is_over_is_gone(self):
        assert all(order.ends_at > self.now for order in self.world.orders)

    @invariant()
    def a_pin_is_followed_or_the_choice_is_degraded(self):
        choice, order = self.world.choice, self.world.pin
        if order is not None:
            assert choice.name == order.server or choice.is_degraded
            assert choice.name == order.server or not order.is_strict

    @invariant()
    def a_drained_server_is_used_in_need_or_by_a_strict_pin_alone(self):
        choice = self.world.choice
        is_strict = self.world.pin is not None and self.world.pin.is_strict
        if self.world.orders.drain_of(choice.name) and not is_strict:
            assert all(verdict.standing < Standing.ELIGIBLE for verdict in choice.verdicts)

    @invariant()
    def some_server_is_not_drained(self):
        assert any(not self.world.orders.drain_of(one.name) for one in self.world.servers)


Steered.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSteered = Steered.TestCase
