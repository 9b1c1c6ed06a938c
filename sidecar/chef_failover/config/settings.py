"""I/O: the one configuration file, checked whole.

YAML is parsed by PyYAML and given its shape by cattrs; both report every problem they see, and we add to each the line
it stands on. Nothing else reads the file: what is at work of it is in `node.accepted`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import attrs
import yaml
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from chef_failover import files
from chef_failover.config import yaml_lines
from chef_failover.config.schema import (
    AbsolutePath,
    ChefName,
    Count,
    EndpointUrl,
    Failback,
    FleetSize,
    Freshness,
    HostPattern,
    KeySource,
    ListSource,
    Loopback,
    Name,
    NodeName,
    Organization,
    Priority,
    Seconds,
    ServerUrl,
    SocketPath,
    Timeout,
    make_converter,
)
from chef_failover.config.urls import HostPort, parse_server_url, place
from chef_failover.config.yaml_lines import Step
from chef_failover.errors import ConfigError, Problem

SIZE_LIMIT = 512 * 1024
"""Bytes of config.yml."""
MOST_SERVERS = 100
"""What one node can watch within the limits of its unit."""
DEFAULT_PATH = Path("/etc/chef-failover/config.yml")
REGISTERING = ("chef-server", "opsworks-cm")
"""The providers that register the node."""
INHERIT = ""
"""No organization has an empty name, so this cannot be written by mistake."""


@attrs.frozen
class Node:
    """Who this node is. ``name`` None leaves the name to chef-client, and probes unsigned."""

    name: NodeName | None = None
    organization: Organization | None = "default"
    client_key: AbsolutePath | None = None
    key_bits: Literal[2048, 3072, 4096] = 2048
    policy_group: ChefName | None = None
    policy_name: ChefName | None = None


@attrs.frozen
class NoAssociation:
    """Other tools register the node with this server."""

    provider: Literal["none"] = "none"


@attrs.frozen
class ChefServerAssociation:
    """The node registers itself, by the key of an organization's validator. ``region`` is where AWS keeps that key."""

    provider: Literal["chef-server"] = "chef-server"
    validator: ChefName | None = None
    validator_key: KeySource | None = None
    region: Name | None = None
    endpoint_url: EndpointUrl | None = None
    ca_file: AbsolutePath | None = None


@attrs.frozen
class OpsworksAssociation:
    """The OpsWorks CM API registers the node. ``server_name`` is the server's name there, if it is another."""

    region: Name
    provider: Literal["opsworks-cm"] = "opsworks-cm"
    server_name: Name | None = None
    endpoint_url: EndpointUrl | None = None
    ca_file: AbsolutePath | None = None


AssociationSettings = NoAssociation | ChefServerAssociation | OpsworksAssociation


@attrs.frozen
class Server:
    """One Chef server. ``organization`` is INHERIT unless the server overrides the node's."""

    name: Name
    url: ServerUrl
    priority: Priority | None = None
    organization: Organization | None = INHERIT
    ca_file: AbsolutePath | None = None
    association: AssociationSettings = NoAssociation()


@attrs.frozen
class HealthSettings:
    """When and how servers are probed. ``proxy`` "environment" sends probes through ``https_proxy``."""

    interval: Seconds = 2700.0
    retry_interval: Seconds = 2.0
    timeout: Timeout = 3.0
    rise: Count = 2
    fall: Count = 3
    fresh_for: Freshness = 1.0
    proxy: Literal["none", "environment"] = "none"


@attrs.frozen
class SelectionSettings:
    """How the node returns to a better server."""

    failback: Failback = 600.0


@attrs.frozen
class Listen:
    """Where the sidecar answers. ``loopback`` None is off."""

    socket: SocketPath = Path("/run/chef-failover/sidecar.sock")
    loopback: Loopback = HostPort("127.0.0.1", 8473)


@attrs.frozen
class MetricsSettings:
    """Ways out for metrics, beside ``GET /metrics``. ``textfile`` is for node_exporter's textfile collector."""

    textfile: AbsolutePath | None = None


@attrs.frozen
class DiscoverySettings:
    """Where the fleet keeps its list of servers. The last three are those of the AWS service."""

    source: ListSource | None = None
    interval: Seconds = 300.0
    region: Name | None = None
    endpoint_url: EndpointUrl | None = None
    ca_file: AbsolutePath | None = None


@attrs.frozen
class FleetSettings:
    """How many nodes there are, roughly; None for unknown. Spans are made for 10,000 and grow in proportion beyond."""

    nodes: FleetSize | None = None


