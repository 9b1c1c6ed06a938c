"""I/O: by which key a server knows this node, which it tells without a signature."""

from __future__ import annotations

import enum

import attrs

from chef_failover.chef import answers
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import ChefServer
from chef_failover.chef.libcrypto import PrivateKey


class Known(enum.StrEnum):
    """How a server knows the node that it turns away."""

    NOT = "unknown"
    BY_THIS_KEY = "this key"
    BY_ANOTHER_KEY = "another key"


def look(server: ChefServer, key: PrivateKey) -> Known | None:
    """How ``server`` knows its target's node, whose key is ``key``; None where it does not tell."""
    theirs = _key_of(server)
    if theirs is None:
        return None
    if not theirs:
        return Known.NOT
    return Known.BY_THIS_KEY if theirs.split() == key.public_pem().decode().split() else Known.BY_ANOTHER_KEY


def tells_without_organization(server: ChefServer) -> bool:
    """Whether ``server`` tells of its target's node without the organization, and not in it, as goiardi does."""
    target = server.target
    bare = attrs.evolve(server, target=attrs.evolve(target, chef_server_url=target.root_url))
    return bare != server and _key_of(server) is None and _key_of(bare) is not None


def _key_of(server: ChefServer) -> str | None:
    """As `answers.key_of_principal`; None also where the server cannot be asked."""
    target = server.target
    try:
        with server.open() as connection:
            answer = connection.request("GET", target.own("principals"), target.introduce)
    except ProbeError:
        return None
    return answers.key_of_principal(answer, target.node_name)
