"""Pure: how one probe result, reading, run, registration or order changes everything we know."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Hashable, Iterable, Mapping

import attrs

from chef_failover.decide import hold_down, parity, reading, rights, run_evidence, steering
from chef_failover.decide.health import INDEX_FAILS, INDEX_LABELS, counted, index_after
from chef_failover.decide.readiness import sentence, why_not_ready
from chef_failover.decide.seeding import is_mended_soon, reference
from chef_failover.decide.selection import PROOF_S, is_being_registered, select
from chef_failover.errors import RefusedError
from chef_failover.model.model import (
    Choice,
    Health,
    NodeCheck,
    Outcome,
    ProbeResult,
    Registration,
    RegistrationState,
    ServerSnapshot,
    Snapshot,
    Standing,
    Transition,
)
from chef_failover.model.orders import Drain, Order, Pin
from chef_failover.model.run_history import Phase, Run

TRANSITIONS_KEPT = 50
LONGEST_RUN_S = 3600.0
"""For so long a run that found no object on a server may save its empty one there."""
Listed = tuple[str, str, datetime.datetime | None]
"""A drain of the fleet's list: server, reason and end."""
_DRAINED = ("in service", "drained")
_REGISTRATIONS = tuple(RegistrationState)
_FAILURES = (RegistrationState.FAILED, RegistrationState.REFUSED)
_NUMBERS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<!HTTP )(?<![\w-])\d[\d:.,-]*(?![\w-])")
"""Times and request ids, which differ at each attempt."""


def apply_probe(
    snapshot: Snapshot, server: ServerSnapshot, result: ProbeResult, *, offline: str | None, on: datetime.datetime
) -> Snapshot:
    """The world after ``result`` came from ``server`` at the wall time ``on``.

    ``offline`` says why this node has no network, None when it has. While it is offline nothing is counted against any
    server, and nothing moves. Nor is a failure counted that this machine alone has made, or that began in such a time.
    """
    is_back = snapshot.offline is not None and offline is None
    snapshot = attrs.evolve(
        snapshot, offline=offline, online_since=result.finished_at if is_back else snapshot.online_since
    )
    at, is_alive, serves_node = result.finished_at, result.outcome.is_alive, result.outcome.serves_node
    is_cut_off = snapshot.is_cut_off(result)
    is_counted = is_alive or not (is_cut_off or result.is_node_trouble)
    retry_at = at + result.retry_after_s if result.retry_after_s else -math.inf
    changed = attrs.evolve(
        counted(server, snapshot, result.outcome, at=at) if is_counted else server,
        last_probe=result,
        last_alive_probe=result if is_alive else server.last_alive_probe,
        setbacks=0 if serves_node else server.setbacks + (not is_cut_off),
        stay_away_until=max(server.stay_away_until, retry_at),
    )
    if result.outcome is Outcome.NOT_ASSOCIATED and changed.access.health is Health.DOWN:  # restored empty, it may be
        changed = attrs.evolve(changed, run_evidence=attrs.evolve(server.run_evidence, has_succeeded=False))
    if is_alive and result.index_fails is not None:
        had_failed = _last_label(snapshot, server.name, INDEX_LABELS) == INDEX_FAILS
        index = index_after(server.index, result, had_failed=had_failed, thresholds=snapshot.policy.thresholds)
        changed = attrs.evolve(changed, index=index)
        label = INDEX_LABELS[index.health is Health.DOWN]
        snapshot = _tell(snapshot, server.name, INDEX_LABELS, label, result.detail, on=on)
    if changed.health is not server.health:
        changed = attrs.evolve(changed, changed_on=on)
        if changed.health is Health.DOWN:
            changed = attrs.evolve(changed, run_evidence=run_evidence.excused(changed.run_evidence))
        snapshot = _remember(snapshot, server.name, server.health.name, changed.health.name, result.detail, on=on)
    return refresh_choice(snapshot.with_server(changed), now=at, on=on)


