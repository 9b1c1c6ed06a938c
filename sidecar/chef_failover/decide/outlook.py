"""Pure: what each server lacks to take over, and what would have to change for this node to use it.

The choice says why this server; here is the other half of the answer, for each one that was not chosen.
"""

from __future__ import annotations

import datetime
import math

from chef_failover.decide import hold_down, rights
from chef_failover.decide.obstacles import obstacles, remedy, said
from chef_failover.decide.seeding import differences_of
from chef_failover.decide.steering import in_force
from chef_failover.durations import in_words
from chef_failover.model.model import (
    Choice,
    Health,
    Obstacle,
    RegistrationState,
    ServerSnapshot,
    Snapshot,
    Standing,
    Verdict,
)

CERTIFICATE_NOTICE_S = 21 * 86400.0
"""A certificate that is renewed by a machine is renewed before this; one that is not wants a person's time."""
_OUTAGES = (Standing.DOWN, Standing.RISING, Standing.IMPAIRED)
"""From the end of these on a server has to stay well."""


def shortcomings(
    snapshot: Snapshot, server: ServerSnapshot, *, now: float, on: datetime.datetime | None
) -> tuple[str, ...]:
    """What keeps this server from taking over, now or soon, as words that follow its name.

    ``on`` is wall time; without it nothing is said of certificates.
    """
    found = (
        *(said(one.standing, one.words) for one in _obstacles(snapshot, server, now)),
        *(f"has another object of this node: {difference}" for difference in differences_of(snapshot, server)),
        _plan(server, now),
        rights.lack(snapshot, server),
        _certificate(server, on),
        _licence(server),
    )
    return tuple(filter(None, found))


def _obstacles(snapshot: Snapshot, server: ServerSnapshot, now: float) -> tuple[Obstacle, ...]:
    """What would keep a run from it that starts now, by what was last heard of it."""
    snapshot = in_force(snapshot, now)
    return obstacles(snapshot, snapshot.server(server.name) or server, now=now, runs_from=-math.inf)


def _plan(server: ServerSnapshot, now: float) -> str | None:
    """When the node registers there, where nothing needs it sooner."""
    registration = server.registration
    left_s = registration.retry_at - now
    has_time = registration.state is RegistrationState.UNREGISTERED and registration.urgent_at < registration.retry_at
    if left_s <= 0 or not has_time or server.health is Health.DOWN:
        return None
    return f"registers this node in {in_words(left_s)}, or at once by: chef-failover associate {server.name}"


def _certificate(server: ServerSnapshot, on: datetime.datetime | None) -> str | None:
    """That its certificate ends soon, or has; None while that is far away, or not known."""
    ends_on = server.last_probe.certificate_expires_on if server.last_probe else None
    left_s = (ends_on - on).total_seconds() if ends_on and on else math.inf
    if left_s > CERTIFICATE_NOTICE_S:
        return None
    return f"has a certificate that expires in {in_words(left_s)}" if left_s > 0 else "has an expired certificate"


def _licence(server: ServerSnapshot) -> str | None:
    """That its Chef licence has ended, and for how long it still works, in its own words; None while it is valid."""
    notice = server.last_alive_probe.licence_notice if server.last_alive_probe else None
    return f"has a Chef licence in its grace period: {notice}" if notice else None


def conditions_for_use(snapshot: Snapshot, verdict: Verdict, choice: Choice, *, now: float) -> str | None:
    """What would have to change for this node to use that server, as a sentence; None for the one in use."""
    server = snapshot.server(verdict.name)
    if server is None or verdict.name == choice.name:
        return None
    snapshot = in_force(snapshot, now)
    is_pinned = snapshot.pinned == verdict.name
    found = [one.standing for one in _obstacles(snapshot, server, now)]
    wants = [f"the pin to {snapshot.pinned} must end"] if snapshot.pin and not is_pinned else []
    wants += filter(None, (remedy(standing, verdict.name) for standing in found))
    if verdict.is_better and not is_pinned and not choice.is_degraded:
        wants += _to_stay_well(server, snapshot, found, now)
    before = _before(verdict, choice)
    if before and snapshot.pin is None:
        wants.append(f"{' and '.join(before)} must fail or be drained, or the node be pinned")
    return "; ".join(wants) or "nothing; the node moves there shortly"


def _to_stay_well(server: ServerSnapshot, snapshot: Snapshot, found: list[Standing], now: float) -> list[str]:
    is_out = any(standing in _OUTAGES for standing in found)
    well_since = now if is_out else server.well_since
    left_s = hold_down.left_s(server, snapshot.policy, well_since=well_since, now=now)
    if well_since is None or left_s <= 0:
        return []
    if math.isinf(left_s):
        return [f"failback is never, so a person must move the node: chef-failover pin {server.name}"]
    span = hold_down.in_words(left_s, server, now=now)
    return [f"it must{' then' if is_out else ''} stay UP for {span}, or the node be pinned"]


def _before(verdict: Verdict, choice: Choice) -> list[str]:
    """The well servers that come before this one, the one in use among them."""
    names = [one.name for one in choice.verdicts]
    earlier = names[: names.index(verdict.name)]
    own = Standing.STALE if verdict.standing is Standing.STALE else Standing.ELIGIBLE
    return [one.name for one in choice.verdicts if one.standing > own or (one.standing is own and one.name in earlier)]
