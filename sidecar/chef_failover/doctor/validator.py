"""I/O: what registers this node: the validator's key, had as the service would have it, and used once."""

from __future__ import annotations

import datetime
import functools
from typing import Any

import attrs

from chef_failover.chef.answers import Finding
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import ChefServer
from chef_failover.config.settings import ChefServerAssociation, Server
from chef_failover.config.source import Source, Store
from chef_failover.doctor.files import as_the_service_reads
from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import Node
from chef_failover.engine.workers import chef_server_for
from chef_failover.errors import KeyFileError, UnseenError
from chef_failover.model.model import Outcome
from chef_failover.registration import validator_key
from chef_failover.registration.base import Registrant
from chef_failover.registration.chef_server import advice, ask_as
from chef_failover.registration.providers import validator_of


def checks(node: Node, probed: dict[str, Any]) -> tuple[Check, ...]:
    """One for each server that a validator registers the node with; ``probed`` is what `check` found."""
    entries = {entry["name"]: entry for entry in probed["servers"]}
    look = functools.partial(validator, is_signed=probed["signed"])
    return tuple(
        Check(f"validator at {server.name}", functools.partial(look, node, server, entries[server.name]))
        for server in node.config.servers
        if isinstance(server.association, ChefServerAssociation) and server.association.validator_key is not None
    )


def validator(node: Node, server: Server, entry: dict[str, Any], *, is_signed: bool) -> str | None:
    """Whether the service can read its key, and the server takes it; ``entry`` is what `check` found of the server.

    Raises:
        UnseenError: the server could not be asked, or the key is gone and not needed, since the server knows this node.
        FileNotFoundError: there is no key, and it is needed.
    """
    association, outcome = server.association, Outcome(entry["outcome"])
    if not isinstance(association, ChefServerAssociation) or association.validator_key is None:
        return None
    source: Source = association.validator_key
    if source.store is Store.FILE:
        try:
            path, trouble = as_the_service_reads(node, source.place)
        except FileNotFoundError as error:
            if is_signed and outcome.serves_node:
                raise UnseenError(f"{source.place} is gone and not needed: this node is registered") from error
            raise
        if trouble:
            return f"{trouble}: chgrp {node.user} {source.place}; chmod 0640 {source.place}"
        source = attrs.evolve(source, place=str(path))
    try:
        key = validator_key.read(source, association)
    except KeyFileError as error:
        return str(error)
    if not outcome.is_alive:
        raise UnseenError(f"the key is readable; the server was not asked: {entry['detail']}")
    name = validator_of(node.config, server, association)
    chef_server = chef_server_for(node.config, server, name, node.machine)
    finding = _answer_to(chef_server, Registrant(name, key), node.machine.utc_now())
    return _trouble(finding, name, entry)


def _answer_to(server: ChefServer, registrant: Registrant, on: datetime.datetime) -> Finding:
    """What the server says to one request that the validator signs."""
    try:
        return ask_as(server, registrant, utc_now=lambda: on)
    except ProbeError as error:
        raise UnseenError(f"could not ask the server: {error.detail}") from error


def _trouble(finding: Finding, name: str, entry: dict[str, Any]) -> str | None:
    """What is wrong after ``finding``, which the validator ``name`` was told; that it may not look at itself is not."""
    if Outcome(entry["outcome"]) is Outcome.WRONG_ORGANIZATION and finding.outcome is not Outcome.WRONG_ORGANIZATION:
        return str(entry["detail"])  # it has no organizations, and what it says to a validator tells no more than that
    if finding.outcome.serves_node or finding.outcome is Outcome.FORBIDDEN:
        return None
    if finding.outcome.turns_node_away or finding.outcome is Outcome.NOT_CHEF:
        return advice(finding, name) or finding.detail
    raise UnseenError(f"could not ask the server: {finding.detail}")
