"""Pure: one snapshot as the documents that others read. Nothing is decided here."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from typing import Any

import attrs

from chef_failover import parity, prospects, readiness, seeding
from chef_failover.fleet_list import ListStanding
from chef_failover.model import Association, Choice, Registration, ServerSnapshot, Snapshot, Transition
from chef_failover.orders import Drain, Order, Pin
from chef_failover.run_history import Run, RunHistory

SCHEMA = 1

Document = dict[str, Any]


@attrs.frozen
class About:
    """What documents may say of the node. ``client_key`` is a path; None leaves chef-client's own."""

    version: str
    node_name: str | None = None
    client_key: str | None = None
    instance_id: str | None = None
    boot_id: str | None = None
    runs: RunHistory = RunHistory()
    discovery: ListStanding | None = None


def server(snapshot: Snapshot, choice: Choice, about: About, *, now: float, on: datetime.datetime) -> Document:
    """``GET /v1/server``: where a run should go now."""
    chosen = _chosen(snapshot, choice)
    passed_over = [
        {"name": verdict.name, "reason": verdict.sentence, "reachable": verdict.is_reachable}
        for verdict in choice.passed_over
    ]
    return {
        "schema": SCHEMA,
        **_use(snapshot, choice, about, on),
        "age_s": round(now - chosen.last.finished_at, 3) if chosen.last else None,
        "passed_over": passed_over,
        "warnings": _warnings(snapshot, choice),
    }


def servers(snapshot: Snapshot, about: About, *, now: float, on: datetime.datetime | None = None) -> Document:
    """``GET /v1/servers``: every server, in order of preference, and why it is or is not the one.

    ``on`` is wall time, for what certificates say of themselves.
    """
    choice = snapshot.choice
    verdicts = choice.verdicts if choice else ()
    return {
        "schema": SCHEMA,
        "version": about.version,
        "node_name": about.node_name,
        "choice": choice.name if choice else None,
        "degraded": choice.is_degraded if choice else None,
        "reason": choice.reason if choice else None,
        "warnings": _warnings(snapshot, choice) if choice else [],
        "since": _utc(snapshot.chosen_on),
        "offline": snapshot.offline,
        "pin": _pin(snapshot.pin),
        "runs": _runs_in_brief(about.runs),
        "discovery": discovery(about.discovery, on),
        "servers": [
            {
                "name": verdict.name,
                **_server_facts(snapshot, found),
                "chef_server_url": found.chef_server_url,
                "priority": found.priority,
                **_association(found, now),
                "readiness": readiness.sentence(snapshot, found),
                "differences": list(seeding.differences_of(snapshot, found)),
                **_parity(snapshot, found, now),
                "standing": verdict.standing.name.lower(),
                "chosen": choice is not None and verdict.name == choice.name,
                "reason": verdict.sentence,
                "age_s": round(now - found.last.finished_at, 3) if found.last else None,
                "drain": _order(found.any_drain),
                "lacks": list(prospects.lacks(snapshot, found, now=now, on=on)),
                "to_be_used": prospects.to_be_used(snapshot, verdict, choice, now=now) if choice else None,
            }
            for verdict in verdicts
            if (found := snapshot.server(verdict.name))
        ],
        "transitions": [_transition(entry) for entry in snapshot.transitions],
    }


def discovery(standing: ListStanding | None, on: datetime.datetime | None = None) -> Document | None:
    """Where the list of servers comes from; None when it is config.yml's alone."""
    if standing is None:
        return None
    age_s = (on - standing.confirmed_on).total_seconds() if on and standing.confirmed_on else None
    return {
        "source": standing.source,
        "in_use": standing.origin.value,
        "version": standing.version,
        "fetched_at": _utc(standing.fetched_on),
        "age_s": None if age_s is None else round(max(0.0, age_s), 1),
        "refused": list(standing.refused),
        "trouble": standing.trouble,
    }


