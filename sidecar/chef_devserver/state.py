"""Pure: what an embedded Chef server remembers."""

from __future__ import annotations

import itertools
from typing import Any

import attrs

PIVOTAL = "0" * 32
"""The authz id of the superuser, who has made the organization and signs nothing here."""
INDEXES = frozenset({"chef_opensearch", "chef_solr"})
"""The search index, as status pages name it."""


@attrs.frozen
class Kind:
    """What differs between the Chef servers in use."""

    has_data_collector: bool = False
    """Each successful POST, PUT, DELETE and HEAD is reported to Automate; a HEAD cannot be, and crashes the report."""
    max_body: int = 2_000_000
    """Bytes; a larger body is refused (``max_request_size``)."""
    tells_build: bool = False
    """Each answer has ``X-Ops-API-Info``, as all had before that became a setting that is off."""
    index: str = "chef_opensearch"
    saves_without_index: bool = False
    """It queues what is to be indexed (RabbitMQ), and does not look whether that ever happens."""
    hides_front_errors: bool = False
    """Whatever error nginx makes itself arrives as its own 404 page; only 503 has a document."""


INFRA_SERVER = Kind(hides_front_errors=True)
OLD_SERVER = Kind(max_body=1_000_000, tells_build=True, index="chef_solr", saves_without_index=True)
"""Chef Infra Server 12."""
AUTOMATE = Kind(has_data_collector=True, max_body=4_000_000)


@attrs.frozen
class Ace:
    """Who has one permission: actors by their authz ids, and groups by name."""

    actors: frozenset[str]
    groups: frozenset[str]


Acl = dict[str, Ace]
"""By permission."""


@attrs.define
class ChefState:
    """What a server remembers. ``organization`` None: paths have no ``/organizations/NAME`` (goiardi, Chef 11).

    ``clients`` has each client's public key (PEM), ``users`` those of the organization's administrators, ``nodes`` each
    node object by name and ``acls`` who may do what with it, ``policies`` the revision of each policy by its group and
    name, ``cookbooks`` the only version of each, the same in all environments; ``protocols`` is what the server
    accepts, ``{"1.0", "1.1"}`` for an old one. ``speaks_chef_zero`` has it say what is not there in chef-zero's words.
    ``administrators`` has the clients that are in the group admins, as the users are.
    ``unindexed`` has the nodes that the search index has lost, or never got (chef-server 2387, 3109).
    ``authz_ids`` tells two clients of one name apart: one that is created again has another.
    ``crashed_reports`` counts the reports to the data collector that ended in the server's error log.
    """

    organization: str | None = "default"
    kind: Kind = INFRA_SERVER
    clients: dict[str, str] = attrs.field(factory=dict)
    users: dict[str, str] = attrs.field(factory=dict)
    validators: set[str] = attrs.Factory(lambda self: {self.validator}, takes_self=True)
    administrators: set[str] = attrs.field(factory=set)
    authz_ids: dict[str, str] = attrs.field(factory=lambda: {"pivotal": PIVOTAL})
    nodes: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    acls: dict[str, Acl] = attrs.field(factory=dict)
    environments: set[str] = attrs.field(factory=lambda: {"_default"})
    policies: dict[tuple[str, str], str] = attrs.field(factory=dict)
    cookbooks: dict[str, str] = attrs.field(factory=dict)
    protocols: frozenset[str] = frozenset({"1.0", "1.1", "1.3"})
    speaks_chef_zero: bool = False
    unindexed: set[str] = attrs.field(factory=set)
    crashed_reports: int = 0
    _serial: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1), init=False, repr=False)

    @property
    def validator(self) -> str:
        """The client that comes with the organization and may create clients."""
        return f"{self.organization or 'chef'}-validator"

    def add_client(self, name: str, public_key_pem: str) -> None:
        """Make the client ``name`` known, as an actor that has never been there before."""
        self.clients[name] = public_key_pem
        self.authz_ids[name] = f"{next(self._serial):032x}"

    def add_user(self, name: str, public_key_pem: str) -> None:
        """Make an administrator of the organization known."""
        self.users[name] = public_key_pem
        self.authz_ids[name] = f"{next(self._serial):032x}"

    def public_key(self, name: str) -> str | None:
        """The key of the client or user ``name``: empty when it has none, None when there is nobody of that name."""
        return self.clients.get(name, self.users.get(name))

    def actors(self) -> dict[str, str]:
        """Everybody's authz id."""
        there = {"pivotal", *self.clients, *self.users}
        return {name: one for name, one in self.authz_ids.items() if name in there}

    def groups(self, name: str) -> frozenset[str]:
        """The groups that this client or user is in."""
        own = {"clients"} if name in self.clients else {"admins", "users"}
        return frozenset(own | ({"admins"} if name in self.administrators else set()))

    def index_fails(self, down: frozenset[str]) -> bool:
        """Does what is to be saved get nowhere, with these upstreams down?"""
        return bool(down & INDEXES) and not self.kind.saves_without_index
