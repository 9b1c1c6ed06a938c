"""Pure: everything that keeps a server from being used.

Each obstacle has the standing that it gives the server, and words for people. The worst obstacle is how the server
stands; all of them are what it lacks to take over.

A run that starts minds the latest word of a server: one that did not answer its latest probe is passed over at once.
The settled choice minds what was said often enough, so no single probe moves the node.
"""

from __future__ import annotations

import attrs

from chef_failover.decide.parity import stale
from chef_failover.decide.readiness import why_not_ready
from chef_failover.decide.run_evidence import why_behind
from chef_failover.decide.search_index import why_impaired
from chef_failover.decide.steering import drained
from chef_failover.model.model import Health, RegistrationState, ServerSnapshot, Snapshot, Standing

TOO_LATE = "no answer in time for this run"
MORE_MUST_FOLLOW = "its last probe succeeded; more must follow"
_SAID = {
    Standing.UNKNOWN: "is UNKNOWN: ",
    Standing.DOWN: "is DOWN: ",
    Standing.FAILING: "is failing: ",
    Standing.TURNS_NODE_AWAY: "does not accept this node: ",
    Standing.NOT_READY: "is not ready: ",
    Standing.DRAINED: "is ",
    Standing.RISING: "is coming back: ",
    Standing.FAILS_RUNS: "fails runs: ",
    Standing.IMPAIRED: "is impaired: ",
    Standing.STALE: "is stale: ",
    Standing.ELIGIBLE: "is ",
}
_REGISTRATIONS = {
    RegistrationState.UNREGISTERED: "this node is not registered there",
    RegistrationState.REQUESTED: "registration there is under way",
    RegistrationState.FAILED: "registration there failed",
    RegistrationState.REFUSED: "registration there was refused",
}


def said(standing: Standing, words: str) -> str:
    """How a server stands, as words that follow its name: ``is DOWN: connection refused``."""
    return _SAID[standing] + words


@attrs.frozen
class Obstacle:
    """Why a server is not to be used while another one stands better."""

    standing: Standing
    words: str
    """What it is, as words of their own."""

    @property
    def sentence(self) -> str:
        """The same as words that follow the server's name."""
        return said(self.standing, self.words)


def obstacles(
    snapshot: Snapshot, server: ServerSnapshot, *, now: float, runs_from: float | None = None
) -> tuple[Obstacle, ...]:
    """What keeps ``server`` from being used.

    Args:
        snapshot: the world, without the orders that are over.
        server: one of its servers.
        now: the monotonic clock, seconds.
        runs_from: None for the settled choice; for a run that starts now, the oldest instant whose results count.
    """
    is_in_use, drain = snapshot.is_in_use(server.name), snapshot.orders.drain_of(server.name)
    found = (
        *_of_health(server, is_in_use, runs_from),
        *_of_access(server, runs_from),
        (Standing.NOT_READY, why_not_ready(snapshot, server)),
        (Standing.FAILS_RUNS, why_behind(snapshot, server, now=now)),
        (Standing.IMPAIRED, why_impaired(server, is_in_use=is_in_use)),
        (Standing.STALE, stale(snapshot, server, now=now)),
        (Standing.DRAINED, drained(drain, now) if drain else None),
    )
    return tuple(Obstacle(standing, words) for standing, words in found if words is not None)


def _of_health(server: ServerSnapshot, is_in_use: bool, runs_from: float | None) -> list[tuple[Standing, str]]:
    last, detail = server.last_probe, server.detail
    # What keeps only this node's probes from asking keeps no run from working there.
    is_ours_alone = last is not None and last.is_only_our_trouble
    if runs_from is not None and server.answered_since(runs_from):
        return [] if server.health is Health.UP else [(Standing.RISING, detail)]
    if server.health is Health.UP:
        has_answered = last is None or last.outcome.is_alive
        if is_ours_alone or (runs_from is None and (is_in_use or has_answered)):
            return []
        return [(Standing.FAILING, TOO_LATE if has_answered else detail)]
    if server.health is Health.DOWN:
        return [(Standing.DOWN, MORE_MUST_FOLLOW if server.is_alive else detail)]
    # After a restart the server in use keeps the node until its first probe has spoken.
    if runs_from is None and is_in_use and (last is None or is_ours_alone):
        return []
    return [(Standing.FAILING if runs_from is not None and is_ours_alone else Standing.UNKNOWN, detail)]


def _of_access(server: ServerSnapshot, runs_from: float | None) -> list[tuple[Standing, str]]:
    if not server.is_registered:
        detail = server.registration.detail
        words = _REGISTRATIONS[server.registration.state]
        return [(Standing.TURNS_NODE_AWAY, f"{words}: {detail}" if detail else words)]
    is_denied = server.access.health is Health.DOWN
    if server.last_alive_probe is not None and server.is_turned_away and (is_denied or runs_from is not None):
        return [(Standing.TURNS_NODE_AWAY, server.last_alive_probe.detail)]
    if is_denied:
        return [(Standing.TURNS_NODE_AWAY if runs_from is None else Standing.RISING, MORE_MUST_FOLLOW)]
    return []
