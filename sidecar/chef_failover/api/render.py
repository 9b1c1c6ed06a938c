"""Pure: one snapshot as the documents that others read. Nothing is decided here."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable

from chef_failover.decide import hold_down, outlook, parity, readiness, seeding
from chef_failover.decide.selection import select
from chef_failover.model.about import About, ListStanding
from chef_failover.model.model import Choice, Outcome, RegistrationState, ServerSnapshot, Snapshot, Transition
from chef_failover.model.orders import Orders, Pin
from chef_failover.model.run_history import RunHistory
from chef_failover.state import words
from chef_failover.state.words import Document

SCHEMA = 1
FACTS_BYTES = 16_000
"""Of JSON. With more servers and drains than that takes, the last of them are left out, and ``omitted`` counts them."""
_REASON_LIMIT = 2000


def server(snapshot: Snapshot, choice: Choice, about: About, *, now: float, on: datetime.datetime) -> Document:
    """``GET /v1/server``: where a run should go now."""
    chosen = words.chosen(snapshot, choice)
    passed_over = [
        {"name": verdict.name, "reason": verdict.sentence, "reachable": verdict.is_reachable}
        for verdict in choice.passed_over
    ]
    return {
        "schema": SCHEMA,
        **words.use(snapshot, choice, about, on),
        "age_s": round(now - chosen.last_probe.finished_at, 3) if chosen.last_probe else None,
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
        "reason": _reason(snapshot, choice, now) if choice else None,
        "warnings": _warnings(snapshot, choice) if choice else [],
        "since": words.utc(snapshot.chosen_on),
        "offline": snapshot.offline,
        "pin": _pin(snapshot.pin),
        "runs": _runs_in_brief(about.runs),
        "used": words.used(snapshot),
        "discovery": discovery(about.discovery, on),
        "servers": [
            {
                "name": verdict.name,
                **words.server_facts(snapshot, found),
                "chef_server_url": found.chef_server_url,
                "priority": found.priority,
                **_association(found, now),
                "readiness": readiness.sentence(snapshot, found),
                "differences": list(seeding.differences_of(snapshot, found)),
                **_parity(snapshot, found, now),
                "index_fails": found.index_fails,
                "standing": verdict.standing.name.lower(),
                "chosen": choice is not None and verdict.name == choice.name,
                "hold_down_s": _seconds(hold_down.length_s(found, snapshot.policy, now=now)),
                "hold_down_left_s": _seconds(verdict.hold_down_s),
                "failures": hold_down.failures(found, now=now),
                "reason": verdict.sentence,
                "age_s": round(now - found.last_probe.finished_at, 3) if found.last_probe else None,
                "drain": words.order(snapshot.orders.drain_of(found.name)),
                "lacks": list(outlook.shortcomings(snapshot, found, now=now, on=on)),
                "to_be_used": outlook.conditions_for_use(snapshot, verdict, choice, now=now) if choice else None,
            }
            for verdict in verdicts
            if (found := snapshot.server(verdict.name))
        ],
        "transitions": [words.transition(entry) for entry in snapshot.transitions],
    }


def _reason(snapshot: Snapshot, choice: Choice, now: float) -> str:
    """Why that server; where its last probe failed, and a run that starts now would go elsewhere, that as well."""
    found = words.chosen(snapshot, choice)
    if found.is_alive or found.last_probe is None or snapshot.offline:
        return choice.reason
    run = select(snapshot, now=now, runs_from=-math.inf)
    if run is None or run.name == choice.name:
        return choice.reason
    return f"{choice.reason}; a run that starts now uses {run.name}, unless {choice.name} answers it"


def ready_in_a_word(entry: Document) -> str:
    """Whether a run of this node could work on that server now: yes, no, ? where no probe or reading tells.

    A run works there, too, where it ``cannot save`` at its end, its object ``differs`` or what it gets is ``stale``.
    """
    if entry["health"] == "UNKNOWN":
        return "?"
    is_open = entry["health"] == "UP" and entry["association"] == "associated"
    if not is_open or entry["standing"] == "turns_node_away" or not entry["ready"]:
        return "no"
    if entry["may_save"] is False:
        return "cannot save"
    has_answered = entry["outcome"] is not None and Outcome(entry["outcome"]).is_alive
    if entry["unread"] or not has_answered:
        return "?"
    if entry["differences"]:
        return "differs"
    return "stale" if entry["stale"] else "yes"


def discovery(standing: ListStanding | None, on: datetime.datetime | None = None) -> Document | None:
    """Where the list of servers comes from; None when it is config.yml's alone."""
    if standing is None:
        return None
    age_s = (on - standing.confirmed_on).total_seconds() if on and standing.confirmed_on else None
    next_in_s = (standing.asks_on - on).total_seconds() if on and standing.asks_on else None
    return {
        "source": standing.source,
        "in_use": standing.origin.value,
        "version": standing.version,
        "fetched_at": words.utc(standing.fetched_on),
        "age_s": None if age_s is None else round(max(0.0, age_s), 1),
        "refused": list(standing.refused),
        "trouble": standing.trouble,
        "throttled": standing.is_throttled,
        "next_in_s": None if next_in_s is None else round(max(0.0, next_in_s), 1),
    }


