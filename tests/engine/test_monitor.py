"""One server's probes, on a fake clock, one step at a time."""

import random
import threading

import pytest

from chef_failover.decide.health import Pace, Thresholds, advance
from chef_failover.engine.monitor import Monitor
from chef_failover.engine.scheduler import Scheduler
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
        limit_s=3.0,
        scheduler=Scheduler(clock),
        rng=random.Random(seed),
    )
    return monitor, server, clock


def probe(monitor, clock):
    """The next probe, at its time."""
    clock.now = max(clock.now, monitor.due_at)
    return monitor.step()


def test_the_first_probe_is_at_a_random_offset_within_one_interval():
    assert 1000.0 <= make("")[0].due_at <= 1060.0
    assert len({make("", seed=seed)[0].due_at for seed in range(10)}) == 10


def test_probes_come_at_the_interval_and_quicker_while_a_change_is_under_way():
    monitor, _, clock = make("+-+---+")
    delays = []
    for _ in range(7):
        delays.append(probe(monitor, clock))
        assert delays[-1] == monitor.due_at - clock.now
    quick = [delay < 5 for delay in delays]
    assert quick == [False, True, False, True, True, False, True]
    assert all(1.6 <= delay <= 2.4 or 48 <= delay <= 72 for delay in delays)


def test_a_fault_of_ours_says_nothing_of_the_server_and_is_tried_again_soon():
    monitor, server, clock = make("+!+")
    probe(monitor, clock)
    before = server.state
    with pytest.raises(RuntimeError, match="a bug"):
        probe(monitor, clock)
    assert server.state == before
    assert monitor.due_at == clock.now + 2.0
    probe(monitor, clock)
    assert server.probes == 3


@pytest.fixture
def running():
    monitor, server, clock = make("+" * 1000, Pace(3600.0, 3600.0))
    scheduler = monitor._task.scheduler
    scheduler.start()
    monitor.start()
    yield monitor, server, clock
    monitor.stop()
    assert scheduler.stop(5.0)


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
    probe(monitor, clock)
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
    assert probe(monitor, clock) <= 0
    assert monitor.due_at <= clock.now


def test_who_looks_before_it_is_due_is_told_how_long_it_is_until_then():
    monitor, server, clock = make("+")
    assert monitor.step() == monitor.due_at - clock.now > 0
    assert server.probes == 0


def test_a_probe_that_was_begun_before_it_was_asked_for_serves_who_asks(running):
    monitor, server, clock = running
    gate = threading.Event()
    probe_now = server.probe

    def slow():
        result = probe_now()
        assert gate.wait(60)
        return result

    monitor._probe = slow
    monitor.freshen(clock.now)
    until(lambda: server.probes == 1)
    for _ in range(10):
        monitor.freshen(clock.now)
    gate.set()
    until(lambda: monitor._task.settle(10))
    assert server.probes == 1
