"""Pure: may a node be removed from its Chef servers, by what each of them has of it, and what became of it there?

What is removed is gone: a client with its key and its rights, a node object with its run list and attributes. So a
doubt is an objection. A server that cannot be asked may be the one that the node used a minute ago: that is a doubt.

A person who names a node is asked about what lives. What removes nodes because their instance was terminated knows
that the instance is gone, and asks instead whose the name is now. A name or an age proves nothing there: any node may
create the object of any name. So an object that another machine saved, or that another client made, keeps the node on
every server.

Servers stand in the order of their profiles. A server whose object no run has saved, or that has none, goes by those
before it: they are seeded from there. So what a standby says removes nothing from main.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from chef_failover.durations import in_words
from chef_failover.fleet.standby import mapping, number

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
    is_own: bool = True
    """The client may write the node object. Else another has made it, or another client of that name."""
    has_run: bool = False
    """A run has saved the node object. One that was just created or seeded has no automatic attributes."""
    seen_at: float | None = None
    """The Unix time of that run; None where the object does not tell."""
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


def parse(
    label: str, client: _Answer, node: _Answer, on: datetime.datetime, administrators: Collection[str] = ()
) -> Sighting:
    """What the client and the node object in JSON say, each None where the server has none, ``on`` that wall time.

    ``administrators`` are those of the server's group: a Chef Infra Server does not say it of a client. A node writes
    the time of its run itself: what lies ahead counts as now.
    """
    automatic = mapping((node or {}).get("automatic"))
    seen_at = number(automatic.get("ohai_time"), 0.0, _LATEST)
    instance_id = mapping(automatic.get("ec2")).get("instance_id")
    told = client or {}
    is_administrator = told.get("admin") is True or told.get("name") in administrators
    return Sighting(
        label,
        Part.GONE if client is None else Part.THERE,
        Part.GONE if node is None else Part.THERE,
        is_privileged=told.get("validator") is True or is_administrator,
        has_run=bool(automatic),
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
        sightings: one of each server, in the order of their profiles.
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
    return _alive(sightings, on) if instance_id is None else _passed_on(name, sightings, instance_id)


def _alive(sightings: Sequence[Sighting], on: datetime.datetime) -> Refusal | None:
    """An object without a time may be that of a first run, unless no run has saved it and one before it has a time."""
    is_told = False
    for one in sightings:
        if one.seen_at is None and one.node is Part.THERE and (one.has_run or not is_told):
            return Refusal(Objection.ALIVE, f"{one.label} knows no time of a run: it may be in its first one")
        is_told = is_told or one.seen_at is not None
    seen = max((one for one in sightings if one.seen_at is not None), key=_seen_at, default=None)
    if seen is None or _age_s(seen, on) > ALIVE_S:
        return None
    return Refusal(Objection.ALIVE, f"seen {_ago(seen, on)} on {seen.label}: it may be alive")


def _passed_on(name: str, sightings: Sequence[Sighting], instance_id: str) -> Refusal | None:
    for one in sightings:
        if not one.is_own:
            words = f"its client may not write its object on {one.label}, so another has made that"
            return Refusal(Objection.OTHER_INSTANCE, words)
        owner = _owner(name, one, instance_id)
        if owner not in (None, instance_id):
            return Refusal(Objection.OTHER_INSTANCE, f"{owner} has saved it on {one.label}")
    return None


def _owner(name: str, one: Sighting, instance_id: str) -> str | None:
    """The machine whose node it is by what the server has of it; None: the server does not tell.

    Where an object has no instance, and the node the name of the instance, the name tells.
    """
    if one.instance_id is not None or name == instance_id:
        return one.instance_id or name
    return "a machine without an EC2 instance id" if one.has_run else None


def of_instance(name: str, sightings: Sequence[Sighting], instance_id: str) -> tuple[Sighting, ...]:
    """What goes with the instance: the node on the first server that says it is the instance's, and on those after it.

    Of what the others have it is as if they had nothing.
    """
    tells = [_owner(name, one, instance_id) == instance_id for one in sightings]
    return tuple(one if any(tells[: place + 1]) else Sighting(one.label) for place, one in enumerate(sightings))


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