@attrs.frozen
class Config:
    """The whole configuration, valid by construction."""

    node: Node = Node()
    servers: tuple[Server, ...] = ()
    trusted_hosts: tuple[HostPattern, ...] = ()
    health: HealthSettings = HealthSettings()
    selection: SelectionSettings = SelectionSettings()
    listen: Listen = Listen()
    state_dir: AbsolutePath = Path("/var/lib/chef-failover")
    readiness: Literal["seed", "check", "off"] = "seed"
    parity: Literal["warn", "require", "off"] = "warn"
    metrics: MetricsSettings = MetricsSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    fleet: FleetSettings = FleetSettings()
    log_format: Literal["text", "json"] = "text"

    @property
    def fingerprint(self) -> int:
        """48 bits that are the same wherever the same version has the same configuration, whatever its comments."""
        return int.from_bytes(hashlib.sha256(repr(self).encode()).digest()[:6])

    @property
    def endpoints(self) -> tuple[DiscoverySettings | ChefServerAssociation | OpsworksAssociation, ...]:
        """All that has an ``endpoint_url`` and its ``ca_file``, named or not."""
        associations = (server.association for server in self.servers)
        return (self.discovery, *(one for one in associations if not isinstance(one, NoAssociation)))

    def organization(self, server: Server) -> str | None:
        """The organization of ``server``, or None where there is none."""
        if "/organizations/" in server.url:
            return server.url.partition("/organizations/")[2].partition("/")[0]
        return self.node.organization if server.organization == INHERIT else server.organization

    def chef_server_url(self, server: Server) -> str:
        """What chef-client is given for ``server``: with the organization, unless there is none."""
        organization = self.organization(server)
        if organization is None or "/organizations/" in server.url:
            return server.url
        return f"{server.url}/organizations/{organization}"

    def priority(self, server: Server) -> int:
        """As configured, else the place in the list, from 1. A smaller one is better."""
        return server.priority if server.priority is not None else self.servers.index(server) + 1


def load(path: Path) -> Config:
    """The configuration in ``path``; an empty file is a valid one that names no server.

    Raises:
        ConfigError: with every problem of the file, or the one reason why it cannot be read.
    """
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of ``path``.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return files.read(path, SIZE_LIMIT, may_be_link=True).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError((Problem(str(path), 0, "", f"cannot read it: {reason}"),)) from error


def parse(text: str, file: str = "config.yml") -> Config:
    """Like `load`, from a string; ``file`` stands in the messages.

    Raises:
        ConfigError: with every problem of the text.
    """
    return read_as(Config, text, file, _cross_check)


T = TypeVar("T")
_SAID_LIMIT = 1000
"""Characters of what is said of one problem, since it may quote what stands there."""
Steps = tuple[Step, ...]
Finding = tuple[Steps, str]
"""Where something is wrong, and what."""


def read_as(shape: type[T], text: str, file: str, cross_check: Callable[[object], Sequence[Finding]]) -> T:
    """``text`` as a ``shape``, an attrs class. ``cross_check`` says what no single key shows, and where.

    Raises:
        ConfigError: with every problem of the text.
    """
    try:
        document = yaml_lines.parse(text)
    # All but the first are PyYAML's own surprises: over a date such as 2026-13-45, !!int zz, !!timestamp zz, !!bool zz.
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        raise ConfigError((Problem(file, mark.line + 1 if mark else 1, "", f"not valid YAML: {what}"),)) from error
    found = [(path, f"duplicate key; keep one {path[-1]!r}") for path in document.duplicates]
    found += cross_check(document.value)
    value: T | None = None
    try:
        value = make_converter().structure({} if document.value is None else document.value, shape)
    except (ClassValidationError, IterableValidationError, ValueError, TypeError) as error:
        found += _flatten(error, ())
    if found or value is None:
        problems = {Problem(file, document.line(path), _dotted(path), _cut(message)) for path, message in found}
        raise ConfigError(tuple(sorted(problems, key=lambda problem: (problem.line, problem.key, problem.message))))
    return value


def _cross_check(value: object) -> list[Finding]:
    """What no single key shows."""
    document = _mapping(value)
    node, discovery = _mapping(document.get("node")), _mapping(document.get("discovery"))
    name, source = node.get("name"), discovery.get("source")
    organization = node.get("organization", Node().organization)
    found = cross_check_servers(value, is_nameless=not name, organization=organization)
    providers = [_mapping(server.get("association")).get("provider") for server in _mappings(document.get("servers"))]
    if isinstance(name, str) and ":" in name and any(provider in REGISTERING for provider in providers):
        right = "the node could not register; write a name without one"
        found.append((("node", "name"), f"{name!r} has a colon, which no Chef client name may have: {right}"))
    if source:
        found += _cross_check_endpoint(discovery, ("discovery",))
        found += _cross_check_region(discovery, ("discovery",), "source", ("s3:", "ssm:"))
        if not document.get("servers"):
            right = "chef-client falls back on it while there is no server list"
            found.append((("discovery", "source"), f"needs a server under servers; {right}"))
    return found


