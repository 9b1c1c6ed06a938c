"""Pure: what a person has said about the use of the servers, as values. What it means and how it ends is `steering`."""

from __future__ import annotations

import datetime
import math
from collections.abc import Container, Hashable, Iterator

import attrs

from chef_failover.durations import in_words


@attrs.frozen(kw_only=True)
class Order:
    """What a person has said about the use of one server: why, who, since when and for how long."""

    server: str
    who: str
    """The user who said it, as the kernel names him."""
    reason: str = ""
    created_on: datetime.datetime
    lasts_s: float = math.inf
    """As long as was asked for."""
    ends_at: float = math.inf
    """When it ends, on the monotonic clock: this is what ends it."""
    ends_on: datetime.datetime | None = None
    """The same instant as the wall clock has it, for people and for after a reboot."""
    in_use: str | None = None
    """The server that this node used when it was said."""

    @property
    def place(self) -> Hashable:
        """Of two orders with the same one, the later takes the place of the earlier."""
        return type(self), self.server

    def by(self, now: float | None = None) -> str:
        """Who, how long and why: ``alice for another 2 h: kernel upgrade``; without ``now``, as was asked for."""
        span_s = self.lasts_s if now is None else self.ends_at - now
        span = "" if math.isinf(span_s) else f" for {'' if now is None else 'another '}{in_words(span_s)}"
        return f"{self.who}{span}{f': {self.reason}' if self.reason else ''}"


@attrs.frozen(kw_only=True)
class Drain(Order):
    """The server is not to be used while another one is eligible."""

    def told(self, now: float | None = None) -> str:
        """As words that follow the server's name; see `Order.by` for ``now``."""
        return f"drained by {self.by(now)}"


@attrs.frozen(kw_only=True)
class FleetDrain(Drain):
    """A drain that stands in the fleet's list, and is ended there alone. It stands beside one of this node's own."""


@attrs.frozen(kw_only=True)
class Pin(Order):
    """The server is to be used: before all others that are as well as it is, or, strictly, however it is."""

    is_strict: bool = False

    @property
    def place(self) -> Hashable:
        """A node has one pin."""
        return Pin

    def told(self, now: float | None = None) -> str:
        """As words that follow ``this node is``; see `Order.by` for ``now``."""
        return f"pinned{' strictly' if self.is_strict else ''} to {self.server} by {self.by(now)}"


@attrs.frozen
class Orders:
    """All that people have said and not taken back, also of servers that the configuration does not name now: that
    holds again when those return."""

    given: tuple[Order, ...] = ()

    def __iter__(self) -> Iterator[Order]:
        """The oldest first."""
        return iter(self.given)

    @property
    def pin(self) -> Pin | None:
        """The one pin."""
        return next((order for order in self.given if isinstance(order, Pin)), None)

    @property
    def drains(self) -> tuple[Drain, ...]:
        """This node's own."""
        return tuple(one for one in self.given if isinstance(one, Drain) and not isinstance(one, FleetDrain))

    @property
    def fleet_drains(self) -> tuple[FleetDrain, ...]:
        """Those that stand in the fleet's list."""
        return tuple(order for order in self.given if isinstance(order, FleetDrain))

    @property
    def next_end(self) -> float:
        """The instant at which the next one ends; infinite if none does."""
        return min((order.ends_at for order in self.given), default=math.inf)

    def over_by(self, now: float) -> list[Order]:
        """Those whose time is over ``now``, on the monotonic clock."""
        return [order for order in self.given if order.ends_at <= now]

    def drain_of(self, server: str) -> Drain | None:
        """The drain that holds of that server, of two the one that holds for longer; None when there is none."""
        drains = [order for order in self.given if isinstance(order, Drain) and order.server == server]
        return max(drains, key=lambda drain: drain.ends_at, default=None)

    def at(self, place: Hashable) -> Order | None:
        """The order with that `Order.place`."""
        return next((order for order in self.given if order.place == place), None)

    def plus(self, order: Order) -> Orders:
        """The same with ``order`` in the place of the one that it replaces."""
        return Orders((*(one for one in self.given if one.place != order.place), order))

    def minus(self, ended: Container[Order]) -> Orders:
        """The same without these."""
        return Orders(tuple(order for order in self.given if order not in ended))
