"""Shell: the sidecar without its outside: one configuration at work, replaced whole by the next.

How the parts are put together is `assembly`; how the outside reaches them (listeners, signals, systemd) is `daemon`.
"""

from __future__ import annotations

import datetime
import functools
import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path

import attrs

from chef_failover import __version__
from chef_failover.aws import call as aws
from chef_failover.config.settings import Config, DiscoverySettings
from chef_failover.config.source import Store
from chef_failover.decide import reading
from chef_failover.decide.registration import hurried, is_urgent
from chef_failover.decide.world import apply_listed_drains, apply_run
from chef_failover.engine.assembly import Assembly, assemble, readiness_policy
from chef_failover.engine.live_snapshot import log_changes
from chef_failover.engine.runs import RunReport, Runs
from chef_failover.engine.scheduler import Scheduler
from chef_failover.metrics.counters import Counters, Purpose
from chef_failover.metrics.faults import Faults
from chef_failover.metrics.measured import Measured
from chef_failover.metrics.textfile import Textfile
from chef_failover.model.about import About
from chef_failover.model.model import Choice, ServerSnapshot, Snapshot
from chef_failover.model.needs import ReadinessPolicy
from chef_failover.model.run_history import Run, RunEvidence
from chef_failover.node import clone
from chef_failover.node.machine import Machine
from chef_failover.server_list import fetch as list_fetch
from chef_failover.server_list.discovery import Discovery
from chef_failover.server_list.listing import Effective, ListedDrain, as_said
from chef_failover.state import document as state
from chef_failover.state import remembered as memory
from chef_failover.state import written
from chef_failover.state.remembered import Remembered
from chef_failover.state.saver import Saver

log = logging.getLogger(__name__)

LAST_SAVE_S = 0.3
"""How long the last write may take when we stop."""


