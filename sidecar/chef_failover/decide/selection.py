"""Pure: which server to use now. This is what the project exists for.

Every server gets a standing, from worst to best, and the best standing wins; among servers of the same standing the
configured preference decides. So health orders the list and is never a veto: there is an answer as long as there is a
server, marked degraded when no server deserves it.

Two questions are asked of the same list:

* *Which server does this node belong to?* (``runs_from`` is None). Answered from health alone, which one failed probe
  does not change. This settled choice is what the state file keeps and what a hold-down protects.
* *A run starts now: where?* (``runs_from`` is the oldest instant of a result that still counts). A server that did not
  answer its latest probe is passed over at once, for any that did: waiting for the third failure would cost this run
  minutes, and going elsewhere costs nothing. The settled choice stays, so the next run comes back without a hold-down.
  Of two without a fresh answer, one that was alive when last asked, and asked to be left alone since, comes before one
  whose last probe failed.

A server that comes before the one in use must have been UP for its hold-down, as `hold_down` has it, before the node
moves back. A server that was never DOWN has none. Between servers that all fail there is nothing to gain by moving, so
the node stays; and it moves to none whose latest probe failed. It leaves a DOWN server for one that has answered since,
and that had come UP before the other last failed: what goes or comes back at once does so for one reason.

What gives a server its standing is in `obstacles`. With ``parity: require`` a server that is stale stands just below
those that are not, and its choice is not called degraded: a stale run is better than none.

A pin is a preference before all others, and knows no hold-down. A strict one comes before the standing as well; with
any other one, the node is elsewhere while the server is not fit to be used, and that is called degraded. What drains
and pins mean, and how they end, stands in `steering`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from chef_failover.decide import hold_down
from chef_failover.decide.health import counted
from chef_failover.decide.obstacles import obstacles
from chef_failover.decide.preference import is_preferred, ranked
from chef_failover.decide.reasons import explain
from chef_failover.decide.steering import in_force
from chef_failover.model.model import (
    Choice,
    Health,
    NodeCheck,
    Outcome,
    ProbeResult,
    RegistrationState,
    ServerSnapshot,
    Snapshot,
    Standing,
    Verdict,
)
from chef_failover.model.needs import NodeObject, ParityMode

PROOF_S = 5.0
"""Seconds within which a registration must go on to be waited for, and after it a probe that is signed with it."""
_USEFUL = NodeObject(run_list=("something",))


def select(snapshot: Snapshot, *, now: float, runs_from: float | None = None) -> Choice | None:
    """The choice, with a sentence for every server; None when no server is configured.

    Args:
        snapshot: the world.
        now: the monotonic clock, seconds.
        runs_from: None for the settled choice; for a run that starts now, the oldest instant whose results count.
    """
    if not snapshot.servers:
        return None
    snapshot = in_force(snapshot, now)
    return explain(_choose(snapshot, now, runs_from), snapshot, now)


def _choose(snapshot: Snapshot, now: float, runs_from: float | None) -> Choice:
    """The choice without its words; ``snapshot`` has the orders in force alone."""
    current, pinned = snapshot.in_use, snapshot.pinned
    requires = snapshot.policy.parity is ParityMode.REQUIRE
    found = {
        one.name: obstacles(snapshot, one, now=now, runs_from=runs_from, minds_age=requires and one.name != pinned)
        for one in snapshot.servers
    }
    standings = {name: min((one.standing for one in held), default=Standing.ELIGIBLE) for name, held in found.items()}
    servers = ranked(snapshot)
    hold_downs = {server.name: _hold_down_s(server, snapshot, standings, now) for server in servers}
    is_strict = snapshot.pin is not None and snapshot.pin.is_strict
    best = min(  # the first of equals
        servers,
        key=lambda server: (
            is_strict and server.name != pinned,
            -standings[server.name],
            standings[server.name] is Standing.FAILING and not server.is_alive,
            server.name != pinned,
            hold_downs[server.name] > 0,
        ),
    )
    if current is not None and runs_from is None and best.name != pinned and _stays(snapshot, current, best, standings):
        best = current
    verdicts = tuple(
        Verdict(
            name=server.name,
            standing=standings[server.name],
            is_better=is_preferred(server, best, snapshot),
            is_reachable=server.last_probe is None or server.last_probe.outcome.is_alive,
            hold_down_s=hold_downs[server.name],
            obstacles=found[server.name],
        )
        for server in servers
    )
    misses_pin = pinned is not None and best.name != pinned
    return Choice(best.name, standings[best.name], "", verdicts, misses_pin)


def server_worth_waiting_for(snapshot: Snapshot, *, now: float, runs_from: float, registers: bool = True) -> str | None:
    """The server whose answer a starting run waits for; None when no answer could change where it starts.

    Each server without a result since ``runs_from`` is imagined to answer well at this instant and, with ``registers``,
    each registration that is under way to succeed, and each first reading to find what a run needs. If even then the
    choice falls on a server that has really answered, there is nothing to wait for; otherwise it falls on the one to
    wait for. No run waits for a server that asked to be left alone.
    """
    imagined = [_at_best(server, snapshot, now, runs_from, registers) for server in snapshot.servers]
    names = {best.name for best, known in zip(imagined, snapshot.servers, strict=True) if best is not known}
    if not names:
        return None
    choice = _choose(in_force(attrs.evolve(snapshot, servers=tuple(imagined)), now), now, runs_from)
    return choice.name if choice.name in names else None


def is_being_registered(server: ServerSnapshot, now: float, *, within_s: float = PROOF_S) -> bool:
    """The node may be registered there within that time, or was a moment ago and no probe in its name shows it yet."""
    registration, last = server.registration, server.last_probe
    if last is not None and not last.outcome.is_alive:
        return False
    match registration.state:
        case RegistrationState.REQUESTED | RegistrationState.UNREGISTERED:
            return registration.retry_at - now < within_s
        case RegistrationState.FAILED if registration.throttled_since is not None:
            return registration.retry_at - now < within_s
        case RegistrationState.REGISTERED if registration.attempts and now - registration.retry_at < PROOF_S:
            return last is None or not last.is_signed or last.finished_at <= registration.retry_at
    return False


def select_for_run(snapshot: Snapshot, *, now: float, runs_from: float) -> Choice | None:
    """`select` for a run that starts now, once nothing is worth waiting for, or waiting took too long."""
    if server_worth_waiting_for(snapshot, now=now, runs_from=runs_from) is None:
        return select_at_once(snapshot, now=now, runs_from=runs_from)
    return select(snapshot, now=now, runs_from=runs_from)


def select_at_once(snapshot: Snapshot, *, now: float, runs_from: float) -> Choice | None:
    """`select` for a run that starts now and has nothing to wait for.

    A server that was well when last heard of, and whose answer could not have changed anything, was not waited for: it
    is explained as the well server that it is.
    """
    for server in snapshot.servers:
        was_well = server.health is Health.UP and server.last_probe is server.last_alive_probe
        is_unasked = not server.is_probed_since(runs_from) and now >= server.stay_away_until
        if was_well and is_unasked:
            snapshot = snapshot.with_server(_answering(server, snapshot, now))
    return select(snapshot, now=now, runs_from=runs_from)


def _at_best(
    server: ServerSnapshot, snapshot: Snapshot, now: float, runs_from: float, registers: bool
) -> ServerSnapshot:
    """``server`` as it would be if all that is still to be heard of it were good; itself if nothing is."""
    is_begun = registers and is_being_registered(server, now)
    is_unasked = is_begun or not (server.is_probed_since(runs_from) or now < server.stay_away_until)
    # One that was never heard of may turn out to have the node object that those who answered have not.
    is_unknown = is_unasked and server.health is Health.UNKNOWN and server.node_check is None
    is_unread = is_unknown or (registers and _is_to_be_read(server, snapshot))
    if is_unasked:
        server = _answering(server, snapshot, now)
    if is_begun:
        registered = attrs.evolve(server.registration, state=RegistrationState.REGISTERED)
        server = attrs.evolve(server, registration=registered)
    return attrs.evolve(server, node_check=NodeCheck(now, _USEFUL)) if is_unread else server


def _answering(server: ServerSnapshot, snapshot: Snapshot, now: float) -> ServerSnapshot:
    """``server`` as it would be had it just answered as well as it last did."""
    answer = attrs.evolve(server.last_alive_probe or ProbeResult(Outcome.OK, "", now), finished_at=now)
    answered = counted(server, snapshot, answer.outcome, at=now)
    return attrs.evolve(answered, last_probe=answer, last_alive_probe=answer)


def _is_to_be_read(server: ServerSnapshot, snapshot: Snapshot) -> bool:
    """What its first reading finds may tell where a run goes, and is known in a moment."""
    readiness = snapshot.policy.readiness
    is_looked_at = not readiness.is_off and not readiness.has_policy
    last = server.last_alive_probe
    is_new = not server.was_known or server.registration.retry_at > -math.inf
    is_unread = server.node_check is None and is_new and last is not None and last.is_signed
    return is_looked_at and len(snapshot.servers) > 1 and server.answers_node and is_unread


def _hold_down_s(server: ServerSnapshot, snapshot: Snapshot, standings: Mapping[str, Standing], now: float) -> float:
    """Seconds until the node may move there from the server in use, where that is no better; infinite for never."""
    current, standing = snapshot.in_use, standings[server.name]
    if current is None or standing is not standings[current.name] or not is_preferred(server, current, snapshot):
        return 0.0
    if standing < Standing.STALE:  # between servers that all fail there is nothing to gain
        return math.inf
    return hold_down.left_s(server, snapshot.policy, well_since=server.well_since, now=now)


def _stays(
    snapshot: Snapshot, current: ServerSnapshot, best: ServerSnapshot, standings: Mapping[str, Standing]
) -> bool:
    """Whether the node stays on ``current``, which is DOWN, though ``best`` stands better.

    Where no server answers there is nothing to gain. An answer from before ``current`` went DOWN tells nothing, since
    ``best`` may have gone with it; and what brought ``best`` back may have brought ``current`` back. A person who
    drained ``current`` wants it left all the same.
    """
    went_down_at, came_up_at = current.liveness.changed_at, best.liveness.changed_at
    last, answer = current.last_probe, best.last_alive_probe
    if standings[current.name] is not Standing.DOWN or went_down_at is None:
        return False
    if standings[best.name] <= Standing.FAILING or last is None or answer is None or came_up_at is None:
        return True
    has_failed_since = not last.outcome.is_alive and min(last.began_at, last.finished_at) >= came_up_at
    is_drained = snapshot.orders.drain_of(current.name) is not None
    return not is_drained and (answer.finished_at < went_down_at or not has_failed_since)