def facts(snapshot: Snapshot, about: About) -> Document:
    """``GET /v1/facts``: what the Ohai plugin publishes."""
    choice = snapshot.choice
    return {
        "schema": SCHEMA,
        "available": True,
        "version": about.version,
        "server": None
        if choice is None
        else {
            "name": choice.name,
            "chef_server_url": _chosen(snapshot, choice).chef_server_url,
            "since": _utc(snapshot.chosen_on),
            "degraded": choice.is_degraded,
            "reason": choice.reason,
        },
        "pin": _pin(snapshot.pin),
        "drains": _drains(snapshot),
        "servers": {found.name: _server_facts(snapshot, found) for found in snapshot.servers},
        "runs": _runs_in_brief(about.runs),
    }


def steered(before: Snapshot, after: Snapshot, trouble: str | None) -> Document:
    """What a drain, a pin or the end of one has led to; ``trouble`` is why it could not be written down."""
    choice = after.choice
    return {
        "schema": SCHEMA,
        "changed": before.drains != after.drains or before.pin != after.pin,
        "choice": choice.name if choice else None,
        "degraded": choice.is_degraded if choice else None,
        "reason": choice.reason if choice else None,
        "pin": _pin(after.pin),
        "drains": _drains(after),
        "not_kept": trouble,
    }


def runs(history: RunHistory, under_way: Iterable[str]) -> Document:
    """``GET /v1/runs``: the last chef-client runs, oldest first, and those under way."""
    return {"schema": SCHEMA, **_runs(history), "under_way": list(under_way)}


def state(snapshot: Snapshot, about: About, *, on: datetime.datetime) -> Document:
    """What state.json keeps; the Ruby shim reads its ``choice`` like an answer."""
    choice = snapshot.choice
    return {
        "written_at": _utc(on),
        "instance_id": about.instance_id,
        "boot_id": about.boot_id,
        "choice": _use(snapshot, choice, about, on) if choice else None,
        "lagging": parity.is_lagging(snapshot),
        "associations": {
            name: _registration(url, registration)
            for name, url, registration in (
                *snapshot.absent_registrations,
                *((found.name, found.chef_server_url, found.registration) for found in snapshot.servers),
            )
            if registration.identity is not None
        },
        "with_work": [found.name for found in snapshot.servers if readiness.has_work(found)],
        "without_object": [found.name for found in snapshot.servers if found.lacked_object_at is not None],
        "servers": {found.name: _server_facts(snapshot, found) for found in snapshot.servers},
        "drains": {drain.server: _kept(drain) for drain in snapshot.drains},
        "pin": {**_pin_facts(snapshot.pin), **_kept(snapshot.pin)} if snapshot.pin else None,
        "runs": _runs(about.runs),
        "transitions": [_transition(entry) for entry in snapshot.transitions],
    }


def remembered(
    chosen_on: datetime.datetime | None,
    reason: str | None,
    pin: Pin | None,
    drains: Iterable[Drain],
    transitions: Iterable[Transition],
) -> Document:
    """What was written down, in the form of `servers`."""
    return {
        "since": _utc(chosen_on),
        "reason": reason,
        "pin": _pin(pin),
        "drains": {drain.server: _order(drain) for drain in drains},
        "transitions": [_transition(entry) for entry in transitions],
    }


def unassociated(snapshot: Snapshot) -> tuple[str, ...]:
    """The servers where this node is not registered: the lines of unassociated_servers.txt."""
    return tuple(found.name for found in snapshot.servers if found.association is not Association.ASSOCIATED)


def problem(status: int, title: str, detail: str) -> Document:
    """An error, as RFC 9457 has it."""
    return {"schema": SCHEMA, "type": "about:blank", "title": title, "status": status, "detail": detail}


def status_line(snapshot: Snapshot) -> str:
    """The one line that ``systemctl status`` shows."""
    if snapshot.choice is None:
        return "idle: no server is configured"
    up = sum(found.health.name == "UP" for found in snapshot.servers)
    degraded = ", degraded" if snapshot.choice.is_degraded else ""
    return f"using {snapshot.choice.name}{degraded}; {up} of {len(snapshot.servers)} servers UP"


def _use(snapshot: Snapshot, choice: Choice, about: About, on: datetime.datetime) -> Document:
    chosen = _chosen(snapshot, choice)
    is_settled = snapshot.choice is not None and snapshot.choice.name == choice.name
    return {
        "name": chosen.name,
        "chef_server_url": chosen.chef_server_url,
        "node_name": about.node_name,
        "client_key": about.client_key,
        "ssl_ca_file": chosen.ca_file,
        "degraded": choice.is_degraded,
        "reason": choice.reason,
        "since": _utc(snapshot.chosen_on if is_settled else on),
    }


