"""Shell: how commands ask the sidecar, and show what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from chef_failover.api import client
from chef_failover.cli import last_resort
from chef_failover.config.settings import Config
from chef_failover.errors import ChefFailoverError, SidecarUnavailableError
from chef_failover.printable import printable_values

T = TypeVar("T")


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


def known(config: Config) -> dict[str, Any]:
    """The sidecar's own view, or with ``error`` what is known without it."""
    try:
        return ask(config, "/v1/servers")
    except SidecarUnavailableError as error:
        return last_resort.status(config, str(error))


def shown(render: Callable[[dict[str, Any]], T], document: dict[str, Any]) -> T:
    """What ``render`` makes of ``document`` for a terminal, after all text in it is made printable.

    Raises:
        ChefFailoverError: ``document`` is not what a sidecar of this version says.
    """
    try:
        return render(printable_values(document))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ChefFailoverError(
            f"the sidecar's answer cannot be shown ({type(error).__name__}: {error}); if it is of another version,"
            " systemctl restart chef-failover"
        ) from error


def pretty(document: object) -> str:
    """``document`` as JSON for people and programs: in ASCII, so that no text in it can command a terminal."""
    return json.dumps(document, indent=2).replace("\x7f", r"\u007f")
