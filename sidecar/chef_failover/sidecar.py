"""Shell: the sidecar without its outside: one configuration at work, replaced whole by the next.

Here the parts are put together; how the outside reaches it (listeners, signals, systemd) is `daemon`.
"""

from __future__ import annotations

import datetime
import functools
import logging
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from chef_failover import __version__, identity, offline, render, state
from chef_failover.config import Config, Server
from chef_failover.exchange import Exchange, Signer, Target
from chef_failover.fleet import Fleet, log_changes
from chef_failover.health import Pace, Thresholds
from chef_failover.identity import ClientKey
from chef_failover.keeper import Keeper
from chef_failover.lookup import Resolver
from chef_failover.model import (
    Choice,
    HealthState,
    ReadinessMode,
    ReadinessPolicy,
    SelectionPolicy,
    ServerSnapshot,
    Snapshot,
    Standing,
)
from chef_failover.probes import Prober
from chef_failover.render import About
from chef_failover.runs import RunReport, Runs
from chef_failover.state import Remembered
from chef_failover.trust import TrustStore
from chef_failover.watch import Watch

log = logging.getLogger(__name__)

LAST_SAVE_S = 0.3
"""How long the last write may take when we stop."""


@attrs.frozen
class Surroundings:
    """What a sidecar takes from the machine it runs on, so that a test can give it another."""

    clock: Callable[[], float] = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    """Seconds that never jump. BOOTTIME goes on while the machine sleeps, so results are old when it wakes."""
    utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    rng: random.Random = attrs.field(factory=random.Random)
    resolver: Resolver = attrs.field(factory=Resolver)
    trust: TrustStore = attrs.field(factory=TrustStore)
    node_name: Callable[[str], str] = lambda pattern: identity.node_name(pattern, identity.sources())
    on_change: Callable[[Snapshot], None] = lambda _: None


class Sidecar:
    """Watches the servers of ``config`` from `start` to `stop`.

    Raises:
        IdentityError: the node's name cannot be found out.
    """

    def __init__(self, config: Config, surroundings: Surroundings | None = None) -> None:
        self._around = surroundings or Surroundings()
        self._state_path = config.state_dir / state.FILE_NAME
        self._keeper = Keeper(self._save)
        self.runs = Runs(self._look_at, self._around.clock)
        remembered = state.read(self._state_path, self._around.utc_now())
        for sentence in remembered.problems:
            log.warning("%s", sentence)
        self.config = config
        self._node_name, self._watch = self._assemble(config, remembered, ())

    @property
    def snapshot(self) -> Snapshot:
        """The world as it is now."""
        return self._watch.fleet.snapshot

    @property
    def about(self) -> About:
        """What views say of the node. The key is named once it exists, or when the configuration names it."""
        key = self.config.client_key
        is_named = self._node_name is not None and (self.config.node.client_key is not None or key.exists())
        return About(__version__, self._node_name, str(key) if is_named else None)

    def now(self) -> float:
        """Monotonic seconds, comparable with every instant in `snapshot`."""
        return self._around.clock()

    def utc_now(self) -> datetime.datetime:
        """Wall time, for people."""
        return self._around.utc_now()

    def start(self) -> None:
        """Begin probing."""
        self._keeper.start()
        self._watch.start()

    def stop(self, timeout_s: float = 0.0) -> bool:
        """End probing and keep the state; whether all loops have ended within ``timeout_s``."""
        self._watch.stop()
        self._keeper.stop(max(timeout_s, LAST_SAVE_S))
        return self._watch.join(timeout_s)

    def late(self) -> tuple[str, ...]:
        """The servers whose probing loop hangs."""
        return self._watch.late()

    def must_wait(self) -> bool:
        """Whether `choose_for_run` would have to wait for a probe."""
        return self._watch.must_wait()

    def choose_for_run(self) -> tuple[Snapshot, Choice | None]:
        """See `Watch.choose_for_run`."""
        return self._watch.choose_for_run()

    def report_run(self, report: RunReport) -> None:
        """Take in what the shim says of a chef-client run."""
        self.runs.report(report)

    def reload(self, config: Config) -> None:
        """Go on with ``config``; what is known of servers that stay the same is kept.

        Raises:
            IdentityError: the node's name cannot be found out; then nothing has changed.
        """
        former = self.snapshot
        known = former.servers
        if readiness_policy(config) != readiness_policy(self.config):  # what was found is not what is looked for now
            known = tuple(attrs.evolve(server, readiness=HealthState(), node_check=None) for server in known)
        remembered = Remembered(former.choice.name if former.choice else None, former.chosen_on, former.transitions)
        node_name, watch = self._assemble(config, remembered, known)
        self._watch.stop()
        self.config, self._node_name, self._watch = config, node_name, watch
        watch.start()
        log_changes(former, watch.fleet.snapshot)
        self._changed(config, watch.fleet.snapshot)

    def _assemble(
        self, config: Config, remembered: Remembered, known: tuple[ServerSnapshot, ...]
    ) -> tuple[str | None, Watch]:
        node_name = self._around.node_name(config.node.name) if config.node.name else None
        signer = ClientKey(config.client_key, node_name).signer if node_name else lambda: None
        fleet = Fleet(
            _first_snapshot(config, remembered, known, node_name or socket.gethostname()),
            Thresholds(config.health.rise, config.health.fall),
            clock=self._around.clock,
            utc_now=self._around.utc_now,
            on_change=functools.partial(self._changed, config),
        )
        probes = {
            str(server.name): make_prober(config, server, node_name, signer, self._around).probe
            for server in config.servers
        }
        watch = Watch(
            fleet,
            probes,
            look=functools.partial(
                offline.look, [server.url for server in config.servers], self._around.resolver, config.health.timeout
            ),
            pace=Pace(config.health.interval, config.health.retry_interval),
            timeout_s=config.health.timeout,
            fresh_for_s=config.health.fresh_for,
            clock=self._around.clock,
            rng=self._around.rng,
        )
        return node_name, watch

    def _look_at(self, name: str) -> None:
        self._watch.look_at(name)

    def _changed(self, config: Config, snapshot: Snapshot) -> None:
        """A probe of ``config`` changed something; one that a reload has left behind changes nothing any more."""
        if config is self.config:
            self._keeper.change()
            self._around.on_change(snapshot)

    def _save(self) -> None:
        state.write(self._state_path, render.state(self.snapshot, self.about, on=self.utc_now()))


