"""One loop, a fake clock, one step at a time."""

import logging
import random
import threading
import time

import pytest

from chef_failover.decide.health import Pace, Thresholds, advance
from chef_failover.engine.monitor import Monitor
from chef_failover.model.model import Outcome, ProbeResult, RiseFall
from tests.support.daemon_process import until


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Server:
    """A scripted server: + answers, - refuses, ! is a fault of ours."""

    def __init__(self, script, clock):
        self.script = iter(script)
        self.clock = clock
        self.state = RiseFall()
        self.probes = 0

    def probe(self):
        self.probes += 1
        sign = next(self.script)
        if sign == "!":
            raise RuntimeError("a bug")
        return ProbeResult(Outcome.OK if sign == "+" else Outcome.REFUSED, "", self.clock())

    def report(self, result):
        alive = result.outcome.is_alive
        self.state = advance(self.state, is_good=alive, at=result.finished_at, thresholds=Thresholds(2, 3))
        return self.state.is_changing


def make(script, pace=None, seed=1):
    clock = Clock()
    server = Server(script, clock)
    monitor = Monitor(
        "main",
        probe=server.probe,
        report=server.report,
        pace=pace or Pace(60.0, 2.0),
        clock=clock,
        rng=random.Random(seed),
    )
    return monitor, server, clock


def test_the_first_probe_is_at_a_random_offset_within_one_interval():
    assert 1000.0 <= make("")[0].due_at <= 1060.0
    assert len({make("", seed=seed)[0].due_at for seed in range(10)}) == 10


def test_probes_come_at_the_interval_and_quicker_while_a_change_is_under_way():
    monitor, _, clock = make("+-+---+")
    delays = []
    for _ in range(7):
        monitor.step()
        delays.append(monitor.due_at - clock.now)
    quick = [delay < 5 for delay in delays]
    assert quick == [False, True, False, True, True, False, True]
    assert all(1.6 <= delay <= 2.4 or 48 <= delay <= 72 for delay in delays)


def test_a_fault_of_ours_is_counted_logged_and_says_nothing_of_the_server(caplog):
    monitor, server, clock = make("+!+")
    monitor.step()
    before = server.state
    with caplog.at_level(logging.ERROR):
        monitor.step()
    assert (server.state, monitor.faults) == (before, 1)
    assert monitor.due_at == clock.now + 2.0
    assert "RuntimeError: a bug" in caplog.text
    monitor.step()
    assert monitor.faults == 1


def test_a_loop_that_misses_its_probe_is_late():
    monitor, _, _ = make("+")
    assert not monitor.is_late(monitor.due_at + 9.9, allowance_s=10.0)
    assert monitor.is_late(monitor.due_at + 10.1, allowance_s=10.0)


@pytest.fixture
def running():
    monitor, server, clock = make("+" * 1000, Pace(3600.0, 3600.0))
    monitor.start()
    yield monitor, server, clock
    monitor.stop()
    assert monitor.join(5.0)


def test_who_wants_fresher_results_wakes_it_and_many_wake_it_once(running):
    monitor, server, clock = running
    for thread in [threading.Thread(target=monitor.freshen, args=(clock.now,)) for _ in range(100)]:
        thread.start()
    until(lambda: server.probes == 1)
    monitor.freshen(clock.now - 5)
    assert server.probes == 1
    clock.now += 20
    monitor.freshen(clock.now)
    until(lambda: server.probes == 2)


def test_who_can_wait_a_moment_does_not_wake_it_and_never_delays_it():
    monitor, _, clock = make("+", Pace(3600.0, 3600.0))
    monitor.freshen(clock.now, within_s=0.5)
    assert monitor.due_at == clock.now + 0.5
    monitor.freshen(clock.now, within_s=0.1)
    monitor.freshen(clock.now, within_s=0.7)
    assert monitor.due_at == clock.now + 0.1
    monitor.step()
    due_at = monitor.due_at
    monitor.freshen(clock.now)  # what was probed at this very instant is fresh
    assert monitor.due_at == due_at > clock.now + 1000


def test_who_asks_while_the_result_is_taken_in_is_not_lost():
    monitor, server, clock = make("++", Pace(3600.0, 3600.0))
    report = server.report

    def take_long(result):
        clock.now += 1
        monitor.freshen(clock.now)  # a run has failed since
        return report(result)

    monitor._report = take_long
    monitor.step()
    assert monitor.due_at <= clock.now


def test_it_wakes_at_once_after_the_machine_has_slept(running):
    """The clock that tells when a probe is due has gone on meanwhile, that by which a thread naps has not."""
    monitor, server, clock = running
    time.sleep(0.2)  # it naps, for seconds
    clock.now += 8 * 3600
    began = time.monotonic()
    monitor.freshen(clock.now)
    until(lambda: server.probes == 1)
    assert time.monotonic() - began < 2


def test_stop_ends_the_loop_though_the_next_probe_is_an_hour_away():
    monitor, server, _ = make("+", Pace(3600.0, 3600.0))
    monitor.start()
    assert not monitor.join(0.0)
    monitor.stop()
    assert monitor.join(5.0)
    assert server.probes == 0
