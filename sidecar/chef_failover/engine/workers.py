"""Shell: what speaks to one server for this node: its prober, and its caretaker.

The daemon loads all of it after READY: no answer needs it, and it is a tenth of the start.
"""

from __future__ import annotations

from collections.abc import Callable

from chef_failover.chef import node_objects
from chef_failover.chef.https import ChefServer, Signer, Target
from chef_failover.chef.probes import Prober
from chef_failover.chef.protocol import SIGNING_PROTOCOLS
from chef_failover.chef.signing import ChefAuth
from chef_failover.config.settings import Config, Server
from chef_failover.engine.caretaker import Caretaker
from chef_failover.engine.enrolment import Enrolment
from chef_failover.engine.fleet import Fleet
from chef_failover.engine.node_care import NodeCare
from chef_failover.model.model import Association, NodeCheck
from chef_failover.model.needs import NodeObject, ReadinessPolicy
from chef_failover.node.key import ClientKey
from chef_failover.node.surroundings import Surroundings
from chef_failover.registration.base import Applicant
from chef_failover.registration.providers import make_provider


def _exchange(config: Config, server: Server, node_name: str | None, around: Surroundings) -> ChefServer:
    """How this node speaks to ``server``, as ``config`` says."""
    target = Target(
        chef_server_url=config.chef_server_url(server),
        timeout_s=config.health.timeout,
        ca_file=server.ca_file,
        node_name=node_name,
        uses_environment_proxy=config.health.proxy == "environment",
    )
    return ChefServer(target, around.resolver, around.trust)


def make_prober(
    config: Config,
    server: Server,
    node_name: str | None,
    signer: Callable[[], Signer | None],
    around: Surroundings,
) -> Prober:
    """What probes ``server`` as ``config`` says."""
    exchange = _exchange(config, server, node_name, around)
    return Prober(exchange, signer=signer, clock=around.clock, utc_now=around.utc_now)


def signer_by(fleet: Fleet, name: str, key: ClientKey | None) -> Callable[[], Signer | None]:
    """Signs for that server once the node is registered there; before, it would only be told that it is a stranger."""

    def signer() -> Signer | None:
        server = fleet.snapshot.server(name)
        is_associated = server is not None and server.association is Association.ASSOCIATED
        return key.signer() if key is not None and is_associated else None

    return signer


def make_caretaker(
    config: Config,
    server: Server,
    key: ClientKey,
    around: Surroundings,
    *,
    fleet: Fleet,
    policy: ReadinessPolicy,
    write_down: Callable[[], None],
    look_at: Callable[[str], None],
) -> Caretaker:
    """What registers the node with ``server`` and looks after its object there. For ``write_down`` see `assemble`."""
    exchange = _exchange(config, server, key.node_name, around)
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
    signer = signer_by(fleet, server.name, key)

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

    def fill(node: NodeObject) -> bool:
        auth = ChefAuth(key.node_name, key.ensure(), utc_now=around.utc_now)
        return node_objects.fill(exchange, auth, key.node_name, node, utc_now=around.utc_now)

    care = NodeCare(
        server.name,
        fleet=fleet,
        check=check,
        create=create,
        fill=fill,
        look_at=look_at,
        clock=around.clock,
        rng=around.rng,
    )
    return Caretaker(server.name, enrolment, care)
