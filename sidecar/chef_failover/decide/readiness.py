"""Pure: whether a run of this node would find on a server what it needs.

chef-client creates the node object that it does not find, with an empty run list, converges nothing and exits 0. So a
server without the object is as bad as one that is down, only quieter; and so is one whose object does nothing, because
that may be just the object that chef-client created there.

What speaks of it is a reading, now and then: *is what a run needs there?* Probes do not look at the object, which can
be large.

A missing object is only held against a server while another is known to have one: else the node is new, and its first
run creates the object wherever it likes. An empty one is only held against a server while another was read and does
something: else the run list is empty on purpose.

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
from chef_failover.model.needs import NodeObject, ReadinessMode, ReadinessPolicy
from chef_failover.printable import printable


def why_not_ready(snapshot: Snapshot, server: ServerSnapshot) -> str | None:
    """What a run would miss there by the latest reading, as words that follow the server's name; None: nothing known.

    Readings are rare, so one is enough.
    """
    if is_barred(snapshot, server):
        return REFUSED
    lack = _lack(snapshot, server)
    return lack if lack is not None and not _is_excused(snapshot, server) else None


def is_new_node(snapshot: Snapshot) -> bool:
    """No server is known to have an object of this node that is not empty: nothing was given to it to do so far."""
    return not _holders(snapshot)


def has_useful_node_object(server: ServerSnapshot) -> bool:
    """An object of this node that does something was read there, in this life or else in a former one."""
    if server.has_node_object is False:
        return False
    node = server.node_check.node if server.node_check else None
    return server.had_useful_node_object if node is None else node.does_something


def caution(snapshot: Snapshot, server: ServerSnapshot) -> str | None:
    """What a run there is to be warned of, as a sentence; None where it finds what it needs, as far as is known."""
    lack, policy = why_not_ready(snapshot, server), snapshot.policy.readiness
    is_idle = is_left_empty(server) and not policy.has_policy
    if lack is not None:
        return f"{server.name}: {lack}; a run there will {'do nothing' if is_idle else 'not do what it should'}"
    if may_save(server) is False:
        return f"{server.name}: this node probably cannot save its object there, and a run would fail at its very end"
    better = [one for one in snapshot.servers if one.priority < server.priority]
    unasked = [one.name for one in better if one.has_node_object is None and one.health is not Health.UP]
    if policy.mode is ReadinessMode.OFF or not is_idle:
        return None
    if _mere_claims(snapshot, server):
        return f"{server.name} {_object_sentence(snapshot, server)}; a run there may do nothing"
    if not unasked:
        return None
    return f"{' and '.join(unasked)} may know this node and cannot be asked; a run on {server.name} may do nothing"


def is_left_empty(server: ServerSnapshot) -> bool:
    """It has no object of this node, or one that does nothing."""
    node = server.node_check.node if server.node_check else None
    return server.has_node_object is False or (node is not None and not node.does_something)


def sentence(snapshot: Snapshot, server: ServerSnapshot) -> str:
    """How its readiness stands, for people."""
    policy, check = snapshot.policy.readiness, server.node_check
    if policy.mode is ReadinessMode.OFF:
        return "not looked at: readiness is off"
    why_not = why_not_ready(snapshot, server)
    if why_not is not None:
        return f"{why_not}{_why_not_mended(snapshot, server)}"
    if check is not None and check.trouble:
        return f"cannot be read: {check.trouble}"
    said = _policy_sentence(server, policy) if policy.has_policy else _object_sentence(snapshot, server)
    return f"{said}; this node probably cannot save its object there" if may_save(server) is False else said


# --- on the way -----------------------------------------------------------------------------------------------------


def _is_excused(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """Nothing is held against it."""
    policy = snapshot.policy.readiness
    is_new = not any(is_model_for(snapshot, one, server) for one in _holders(snapshot))
    return policy.mode is ReadinessMode.OFF or (not policy.has_policy and is_new)


def _holders(snapshot: Snapshot) -> list[ServerSnapshot]:
    """The servers that are known to have an object of this node which is not empty."""
    return [one for one in snapshot.servers if _is_known_to_have(one)]


def _mere_claims(snapshot: Snapshot, server: ServerSnapshot) -> list[str]:
    """The servers whose object of this node is not held against ``server``, which has none or an empty one."""
    if not is_left_empty(server) or snapshot.policy.readiness.has_policy:
        return []
    return [one.name for one in _holders(snapshot) if not is_model_for(snapshot, one, server)]


def _is_known_to_have(server: ServerSnapshot) -> bool:
    """An object that a reading found empty is none: chef-client makes one like it wherever there is none.

    So one that was made since the last reading counts once it is read.
    """
    check = server.node_check
    if server.has_node_object is False:
        return False
    if check is not None and check.node is not None and not check.node.does_something:
        return False
    return server.had_useful_node_object or server.has_node_object is True


def _lack(snapshot: Snapshot, server: ServerSnapshot) -> str | None:
    policy, check = snapshot.policy.readiness, server.node_check
    if policy.has_policy:
        return _lack_of_policy(policy.policy_name, policy.policy_group, check) if check else None
    if server.has_node_object is False:
        return "has no object of this node"
    if check is None or check.node is None:
        return None
    useful = [one for one in snapshot.servers if has_useful_node_object(one)]
    if not check.node.does_something and any(is_model_for(snapshot, one, server) for one in useful):
        return "its object of this node has an empty run list"
    return _lack_of_object(check.node, check)


def _lack_of_object(node: NodeObject, check: NodeCheck) -> str | None:
    if not node.has_policy and check.environment_found is False:
        return f"environment {printable(node.environment)}, where its object puts this node, does not exist there"
    return _lack_of_policy(node.policy_name, node.policy_group, check)


def _lack_of_policy(name: str | None, group: str | None, check: NodeCheck) -> str | None:
    if check.policy_found is not False:
        return None
    return printable(f"policy {name} is not in policy group {group}")


def _why_not_mended(snapshot: Snapshot, server: ServerSnapshot) -> str:
    """Why its object cannot be read or created, as the rest of a sentence."""
    policy, check = snapshot.policy.readiness, server.node_check
    if check is not None and check.trouble:
        return f" ({check.trouble})"
    is_ours = policy.mode is ReadinessMode.SEED and not policy.has_policy and is_to_be_seeded(snapshot, server)
    why_not = why_not_seeded(snapshot, server) if is_ours else None
    return f" (it is not created, since {why_not})" if why_not else ""


def _object_sentence(snapshot: Snapshot, server: ServerSnapshot) -> str:
    if claims := _mere_claims(snapshot, server):
        what = "an empty object" if server.has_node_object else "no object"
        holds = f"{' and '.join(claims)} {'have' if len(claims) > 1 else 'has'}"
        return f"has {what} of this node; {holds} more, and no run of this node has succeeded there"
    if is_new_node(snapshot):
        if any(one.has_node_object for one in snapshot.servers):
            return "no server is known to have more than an empty object of this node"
        return "no server is known to have an object of this node; its first run creates it"
    if not server.has_node_object:
        return "not known yet"
    return "has an object of this node"


def _policy_sentence(server: ServerSnapshot, policy: ReadinessPolicy) -> str:
    what = f"policy {policy.policy_name}"
    if server.node_check is None:
        return f"whether {what} is in policy group {policy.policy_group} has not been asked yet"
    if server.node_check.policy_found is None:
        return f"whether {what} is in policy group {policy.policy_group} cannot be told there"
    return f"{what} is in policy group {policy.policy_group}"
