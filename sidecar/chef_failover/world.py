"""Pure: how one probe result changes everything we know."""

from __future__ import annotations

import datetime

import attrs

from chef_failover.health import Thresholds, advance
from chef_failover.model import (
    Association,
    Choice,
    ProbeResult,
    Registration,
    ServerSnapshot,
    Snapshot,
    Standing,
    Transition,
)
from chef_failover.selection import select

TRANSITIONS_KEPT = 50


def observe(
    snapshot: Snapshot,
    server: ServerSnapshot,
    result: ProbeResult,
    *,
    thresholds: Thresholds,
    offline: str | None,
    on: datetime.datetime,
) -> Snapshot:
    """The world after ``result`` came from ``server`` at the wall time ``on``.

    ``offline`` says why this node has no network, None when it has. While it is offline nothing is counted against any
    server, and nothing moves.
    """
    state, access = server.state, server.access
    at, comes_back = result.finished_at, snapshot.is_choice_remembered
    is_alive = result.outcome.is_alive
    if offline is None:
        state = advance(state, is_good=is_alive, at=at, thresholds=thresholds, comes_back=comes_back)
    if is_alive:
        is_served = result.outcome.serves_node and result.has_node_object
        access = advance(access, is_good=is_served, at=at, thresholds=thresholds, comes_back=comes_back)
    proof = result if is_alive else server.proof
    changed = attrs.evolve(server, state=state, access=access, last=result, proof=proof)
    snapshot = attrs.evolve(snapshot, offline=offline)
    if state.health is not server.state.health:
        transition = Transition(on, server.name, server.state.health.name, state.health.name, result.detail)
        changed = attrs.evolve(changed, changed_on=on)
        snapshot = _remember(snapshot, transition)
    return settle(snapshot.with_server(changed), now=result.finished_at, on=on)


def enroll(
    snapshot: Snapshot, server: ServerSnapshot, registration: Registration, *, now: float, on: datetime.datetime
) -> Snapshot:
    """The world with ``registration`` as the one of ``server``. An attempt is no news, only what comes of it is."""
    changed = attrs.evolve(server, registration=registration)
    before, after = _last_association(snapshot, server), registration.association
    if after is not Association.REQUESTED and after != before:
        snapshot = _remember(snapshot, Transition(on, server.name, before, after.value, registration.detail))
    return settle(snapshot.with_server(changed), now=now, on=on)


def settle(snapshot: Snapshot, *, now: float, on: datetime.datetime) -> Snapshot:
    """The world with its settled choice brought up to ``now``."""
    choice = select(snapshot, now=now)
    before = snapshot.choice
    if choice is None or (snapshot.offline and before is not None and snapshot.server(before.name)):
        return snapshot if snapshot.servers else attrs.evolve(snapshot, choice=None, chosen_on=None)
    changed = Transition(on, None, _label(before), _label(choice), choice.reason)
    if before is None or before.name != choice.name:
        return _remember(attrs.evolve(snapshot, choice=choice, chosen_on=on, is_choice_remembered=False), changed)
    settled = attrs.evolve(snapshot, choice=choice)
    return settled if changed.before == changed.after else _remember(settled, changed)


def _label(choice: Choice | None) -> str:
    if choice is None:
        return "none"
    is_known = choice.standing is not Standing.UNKNOWN
    return f"{choice.name} (degraded)" if choice.is_degraded and is_known else choice.name


def _last_association(snapshot: Snapshot, server: ServerSnapshot) -> str:
    """What was last said of it, or how it began."""
    for entry in reversed(snapshot.transitions):
        if entry.server == server.name and entry.after in list(Association):
            return entry.after
    return Association.UNASSOCIATED.value


def _remember(snapshot: Snapshot, transition: Transition) -> Snapshot:
    return attrs.evolve(snapshot, transitions=(*snapshot.transitions, transition)[-TRANSITIONS_KEPT:])
