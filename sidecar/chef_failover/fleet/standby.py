"""Pure: whether a server could take a node over now, by what the node's own sidecar says of it.

`GET /v1/servers` and ``node['chef_failover']`` describe a server in the same words, so one rule serves the node that
asks for itself and the report on all nodes.

A barrier fails the node's runs there. A caution does not: a run on a stale server works, and so does one under a
certificate that ends next week. A drain is neither, since a drained server is used where no other one is well.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from typing import Any

import attrs

NOTICE = datetime.timedelta(days=21)
"""A certificate that ends sooner is a caution: what renews certificates by itself renews them before."""
_MOST = 1e6
"""Of a priority, either way: config.yml allows six digits."""


class Barrier(enum.StrEnum):
    """Why a server could not take a node over now, the one that is nearest to doing so first."""

    NOT_READ = "not_read"
    CANNOT_SAVE = "cannot_save"
    IMPAIRED = "impaired"
    FAILS_RUNS = "fails_runs"
    NO_OBJECT = "no_object"
    NOT_READY = "not_ready"
    TURNED_AWAY = "turned_away"
    DOWN = "down"
    NOT_REGISTERED = "not_registered"


class Caution(enum.StrEnum):
    """What is wrong with a server that could take a node over all the same."""

    STALE = "stale"
    CERTIFICATE_ENDS = "certificate_ends"


SENTENCES = {
    Barrier.NOT_READ: "the sidecar has not read yet what a run finds there",
    Barrier.CANNOT_SAVE: "this node cannot save its object there",
    Barrier.IMPAIRED: "its search index fails, so every run fails at its last save",
    Barrier.FAILS_RUNS: "it failed the last runs of this node",
    Barrier.NO_OBJECT: "it has no object of this node",
    Barrier.NOT_READY: "it lacks what a run needs",
    Barrier.TURNED_AWAY: "it refuses this node",
    Barrier.DOWN: "it is not UP",
    Barrier.NOT_REGISTERED: "this node is not registered there",
}
_BY_STANDING = {
    "impaired": Barrier.IMPAIRED,
    "fails_runs": Barrier.FAILS_RUNS,
    "turns_node_away": Barrier.TURNED_AWAY,
    "failing": Barrier.DOWN,
}


@attrs.frozen
class Standby:
    """One server of a node. ``barrier`` None: it could take the node over now; of two, the smaller priority does."""

    name: str
    barrier: Barrier | None = None
    cautions: tuple[Caution, ...] = ()
    is_drained: bool = False
    priority: int = 0


def judge(name: str, entry: Mapping[str, Any], *, is_drained: bool, on: datetime.datetime) -> Standby:
    """What ``entry``, which describes the server ``name`` for one node, says of it ``on`` that wall time.

    Raises:
        LookupError, TypeError, ValueError: it is not what a sidecar of this version says.
    """
    priority = number(entry.get("priority", 0), -_MOST, _MOST)
    if priority is None:
        raise ValueError(f"{name} has no priority of up to six digits")
    return Standby(name, _barrier(entry), tuple(_cautions(entry, on)), is_drained, int(priority))


def number(value: object, least: float, most: float) -> float | None:
    """Return ``value`` if it is a number from ``least`` to ``most``, else None. JSON has infinite and endless ones."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return None
    return float(value)


def mapping(value: object) -> Mapping[str, Any]:
    """Return ``value`` if it is an object of JSON, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def first_of(standbys: tuple[Standby, ...]) -> Standby | None:
    """The one that would be used; a drained one only if no other is left. Equal ones are taken as they stand."""
    usable = [standby for standby in standbys if standby.barrier is None]
    return min(usable, key=lambda standby: (standby.is_drained, standby.priority), default=None)


def of_node(document: Mapping[str, Any], *, on: datetime.datetime) -> dict[str, Any]:
    """Whether another server could take over now, by what ``GET /v1/servers`` says.

    ``standby`` is the name of the server that would, or None; then ``reason`` says why not, and ``servers`` what each
    of them lacks. ``but`` has what the standby lacks all the same.

    Raises:
        LookupError, TypeError, ValueError: as `judge`.
    """
    others = [entry for entry in document["servers"] if entry["name"] != document["choice"]]
    reason = _unknowable(document, others)
    standbys: tuple[Standby, ...] = ()
    if reason is None:
        standbys = tuple(judge(one["name"], one, is_drained=one["drain"] is not None, on=on) for one in others)
    best = first_of(standbys)
    lacks = {entry["name"]: entry["lacks"] for entry in others if standbys}
    return {
        "schema": 1,
        "standby": best.name if best else None,
        "reason": None if best else reason or "none of them is ready",
        "but": lacks[best.name] if best else [],
        "servers": []
        if best
        else [
            {"name": one.name, "obstacle": one.barrier, "lacks": lacks[one.name] or [SENTENCES[one.barrier]]}
            for one in standbys
            if one.barrier
        ],
    }


def _unknowable(document: Mapping[str, Any], others: list[Mapping[str, Any]]) -> str | None:
    """Why nothing can be said of any standby; None where each can be judged."""
    if document.get("error"):
        return f"the sidecar is down: {document['error']}"
    if document.get("offline"):
        return f"this node is offline: {document['offline']}"
    pin = document["pin"]
    if pin and pin["strict"] and pin["server"] == document["choice"]:
        return f"this node is pinned strictly to {pin['server']}"
    return None if others else "no other server is configured"


def _barrier(entry: Mapping[str, Any]) -> Barrier | None:
    if entry["association"] != "associated":
        return Barrier.NOT_REGISTERED
    if entry["health"] != "UP":
        return Barrier.DOWN
    if not entry["ready"]:
        return Barrier.NO_OBJECT if entry.get("has_object") is False else Barrier.NOT_READY
    if entry["may_save"] is False:
        return Barrier.CANNOT_SAVE
    standing = entry.get("standing")
    found = _BY_STANDING.get(standing) if isinstance(standing, str) else None
    return found or (Barrier.NOT_READ if entry.get("unread") is True else None)


def _cautions(entry: Mapping[str, Any], on: datetime.datetime) -> list[Caution]:
    ends = entry.get("certificate_ends")
    found = [Caution.STALE] if entry.get("stale") else []
    if ends is not None and datetime.datetime.fromisoformat(ends) - on < NOTICE:
        found.append(Caution.CERTIFICATE_ENDS)
    return found
