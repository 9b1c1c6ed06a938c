"""Shell: what speaks to one server for this node: its prober, and its upkeep.

The daemon loads all of it after READY: no answer needs it, and it is a tenth of the start.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import attrs

from chef_failover.aws import call as aws
from chef_failover.chef import node_objects
from chef_failover.chef.https import ChefServer, Signer, Target
from chef_failover.chef.probes import Prober
from chef_failover.chef.signing import ChefAuth
from chef_failover.config.settings import Config, Server
from chef_failover.decide.registration import Spans
from chef_failover.decide.world import leave_alone
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.engine.node_upkeep import NodeUpkeep
from chef_failover.engine.registrar import Registrar
from chef_failover.engine.scheduler import Scheduler
from chef_failover.engine.upkeep import Upkeep
from chef_failover.metrics.counters import Purpose
from chef_failover.model.model import NodeCheck
from chef_failover.model.needs import NodeObject
from chef_failover.model.question import Question
from chef_failover.node.key import ClientKey
from chef_failover.node.machine import Machine
from chef_failover.registration.base import Registrant
from chef_failover.registration.providers import make_provider

Count = Callable[[Purpose], object]
"""Is told each request that is made, with its purpose."""


def chef_server_for(config: Config, server: Server, node_name: str | None, machine: Machine) -> ChefServer:
    """How this node speaks to ``server``, as ``config`` says."""
    target = Target(
        chef_server_url=config.chef_server_url(server),
        timeout_s=config.health.timeout,
        ca_file=server.ca_file,
        node_name=node_name or "",
        uses_environment_proxy=config.health.proxy == "environment",
    )
    return ChefServer(target, machine.resolver, machine.trust)


def make_prober(
    config: Config,
    server: Server,
    node_name: str | None,
    signer: Callable[[], Signer | None],
    machine: Machine,
    *,
    count: Count = lambda _: None,
) -> Prober:
    """What probes ``server`` as ``config`` says."""
    chef_server = attrs.evolve(
        chef_server_for(config, server, node_name, machine), count=lambda _: count(Purpose.PROBE)
    )
    return Prober(chef_server, signer=signer, clock=machine.clock, utc_now=machine.utc_now, chance=machine.rng.random)


def _purpose_of(url: str) -> Purpose:
    """What is asked beside the node's object and its ``_acl`` is for `parity`, and for what a run needs."""
    return Purpose.READING if "/nodes" in url else Purpose.PARITY


def signer_by(live: LiveSnapshot, name: str, key: ClientKey | None) -> Callable[[], Signer | None]:
    """Signs for that server once the node is registered there; before, it would only be told that it is a stranger."""

    def signer() -> Signer | None:
        server = live.snapshot.server(name)
        is_registered = server is not None and server.is_registered
        return key.signer() if key is not None and is_registered else None

    return signer


def make_upkeep(
    config: Config,
    server: Server,
    key: ClientKey,
    machine: Machine,
    *,
    scheduler: Scheduler,
    live: LiveSnapshot,
    write_down: Callable[[], None],
    look_at: Callable[[str], None],
    protocol: Callable[[], str],
    spans: Spans,
    count: Count,
) -> Upkeep:
    """What registers the node with ``server`` and looks after its object there, by the signing ``protocol`` of probes.

    For ``write_down`` see `assemble`.
    """
    chef_server = attrs.evolve(
        chef_server_for(config, server, key.node_name, machine),
        leave_alone=functools.partial(live.steer, leave_alone, server.name),
        count=lambda url: count(_purpose_of(url)),
    )

    def call(*arguments: Any, **named: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on
        count(Purpose.REGISTRATION)
        return aws.call(*arguments, **named)

    registering = attrs.evolve(chef_server, count=lambda _: count(Purpose.REGISTRATION))
    registrar = Registrar(
        server.name,
        live=live,
        provider=make_provider(config, server, registering, utc_now=machine.utc_now, rng=machine.rng, call=call),
        registrant=lambda: Registrant(key.node_name, key.ensure()),
        write_down=write_down,
        look_at=look_at,
        spans=spans,
        clock=machine.clock,
        utc_now=machine.utc_now,
        rng=machine.rng,
    )
    signer = signer_by(live, server.name, key)

    def check(question: Question) -> NodeCheck | None:
        sign = signer()
        if sign is None:
            return None
        known = live.snapshot.server(server.name)
        return node_objects.check(
            chef_server,
            sign(protocol()),
            question,
            former=known.node_check if known else None,
            clock=machine.clock,
            utc_now=machine.utc_now,
        )

    def create(node: NodeObject) -> bool:
        auth = ChefAuth(key.node_name, key.ensure(), protocol(), machine.utc_now)
        return node_objects.create(chef_server, auth, node, utc_now=machine.utc_now)

    def fill(node: NodeObject) -> bool:
        auth = ChefAuth(key.node_name, key.ensure(), protocol(), machine.utc_now)
        return node_objects.fill(chef_server, auth, node, utc_now=machine.utc_now)

    care = NodeUpkeep(
        server.name,
        live=live,
        check=check,
        create=create,
        fill=fill,
        clock=machine.clock,
        rng=machine.rng,
    )
    return Upkeep(server.name, registrar, care, scheduler)
