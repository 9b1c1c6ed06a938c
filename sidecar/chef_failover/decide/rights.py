"""Pure: whether a run of this node may save its object on a server.

A node object belongs to the client that made it. One that an administrator, a script or a former client of the node's
name has made may be read by the node and not saved, so that a run there fails with its very last request, when all is
converged. That is the usual way to fill a standby.

A reading asks for the object's access control list, which only those may see who may grant: the client that made it. A
refusal is a warning and no more, since a client that may not grant may yet have been given the right to save. A run
knows for certain: one that could not save its node there bars the server for this node, until a run there has worked,
or a reading finds the node in the list, or the object gone. A list that is shown and does not name the node, which may
be in one of its groups, tells nothing.

Source: github.com/chef/chef-server chef_wm_named_node.erl, oc_chef_authz_org_creator.erl, oc_chef_wm_acl.erl.
"""

from __future__ import annotations

import attrs

from chef_failover.model.model import NodeCheck, ServerSnapshot, Snapshot
from chef_failover.model.run_history import Phase, Run, RunEvidence

BARRED_S = 4 * 3600.0
"""How long one refusal bars a server that does not tell of rights: a proxy may have said it, or a person mended it."""
REFUSED = "a run there could not save this node's object (HTTP 403)"


def is_refused(run: Run) -> bool:
    """It could not save the node, which the server did not allow."""
    return run.phase is Phase.SAVE and run.http_status == 403


def may_save(server: ServerSnapshot) -> bool | None:
    """Whether this node may save its object there, by its last run or else the latest reading; None: unknown."""
    if server.run_evidence.saves is not None:
        return server.run_evidence.saves
    return server.node_check.may_save if server.node_check is not None else None


def is_barred(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """A run has failed there because of it, and nothing has said since that this is over."""
    return server.run_evidence.saves is False and not snapshot.policy.readiness.is_off


def after_reading(evidence: RunEvidence, check: NodeCheck) -> RunEvidence:
    """What runs have told, once ``check`` has been read whole: the object may be another now, and so may the rights."""
    is_over = check.may_save is None and not check.trouble and check.read_at >= evidence.failed_at + BARRED_S
    is_cured = evidence.saves is False and (check.may_save is True or is_over)
    return attrs.evolve(evidence, saves=None) if is_cured or check.has_node_object is False else evidence


def lack(snapshot: Snapshot, server: ServerSnapshot) -> str | None:
    """That it cannot save its object there, and what to do, as words that follow the server's name; None if it can."""
    if may_save(server) is not False:
        return None
    words = "this node cannot save" if server.run_evidence.saves is False else "this node probably cannot save"
    return f"has an object that {words}, because another client created it: {cure(snapshot.policy.identity)}"


def cure(node_name: str) -> str:
    """What a person can do about an object that the node may not save, as a sentence without its full stop."""
    return (
        f"let the node save it (knife acl add client {node_name} nodes {node_name} update,grant) or, if another server"
        f" has the object, delete it (knife node delete {node_name}), and it is created again as it is there"
    )
