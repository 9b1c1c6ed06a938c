"""Shell: when things are done. Tasks say when they are due next, and two small pools of threads do them.

So threads do not grow with servers, seven servers that hang delay no other, and none delays a waiting run. Every
exception of the daemon's own work ends here: an internal error costs one step, never a loop.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable

import attrs

from chef_failover.metrics.faults import Faults

log = logging.getLogger(__name__)

LONGEST_NAP_S = 5.0
"""A machine that slept has lost that time on the clock by which threads wait, not on the one by which tasks are due."""
LATE_AFTER_S = 10.0
"""What overstays its time by this much is said to hang."""
SAID_EVERY_S = 60.0
"""How often the same task's faults are said."""


@attrs.define
class Pool:
    """Threads that do tasks; each starts when all others are busy, and then stays.

    At most ``size``, and one more for a task that is awaited.
    """

    name: str
    size: int = 8
    begun: queue.SimpleQueue[Task | None] = attrs.field(factory=queue.SimpleQueue)
    busy: int = 0
    threads: int = 0


@attrs.define(eq=False)
class Task:
    """Something that is done again and again, never twice at once. Made by `Scheduler.task`.

    Attributes:
        name: what it does, for people: "probe of mainserver".
        step: does what is due; seconds until something may be due again, infinite when only `wake` brings it.
        limit_s: how long a step may take; one that takes much longer hangs.
        retry_s: when the next step is due after one that ended in an internal error.
        due_at: an instant of the scheduler's clock.
        began_at: when the step under way began, by `time.monotonic`.
        is_awaited: a caller waits for the result of the next step.
        said_at, unsaid: when a fault of it was said last, and how many were not.
    """

    name: str
    step: Callable[[], float]
    limit_s: float
    retry_s: float
    pool: Pool
    scheduler: Scheduler
    due_at: float = math.inf
    began_at: float | None = None
    is_awaited: bool = False
    said_at: float = -math.inf
    unsaid: int = 0

    def wake(self, within_s: float = 0.0, *, is_awaited: bool = False) -> None:
        """Have a step begin ``within_s`` from now, or sooner if it is due; once it has ended, if one is under way."""
        self.scheduler.wake(self, within_s, is_awaited=is_awaited)

    def cancel(self) -> None:
        """Begin no further step. One under way ends by itself."""
        self.scheduler.cancel(self)

    def settle(self, timeout_s: float) -> bool:
        """Wait until no step is under way or due; whether that came within ``timeout_s``."""
        return self.scheduler.settle(self, timeout_s)


