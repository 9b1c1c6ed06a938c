"""Pure: what each server lacks to take over, and what would have to change for this node to use it.

The choice says why this server; here is the other half of the answer, for each one that was not chosen.
"""

from __future__ import annotations

import datetime
import math

from chef_failover.decide import hold_down, parity, rights
from chef_failover.decide.readiness import PROVING, why_not_ready
from chef_failover.decide.run_evidence import left_behind_s, why_behind
from chef_failover.decide.search_index import why_impaired
from chef_failover.decide.seeding import differences_of
from chef_failover.decide.steering import drained, in_force
from chef_failover.durations import in_words
from chef_failover.model.model import Choice, Health, RegistrationState, ServerSnapshot, Snapshot, Standing, Verdict

CERTIFICATE_NOTICE_S = 21 * 86400.0
"""A certificate that is renewed by a machine is renewed before this; one that is not wants a person's time."""

_UNDRAIN = "its drain must end"


def shortcomings(
    snapshot: Snapshot, server: ServerSnapshot, *, now: float, on: datetime.datetime | None
) -> tuple[str, ...]:
    """What keeps this server from taking over, now or soon, as words that follow its name.

    ``on`` is wall time; without it nothing is said of certificates.
    """
    server = in_force(snapshot, now).server(server.name) or server
    found = []
    if server.health is Health.UNKNOWN:
        found.append("has not been probed yet" if server.last_probe is None else f"is UNKNOWN: {server.detail}")
    elif server.health is Health.DOWN:
        found.append(f"is DOWN: {server.detail}")
    if not server.is_registered:
        said = f": {server.registration.detail}" if server.registration.detail else ""
        found.append(f"does not know this node, which is {server.registration.state} there{said}{_plan(server, now)}")
    elif server.is_turned_away and server.last_alive_probe:
        found.append(f"turns this node away: {server.last_alive_probe.detail}")
    elif server.access.health is Health.DOWN:
        found.append(f"turned this node away {PROVING}")
    found += filter(None, (why_not_ready(snapshot, server), _impaired(server)))
    found += [f"has another object of this node: {difference}" for difference in differences_of(snapshot, server)]
    found += _failed_runs(snapshot, server, now)
    found += _older(snapshot, server, now)
    if server.any_drain is not None:
        found.append(f"is {drained(server.any_drain, now)}")
    notices = rights.lack(snapshot, server), certificate(server, on), licence(server)
    return (*found, *filter(None, notices))


def _plan(server: ServerSnapshot, now: float) -> str:
    """When the node registers there, where nothing needs it sooner."""
    registration = server.registration
    left_s = registration.retry_at - now
    has_time = registration.state is RegistrationState.UNREGISTERED and registration.urgent_at < registration.retry_at
    if left_s <= 0 or not has_time or server.health is Health.DOWN:
        return ""
    return f"; it registers in {in_words(left_s)}, as nothing needs it sooner: chef-failover associate {server.name}"


def certificate(server: ServerSnapshot, on: datetime.datetime | None) -> str | None:
    """That its certificate ends soon, or has; None while that is far away, or not known."""
    ends_on = server.last_probe.certificate_expires_on if server.last_probe else None
    if ends_on is None or on is None:
        return None
    left_s = (ends_on - on).total_seconds()
    if left_s > CERTIFICATE_NOTICE_S:
        return None
    return (
        f"has a certificate that expires in {in_words(left_s)}" if left_s > 0 else "has a certificate that is expired"
    )


def licence(server: ServerSnapshot) -> str | None:
    """That its Chef licence has ended, and for how long it still works, in its own words; None while it is valid."""
    notice = server.last_alive_probe.licence_notice if server.last_alive_probe else None
    return f"has a Chef licence in its grace period: {notice}" if notice else None


def conditions_for_use(snapshot: Snapshot, verdict: Verdict, choice: Choice, *, now: float) -> str | None:
    """What would have to change for this node to use that server, as a sentence; None for the one in use."""
    server = snapshot.server(verdict.name)
    if server is None or verdict.name == choice.name:
        return None
    snapshot = in_force(snapshot, now)
    wants = [f"the pin to {snapshot.pinned} must end"] if snapshot.pin and snapshot.pinned != verdict.name else []
    mended = _mended(snapshot, snapshot.server(verdict.name) or server)
    wants += mended
    was_down = server.health is Health.DOWN or (server.well_since is not None and server.well_since > -math.inf)
    is_held_down = was_down and verdict.is_better and snapshot.policy.failback_s > 0 and snapshot.pinned != verdict.name
    if is_held_down and mended not in ([], [_UNDRAIN]):
        then_s = hold_down.left_s(server, snapshot.policy, well_since=now, now=now)
        wants.append(_hold_down(then_s, server, now, "it must then stay well for about"))
    elif verdict.hold_down_s > 0 and verdict.standing is Standing.ELIGIBLE:
        wants.append(_hold_down(verdict.hold_down_s, server, now, "it must stay well for another"))
    left_s = left_behind_s(snapshot, server, now=now)
    if left_s > 0:
        passes = "" if math.isinf(left_s) else f"another {in_words(left_s)} must pass, or "
        wants.append(f"{passes}a run must get further there: chef-failover pin {verdict.name} --strict")
    before = _before(verdict, choice)
    if before and snapshot.pin is None:
        wants.append(f"{' and '.join(before)} must fail or be drained, or the node be pinned")
    return "; ".join(wants) or "nothing; the node moves there as soon as it has proven itself"


def _impaired(server: ServerSnapshot) -> str | None:
    words = why_impaired(server)
    return f"is impaired: {words}" if words else None


def _failed_runs(snapshot: Snapshot, server: ServerSnapshot, now: float) -> list[str]:
    words = why_behind(snapshot, server, now=now)
    return [f"fails runs: {words}"] if words is not None else []


def _older(snapshot: Snapshot, server: ServerSnapshot, now: float) -> list[str]:
    words = parity.stale(snapshot, server, now=now)
    return [f"is stale: {words}"] if words is not None else []


def _mended(snapshot: Snapshot, server: ServerSnapshot) -> list[str]:
    found = []
    if server.health is not Health.UP:
        found.append("it must come UP")
    if not server.is_registered:
        found.append("this node must be registered there")
    elif server.is_turned_away or server.access.health is Health.DOWN:
        found.append("it must accept this node")
    if rights.is_barred(snapshot, server):
        found.append("this node must be able to save its object there")
    elif why_not_ready(snapshot, server) is not None:
        found.append("what a run needs must be there")
    if why_impaired(server):
        found.append("its search index must work")
    if server.any_drain is not None:
        found.append(_UNDRAIN)
    return found


def _hold_down(seconds: float, server: ServerSnapshot, now: float, words: str) -> str:
    if math.isinf(seconds):
        return f"failback is never, so a person must say it: chef-failover pin {server.name}"
    return f"{words} {in_words(seconds)}{hold_down.why_longer(server, now=now)}"


def _before(verdict: Verdict, choice: Choice) -> list[str]:
    """The well servers that come before this one, the one in use among them. A stale one comes after all fresh ones."""
    names = [one.name for one in choice.verdicts]
    earlier = names[: names.index(verdict.name)]
    is_stale = verdict.standing is Standing.STALE
    return [
        one.name
        for one in choice.verdicts
        if (one.standing is Standing.ELIGIBLE and (is_stale or one.name in earlier))
        or (one.standing is Standing.STALE and is_stale and one.name in earlier)
    ]
