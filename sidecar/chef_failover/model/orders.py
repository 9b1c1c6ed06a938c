"""Pure: what a person has said about the use of the servers, as values. What it means and how it ends is `steering`."""

from __future__ import annotations

import datetime
import math

import attrs


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


@attrs.frozen(kw_only=True)
class Drain(Order):
    """The server is not to be used while another one is eligible."""


@attrs.frozen(kw_only=True)
class FleetDrain(Drain):
    """A drain that stands in the fleet's list, and is ended there alone. It stands beside one of this node's own."""


@attrs.frozen(kw_only=True)
class Pin(Order):
    """The server is to be used: before all others that are as well as it is, or, strictly, however it is."""

    is_strict: bool = False
