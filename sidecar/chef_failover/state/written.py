"""Pure: what state.json keeps, and the lines of unassociated_servers.txt."""

from __future__ import annotations

import datetime
import math

from chef_failover.chef import used
from chef_failover.model.about import About
from chef_failover.model.model import Health, Registration, ServerSnapshot, Snapshot
from chef_failover.model.orders import Order
from chef_failover.model.run_history import RunEvidence
from chef_failover.state import remembered, words


def kept(snapshot: Snapshot, about: About, *, on: datetime.datetime) -> words.Document:
    """What state.json keeps; the Ruby shim reads its ``choice`` like an answer."""
    choice, memory = snapshot.choice, remembered.of(snapshot)
    return {
        "written_at": words.utc(on),
        "instance_id": about.instance_id,
        "boot_id": about.boot_id,
        "choice": words.use(snapshot, choice, about, on) if choice else None,
        "associations": {
            name: _registration(url, registration)
            for (name, url), registration in memory.registrations.items()
            if registration.identity is not None
        },
        "with_work": sorted(memory.with_work),
        "without_object": sorted(memory.without_object),
        "stale": sorted(memory.stale),
        "servers": {found.name: _server(snapshot, found) for found in snapshot.servers},
        "run_evidence": {
            found.name: {"chef_server_url": found.chef_server_url, **_evidence(found.run_evidence)}
            for found in snapshot.servers
            if found.run_evidence != RunEvidence()
        },
        "drains": {drain.server: _kept(drain) for drain in snapshot.orders.drains},
        "pin": {**words.pin_facts(snapshot.pin), **_kept(snapshot.pin)} if snapshot.pin else None,
        "runs": words.runs(about.runs),
        "used": _used(snapshot),
        "transitions": [words.transition(entry) for entry in snapshot.transitions],
    }


def _server(snapshot: Snapshot, found: ServerSnapshot) -> words.Document:
    """Besides, what it is known by after a restart, and since when it is UP on the monotonic clock of this boot."""
    since = None if found.health is Health.DOWN else found.well_since
    return {
        **words.server_facts(snapshot, found),
        "chef_server_url": found.chef_server_url,
        "well_since": _at(since),
        "was_read": found.is_known,
        "returns": {
            "doublings": found.returns.doublings,
            "failed_at": [round(at, 3) for at in found.returns.failed_at],
            "came_back_at": _at(found.returns.came_back_at),
        },
    }


def _at(instant: float | None) -> float | None:
    """On the monotonic clock of this boot; None for never."""
    return round(instant, 3) if instant is not None and math.isfinite(instant) else None


def _used(snapshot: Snapshot) -> words.Document | None:
    """Of which node, and since when, besides."""
    if snapshot.used is None:
        return None
    told = {"node": snapshot.policy.identity, "server": snapshot.used_server, "since": words.utc(snapshot.used_on)}
    return {**told, **used.write(snapshot.used)}


def unassociated(snapshot: Snapshot) -> tuple[str, ...]:
    """The servers where this node is not registered: the lines of unassociated_servers.txt."""
    return tuple(found.name for found in snapshot.servers if not found.is_registered)


def _registration(chef_server_url: str, registration: Registration) -> words.Document:
    """The registration as state.json has it. The identity is a digest; there is no secret in it."""
    return {
        "chef_server_url": chef_server_url,
        "association": registration.state.value,
        "detail": registration.detail,
        "attempts": registration.attempts,
        "throttled": _throttled(registration),
        "ticket": registration.ticket,
        "identity": registration.identity,
        "since": words.utc(registration.on),
    }


def _throttled(registration: Registration) -> words.Document | None:
    """Since when it is refused for the load, and when it may be tried, on the monotonic clock of this boot."""
    if registration.throttled_since is None:
        return None
    return {
        "since": _at(registration.throttled_since),
        "retry_at": _at(registration.retry_at),
        "urgent_at": _at(registration.urgent_at),
        "awaited_at": _at(registration.awaited_at),
    }


def _evidence(evidence: RunEvidence) -> words.Document:
    """As state.json has it; when a run failed is told by the monotonic clock of this boot."""
    return {
        "failed_starts": evidence.failed_starts,
        "failed_at": _at(evidence.failed_at),
        "failure": evidence.failure,
        "saves": evidence.saves,
        "succeeded": evidence.has_succeeded,
    }


def _kept(order: Order) -> words.Document:
    """As state.json has it: besides, what ends it on the monotonic clock of this boot."""
    is_endless = math.isinf(order.lasts_s)
    return {
        **(words.order(order) or {}),
        "reason": order.reason,
        "lasts_s": None if is_endless else order.lasts_s,
        "ends_at": None if is_endless else round(order.ends_at, 3),
        "in_use": order.in_use,
    }
