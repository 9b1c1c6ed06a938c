"""Pure: what state.json and the API say in the same words."""

from __future__ import annotations

import datetime
from typing import Any

from chef_failover.decide import readiness, rights
from chef_failover.model.about import About
from chef_failover.model.model import Choice, ServerSnapshot, Snapshot, Transition
from chef_failover.model.orders import Order, Pin
from chef_failover.model.run_history import Run, RunHistory

Document = dict[str, Any]


def use(snapshot: Snapshot, choice: Choice, about: About, on: datetime.datetime) -> Document:
    """What a run is to use, made ``on`` that wall time."""
    server = chosen(snapshot, choice)
    is_settled = snapshot.choice is not None and snapshot.choice.name == choice.name
    return {
        "name": server.name,
        "chef_server_url": server.chef_server_url,
        "node_name": about.node_name,
        "client_key": about.client_key,
        "ssl_ca_file": server.ca_file,
        "degraded": choice.is_degraded,
        "reason": choice.reason,
        "since": utc(snapshot.chosen_on if is_settled else on),
    }


def server_facts(snapshot: Snapshot, found: ServerSnapshot) -> Document:
    """One server in short."""
    latency_s = found.last_probe.latency_s if found.last_probe else None
    is_lost = found.is_registered and found.is_turned_away
    return {
        "url": found.url,
        "health": found.health.name,
        "outcome": found.last_probe.outcome.value if found.last_probe else None,
        "association": "failed" if is_lost else found.registration.state.value,
        "ready": readiness.why_not_ready(snapshot, found) is None,
        "unread": readiness.is_unread(snapshot, found),
        "may_save": rights.may_save(found),
        "latency_s": None if latency_s is None else round(latency_s, 4),
        "last_change": utc(found.changed_on),
    }


def order(order: Order | None) -> Document | None:
    """A drain or a pin for people. ``ends`` is null when only a person ends it."""
    if order is None:
        return None
    return {
        "reason": order.reason or None,
        "who": order.who,
        "created": utc(order.created_on),
        "ends": utc(order.ends_on),
    }


def pin_facts(pin: Pin) -> Document:
    """What a pin has that a drain has not."""
    return {"server": pin.server, "strict": pin.is_strict}


def runs(history: RunHistory) -> Document:
    """The runs that are remembered, oldest first."""
    return {
        "since_success": history.since_success,
        "last_success_at": utc(history.last_success_on),
        "last": [run(entry) for entry in history.runs],
    }


def used(snapshot: Snapshot) -> Document | None:
    """What the last run that succeeded used, in short; None until one has told."""
    last = snapshot.used
    if last is None:
        return None
    return {
        "environment": last.environment,
        "policy_name": last.policy_name,
        "policy_group": last.policy_group,
        "policy_revision": last.policy_revision,
        "cookbooks": len(last.cookbooks),
        "since": utc(snapshot.used_on),
    }


def run(entry: Run) -> Document:
    """One run that has ended."""
    return {
        "run_id": entry.run_id,
        "server": entry.server,
        "result": entry.result,
        "error_class": entry.error_class,
        "phase": entry.phase.value if entry.phase else None,
        "http_status": entry.http_status,
        "started_at": utc(entry.started_on),
        "ended_at": utc(entry.ended_on),
        "duration_s": entry.duration_s,
    }


def transition(entry: Transition) -> Document:
    """One change."""
    return {
        "at": utc(entry.on),
        "server": entry.server,
        "from": entry.before,
        "to": entry.after,
        "reason": entry.reason,
    }


def chosen(snapshot: Snapshot, choice: Choice) -> ServerSnapshot:
    """The server of that choice."""
    return next(found for found in snapshot.servers if found.name == choice.name)


def utc(time: datetime.datetime | None) -> str | None:
    """ISO 8601 in UTC with whole seconds and a Z."""
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else None
