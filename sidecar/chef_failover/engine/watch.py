"""Shell: all monitors of one configuration, and the question that a starting run asks them."""

from __future__ import annotations

import functools
import math
import random
import threading
import time
from collections.abc import Callable, Mapping

from chef_failover.decide.health import Pace
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.engine.monitor import Monitor
from chef_failover.engine.scheduler import Scheduler
from chef_failover.model.model import Choice, Health, ProbeResult, Snapshot, Standing

ANSWER_SLACK_S = 0.25
"""A probe that uses its whole time still has to be recorded before a run's question is answered."""
START_S = 0.5
"""How long a run's question may wait for probing to begin: with that the shim, which grants a second, still waits."""
HEAD_START_S = 0.01
"""How much earlier than the others the server is probed that a run waits for."""
KEY_PERIOD_S = 0.05
"""How often we look for a key that is to come."""


LOOK_S = 10.0
"""A person who looks has what is older than this probed anew: so often at the most, whoever looks and how often."""


class Watch:
    """One monitor for each server.

    Args:
        live: takes the results.
        probes: for each server by name, what probes it.
        look: tells why this node has no network, or None; asked only after a probe that never left the node.
        pace: between probes.
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
        self._monitors = {
            name: Monitor(
                name,
                probe=probe,
                report=self._reporter(name),
                pace=pace,
                limit_s=2 * timeout_s,  # and a look at this node's own network
                scheduler=scheduler,
                rng=rng,
                is_known=any(server.name == name and server.last_probe for server in live.snapshot.servers),
            )
            for name, probe in probes.items()
        }

    def start(self) -> None:
        """Begin probing."""
        for monitor in self._monitors.values():
            monitor.start()
        self._is_started.set()

    def stop(self) -> None:
        """End probing; what is under way may still report."""
        for monitor in self._monitors.values():
            monitor.stop()

    def look_at(self, name: str) -> None:
        """Probe that server now, whatever its last result; unknown names are nobody's."""
        if name in self._monitors:
            self._monitors[name].freshen(self._clock())

    def refresh(self, *, waits: bool = True) -> None:
        """For a person who looks: have every server probed whose last result is older than `LOOK_S`.

        With ``waits`` until these results are in, for one probe's timeout at most, from `start` on.
        """
        if not self._is_started.wait(START_S):
            return
        looks_from = self._clock() - LOOK_S
        self._freshen(looks_from, 0.0)
        if waits:
            self._live.wait_while(
                lambda: not all(server.is_probed_since(looks_from) for server in self._live.snapshot.servers),
                self._timeout_s + ANSWER_SLACK_S,
            )

    def choose_for_run(self, max_age_s: float = math.inf, *, is_final: bool = True) -> tuple[Snapshot, Choice | None]:
        """Where a run that starts now should go, from results that are fresh, and the world it was chosen in.

        Takes one probe's timeout at most, from `start` on; much less when the preferred server answers. Results count
        that are no older than ``fresh_for``, and than ``max_age_s``: the run may know what happened before that. Only a
        question that no other follows (``is_final``) waits for a registration under way, and for a key that is to come.
        """
        runs_from = self._clock() - min(self._fresh_for_s, max_age_s)
        self._is_started.wait(START_S)
        limit = self._clock() + self._timeout_s + ANSWER_SLACK_S
        server_worth_waiting_for = functools.partial(self._live.server_worth_waiting_for, runs_from, registers=is_final)
        self._freshen_in_turns(runs_from, server_worth_waiting_for)
        while (wanted := server_worth_waiting_for()) and (left_s := limit - self._clock()) > 0:
            self._live.wait_while(lambda: server_worth_waiting_for() == wanted, left_s)
        while is_final and self._lacks_key() and self._clock() < limit:
            time.sleep(KEY_PERIOD_S)
        return self._live.select_for_run(runs_from)

    def choose_at_once(self, max_age_s: float = math.inf) -> tuple[Snapshot, Choice | None] | None:
        """For a run that asks again when it starts: where it would go by what is known, while probes for it begin.

        None if that speaks for no server, or if one that nobody has heard of yet could change it.
        """
        runs_from = self._clock() - min(self._fresh_for_s, max_age_s)
        wanted = self._live.server_worth_waiting_for(runs_from)
        if wanted:
            self._monitors[wanted].freshen(runs_from, is_awaited=True)
        self._freshen(runs_from, HEAD_START_S)
        if not wanted:
            return self._live.select_for_run(runs_from)
        if self._live.server_worth_waiting_for(-math.inf, registers=False):
            return None
        snapshot, choice = self._live.select_for_run(-math.inf)
        return (snapshot, choice) if choice and choice.standing is Standing.ELIGIBLE else None

    def _freshen_in_turns(self, runs_from: float, server_worth_waiting_for: Callable[[], str | None]) -> None:
        """Have all servers probed whose result is too old, the one a run waits for a moment before the others.

        Three TLS handshakes at once on a small machine take twice as long as one. As in Happy Eyeballs (RFC 8305) the
        head start is too short to delay anybody, and long enough for a server nearby to have answered; one that fails
        within it passes it on to the next. Once nothing is waited for, the answer goes out before the others' turn.
        """
        former = None
        while (wanted := server_worth_waiting_for()) and wanted != former:
            self._monitors[wanted].freshen(runs_from, is_awaited=True)
            self._live.wait_while(lambda: server_worth_waiting_for() == wanted, HEAD_START_S)
            former = wanted
        self._freshen(runs_from, 0.0 if wanted else HEAD_START_S)

    def _freshen(self, runs_from: float, within_s: float) -> None:
        for monitor in self._monitors.values():
            monitor.freshen(runs_from, within_s)

    def _reporter(self, name: str) -> Callable[[ProbeResult], bool]:
        def report(result: ProbeResult) -> bool:
            before = self._live.snapshot
            offline = before.offline if result.is_node_trouble else None
            is_changing = self._live.record(name, result, self._look() if result.never_left_node else offline)
            was, now = before.server(name), self._live.snapshot.server(name)
            if was and was.health is not Health.UP and result.outcome.is_alive:
                self._ask_others_that_fail(name, before, result.finished_at)
            elif was and now and was.health > now.health is Health.DOWN and self._is_in_use(name):
                self._freshen(result.finished_at, 0.0)  # the node moves to one that has answered since
            return is_changing

        return report

    def _is_in_use(self, name: str) -> bool:
        choice = self._live.snapshot.choice
        return choice is not None and choice.name == name

    def _ask_others_that_fail(self, name: str, snapshot: Snapshot, at: float) -> None:
        """Server ``name`` is coming back: the others may be back as well, and none is left for being asked later."""
        for server in snapshot.servers:
            if server.name != name and server.last_probe and not server.last_probe.outcome.is_alive:
                self._monitors[server.name].freshen(at)
