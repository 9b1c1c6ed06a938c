"""Shell: the commands with which a person steers: drain and pin, and their ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from chef_failover.cli import tables
from chef_failover.cli.asking import ask, path_of, pretty, shown
from chef_failover.cli.options import Duration, config_option, json_option
from chef_failover.errors import ChefFailoverError
from chef_failover.node import accepted

_reason_option = click.option("--reason", help="The reason, shown to everyone.")
_for_option = click.option("--for", "for_s", type=Duration(), help="How long it lasts; by default until you end it.")


@click.command()
@config_option
@json_option
@click.argument("server")
@_reason_option
@_for_option
@click.option("--force", is_flag=True, help="Also if no other server is left.")
def drain(
    config_path: Path, server: str, *, as_json: bool, reason: str | None, for_s: float | None, force: bool
) -> None:
    """Take SERVER out of use on this node, for maintenance.

    The next run uses another server; a run in progress is not touched. SERVER is still used if no other one works.
    """
    asked = {"reason": reason, "for_s": for_s, "force": force}
    _steer(config_path, path_of(server, "drain"), asked, as_json=as_json)


@click.command()
@config_option
@json_option
@click.argument("server")
def undrain(config_path: Path, as_json: bool, server: str) -> None:
    """Let this node use SERVER again. A drain in the server list stays."""
    document = _steer(config_path, path_of(server, "undrain"), {}, as_json=as_json)
    if server in document["drains"]:
        place = (ask(accepted.at_work(config_path).config, "/v1/servers")["discovery"] or {}).get("source")
        where = f", {place}" if place else ""
        whose = document["drains"][server]["who"]
        raise ChefFailoverError(f"{server} is still drained by {whose}{where}: end that drain there, for all nodes")


@click.command()
@config_option
@json_option
@click.argument("server")
@_reason_option
@_for_option
@click.option("--strict", is_flag=True, help="Stay with SERVER even if it is down or refuses this node.")
def pin(
    config_path: Path, server: str, *, as_json: bool, reason: str | None, for_s: float | None, strict: bool
) -> None:
    """Have this node use SERVER. With --for, this rehearses a failover that ends by itself."""
    asked = {"reason": reason, "for_s": for_s, "strict": strict}
    _steer(config_path, path_of(server, "pin"), asked, as_json=as_json)


@click.command()
@config_option
@json_option
def unpin(config_path: Path, as_json: bool) -> None:
    """End the pin; the node chooses its server again."""
    _steer(config_path, "/v1/unpin", {}, as_json=as_json)


def _steer(config_path: Path, target: str, asked: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    """What the sidecar answers to what is asked. Behind sudo, it also gets the name of who asked for it."""
    config = accepted.at_work(config_path).config
    body = asked | {"on_behalf_of": os.environ.get("SUDO_USER") or None}
    document = ask(config, target, method="POST", body=body)
    text, not_kept = shown(lambda said: (tables.steered(said), said["not_kept"]), document)
    click.echo(pretty(document) if as_json else text)
    if not_kept:
        click.echo(f"Warning: cannot save this, so a restart forgets it: {not_kept}", err=True)
    return document
