"""One server's probes, on a fake clock, one step at a time."""

import random
import threading

import pytest

from chef_failover.engine.monitor import Monitor
from chef_failover.engine.scheduler import Scheduler
from chef_failover.model.model import Outcome, ProbeResult
from tests.support.daemon_process import until


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Server:
    """A scripted server: + answers, - refuses, ! is an internal error. After each it is due in ``delay_s``."""

    def __init__(self, script, clock):
        self.script = iter(script)
        self.clock = clock
        self.delay_s = 60.0
        self.last_at = clock()
        self.results, self.probes, self.chances = [], 0, set()

    def probe(self):
        self.probes += 1
        sign = next(self.script)
        if sign == "!":
            raise RuntimeError("a bug")
        return ProbeResult(Outcome.OK if sign == "+" else Outcome.REFUSED, "", self.clock())

    def report(self, result):
        self.results.append(result)
        self.last_at = result.finished_at

    def due_at(self, chance):
        self.chances.add(chance)
        return self.last_at + self.delay_s


def make(script, seed=1):
    clock = Clock()
    server = Server(script, clock)
    monitor = Monitor(
        "main",
        probe=server.probe,
        report=server.report,
        due_at=server.due_at,
        limit_s=3.0,
        retry_s=2.0,
        scheduler=Scheduler(clock),
        rng=random.Random(seed),
    )
    return monitor, server, clock


def probe(monitor, clock):
    """The next probe, at its time."""
    clock.now = max(clock.now, monitor.due_at)
    return monitor.step()


def test_it_probes_when_it_is_due_with_a_new_chance_each_time():
    monitor, server, clock = make("+-+")
    for count in (1, 2, 3):
        assert probe(monitor, clock) == 60.0 == monitor.due_at - clock.now
        assert (server.probes, len(server.chances)) == (count, count + 1)
    assert len({make("", seed=seed)[0]._chance for seed in range(10)}) == 10


def test_what_is_known_meanwhile_counts():
    monitor, server, clock = make("+")
    server.delay_s = 90.0  # a run has ended there
    clock.now += 60
    assert monitor.step() == 30.0
    assert server.probes == 0


def test_an_internal_error_says_nothing_of_the_server_and_it_is_probed_again_soon():
    monitor, server, clock = make("+!+")
    probe(monitor, clock)
    before = server.results[:]
    with pytest.raises(RuntimeError, match="a bug"):
        probe(monitor, clock)
    assert server.results == before
    assert monitor.due_at == clock.now + 2.0
    assert monitor.step() == 2.0
    probe(monitor, clock)
    assert server.probes == 3


@pytest.fixture
def running():
    monitor, server, clock = make("+" * 1000)
    scheduler = monitor._task.scheduler
    scheduler.start()
    server.delay_s = 3600.0
    monitor.plan()
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
    monitor, _, clock = make("+")
    monitor.freshen(clock.now, within_s=0.5)
    assert monitor.due_at == clock.now + 0.5
    monitor.freshen(clock.now, within_s=0.1)
    monitor.freshen(clock.now, within_s=0.7)
    assert monitor.due_at == clock.now + 0.1
    probe(monitor, clock)
    due_at = monitor.due_at
    monitor.freshen(clock.now)  # what was probed at this very instant is fresh
    assert monitor.due_at == due_at == clock.now + 60


def test_who_asks_while_the_result_is_taken_in_is_not_lost():
    monitor, server, clock = make("++")
    report = server.report

    def take_long(result):
        clock.now += 1
        monitor.freshen(clock.now)  # a run has failed since
        report(result)

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
