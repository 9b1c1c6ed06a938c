"""Shell: the parts of a sidecar, put together as one configuration says."""

from __future__ import annotations

import functools
import math
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from chef_failover.config.settings import Config, NoAssociation, Server
from chef_failover.config.urls import place
from chef_failover.decide.registration import Spans, is_urgent, put_off, spans
from chef_failover.decide.steering import ABSENT_KEPT, carried
from chef_failover.decide.world import apply_listed_drains
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.engine.scheduler import Scheduler, Task
from chef_failover.engine.upkeep import Upkeep, Upkeeps
from chef_failover.engine.watch import Watch
from chef_failover.metrics.counters import Counters
from chef_failover.model.model import (
    Choice,
    Pace,
    ProbeResult,
    Registration,
    RegistrationState,
    RiseFall,
    SelectionPolicy,
    ServerSnapshot,
    Snapshot,
    Standing,
    Thresholds,
)
from chef_failover.model.needs import ParityMode, ReadinessMode, ReadinessPolicy
from chef_failover.model.run_history import RunEvidence
from chef_failover.node import offline
from chef_failover.node.key import ClientKey
from chef_failover.node.machine import Machine
from chef_failover.registration.base import Registrant
from chef_failover.server_list.listing import ListedDrain, as_said
from chef_failover.state.remembered import Known, Remembered, renamed

if TYPE_CHECKING:
    from chef_failover.chef.probes import Prober


@attrs.frozen
class Assembly:
    """One configuration at work. ``key`` is None for a node without a name: nothing of it is ever signed."""

    config: Config
    node_name: str | None
    key: ClientKey | None
    live: LiveSnapshot
    watch: Watch
    upkeeps: Upkeeps
    ends: Task
    """Ends the drains and pins whose time is over."""

    def start(self) -> None:
        """Begin to probe and to register."""
        self.watch.start()
        self.ends.wake()
        self.upkeeps.start()

    def wake(self) -> None:
        """The world has changed: there may be something to do."""
        self.ends.wake()
        self.upkeeps.wake()

    def stop(self) -> None:
        """End; what is under way may still report."""
        self.watch.stop()
        self.ends.cancel()
        self.upkeeps.stop()


def assemble(
    config: Config,
    node_name: str | None,
    remembered: Remembered,
    known: tuple[ServerSnapshot, ...],
    machine: Machine,
    *,
    scheduler: Scheduler,
    on_change: Callable[[Config, Snapshot], None],
    write_down: Callable[[], None],
    counters: Counters,
    drains: Sequence[ListedDrain] = (),
) -> Assembly:
    """Everything for ``config``, not started yet.

    Args:
        config: the whole configuration.
        node_name: as the configuration has it, with its placeholders filled in; None leaves it to chef-client.
        remembered: what a former life left, or the configuration before this one.
        known: servers as the configuration before this one knew them.
        machine: the machine.
        scheduler: does it; on the machine's clock.
        on_change: called after each change that is worth keeping.
        write_down: keeps the state before it returns; may raise OSError.
        counters: counts what happens.
        drains: those of the fleet's list.
    """
    held = [one for one in remembered.registrations.values() if one.state is RegistrationState.REGISTERED]
    is_known = any(one.identity is not None for one in held)
    key = ClientKey(config, node_name, may_make=not is_known) if node_name else None
    whose = node_name or socket.gethostname()
    spread = spans(config.selection.failback, config.fleet.nodes)
    first = _first_snapshot(config, remembered, known, whose, key, now=machine.clock())
    first = apply_listed_drains(first, as_said(drains), now=machine.clock(), on=machine.utc_now())
    live = LiveSnapshot(
        _with_first_attempts(first, spread, now=machine.clock(), rng=machine.rng),
        clock=machine.clock,
        utc_now=machine.utc_now,
        on_change=functools.partial(on_change, config),
        counters=counters,
    )
    probers = {
        str(server.name): _prober(config, server, machine, live=live, key=key, counters=counters)
        for server in config.servers
    }
    watch = Watch(
        live,
        {name: functools.partial(_probe, live, name, prober) for name, prober in probers.items()},
        look=functools.partial(
            offline.look, [server.url for server in config.servers], machine.resolver, config.health.timeout
        ),
        pace=Pace(config.health.interval, config.health.retry_interval),
        timeout_s=config.health.timeout,
        fresh_for_s=config.health.fresh_for,
        lacks_key=lambda: key is not None and key.is_awaited,
        scheduler=scheduler,
        rng=machine.rng,
    )

    def upkeeps() -> Iterator[Upkeep]:
        from chef_failover.engine.workers import make_upkeep  # noqa: PLC0415 - see there

        for server in config.servers:
            if key is not None:
                yield make_upkeep(
                    config,
                    server,
                    key,
                    machine,
                    scheduler=scheduler,
                    live=live,
                    write_down=write_down,
                    look_at=watch.look_at,
                    protocol=lambda prober=probers[server.name]: prober().protocol,  # type: ignore[misc]
                    spans=spread,
                    count=functools.partial(counters.requested, server.name),
                )

    ends = scheduler.task("expiry of drains and pins", live.end_what_is_over, pool=scheduler.probes)
    return Assembly(config, node_name, key, live, watch, Upkeeps(upkeeps), ends)


