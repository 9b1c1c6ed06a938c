import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.decide.pace import FIRST_OF_OTHERS_S, FIRST_PROBE_S, probe_from
from chef_failover.decide.spread import JITTER
from chef_failover.decide.world import apply_run, leave_alone
from chef_failover.model.model import Health, NodeCheck, Outcome, Pace, Registration, RegistrationState, RiseFall
from chef_failover.model.run_history import Phase, Run
from tests.support.builders import ON, probed, server, world

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN
PACE = Pace(2700.0, 2.0)
STEP_S = PACE.first_step_s
OK, REFUSED, BUSY, STRANGER = Outcome.OK, Outcome.REFUSED, Outcome.BUSY, Outcome.NOT_ASSOCIATED
OUTCOMES = st.sampled_from(list(Outcome))
CHANCES = st.floats(0, 1, exclude_max=True)


def delay_s(snapshot, name="a", *, chance=0.5, pace=PACE):
    """Seconds from the last probe of that server, or from the beginning, to the next."""
    one = snapshot.server(name)
    last_at = one.last_probe.finished_at if one.last_probe else 0.0
    return probe_from(snapshot, one, pace, chance=chance, begun_at=0.0) - last_at


def after(*outcomes, first=UP, **more):
    """A world whose server ``a`` has had these probes, one a second, on top of one that fits ``first``."""
    snapshot = world(server("a", first), server("b"))
    for at, outcome in enumerate(outcomes, 1):
        snapshot = probed(snapshot, "a", outcome, float(at), **more)
    return snapshot


def test_the_first_step_of_back_off_lies_between_the_two_intervals():
    assert STEP_S == 2700 / 32
    assert Pace(60.0, 2.0).first_step_s == 2.0
    assert Pace(1.0, 0.2).first_step_s == 0.2
    assert Pace(1.0, 60.0).first_step_s == 1.0


@pytest.mark.parametrize(
    ("outcomes", "expected_s"),
    [
        ((), 2700),
        ((OK,), 2700),
        ((Outcome.DEGRADED,), 2700),
        ((REFUSED,), 2),
        ((REFUSED, REFUSED), 2),
        ((REFUSED, OK), 2700),
        ((REFUSED,) * 3, STEP_S * 4 / 2),
        ((REFUSED,) * 4, STEP_S * 8 / 2),
        ((REFUSED,) * 5, STEP_S * 16 / 2),
        ((REFUSED,) * 6, 2700),
        ((REFUSED,) * 3 + (OK,), STEP_S / 2),
        ((REFUSED,) * 3 + (OK, OK), 2700),
        ((BUSY,), STEP_S / 2),
        ((BUSY,) * 2, STEP_S),
        ((Outcome.MAINTENANCE,), STEP_S / 2),
        ((STRANGER,), STEP_S / 2),
        ((STRANGER,) * 3, STEP_S * 2),
        ((STRANGER,) * 3 + (OK,), STEP_S / 2),
        ((STRANGER,) * 100, 2700),
    ],
)
def test_only_a_server_that_goes_down_is_probed_in_a_hurry(outcomes, expected_s):
    assert delay_s(after(*outcomes)) == pytest.approx(expected_s)


def test_what_this_node_lacks_is_no_reason_to_hurry():
    one = after(REFUSED)
    assert delay_s(probed(one, "a", REFUSED, 2.0, is_node_trouble=True)) == STEP_S


def test_a_node_that_was_cut_off_looks_within_the_first_step_however_long_it_was():
    one, cut_off = after(OK), {"is_node_trouble": True, "never_left_node": True}
    for at in range(2, 12):
        one = probed(one, "a", REFUSED, float(at), **cut_off)
        assert (one.server("a").setbacks, delay_s(one)) == (0, STEP_S / 2)
    one = probed(one, "a", Outcome.CONNECT_TIMEOUT, 20.0, offline="no route", began_at=19.0)
    assert (one.server("a").setbacks, delay_s(one)) == (0, STEP_S / 2)
    back = probed(one, "b", OK, 25.0)
    assert (back.offline, delay_s(back)) == (None, STEP_S / 2), "the other one is back, too"
    late = probed(back, "a", Outcome.CONNECT_TIMEOUT, 26.0, began_at=24.0)
    assert (late.server("a").setbacks, delay_s(late)) == (0, STEP_S / 2)
    assert delay_s(probed(back, "a", OK, 27.0)) == 2700


def test_what_was_doubled_before_the_node_was_cut_off_stays_so():
    down = after(*(REFUSED,) * 4)
    cut_off = probed(down, "a", REFUSED, 100.0, offline="no route", began_at=99.0)
    assert delay_s(cut_off) == STEP_S / 2
    back = probed(cut_off, "b", OK, 110.0)
    assert delay_s(probed(back, "a", REFUSED, 120.0, began_at=119.0)) == STEP_S * 16 / 2


def test_a_run_and_a_reading_are_news_of_a_server_that_is_well():
    snapshot = after(OK)
    ended = apply_run(snapshot, Run("1", "a", "succeeded", None, ON), now=500.0, on=ON)
    assert delay_s(ended) == 499 + 2700
    one = attrs.evolve(snapshot.server("a"), node_check=NodeCheck(600.0))
    assert delay_s(snapshot.with_server(one)) == 599 + 2700
    unread = attrs.evolve(one, node_check=NodeCheck(600.0, trouble="HTTP 500"))
    assert delay_s(snapshot.with_server(unread)) == 2700


def test_a_run_is_no_news_of_a_server_that_is_down():
    snapshot = after(*(REFUSED,) * 3)
    ended = apply_run(snapshot, Run("1", "a", "succeeded", None, ON), now=500.0, on=ON)
    assert delay_s(ended) == delay_s(snapshot)