def apply_reading(snapshot: Snapshot, server: ServerSnapshot, check: NodeCheck, *, on: datetime.datetime) -> Snapshot:
    """The world after a reading on ``server``. What an earlier one found holds while nothing can be read."""
    former = server.node_check
    check = attrs.evolve(check, misses=former.misses if former is not None else 0)
    if check.trouble and former is not None:
        is_there = former.has_node_object if check.has_node_object is None else check.has_node_object
        check = attrs.evolve(former, read_at=check.read_at, trouble=check.trouble, has_node_object=is_there)
    evidence = server.run_evidence if check.trouble else rights.after_reading(server.run_evidence, check)
    lacked_at = _lacked_at(snapshot, server, check)
    changed = attrs.evolve(server, node_check=check, lacked_object_at=lacked_at, run_evidence=evidence)
    snapshot = snapshot.with_server(changed)
    changed = attrs.evolve(changed, node_check=reading.counted(snapshot, changed, check))
    snapshot = _tell_of_readiness(snapshot.with_server(changed), changed, on=on)
    return refresh_choice(snapshot, now=check.read_at, on=on)


def apply_run(snapshot: Snapshot, run: Run, *, now: float, on: datetime.datetime) -> Snapshot:
    """The world after ``run`` has ended, with what it used, if it succeeded, and what it tells of its server."""
    server = snapshot.server(run.server) if run.server is not None else None
    if run.is_success and run.used is not None:
        snapshot = attrs.evolve(snapshot, used_server=parity.origin(snapshot, server, run.used))
    if run.is_success and run.used not in (None, snapshot.used):
        snapshot = attrs.evolve(snapshot, used=run.used, used_since=now, used_on=on)
    if server is None:
        return snapshot
    changed = attrs.evolve(
        server,
        run_evidence=run_evidence.heard(snapshot, server, run, at=now),
        run_ended_at=now,
        save_failed_at=now if run.phase is Phase.SAVE and not run.is_success else server.save_failed_at,
        stay_away_until=-math.inf if run.is_success else server.stay_away_until,
    )
    if run.is_success and run.used is not None:
        changed = reading.after_run(changed, run.used, at=now)
    snapshot = _tell_of_readiness(snapshot.with_server(changed), changed, on=on)
    return refresh_choice(snapshot, now=now, on=on)


def leave_alone(snapshot: Snapshot, name: str, span_s: float, *, now: float, on: datetime.datetime) -> Snapshot:  # noqa: ARG001
    """The world after that server asked, in answer to whatever request, for no more of them for ``span_s``.

    Minus infinity lifts what it asked for: a person insists.
    """
    server = snapshot.server(name)
    if server is None:
        return snapshot
    until = max(server.stay_away_until, now + span_s) if span_s > -math.inf else -math.inf
    return snapshot.with_server(attrs.evolve(server, stay_away_until=until))


def apply_registration(
    snapshot: Snapshot, server: ServerSnapshot, registration: Registration, *, now: float, on: datetime.datetime
) -> Snapshot:
    """The world with ``registration`` as the one of ``server``. An attempt is no news, only what comes of it is.

    That it fails again is news when the reason is another one, of which the latest is remembered.
    """
    after, detail = registration.state, registration.detail
    said = _last_said(snapshot, server.name, _REGISTRATIONS)
    is_new_reason = said and said.after == after and _NUMBERS.sub("", detail) != _NUMBERS.sub("", said.reason)
    if is_new_reason and after in _FAILURES:
        if said and said.before == after:
            snapshot = attrs.evolve(snapshot, transitions=tuple(one for one in snapshot.transitions if one != said))
        snapshot = _remember(snapshot, server.name, after, after.value, detail, on=on)
    elif after is not RegistrationState.REQUESTED:
        snapshot = _tell(snapshot, server.name, _REGISTRATIONS, after, detail, on=on)
    changed = attrs.evolve(server, registration=registration)
    return refresh_choice(snapshot.with_server(changed), now=now, on=on)