def _prober(
    config: Config,
    server: Server,
    machine: Machine,
    *,
    live: LiveSnapshot,
    key: ClientKey | None,
    counters: Counters,
) -> Callable[[], Prober]:
    """What probes ``server``, made at first use."""

    @functools.cache
    def prober() -> Prober:
        from chef_failover.engine import workers  # noqa: PLC0415 - see there

        node_name = key.node_name if key is not None else None
        signer = workers.signer_by(live, server.name, key)
        count = functools.partial(counters.requested, server.name)
        return workers.make_prober(config, server, node_name, signer, machine, count=count)

    return prober


def _probe(live: LiveSnapshot, name: str, prober: Callable[[], Prober]) -> ProbeResult:
    known = live.snapshot.server(name)
    return prober().probe(doubted_at=known.save_failed_at if known else -math.inf)


def readiness_policy(config: Config) -> ReadinessPolicy:
    """What ``config`` says of readiness."""
    return ReadinessPolicy(ReadinessMode(config.readiness), config.node.policy_group, config.node.policy_name)


def _first_snapshot(
    config: Config,
    remembered: Remembered,
    known: tuple[ServerSnapshot, ...],
    identity: str,
    key: ClientKey | None,
    *,
    now: float,
) -> Snapshot:
    """The world before the first probe: servers that are still the same keep what is ``known`` of them."""
    kept = {(place(server.chef_server_url), server.ca_file): server for server in known}
    remembered = renamed(remembered, _new_names(config, remembered))
    existing = key.private_key() if key is not None else None
    whose = Registrant(identity, existing).identity if existing is not None else None
    servers = []
    for server in config.servers:
        formerly = _known(remembered, server.name, config.chef_server_url(server))
        fresh = ServerSnapshot(
            name=server.name,
            url=server.url,
            chef_server_url=config.chef_server_url(server),
            priority=config.priority(server),
            ca_file=str(server.ca_file) if server.ca_file else None,
            had_useful_node_object=server.name in remembered.with_work,
            lacked_object_at=now if server.name in remembered.without_object else None,
            liveness=RiseFall(changed_at=formerly.well_since),
            returns=formerly.returns,
            was_known=formerly.was_read,
            was_stale=server.name in remembered.stale,
        )
        evidence = remembered.run_evidence.get((fresh.name, fresh.chef_server_url), RunEvidence())
        fresh = attrs.evolve(fresh, run_evidence=evidence)
        same = kept.get((place(fresh.chef_server_url), fresh.ca_file), fresh)
        registration = _first_registration(
            server, remembered.registrations.get((fresh.name, fresh.chef_server_url)), whose
        )
        is_registered = registration.state is RegistrationState.REGISTERED
        has_succeeded = same.has_had_success and is_registered  # otherwise it may have been another node's run
        servers.append(
            attrs.evolve(
                same,
                name=fresh.name,
                url=fresh.url,
                chef_server_url=fresh.chef_server_url,
                priority=fresh.priority,
                registration=registration,
                run_evidence=attrs.evolve(same.run_evidence, has_succeeded=has_succeeded),
                had_useful_node_object=same.had_useful_node_object or fresh.had_useful_node_object,
                lacked_object_at=fresh.lacked_object_at if same.lacked_object_at is None else same.lacked_object_at,
            )
        )
    choice = None
    if any(server.name == remembered.choice for server in servers):
        choice = Choice(str(remembered.choice), standing=Standing.ELIGIBLE)
    use = remembered.use if remembered.use is not None and remembered.use.whose == identity else None
    return Snapshot(
        servers=tuple(servers),
        policy=SelectionPolicy(
            config.selection.failback,
            identity,
            readiness_policy(config),
            ParityMode(config.parity),
            Thresholds(config.health.rise, config.health.fall),
        ),
        choice=choice,
        chosen_on=remembered.chosen_on if choice else None,
        is_choice_remembered=choice is not None,
        absent_registrations=_absent_registrations(remembered, servers),
        orders=carried(remembered.orders, {server.name for server in servers}),
        transitions=remembered.transitions,
        used=use.used if use else None,
        used_since=use.at if use else -math.inf,
        used_on=use.on if use else None,
        used_server=use.server if use else None,
    )


