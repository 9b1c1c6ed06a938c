"""Shell: the nodes of EC2 instances that were terminated, removed from all Chef servers.

A node is that of an instance if it has the instance's id as its name, or if the instance was the last to save its
object. Nothing is removed unless every server has been searched and read, so what is not done now is found again the
next time.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import attrs

from chef_failover.errors import SearchError
from chef_failover.fleet import retirement
from chef_failover.fleet.retire import Servers
from chef_failover.fleet.retirement import Objection, Sighting

NAMES = 20
"""An instance has one node, or a few. What claims to have more is left to a person."""
UNSURE = "EC2 does not tell any more whether the instance had the tag"
NONE = "no Chef server has a node of it"
BY_HAND = "if it is gone, remove it with chef-failover retire"


@attrs.frozen
class Outcome:
    """What became of the nodes of one instance. ``is_done``: there is no more to do, now or later."""

    is_done: bool
    said: tuple[str, ...]
    """A sentence for each node."""


def retire(servers: Servers, instance_id: str, on: datetime.datetime, *, is_ours: bool = True) -> Outcome:
    """Remove the nodes of this instance; ``on`` is the wall time now.

    Without ``is_ours`` they are looked for, and left to a person.
    """
    try:
        found = servers.find(instance_id)
    except SearchError as error:
        return Outcome(False, (f"not now: {error}",))
    names = sorted({instance_id, *found})
    if len(names) > NAMES:
        return Outcome(False, (f"more than {NAMES} nodes say that they are of this instance: {BY_HAND}",))
    there = servers.look(names, on, with_rights=True)
    if not is_ours:
        stay = [name for name in names if not retirement.is_gone(there[name])]
        return Outcome(not stay, tuple(f"{name} is kept: {UNSURE}; {BY_HAND}" for name in stay) or (NONE,))
    refusals = {
        name: retirement.refusal(name, there[name], users=servers.users, on=on, instance_id=instance_id)
        for name in names
    }
    own = {name: retirement.of_instance(name, there[name], instance_id) for name in names}
    after = servers.remove({name: own[name] for name in names if not refusals[name]})
    told = [
        (refused.objection is not Objection.UNREAD, f"{name} is kept: {refused.reason}")
        if refused
        else _told(name, there[name], own[name], after[name])
        for name, refused in refusals.items()
    ]
    said = tuple(sentence for _, sentence in told if sentence)
    return Outcome(all(is_done for is_done, _ in told), said or (NONE,))


def _told(name: str, there: Sequence[Sighting], own: Sequence[Sighting], after: Sequence[Sighting]) -> tuple[bool, str]:
    """Whether there is no more to do for the node ``name``, and what happened, if anything did."""
    if not retirement.is_gone(after):
        lacking = "; ".join(f"{one.label}: {one.trouble}" for one in after if one.trouble)
        return False, f"{name} is not gone yet: {lacking}"
    where = " and ".join(one.label for one in own if not one.is_gone)
    left = " and ".join(one.label for one, mine in zip(there, own, strict=True) if mine.is_gone and not one.is_gone)
    removed = f"{name} is removed from {where}" if where else ""
    kept = f"{name} stays on {left}, where nothing tells whose it is: {BY_HAND}" if left else ""
    return True, "; ".join(filter(None, (removed, kept)))
