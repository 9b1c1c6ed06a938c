"""A month in which a server flaps all the time: what is kept of it, in memory and on disk, does not grow.

The shells are the real ones, on a fake clock; what they are given is what probes, runs and people would say.
"""

import datetime
import gc
import itertools

import attrs

from chef_failover.api import render
from chef_failover.decide.world import apply_order, lift
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.engine.runs import RunReport, Runs
from chef_failover.metrics import exposition as metrics
from chef_failover.metrics.counters import Counters
from chef_failover.metrics.measured import Measured
from chef_failover.model.about import About
from chef_failover.model.model import NodeCheck, Outcome, ProbeResult, Registration
from chef_failover.model.needs import Content
from chef_failover.model.orders import Drain
from chef_failover.state import document as state
from chef_failover.state import written
from tests.support.builders import ON, WEB, drain, server, world

DAY_S = 86_400
FLAPS_EVERY_S = 1800
REFUSED_BY_MAIN = "chef_failover_probes_total", {"server": "main", "outcome": "refused"}
DOWN, UP = (Outcome.REFUSED,) * 3, (Outcome.OK,) * 2


class Month:
    """Three servers and a clock; `pass_until` lives through the time up to an instant."""

    def __init__(self, directory):
        self.now = 0.0
        self.path = directory / state.FILE_NAME
        self.counters = Counters(self.on, self._measure)
        self.counters.watch(["main", "other", "third"])
        self.live = LiveSnapshot(
            world(server("main"), server("other"), server("third"), current="main", failback_s=60.0),
            clock=lambda: self.now,
            utc_now=self.on,
            counters=self.counters,
        )
        self.runs = Runs(lambda name: None, lambda: self.now, utc_now=self.on, on_end=self._ran)
        self._numbers = itertools.count()

    def on(self):
        return ON + datetime.timedelta(seconds=self.now)

    def _ran(self, run):
        self.counters.ran(run.server, run.result)

    def _measure(self):
        return Measured(
            version="1",
            snapshot=self.live.snapshot,
            history=self.runs.history,
            runs_under_way=len(self.runs.under_way),
            faults=0,
            fingerprint=1,
            now=self.now,
        )

    def pass_until(self, at):
        while self.now < at:
            self._live_through_one_flap(next(self._numbers))
            self.now += FLAPS_EVERY_S

    def _live_through_one_flap(self, number):
        """One server goes and comes back, a run is made, and now and then a registration, a deployment and a drain."""
        name = ("main", "other", "third")[number % 3]
        for after_s, outcome in enumerate((*DOWN, *UP)):
            at = self.now + after_s
            self.live.record(name, ProbeResult(outcome, f"word {number}", at, latency_s=0.01))
        self.runs.report(RunReport(f"run-{number}", "started", name))
        if number % 5:  # else its end is never reported
            self.runs.report(RunReport(f"run-{number}", "failed" if number % 2 else "succeeded", name, "X"))
        if number % 7 == 0:
            self.live.register(name, Registration(detail=f"again {number}", identity="x", on=self.on()))
            content = Content(self.now, ("web", "production"), f"revision {number}")
            self.live.take(name, NodeCheck(self.now, WEB, policy_found=True, content=content))
        if number % 11 == 0:
            order = drain(name, reason=f"for {number}", ends_at=self.now + 300)
            self.live.steer(apply_order, order, is_forced=True)
        if number % 13 == 0:
            self.live.steer(lift, (Drain, name), who="alice")
        self.live.end_what_is_over()

    def sizes(self):
        """Bytes of the state on disk and of every view; objects in memory."""
        snapshot, about = self.live.snapshot, About("1", "web-1", runs=self.runs.history)
        state.write(self.path, written.kept(snapshot, about, on=self.on()))
        servers = render.servers(snapshot, about, now=self.now, on=self.on())
        del snapshot, about
        gc.collect()
        return {
            "state": self.path.stat().st_size,
            "servers": len(str(servers)),
            "metrics": len(metrics.expose(self.counters.registry).body),
            "objects": sum(1 for one in gc.get_objects() if attrs.has(type(one))),
        }


def test_a_month_of_transitions_grows_neither_memory_nor_state(tmp_path):
    month = Month(tmp_path)
    month.pass_until(6 * DAY_S)
    early = month.sizes()
    month.pass_until(30 * DAY_S)
    late = month.sizes()
    assert month.counters.registry.get_sample_value(*REFUSED_BY_MAIN) > 1400
    grown = {what: (size, late[what]) for what, size in early.items() if late[what] > size * 1.05}
    assert grown == {}