def make_prober(
    config: Config,
    server: Server,
    node_name: str | None,
    signer: Callable[[], Signer | None],
    around: Surroundings,
) -> Prober:
    """What probes ``server`` as ``config`` says."""
    target = Target(
        chef_server_url=config.chef_server_url(server),
        timeout_s=config.health.timeout,
        ca_file=server.ca_file,
        node_name=node_name,
        uses_environment_proxy=config.health.proxy == "environment",
    )
    return Prober(
        Exchange(target, around.resolver, around.trust),
        signer=signer,
        clock=around.clock,
        utc_now=around.utc_now,
    )


def readiness_policy(config: Config) -> ReadinessPolicy:
    """What ``config`` says of readiness."""
    return ReadinessPolicy(ReadinessMode(config.readiness), config.node.policy_group, config.node.policy_name)


def _first_snapshot(
    config: Config, remembered: Remembered, known: tuple[ServerSnapshot, ...], identity: str
) -> Snapshot:
    """The world before the first probe: servers that are still the same keep what is ``known`` of them."""
    kept = {(server.name, server.chef_server_url, server.ca_file): server for server in known}
    servers = []
    for server in config.servers:
        ca_file: Path | None = server.ca_file
        fresh = ServerSnapshot(
            name=server.name,
            url=server.url,
            chef_server_url=config.chef_server_url(server),
            priority=config.priority(server),
            ca_file=str(ca_file) if ca_file else None,
        )
        same = kept.get((fresh.name, fresh.chef_server_url, fresh.ca_file))
        servers.append(attrs.evolve(same, priority=fresh.priority) if same else fresh)
    choice = None
    if any(server.name == remembered.choice for server in servers):
        choice = Choice(str(remembered.choice), standing=Standing.ELIGIBLE)
    return Snapshot(
        servers=tuple(servers),
        policy=SelectionPolicy(config.selection.failback, identity, readiness_policy(config)),
        choice=choice,
        chosen_on=remembered.chosen_on if choice else None,
        is_choice_remembered=choice is not None,
        transitions=remembered.transitions,
    )