class Scheduler:
    """Does what its tasks have to do, from `start` to `stop`.

    ``clock`` gives monotonic seconds; ``faults`` counts the steps that break by an internal error.
    """

    def __init__(self, clock: Callable[[], float], faults: Faults | None = None) -> None:
        self.clock = clock
        self.faults = faults or Faults()
        self.probes, self.work = Pool("probes"), Pool("work")
        """One pool for what has a tight limit, and one for what may take longer."""
        self._tasks: set[Task] = set()
        self._under_way: set[Task] = set()
        self._changed = threading.Condition()
        self._is_at_work = False
        self._turned_at = math.inf

    def task(
        self,
        name: str,
        step: Callable[[], float],
        *,
        pool: Pool | None = None,
        limit_s: float = 300.0,
        retry_s: float = 60.0,
    ) -> Task:
        """A task that is not due until it is woken; in ``work`` unless another ``pool`` is named."""
        task = Task(name, step, limit_s, retry_s, pool or self.work, self)
        with self._changed:
            self._tasks.add(task)
        return task

    def start(self) -> None:
        """Begin what is due."""
        self._is_at_work = True
        threading.Thread(target=self._turn, name="scheduler", daemon=True).start()

    def stop(self, timeout_s: float = 0.0) -> bool:
        """Begin nothing more; whether what was under way has ended within ``timeout_s``."""
        pools = (self.probes, self.work)
        with self._changed:
            self._is_at_work = False
            self._changed.notify_all()
            has_ended = self._changed.wait_for(lambda: not any(pool.busy for pool in pools), timeout_s)
            for pool in pools:
                for _ in range(pool.threads):
                    pool.begun.put(None)
                pool.threads = 0
        return has_ended

    def late(self) -> tuple[str, ...]:
        """What hangs: steps that take much longer than they may, or the scheduler itself."""
        now = time.monotonic()  # stands still while the machine sleeps, as the work does
        with self._changed:
            hangs = [
                task.name for task in self._under_way if now > (task.began_at or now) + task.limit_s + LATE_AFTER_S
            ]
            if self._is_at_work and now > self._turned_at + LONGEST_NAP_S + LATE_AFTER_S:
                hangs.append("scheduler")
        return tuple(sorted(hangs))

    def wake(self, task: Task, within_s: float, *, is_awaited: bool = False) -> None:
        """See `Task.wake`."""
        with self._changed:
            if task in self._tasks:
                task.is_awaited |= is_awaited
                task.due_at = min(task.due_at, self.clock() + within_s)
                self._begin_due(task.pool)
                self._changed.notify_all()

    def cancel(self, task: Task) -> None:
        """See `Task.cancel`."""
        with self._changed:
            self._tasks.discard(task)
            task.due_at = math.inf
            self._changed.notify_all()

    def settle(self, task: Task, timeout_s: float) -> bool:
        """See `Task.settle`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._is_at_work or (task.began_at is None and task.due_at > self.clock()), timeout_s
            )

    def _turn(self) -> None:
        with self._changed:
            while self._is_at_work:
                self._turned_at = time.monotonic()
                self._begin_due(self.probes)
                self._begin_due(self.work)
                now = self.clock()
                left_s = min((task.due_at - now for task in self._tasks if task.due_at > now), default=math.inf)
                self._changed.wait(min(left_s, LONGEST_NAP_S))

    def _begin_due(self, pool: Pool) -> None:
        """Begin what is awaited, then what has been due for longest, as far as the pool has room. The lock is held."""
        if not self._is_at_work or pool.busy > pool.size:
            return
        now = self.clock()
        due = [task for task in self._tasks if task.pool is pool and task.due_at <= now and task.began_at is None]
        for task in sorted(due, key=lambda task: (not task.is_awaited, task.due_at)):
            if pool.busy >= pool.size + task.is_awaited:
                return
            task.began_at = time.monotonic()
            self._under_way.add(task)
            pool.busy += 1
            pool.begun.put(task)
            if pool.busy > pool.threads:
                # No thread to be had: another one does it in its turn, or it hangs, and `late` says so.
                with contextlib.suppress(RuntimeError):
                    name = f"{pool.name} {pool.busy}"
                    threading.Thread(target=self._work, args=(pool,), name=name, daemon=True).start()
                    pool.threads += 1

    def _work(self, pool: Pool) -> None:
        while (task := pool.begun.get()) is not None:
            with self._changed:
                is_wanted = task in self._tasks
                task.due_at = math.inf  # this step serves all that woke it until now
                task.is_awaited = False
            delay_s = self._do(task) if is_wanted else math.inf
            with self._changed:
                pool.busy -= 1
                task.began_at = None
                self._under_way.discard(task)
                if task in self._tasks:
                    task.due_at = min(task.due_at, self.clock() + delay_s)
                self._begin_due(pool)
                self._changed.notify_all()

    def _do(self, task: Task) -> float:
        thread = threading.current_thread()
        idle, thread.name = thread.name, task.name  # for people who look at threads
        try:
            return task.step()
        except Exception as error:
            self.faults.add(task.name, error)
            task.unsaid += 1
            now = time.monotonic()
            if now >= task.said_at + SAID_EVERY_S:
                log.exception(
                    "internal error in %s; server states unchanged, retrying (errors since the last report: %d)",
                    task.name,
                    task.unsaid,
                )
                task.said_at, task.unsaid = now, 0
            return task.retry_s
        finally:
            thread.name = idle