def _with_first_attempts(snapshot: Snapshot, spread: Spans, *, now: float, rng: random.Random) -> Snapshot:
    """``snapshot`` with the instants at which registrations are first tried."""
    for server in snapshot.servers:
        registration = server.registration
        is_new = registration.state is RegistrationState.UNREGISTERED and registration.retry_at == -math.inf
        if is_new:
            hurries = is_urgent(snapshot, server.name)
            registration = put_off(registration, spread, now=now, chance=rng.random(), is_urgent=hurries)
            snapshot = snapshot.with_server(attrs.evolve(server, registration=registration))
    return snapshot


def _new_names(config: Config, remembered: Remembered) -> dict[str, str]:
    """The names that servers have now which had others, by these."""
    names = {place(config.chef_server_url(server)): str(server.name) for server in config.servers}
    found = {name: names.get(place(known.chef_server_url), name) for name, known in remembered.servers.items()}
    return {old: new for old, new in found.items() if old != new}


def _known(remembered: Remembered, name: str, chef_server_url: str) -> Known:
    known = remembered.servers.get(name)
    return known if known is not None and known.chef_server_url == chef_server_url else Known(chef_server_url)


def _absent_registrations(
    remembered: Remembered, servers: Sequence[ServerSnapshot]
) -> tuple[tuple[str, str, Registration], ...]:
    """What is known of servers that are not configured now. A name that is taken again elsewhere loses it."""
    names = {server.name for server in servers}
    absent = [
        (name, url, registration)
        for (name, url), registration in remembered.registrations.items()
        if name not in names and registration.identity is not None
    ]
    return tuple(absent[-ABSENT_KEPT:])


def _first_registration(server: Server, remembered: Registration | None, whose: str | None) -> Registration:
    """What was known of the registration, if it is of this very node: another name or key is another node.

    A key that cannot be read now (``whose`` is None) says nothing. What had failed is tried again at once, since a
    person who reloads may just have mended it; but a server that throttles is left alone for as long as before.
    """
    if isinstance(server.association, NoAssociation):
        return Registration()
    is_untried = remembered is not None and remembered.state is RegistrationState.UNREGISTERED
    if remembered is None or (remembered.identity is None and not is_untried):
        return Registration(RegistrationState.UNREGISTERED)
    if remembered.identity is not None and whose not in (None, remembered.identity):
        return Registration(RegistrationState.UNREGISTERED)
    has_failed = remembered.state in (RegistrationState.FAILED, RegistrationState.REFUSED)
    if has_failed and remembered.throttled_since is None:
        return attrs.evolve(remembered, attempts=0, retry_at=-math.inf, urgent_at=-math.inf)
    return remembered