def apply_order(snapshot: Snapshot, order: Order, *, is_forced: bool, now: float, on: datetime.datetime) -> Snapshot:
    """The world in which a person has given ``order``.

    Raises:
        RefusedError: it makes no sense, and was not forced.
    """
    snapshot = refresh_choice(snapshot, now=now, on=on)
    why = steering.why_refused(snapshot, order)
    if why is not None and not is_forced:
        raise RefusedError(why)
    former = snapshot.orders.at(order.place)
    order = attrs.evolve(order, in_use=former.in_use if former else snapshot.chosen)
    if isinstance(former, Pin) and former.server != order.server:
        why = _ended(former, f"ended by {order.who}")
        snapshot = _remember(snapshot, former.server, *_labels(former)[::-1], why, on=on)
    snapshot = _remember(snapshot, order.server, *_labels(order), f"by {order.by()}", on=on)
    return refresh_choice(attrs.evolve(snapshot, orders=snapshot.orders.plus(order)), now=now, on=on)


def lift(snapshot: Snapshot, place: Hashable, *, who: str, now: float, on: datetime.datetime) -> Snapshot:
    """The world in which ``who`` has taken back the order with that `Order.place`; no news if there is none."""
    snapshot = refresh_choice(snapshot, now=now, on=on)
    order = snapshot.orders.at(place)
    return _end(snapshot, {order: _ended(order, f"ended by {who}")} if order else {}, now=now, on=on)


def apply_listed_drains(snapshot: Snapshot, listed: Iterable[Listed], *, now: float, on: datetime.datetime) -> Snapshot:
    """The world with the drains that the fleet's list has, and with no other of its."""
    found = {
        name: steering.fleet_drain_of(snapshot, name, reason, until, now=now, on=on) for name, reason, until in listed
    }
    gone: dict[Order, str] = {
        order: _ended(order) if order.server in found else f"removed from {order.who}"
        for order in snapshot.orders.fleet_drains
        if found.get(order.server) is None
    }
    for order in filter(None, found.values()):
        if order not in snapshot.orders:
            snapshot = _tell(snapshot, order.server, _DRAINED, _DRAINED[1], f"by {order.by()}", on=on)
            snapshot = attrs.evolve(snapshot, orders=snapshot.orders.plus(order))
    return refresh_choice(_end(snapshot, gone, now=now, on=on), now=now, on=on)


def refresh_choice(snapshot: Snapshot, *, now: float, on: datetime.datetime) -> Snapshot:
    """The world with its settled choice brought up to ``now``, and without the orders that are over."""
    snapshot = steering.redated(snapshot, now, on)
    ended = {order: _ended(order) for order in snapshot.orders.over_by(now)}
    return _end(snapshot, ended, now=now, on=on)


def _end(snapshot: Snapshot, ended: Mapping[Order, str], *, now: float, on: datetime.datetime) -> Snapshot:
    """The world without these orders, each of which ends for a reason."""
    seen_from = steering.taken_from(snapshot, ended)
    for order, why in ended.items():
        snapshot = _remember(snapshot, order.server, *_labels(order)[::-1], why, on=on)
    snapshot = attrs.evolve(snapshot, orders=snapshot.orders.minus(ended))
    choice = snapshot.choice if seen_from is None else Choice(seen_from, Standing.ELIGIBLE)
    return _choose(snapshot, select(attrs.evolve(snapshot, choice=choice), now=now), now=now, on=on)


def _choose(snapshot: Snapshot, choice: Choice | None, *, now: float, on: datetime.datetime) -> Snapshot:
    before = snapshot.choice
    if choice is None:
        return attrs.evolve(snapshot, choice=None, chosen_on=None)
    if snapshot.offline and before is not None and snapshot.server(before.name):
        verdicts = choice.verdicts if choice.name == before.name else before.verdicts
        return attrs.evolve(snapshot, choice=attrs.evolve(before, reason=choice.reason, verdicts=verdicts))
    said = (entry.after for entry in reversed(snapshot.transitions) if entry.server is None)
    label = _label(snapshot, choice, now)
    told = next(said, _label(snapshot, before, now)) if before else "none"
    after, is_news = attrs.evolve(snapshot, choice=choice), told != label and not _is_about_to_move(snapshot, choice)
    if before is None or before.name != choice.name:
        after, is_news = attrs.evolve(after, chosen_on=on, is_choice_remembered=False), True
        after = hold_down.after_move(after, before, choice, now=now) if before else after
    return _remember(after, None, told, label, choice.reason, on=on) if is_news else after


