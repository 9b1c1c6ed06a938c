"""Pure: one request for erchef, taken apart, and what it is to be answered with."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from chef_devserver.front import Route
from chef_devserver.messages import Request
from chef_failover.chef.libcrypto import PrivateKey

NewKey = Callable[[], PrivateKey]
"""Draws a client's key when the server is asked to."""


@attrs.frozen
class Call:
    """One request for erchef. ``down`` names the upstreams that fail, as the status page does."""

    request: Request
    route: Route
    api_version: int
    new_key: NewKey
    down: frozenset[str] = frozenset()

    @property
    def user(self) -> str:
        """Who signed it."""
        return self.request.user

    def uri(self, kind: str, name: str) -> str:
        """The address of an object, as answers name it."""
        prefix = f"/organizations/{self.route.organization}" if self.route.organization else ""
        return f"https://{self.request.headers.get('host', 'localhost')}{prefix}/{kind}/{name}"
