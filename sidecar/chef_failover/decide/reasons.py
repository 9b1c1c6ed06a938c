"""Pure: the plain answer to "why this server?", one sentence for each server and one for the choice."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from chef_failover.decide import hold_down
from chef_failover.decide.obstacles import TOO_LATE, said
from chef_failover.durations import in_words
from chef_failover.model.model import Choice, Health, ServerSnapshot, Snapshot, Standing, Verdict
from chef_failover.model.orders import Pin


def explain(choice: Choice, snapshot: Snapshot, now: float) -> Choice:
    """``choice``, made ``now`` on the monotonic clock, with its reason and the sentences of its verdicts."""
    servers = {server.name: server for server in snapshot.servers}
    verdicts = tuple(
        attrs.evolve(one, sentence=_sentence(one, servers[one.name], choice, snapshot, now)) for one in choice.verdicts
    )
    return attrs.evolve(choice, verdicts=verdicts, reason=_reason(choice, verdicts, snapshot, now))


def _reason(choice: Choice, verdicts: tuple[Verdict, ...], snapshot: Snapshot, now: float) -> str:
    each = {verdict.name: f"{verdict.name} {said(verdict.standing, verdict.sentence)}" for verdict in verdicts}
    if snapshot.offline:
        return f"this node is offline ({snapshot.offline}), so nothing moves"
    if snapshot.pin is not None:
        return _reason_of_pin(snapshot.pin, choice, each, now)
    if choice.is_degraded and all(server.last_probe is None for server in snapshot.servers):
        return "no server has been probed yet, and this is the first choice"
    if choice.standing is Standing.DOWN and any(verdict.standing is Standing.ELIGIBLE for verdict in verdicts):
        return f"{each[choice.name]}; its next probe decides whether the node leaves it"
    if choice.is_degraded:
        return f"no server is eligible; the best of the rest: {each[choice.name]}"
    passed_over = [each[verdict.name] for verdict in verdicts if verdict.is_better]
    return "; ".join(passed_over) or f"first in order of preference, {_as_last_heard(snapshot.server(choice.name))}"


def _as_last_heard(server: ServerSnapshot | None) -> str:
    """Whether the server in use is UP, and what its last probe said, where that is something else."""
    if server is None or server.health is Health.UNKNOWN:
        return "and not probed yet"
    return f"and {server.health.name}{_unless_it_failed(server)}"


def _unless_it_failed(server: ServerSnapshot) -> str:
    """Health does not change by one failed probe; a person is told of it all the same."""
    has_failed = server.last_probe is not None and not server.is_alive
    return f", though its last probe failed: {server.detail}" if has_failed else ""


def _reason_of_pin(pin: Pin, choice: Choice, each: Mapping[str, str], now: float) -> str:
    why_not = each.get(pin.server, f"the configuration has no server {pin.server}")
    if choice.name != pin.server:
        return f"{pin.told(now)}, but {why_not}; until that changes, this is the best of the rest"
    if not choice.is_degraded:
        return pin.told(now)
    rest = "" if pin.is_strict else "no server is eligible; "
    return f"{rest}{pin.told(now)}, though {why_not}"


def _sentence(verdict: Verdict, server: ServerSnapshot, choice: Choice, snapshot: Snapshot, now: float) -> str:
    words = _how_it_stands(verdict, server, choice, snapshot, now)
    if now < server.stay_away_until:
        pause = f"it asked for no requests for another {in_words(server.stay_away_until - now)}"
        return pause if words == TOO_LATE else f"{words}; {pause}"
    return words


def _how_it_stands(verdict: Verdict, server: ServerSnapshot, choice: Choice, snapshot: Snapshot, now: float) -> str:
    if verdict.obstacles:
        worst = min(verdict.obstacles, key=lambda one: one.standing)
        # A server that is drained is often stopped next: then both are worth saying.
        drains = [one for one in verdict.obstacles if one.standing is Standing.DRAINED and one is not worst]
        return "; ".join(one.words for one in (worst, *drains))
    as_heard = _unless_it_failed(server) or f", {server.detail}"
    if server.name == choice.name:
        return f"in use{as_heard}"
    if verdict.is_better and choice.name == snapshot.pinned:
        return f"would be used, if this node were not pinned to {snapshot.pinned}"
    if math.isinf(verdict.hold_down_s):
        return "UP again, but failback is never"
    if verdict.hold_down_s > 0:
        return f"UP again; the node returns in {hold_down.in_words(verdict.hold_down_s, server, now=now)}"
    return f"could take over{as_heard}"
