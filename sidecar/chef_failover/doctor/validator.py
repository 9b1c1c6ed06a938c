"""I/O: what registers this node: the validator's key, had as the service would have it, and used once."""

from __future__ import annotations

import datetime
import functools
from typing import Any

import attrs

from chef_failover.aws import call as aws
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
    outcomes = {entry["name"]: Outcome(entry["outcome"]) for entry in probed["servers"]}
    look = functools.partial(validator, is_signed=probed["signed"])
    return tuple(
        Check(f"validator at {server.name}", functools.partial(look, node, server, outcomes[server.name]))
        for server in node.config.servers
        if isinstance(server.association, ChefServerAssociation) and server.association.validator_key is not None
    )


def validator(node: Node, server: Server, outcome: Outcome, *, is_signed: bool) -> str | None:
    """Whether the service can read its key, and the server takes it; ``outcome`` is that of the server's probe.

    Raises:
        UnseenError: the server could not be asked, or the key is gone and not needed, since the server knows this node.
        FileNotFoundError: there is no key, and it is needed.
    """
    association = server.association
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
    call = aws.trusting(aws.call, association.ca_file)
    try:
        key = validator_key.read(source, region=association.region, endpoint_url=association.endpoint_url, call=call)
    except KeyFileError as error:
        return str(error)
    if not (outcome.is_alive or outcome is Outcome.WRONG_ORGANIZATION):
        raise UnseenError("the key is readable; the server does not answer")
    name = validator_of(node.config, server, association)
    chef_server = chef_server_for(node.config, server, name, node.machine)
    return _tried(chef_server, Registrant(name, key), node.machine.utc_now())


def _tried(server: ChefServer, registrant: Registrant, on: datetime.datetime) -> str | None:
    """What the server says to one request that the validator signs. That it may not look at itself is no trouble."""
    try:
        finding = ask_as(server, registrant, utc_now=lambda: on)
    except ProbeError as error:
        raise UnseenError(f"could not ask the server: {error.detail}") from error
    if finding.outcome.serves_node or finding.outcome is Outcome.FORBIDDEN:
        return None
    if finding.outcome.turns_node_away:
        return advice(finding, registrant.node_name) or finding.detail
    raise UnseenError(f"could not ask the server: {finding.detail}")
