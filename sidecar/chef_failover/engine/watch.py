"""Shell: all monitors of one configuration, and the question that a starting run asks them."""

from __future__ import annotations

import functools
import math
import random
import threading
import time
from collections.abc import Callable, Mapping

from chef_failover.decide.asking import MOMENT_S, Asking
from chef_failover.decide.pace import probe_from
from chef_failover.decide.world import leave_alone
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.engine.monitor import Monitor
from chef_failover.engine.scheduler import Scheduler
from chef_failover.model.model import Choice, Pace, ProbeResult, Snapshot, Standing

ANSWER_SLACK_S = 0.25
"""A probe that uses its whole time still has to be recorded before a run's question is answered."""
START_S = 0.5
"""How long a run's question may wait for probing to begin: with that the shim, which grants a second, still waits."""
HEAD_START_S = 0.01
"""How much earlier than the others the server is probed that a run waits for.

Three TLS handshakes at once on a small machine take twice as long as one."""
ANSWER_FIRST_S = 0.01
"""How much later than its question those are probed for whom a run does not wait: it is answered first."""
KEY_PERIOD_S = 0.05
"""How often we look for a key that is to come."""
LOOK_S = 10.0
"""What is older than this is probed for a person who looks."""


class Watch:
    """One monitor for each server.

    Args:
        live: takes the results.
        probes: for each server by name, what probes it.
        look: tells why this node has no network, or None; asked only after a probe that never left the node.
        pace: of background probes.
        timeout_s: of one probe.
        fresh_for_s: how old a result may be to start a run on it.
        lacks_key: whether the node has no key yet and will get one, without which no run works.
        scheduler: does it; its clock is that of the results.
        rng: for the jitter.
    """

    def __init__(
        self,
        live: LiveSnapshot,
        probes: Mapping[str, Callable[[], ProbeResult]],
        *,
        look: Callable[[], str | None],
        pace: Pace,
        timeout_s: float,
        fresh_for_s: float,
        lacks_key: Callable[[], bool] = lambda: False,
        scheduler: Scheduler,
        rng: random.Random,
    ) -> None:
        self._live = live
        self._look = look
        self._timeout_s = timeout_s
        self._fresh_for_s = fresh_for_s
        self._lacks_key = lacks_key
        self._clock = scheduler.clock
        self._is_started = threading.Event()
        self._pace = pace
        self._begun_at = self._clock()
        self._doubted_at = -math.inf
        self._monitors = {
            name: Monitor(
                name,
                probe=probe,
                report=functools.partial(self._take, name),
                due_at=functools.partial(self._due_at, name),
                limit_s=2 * timeout_s,  # and a look at this node's own network
                retry_s=pace.first_step_s,
                scheduler=scheduler,
                rng=rng,
            )
            for name, probe in probes.items()
        }

    def start(self) -> None:
        """Begin probing."""
        self._begun_at = self._clock()
        self._plan()
        self._is_started.set()

    def stop(self) -> None:
        """End probing; what is under way may still report."""
        for monitor in self._monitors.values():
            monitor.stop()

    def look_at(self, name: str, *, insists: bool = False) -> None:
        """Probe that server now, whatever its last result; others are ignored. No run goes by a result from before.

        If it asked to be left alone, it is, unless the caller ``insists``.
        """
        self._doubted_at = self._clock()
        if insists:
            self._live.steer(leave_alone, name, -math.inf)
        self._freshen(name, self._clock())

    def refresh(self, *, waits: bool = True) -> None:
        """For a person who looks: have every server probed whose last result is older than `LOOK_S`.

        With ``waits`` until these results are in, for one probe's timeout at most, from `start` on.
        """
        if not self._is_started.wait(START_S):
            return
        looks_from = self._clock() - LOOK_S
        asked = [name for name in self._monitors if self._freshen(name, looks_from) is not None]
        if waits:
            self._live.wait_while(
                lambda: any(
                    server.name in asked and not server.is_probed_since(looks_from)
                    for server in self._live.snapshot.servers
                ),
                self._timeout_s + ANSWER_SLACK_S,
            )

    def choose_for_run(self, max_age_s: float = math.inf, *, is_final: bool = True) -> tuple[Snapshot, Choice | None]:
        """Where a run that starts now should go, from results that are fresh, and the world it was chosen in.

        Takes one probe's timeout at most, from `start` on, and a little more where a server that was asked later has
        yet to answer; much less when the server that the run wants answers. Results count that are no older than
        ``fresh_for``, and than ``max_age_s``: the run may know what happened before that. Only a question that no other
        follows (``is_final``) waits for a registration under way, and for a key that is to come.
        """
        came_at, runs_from = self._clock(), self._runs_from(max_age_s)
        self._is_started.wait(START_S)
        begun_at, asked = self._clock(), dict[str, float]()
        while True:
            snapshot, asking = self._ask(runs_from, asked, registers=is_final)
            last_asked_at = max([begun_at, *asked.values()])
            limit = min(last_asked_at, came_at + START_S) + self._timeout_s + ANSWER_SLACK_S
            left_s = min(limit, asking.again_at) - self._clock()
            if not asking.awaited or self._clock() >= limit:
                break
            self._live.wait_for_change(snapshot, left_s)
        if asking.choice is not None and not (is_final and self._lacks_key()):
            return snapshot, asking.choice
        while is_final and self._lacks_key() and self._clock() < limit:
            time.sleep(KEY_PERIOD_S)
        return self._live.select_for_run(runs_from)

    def choose_at_once(self, max_age_s: float = math.inf) -> tuple[Snapshot, Choice | None] | None:
        """For a run that asks again when it starts: where it would go by what is known. Probes for it begin just after.

        None if that speaks for no server, or if one that was never probed could change it.
        """
        snapshot, asking = self._ask(self._runs_from(max_age_s), {}, within_s=ANSWER_FIRST_S)
        if not asking.awaited:
            return snapshot, asking.choice
        if self._live.server_worth_waiting_for(-math.inf, registers=False):
            return None
        snapshot, choice = self._live.select_for_run(-math.inf)
        return (snapshot, choice) if choice and choice.standing >= Standing.STALE else None

    def _runs_from(self, max_age_s: float) -> float:
        """The oldest instant whose results count for a run that asks now."""
        return max(self._clock() - min(self._fresh_for_s, max_age_s), self._doubted_at)

    def _ask(
        self, runs_from: float, asked: dict[str, float], within_s: float = 0.0, *, registers: bool = True
    ) -> tuple[Snapshot, Asking]:
        """Have those servers probed that a run asks now, and note in ``asked`` since when it waits for which."""
        snapshot, asking = self._live.servers_to_ask(runs_from, asked, registers=registers)
        for name in asking.awaited:
            since = self._freshen(name, runs_from, within_s, is_awaited=True)
            asked.setdefault(name, self._clock() if since is None else since)
        for name in asking.for_later:
            self._freshen(name, self._clock() - MOMENT_S, within_s + HEAD_START_S)
        return snapshot, asking

    def _freshen(
        self, name: str, wanted_from: float, within_s: float = 0.0, *, is_awaited: bool = False
    ) -> float | None:
        """See `Monitor.freshen`; None if that server is unknown or asked to be left alone."""
        server = self._live.snapshot.server(name)
        if name not in self._monitors or server is None or self._clock() < server.stay_away_until:
            return None
        return self._monitors[name].freshen(wanted_from, within_s, is_awaited=is_awaited)

    def _due_at(self, name: str, chance: float) -> float:
        snapshot = self._live.snapshot
        server = snapshot.server(name)
        if server is None:
            return math.inf
        return probe_from(snapshot, server, self._pace, chance=chance, begun_at=self._begun_at)

    def _plan(self) -> None:
        for monitor in self._monitors.values():
            monitor.plan()

    def _take(self, name: str, result: ProbeResult) -> None:
        before = self._live.snapshot
        offline = before.offline if result.is_node_trouble else None
        self._live.record(name, result, self._look() if result.never_left_node else offline)
        if wanted := self._live.server_to_settle(before, name):
            self._freshen(wanted, self._clock())
        self._plan()
