"""Pure: the fleet's list of servers, and what of it holds on this node.

The list is kept where more people and machines can write than root on this node, and what a Chef server sends is run as
root here. So config.yml, which root owns, says how far the list is believed: a server must be one that config.yml
names, organization and all, or one that its ``trusted_hosts`` match, just as the shim has it; an entry that is not is
refused, and the others are used. (A person who may make an organization on a server may fill it with cookbooks.)

The list may set all that a server has: name, URL, priority, organization, and how the node gets registered there. What
would open a file of this node, or send this node's signature somewhere, config.yml must name as well:

- ``ca_file``: one that a server of config.yml has, since the shim hands no other to chef-client. One in
  ``trusted_certs`` is taken too, and then left away: chef-client and the probes trust what is there anyway.
- ``validator_key: file:``: one that config.yml has, or one in /etc/chef-failover, where only root puts files.
- ``endpoint_url`` and its ``ca_file``: each one that config.yml has for an endpoint.

It may also set ``health.interval``, of which the servers bear the cost, to 10 s or longer.

A list that is not valid as a whole is not used at all. One mistake in a file that ten thousand nodes read must not
leave each of them with another part of it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import attrs
import yaml

from chef_failover.config.schema import Line, Name, Seconds, Until
from chef_failover.config.settings import (
    ChefServerAssociation,
    Config,
    Finding,
    FleetSettings,
    HealthSettings,
    NoAssociation,
    Server,
    cross_check_servers,
    read_as,
)
from chef_failover.config.source import Store
from chef_failover.config.urls import place as place_of
from chef_failover.errors import ConfigError, Problem

SIZE_LIMIT = 256 * 1024
"""Bytes of a list."""
SHORTEST_INTERVAL = 10.0
"""Who may write the list has no node probe more often than that, whatever it says."""
_DEEPEST = 20
_MOST_VALUES = 10_000
"""Keys and values of a list: a hundred servers with all that can be set, each drained, have 5,000."""
_MOST_SAID = 10
"""Problems of a list that are told; one is enough for it not to be used."""
_TRUSTED_CERTS = (PurePath("/etc/chef/trusted_certs"), PurePath("/etc/cinc/trusted_certs"))
_AMBIGUOUS = re.compile(r"%|/\.{1,2}(?:/|$)")
"""As the shim has it: what servers and proxies may each take for another path."""
_ROOTS_OWN = PurePath("/etc/chef-failover")


@attrs.frozen
class ListedDrain:
    """A server of the list that no node is to use, ``until`` then or until the list has it no more."""

    server: Name
    reason: Line = ""
    until: Until | None = None


@attrs.frozen
class ListedHealth:
    """What the list says of ``health``; None leaves it to config.yml."""

    interval: Seconds | None = None


@attrs.frozen
class FleetList:
    """The list as it is written."""

    servers: tuple[Server, ...] = ()
    drains: tuple[ListedDrain, ...] = ()
    fleet: FleetSettings = FleetSettings()
    health: ListedHealth = ListedHealth()


@attrs.frozen
class Listing:
    """A text that was once at ``source``, and the version that it had there."""

    source: str
    text: str
    version: str
    fetched_on: datetime.datetime


@attrs.frozen
class Effective:
    """The configuration with the servers of a list. ``listing`` None: with its own, since no list is of use."""

    config: Config
    drains: tuple[ListedDrain, ...] = ()
    listing: Listing | None = None
    refused: tuple[str, ...] = ()
    """A sentence for each entry that is not used."""
    trouble: str | None = None
    """Why the first listing is not used."""


def effective(config: Config, listings: Iterable[Listing]) -> Effective:
    """What holds: the first of ``listings`` that is of use, the newest being the first, else ``config`` alone."""
    trouble: str | None = None
    for listing in listings:
        try:
            listed = parse(listing.text, listing.source, config)
        except ConfigError as error:
            trouble = trouble or _in_brief(error)
            continue
        why = {server.name: why_refused(server, config) for server in listed.servers}
        servers = tuple(_as_used(server, config) for server in listed.servers if why[server.name] is None)
        refused = tuple(f"{name}: {sentence}" for name, sentence in why.items() if sentence is not None)
        if not servers:
            trouble = trouble or f"{listing.source}: every server was rejected: {'; '.join(refused)}"
            continue
        names = {server.name for server in servers}
        drains = tuple(drain for drain in listed.drains if drain.server in names)
        fleet = config.fleet if listed.fleet.nodes is None else listed.fleet
        used = attrs.evolve(config, servers=servers, fleet=fleet, health=_health(listed, config))
        return Effective(used, drains, listing, refused, trouble)
    return Effective(config, trouble=trouble)


def _health(listed: FleetList, config: Config) -> HealthSettings:
    interval = listed.health.interval
    if interval is None:
        return config.health
    return attrs.evolve(config.health, interval=max(interval, SHORTEST_INTERVAL))


def _in_brief(error: ConfigError) -> str:
    more = len(error.problems) - _MOST_SAID
    said = "; ".join(error.lines[:_MOST_SAID])
    return f"{said}; and {more} more" if more > 0 else said


def as_said(drains: Iterable[ListedDrain]) -> list[tuple[str, str, datetime.datetime | None]]:
    """The drains as `apply_listed_drains` takes them."""
    return [(drain.server, drain.reason, drain.until) for drain in drains]


def parse(text: str, source: str, config: Config) -> FleetList:
    """The list in ``text``; ``source`` stands in the messages. ``config`` says whether the node has a name.

    Raises:
        ConfigError: with every problem, or because the list names no server.
    """
    if len(text.encode()) > SIZE_LIMIT:
        raise ConfigError((Problem(source, 1, "", f"is longer than {SIZE_LIMIT // 1024} KiB"),))
    if not text.strip():
        raise ConfigError((Problem(source, 1, "", "is empty"),))
    if problem := _too_clever(text, source):
        raise ConfigError((problem,))
    return read_as(FleetList, text, source, lambda value: _cross_check(value, config))


def _too_clever(text: str, source: str) -> Problem | None:
    """Aliases, depth and many small values make of a short text a document that takes all day, or all memory."""
    depth = values = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            values += isinstance(event, yaml.NodeEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _DEEPEST or values > _MOST_VALUES:
                most = f"{_MOST_VALUES} keys and values" if depth <= _DEEPEST else f"{_DEEPEST} levels"
                what = "an alias (*)" if isinstance(event, yaml.AliasEvent) else f"more than {most}"
                line = event.start_mark.line + 1 if event.start_mark else 1
                return Problem(source, line, "", f"{what} is not allowed in a server list")
    except (yaml.YAMLError, ValueError):
        pass  # it is said better where it is read
    return None


def _cross_check(value: object, config: Config) -> list[Finding]:
    found = cross_check_servers(value, is_nameless=config.node.name is None, organization=config.node.organization)
    servers, drains = ((value.get(key) if isinstance(value, dict) else None) for key in ("servers", "drains"))
    if not servers:
        return [*found, (("servers",), "names no server; name at least one")]
    names = [server.get("name") for server in servers if isinstance(server, dict)] if isinstance(servers, list) else []
    drained: list[object] = []
    for index, drain in enumerate(drains if isinstance(drains, list) else ()):
        name = drain.get("server") if isinstance(drain, dict) else None
        path = ("drains", index, "server")
        if name in drained:
            found.append((path, f"drains[{drained.index(name)}] already drains {name!r}"))
        elif isinstance(name, str) and name not in names:
            found.append((path, f"{name!r} is not a server of this list"))
        drained.append(name)
    if all(name in drained for name in names):
        found.append((("drains",), "drains every server of the list; leave at least one"))
    return found


def why_refused(server: Server, config: Config) -> str | None:
    """Why a list may not have ``server``, by what ``config`` allows, as words that follow its name; None if it may."""
    return _why_url_refused(config.chef_server_url(server), config) or _why_settings_refused(server, config)


def _why_url_refused(url: str, config: Config) -> str | None:
    place, named = place_of(url), {place_of(config.chef_server_url(one)) for one in config.servers}
    if place in named:
        return None
    if any(_matches(place[0], pattern) for pattern in config.trusted_hosts):
        return f"{url} has an ambiguous path" if _AMBIGUOUS.search(place[2]) else None
    if place[:2] in {one[:2] for one in named}:
        return f"{url} differs from config.yml in its path, and its host is not in trusted_hosts"
    return f"host {place[0]} is neither in trusted_hosts nor in servers of config.yml"


def _why_settings_refused(server: Server, config: Config) -> str | None:
    if server.ca_file and server.ca_file not in _ca_files(config) and not _is_trusted_cert(server.ca_file):
        return f"ca_file {server.ca_file} is neither that of a server in config.yml nor in {_TRUSTED_CERTS[0]}"
    settings = server.association
    if isinstance(settings, NoAssociation):
        return None
    if settings.endpoint_url not in (None, *(one.endpoint_url for one in config.endpoints)):
        return f"endpoint_url {settings.endpoint_url} is not in config.yml"
    if settings.ca_file not in (None, *(one.ca_file for one in config.endpoints)):
        return f"association.ca_file {settings.ca_file} is not that of an endpoint in config.yml"
    key = settings.validator_key if isinstance(settings, ChefServerAssociation) else None
    if key is not None and key.store is Store.FILE:
        chef_servers = [one for one in config.endpoints if isinstance(one, ChefServerAssociation)]
        named = [one.validator_key.place for one in chef_servers if one.validator_key is not None]
        if PurePath(key.place).parent != _ROOTS_OWN and key.place not in named:
            return f"validator_key {key} is neither in config.yml nor in {_ROOTS_OWN}"
    return None


def _as_used(server: Server, config: Config) -> Server:
    """With the URL as config.yml spells it, which the shim compares to the letter."""
    place = place_of(config.chef_server_url(server))
    same = next((one for one in config.servers if place_of(config.chef_server_url(one)) == place), server)
    ca_file = server.ca_file if server.ca_file in _ca_files(config) else None
    return attrs.evolve(server, url=same.url, organization=same.organization, ca_file=ca_file)


def _matches(host: str, pattern: str) -> bool:
    """As the shim has it: ``*.`` stands for one label or more."""
    host, pattern = host.lower(), pattern.lower()
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def _ca_files(config: Config) -> Sequence[PurePath]:
    return [server.ca_file for server in config.servers if server.ca_file]


def _is_trusted_cert(path: PurePath) -> bool:
    return path.parent in _TRUSTED_CERTS and path.suffix in (".pem", ".crt")
