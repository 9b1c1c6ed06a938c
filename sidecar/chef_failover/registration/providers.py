"""I/O: which provider each server has."""

from __future__ import annotations

import datetime
import functools
import random
from collections.abc import Callable

from chef_failover.aws import call as aws
from chef_failover.chef.https import ChefServer
from chef_failover.config.settings import ChefServerAssociation, Config, NoAssociation, OpsworksAssociation, Server
from chef_failover.registration import validator_key
from chef_failover.registration.base import Provider
from chef_failover.registration.chef_server import ChefServerProvider, is_known
from chef_failover.registration.none import NoProvider
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
    if not isinstance(server.association, NoAssociation):
        call = aws.trusting(call, server.association.ca_file)
    match server.association:
        case ChefServerAssociation(validator_key=source, region=region, endpoint_url=endpoint_url) as association:
            read_key = None
            if source is not None:
                read_key = functools.partial(
                    validator_key.read, source, region=region, endpoint_url=endpoint_url, call=call
                )
            validator = validator_of(config, server, association)
            return ChefServerProvider(chef_server, validator=validator, read_key=read_key, utc_now=utc_now)
        case OpsworksAssociation(region=region, server_name=name, endpoint_url=endpoint_url):
            return OpsworksCm(
                name or server.name,
                region=region,
                endpoint_url=endpoint_url,
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
