"""Small worlds for the tests of the decisions."""

from __future__ import annotations

import datetime

import attrs

from chef_failover.decide.world import apply_probe, apply_reading, refresh_choice
from chef_failover.model.model import (
    Health,
    NodeCheck,
    Outcome,
    ProbeResult,
    RiseFall,
    SelectionPolicy,
    ServerSnapshot,
    Snapshot,
    Thresholds,
)
from chef_failover.model.needs import NodeObject, ParityMode, ReadinessPolicy
from chef_failover.model.orders import Drain, Order, Orders, Pin
from chef_failover.model.run_history import RunEvidence

ON = datetime.datetime(2026, 11, 22, 10, 0, tzinfo=datetime.UTC)
THRESHOLDS = Thresholds(rise=2, fall=3)
NEVER_PROBED = -1e9
WEB = NodeObject(run_list=("recipe[web]",))
EMPTY = NodeObject()


def server(name, health=Health.UP, *, priority=None, changed_at=0.0, outcome=None, at=0.0, **more):
    """A server with one probe at ``at`` that fits its health, or that had ``outcome``."""
    if outcome is None and health is not Health.UNKNOWN:
        outcome = Outcome.OK if health is Health.UP else Outcome.REFUSED
    last = None if outcome is None else ProbeResult(outcome, outcome.value, at, 0.01)
    more.setdefault("last_alive_probe", last if last and outcome.is_alive else None)
    return ServerSnapshot(
        name=name,
        url=f"https://{name}.example.com",
        chef_server_url=f"https://{name}.example.com/organizations/default",
        priority=priority if priority is not None else ord(name[0]),
        liveness=RiseFall(health, changed_at=None if health is Health.UNKNOWN else changed_at),
        access=_access(more["last_alive_probe"], changed_at),
        last_probe=last,
        **more,
    )


def _access(last_alive_probe, at):
    if last_alive_probe is None:
        return RiseFall()
    return RiseFall(Health.UP if last_alive_probe.outcome.serves_node else Health.DOWN, changed_at=at)


def signed(at=0.0):
    """A good probe in the node's name."""
    return ProbeResult(Outcome.OK, "ok", at, 0.01, is_signed=True)


def asked(name, *, at=0.0, **more):
    """A server that was asked in the node's name, and not read yet."""
    proof = signed(at)
    return attrs.evolve(server(name, at=at, **more), last_probe=proof, last_alive_probe=proof)


def holding(name, node=WEB, health=Health.UP, *, at=0.0, changed_at=0.0, **more):
    """A server that has this object of the node, or none, as a whole reading said ``at`` that instant."""
    proof = signed(at)
    more.setdefault("node_check", NodeCheck(at, node))
    one = server(name, health, at=at, changed_at=changed_at, last_alive_probe=proof, **more)
    return attrs.evolve(one, last_probe=proof) if health is Health.UP else one


def proven(name, *arguments, **more):
    """Like `holding`, where a run of this node has succeeded."""
    return holding(name, *arguments, run_evidence=RunEvidence(has_succeeded=True), **more)


def without(name, health=Health.UP, **more):
    """A server that has no object of this node."""
    return holding(name, None, health, **more)


def drain(server, **more):
    """A drain by alice, without an end."""
    return Drain(server=server, who="alice", created_on=ON, **more)


def drained(server):
    """``server`` and a drain of it, as parts of a world."""
    return server, drain(server.name)


def ordered(snapshot, order):
    """``snapshot`` with that order, as it was given."""
    return attrs.evolve(snapshot, orders=snapshot.orders.plus(order))


def pin(server, **more):
    """A pin by alice, without an end."""
    return Pin(server=server, who="alice", created_on=ON, **more)


def _of_kind(kind, parts):
    flat = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
    return tuple(one for one in flat if isinstance(one, kind))


def world(
    *parts, current=None, failback_s=600.0, identity="web-1", now=0.0, readiness=None, parity=ParityMode.WARN, **more
):
    """A snapshot of ``parts``, servers and orders, settled, with ``current`` as the server in use so far."""
    from chef_failover.model.model import Choice, Standing

    choice = Choice(current, Standing.ELIGIBLE) if current else None
    snapshot = Snapshot(
        _of_kind(ServerSnapshot, parts),
        SelectionPolicy(failback_s, identity, readiness or ReadinessPolicy(), parity),
        choice=choice,
        chosen_on=ON if current else None,
        is_choice_remembered=current is not None,
        orders=Orders(_of_kind(Order, parts)),
        **more,
    )
    return refresh_choice(snapshot, now=now, on=ON)


def bare(*parts, current=None, failback_s=600.0, identity="web-1", readiness=None, parity=ParityMode.WARN, **more):
    """Like `world`, not settled: just what selection gets."""
    from chef_failover.model.model import Choice, Standing

    return Snapshot(
        _of_kind(ServerSnapshot, parts),
        SelectionPolicy(failback_s, identity, readiness or ReadinessPolicy(), parity),
        choice=Choice(current, Standing.ELIGIBLE) if current else None,
        orders=Orders(_of_kind(Order, parts)),
        **more,
    )


def probed(snapshot, name, outcome, at, offline=None, **more):
    """The world after a probe of ``name`` ended ``at`` that instant with ``outcome``."""
    result = ProbeResult(outcome, outcome.value, at, **more)
    on = ON + datetime.timedelta(seconds=at)
    return apply_probe(snapshot, snapshot.server(name), result, offline=offline, on=on)


def was_read(snapshot, name, at, node=None, **more):
    """The world after a whole reading on ``name`` ended ``at`` that instant."""
    on = ON + datetime.timedelta(seconds=at)
    return apply_reading(snapshot, snapshot.server(name), NodeCheck(at, node, **more), on=on)


def with_failback(snapshot, failback_s):
    return attrs.evolve(snapshot, policy=attrs.evolve(snapshot.policy, failback_s=failback_s))
