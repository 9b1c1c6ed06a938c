"""Pure: what an embedded Chef server remembers."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.define
class ChefState:
    """What a server remembers. ``organization`` None: paths have no ``/organizations/NAME`` (goiardi, Chef 11).

    ``clients`` has each client's public key (PEM), ``nodes`` each node object by name, ``policies`` the revision of
    each policy by its group and name, ``cookbooks`` the only version of each, the same in all environments;
    ``protocols`` is what the server accepts, ``{"1.0", "1.1"}`` for an old one. ``speaks_chef_zero`` has it say what is
    not there in chef-zero's words.
    """

    organization: str | None = "default"
    clients: dict[str, str] = attrs.field(factory=dict)
    nodes: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    environments: set[str] = attrs.field(factory=lambda: {"_default"})
    policies: dict[tuple[str, str], str] = attrs.field(factory=dict)
    cookbooks: dict[str, str] = attrs.field(factory=dict)
    protocols: frozenset[str] = frozenset({"1.0", "1.1", "1.3"})
    speaks_chef_zero: bool = False

    @property
    def validator(self) -> str:
        """The client that may create clients."""
        return f"{self.organization or 'chef'}-validator"


def node_object(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """A whole node object: ``attributes`` over those of an empty node."""
    empty = {
        "chef_environment": "_default",
        "json_class": "Chef::Node",
        "chef_type": "node",
        "automatic": {},
        "normal": {},
        "default": {},
        "override": {},
        "run_list": [],
    }
    return {"name": name, **empty, **attributes}
