"""The scheduler: real threads, and a clock that the test moves."""

import functools
import logging
import math
import threading
import time

import pytest

from chef_failover.engine import scheduler as module
from chef_failover.engine.scheduler import Scheduler
from tests.support.daemon_process import until


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Steps:
    """What a task does: counts, and waits at ``gate`` while that is closed."""

    def __init__(self, delay_s=math.inf):
        self.delay_s, self.begun, self.ended = delay_s, 0, 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self):
        self.begun += 1
        assert self.gate.wait(60)
        self.ended += 1
        return self.delay_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def scheduler(clock):
    made = Scheduler(clock)
    made.start()
    yield made
    assert made.stop(10)


def hang(scheduler, pool, count):
    """Tasks that hang in ``pool``; open the gates to let them end."""
    found = [Steps() for _ in range(count)]
    for number, steps in enumerate(found):
        steps.gate.clear()
        scheduler.task(f"hanging {number}", steps, pool=pool).wake()
    until(lambda: sum(steps.begun for steps in found) == min(count, pool.size))
    return found


def test_a_task_runs_when_it_is_due_and_says_when_it_is_due_next(scheduler, clock):
    steps = Steps(delay_s=60.0)
    task = scheduler.task("x", steps)
    assert task.settle(0)
    task.wake(5.0)
    assert task.due_at == 1005.0
    task.wake(7.0)  # never later
    assert task.due_at == 1005.0
    clock.now += 5
    task.wake(100.0)  # whatever makes it look
    until(lambda: steps.ended == 1)
    until(lambda: task.due_at == 1065.0)


def test_a_machine_that_slept_is_noticed_within_one_nap(clock, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_NAP_S", 0.05)
    scheduler = Scheduler(clock)
    steps = Steps()
    scheduler.task("x", steps).wake(3600)
    scheduler.start()
    clock.now += 8 * 3600  # nobody is told
    until(lambda: steps.ended == 1)
    assert scheduler.stop(10)


def test_a_thread_bears_the_name_of_what_it_does(scheduler):
    steps = hang(scheduler, scheduler.work, 1)[0]
    assert "hanging 0" in {thread.name for thread in threading.enumerate()}
    steps.gate.set()
    until(lambda: "hanging 0" not in {thread.name for thread in threading.enumerate()})


def test_who_wakes_it_before_the_start_is_served_at_the_start(clock):
    scheduler, steps = Scheduler(clock), Steps()
    task = scheduler.task("x", steps)
    task.wake()
    assert (steps.begun, task.settle(0)) == (0, True)
    scheduler.start()
    until(lambda: steps.ended == 1)
    assert scheduler.stop(10)


def test_who_wakes_it_while_a_step_is_under_way_gets_one_more_and_no_two_at_once(scheduler):
    steps = Steps()
    steps.gate.clear()
    task = scheduler.task("x", steps)
    task.wake()
    until(lambda: steps.begun == 1)
    for _ in range(100):
        task.wake()
    assert steps.begun == 1
    steps.gate.set()
    until(lambda: steps.ended == 2)
    assert task.settle(10)
    assert steps.ended == 2


def test_seven_that_hang_delay_no_eighth_nor_anything_of_the_other_pool(scheduler):
    hanging = hang(scheduler, scheduler.probes, scheduler.probes.size - 1)
    eighth, other = Steps(), Steps()
    scheduler.task("eighth", eighth, pool=scheduler.probes).wake()
    scheduler.task("other", other).wake()
    until(lambda: eighth.ended == other.ended == 1)
    for steps in hanging:
        steps.gate.set()


def test_what_somebody_waits_for_has_a_thread_of_its_own_however_many_hang(scheduler):
    hanging = hang(scheduler, scheduler.probes, 20)
    routine, awaited = Steps(), Steps()
    scheduler.task("routine", routine, pool=scheduler.probes).wake()
    scheduler.task("awaited", awaited, pool=scheduler.probes).wake(is_awaited=True)
    until(lambda: awaited.ended == 1)
    assert (routine.begun, sum(steps.begun for steps in hanging)) == (0, scheduler.probes.size)
    for steps in hanging:
        steps.gate.set()
    until(lambda: routine.ended == 1)


def test_threads_do_not_grow_with_tasks_and_who_waited_longest_is_next(scheduler, clock):
    hanging = hang(scheduler, scheduler.work, scheduler.work.size)
    order = []

    def ended(name):
        order.append(name)
        return math.inf

    for name in "abc":
        clock.now += 1
        scheduler.task(name, functools.partial(ended, name)).wake()
    assert scheduler.work.threads == scheduler.work.size
    hanging[0].gate.set()
    until(lambda: order == ["a", "b", "c"])
    for steps in hanging:
        steps.gate.set()
    assert scheduler.work.threads == scheduler.work.size


def test_threads_start_only_when_all_others_are_busy(scheduler):
    steps = Steps()
    task = scheduler.task("x", steps)
    for count in range(1, 20):
        task.wake()
        until(lambda count=count: steps.ended == count and task.settle(10))
    assert scheduler.work.threads == 1
    assert scheduler.probes.threads == 0


def test_a_task_that_is_cancelled_begins_no_further_step(scheduler):
    steps = Steps(delay_s=0.0)
    steps.gate.clear()
    task = scheduler.task("x", steps)
    task.wake()
    until(lambda: steps.begun == 1)
    task.cancel()
    assert not task.settle(0)
    steps.gate.set()
    assert task.settle(10)
    task.wake()
    assert task.settle(0)
    assert steps.ended == 1


def test_a_fault_is_counted_said_once_and_then_with_its_count(scheduler, clock, caplog, monkeypatch):
    def broken():
        raise RuntimeError("a bug")

    task = scheduler.task("probe of main", broken, retry_s=7.0)
    with caplog.at_level(logging.ERROR):
        for count in range(1, 4):
            task.wake()
            until(lambda count=count: scheduler.faults.count == count and task.settle(10))
    assert task.due_at == clock.now + 7.0
    assert scheduler.faults.last == "probe of main: RuntimeError"
    words = "internal error in probe of main; server states unchanged, retrying"
    assert caplog.text.count(words) == caplog.text.count("RuntimeError: a bug") == 1
    monkeypatch.setattr(module, "SAID_EVERY_S", 0.0)
    task.wake()
    until(lambda: "errors since the last report: 3" in caplog.text)


def test_what_overstays_its_time_is_late_also_when_it_is_cancelled(scheduler, monkeypatch):
    hanging = hang(scheduler, scheduler.probes, 2)
    assert scheduler.late() == ()
    ahead_s = 300.0 + module.LATE_AFTER_S
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + ahead_s + 1)
    scheduler.task("x", Steps()).wake()  # the scheduler itself has turned by now
    until(lambda: scheduler.late() == ("hanging 0", "hanging 1"))
    monkeypatch.setattr(time, "monotonic", now)
    for steps in hanging:
        steps.gate.set()
    until(lambda: scheduler.late() == ())


