"""Shell: how commands ask the sidecar."""

from __future__ import annotations

import json
from typing import Any

from chef_failover.api import client
from chef_failover.cli import last_resort
from chef_failover.config.settings import Config
from chef_failover.errors import ChefFailoverError, SidecarUnavailableError


def ask(
    config: Config, target: str, *, method: str = "GET", body: object = None, timeout_s: float = 10.0
) -> dict[str, Any]:
    """What the sidecar of ``config`` answers.

    Raises:
        ChefFailoverError: it refuses, or does not answer (``SidecarUnavailableError``).
    """
    reply = client.ask(config.listen.socket, target, method=method, body=body, timeout_s=timeout_s)
    if reply.status >= 400:
        raise ChefFailoverError(str(reply.body.get("detail", f"HTTP {reply.status}")))
    return reply.body


def known(config: Config, *, refresh: bool = False) -> dict[str, Any]:
    """The sidecar's own view, or with ``error`` what is known without it; ``refresh`` for a person who looks."""
    try:
        if refresh:
            return ask(config, "/v1/servers?refresh=yes", timeout_s=10.0 + config.health.timeout)
        return ask(config, "/v1/servers")
    except SidecarUnavailableError as error:
        return last_resort.status(config, str(error))


def pretty(document: object) -> str:
    """``document`` as JSON for people and programs."""
    return json.dumps(document, indent=2)
