"""I/O: by which key a server knows this node, which it tells without a signature."""

from __future__ import annotations

import enum

from requests import PreparedRequest

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
    name = server.target.node_name or ""

    def introduce(request: PreparedRequest) -> PreparedRequest:
        request.headers["X-Ops-Userid"] = name
        return request

    try:
        with server.open() as connection:
            theirs = answers.key_of_principal(connection.request("GET", server.target.principal_url, introduce), name)
    except ProbeError:
        return None
    if theirs is None:
        return None
    if not theirs:
        return Known.NOT
    return Known.BY_THIS_KEY if theirs.split() == key.public_pem().decode().split() else Known.BY_ANOTHER_KEY