def _warnings(snapshot: Snapshot, choice: Choice) -> list[str]:
    """What chef-client's log is to say of a run there."""
    caution = readiness.caution(snapshot, _chosen(snapshot, choice))
    return [caution] if caution else []


def _server_facts(snapshot: Snapshot, found: ServerSnapshot) -> Document:
    return {
        "url": found.url,
        "health": found.health.name,
        "outcome": found.last.outcome.value if found.last else None,
        "association": "failed" if found.is_turned_away else found.association.value,
        "ready": readiness.why_not_ready(snapshot, found) is None,
        "latency_s": round(found.last.latency_s, 4) if found.last and found.last.latency_s is not None else None,
        "last_change": _utc(found.changed_on),
    }


def _association(found: ServerSnapshot, now: float) -> Document:
    registration = found.registration
    is_settled = registration.association is Association.ASSOCIATED
    return {
        "association_detail": registration.detail or None,
        "association_attempts": registration.attempts,
        "association_retry_in_s": None if is_settled else round(max(0.0, registration.retry_at - now), 1),
    }


def _parity(snapshot: Snapshot, found: ServerSnapshot, now: float) -> Document:
    compared = parity.compare(snapshot, found, now=now)
    return {"stale": bool(compared.is_stale), "parity": compared.words}


def _registration(chef_server_url: str, registration: Registration) -> Document:
    """The association as state.json has it. The identity is a digest; there is no secret in it."""
    return {
        "chef_server_url": chef_server_url,
        "association": registration.association.value,
        "detail": registration.detail,
        "attempts": registration.attempts,
        "ticket": registration.ticket,
        "identity": registration.identity,
        "since": _utc(registration.on),
    }


def _drains(snapshot: Snapshot) -> Document:
    """Of a server that this node and the fleet's list have drained, the drain that holds for longer."""
    held = {server.name: _order(server.any_drain) for server in snapshot.servers if server.any_drain}
    return held | {drain.server: _order(drain) for drain in snapshot.absent_drains}


def _order(order: Order | None) -> Document | None:
    """A drain or a pin for people. ``ends`` is null when only a person ends it."""
    if order is None:
        return None
    return {
        "reason": order.reason or None,
        "who": order.who,
        "created": _utc(order.created_on),
        "ends": _utc(order.ends_on),
    }


def _pin(pin: Pin | None) -> Document | None:
    return {**_pin_facts(pin), **(_order(pin) or {})} if pin else None


def _pin_facts(pin: Pin) -> Document:
    return {"server": pin.server, "strict": pin.is_strict}


def _kept(order: Order) -> Document:
    """As state.json has it: besides, what ends it on the monotonic clock of this boot."""
    is_endless = math.isinf(order.lasts_s)
    return {
        **(_order(order) or {}),
        "reason": order.reason,
        "lasts_s": None if is_endless else order.lasts_s,
        "ends_at": None if is_endless else round(order.ends_at, 3),
        "in_use": order.in_use,
    }


def _runs(history: RunHistory) -> Document:
    return {
        "since_success": history.since_success,
        "last_success_at": _utc(history.last_success_on),
        "last": [_run(entry) for entry in history.runs],
    }


def _runs_in_brief(history: RunHistory) -> Document:
    return {**_runs(history), "last": _run(history.last) if history.last else None}


def _run(entry: Run) -> Document:
    return {
        "run_id": entry.run_id,
        "server": entry.server,
        "result": entry.result,
        "error_class": entry.error_class,
        "started_at": _utc(entry.started_on),
        "ended_at": _utc(entry.ended_on),
        "duration_s": entry.duration_s,
    }


def _transition(entry: Transition) -> Document:
    return {
        "at": _utc(entry.on),
        "server": entry.server,
        "from": entry.before,
        "to": entry.after,
        "reason": entry.reason,
    }


def _chosen(snapshot: Snapshot, choice: Choice) -> ServerSnapshot:
    return next(found for found in snapshot.servers if found.name == choice.name)


def _utc(time: datetime.datetime | None) -> str | None:
    """ISO 8601 in UTC with whole seconds and a Z."""
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else None
