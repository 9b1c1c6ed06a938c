"""Shell: the nodes of EC2 instances that were terminated, removed from all Chef servers.

A node is that of an instance if it has the instance's id as its name, or if the instance was the last to save its
object, on any server. Nothing is removed unless every server has been searched and read, so what is not done now is
found again the next time.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence

import attrs

from chef_failover.errors import SearchError
from chef_failover.fleet import retirement
from chef_failover.fleet.retire import Servers
from chef_failover.fleet.retirement import Objection, Refusal, Sighting


@attrs.frozen
class Outcome:
    """What became of the nodes of one instance. ``is_done``: there is no more to do, now or later."""

    is_done: bool
    said: tuple[str, ...]
    """A sentence for each node."""


def retire(servers: Servers, instance_ids: Collection[str], on: datetime.datetime) -> Mapping[str, Outcome]:
    """Remove the nodes of these instances; ``on`` is the wall time now."""
    try:
        found = servers.find(instance_ids)
    except SearchError as error:
        return dict.fromkeys(instance_ids, Outcome(False, (f"not now: {error}",)))
    names = {one: sorted({one, *found[one]}) for one in instance_ids}
    there = servers.look(sorted({name for own in names.values() for name in own}), on)
    refusals = {
        (one, name): retirement.refusal(name, there[name], users=servers.users, on=on, instance_id=one)
        for one, own in names.items()
        for name in own
    }
    going = {name for (_, name), refused in refusals.items() if not refused and not retirement.is_gone(there[name])}
    after = {**there, **servers.remove({name: there[name] for name in sorted(going)})}
    outcomes = {}
    for one, own in names.items():
        told = [_told(name, there[name], after[name], refusals[one, name]) for name in own]
        said = tuple(sentence for _, sentence in told if sentence)
        outcomes[one] = Outcome(all(is_done for is_done, _ in told), said or ("no Chef server has a node of it",))
    return outcomes


def _told(
    name: str, there: Sequence[Sighting], after: Sequence[Sighting], refused: Refusal | None
) -> tuple[bool, str | None]:
    """Whether there is no more to do for the node ``name``, and what happened, if anything did."""
    if refused:
        return refused.objection is not Objection.UNREAD, f"{name} is kept: {refused.reason}"
    if not retirement.is_gone(after):
        lacking = "; ".join(f"{one.label}: {one.trouble}" for one in after if one.trouble)
        return False, f"{name} is not gone yet: {lacking}"
    where = " and ".join(one.label for one in there if not one.is_gone)
    return True, f"{name} is removed from {where}" if where else None
