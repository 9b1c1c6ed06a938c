import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.decide.health import advance
from chef_failover.model.model import Health, RiseFall, Thresholds

LETTER = {Health.UP: "U", Health.DOWN: "D", Health.UNKNOWN: "?"}


def play(script, rise=2, fall=3):
    """The health after each result of ``script``, where + is a success and - a failure."""
    state, story = RiseFall(), ""
    for at, sign in enumerate(script):
        state = advance(state, is_good=sign == "+", at=float(at), thresholds=Thresholds(rise, fall))
        story += LETTER[state.health]
    return story


@pytest.mark.parametrize(
    ("script", "story"),
    [
        ("+--+---", "UUUUUUD"),
        ("-", "D"),
        ("+", "U"),
        ("-+", "DD"),
        ("-++", "DDU"),
        ("-+-+-++", "DDDDDDU"),
        ("+---+-++", "UUUDDDDU"),
        ("+-+-+-+-", "UUUUUUUU"),
    ],
)
def test_rise_and_fall(script, story):
    assert play(script) == story


def test_thresholds_of_one_follow_every_result():
    assert play("+-+--+", rise=1, fall=1) == "UDUDDU"


def test_the_change_is_dated_by_the_result_that_made_it():
    state = RiseFall()
    for at, alive in ((1.0, True), (2.0, False), (3.0, False), (4.0, False)):
        state = advance(state, is_good=alive, at=at, thresholds=Thresholds(2, 3))
    assert state == RiseFall(Health.DOWN, streak=0, changed_at=4.0)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_health_is_what_the_last_long_enough_streak_said(results, rise, fall):
    expected = Health.UNKNOWN
    state = RiseFall()
    streak, last = 0, None
    for at, alive in enumerate(results):
        streak = streak + 1 if alive is last else 1
        last = alive
        if expected is Health.UNKNOWN or streak >= (rise if alive else fall):
            expected = Health.UP if alive else Health.DOWN
        state = advance(state, is_good=alive, at=float(at), thresholds=Thresholds(rise, fall))
        assert state.health is expected
        assert 0 <= state.streak < max(rise, fall)
