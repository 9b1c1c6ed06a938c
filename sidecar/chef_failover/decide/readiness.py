"""Pure: whether a run of this node would find on a server what it needs.

chef-client creates the node object that it does not find, with an empty run list, converges nothing and exits 0. So a
server without the object is as bad as one that is down, only quieter; and so is one whose object does nothing, because
that may be just the object that chef-client created there.

What speaks of it is a reading, now and then: *is what a run needs there?* Probes do not look at the object, which can
be large.

A missing or an empty object is only held against a server while another is known to have one that is not empty: else
the node is new, and its first run creates the object wherever it likes, or the run list is empty on purpose.

A standby decides nothing for the others, unless `seeding.is_model_for` says so.

With a policy given by the configuration no object is needed, since chef-client creates it with that policy; but the
policy must exist on the server. A node with a policy needs no environment: chef-client calls it by the name of the
policy group (policy_builder/policyfile.rb), under which mostly none exists, and never loads it.

An object that a run could not save makes a server not ready at once, whatever readings say of it; see `rights`.
"""

from __future__ import annotations

from chef_failover.decide.rights import REFUSED, is_barred, may_save
from chef_failover.decide.seeding import is_model_for, is_to_be_seeded, why_not_seeded
from chef_failover.model.model import Health, NodeCheck, ServerSnapshot, Snapshot
from chef_failover.model.needs import ReadinessMode, ReadinessPolicy
from chef_failover.printable import printable


def why_not_ready(snapshot: Snapshot, server: ServerSnapshot) -> str | None:
    """What a run would miss there by the latest reading, as words that follow the server's name; None: nothing known.

    Readings are rare, so one is enough.
    """
    if snapshot.policy.readiness.is_off:
        return None
    return REFUSED if is_barred(snapshot, server) else _lack(snapshot, server)


def is_unread(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """What a run finds there is still to be read for the first time: no reading and no run has told."""
    last = server.last_alive_probe
    can_be_read = last is not None and last.is_signed and not snapshot.policy.readiness.is_off
    return can_be_read and not server.is_known


def is_new_node(snapshot: Snapshot) -> bool:
    """No server is known to have an object of this node that is not empty: nothing was given to it to do so far."""
    return not _holders(snapshot)


def caution(snapshot: Snapshot, server: ServerSnapshot) -> str | None:
    """What a run there is to be warned of, as a sentence; None where it finds what it needs, as far as is known."""
    lack, policy = why_not_ready(snapshot, server), snapshot.policy.readiness
    is_idle = server.is_left_empty and not policy.has_policy
    if lack is not None:
        return f"{server.name}: {lack}; a run there will {'do nothing' if is_idle else 'not do what it should'}"
    if may_save(server) is False:
        return f"{server.name}: this node probably cannot save its object there, so a run may fail at its end"
    if policy.is_off or not is_idle:
        return None
    if _mere_claims(snapshot, server):
        return f"{server.name} {_object_sentence(snapshot, server)}; a run there may do nothing"
    unknown = [one for one in snapshot.servers if one.has_node_object is None and one.health is not Health.UP]
    unasked = [one.name for one in unknown if one.priority < server.priority]
    may = f"may know this node and cannot be asked; a run on {server.name} may do nothing"
    return f"{' and '.join(unasked)} {may}" if unasked else None


def sentence(snapshot: Snapshot, server: ServerSnapshot) -> str:
    """How its readiness stands, for people."""
    policy, check = snapshot.policy.readiness, server.node_check
    if policy.is_off:
        return "not checked: readiness is off"
    why_not = why_not_ready(snapshot, server)
    if why_not is not None:
        return f"{why_not}{_why_not_mended(snapshot, server)}"
    if check is not None and check.trouble:
        return f"cannot be read: {check.trouble}"
    said = _policy_sentence(server, policy) if policy.has_policy else _object_sentence(snapshot, server)
    return f"{said}; this node probably cannot save its object there" if may_save(server) is False else said


# --- on the way -----------------------------------------------------------------------------------------------------


def _lack(snapshot: Snapshot, server: ServerSnapshot) -> str | None:
    policy, check, node = snapshot.policy.readiness, server.node_check, server.node_object
    if policy.has_policy:
        return _lack_of_policy(policy.policy_name, policy.policy_group, check)
    if server.is_left_empty:
        is_held_against_it = any(is_model_for(snapshot, one, server) for one in _holders(snapshot))
        words = "its object of this node has an empty run list" if node else "has no object of this node"
        return words if is_held_against_it else None
    if node is None or check is None:
        return None
    if not node.has_policy and check.environment_found is False:
        return f"environment {printable(node.environment)}, where its object puts this node, does not exist there"
    return _lack_of_policy(node.policy_name, node.policy_group, check)


def _holders(snapshot: Snapshot) -> list[ServerSnapshot]:
    """The servers that are known to have an object of this node which is not empty.

    One that a reading found empty is none: chef-client makes one like it wherever there is none.
    """
    return [
        one
        for one in snapshot.servers
        if not one.is_left_empty and (one.had_useful_node_object or one.has_node_object is True)
    ]


def _mere_claims(snapshot: Snapshot, server: ServerSnapshot) -> list[str]:
    """The servers whose object of this node is not held against ``server``, which has none or an empty one."""
    others = _holders(snapshot) if server.is_left_empty else []
    return [one.name for one in others if not is_model_for(snapshot, one, server)]


def _lack_of_policy(name: str | None, group: str | None, check: NodeCheck | None) -> str | None:
    if check is None or check.policy_found is not False:
        return None
    return printable(f"policy {name} is not in policy group {group}")


def _why_not_mended(snapshot: Snapshot, server: ServerSnapshot) -> str:
    """Why its object cannot be read or created, as the rest of a sentence."""
    policy, check = snapshot.policy.readiness, server.node_check
    if check is not None and check.trouble:
        return f" ({check.trouble})"
    is_ours = policy.mode is ReadinessMode.SEED and not policy.has_policy and is_to_be_seeded(snapshot, server)
    why_not = why_not_seeded(snapshot, server) if is_ours else None
    return f" (not created: {why_not})" if why_not else ""


def _object_sentence(snapshot: Snapshot, server: ServerSnapshot) -> str:
    if claims := _mere_claims(snapshot, server):
        what = "an empty object" if server.has_node_object else "no object"
        holds = f"{' and '.join(claims)} {'have' if len(claims) > 1 else 'has'}"
        return f"has {what} of this node; {holds} more, and no run of this node has succeeded there"
    if is_new_node(snapshot):
        if any(one.has_node_object for one in snapshot.servers):
            return "no server is known to have more than an empty object of this node"
        return "no server is known to have an object of this node; its first run creates it"
    return "has an object of this node" if server.has_node_object else "not known yet"


def _policy_sentence(server: ServerSnapshot, policy: ReadinessPolicy) -> str:
    what = f"policy {policy.policy_name} is in policy group {policy.policy_group}"
    if server.node_check is not None and server.node_check.policy_found:
        return what
    return f"not known {'yet ' if server.node_check is None else ''}whether {what}"
