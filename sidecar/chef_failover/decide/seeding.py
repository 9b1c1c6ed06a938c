"""Pure: the node object that is created where it is missing, and how those that exist differ from it.

It is made from the one on the server in use, which is a model for the servers that come after it. A standby is a model
for those before it only if a run of this node has succeeded there, or if its object has the run list or the policy of
the last successful run. Any other claim of a standby decides nothing, or a hostile one could draw new nodes to itself.

An object that exists is never changed: a person decides which is right. But one is as good as missing that a run has
left empty where we had seen that there was none: chef-client made it for want of a better one, so it is filled.
"""

from __future__ import annotations

from chef_failover.decide.preference import is_preferred, preference
from chef_failover.model.model import Health, ServerSnapshot, Snapshot
from chef_failover.model.needs import NodeObject, ReadinessMode

FRESH_S = 600.0
"""How long before an object was missed the one that it is made from may have been read."""


def source(snapshot: Snapshot) -> ServerSnapshot | None:
    """The server whose object is the `reference`, if that does something."""
    in_use = snapshot.in_use
    if in_use is None or in_use.has_node_object is not False:
        return in_use
    useful = [one for one in snapshot.servers if one.useful_node_object is not None]
    return min(useful, key=lambda one: (not _is_proven(snapshot, one), preference(one, snapshot)), default=in_use)


def reference(snapshot: Snapshot) -> NodeObject | None:
    """What the others should have, and are seeded from: the object on the server in use, if it does something.

    Where that server has none, because the node had to go there when the one with the object died, it is what was read
    of the most preferred server that has one, of those that `is_model_for` all others if there are any.
    """
    holder = source(snapshot)
    return holder.useful_node_object if holder is not None else None


def why_not_seeded(snapshot: Snapshot, server: ServerSnapshot) -> str | None:
    """Why ``server`` is given nothing; None when there is a `reference` for it."""
    holder = source(snapshot)
    if holder is None:
        return "no server is in use"
    if holder.useful_node_object is not None:
        is_model = is_model_for(snapshot, holder, server)
        return None if is_model else f"no run of this node has succeeded on {holder.name}, which has one"
    if holder.has_node_object is False:
        return f"no server is known to have more than an empty object of this node, and {holder.name} has none"
    if holder.node_object is None:
        return f"the object on {holder.name}, which is in use, has not been read yet"
    return f"the object on {holder.name}, which is in use, has an empty run list"


def is_to_be_seeded(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """It has no object of this node, or the empty one that a run has left.

    What is empty on a server that is preferred to the source may be meant so: that is where people look first.
    """
    node, holder = server.node_object, source(snapshot)
    if node is None or holder is None or server.lacked_object_at is None:
        return server.has_node_object is False
    return node.is_left_for(reference(snapshot) or node) and not is_preferred(server, holder, snapshot)


def wants_seed(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """A reading found no object there, `reference` is what it lacks, and we are to create it; or to fill it."""
    holder = source(snapshot)
    if holder is None or not _is_ours_to_mend(snapshot, holder, server):
        return False
    return _is_read_for(snapshot, holder, server) and why_not_seeded(snapshot, server) is None


def is_mended_soon(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """It is about to be given an object, at the latest once the one that this is made from has been read."""
    holder = source(snapshot)
    if holder is None or (holder.node_check is not None and holder.node_check.trouble):
        return wants_seed(snapshot, server)
    return wants_seed(snapshot, server) or _waits_for(snapshot, holder, server)


def is_awaited_from(snapshot: Snapshot, holder: ServerSnapshot) -> bool:
    """Its object is to be read whole: another server is to be given it, or lacks it if this one is as runs have it."""
    found = source(snapshot)
    if found is None or found.name != holder.name:
        return found is not None and found.has_node_object is False and _may_be_proven(snapshot, holder)
    return any(_waits_for(snapshot, holder, one) for one in snapshot.servers if one.name != holder.name)


def differences_of(snapshot: Snapshot, server: ServerSnapshot) -> tuple[str, ...]:
    """What is not the same in its object as in the `reference`; nothing when there is nothing to compare."""
    node, wanted = server.node_object, reference(snapshot)
    if node is None or wanted is None or snapshot.policy.readiness.is_off:
        return ()
    return wanted.differences(node)


def is_model_for(snapshot: Snapshot, holder: ServerSnapshot, server: ServerSnapshot) -> bool:
    """What ``holder`` has may be held against ``server``, and given to it."""
    return _is_proven(snapshot, holder) or not is_preferred(server, holder, snapshot)


def _is_proven(snapshot: Snapshot, holder: ServerSnapshot) -> bool:
    """A run of this node has succeeded there, or its object does what the last successful run did elsewhere."""
    node, used = holder.useful_node_object, snapshot.used
    return holder.has_had_success or (node is not None and used is not None and node.work == used.work)


def _may_be_proven(snapshot: Snapshot, holder: ServerSnapshot) -> bool:
    """It has an object that was not read in this life, and there are runs to compare it with."""
    used, is_unknown = snapshot.used, holder.has_node_object is True and holder.node_object is None
    is_compared = used is not None and used.does_something and not snapshot.policy.readiness.has_policy
    return is_unknown and is_compared and not holder.has_had_success


def _waits_for(snapshot: Snapshot, holder: ServerSnapshot, server: ServerSnapshot) -> bool:
    """It is to be given what is on ``holder``, which is still to be read for that."""
    is_there = holder.has_node_object is not False and not _is_read_for(snapshot, holder, server)
    return is_there and is_model_for(snapshot, holder, server) and _is_ours_to_mend(snapshot, holder, server)


def _is_ours_to_mend(snapshot: Snapshot, holder: ServerSnapshot, server: ServerSnapshot) -> bool:
    policy, check = snapshot.policy.readiness, server.node_check
    is_asked_for = policy.mode is ReadinessMode.SEED and not policy.has_policy
    # Right after a start the server that answers first is in use; a better one may have the object that counts.
    unknown = [one for one in snapshot.servers if one.health is Health.UNKNOWN]
    is_settled = not any(is_preferred(one, holder, snapshot) for one in unknown)
    is_read = check is not None and not check.trouble and server.answers_node
    return is_asked_for and is_settled and is_read and is_to_be_seeded(snapshot, server)


def _is_read_for(snapshot: Snapshot, holder: ServerSnapshot, server: ServerSnapshot) -> bool:
    """The object on ``holder`` was read about when that on ``server`` was missed, or cannot be read now."""
    check, since = holder.node_check, max(snapshot.used_since, server.read_at - FRESH_S)
    return not holder.answers_node or (check is not None and check.node_read_at >= since)
