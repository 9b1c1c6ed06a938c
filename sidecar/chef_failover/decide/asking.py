"""Pure: which servers a run that starts asks.

It asks the server that it wants, and in a healthy world no other: ten thousand runs that start at once are no load for
a standby. If that server fails, the run wants the next one. If it is silent for a quarter of a second, or for twice
as long as its last answer took, the next one is asked as well (Happy Eyeballs, RFC 8305), and so on; the run still
waits for the better answer.

A server that the run would prefer and does not use (DOWN, held down, not ready, turning the node away) is asked too,
and the run does not wait for its answer: so the next run knows that it is back. That spreads the first good probe of a
returning server over the fleet's runs. What was probed a moment ago is left alone, and so is a server that is drained.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import attrs

from chef_failover.decide.preference import ranked
from chef_failover.decide.selection import select_at_once, server_worth_waiting_for
from chef_failover.model.model import Choice, Health, Outcome, ProbeResult, ServerSnapshot, Snapshot

SILENCE_S = 0.25
"""How long a server may be silent at least before a run asks the next one as well."""
LONGEST_SILENCE_S = 2.0
"""The same at the most, however slow the server was; as RFC 8305 has it."""
MOMENT_S = 10.0
"""A result no older than this is not renewed for the sake of a later run."""


@attrs.frozen
class Asking:
    """Names of servers: those whose answers the run waits for, the best first, and those that are asked for later."""

    awaited: tuple[str, ...] = ()
    for_later: tuple[str, ...] = ()
    again_at: float = math.inf
    """When silence adds a server, on the monotonic clock; infinite when only an answer changes something."""
    choice: Choice | None = None
    """Where the run goes, once it waits for nothing; None as long as it waits, and without a server."""


def servers_to_ask(
    snapshot: Snapshot, *, now: float, runs_from: float, asked: Mapping[str, float], registers: bool = True
) -> Asking:
    """Return which servers a run that starts ``now`` asks. Nothing is awaited once no answer could change its choice.

    Args:
        snapshot: the world.
        now: the monotonic clock, seconds.
        runs_from: the oldest instant whose results count for the run.
        asked: since when the run waits for each server that it has asked, by name.
        registers: the run also waits for registrations and first readings that are under way.
    """
    awaited: list[str] = []
    again_at, supposed = math.inf, snapshot
    while again_at == math.inf:
        wanted = server_worth_waiting_for(supposed, now=now, runs_from=runs_from, registers=registers)
        server = supposed.server(wanted) if wanted is not None and wanted not in awaited else None
        if server is None:
            break
        awaited.append(server.name)
        silent_from = asked.get(server.name, now) + _silence_s(server)
        if now < silent_from:
            again_at = silent_from
        fails = ProbeResult(Outcome.READ_TIMEOUT, "", now, began_at=now)
        supposed = supposed.with_server(attrs.evolve(server, last_probe=fails))
    choice = None if awaited else select_at_once(snapshot, now=now, runs_from=runs_from)
    used = choice.name if choice else awaited[-1] if awaited else None
    servers = sorted(ranked(snapshot), key=lambda server: server.name != snapshot.pinned)
    preferred = itertools.takewhile(lambda server: server.name != used, servers)
    for_later = (one.name for one in preferred if one.name not in awaited and _is_of_use(snapshot, one, now))
    return Asking(tuple(awaited), tuple(for_later), again_at, choice)


def server_to_settle(before: Snapshot, after: Snapshot, name: str, *, now: float) -> str | None:
    """Return the server to ask at once since a probe of ``name`` led from ``before`` to ``after``; None for none.

    A node leaves a server that went DOWN only for one that has answered since, so the best of the others is asked, and
    the next one if that fails. And when a server comes UP, the one in use is asked whether it has come back with it.
    """
    was, found, in_use = before.server(name), after.server(name), after.in_use
    if after.offline or in_use is None or in_use.liveness.changed_at is None or in_use.health is not Health.DOWN:
        return None
    if was is not None and found is not None and was.health < found.health is Health.UP:
        return in_use.name
    return server_worth_waiting_for(after, now=now, runs_from=in_use.liveness.changed_at, registers=False)


def _silence_s(server: ServerSnapshot) -> float:
    """How long it may be silent: a server that is far away or busy takes longer, and no standby is to suffer for it."""
    last = server.last_alive_probe
    return min(LONGEST_SILENCE_S, max(SILENCE_S, 2 * ((last and last.latency_s) or 0.0)))


def _is_of_use(snapshot: Snapshot, server: ServerSnapshot, now: float) -> bool:
    is_known = server.is_probed_since(now - MOMENT_S)
    return not is_known and not snapshot.orders.drain_of(server.name) and now >= server.stay_away_until
