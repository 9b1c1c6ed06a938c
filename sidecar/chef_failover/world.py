"""Pure: how one probe result changes everything we know."""

from __future__ import annotations

import datetime

import attrs

from chef_failover.health import Thresholds, advance
from chef_failover.model import ProbeResult, ServerSnapshot, Snapshot, Transition
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
    state = server.state
    if offline is None:
        state = advance(
            state,
            is_alive=result.outcome.is_alive,
            at=result.finished_at,
            thresholds=thresholds,
            comes_back=snapshot.is_choice_remembered,
        )
    proof = result if result.outcome.is_alive else server.proof
    changed = attrs.evolve(server, state=state, last=result, proof=proof)
    snapshot = attrs.evolve(snapshot, offline=offline)
    if state.health is not server.state.health:
        transition = Transition(on, server.name, server.state.health.name, state.health.name, result.detail)
        changed = attrs.evolve(changed, changed_on=on)
        snapshot = _remember(snapshot, transition)
    return settle(snapshot.with_server(changed), now=result.finished_at, on=on)


def settle(snapshot: Snapshot, *, now: float, on: datetime.datetime) -> Snapshot:
    """The world with its settled choice brought up to ``now``."""
    choice = select(snapshot, now=now)
    before = snapshot.choice
    if choice is None or (snapshot.offline and before is not None and snapshot.server(before.name)):
        return snapshot if snapshot.servers else attrs.evolve(snapshot, choice=None, chosen_on=None)
    if before is not None and before.name == choice.name:
        return attrs.evolve(snapshot, choice=choice)
    moved = Transition(on, None, before.name if before else "none", choice.name, choice.reason)
    return _remember(attrs.evolve(snapshot, choice=choice, chosen_on=on, is_choice_remembered=False), moved)


def _remember(snapshot: Snapshot, transition: Transition) -> Snapshot:
    return attrs.evolve(snapshot, transitions=(*snapshot.transitions, transition)[-TRANSITIONS_KEPT:])
