"""Pure: whether a run of this node may save its object on a server.

A node object belongs to the client that made it. One that an administrator, a script or a former client of the node's
name has made may be read by the node and not saved, so that a run there fails with its very last request.

Source: github.com/chef/chef-server chef_wm_named_node.erl, oc_chef_authz_org_creator.erl.
"""

from __future__ import annotations


def cure(node_name: str) -> str:
    """What a person can do about an object that the node may not save, as a sentence without its full stop."""
    return (
        f"let the node save it (knife acl add client {node_name} nodes {node_name} update,grant) or, if another server"
        f" has the object, delete it (knife node delete {node_name}): then it is created there as it is elsewhere"
    )