def test_a_run_that_fails_at_its_save_puts_the_search_index_in_doubt():
    for phase, result, doubted_at in ((Phase.SAVE, "failed", 5.0), (Phase.CONVERGE, "failed", -math.inf)):
        run = Run("1", "a", result, "X", ON, phase=phase)
        assert apply_run(after(), run, now=5.0, on=ON).server("a").save_failed_at == doubted_at


@pytest.mark.parametrize(
    ("in_use", "span_s"),
    [
        (server("a", UNKNOWN), FIRST_OF_OTHERS_S),
        (server("a"), FIRST_OF_OTHERS_S),
        (server("a", outcome=REFUSED), FIRST_PROBE_S),
        (server("a", outcome=STRANGER), FIRST_PROBE_S),
        (server("a", registration=Registration(RegistrationState.FAILED)), FIRST_OF_OTHERS_S),
        (server("a", registration=Registration(RegistrationState.REFUSED)), FIRST_PROBE_S),
    ],
)
def test_at_boot_a_standby_can_wait_while_the_server_in_use_works(in_use, span_s):
    snapshot = world(in_use, server("b", UNKNOWN), current="a")
    assert delay_s(snapshot, "b") == span_s / 2


def test_at_boot_the_server_in_use_is_probed_within_seconds_and_within_the_interval():
    snapshot = world(server("a", UNKNOWN), server("b", UNKNOWN))
    assert delay_s(snapshot, "a") == FIRST_PROBE_S / 2
    assert delay_s(snapshot, "b", pace=Pace(1.0, 0.2)) == 0.5


def test_sidecars_that_restart_at_once_do_not_all_probe_the_server_in_use():
    was_up = attrs.evolve(server("a", UNKNOWN), liveness=RiseFall(changed_at=-100.0))
    assert delay_s(world(was_up, server("b", UNKNOWN), current="a"), "a") == FIRST_OF_OTHERS_S / 2
    moved = world(server("a", UNKNOWN), server("b", UNKNOWN), current="a")  # was DOWN, or has another URL
    assert delay_s(moved, "a") == FIRST_PROBE_S / 2


@given(st.lists(OUTCOMES, max_size=40), CHANCES, st.floats(0.01, 1e5), st.floats(0.01, 1e5))
def test_a_probe_comes_neither_at_once_nor_later_than_an_interval_allows(outcomes, chance, interval_s, retry_s):
    pace = Pace(interval_s, retry_s)
    delay = delay_s(after(*outcomes), chance=chance, pace=pace)
    assert delay >= (1 - JITTER) * min(interval_s, retry_s) * (1 - 1e-9)
    assert delay <= (1 + JITTER) * max(interval_s, retry_s) * (1 + 1e-9)


@given(st.lists(OUTCOMES, max_size=12), CHANCES)
def test_a_server_in_trouble_that_is_not_going_down_is_never_probed_faster_for_it(outcomes, chance):
    snapshot = after(*outcomes)
    one = snapshot.server("a")
    is_going_down = one.health is UP and one.liveness.is_changing
    if one.setbacks and (not is_going_down or one.last_probe.outcome.is_overload):
        more = probed(snapshot, "a", outcomes[-1], 100.0)
        assert delay_s(more, chance=chance) >= delay_s(snapshot, chance=chance) - 1e-6


@given(st.lists(OUTCOMES, max_size=12), CHANCES, st.floats(0, 3600))
def test_no_probe_falls_within_the_time_that_a_server_asked_for(outcomes, chance, span_s):
    snapshot = leave_alone(after(*outcomes), "a", span_s, now=50.0, on=ON)
    at = probe_from(snapshot, snapshot.server("a"), PACE, chance=chance, begun_at=0.0)
    assert at >= 50 + span_s
    assert at <= max(50 + span_s + STEP_S, len(outcomes) + (1 + JITTER) * PACE.interval_s + 1e-6)


def test_what_a_server_asked_for_holds_until_it_is_over_or_a_person_insists():
    told = probed(after(), "a", BUSY, 10.0, retry_after_s=600.0)
    assert told.server("a").stay_away_until == 610
    assert delay_s(told, chance=0.0) == 600
    assert probed(told, "a", BUSY, 20.0).server("a").stay_away_until == 610
    assert probed(told, "a", OK, 20.0).server("a").stay_away_until == 610  # it was asked before, and answered after
    assert leave_alone(told, "a", -math.inf, now=20.0, on=ON).server("a").stay_away_until == -math.inf


@pytest.mark.parametrize(("result", "until"), [("succeeded", -math.inf), ("failed", 110.0)])
def test_a_run_that_succeeds_shows_that_a_server_may_be_asked_again(result, until):
    alone = leave_alone(after(OK), "a", 60.0, now=50.0, on=ON)
    ended = apply_run(alone, Run("1", "a", result, None, ON), now=70.0, on=ON)
    assert ended.server("a").stay_away_until == until


def test_an_unknown_server_asks_for_nothing():
    snapshot = after()
    assert leave_alone(snapshot, "z", 60.0, now=0.0, on=ON) == snapshot


@given(st.integers(0, 2**32))
def test_ten_thousand_nodes_that_confirm_a_return_make_no_peak(seed):
    """Whatever chance each has, the confirmations spread over the first step."""
    snapshot = after(*(REFUSED,) * 3, OK)
    chance = (seed % 10_000) / 10_000
    assert delay_s(snapshot, chance=chance) == pytest.approx(max(2.0, chance * STEP_S))