def test_a_scheduler_that_does_not_turn_is_late(scheduler, monkeypatch):
    now = time.monotonic
    assert scheduler.late() == ()
    with scheduler._changed:  # held by somebody for ever
        monkeypatch.setattr(time, "monotonic", lambda: now() + 3600)
        assert scheduler.late() == ("scheduler",)
        monkeypatch.setattr(time, "monotonic", now)


def test_stop_ends_all_threads_though_the_next_step_is_an_hour_away(clock):
    scheduler, steps = Scheduler(clock), Steps()
    task = scheduler.task("x", steps)
    before = set(threading.enumerate())
    scheduler.start()
    task.wake()
    until(lambda: steps.ended == 1)
    task.wake(3600)
    assert scheduler.stop(10)
    until(lambda: set(threading.enumerate()) <= before)


def test_stop_waits_no_longer_than_it_is_told_for_what_hangs(clock):
    scheduler = Scheduler(clock)
    scheduler.start()
    steps = hang(scheduler, scheduler.work, 1)[0]
    assert not scheduler.stop(0.05)
    steps.gate.set()
    until(lambda: steps.ended == 1)


def test_a_task_that_is_cancelled_while_it_waits_for_a_thread_is_not_begun(scheduler, monkeypatch):
    steps, other = Steps(), Steps()
    task = scheduler.task("x", steps)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _: None)
        task.wake()
    task.cancel()
    scheduler.work.threads = 0
    scheduler.task("y", other).wake()
    until(lambda: other.ended == 1 and task.settle(10))
    assert steps.begun == 0


def test_no_thread_to_be_had_breaks_nobody_who_wakes(scheduler, monkeypatch):
    steps = Steps()
    task = scheduler.task("x", steps)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        task.wake()
    scheduler.task("y", Steps()).wake()
    until(lambda: steps.ended == 1)
