"""Small worlds for the tests of the decisions."""

from __future__ import annotations

import datetime

import attrs

from chef_failover.health import Thresholds
from chef_failover.model import Health, HealthState, Outcome, ProbeResult, SelectionPolicy, ServerSnapshot, Snapshot
from chef_failover.world import observe, settle

ON = datetime.datetime(2026, 11, 22, 10, 0, tzinfo=datetime.UTC)
THRESHOLDS = Thresholds(rise=2, fall=3)
NEVER_PROBED = -1e9


def server(name, health=Health.UP, *, priority=None, changed_at=0.0, outcome=None, at=0.0, **more):
    """A server with one probe at ``at`` that fits its health, or that had ``outcome``."""
    if outcome is None and health is not Health.UNKNOWN:
        outcome = Outcome.OK if health is Health.UP else Outcome.REFUSED
    last = None if outcome is None else ProbeResult(outcome, outcome.value, at, 0.01)
    more.setdefault("proof", last if last and outcome.is_alive else None)
    return ServerSnapshot(
        name=name,
        url=f"https://{name}.example.com",
        chef_server_url=f"https://{name}.example.com/organizations/default",
        priority=priority if priority is not None else ord(name[0]),
        state=HealthState(health, changed_at=None if health is Health.UNKNOWN else changed_at),
        access=_access(more["proof"], changed_at),
        last=last,
        **more,
    )


def _access(proof, at):
    if proof is None:
        return HealthState()
    return HealthState(Health.UP if proof.outcome.serves_node and proof.has_node_object else Health.DOWN, changed_at=at)


def empty(name, detail="has no node object"):
    """A server that is UP and has no object of this node."""
    result = ProbeResult(Outcome.OK, detail, 0.0, has_node_object=False)
    return server(name, proof=result)


def world(*servers, current=None, failback_s=600.0, identity="web-1", now=0.0, **more):
    """A snapshot of ``servers``, settled, with ``current`` as the server in use so far."""
    from chef_failover.model import Choice, Standing

    choice = Choice(current, Standing.ELIGIBLE) if current else None
    snapshot = Snapshot(
        servers,
        SelectionPolicy(failback_s, identity),
        choice=choice,
        chosen_on=ON if current else None,
        is_choice_remembered=current is not None,
        **more,
    )
    return settle(snapshot, now=now, on=ON)


def bare(*servers, current=None, failback_s=600.0, identity="web-1", **more):
    """Like `world`, not settled: just what selection gets."""
    from chef_failover.model import Choice, Standing

    choice = Choice(current, Standing.ELIGIBLE) if current else None
    return Snapshot(servers, SelectionPolicy(failback_s, identity), choice=choice, **more)


def probed(snapshot, name, outcome, at, offline=None, **more):
    """The world after a probe of ``name`` ended ``at`` that instant with ``outcome``."""
    result = ProbeResult(outcome, outcome.value, at, **more)
    on = ON + datetime.timedelta(seconds=at)
    return observe(snapshot, snapshot.server(name), result, thresholds=THRESHOLDS, offline=offline, on=on)


def with_failback(snapshot, failback_s):
    return attrs.evolve(snapshot, policy=attrs.evolve(snapshot.policy, failback_s=failback_s))
