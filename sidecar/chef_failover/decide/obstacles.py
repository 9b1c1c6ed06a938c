"""Pure: everything that keeps a server from being used.

Each obstacle has the standing that it gives the server, and words for people. The worst obstacle is how the server
stands; all of them are what it lacks to take over.

A run that starts minds the latest word of a server: one that did not answer its latest probe is passed over at once.
The settled choice minds what was said often enough, so no single probe moves the node.
"""

from __future__ import annotations

from chef_failover.decide.parity import stale
from chef_failover.decide.readiness import why_not_ready
from chef_failover.decide.run_evidence import why_behind
from chef_failover.model.model import Health, Obstacle, RegistrationState, ServerSnapshot, Snapshot, Standing

TOO_LATE = "no answer in time for this run"
MORE_MUST_FOLLOW = "its last probe succeeded; more must follow"
_SAID = {
    Standing.UNKNOWN: ("is UNKNOWN: ", "it must come UP"),
    Standing.DOWN: ("is DOWN: ", "it must come UP"),
    Standing.FAILING: ("is failing: ", "its next probe must succeed"),
    Standing.TURNS_NODE_AWAY: ("does not accept this node: ", "it must accept this node"),
    Standing.NOT_READY: ("is not ready: ", "it must be ready"),
    Standing.DRAINED: ("is ", "its drain must end"),
    Standing.RISING: ("is coming back: ", "its next probes must succeed"),
    Standing.FAILS_RUNS: (
        "fails runs: ",
        "time must pass, or a run must get further there: chef-failover pin {} --strict",
    ),
    Standing.IMPAIRED: ("is impaired: ", "its search index must work"),
    Standing.STALE: ("is stale: ", ""),  # it is used once no other one is well
    Standing.ELIGIBLE: ("is ", ""),
}
"""How a server stands, in words that follow its name, and what ends that; ``{}`` is its name."""
_REGISTRATIONS = {
    RegistrationState.UNREGISTERED: "this node is not registered there",
    RegistrationState.REQUESTED: "registration there is under way",
    RegistrationState.FAILED: "registration there failed",
    RegistrationState.REFUSED: "registration there was refused",
}


def said(standing: Standing, words: str) -> str:
    """How a server stands, as words that follow its name: ``is DOWN: connection refused``."""
    return _SAID[standing][0] + words


def remedy(standing: Standing, name: str) -> str:
    """What must change for the server ``name`` to stand better; empty where nothing has to."""
    return _SAID[standing][1].format(name)


def obstacles(
    snapshot: Snapshot, server: ServerSnapshot, *, now: float, runs_from: float | None = None, minds_age: bool = True
) -> tuple[Obstacle, ...]:
    """What keeps ``server`` from being used.

    Args:
        snapshot: the world, without the orders that are over.
        server: one of its servers.
        now: the monotonic clock, seconds.
        runs_from: None for the settled choice; for a run that starts now, the oldest instant whose results count.
        minds_age: it matters that it is stale: by ``parity: require``, and not where a person wants that server.
    """
    is_in_use, drain = snapshot.is_in_use(server.name), snapshot.orders.drain_of(server.name)
    found = (
        *_of_health(server, is_in_use, runs_from),
        *_of_access(server, runs_from),
        (Standing.NOT_READY, why_not_ready(snapshot, server)),
        (Standing.FAILS_RUNS, why_behind(snapshot, server, now=now)),
        *_of_index(server, is_in_use),
        (Standing.STALE, stale(snapshot, server, now=now) if minds_age else None),
        (Standing.DRAINED, drain.told(now) if drain else None),
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


def _of_index(server: ServerSnapshot, is_in_use: bool) -> list[tuple[Standing, str]]:
    """What keeps a run there from saving its node.

    No node moves to a server whose latest look failed, but the one in use keeps its node until enough have.
    """
    index = server.index
    if index.health is Health.DOWN:
        words = "failed a moment ago" if index.is_changing else "fails, so the last save of a run fails"
        return [(Standing.IMPAIRED, f"its search index {words}")]
    return (
        [(Standing.IMPAIRED, "its search index failed its last check")] if index.is_changing and not is_in_use else []
    )


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
