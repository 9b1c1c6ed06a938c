"""Shell: the commands that wait for a server that works, and that have the node registered now."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chef_failover.cli import tables
from chef_failover.cli.asking import ask, known, path_of, pretty, shown
from chef_failover.cli.options import config_option, json_option, timeout_option
from chef_failover.cli.progress import Progress
from chef_failover.config.settings import Config
from chef_failover.errors import EXIT_NO, ChefFailoverError
from chef_failover.node import accepted
from chef_failover.printable import printable_values

WAIT_PERIOD_S = 0.5
REFRESH_S = 10.0
"""After so long a wait, the servers are probed for it, as often as for a person who looks."""


@click.command()
@config_option
@json_option
@click.option("--associated", is_flag=True, help="Also wait until the node is registered with the server in use.")
@click.option("--all", "with_all", is_flag=True, help="With --associated: register with every server, now.")
@timeout_option
def wait(config_path: Path, as_json: bool, associated: bool, with_all: bool, timeout_s: float) -> None:
    """Wait until this node has a Chef server that works. For user data and scripts."""
    if with_all and not associated:
        raise click.UsageError("--all needs --associated")
    work = accepted.at_work(config_path)
    config, hurried = work.config, set[str]()
    with contextlib.suppress(ChefFailoverError):  # the question makes a sidecar that has just started probe at once
        ask(config, "/v1/server", timeout_s=config.health.timeout + 2)
    ready_at, limit = math.inf, time.monotonic() + timeout_s - 2 * WAIT_PERIOD_S

    def is_far(document: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
        nonlocal ready_at
        is_settled = work.why_not is None or not work.is_written  # else what the file has now is not at work yet
        if is_settled and not (document["servers"] or config.servers or config.discovery.source):
            raise ChefFailoverError(
                f"no server is configured, nothing to wait for; add servers to {config_path}, then systemctl reload"
                " chef-failover"
            )
        if with_all and _hurry(config, document, hurried):
            document = printable_values(known(config))  # what is said from before that is no longer so
        is_done, lines = tables.progress(document, must_be_associated=associated, with_all=with_all)
        hoped_for = tables.hoped_for(document) if is_done else None
        ready_at = min(ready_at, time.monotonic()) if is_done else math.inf
        if hoped_for and time.monotonic() < min(ready_at + config.health.timeout, limit):
            return False, (f"waiting briefly for {hoped_for}, which is preferred",)
        return is_done, lines

    _wait(config, is_far, timeout_s, as_json=as_json)


def _hurry(config: Config, document: dict[str, Any], hurried: set[str]) -> bool:
    """Have the node register now with each server that it would take its time for; once for each, as far as we may.

    Return whether one was asked for.
    """
    before = len(hurried)
    for entry in document["servers"]:
        if entry.get("association") == "unassociated" and entry["name"] not in hurried:
            hurried.add(entry["name"])
            with contextlib.suppress(ChefFailoverError):
                _associate(config, entry["name"], {})
    return len(hurried) > before


def _associate(config: Config, name: str, body: dict[str, Any]) -> None:
    ask(config, path_of(name, "associate"), method="POST", body=body)


@click.command()
@config_option
@json_option
@click.argument("servers", metavar="[SERVER]...", nargs=-1)
@click.option("--wait", "is_waiting", is_flag=True, help="Wait until the node is registered; READY may follow later.")
@click.option(
    "--replace", is_flag=True, help="First remove an older registration of this node's name (opsworks-cm only)."
)
@timeout_option
def associate(
    config_path: Path, *, as_json: bool, servers: tuple[str, ...], is_waiting: bool, replace: bool, timeout_s: float
) -> None:
    """Register this node now, with SERVER or with all servers.

    The sidecar does this by itself; use the command to retry at once after you have fixed a problem.
    """
    config = accepted.at_work(config_path).config
    names = servers or [server.name for server in config.servers if server.association.provider != "none"]
    if not names:
        raise ChefFailoverError("nothing to register: servers[].association is none for every server")
    for name in names:
        _associate(config, name, {"replace": replace})

    def is_far(document: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
        asked = {**document, "servers": [entry for entry in document["servers"] if entry["name"] in names]}
        is_done = all(entry.get("association") == "associated" for entry in asked["servers"])
        return is_done, tables.associations(asked)

    if is_waiting:
        _wait(config, is_far, timeout_s, as_json=as_json)
    else:
        document = known(config)
        click.echo(pretty(document) if as_json else "\n".join(shown(is_far, document)[1]))


def _wait(
    config: Config,
    is_far: Callable[[dict[str, Any]], tuple[bool, tuple[str, ...]]],
    timeout_s: float,
    *,
    as_json: bool,
) -> None:
    """Show how far it is, until it is done or takes too long. A long wait has the servers probed again."""
    limit, refreshes_from = time.monotonic() + timeout_s, time.monotonic() + REFRESH_S
    progress = Progress(sys.stderr)
    while True:
        document = known(config, refresh=time.monotonic() >= refreshes_from)
        is_done, lines = shown(is_far, document)
        if is_done:
            click.echo(pretty(document) if as_json else "\n".join(lines))
            return
        progress.show(lines)
        if time.monotonic() > limit:
            click.echo(f"gave up after {timeout_s:g} s", err=True)
            if as_json:
                click.echo(pretty(document))
            sys.exit(EXIT_NO)
        time.sleep(WAIT_PERIOD_S)