def cross_check_servers(value: object, *, is_nameless: bool, organization: object) -> list[Finding]:
    """Names, URLs, priorities and associations across the ``servers`` of ``value``.

    ``is_nameless`` when the node has no name; ``organization`` is the node's, for servers that have none of their own.
    """
    servers = _mappings(_mapping(value).get("servers"))
    found: list[Finding] = []
    if len(servers) > MOST_SERVERS:
        found.append((("servers",), f"names {len(servers)} servers; write at most {MOST_SERVERS}"))
    names: dict[object, int] = {}
    places: dict[object, int] = {}
    for index, server in enumerate(servers):
        path = ("servers", index)
        name, where = server.get("name"), _place(server, organization)
        if isinstance(name, str) and names.setdefault(name, index) != index:
            message = f"{name!r} is already the name of servers[{names[name]}]; give each server its own name"
            found.append(((*path, "name"), message))
        if where is not None and places.setdefault(where, index) != index:
            found.append(((*path, "url"), f"is the same server as servers[{places[where]}]; list each server once"))
        association = _mapping(server.get("association"))
        found += _cross_check_association(association, (*path, "association"), is_nameless=is_nameless)
    bare = [index for index, server in enumerate(servers) if server.get("priority") is None]
    if 0 < len(bare) < len(servers):
        message = "has no priority, but others do; give every server one, or none (then the order counts)"
        found.append((("servers", bare[0]), message))
    return found


def _place(server: Mapping[object, object], organization: object) -> object:
    """Which server and organization it is, however they are written; None if that cannot be told."""
    try:
        host, port, path = place(parse_server_url(server.get("url")))
    except ValueError:
        return None
    head, found, own = path.partition("/organizations/")
    organization = own if found else server.get("organization", organization)
    return (host, port, head, organization) if isinstance(organization, str | None) else None


def _cross_check_association(settings: Mapping[object, object], path: Steps, *, is_nameless: bool) -> list[Finding]:
    provider = settings.get("provider", "none")
    found = _cross_check_endpoint(settings, path)
    if is_nameless and provider in REGISTERING:
        right = 'set node.name to "{instance_id}", "{fqdn}" or a literal name'
        found.append(((*path, "provider"), f"{provider!r} registers the node by its name; {right}"))
    if provider == "chef-server":
        found += _cross_check_region(settings, path, "validator_key", ("secretsmanager:", "ssm:"))
    return found


def _cross_check_endpoint(settings: Mapping[object, object], path: Steps) -> list[Finding]:
    if settings.get("ca_file") is None or settings.get("endpoint_url") is not None:
        return []
    right = "write that, too, or for AWS's own endpoints set AWS_CA_BUNDLE in the service's environment"
    return [((*path, "ca_file"), f"is for the endpoint at endpoint_url alone; {right}")]


def _cross_check_region(
    settings: Mapping[object, object], path: Steps, key: str, in_aws: tuple[str, ...]
) -> list[Finding]:
    """``key`` of ``settings`` says where something is kept: in AWS if it begins with one of ``in_aws``."""
    if settings.get("region") or not str(settings.get(key)).startswith(in_aws):
        return []
    return [((*path, key), "is in AWS and needs a region; add one, such as region: us-east-1")]


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[object, object]]:
    return list(map(_mapping, value)) if isinstance(value, list) else []


def _flatten(error: BaseException, path: Steps) -> Sequence[Finding]:
    """Every leaf of cattrs' tree of errors, with where it happened."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted: list[tuple[Exception, AttributeValidationNote | IterableValidationNote]]
        noted, without = error.group_exceptions()  # type: ignore[assignment]
        found: list[Finding] = []
        for inner, note in noted:
            step: Step = note.index if isinstance(note, IterableValidationNote) else note.name
            found += _flatten(inner, (*path, step))
        for inner in without:
            found += _flatten(inner, path)
        return found
    if isinstance(error, ForbiddenExtraKeysError):
        known = ", ".join(attribute.name for attribute in attrs.fields(error.cl))
        return [((*path, name), f"unknown key; known keys: {known}") for name in sorted(error.extra_fields, key=str)]
    if isinstance(error, KeyError):
        return [(path[:-1], f"missing key {error.args[0]!r}")]
    return [(path, str(error))]


def _cut(text: str) -> str:
    return text if len(text) <= _SAID_LIMIT else f"{text[:_SAID_LIMIT]}..."


def _dotted(path: Steps) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return _cut(text.removeprefix("."))
