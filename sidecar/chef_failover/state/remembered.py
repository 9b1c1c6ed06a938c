"""Pure: what a former life, or the configuration before this one, knew of the node and its servers."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import attrs

from chef_failover.decide.parity import is_behind
from chef_failover.model.model import Registration, Returns, Snapshot, Transition
from chef_failover.model.orders import Order, Orders
from chef_failover.model.run_history import RunEvidence, RunHistory, Used

_DEGRADED = " (degraded)"


@attrs.frozen
class Known:
    """A server of a former life: where it was and, if it was UP, since when by the clock of this boot."""

    chef_server_url: str
    well_since: float | None = None
    returns: Returns = Returns()
    was_read: bool = False
    """As `ServerSnapshot.is_known` has it."""


@attrs.frozen
class KnownUse:
    """What runs of the node ``whose`` use, and since when: ``at`` on the monotonic clock, ``on`` in wall time."""

    used: Used
    whose: str
    """As `SelectionPolicy.identity` has it."""
    at: float
    on: datetime.datetime
    server: str | None = None
    """As `Snapshot.used_server` has it."""


@attrs.frozen
class Remembered:
    """What a former life left. ``problems`` has a sentence for each thing that was dropped."""

    choice: str | None = None
    chosen_on: datetime.datetime | None = None
    transitions: tuple[Transition, ...] = ()
    registrations: Mapping[tuple[str, str], Registration] = attrs.field(factory=dict)
    """By name and ``chef_server_url`` of the server: registered somewhere else is not registered here."""
    history: RunHistory = RunHistory()
    run_evidence: Mapping[tuple[str, str], RunEvidence] = attrs.field(factory=dict)
    """By name and ``chef_server_url`` of the server."""
    orders: Orders = Orders()
    reason: str | None = None
    """Why the choice was made, in words."""
    problems: tuple[str, ...] = ()
    with_work: frozenset[str] = frozenset()
    """The servers that had an object of this node which does something."""
    without_object: frozenset[str] = frozenset()
    """The servers where what is empty was left so by a run; see `ServerSnapshot.lacked_object_at`."""
    stale: frozenset[str] = frozenset()
    """The servers that had something older than runs use."""
    is_useless: bool = False
    """The file holds nothing that we can use."""
    instance_id: str | None = None
    """The EC2 instance that it was written on."""
    servers: Mapping[str, Known] = attrs.field(factory=dict)
    """By name, all that were configured."""
    use: KnownUse | None = None


def of(snapshot: Snapshot) -> Remembered:
    """What would be remembered of ``snapshot``."""
    registrations = {(name, url): registration for name, url, registration in snapshot.absent_registrations}
    registrations |= {(server.name, server.chef_server_url): server.registration for server in snapshot.servers}
    choice = snapshot.choice.name if snapshot.choice else None
    return Remembered(
        choice,
        snapshot.chosen_on,
        snapshot.transitions,
        registrations,
        orders=snapshot.orders,
        with_work=frozenset(server.name for server in snapshot.servers if server.has_useful_node_object),
        without_object=frozenset(server.name for server in snapshot.servers if server.lacked_object_at is not None),
        stale=frozenset(server.name for server in snapshot.servers if is_behind(snapshot, server)),
        servers={
            server.name: Known(server.chef_server_url, returns=server.returns, was_read=server.is_known)
            for server in snapshot.servers
        },
        use=_use_of(snapshot),
    )


def _use_of(snapshot: Snapshot) -> KnownUse | None:
    if snapshot.used is None or snapshot.used_on is None:
        return None
    return KnownUse(
        snapshot.used, snapshot.policy.identity, snapshot.used_since, snapshot.used_on, snapshot.used_server
    )


def renamed(remembered: Remembered, names: Mapping[str, str]) -> Remembered:
    """``remembered`` with each server under its new name; ``names`` has these by the former ones, which had its URL."""

    def new(name: str) -> str:
        return names.get(name, name)

    def maybe_new(name: str | None) -> str | None:
        return None if name is None else new(name)

    def of_order(order: Order) -> Order:
        return attrs.evolve(order, server=new(order.server), in_use=maybe_new(order.in_use))

    def of_choice(label: str) -> str:
        name = label.removesuffix(_DEGRADED)
        return new(name) + label[len(name) :]

    def of_transition(entry: Transition) -> Transition:
        if entry.server is not None:
            return attrs.evolve(entry, server=new(entry.server))
        return attrs.evolve(entry, before=of_choice(entry.before), after=of_choice(entry.after))

    use = remembered.use
    return attrs.evolve(
        remembered,
        choice=maybe_new(remembered.choice),
        transitions=tuple(map(of_transition, remembered.transitions)),
        registrations={(new(name), url): entry for (name, url), entry in remembered.registrations.items()},
        run_evidence={(new(name), url): entry for (name, url), entry in remembered.run_evidence.items()},
        orders=Orders(tuple(map(of_order, remembered.orders))),
        with_work=frozenset(map(new, remembered.with_work)),
        without_object=frozenset(map(new, remembered.without_object)),
        stale=frozenset(map(new, remembered.stale)),
        use=attrs.evolve(use, server=maybe_new(use.server)) if use else None,
        servers={new(name): known for name, known in remembered.servers.items()},
    )
