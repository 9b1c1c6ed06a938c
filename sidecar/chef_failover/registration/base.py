"""I/O: what every provider of associations has in common, and the provider that leaves it to other tools."""

from __future__ import annotations

import hashlib
from typing import Protocol

import attrs

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.model.registration import Answer, Event


@attrs.frozen
class Registrant:
    """The node that wants to be registered."""

    node_name: str
    key: PrivateKey
    replaces: bool = False
    """A person has said that what is registered under this name by another key is to go, where a node may do that."""

    @property
    def identity(self) -> str:
        """The digest that tells whose registration it is."""
        return hashlib.sha256(self.node_name.encode() + b"\0" + self.key.public_pem().strip()).hexdigest()


class Provider(Protocol):
    """Registers the node with one server. Called on a thread of that server's own, and may take its time there."""

    repairs: bool
    """Whether asking again can help when the server denies that it knows this node."""

    def associate(self, registrant: Registrant, ticket: str | None) -> Answer:
        """One step: begin or, with ``ticket``, ask after what was begun.

        It is called again after a crash, maybe without the ticket of a request that was made: what is registered
        already, by this key, is confirmed. Whatever the network or the server does is an answer, not an exception.
        """


class NoProvider:
    """Takes the node as associated, and can do nothing about it."""

    repairs = False

    def associate(self, registrant: Registrant, ticket: str | None) -> Answer:  # noqa: ARG002
        """Confirmed."""
        return Answer(Event.CONFIRM)
