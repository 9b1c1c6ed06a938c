"""Shell: the parts of a sidecar, put together as one configuration says."""

from __future__ import annotations

import datetime
import functools
import math
import random
import socket
import time
from collections.abc import Callable, Sequence

import attrs

from chef_failover import boot, identity, node_objects, offline
from chef_failover.association.base import Applicant
from chef_failover.association.enrolment import Enrolment
from chef_failover.association.machine import identity_of
from chef_failover.association.providers import make_provider
from chef_failover.caretaker import Caretaker, Caretakers
from chef_failover.chef_api import ChefAuth
from chef_failover.chef_protocol import SIGNING_PROTOCOLS
from chef_failover.config import Config, NoAssociation, Server
from chef_failover.exchange import Exchange, Signer, Target
from chef_failover.fleet import Fleet
from chef_failover.fleet_list import ListedDrain, as_said
from chef_failover.health import Pace, Thresholds
from chef_failover.lookup import Resolver
from chef_failover.model import (
    Association,
    Choice,
    NodeCheck,
    Registration,
    SelectionPolicy,
    ServerSnapshot,
    Snapshot,
    Standing,
)
from chef_failover.needs import NodeObject, ParityMode, ReadinessMode, ReadinessPolicy
from chef_failover.node_care import NodeCare
from chef_failover.node_key import ClientKey
from chef_failover.probes import Prober
from chef_failover.state import Remembered
from chef_failover.steering import ABSENT_KEPT, with_order
from chef_failover.tally import Tally
from chef_failover.trust import TrustStore
from chef_failover.watch import Watch
from chef_failover.world import follow


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
    instance_id: Callable[[str | None], str | None] = identity.this_instance
    boot_id: Callable[[], str | None] = boot.boot_id
    on_change: Callable[[Snapshot], None] = lambda _: None


@attrs.frozen
class Assembly:
    """One configuration at work. ``key`` is None for a node without a name: nothing of it is ever signed."""

    config: Config
    node_name: str | None
    key: ClientKey | None
    watch: Watch
    caretakers: Caretakers

    @property
    def faults(self) -> int:
        """How often one of the loops broke by a fault of ours."""
        return self.watch.faults + self.caretakers.faults

    def start(self) -> None:
        """Begin to probe and to register. A node that is not registered yet does not wait for its turn to probe."""
        self.watch.start()
        for server in self.watch.fleet.snapshot.servers:
            if server.association is not Association.ASSOCIATED:
                self.watch.look_at(server.name)
        self.caretakers.start()

    def stop(self) -> None:
        """End; what is under way may still report."""
        self.watch.stop()
        self.caretakers.stop()


def assemble(
    config: Config,
    node_name: str | None,
    remembered: Remembered,
    known: tuple[ServerSnapshot, ...],
    around: Surroundings,
    *,
    on_change: Callable[[Config, Snapshot], None],
    write_down: Callable[[], None],
    tally: Tally,
    drains: Sequence[ListedDrain] = (),
) -> Assembly:
    """Everything for ``config``, not started yet.

    Args:
        config: the whole configuration.
        node_name: as the configuration has it, with its placeholders filled in; None leaves it to chef-client.
        remembered: what a former life left, or the configuration before this one.
        known: servers as the configuration before this one knew them.
        around: the machine.
        on_change: called after each change that is worth keeping.
        write_down: keeps the state before it returns; may raise OSError.
        tally: counts what happens.
        drains: those of the fleet's list.
    """
    held = [one for one in remembered.registrations.values() if one.association is Association.ASSOCIATED]
    is_known = any(one.identity is not None for one in held)
    key = ClientKey(config, node_name, may_make=not is_known) if node_name else None
    first = _first_snapshot(config, remembered, known, node_name or socket.gethostname(), key)
    fleet = Fleet(
        follow(first, as_said(drains), now=around.clock(), on=around.utc_now()),
        Thresholds(config.health.rise, config.health.fall),
        clock=around.clock,
        utc_now=around.utc_now,
        on_change=functools.partial(on_change, config),
        tally=tally,
    )
    probers = {
        str(server.name): make_prober(config, server, node_name, _signer(fleet, server.name, key), around)
        for server in config.servers
    }
    watch = Watch(
        fleet,
        {name: prober.probe for name, prober in probers.items()},
        look=functools.partial(
            offline.look, [server.url for server in config.servers], around.resolver, config.health.timeout
        ),
        pace=Pace(config.health.interval, config.health.retry_interval),
        timeout_s=config.health.timeout,
        fresh_for_s=config.health.fresh_for,
        clock=around.clock,
        rng=around.rng,
    )
    caretakers = Caretakers(
        _caretaker(config, server, fleet, key, around, write_down=write_down, look_at=watch.look_at)
        for server in config.servers
        if key is not None
    )
    return Assembly(config, node_name, key, watch, caretakers)


def readiness_policy(config: Config) -> ReadinessPolicy:
    """What ``config`` says of readiness."""
    return ReadinessPolicy(ReadinessMode(config.readiness), config.node.policy_group, config.node.policy_name)