class Sidecar:
    """Watches the servers of ``config``, or of the fleet's list that it names, from `start` to `stop`.

    ``faults`` counts its internal errors, together with those around it.

    Raises:
        IdentityError: the node's name cannot be found out.
    """

    def __init__(self, config: Config, machine: Machine | None = None, faults: Faults | None = None) -> None:
        self._machine = machine or Machine()
        self.faults = faults or Faults()
        self._state_path = config.state_dir / state.FILE_NAME
        self._scheduler = Scheduler(self._machine.clock, self.faults)
        self._saver = Saver(self._save)
        self._saving = self._scheduler.task("state.json", self._saver.step)
        self._textfile = Textfile(self._metrics)
        self._telling = self._scheduler.task("metrics.textfile", self._textfile.step)
        self.counters = Counters(self._machine.utc_now, self.measure)
        instance_id = self._machine.instance_id(config.node.name)
        if said := clone.set_aside(config.state_dir, instance_id, self._machine.utc_now()):
            log.warning("%s", said)
        self._boot_id = self._machine.boot_id()
        remembered = state.read(self._state_path, self.utc_now(), at=self.now(), boot_id=self._boot_id)
        self._instance_id = remembered.instance_id or instance_id
        self._is_new_here = remembered.instance_id is None and instance_id is not None
        for sentence in remembered.problems:
            log.warning("%s", sentence)
        self._swapping = threading.Lock()
        self.runs = Runs(
            self._look_at,
            self._machine.clock,
            utc_now=self._machine.utc_now,
            history=remembered.history,
            on_end=self._run_ended,
        )
        self._ask_for_list = functools.partial(aws.call, signed=aws.Signed())
        self._discovery = Discovery(
            config,
            self._go_on_if_changed,
            fetch=self._fetch_list,
            utc_now=self._machine.utc_now,
            rng=self._machine.rng,
        )
        self._following = self._scheduler.task("fetch of the server list", self._discovery.step)
        now = self._discovery.effective_for(config)
        self._parts = self._unless_the_kept_list_breaks_it(
            lambda: self._assemble(now.config, self._name_by(now.config), remembered, (), now.drains), remembered
        )
        log_changes(*_ends_meanwhile(remembered, self.snapshot))

    @property
    def config(self) -> Config:
        """The configuration at work: with the servers of the fleet's list, where there is one."""
        return self._parts.config

    @property
    def snapshot(self) -> Snapshot:
        """The world as it is now."""
        return self._parts.live.snapshot

    @property
    def about(self) -> About:
        """What views say of the node."""
        path = self._parts.key.path_for_chef_client() if self._parts.key else None
        return About(
            __version__,
            self._parts.node_name,
            str(path) if path else None,
            self._instance_id,
            boot_id=self._boot_id,
            runs=self.runs.history,
            discovery=self._discovery.standing,
        )

    def now(self) -> float:
        """Monotonic seconds, comparable with every instant in `snapshot`."""
        return self._machine.clock()

    def utc_now(self) -> datetime.datetime:
        """Wall time, for people."""
        return self._machine.utc_now()

    def start(self) -> None:
        """Begin probing."""
        self._scheduler.start()
        if self._is_new_here:
            self._save_soon()  # before anything exists that a copy of this disk must not go on with
        self._parts = self._unless_the_kept_list_breaks_it(self._with_upkeeps, memory.of(self.snapshot))
        self._parts.start()
        self._tell_in(self.config.metrics.textfile)
        self._following.wake(self._discovery.first_delay_s())

    def stop(self, timeout_s: float = 0.0) -> bool:
        """End probing and keep the state; whether all that was under way has ended within ``timeout_s``."""
        self._discovery.stop()
        self._following.cancel()
        self._parts.stop()
        self._telling.settle(LAST_SAVE_S)
        self._saving.settle(max(timeout_s, LAST_SAVE_S))
        return self._scheduler.stop(timeout_s)

    def measure(self) -> Measured:
        """What metrics show, but for what is counted."""
        return Measured(
            version=__version__,
            snapshot=self.snapshot,
            history=self.runs.history,
            runs_under_way=len(self.runs.under_way),
            faults=self.faults.count,
            fingerprint=self.config.fingerprint,
            now=self.now(),
        )

    def late(self) -> tuple[str, ...]:
        """What hangs: see `Scheduler.late`."""
        return self._scheduler.late()

    def refresh(self, *, waits: bool = True) -> None:
        """See `Watch.refresh`. A registration that is urgent is tried as soon as it may be."""
        self._hurry()
        self._parts.watch.refresh(waits=waits)

    def choose_for_run(self, max_age_s: float = math.inf, *, is_final: bool = True) -> tuple[Snapshot, Choice | None]:
        """See `Watch.choose_for_run`. A registration that the run needs is tried as soon as it may be."""
        if is_final:
            self._hurry()
        return self._parts.watch.choose_for_run(max_age_s, is_final=is_final)

    def _hurry(self) -> None:
        parts, snapshot = self._parts, self.snapshot
        late = [
            one.name
            for one in snapshot.servers
            if not one.is_registered and one.registration.awaited_at < one.registration.retry_at
        ]
        for name in filter(functools.partial(is_urgent, snapshot), late):
            parts.live.amend(name, hurried)
            parts.wake()

    def choose_at_once(self, max_age_s: float = math.inf) -> tuple[Snapshot, Choice | None] | None:
        """See `Watch.choose_at_once`."""
        return self._parts.watch.choose_at_once(max_age_s)

    def report_run(self, report: RunReport) -> None:
        """Take in what the shim says of a chef-client run."""
        self.runs.report(report)

    def associate(self, name: str, *, replaces: bool = False) -> bool:
        """Try to register with that server at once; False where other tools register it.

        It is probed as well, even if it asked to be left alone: one that serves this node then is no longer.
        With ``replaces`` an older registration under this node's name goes first, where a node may do that.
        """
        with self._swapping:  # or a reload would go on without it
            self._parts.watch.look_at(name, insists=True)
            return self._parts.upkeeps.retry_now(name, replaces=replaces)

    def steer(
        self, change: Callable[..., Snapshot], *arguments: object, **named: object
    ) -> tuple[Snapshot, str | None]:
        """Let a person's word have its effect, and write it down; the world after it, and why that failed.

        See `LiveSnapshot.steer`.
        """
        with self._swapping:  # or a reload would go on without it
            snapshot = self._parts.live.steer(change, *arguments, **named)
        try:
            self._saver.keep()
        except OSError as error:
            return snapshot, error.strerror or str(error)
        return snapshot, None

    def reload(self, config: Config) -> None:
        """Go on with ``config``, as config.yml has it; what is known of servers that stay the same is kept.

        Raises:
            IdentityError: the node's name cannot be found out; then nothing has changed.
        """
        with self._discovery.lock:
            now = self._discovery.effective_for(config)
            self._go_on(now.config, now.drains)
            self._discovery.use(config, now)
            self._following.wake()
        self.counters.reloaded(is_good=True)

    def _go_on_if_changed(self, now: Effective) -> None:
        """The fleet's list has been asked for. The lock of discovery is held, as for a reload."""
        if now.config != self.config:
            self._go_on(now.config, now.drains)
            names = ", ".join(server.name for server in now.config.servers)
            log.info("using the servers of %s: %s", now.listing.source if now.listing else "config.yml", names)
            return
        said = as_said(now.drains)
        with self._swapping:
            self._parts.live.steer(apply_listed_drains, said)

    def _fetch_list(self, settings: DiscoverySettings, version: str | None) -> list_fetch.Answer:
        if settings.source is not None and settings.source.store is not Store.FILE:
            self.counters.requested("", Purpose.LIST)
        return list_fetch.fetch(settings, version, self._ask_for_list)

    def _with_upkeeps(self) -> Assembly:
        self._parts.upkeeps.make()
        return self._parts

    def _unless_the_kept_list_breaks_it(self, make: Callable[[], Assembly], remembered: Remembered) -> Assembly:
        """What ``make`` makes. A list that was kept and breaks that is dropped, or it would break every start."""
        try:
            return make()
        except Exception as error:
            if not self._discovery.uses_kept_list:
                raise
            self.faults.add("cached server list", error)
            log.exception("the cached server list does not work and was dropped; using the servers of config.yml")
        config = self._discovery.drop()
        return self._assemble(config, self._name_by(config), remembered, (), ())

    def _go_on(self, config: Config, drains: tuple[ListedDrain, ...]) -> None:
        """Have what holds now take over. Nothing is stopped before its successor stands."""
        node_name = self._name_by(config)  # which may take seconds, or fail
        with self._swapping:
            before, former = self._parts, self.snapshot
            known = former.servers
            if _needs_of(config) != _needs_of(self.config):  # what was found there is not what is looked for now
                known = tuple(
                    attrs.evolve(server, node_check=None, run_evidence=RunEvidence(), was_known=False)
                    for server in known
                )
            parts = self._assemble(config, node_name, memory.of(former), known, drains)
            parts.upkeeps.make()
            before.upkeeps.stop()
            self._parts = parts
        before.stop()
        self._parts.start()
        self._tell_in(config.metrics.textfile)
        self.counters.changed(former, self.snapshot)
        log_changes(former, self.snapshot)
        self._changed(config, self.snapshot)

    def _name_by(self, config: Config) -> str | None:
        return self._machine.node_name(config.node.name) if config.node.name else None

    def reload_refused(self) -> None:
        """There was a new configuration, and it is no good."""
        self.counters.reloaded(is_good=False)
        self._telling.wake()

    def _tell_in(self, path: Path | None) -> None:
        self._textfile.use(path)
        self._telling.wake()

    def _assemble(
        self,
        config: Config,
        node_name: str | None,
        remembered: Remembered,
        known: tuple[ServerSnapshot, ...],
        drains: tuple[ListedDrain, ...],
    ) -> Assembly:
        parts = assemble(
            config,
            node_name,
            remembered,
            known,
            self._machine,
            scheduler=self._scheduler,
            on_change=self._changed,
            write_down=self._write_down,
            counters=self.counters,
            drains=drains,
        )
        self.counters.watch([server.name for server in config.servers])
        return parts

    def _look_at(self, name: str) -> None:
        self._parts.watch.look_at(name)

    def _run_ended(self, run: Run) -> None:
        with self._swapping:  # or a reload would go on without it
            server = self.snapshot.server(run.server) if run.server is not None else None
            self._parts.live.steer(apply_run, run)
            if server is not None and reading.is_asked_by(server, run):
                self._parts.upkeeps.reread_node(server.name)
        self.counters.ran(run.server, run.result)
        self._save_soon()
        self._telling.wake()

    def _changed(self, config: Config, snapshot: Snapshot) -> None:
        """Something of ``config`` has changed; what a reload has left behind changes nothing any more."""
        if config is self.config:
            self._save_soon()
            self._telling.wake()
            self._parts.wake()
            self._machine.on_change(snapshot)

    def _save_soon(self) -> None:
        self._saver.change()
        self._saving.wake()

    def _write_down(self) -> None:
        self._saver.change()
        self._saver.keep()

    def _metrics(self) -> bytes:
        return self.counters.expose().body

    def _save(self) -> None:
        snapshot = self.snapshot
        state.write(self._state_path, written.kept(snapshot, self.about, on=self.utc_now()))
        state.write_names(self._state_path.with_name(state.UNASSOCIATED_FILE_NAME), written.unassociated(snapshot))


def _ends_meanwhile(remembered: Remembered, snapshot: Snapshot) -> tuple[Snapshot, Snapshot]:
    """The world without and with what ended while the sidecar was down; the first choice of a life is no news."""
    old = [entry for entry in snapshot.transitions if entry.server is None or entry in remembered.transitions]
    return attrs.evolve(snapshot, transitions=tuple(old)), snapshot


def _needs_of(config: Config) -> tuple[str | None, ReadinessPolicy]:
    """Whose node objects are looked for, and what else."""
    return config.node.name, readiness_policy(config)
