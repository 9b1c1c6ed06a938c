"""I/O: what one Chef server has beside nodes: policies, cookbooks, roles, environments, data bags, clients.

Of roles, environments and data bag items the content is read and only its digest is kept. A kind that a server does not
serve or show is told, and the others are read all the same: goiardi knows no policies, and only administrators see
clients.

Sources: github.com/chef/chef-server oc_chef_wm (dispatch.conf); goiardi 0.11.10 as it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from chef_failover.chef import answers
from chef_failover.chef.protocol import segment
from chef_failover.errors import SearchError
from chef_failover.fleet.asking import Asker
from chef_failover.fleet.parity import Inventory, Objects

_TROUBLE = (SearchError, LookupError, TypeError, AttributeError, ValueError, RecursionError)
"""What an answer ends in that is none: a name may be no UTF-8 (ValueError), and JSON may be nested without an end."""


def read(label: str, asker: Asker) -> Inventory:
    """All that the server of ``asker`` tells; never an exception for what it says."""
    readers: dict[str, Callable[[Asker], Objects]] = {
        "policies": _policies,
        "cookbooks": _cookbooks,
        "roles": lambda asker: _digests(asker, "roles"),
        "environments": lambda asker: _digests(asker, "environments"),
        "data bags": lambda asker: dict.fromkeys(_get(asker, "data"), ""),
        "data bag items": _items,
    }
    kinds, untold = {}, {}
    for kind, reader in readers.items():
        try:
            kinds[kind] = reader(asker)
        except _TROUBLE as error:
            untold[kind] = _why(error)
    try:
        clients, nodes = {*_get(asker, "clients")}, {*_get(asker, "nodes")}
    except _TROUBLE as error:
        return Inventory(label, kinds, {**untold, "clients": _why(error)})
    return Inventory(label, kinds, untold, tuple(sorted(clients - nodes)), tuple(sorted(nodes - clients)))


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, SearchError) else "not an answer of a Chef server"


def _policies(asker: Asker) -> Objects:
    groups = _get(asker, "policy_groups")
    return {
        f"{group} {policy}": str(revision["revision_id"])
        for group, entry in groups.items()
        for policy, revision in entry.get("policies", {}).items()
    }


def _cookbooks(asker: Asker) -> Objects:
    found = _get(asker, "cookbooks?num_versions=all")
    return {f"{name} {one['version']}": "" for name, entry in found.items() for one in entry["versions"]}


def _items(asker: Asker) -> Objects:
    found: dict[str, str] = {}
    for bag in _get(asker, "data"):
        found |= _digests(asker, f"data/{segment(bag)}", f"{bag} ")
    return found


def _digests(asker: Asker, path: str, prefix: str = "") -> Objects:
    return {f"{prefix}{name}": _digest(_get(asker, f"{path}/{segment(name)}")) for name in _get(asker, path)}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _get(asker: Asker, path: str) -> dict[str, Any]:
    return asker.ask("GET", path, None, answers.judge_object).fields
