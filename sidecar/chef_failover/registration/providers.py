"""I/O: which provider each server has."""

from __future__ import annotations

import datetime
import functools
import random
from collections.abc import Callable

from chef_failover.aws import call as aws
from chef_failover.chef.https import ChefServer
from chef_failover.config.settings import ChefServerAssociation, Config, OpsworksAssociation, Server
from chef_failover.registration import validator_key
from chef_failover.registration.base import NoProvider, Provider
from chef_failover.registration.chef_server import ChefServerProvider, is_known
from chef_failover.registration.opsworks_cm import OpsworksCm

VALIDATOR_WITHOUT_ORGANIZATION = "chef-validator"


def make_provider(
    config: Config,
    server: Server,
    chef_server: ChefServer,
    *,
    utc_now: Callable[[], datetime.datetime],
    rng: random.Random,
    call: aws.Call = aws.call,
) -> Provider:
    """What registers the node with ``server``, which ``chef_server`` speaks to; ``call`` asks AWS."""
    match server.association:
        case ChefServerAssociation(validator_key=source) as association:
            return ChefServerProvider(
                chef_server,
                validator=validator_of(config, server, association),
                read_key=functools.partial(validator_key.read, source, association, call) if source else None,
                utc_now=utc_now,
            )
        case OpsworksAssociation() as association:
            return OpsworksCm(
                association,
                server_name=association.server_name or server.name,
                organization=config.organization(server) or "default",
                call=call,
                is_known=functools.partial(is_known, chef_server, utc_now=utc_now),
                rng=rng,
            )
    return NoProvider()


def validator_of(config: Config, server: Server, association: ChefServerAssociation) -> str:
    """The client that registers the node with ``server``: as configured, else as Chef calls it."""
    organization = config.organization(server)
    default = f"{organization}-validator" if organization else VALIDATOR_WITHOUT_ORGANIZATION
    return association.validator or default
