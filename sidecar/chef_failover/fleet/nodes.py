"""Pure: one node as the report needs it, made of a row of a search.

A fleet of 25,000 nodes says a few dozen different things: what does not name the node is a value of its own, `Facts`,
so that equal ones can be one object.

Sources: the search's rows as github.com/chef/chef-server chef_wm_search.erl makes them; `node['chef_failover']` as the
Ohai plugin publishes it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import attrs

from chef_failover.chef.answers import AUTH_SKEW_S
from chef_failover.fleet.standby import Standby, judge, mapping, number

KEYS = {
    "name": ["name"],
    "seen": ["ohai_time"],
    "available": ["chef_failover", "available"],
    "version": ["chef_failover", "version"],
    "server": ["chef_failover", "server", "name"],
    "degraded": ["chef_failover", "server", "degraded"],
    "pin": ["chef_failover", "pin"],
    "drains": ["chef_failover", "drains"],
    "servers": ["chef_failover", "servers"],
}
"""What a partial search is asked for; what a node does not have is null."""


@attrs.frozen
class Facts:
    """What a node publishes. ``available`` None: nothing, since chef-failover is not there."""

    available: bool | None = None
    version: str | None = None
    server: str | None = None
    """The name of the server that its runs use."""
    is_degraded: bool = False
    pinned: str | None = None
    is_pinned_strictly: bool = False
    drained: tuple[str, ...] = ()
    servers: tuple[Standby, ...] | None = ()
    """All of its servers, in order of preference; None where an older version says too little of them."""


@attrs.frozen
class Node:
    """One node. ``seen_at`` is the Unix time of its last run that saved it, None before the first or if unknown."""

    name: str
    seen_at: float | None
    facts: Facts
    found_on: str
    """The ``chef_server_url`` of the server that had the newest object."""

    def is_newer_than(self, other: Node | None) -> bool:
        """Its object is the one that counts, of the same node on two servers."""
        return other is None or (self.seen_at or 0.0) > (other.seen_at or 0.0)


def parse(row: object, found_on: str, on: datetime.datetime) -> Node:
    """Return the node in ``row``, any JSON value, if it has what `KEYS` asks for.

    A node writes the time of its run itself, and a server may store any. A time further ahead of ``on``, the wall time
    now, than a Chef server lets clocks be apart is unknown, so that it outranks no other object of the node.

    Raises:
        ValueError: the row is not what was asked for.
    """
    data = mapping(row)
    name = data.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError("a row of the search has no name")
    return Node(name, number(data.get("seen"), 0.0, on.timestamp() + AUTH_SKEW_S), _facts(data, on), found_on)


def _facts(data: Mapping[str, Any], on: datetime.datetime) -> Facts:
    available = data.get("available")
    if not isinstance(available, bool):
        return Facts()
    pin, drains = mapping(data.get("pin")), mapping(data.get("drains"))
    return Facts(
        available,
        _text(data.get("version")),
        _text(data.get("server")),
        is_degraded=data.get("degraded") is True,
        pinned=_text(pin.get("server")),
        is_pinned_strictly=pin.get("strict") is True,
        drained=tuple(drains),
        servers=_servers(data.get("servers"), drains, on),
    )


def _servers(servers: object, drains: Mapping[str, Any], on: datetime.datetime) -> tuple[Standby, ...] | None:
    try:
        return tuple(
            judge(name, entry, is_drained=name in drains, on=on)
            for name, entry in servers.items()  # type: ignore[attr-defined]
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
