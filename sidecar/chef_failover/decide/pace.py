"""Pure: when a server is probed though no run asks.

A run probes the server that it wants, so between runs there is little that a node has to know. Background probes fill
silence: a probe, a run or a reading counts as news, and only a server without news for ``interval`` is probed.

One thing is urgent: a server that is UP and begins to fail, for the few probes that make it DOWN. Every other trouble
means fewer probes. A server that is DOWN, turns the node away or answers 429 or 503 is probed with exponential back-off
and full jitter until that reaches ``interval``. The first step is a part of ``interval``, since ten thousand nodes may
meet the same trouble. Where this node cannot send at all, nothing is doubled: its probes cost no server anything, and
tell that it is back. A good answer after trouble is confirmed within that first step, so the confirmations of a fleet
are no peak either. ``Retry-After`` outweighs all of this.

A node without a choice probes the first server within seconds. All others have minutes as long as that one works, and
so has a server in use that was UP before a restart: a fleet whose sidecars restart in one second is no load for it.
"""

from __future__ import annotations

from chef_failover.decide.spread import doubled, varied
from chef_failover.model.model import Health, Pace, ProbeResult, RegistrationState, ServerSnapshot, Snapshot

FIRST_PROBE_S = 5.0
"""The first probe of the server in use falls within this, unless it was UP before a restart."""
FIRST_OF_OTHERS_S = 300.0
"""The first probe of any other server falls within this while the one in use works."""


def probe_from(snapshot: Snapshot, server: ServerSnapshot, pace: Pace, *, chance: float, begun_at: float) -> float:
    """Return the instant of the monotonic clock from which ``server`` is to be probed in the background.

    Args:
        snapshot: the world.
        server: one of its servers.
        pace: as configured.
        chance: from 0 to below 1, for the jitter; the same until the next probe.
        begun_at: when probing began, for a server that was never probed.
    """
    due_at = _due_at(snapshot, server, pace, chance, begun_at)
    return max(due_at, server.stay_away_until + chance * pace.first_step_s)


def _due_at(snapshot: Snapshot, server: ServerSnapshot, pace: Pace, chance: float, begun_at: float) -> float:
    last = server.last_probe
    if last is None:
        span_s = FIRST_OF_OTHERS_S if _may_wait(snapshot, server) else FIRST_PROBE_S
        return begun_at + chance * min(pace.interval_s, span_s)
    if _is_going_down(snapshot, server, last):
        return last.finished_at + varied(pace.retry_interval_s, chance)
    is_cut_off = snapshot.is_cut_off(last)
    if server.setbacks or server.is_changing or is_cut_off:
        doublings = 0 if is_cut_off else max(0, server.setbacks - 1)
        span_s = doubled(pace.first_step_s, doublings, pace.interval_s)
        heard_at = last.finished_at
        if span_s < pace.interval_s:
            return heard_at + max(min(pace.retry_interval_s, span_s), chance * span_s)
    else:
        heard_at = max(last.finished_at, server.run_ended_at, _reading_answered_at(server))
    return heard_at + varied(pace.interval_s, chance)


def _is_going_down(snapshot: Snapshot, server: ServerSnapshot, last: ProbeResult) -> bool:
    """Its last probes count against a server that is UP, and no overload explains them."""
    if server.health is not Health.UP or not server.liveness.is_changing:
        return False
    return not (snapshot.offline or last.is_node_trouble or last.outcome.is_overload)


def _may_wait(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """Nothing speaks yet against the server in use: another one, or this one if it was UP before a restart."""
    in_use = snapshot.in_use
    if in_use is None or (in_use.name == server.name and not server.was_up):
        return False
    works = in_use.last_probe is None or in_use.last_probe.outcome.serves_node
    return works and in_use.registration.state is not RegistrationState.REFUSED


def _reading_answered_at(server: ServerSnapshot) -> float:
    """When a reading was last answered there."""
    check = server.node_check
    return check.read_at if check is not None and not check.trouble else float("-inf")
