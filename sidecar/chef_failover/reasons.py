"""Pure: the plain answer to "why this server?", one sentence for each server and one for the choice."""

from __future__ import annotations

import math

import attrs

from chef_failover.durations import in_words
from chef_failover.model import Association, Choice, ServerSnapshot, Snapshot, Standing, Verdict
from chef_failover.readiness import PROVING, missing

_WORDS = {
    Standing.DOWN: "DOWN",
    Standing.UNKNOWN: "UNKNOWN",
    Standing.TURNS_NODE_AWAY: "turning this node away",
    Standing.NOT_READY: "not ready",
    Standing.DRAINED: "drained",
    Standing.FAILING: "failing",
    Standing.RISING: "coming back",
    Standing.STALE: "stale",
    Standing.ELIGIBLE: "held down",
}


def explain(choice: Choice, snapshot: Snapshot) -> Choice:
    """``choice`` with its reason and every verdict's sentence filled in, unless it has one."""
    by_name = {server.name: server for server in snapshot.servers}
    verdicts = tuple(
        attrs.evolve(verdict, sentence=verdict.sentence or _sentence(verdict, by_name[verdict.name], choice, snapshot))
        for verdict in choice.verdicts
    )
    return attrs.evolve(choice, verdicts=verdicts, reason=_reason(choice, verdicts, snapshot))


def _reason(choice: Choice, verdicts: tuple[Verdict, ...], snapshot: Snapshot) -> str:
    said = {verdict.name: f"{verdict.name} is {_WORDS[verdict.standing]}: {verdict.sentence}" for verdict in verdicts}
    if snapshot.offline:
        return f"this node is offline ({snapshot.offline}), so nothing moves"
    if choice.is_degraded:
        return f"no server is eligible, and this is the best of the rest: {said[choice.name]}"
    if choice.name == snapshot.pinned:
        return "pinned by an operator"
    passed_over = [said[verdict.name] for verdict in verdicts if verdict.is_better]
    return "; ".join(passed_over) or "first in order of preference, and UP"


def _sentence(verdict: Verdict, server: ServerSnapshot, choice: Choice, snapshot: Snapshot) -> str:
    match verdict.standing:
        case Standing.ELIGIBLE:
            return _sentence_of_eligible(verdict, server, choice)
        case Standing.TURNS_NODE_AWAY:
            return _sentence_of_refusal(server)
        case Standing.NOT_READY:
            return missing(snapshot, server) or f"was not ready {PROVING}"
        case Standing.DRAINED:
            return "drained by an operator"
        case Standing.FAILING | Standing.DOWN if verdict.is_reachable:
            return "no answer in time for this run" if verdict.standing is Standing.FAILING else f"was DOWN {PROVING}"
    return server.detail


def _sentence_of_refusal(server: ServerSnapshot) -> str:
    if server.association is not Association.ASSOCIATED:
        said = f": {server.registration.detail}" if server.registration.detail else ""
        return f"this node is {server.association} there{said}"
    if server.is_turned_away and server.proof:
        return server.proof.detail
    return f"turned this node away {PROVING}"


def _sentence_of_eligible(verdict: Verdict, server: ServerSnapshot, choice: Choice) -> str:
    if verdict.name == choice.name:
        return f"in use, {server.detail}"
    if math.isinf(verdict.hold_down_s):
        return "UP again, but failback is never"
    if verdict.hold_down_s > 0:
        return f"UP again; the node moves back in {in_words(verdict.hold_down_s)} if it stays so"
    return f"could take over, {server.detail}"