def facts(snapshot: Snapshot, about: About, *, now: float) -> Document:
    """``GET /v1/facts``: what the Ohai plugin publishes, which every run sends to a Chef server with the node."""
    document = _facts(snapshot, about, now)
    count = len(document["servers"]) + len(document["drains"])
    for part in (document["drains"], document["servers"]):
        while part and len(json.dumps(document)) > FACTS_BYTES:
            part.popitem()
            document["omitted"] = count - len(document["servers"]) - len(document["drains"])
    return document


def _facts(snapshot: Snapshot, about: About, now: float) -> Document:
    choice = snapshot.choice
    return {
        "schema": SCHEMA,
        "available": True,
        "version": about.version,
        "server": None
        if choice is None
        else {
            "name": choice.name,
            "chef_server_url": words.chosen(snapshot, choice).chef_server_url,
            "since": words.utc(snapshot.chosen_on),
            "degraded": choice.is_degraded,
            "reason": choice.reason[:_REASON_LIMIT],
        },
        "pin": _pin(snapshot.pin),
        "drains": _drains(snapshot),
        "servers": {
            found.name: {**words.server_facts(snapshot, found), **_as_standby(snapshot, found, now)}
            for found in snapshot.servers
        },
        "runs": _runs_in_brief(about.runs),
    }


def _as_standby(snapshot: Snapshot, found: ServerSnapshot, now: float) -> Document:
    """What else tells whether that server could take this node over."""
    verdicts = snapshot.choice.verdicts if snapshot.choice else ()
    standing = next((verdict.standing.name.lower() for verdict in verdicts if verdict.name == found.name), None)
    ends_on = found.last_probe.certificate_expires_on if found.last_probe else None
    return {
        "priority": found.priority,
        "standing": standing,
        "stale": bool(parity.compare(snapshot, found, now=now).is_stale),
        "has_object": found.has_node_object,
        "certificate_ends": words.utc(ends_on),
    }


def steered(before: Snapshot, after: Snapshot, trouble: str | None) -> Document:
    """What a drain, a pin or the end of one has led to; ``trouble`` is why it could not be written down."""
    choice = after.choice
    return {
        "schema": SCHEMA,
        "changed": (before.pin, before.orders.drains) != (after.pin, after.orders.drains),
        "choice": choice.name if choice else None,
        "degraded": choice.is_degraded if choice else None,
        "reason": choice.reason if choice else None,
        "pin": _pin(after.pin),
        "drains": _drains(after),
        "not_kept": trouble,
    }


def runs(history: RunHistory, under_way: Iterable[str]) -> Document:
    """``GET /v1/runs``: the last chef-client runs, oldest first, and those under way."""
    return {"schema": SCHEMA, **words.runs(history), "under_way": list(under_way)}


def remembered(
    chosen_on: datetime.datetime | None,
    reason: str | None,
    orders: Orders,
    transitions: Iterable[Transition],
) -> Document:
    """What was written down, in the form of `servers`."""
    return {
        "since": words.utc(chosen_on),
        "reason": reason,
        "pin": _pin(orders.pin),
        "drains": {drain.server: words.order(drain) for drain in orders.drains},
        "transitions": [words.transition(entry) for entry in transitions],
    }


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


def _warnings(snapshot: Snapshot, choice: Choice) -> list[str]:
    """What chef-client's log is to say of a run there."""
    caution = readiness.caution(snapshot, words.chosen(snapshot, choice))
    return [caution] if caution else []


def _seconds(span_s: float) -> float | None:
    return round(span_s, 1) if math.isfinite(span_s) else None


def _association(found: ServerSnapshot, now: float) -> Document:
    registration = found.registration
    is_settled = registration.state is RegistrationState.REGISTERED
    return {
        "association_detail": registration.detail or None,
        "association_attempts": registration.attempts,
        "association_retry_in_s": None if is_settled else round(max(0.0, registration.retry_at - now), 1),
    }


def _parity(snapshot: Snapshot, found: ServerSnapshot, now: float) -> Document:
    compared = parity.compare(snapshot, found, now=now)
    return {"stale": bool(compared.is_stale), "parity": compared.words}


def _drains(snapshot: Snapshot) -> Document:
    """Of a server that this node and the fleet's list have drained, the drain that holds for longer."""
    names = [*(server.name for server in snapshot.servers), *(drain.server for drain in snapshot.orders.drains)]
    return {name: words.order(drain) for name in names if (drain := snapshot.orders.drain_of(name))}


def _pin(pin: Pin | None) -> Document | None:
    return {**words.pin_facts(pin), **(words.order(pin) or {})} if pin else None


def _runs_in_brief(history: RunHistory) -> Document:
    return {**words.runs(history), "last": words.run(history.last) if history.last else None}
