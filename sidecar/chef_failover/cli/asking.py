"""Shell: how commands ask the sidecar."""

from __future__ import annotations

import grp
import json
from pathlib import Path
from typing import Any

from chef_failover.api import client
from chef_failover.cli import last_resort
from chef_failover.config.settings import Config
from chef_failover.errors import ChefFailoverError, SidecarUnavailableError, SocketForbiddenError


def ask(
    config: Config, target: str, *, method: str = "GET", body: object = None, timeout_s: float = 10.0
) -> dict[str, Any]:
    """What the sidecar of ``config`` answers. Who may not ask on its socket may look through the loopback port.

    Raises:
        ChefFailoverError: it refuses, or does not answer (``SidecarUnavailableError``), or this user may not ask.
    """
    listen = config.listen
    try:
        reply = client.ask(listen.socket, target, method=method, body=body, timeout_s=timeout_s)
    except SocketForbiddenError as error:
        if method != "GET" or listen.loopback is None:
            raise SocketForbiddenError(f"{error}: {_who_may(listen.socket)} may; try sudo") from error
        reply = client.ask(listen.loopback, target, timeout_s=timeout_s)
    if reply.status >= 400:
        raise ChefFailoverError(str(reply.body.get("detail", f"HTTP {reply.status}")))
    return reply.body


def known(config: Config, *, refresh: bool = False) -> dict[str, Any]:
    """The sidecar's own view, or with ``error`` what is known without it; ``refresh`` for a person who looks."""
    try:
        if refresh:
            return ask(config, "/v1/servers?refresh=yes", timeout_s=10.0 + config.health.timeout)
        return ask(config, "/v1/servers")
    except SocketForbiddenError:
        raise
    except SidecarUnavailableError as error:
        return last_resort.status(config, str(error))


def _who_may(socket: Path) -> str:
    try:
        return f"root and the group {grp.getgrgid(socket.stat().st_gid).gr_name}"
    except (OSError, KeyError):
        return "root and the group of the service"


def pretty(document: object) -> str:
    """``document`` as JSON for people and programs."""
    return json.dumps(document, indent=2)
