"""Pure: may a node be removed from its Chef servers, by what each of them has of it, and what became of it there?

What is removed is gone: a client with its key and its rights, a node object with its run list and attributes. So a
doubt is an objection. A server that cannot be asked may be the one that the node used a minute ago: that is a doubt.

A person who names a node is asked about what lives. What removes nodes because their instance was terminated knows
that the instance is gone, and asks instead whether the name has passed to another one.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from chef_failover.durations import in_words
from chef_failover.fleet.standby import number

ALIVE_S = 3600.0
"""A node that saved its object within so many seconds may live. chef-client runs every half hour or so."""
_LATEST = 1e15
_Answer = Mapping[str, Any] | None


class Objection(enum.StrEnum):
    """Why a node is kept."""

    PROTECTED = "protected"
    UNREAD = "unread"
    ALIVE = "alive"
    OTHER_INSTANCE = "other_instance"


class Part(enum.StrEnum):
    """What became of a client or a node object on one server."""

    REMOVED = "removed"
    GONE = "gone"
    THERE = "there"
    UNKNOWN = "unknown"


@attrs.frozen
class Sighting:
    """What the server ``label`` has of one node."""

    label: str
    client: Part = Part.GONE
    node: Part = Part.GONE
    is_privileged: bool = False
    """The client is a validator or an administrator."""
    seen_at: float | None = None
    """The Unix time of the last run that saved the node object; None before the first, and without an object."""
    instance_id: str | None = None
    """The EC2 instance that saved it."""
    trouble: str | None = None
    """Why the server does not tell, or did not remove something."""

    @property
    def is_gone(self) -> bool:
        """Nothing is left there."""
        return {self.client, self.node} <= {Part.REMOVED, Part.GONE}


@attrs.frozen
class Refusal:
    """Why a node is kept, for programs and for people."""

    objection: Objection
    reason: str


def unread(label: str, trouble: str) -> Sighting:
    """What is known of a node on a server that does not tell."""
    return Sighting(label, Part.UNKNOWN, Part.UNKNOWN, trouble=trouble)


def parse(label: str, client: _Answer, node: _Answer, on: datetime.datetime) -> Sighting:
    """What the client and the node object in JSON say, each None where the server has none, ``on`` that wall time.

    A node writes the time of its run itself: what lies ahead counts as now.
    """
    automatic = _mapping((node or {}).get("automatic"))
    seen_at = number(automatic.get("ohai_time"), 0.0, _LATEST)
    instance_id = _mapping(automatic.get("ec2")).get("instance_id")
    return Sighting(
        label,
        Part.GONE if client is None else Part.THERE,
        Part.GONE if node is None else Part.THERE,
        is_privileged=client is not None and (client.get("validator") is True or client.get("admin") is True),
        seen_at=None if seen_at is None else min(seen_at, on.timestamp()),
        instance_id=instance_id if isinstance(instance_id, str) else None,
    )


def refusal(
    name: str,
    sightings: Sequence[Sighting],
    *,
    users: Collection[str],
    on: datetime.datetime,
    instance_id: str | None = None,
    is_forced: bool = False,
) -> Refusal | None:
    """Why the node ``name`` is kept; None: it may be removed.

    Args:
        name: its client has the same.
        sightings: one of each server.
        users: those who sign the requests; nobody removes himself.
        on: now, in wall time.
        instance_id: the EC2 instance that was terminated, if that is why.
        is_forced: a person says that it does not live, and that servers which cannot be asked do not matter.
    """
    if name in users or name.endswith("-validator") or any(one.is_privileged for one in sightings):
        return Refusal(Objection.PROTECTED, "a validator or administrator, not a node: remove it with knife")
    if is_forced:
        return None
    lacking = [f"{one.label}: {one.trouble}" for one in sightings if one.trouble]
    if lacking:
        return Refusal(Objection.UNREAD, f"{'; '.join(lacking)}. It may be in use there, so nothing was removed")
    seen = sorted((one for one in sightings if one.seen_at is not None), key=_seen_at, reverse=True)
    if instance_id is None:
        return _alive(seen, on)
    return _passed_on(seen, on, instance_id) if name != instance_id else None


def _alive(seen: Sequence[Sighting], on: datetime.datetime) -> Refusal | None:
    """``seen`` has the newest first."""
    if not seen or _age_s(seen[0], on) > ALIVE_S:
        return None
    return Refusal(Objection.ALIVE, f"seen {_ago(seen[0], on)} on {seen[0].label}: it may be alive")


def _passed_on(seen: Sequence[Sighting], on: datetime.datetime, instance_id: str) -> Refusal | None:
    """The newest object says whose the name is; one that another instance saved lately counts in any case."""
    for place, one in enumerate(seen):
        if one.instance_id != instance_id and (place == 0 or _age_s(one, on) <= ALIVE_S):
            whose = one.instance_id or "a machine that is not on EC2"
            return Refusal(Objection.OTHER_INSTANCE, f"it is {whose} now, seen {_ago(one, on)} on {one.label}")
    return None


def is_gone(sightings: Iterable[Sighting]) -> bool:
    """Nothing of the node is left anywhere."""
    return all(one.is_gone for one in sightings)


def document(
    nodes: Mapping[str, Sequence[Sighting]],
    refusals: Mapping[str, Refusal],
    on: datetime.datetime,
) -> dict[str, Any]:
    """What is known of ``nodes``, or what became of them: the result of each, and of its parts on each server."""
    described = [_described(name, sightings, refusals.get(name), on) for name, sightings in nodes.items()]
    return {
        "schema": 1,
        "at": _instant(on.timestamp()),
        "nodes": described,
        "whole": all(node["result"] in ("retired", "gone") for node in described),
    }


def _described(
    name: str, sightings: Sequence[Sighting], refused: Refusal | None, on: datetime.datetime
) -> dict[str, Any]:
    is_removed = any(Part.REMOVED in (one.client, one.node) for one in sightings)
    done = ("retired" if is_removed else "gone") if is_gone(sightings) else "unfinished"
    return {
        "name": name,
        "result": "kept" if refused else done,
        "objection": refused.objection if refused else None,
        "reason": refused.reason if refused else None,
        "servers": [
            {
                "label": one.label,
                "client": one.client,
                "node": one.node,
                "seen_at": None if one.seen_at is None else _instant(one.seen_at),
                "seen": None if one.seen_at is None else _ago(one, on),
                "trouble": one.trouble,
            }
            for one in sightings
        ],
    }


def _instant(unix: float) -> str:
    return datetime.datetime.fromtimestamp(unix, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seen_at(sighting: Sighting) -> float:
    return sighting.seen_at or 0.0


def _age_s(sighting: Sighting, on: datetime.datetime) -> float:
    return on.timestamp() - _seen_at(sighting)


def _ago(sighting: Sighting, on: datetime.datetime) -> str:
    return f"{in_words(_age_s(sighting, on))} ago"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
