"""Pure: drains and pins, by which people steer the choice.

An order holds until it is lifted or over; every user who may give one may lift it.

**How it ends.** ``ends_at``, on the monotonic clock, is what ends an order: a wall clock that is set forward ends
nothing early, one that is set back prolongs nothing. That clock outlives the process, but not the boot. After a reboot
only the wall clock can tell how much is left, and it may be wrong just then; so what it says is believed from nothing
to the length that was asked for, and no further.

**What it leaves.** A server that was drained counts as well from when it became so, drained or not: one that worked all
the while is returned to at once, one that was rebooted has to stay well for ``failback`` like after any outage. There
is no other hold-down, since no trouble has been; a person has asked for the end, or for the time. With ``failback:
never``, which is about outages, the node goes back when the order ends to the server that the order took it from, if
that one is eligible at that moment.

**What it cannot do.** A plain pin is the first preference, and like all preferences it orders servers that stand
equally well: it sends no run to a server that is dead, refuses the node, lacks its object or is drained. A strict one
does.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Container, Iterable

import attrs

from chef_failover.model.model import Health, Snapshot
from chef_failover.model.orders import Drain, FleetDrain, Order, Orders, Pin

CLOCK_SLACK_S = 2.0
"""The wall clock is steered by so much without any notice."""
FLEET = "the fleet's list"
"""Who says what stands there."""
ABSENT_KEPT = 50
"""Drains of servers that are not configured; of more than that the oldest go."""


def in_force(snapshot: Snapshot, now: float) -> Snapshot:
    """The world without what is over ``now``, on the monotonic clock."""
    over = snapshot.orders.over_by(now)
    return attrs.evolve(snapshot, orders=snapshot.orders.minus(over)) if over else snapshot


def carried(orders: Orders, names: Container[str]) -> Orders:
    """What holds of ``orders`` once servers with these ``names`` are configured."""
    absent = [drain for drain in orders.drains if drain.server not in names]
    gone = [drain for drain in orders.fleet_drains if drain.server not in names]
    return orders.minus([*absent[:-ABSENT_KEPT], *gone])


def taken_from(snapshot: Snapshot, ended: Iterable[Order]) -> str | None:
    """With ``failback: never``, the server that one of these orders took the node from; None otherwise, or if DOWN."""
    if not math.isinf(snapshot.policy.failback_s):
        return None
    for order in ended:
        is_in_effect = isinstance(order, Drain) or snapshot.is_in_use(order.server)
        was_there = isinstance(order, Pin) or order.in_use == order.server
        server = snapshot.server(order.in_use) if order.in_use and is_in_effect and was_there else None
        if server is not None and server.health is not Health.DOWN:
            return server.name
    return None


def why_refused(snapshot: Snapshot, order: Order) -> str | None:
    """Why ``order`` makes no sense without force, as a sentence with the way out; None when it does."""
    name = order.server
    if isinstance(order, Drain):
        if not any(server.name != name and not snapshot.orders.drain_of(server.name) for server in snapshot.servers):
            return f"no server would be left: every other one is drained; undrain one, or drain {name} with --force"
        if snapshot.pin and snapshot.pin.is_strict and snapshot.pin.server == name:
            return f"this node is {snapshot.pin.told()}; unpin it first, or drain {name} with --force"
        return None
    drain = snapshot.orders.drain_of(name)
    if drain is not None and not (isinstance(order, Pin) and order.is_strict):
        return f"{name} is {drain.told()}; undrain it, or pin the node with --strict"
    return None


def redated(snapshot: Snapshot, now: float, on: datetime.datetime) -> Snapshot:
    """The world with the end of each order as the wall clock has it ``on``, after that clock was set."""
    orders = snapshot.orders
    for order in orders:
        if order.ends_on is not None and order.ends_at > now:
            ends_on = on + datetime.timedelta(seconds=order.ends_at - now)
            if not _is_same_end(ends_on, order.ends_on):
                orders = orders.plus(attrs.evolve(order, ends_on=ends_on))
    return attrs.evolve(snapshot, orders=orders)


def ends_at_after_reboot(ends_on: datetime.datetime, lasts_s: float, now: float, on: datetime.datetime) -> float:
    """The end on the monotonic clock of a new boot, which says ``now`` when the wall clock says ``on``."""
    return now + min(max(0.0, (ends_on - on).total_seconds()), lasts_s)


def fleet_drain_of(
    snapshot: Snapshot, name: str, reason: str, until: datetime.datetime | None, *, now: float, on: datetime.datetime
) -> FleetDrain | None:
    """The drain of a server as the fleet's list has it; None if there is no such server, or ``until`` has passed.

    The one that holds already is given again, unless the list or a clock that was set has changed it.
    """
    left_s = math.inf if until is None else (until - on).total_seconds()
    if snapshot.server(name) is None or left_s <= 0:
        return None
    former = next((drain for drain in snapshot.orders.fleet_drains if drain.server == name), None)
    if former is not None and former.reason == reason and _is_same_end(former.ends_on, until):
        return former
    drain = former or FleetDrain(server=name, who=FLEET, created_on=on, in_use=snapshot.chosen)
    return attrs.evolve(drain, reason=reason, lasts_s=left_s, ends_at=now + left_s, ends_on=until)


def _is_same_end(one: datetime.datetime | None, other: datetime.datetime | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs((one - other).total_seconds()) <= CLOCK_SLACK_S