def make_exchange(config: Config, server: Server, node_name: str | None, around: Surroundings) -> Exchange:
    """How this node speaks to ``server``, as ``config`` says."""
    target = Target(
        chef_server_url=config.chef_server_url(server),
        timeout_s=config.health.timeout,
        ca_file=server.ca_file,
        node_name=node_name,
        uses_environment_proxy=config.health.proxy == "environment",
    )
    return Exchange(target, around.resolver, around.trust)


def make_prober(
    config: Config,
    server: Server,
    node_name: str | None,
    signer: Callable[[], Signer | None],
    around: Surroundings,
) -> Prober:
    """What probes ``server`` as ``config`` says."""
    exchange = make_exchange(config, server, node_name, around)
    return Prober(exchange, signer=signer, clock=around.clock, utc_now=around.utc_now)


def _signer(fleet: Fleet, name: str, key: ClientKey | None) -> Callable[[], Signer | None]:
    """Signs for that server once the node is registered there; before, it would only be told that it is a stranger."""

    def signer() -> Signer | None:
        server = fleet.snapshot.server(name)
        is_associated = server is not None and server.association is Association.ASSOCIATED
        return key.signer() if key is not None and is_associated else None

    return signer


def _caretaker(
    config: Config,
    server: Server,
    fleet: Fleet,
    key: ClientKey,
    around: Surroundings,
    *,
    write_down: Callable[[], None],
    look_at: Callable[[str], None],
) -> Caretaker:
    exchange = make_exchange(config, server, key.node_name, around)
    enrolment = Enrolment(
        server.name,
        fleet=fleet,
        provider=make_provider(config, server, exchange, utc_now=around.utc_now, rng=around.rng),
        applicant=lambda: Applicant(key.node_name, key.ensure()),
        write_down=write_down,
        look_at=look_at,
        clock=around.clock,
        utc_now=around.utc_now,
        rng=around.rng,
    )
    signer = _signer(fleet, server.name, key)
    policy = readiness_policy(config)

    def check(in_doubt: bool) -> NodeCheck | None:
        sign = signer()
        if sign is None:
            return None
        known = fleet.snapshot.server(server.name)
        return node_objects.check(
            exchange,
            sign(SIGNING_PROTOCOLS[0]),
            policy,
            compares=config.parity != "off",
            former=known.node_check if known and not in_doubt else None,
            clock=around.clock,
            utc_now=around.utc_now,
        )

    def create(node: NodeObject) -> bool:
        auth = ChefAuth(key.node_name, key.ensure(), utc_now=around.utc_now)
        return node_objects.create(exchange, auth, key.node_name, node, utc_now=around.utc_now)

    care = NodeCare(
        server.name, fleet=fleet, check=check, create=create, look_at=look_at, clock=around.clock, rng=around.rng
    )
    return Caretaker(server.name, enrolment, care)


def _first_snapshot(
    config: Config, remembered: Remembered, known: tuple[ServerSnapshot, ...], identity: str, key: ClientKey | None
) -> Snapshot:
    """The world before the first probe: servers that are still the same keep what is ``known`` of them."""
    kept = {(server.name, server.chef_server_url, server.ca_file): server for server in known}
    existing = key.private_key() if key is not None else None
    whose = identity_of(identity, existing.public_pem()) if existing is not None else None
    servers = []
    for server in config.servers:
        fresh = ServerSnapshot(
            name=server.name,
            url=server.url,
            chef_server_url=config.chef_server_url(server),
            priority=config.priority(server),
            ca_file=str(server.ca_file) if server.ca_file else None,
            had_work=server.name in remembered.with_work,
        )
        same = kept.get((fresh.name, fresh.chef_server_url, fresh.ca_file), fresh)
        registration = _first_registration(
            server, remembered.registrations.get((fresh.name, fresh.chef_server_url)), whose
        )
        had_work = same.had_work or fresh.had_work
        servers.append(
            attrs.evolve(same, priority=fresh.priority, registration=registration, drain=None, had_work=had_work)
        )
    choice = None
    if any(server.name == remembered.choice for server in servers):
        choice = Choice(str(remembered.choice), standing=Standing.ELIGIBLE)
    snapshot = Snapshot(
        servers=tuple(servers),
        policy=SelectionPolicy(
            config.selection.failback, identity, readiness_policy(config), ParityMode(config.parity)
        ),
        choice=choice,
        chosen_on=remembered.chosen_on if choice else None,
        is_choice_remembered=choice is not None,
        lagging_since=remembered.lagging_since if choice else None,
        absent_registrations=_absent_registrations(remembered, servers),
        pin=remembered.pin,
        transitions=remembered.transitions,
    )
    for drain in remembered.drains:
        snapshot = with_order(snapshot, drain)
    return snapshot


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

    A key that cannot be read now (``whose`` is None) says nothing. What had failed is tried again at once: whoever
    reloads may just have mended it.
    """
    if isinstance(server.association, NoAssociation):
        return Registration()
    if remembered is None or remembered.identity is None or whose not in (None, remembered.identity):
        return Registration(Association.UNASSOCIATED)
    if remembered.association in (Association.FAILED, Association.REFUSED):
        return attrs.evolve(remembered, attempts=0, retry_at=-math.inf)
    return remembered
