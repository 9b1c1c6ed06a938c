"""The table of associations, and how long each of its states waits."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.decide.registration import (
    FIRST_SPAN_S,
    LONGEST_SPAN_S,
    REFUSED_SPAN_S,
    TABLE,
    Answer,
    Event,
    IllegalTransitionError,
    advance,
    identity_of,
)
from chef_failover.model.model import Registration, RegistrationState
from tests.support.builders import ON

UNREGISTERED, REGISTERED = RegistrationState.UNREGISTERED, RegistrationState.REGISTERED
REQUESTED, FAILED, REFUSED = RegistrationState.REQUESTED, RegistrationState.FAILED, RegistrationState.REFUSED
SIGNS = {"b": Event.BEGIN, "g": Event.GO_ON, "c": Event.CONFIRM, "f": Event.FAIL, "r": Event.REFUSE, "l": Event.LOSE}


def play(script, *, chance=0.0, now=100.0, **more):
    registration = Registration(UNREGISTERED)
    for sign in script:
        registration = advance(registration, Answer(SIGNS[sign], **more), now=now, on=ON, chance=chance)
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


def test_a_pause_that_the_server_asks_for_comes_before_the_jitter():
    failed = play("bf", chance=0.5, not_before_s=30.0, first_span_s=60.0)
    assert failed.retry_at == 100.0 + 30.0 + 30.0


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


def test_an_identity_is_of_name_and_key_and_minds_no_line_ends():
    assert identity_of("a", b"KEY\n") == identity_of("a", b"KEY")
    assert len({identity_of("a", b"KEY"), identity_of("b", b"KEY"), identity_of("a", b"OTHER")}) == 3


def test_two_hundred_nodes_at_a_throttling_server_all_get_in_and_nobody_starves():
    """200 nodes boot at once; the server takes 5 requests a second, 10 at a burst, and throttles the rest."""
    rng = random.Random(1)
    nodes = [Registration(UNREGISTERED, retry_at=rng.uniform(0, 1)) for _ in range(200)]
    tokens, refilled_at, seen, done_at = 10.0, 0.0, [], {}
    while len(done_at) < len(nodes):
        index = min((i for i in range(len(nodes)) if i not in done_at), key=lambda i: nodes[i].retry_at)
        now = nodes[index].retry_at
        tokens, refilled_at = min(10.0, tokens + 5 * (now - refilled_at)), now
        begun = advance(nodes[index], Answer(Event.BEGIN), now=now, on=ON, chance=rng.random())
        seen.append(now)
        if tokens >= 1:
            tokens -= 1
            answer = Answer(Event.CONFIRM)
            done_at[index] = now
        else:
            answer = Answer(Event.FAIL, first_span_s=60.0)
        nodes[index] = advance(begun, answer, now=now, on=ON, chance=rng.random())
    after_the_burst = [at for at in seen if at > 1.0]
    for start in range(1, 60):
        assert sum(start <= at < start + 10 for at in after_the_burst) <= 5 * 10 + 10
    assert max(done_at.values()) < 180
    assert max(node.attempts for node in nodes) <= 6
