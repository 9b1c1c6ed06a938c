"""Shell: how commands ask the sidecar, and show what it says."""

from __future__ import annotations

import grp
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from chef_failover.api import client
from chef_failover.cli import last_resort
from chef_failover.config.settings import Config
from chef_failover.errors import ChefFailoverError, SidecarUnavailableError, SocketForbiddenError
from chef_failover.printable import printable_values

T = TypeVar("T")


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
            raise SocketForbiddenError(f"{error}: only {_who_may(listen.socket)} may; try sudo") from error
        reply = client.ask(listen.loopback, target, timeout_s=timeout_s)
    if reply.status >= 400:
        raise ChefFailoverError(str(reply.body.get("detail", f"HTTP {reply.status}")))
    return reply.body


def path_of(server: str, action: str) -> str:
    """The path of what is asked for of one server, such as ``drain``."""
    return f"/v1/servers/{quote(server, safe='')}/{action}"


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


def shown(render: Callable[[dict[str, Any]], T], document: dict[str, Any]) -> T:
    """What ``render`` makes of ``document`` for a terminal, after all text in it is made printable.

    Raises:
        ChefFailoverError: ``document`` is not what a sidecar of this version says.
    """
    try:
        return render(printable_values(document))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ChefFailoverError(
            f"cannot show the sidecar's answer ({type(error).__name__}: {error}). If the sidecar runs another version:"
            " systemctl restart chef-failover"
        ) from error


def pretty(document: object) -> str:
    """``document`` as JSON for people and programs: in ASCII, so that no text in it can command a terminal."""
    return json.dumps(document, indent=2).replace("\x7f", r"\u007f")
