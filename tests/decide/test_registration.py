"""The table of associations, and how long each of its states waits."""

import heapq
import math
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.decide.registration import (
    FIRST_SPAN_S,
    LEISURE_S,
    LEISURELY_SPAN_S,
    LONGEST_LEISURELY_S,
    LONGEST_SPAN_S,
    REFUSED_SPAN_S,
    TABLE,
    URGENT_S,
    USUAL,
    IllegalTransitionError,
    Spans,
    advance,
    hurried,
    is_urgent,
    put_off,
    spans,
    throttled_wait_s,
)
from chef_failover.model.model import Health, Outcome, Registration, RegistrationState
from chef_failover.model.registration import Answer, Event
from tests.support.builders import ON, drain, pin, server, world

UNREGISTERED, REGISTERED = RegistrationState.UNREGISTERED, RegistrationState.REGISTERED
REQUESTED, FAILED, REFUSED = RegistrationState.REQUESTED, RegistrationState.FAILED, RegistrationState.REFUSED
SIGNS = {"b": Event.BEGIN, "g": Event.GO_ON, "c": Event.CONFIRM, "f": Event.FAIL, "r": Event.REFUSE, "l": Event.LOSE}


def play(script, *, chance=0.0, now=100.0, spans=USUAL, is_urgent=True, **more):
    registration = Registration(UNREGISTERED)
    for sign in script:
        answer = Answer(SIGNS[sign], **more)
        registration = advance(registration, answer, now=now, on=ON, chance=chance, spans=spans, is_urgent=is_urgent)
    return registration


@pytest.mark.parametrize(
    ("script", "association"),
    [
        ("", UNREGISTERED),
        ("b", REQUESTED),
        ("bb", REQUESTED),
        ("bc", REGISTERED),
        ("bggc", REGISTERED),
        ("bf", FAILED),
        ("bfbc", REGISTERED),
        ("br", REFUSED),
        ("brbc", REGISTERED),
        ("bgf", FAILED),
        ("bcl", UNREGISTERED),
        ("bclbc", REGISTERED),
    ],
)
def test_scripts(script, association):
    assert play(script).state is association


@given(st.sampled_from(RegistrationState), st.sampled_from(Event))
def test_an_event_with_no_row_raises(association, event):
    registration = Registration(association)
    if (association, event) in TABLE:
        after = advance(registration, Answer(event), now=0.0, on=ON, chance=0.0)
        assert after.state is TABLE[association, event]
    else:
        with pytest.raises(IllegalTransitionError, match=f"{association} has no {event.value}"):
            advance(registration, Answer(event), now=0.0, on=ON, chance=0.0)


def test_every_state_but_associated_can_be_begun_and_every_end_can_be_reached():
    assert {state for state, event in TABLE if event is Event.BEGIN} == set(RegistrationState) - {REGISTERED}
    assert set(TABLE.values()) == set(RegistrationState)


@pytest.mark.parametrize(
    ("script", "most_s"),
    [
        ("bf", FIRST_SPAN_S),
        ("bfbf", 2 * FIRST_SPAN_S),
        ("bfbfbf", 4 * FIRST_SPAN_S),
        ("bf" * 2000, LONGEST_SPAN_S),
        ("br", REFUSED_SPAN_S),
        ("bfbfbr", REFUSED_SPAN_S),
        ("b", 0.0),
        ("bg", 0.0),
        ("bc", 0.0),
        ("bcl", 2 * FIRST_SPAN_S),
    ],
)
def test_full_jitter_over_a_span_that_doubles(script, most_s):
    assert play(script, chance=0.0).retry_at == 100.0
    assert play(script, chance=0.5).retry_at == 100.0 + most_s / 2
    assert play(script, chance=math.nextafter(1, 0)).retry_at <= 100.0 + most_s


def test_a_first_loss_after_proof_is_repaired_at_once():
    proven = Registration(REGISTERED, attempts=0)
    lost = advance(proven, Answer(Event.LOSE, "HTTP 401"), now=5.0, on=ON, chance=0.9)
    assert (lost.retry_at, lost.detail) == (5.0, "HTTP 401")
    at_leisure = advance(proven, Answer(Event.LOSE), now=5.0, on=ON, chance=0.9, is_urgent=False)
    assert at_leisure.retry_at == 5.0 + 0.9 * LEISURE_S


@pytest.mark.parametrize(
    ("script", "most_s"),
    [
        ("bf", LEISURELY_SPAN_S),
        ("bfbf", 2 * LEISURELY_SPAN_S),
        ("bf" * 2000, LONGEST_LEISURELY_S),
        ("br", REFUSED_SPAN_S),
        ("brbr", 2 * REFUSED_SPAN_S),
        ("br" * 2000, LONGEST_LEISURELY_S),
        ("bcl", 2 * LEISURE_S),
        ("bcl" * 2000, LONGEST_LEISURELY_S),
    ],
)
def test_what_is_not_urgent_has_time_until_it_is(script, most_s):
    at_leisure = play(script, chance=0.5, is_urgent=False)
    assert at_leisure.retry_at == 100.0 + most_s / 2
    assert at_leisure.urgent_at == play(script, chance=0.5).retry_at


