"""I/O: what is known when the sidecar does not answer; the same layers as in the Ruby shim."""

from __future__ import annotations

import datetime
import time
from typing import Any

from chef_failover.api import render
from chef_failover.config.settings import Config, Server
from chef_failover.errors import ChefFailoverError
from chef_failover.node import boot
from chef_failover.server_list import discovery
from chef_failover.state import document as state
from chef_failover.state.remembered import Remembered


def server(config: Config) -> dict[str, Any]:
    """The server that chef-client would use now: the last choice written down, else the first of the configuration.

    Raises:
        ChefFailoverError: the configuration names no server.
    """
    config = discovery.from_cache(config).config
    remembered = _remembered(config).choice
    chosen = next((entry for entry in config.servers if entry.name == remembered), None)
    if chosen is not None:
        return _use(config, chosen, f"using its last choice in {config.state_dir / state.FILE_NAME}")
    if not config.servers:
        raise ChefFailoverError("no server is configured; chef-client keeps its own chef_server_url")
    first = min(config.servers, key=config.priority)
    return _use(config, first, "it left no choice; using the first server of config.yml")


def status(config: Config, error: str) -> dict[str, Any]:
    """Like ``GET /v1/servers``, as far as it is known, with ``error``: what state.json had, which may be old."""
    config = discovery.from_cache(config).config
    remembered = _remembered(config)
    return {
        "schema": 1,
        "error": error,
        "choice": remembered.choice,
        **render.remembered(remembered.chosen_on, remembered.reason, remembered.orders, remembered.transitions),
        "servers": [{"name": entry.name, "url": entry.url} for entry in config.servers],
    }


def _remembered(config: Config) -> Remembered:
    path, on = config.state_dir / state.FILE_NAME, datetime.datetime.now(datetime.UTC)
    return state.peek(path, on, at=time.clock_gettime(time.CLOCK_BOOTTIME), boot_id=boot.boot_id())


def _use(config: Config, chosen: Server, reason: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": chosen.name,
        "chef_server_url": config.chef_server_url(chosen),
        "degraded": True,
        "reason": reason,
    }
