"""Pure: the plain answer to "why this server?", one sentence for each server and one for the choice."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from chef_failover.decide import hold_down
from chef_failover.decide.readiness import PROVING, why_not_ready
from chef_failover.decide.run_evidence import why_behind
from chef_failover.decide.search_index import why_impaired
from chef_failover.decide.steering import drained, of_whom, pinned
from chef_failover.durations import in_words
from chef_failover.model.model import Choice, Health, ServerSnapshot, Snapshot, Standing, Verdict
from chef_failover.model.orders import Pin

TOO_LATE = "no answer in time for this run"
_WORDS = {
    Standing.DOWN: "DOWN",
    Standing.UNKNOWN: "UNKNOWN",
    Standing.TURNS_NODE_AWAY: "turning this node away",
    Standing.NOT_READY: "not ready",
    Standing.FAILING: "failing",
    Standing.RISING: "coming back",
    Standing.FAILS_RUNS: "failing runs",
    Standing.IMPAIRED: "impaired",
    Standing.STALE: "stale",
}


def explain(choice: Choice, snapshot: Snapshot, now: float) -> Choice:
    """``choice``, made ``now`` on the monotonic clock, with its reason and the sentences that verdicts lack yet."""
    by_name = {server.name: server for server in snapshot.servers}
    verdicts = tuple(
        attrs.evolve(
            verdict, sentence=verdict.sentence or _sentence(verdict, by_name[verdict.name], choice, snapshot, now)
        )
        for verdict in choice.verdicts
    )
    return attrs.evolve(choice, verdicts=verdicts, reason=_reason(choice, verdicts, snapshot, now))


def _reason(choice: Choice, verdicts: tuple[Verdict, ...], snapshot: Snapshot, now: float) -> str:
    said = {verdict.name: _how_it_is(verdict) for verdict in verdicts}
    if snapshot.offline:
        return f"this node is offline ({snapshot.offline}), so nothing moves"
    if snapshot.pin is not None:
        return _reason_of_pin(snapshot.pin, choice, said, now)
    if choice.is_degraded:
        return f"no server is eligible, and this is the best of the rest: {said[choice.name]}"
    passed_over = [said[verdict.name] for verdict in verdicts if verdict.is_better]
    return "; ".join(passed_over) or f"first in order of preference, {_as_last_heard(snapshot, choice.name)}"


def _as_last_heard(snapshot: Snapshot, name: str) -> str:
    """Whether the server in use is UP, and what its last probe said, where that is something else."""
    server = snapshot.server(name)
    if server is None or server.health is Health.UNKNOWN:
        return "and not probed yet"
    return f"and {server.health.name}{_unless_it_failed(server)}"


def _unless_it_failed(server: ServerSnapshot) -> str:
    """Health does not change by one failed probe; a person is told of it all the same."""
    has_failed = server.last_probe is not None and not server.last_probe.outcome.is_alive
    return f", though its last probe failed: {server.detail}" if has_failed else ""


def _reason_of_pin(pin: Pin, choice: Choice, said: Mapping[str, str], now: float) -> str:
    if choice.name == pin.server and choice.standing is Standing.ELIGIBLE:
        return f"pinned{' strictly' if pin.is_strict else ''} by {of_whom(pin, now)}"
    why_not = said.get(pin.server, f"the configuration has no server {pin.server}")
    if choice.name == pin.server:
        rest = "" if pin.is_strict else "no server is eligible; "
        return f"{rest}{pinned(pin, now)}, though {why_not}"
    return f"{pinned(pin, now)}, but {why_not}; until that changes, this is the best of the rest"


def _how_it_is(verdict: Verdict) -> str:
    """A sentence with the server as its subject."""
    if verdict.standing not in _WORDS:
        return f"{verdict.name} is {verdict.sentence}"
    return f"{verdict.name} is {_WORDS[verdict.standing]}: {verdict.sentence}"


def _sentence(verdict: Verdict, server: ServerSnapshot, choice: Choice, snapshot: Snapshot, now: float) -> str:
    said = _sentence_of_standing(verdict, server, choice, snapshot, now)
    if now < server.stay_away_until:
        pause = f"it asked for no requests for another {in_words(server.stay_away_until - now)}"
        said = pause if said == TOO_LATE else f"{said}; {pause}"
    if server.any_drain is None:
        return said
    # A server that is drained is often stopped next: then both are worth saying.
    is_all = verdict.standing is Standing.DRAINED
    return drained(server.any_drain, now) if is_all else f"{said}; {drained(server.any_drain, now)}"


def _sentence_of_standing(
    verdict: Verdict, server: ServerSnapshot, choice: Choice, snapshot: Snapshot, now: float
) -> str:
    match verdict.standing:
        case Standing.ELIGIBLE:
            return _sentence_of_eligible(verdict, server, choice, snapshot, now)
        case Standing.TURNS_NODE_AWAY:
            return _sentence_of_refusal(server)
        case Standing.FAILING | Standing.DOWN if verdict.is_reachable:
            return TOO_LATE if verdict.standing is Standing.FAILING else f"was DOWN {PROVING}"
    words = {
        Standing.NOT_READY: why_not_ready(snapshot, server),
        Standing.FAILS_RUNS: why_behind(snapshot, server, now=now),
        Standing.IMPAIRED: why_impaired(server) or "its search index failed when last looked at",
    }
    return words.get(verdict.standing) or server.detail


def _sentence_of_refusal(server: ServerSnapshot) -> str:
    if not server.is_registered:
        said = f": {server.registration.detail}" if server.registration.detail else ""
        return f"this node is {server.registration.state} there{said}"
    if server.is_turned_away and server.last_alive_probe:
        return server.last_alive_probe.detail
    return f"turned this node away {PROVING}"


def _sentence_of_eligible(
    verdict: Verdict, server: ServerSnapshot, choice: Choice, snapshot: Snapshot, now: float
) -> str:
    if verdict.name == choice.name:
        return f"in use{_unless_it_failed(server) or f', {server.detail}'}"
    if verdict.is_better and choice.name == snapshot.pinned:
        return f"would be used, if this node were not pinned to {snapshot.pinned}"
    if math.isinf(verdict.hold_down_s):
        return "UP again, but failback is never"
    if verdict.hold_down_s > 0:
        left, why_longer = in_words(verdict.hold_down_s), hold_down.why_longer(server, now=now)
        if why_longer:
            return f"UP again; it must stay well for another {left}{why_longer}"
        return f"UP again; the node moves back in {left} if it stays so"
    return f"could take over{_unless_it_failed(server) or f', {server.detail}'}"
