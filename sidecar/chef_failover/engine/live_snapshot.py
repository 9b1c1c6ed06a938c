"""Shell: the lock and the one snapshot that everybody reads."""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections.abc import Callable, Mapping

from chef_failover.decide.asking import Asking, server_to_settle, servers_to_ask
from chef_failover.decide.selection import select_for_run, server_worth_waiting_for
from chef_failover.decide.world import apply_probe, apply_reading, apply_registration, refresh_choice
from chef_failover.metrics.counters import Counters
from chef_failover.model.model import Choice, NodeCheck, ProbeResult, Registration, Snapshot
from chef_failover.state import remembered as memory

log = logging.getLogger(__name__)


class LiveSnapshot:
    """The Chef servers as we know them.

    Transitions happen under the lock; ``snapshot`` is read without it. ``on_change`` is called, outside the lock, after
    each change of a server's health or of the choice, and when a server answers again; ``counters`` counts it all.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        clock: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        on_change: Callable[[Snapshot], None] = lambda _: None,
        counters: Counters | None = None,
    ) -> None:
        self._clock = clock
        self._utc_now = utc_now
        self._on_change = on_change
        self._counters = counters or Counters()
        self._changed = threading.Condition()
        self._snapshot = refresh_choice(snapshot, now=clock(), on=utc_now())

    @property
    def snapshot(self) -> Snapshot:
        """The world as it is now."""
        return self._snapshot

    def record(self, name: str, result: ProbeResult, offline: str | None = None) -> None:
        """Take in one probe's result."""
        with self._changed:
            before = self._snapshot
            server = next(server for server in before.servers if server.name == name)
            after = apply_probe(before, server, result, offline=offline, on=self._utc_now())
            self._snapshot = after
            self._changed.notify_all()
        self._counters.probed(name, result)
        if not self._tell(before, after) and result.outcome.is_alive and not server.is_alive:
            self._on_change(after)  # a registration may wait for that

    def register(self, name: str, registration: Registration) -> None:
        """Take in how the node's registration with one server stands."""
        self.amend(name, lambda _: registration)

    def amend(self, name: str, change: Callable[[Registration], Registration]) -> None:
        """Replace the node's registration with one server by what ``change``, called under the lock, makes of it."""
        with self._changed:
            before = self._snapshot
            server = before.server(name)
            if server is None:
                return
            registration = change(server.registration)
            after = apply_registration(before, server, registration, now=self._clock(), on=self._utc_now())
            self._snapshot = after
            self._changed.notify_all()
        self._counters.registered(name, server.registration, registration)
        self._tell(before, after)

    def take(self, name: str, check: NodeCheck) -> None:
        """Take in what a reading found on one server."""
        with self._changed:
            before = self._snapshot
            server = before.server(name)
            if server is None:
                return
            after = apply_reading(before, server, check, on=self._utc_now())
            self._snapshot = after
            self._changed.notify_all()
        if not self._tell(before, after) and memory.of(before) != memory.of(after):
            self._on_change(after)

    def steer(self, change: Callable[..., Snapshot], *arguments: object, **named: object) -> Snapshot:
        """Apply an order of a person; the world after it.

        ``change`` is a function of `decide.world` and gets the world, what stands behind it here, and the time. What it
        raises leaves everything as it is.
        """
        with self._changed:
            before = self._snapshot
            after = change(before, *arguments, now=self._clock(), on=self._utc_now(), **named)
            self._snapshot = after
            self._changed.notify_all()
        self._tell(before, after)
        return after

    def end_what_is_over(self) -> float:
        """End the drains and pins whose time is over; seconds until the next one ends, infinite if none does."""
        left_s = self._snapshot.orders.next_end - self._clock()
        if left_s > 0:
            return left_s
        return self.steer(refresh_choice).orders.next_end - self._clock()

    def server_worth_waiting_for(self, runs_from: float, *, registers: bool = True) -> str | None:
        """The server whose answer a starting run waits for; None when there is nothing to wait for."""
        return server_worth_waiting_for(self._snapshot, now=self._clock(), runs_from=runs_from, registers=registers)

    def servers_to_ask(
        self, runs_from: float, asked: Mapping[str, float], *, registers: bool = True
    ) -> tuple[Snapshot, Asking]:
        """The world, and which servers a starting run asks in it; ``asked`` tells since when it waits for which."""
        snapshot, now = self._snapshot, self._clock()
        return snapshot, servers_to_ask(snapshot, now=now, runs_from=runs_from, asked=asked, registers=registers)

    def server_to_settle(self, before: Snapshot, name: str) -> str | None:
        """The server to ask at once since a probe of ``name`` has changed ``before``; None for none."""
        return server_to_settle(before, self._snapshot, name, now=self._clock())

    def select_for_run(self, runs_from: float) -> tuple[Snapshot, Choice | None]:
        """Where a run that starts now goes, and the world it was chosen in."""
        snapshot = self._snapshot
        now = self._clock()
        return snapshot, select_for_run(snapshot, now=now, runs_from=runs_from)

    def wait_while(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Until a change of the world makes ``condition`` false, or ``timeout_s`` is over."""
        limit = self._clock() + timeout_s
        with self._changed:
            while condition() and (left_s := limit - self._clock()) > 0:
                self._changed.wait(left_s)

    def wait_for_change(self, known: Snapshot, timeout_s: float) -> None:
        """Until the world is another one than ``known``, or ``timeout_s`` is over."""
        self.wait_while(lambda: self._snapshot is known, timeout_s)

    def _tell(self, before: Snapshot, after: Snapshot) -> bool:
        """Everybody who has to know of a change, outside the lock; whether there was one."""
        self._counters.changed(before, after)
        is_change = log_changes(before, after)
        if is_change:
            self._on_change(after)
        return is_change


def log_changes(before: Snapshot, after: Snapshot) -> bool:
    """One line for each change; whether there was one that is worth keeping."""
    new = [transition for transition in after.transitions if transition not in before.transitions]
    for transition in new:
        what = transition.server or "choice"
        fields = {
            "server": transition.server,
            "from": transition.before,
            "to": transition.after,
            "reason": transition.reason,
        }
        log.info("%s %s->%s %s", what, transition.before, transition.after, transition.reason, extra=fields)
    if after.offline != before.offline:
        what = f"is offline: {after.offline}; nothing moves" if after.offline else "is back on the network"
        log.warning("node %s", what)
    return bool(new)
