"""I/O: what is said to one Chef server, and what it answers: several requests under one deadline.

Probes, registration and node objects all go this way, so they all verify as chef-client does, end in time, follow no
redirect, read no endless body, and fail as `ProbeError` with its class and its words.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import attrs

from chef_failover.chef.answers import Answer
from chef_failover.chef.deadline import Deadline, ProbeError
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.trust import TrustStore
from chef_failover.model.model import Outcome

if TYPE_CHECKING:
    import ssl

    from chef_failover.chef.https import Auth

Signer = Callable[[str], "Auth"]
"""Gives the authentication for a signing protocol."""


@attrs.frozen
class Target:
    """A Chef server as this node speaks to it. ``chef_server_url`` has the organization, if there is one."""

    chef_server_url: str
    timeout_s: float
    ca_file: Path | None = None
    node_name: str | None = None
    uses_environment_proxy: bool = False

    @property
    def root_url(self) -> str:
        """Where the paths that belong to no organization begin."""
        return self.chef_server_url.partition("/organizations/")[0]

    @property
    def node_url(self) -> str:
        """The node's own object."""
        return f"{self.chef_server_url}/nodes/{quote(self.node_name or '', safe='')}"


class Ask(Protocol):
    """Sends one request to an absolute URL; ``document`` becomes its JSON body."""

    @property
    def certificate_expires_on(self) -> datetime.datetime | None:
        """When the server's certificate ends, once it has been asked."""

    def __call__(self, method: str, url: str, auth: Auth | None = None, document: object = None) -> Answer:
        """The answer, whatever its status.

        Raises:
            ProbeError: there is none, or none that is HTTP.
        """


class Exchange:
    """Requests to ``target``."""

    def __init__(self, target: Target, resolver: Resolver, trust: TrustStore) -> None:
        self.target = target
        self._resolver = resolver
        self._trust = trust

    @contextlib.contextmanager
    def open(self) -> Iterator[Ask]:
        """What sends requests, until ``timeout_s`` from now.

        Raises:
            ProbeError: whatever the server or the network did, or ``ca_file`` holds no certificate.
        """
        from chef_failover.chef.https import converse  # noqa: PLC0415 - see there

        deadline = Deadline(self.target.timeout_s)
        proxied_url = self.target.root_url if self.target.uses_environment_proxy else None
        with converse(deadline, self._resolver, self._context(), proxied_url=proxied_url) as conversation:
            yield conversation

    def _context(self) -> ssl.SSLContext:
        ca_file = self.target.ca_file
        try:
            return self._trust.context(ca_file)
        except OSError as error:
            raise ProbeError(Outcome.TLS, f"ca_file {ca_file}: {error.strerror or error}") from error
