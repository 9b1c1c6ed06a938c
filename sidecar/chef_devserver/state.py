"""Pure: what an embedded Chef server remembers."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import attrs


@attrs.frozen
class Kind:
    """What differs between the Chef servers in use."""

    has_data_collector: bool = False
    """Each successful POST, PUT, DELETE and HEAD is reported to Automate; a HEAD cannot be, and crashes the report."""
    max_body: int = 2_000_000
    """Bytes; a larger body is refused (``max_request_size``)."""
    tells_build: bool = False
    """Each answer has ``X-Ops-API-Info``, as all had before that became a setting in 14.10."""


INFRA_SERVER = Kind()
OLD_SERVER = Kind(max_body=1_000_000, tells_build=True)
AUTOMATE = Kind(has_data_collector=True, max_body=4_000_000)


@attrs.define
class ChefState:
    """What a server remembers. ``organization`` None: paths have no ``/organizations/NAME`` (goiardi, Chef 11).

    ``clients`` has each client's public key (PEM), ``nodes`` each node object by name, ``policies`` the revision of
    each policy by its group and name, ``cookbooks`` the only version of each, the same in all environments;
    ``protocols`` is what the server accepts, ``{"1.0", "1.1"}`` for an old one. ``speaks_chef_zero`` has it say what is
    not there in chef-zero's words. ``authz_ids`` tells two clients of one name apart: who is deleted and made anew has
    another one. ``crashed_reports`` counts the reports to the data collector that ended in the server's error log.
    """

    organization: str | None = "default"
    kind: Kind = INFRA_SERVER
    clients: dict[str, str] = attrs.field(factory=dict)
    authz_ids: dict[str, str] = attrs.field(factory=dict)
    nodes: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    environments: set[str] = attrs.field(factory=lambda: {"_default"})
    policies: dict[tuple[str, str], str] = attrs.field(factory=dict)
    cookbooks: dict[str, str] = attrs.field(factory=dict)
    protocols: frozenset[str] = frozenset({"1.0", "1.1", "1.3"})
    speaks_chef_zero: bool = False
    crashed_reports: int = 0
    _serial: itertools.count[int] = attrs.field(factory=itertools.count, init=False, repr=False)

    def add_client(self, name: str, public_key_pem: str) -> None:
        """Make the client ``name`` known, as an actor that has never been there before."""
        self.clients[name] = public_key_pem
        self.authz_ids[name] = hashlib.md5(f"{name} {next(self._serial)}".encode(), usedforsecurity=False).hexdigest()

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