def _ended(order: Order, how: str = "expired") -> str:
    """Why it holds no more."""
    return f"{how}; set by {order.by()}"


def _labels(order: Order) -> tuple[str, str]:
    return _DRAINED if isinstance(order, Drain) else ("not pinned", "pinned")


def _tell_of_readiness(snapshot: Snapshot, server: ServerSnapshot, *, on: datetime.datetime) -> Snapshot:
    """The world that remembers whether it is ready, if that is news. What is mended in a moment is none."""
    is_ready = why_not_ready(snapshot, server) is None
    if not is_ready and is_mended_soon(snapshot, server):
        return snapshot
    label = "ready" if is_ready else "not ready"
    return _tell(snapshot, server.name, ("ready", "not ready"), label, sentence(snapshot, server), on=on)


def _lacked_at(snapshot: Snapshot, server: ServerSnapshot, check: NodeCheck) -> float | None:
    """When it was last seen that a run there would find nothing to do.

    A run under way may yet save its empty object over the one that we gave it.
    """
    lacked_at = server.lacked_object_at
    if check.trouble:
        return lacked_at
    if check.node is None:
        return check.read_at
    if lacked_at is None:
        return None
    if not check.node.does_something:
        return check.read_at
    is_as_given = check.node == reference(snapshot) and check.read_at - lacked_at < LONGEST_RUN_S
    return lacked_at if is_as_given else None


def _label(snapshot: Snapshot, choice: Choice, now: float) -> str:
    server = snapshot.server(choice.name)
    is_unsettled = choice.standing is Standing.UNKNOWN or _is_about_to_move(snapshot, choice)
    is_known = not is_unsettled and server is not None and not _is_first_try(server, now)
    return f"{choice.name} (degraded)" if choice.is_degraded and is_known else choice.name


def _is_first_try(server: ServerSnapshot, now: float) -> bool:
    registration = server.registration
    within_s = PROOF_S if registration.attempts else math.inf  # a node that boots, and that no run waits for, has time
    is_first = registration.attempts <= 1 and registration.throttled_since is None
    return is_first and is_being_registered(server, now, within_s=within_s)


def _is_about_to_move(snapshot: Snapshot, choice: Choice) -> bool:
    """The server in use is DOWN, and the node stays only until another one has answered, which takes a moment."""
    is_down = choice.standing is Standing.DOWN and choice.name != snapshot.pinned
    return is_down and any(verdict.standing > Standing.FAILING for verdict in choice.verdicts)


def _tell(
    snapshot: Snapshot, name: str, labels: Iterable[str], after: str, reason: str, *, on: datetime.datetime
) -> Snapshot:
    """The world that remembers that server is ``after``, unless that was the last of ``labels`` said of it."""
    before = _last_label(snapshot, name, labels)
    return snapshot if before == after else _remember(snapshot, name, before, str(after), reason, on=on)


def _last_label(snapshot: Snapshot, name: str, labels: Iterable[str]) -> str:
    """Which of ``labels`` was last said of that server; the first of them if none was."""
    said = _last_said(snapshot, name, labels)
    return said.after if said else next(iter(labels))


def _last_said(snapshot: Snapshot, name: str, labels: Iterable[str]) -> Transition | None:
    """The last change of that server that led to one of ``labels``."""
    told = (entry for entry in reversed(snapshot.transitions) if entry.server == name and entry.after in labels)
    return next(told, None)


def _remember(
    snapshot: Snapshot, server: str | None, before: str, after: str, reason: str, *, on: datetime.datetime
) -> Snapshot:
    told = (*snapshot.transitions, Transition(on, server, before, after, reason))
    return attrs.evolve(snapshot, transitions=told[-TRANSITIONS_KEPT:])