def test_a_first_attempt_falls_anywhere_within_failback():
    new = put_off(Registration(UNREGISTERED), Spans(leisure_s=600.0), now=100.0, chance=0.5)
    assert (new.retry_at, new.urgent_at) == (400.0, 100.0 + URGENT_S / 2)
    urgent = put_off(Registration(UNREGISTERED), USUAL, now=100.0, chance=0.5, is_urgent=True)
    assert urgent.retry_at == urgent.urgent_at == 100.0 + URGENT_S / 2


def test_a_first_attempt_that_is_waited_for_is_due_at_once():
    new = put_off(Registration(UNREGISTERED), USUAL, now=100.0, chance=0.5, is_urgent=True)
    assert hurried(new).retry_at == 100.0
    for other in (Registration(), play("bf", chance=0.5), play("br", chance=0.5), play("bcl", chance=0.5), play("b")):
        assert hurried(other) == other


@pytest.mark.parametrize("nodes", [None, 1_000, 10_000, 10_000_000])
def test_after_a_refusal_who_waits_does_not_wait_for_the_size_of_the_fleet(nodes):
    refused = play("bf", chance=0.9, is_throttled=True, not_before_s=30.0, spans=spans(600.0, nodes))
    assert hurried(refused).retry_at == pytest.approx(100.0 + 30.0 + 0.9 * 278.0)
    assert hurried(refused).retry_at <= refused.retry_at


@pytest.mark.parametrize(
    ("failback_s", "nodes", "found"),
    [
        (600.0, None, Spans(600.0, 278.0, 5.0, 15.0)),
        (60.0, None, Spans(60.0, 278.0, 5.0, 15.0)),
        (86_400.0, None, USUAL),
        (0.0, None, USUAL),
        (math.inf, None, USUAL),
        (600.0, 10, Spans(600.0, 60.0, 5.0, 15.0)),
        (600.0, 10_000, Spans(600.0, 2780.0, 5.0, 15.0)),
        (600.0, 100_000, Spans(6000.0, 27_800.0, 50.0, 150.0)),
    ],
)
def test_spans_by_failback_and_the_size_of_the_fleet(failback_s, nodes, found):
    assert attrs.astuple(spans(failback_s, nodes)) == pytest.approx(attrs.astuple(found))


def test_a_pause_that_the_server_asks_for_comes_before_the_jitter():
    failed = play("bf", chance=0.5, not_before_s=30.0, is_throttled=True, spans=Spans(throttled_s=60.0))
    assert failed.retry_at == 100.0 + 30.0 + 30.0


def test_spans_after_a_refusal_follow_one_another_and_grow():
    ends, waited_s = [], 0.0
    for _ in range(6):
        begins_s = waited_s + throttled_wait_s(waited_s, 278.0, chance=0.0)
        assert begins_s == pytest.approx(ends[-1] if ends else 0.0)
        ends.append(waited_s + throttled_wait_s(waited_s, 278.0, chance=1.0))
        waited_s = (begins_s + ends[-1]) / 2
    assert [round(end) for end in ends] == [278, 284, 649, 1167, 1903, 2948]


def test_a_refusal_for_the_load_is_forgotten_with_any_other_answer():
    refused = play("bf", is_throttled=True)
    assert refused.throttled_since == 100.0
    begun = advance(refused, Answer(Event.BEGIN), now=200.0, on=ON, chance=0.0)
    assert advance(begun, Answer(Event.FAIL, is_throttled=True), now=200.0, on=ON, chance=0.0).throttled_since == 100.0
    assert advance(begun, Answer(Event.FAIL), now=200.0, on=ON, chance=0.0).throttled_since is None
    assert advance(begun, Answer(Event.CONFIRM), now=200.0, on=ON, chance=0.0).throttled_since is None


NEW, LOST_AGAIN = Registration(UNREGISTERED), Registration(UNREGISTERED, attempts=3)
FAILED_ONCE = Registration(FAILED, attempts=1)


@pytest.mark.parametrize(
    ("servers", "urgent"),
    [
        ([server("a", Health.UNKNOWN, registration=NEW), server("b", Health.UNKNOWN, registration=NEW)], "a"),
        ([server("a", registration=Registration(REQUESTED, attempts=1)), server("b", registration=NEW)], "a"),
        ([server("a", Health.DOWN, registration=NEW), server("b", registration=NEW)], "ab"),
        ([server("a", registration=FAILED_ONCE), server("b", registration=NEW)], "ab"),
        ([server("a", registration=LOST_AGAIN), server("b", registration=NEW)], "ab"),
        ([server("a"), server("b", registration=NEW)], ""),
        ([server("a", registration=NEW), server("b")], ""),
        ([server("a", registration=NEW), server("b", Health.UNKNOWN)], ""),
        ([server("a", registration=NEW), server("b", Health.DOWN)], "a"),
        ([server("a", registration=NEW), server("b", outcome=Outcome.NOT_ASSOCIATED)], "a"),
        ([server("a", registration=NEW), server("b"), drain("b")], "a"),
    ],
)
def test_who_is_urgent(servers, urgent):
    snapshot = world(*servers)
    found = {one.name for one in snapshot.servers if not one.is_registered and is_urgent(snapshot, one.name)}
    assert found == {*urgent}


def test_a_server_that_the_node_is_pinned_to_is_urgent():
    assert is_urgent(world(server("a"), server("b", registration=NEW), pin("b")), "b")


def test_the_ticket_lives_from_the_answer_that_brings_it_to_the_next():
    begun = play("b")
    going = advance(begun, Answer(Event.GO_ON, ticket="t-1"), now=0.0, on=ON, chance=0.0)
    assert (going.ticket, going.attempts) == ("t-1", 1)
    assert advance(going, Answer(Event.FAIL), now=0.0, on=ON, chance=0.0).ticket is None
    assert advance(going, Answer(Event.CONFIRM), now=0.0, on=ON, chance=0.0).ticket is None


def test_the_wall_time_is_that_of_the_last_change():
    later = ON.replace(hour=11)
    going = advance(play("b"), Answer(Event.GO_ON, ticket="t"), now=0.0, on=later, chance=0.0)
    assert going.on == ON
    assert advance(going, Answer(Event.CONFIRM), now=0.0, on=later, chance=0.0).on == later


class Throttle:
    """Takes ``rate`` calls a second, ``burst`` at once, and refuses the rest."""

    def __init__(self, rate=5.0, burst=10.0):
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, 0.0

    def takes(self, now):
        self.tokens, self.at = min(self.burst, self.tokens + self.rate * (now - self.at)), now
        is_taken = self.tokens >= 1
        self.tokens -= is_taken
        return is_taken


def boot(nodes, throttle, *, within_s, hurries=True, known=None, is_awaited=False):
    """Calls of a fleet that boots ``within_s``, and when each node was taken, in the order of time."""
    rng, fleet = random.Random(17), spans(600.0, known)
    due = [(rng.uniform(0, within_s), index) for index in range(nodes)]
    heapq.heapify(due)
    waiting = [Registration(UNREGISTERED)] * nodes
    calls, taken = [], []
    while due:
        now, index = heapq.heappop(due)
        calls.append(now)
        if throttle.takes(now):
            taken.append(now)
            continue
        begun = attrs.evolve(waiting[index], state=REQUESTED)
        refused = Answer(Event.FAIL, is_throttled=True)
        waiting[index] = advance(begun, refused, now=now, on=ON, chance=rng.random(), spans=fleet, is_urgent=hurries)
        heapq.heappush(due, ((hurried(waiting[index]) if is_awaited else waiting[index]).retry_at, index))
    return calls, taken


@pytest.mark.parametrize(
    ("nodes", "known", "most_calls"),
    [(1_000, None, 2.0), (10_000, None, 5.0), (1_000, 1_000, 2.0), (10_000, 10_000, 2.01)],
)
def test_a_fleet_at_a_server_that_takes_five_registrations_a_second(nodes, known, most_calls):
    calls, taken = boot(nodes, Throttle(), within_s=5.0, known=known)
    assert len(calls) / nodes <= most_calls
    assert taken[-1] <= 1.5 * nodes / 5.0


def test_a_fleet_that_says_its_size_makes_no_more_calls_though_runs_wait():
    calls, taken = boot(10_000, Throttle(), within_s=5.0, known=10_000, is_awaited=True)
    assert len(calls) / 10_000 <= 5.0
    assert taken[int(0.99 * len(taken))] <= 1.5 * 10_000 / 5.0


def test_a_small_fleet_that_says_so_is_done_soon():
    calls, taken = boot(200, Throttle(), within_s=1.0, known=200)
    assert (len(calls) <= 500, taken[-1] <= 180) == (True, True)


def test_a_key_that_a_whole_fleet_reads_at_leisure_is_asked_for_evenly():
    """100,000 nodes read it within `failback`, where 40 a second may; here a tenth of both."""
    calls, _ = boot(10_000, Throttle(4.0, 4.0), within_s=600.0, hurries=False)
    by_second = [0] * (int(calls[-1]) + 1)
    for at in calls:
        by_second[int(at)] += 1
    assert max(sum(by_second[at : at + 10]) for at in range(len(by_second))) <= 10 * 25
