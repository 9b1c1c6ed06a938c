"""Shell: the command line."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from chef_failover import __version__, lean
from chef_failover.api import client
from chef_failover.cli import tables
from chef_failover.cli.progress import Progress
from chef_failover.config import settings as configuration
from chef_failover.config.settings import Config
from chef_failover.daemon import logs
from chef_failover.durations import parse_duration_s
from chef_failover.errors import EXIT_INTERRUPTED, EXIT_NO, ChefFailoverError, SidecarUnavailableError

WATCH_PERIOD_S = 2.0
WAIT_PERIOD_S = 0.5


class _Duration(click.ParamType[float]):
    """500ms, 10s, 5m or 1h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        try:
            return parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=configuration.DEFAULT_PATH,
    show_default=True,
    help="The configuration file.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chef-failover")
def cli() -> None:
    """Keep this node's chef-client on a Chef server that works."""


@cli.command()
@_config_option
def serve(config_path: Path) -> None:
    """Run the sidecar in the foreground; SIGHUP reloads its configuration."""
    with lean.loading():
        from chef_failover.daemon.serve import serve as run  # noqa: PLC0415

    run(config_path)


@cli.command()
@_config_option
@_json_option
def server(config_path: Path, as_json: bool) -> None:
    """Print the URL of the Chef server to use now.

    When the sidecar does not answer, the choice it last wrote down or the first server of the configuration is printed,
    just as chef-client would use it, and stderr says so.
    """
    config = configuration.load(config_path)
    try:
        document = _ask(config, "/v1/server?max_age=0", timeout_s=config.health.timeout + 2)
    except SidecarUnavailableError as error:
        from chef_failover.cli import last_resort  # noqa: PLC0415

        document = last_resort.server(config)
        click.echo(f"{error}; {document['reason']}", err=True)
    click.echo(_pretty(document) if as_json else document["chef_server_url"])


@cli.command()
@_config_option
@_json_option
@click.argument("server", required=False)
@click.option("--watch", is_flag=True, help="Print again every two seconds, until interrupted.")
def status(config_path: Path, as_json: bool, server: str | None, watch: bool) -> None:
    """Show every server, why it is or is not the one in use, and what would have to change; or all of one SERVER."""
    config = configuration.load(config_path)
    while True:
        document = _status(config)
        text, is_well = _status_in_words(document, server)
        if watch and sys.stdout.isatty():
            click.clear()
        click.echo(_pretty(document) if as_json else text)
        if not watch:
            break
        time.sleep(WATCH_PERIOD_S)
    if not is_well:
        sys.exit(EXIT_NO)


@cli.command()
@_config_option
@_json_option
@click.option(
    "--node", "with_node", is_flag=True, help="Look at this node, too: network, clock, key, files, shim, unit."
)
def check(config_path: Path, as_json: bool, with_node: bool) -> None:
    """Validate the configuration and probe each server once, without a daemon; find what the old recipe has left.

    With --node, every line is ok, or !! with what to do, or -- for what this user or this machine cannot tell.
    """
    from chef_failover.cli.check import check as probe_all  # noqa: PLC0415
    from chef_failover.doctor.whole import diagnose, find_old_recipe  # noqa: PLC0415

    logs.to_stderr(logging.WARNING)
    config = configuration.load(config_path)
    document = probe_all(config)
    found = diagnose(config, config_path, document) if with_node else find_old_recipe(config, config_path)
    if with_node or found:
        document["node"] = [{"subject": one.subject, "ok": one.is_ok, "detail": one.detail or None} for one in found]
    click.echo(_pretty(document) if as_json else tables.check(document, str(config_path)))
    is_well = all(entry["ok"] is not False for entry in document.get("node", [])) and tables.is_list_well(document)
    if not is_well or not all(entry["usable"] for entry in document["servers"]):
        sys.exit(EXIT_NO)


_timeout_option = click.option(
    "--timeout", "timeout_s", type=_Duration(), default="10m", show_default=True, help="Give up after this long."
)


@cli.command()
@_config_option
@_json_option
@click.option("--associated", is_flag=True, help="Wait also until the node is registered with the server in use.")
@click.option("--all", "with_all", is_flag=True, help="With --associated: with every server.")
@_timeout_option
def wait(config_path: Path, as_json: bool, associated: bool, with_all: bool, timeout_s: float) -> None:
    """Wait until this node has a Chef server that works; for user data and scripts."""
    if with_all and not associated:
        raise click.UsageError("--all goes with --associated")
    config = configuration.load(config_path)
    with contextlib.suppress(ChefFailoverError):  # the question makes a sidecar that has just started probe at once
        _ask(config, "/v1/server", timeout_s=config.health.timeout + 2)
    ready_at, limit = math.inf, time.monotonic() + timeout_s - 2 * WAIT_PERIOD_S

    def is_far(document: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
        nonlocal ready_at
        is_done, lines = tables.progress(document, must_be_associated=associated, with_all=with_all)
        hoped_for = tables.hoped_for(document) if is_done else None
        ready_at = min(ready_at, time.monotonic()) if is_done else math.inf
        if hoped_for and time.monotonic() < min(ready_at + config.health.timeout, limit):
            return False, (f"waiting a moment for {hoped_for}, which is preferred",)
        return is_done, lines

    _wait(config, is_far, timeout_s, as_json=as_json)


@cli.command()
@_config_option
@_json_option
@click.argument("servers", metavar="[SERVER]...", nargs=-1)
@click.option("--wait", "is_waiting", is_flag=True, help="Wait until the node is registered there.")
@click.option("--replace", is_flag=True, help="Remove an older registration of its name first (opsworks-cm alone).")
@_timeout_option
def associate(
    config_path: Path, *, as_json: bool, servers: tuple[str, ...], is_waiting: bool, replace: bool, timeout_s: float
) -> None:
    """Try now to register the node: with SERVERs, or with all that it is to register with.

    The sidecar does this by itself; the command is for a person who has just mended what was in the way.
    """
    config = configuration.load(config_path)
    names = servers or [server.name for server in config.servers if server.association.provider != "none"]
    if not names:
        raise ChefFailoverError("no server has an association to make: servers[].association is none for all of them")
    for name in names:
        _ask(config, f"/v1/servers/{quote(name, safe='')}/associate", method="POST", body={"replace": replace})

    def is_far(document: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
        asked = {**document, "servers": [entry for entry in document["servers"] if entry["name"] in names]}
        is_done = all(entry.get("association") == "associated" for entry in asked["servers"])
        return is_done, tables.associations(asked)

    if is_waiting:
        _wait(config, is_far, timeout_s, as_json=as_json)
    else:
        document = _status(config)
        click.echo(_pretty(document) if as_json else "\n".join(is_far(document)[1]))


_reason_option = click.option("--reason", help="Why, for everybody who wonders later.")
_for_option = click.option("--for", "for_s", type=_Duration(), help="How long; without it, until a person ends it.")


@cli.command()
@_config_option
@_json_option
@click.argument("server")
@_reason_option
@_for_option
@click.option("--force", is_flag=True, help="Even if no other server is left.")
def drain(
    config_path: Path, server: str, *, as_json: bool, reason: str | None, for_s: float | None, force: bool
) -> None:
    """Take SERVER out of use on this node, for maintenance.

    The next run goes elsewhere; a run under way ends where it is. It is still used if no other server is well.
    """
    asked = {"reason": reason, "for_s": for_s, "force": force}
    _steer(config_path, f"/v1/servers/{quote(server, safe='')}/drain", asked, as_json=as_json)


@cli.command()
@_config_option
@_json_option
@click.argument("server")
def undrain(config_path: Path, as_json: bool, server: str) -> None:
    """Let this node use SERVER again."""
    _steer(config_path, f"/v1/servers/{quote(server, safe='')}/undrain", {}, as_json=as_json)


@cli.command()
@_config_option
@_json_option
@click.argument("server")
@_reason_option
@_for_option
@click.option("--strict", is_flag=True, help="Stay with SERVER even if it is down, or would refuse this node.")
def pin(
    config_path: Path, server: str, *, as_json: bool, reason: str | None, for_s: float | None, strict: bool
) -> None:
    """Have this node use SERVER; with --for, a failover rehearsed that ends by itself."""
    asked = {"reason": reason, "for_s": for_s, "strict": strict}
    _steer(config_path, f"/v1/servers/{quote(server, safe='')}/pin", asked, as_json=as_json)


@cli.command()
@_config_option
@_json_option
def unpin(config_path: Path, as_json: bool) -> None:
    """End the pin: the node uses the best server again."""
    _steer(config_path, "/v1/unpin", {}, as_json=as_json)


@cli.command()
@_config_option
def facts(config_path: Path) -> None:
    """Print what the Ohai plugin publishes, as JSON."""
    config = configuration.load(config_path)
    click.echo(_pretty(_ask(config, "/v1/facts")))


@cli.command()
@_config_option
@click.option("--force", "is_forced", is_flag=True, help="Also on a node that is registered with a server.")
def seal(config_path: Path, is_forced: bool) -> None:
    """Remove this node's identity and state, before an image is taken of it.

    The key goes if it was made here, with everything in the state directory. Each thing that is removed is told.
    """
    from chef_failover.cli.seal import seal as remove_all  # noqa: PLC0415

    for sentence in remove_all(configuration.load(config_path), is_forced=is_forced):
        click.echo(sentence)


def run() -> None:
    """Run the command line; what click has to say ends in its exit code here."""
    try:
        cli.main(prog_name="chef-failover", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code if isinstance(error, click.UsageError) else EXIT_NO)
    except click.Abort:
        sys.exit(EXIT_INTERRUPTED)


def _wait(
    config: Config,
    is_far: Callable[[dict[str, Any]], tuple[bool, tuple[str, ...]]],
    timeout_s: float,
    *,
    as_json: bool,
) -> None:
    """Show how far it is, until it is done or takes too long."""
    limit = time.monotonic() + timeout_s
    progress = Progress(sys.stderr)
    while True:
        document = _status(config)
        is_done, lines = is_far(document)
        if is_done:
            click.echo(_pretty(document) if as_json else "\n".join(lines))
            return
        progress.show(lines)
        if time.monotonic() > limit:
            click.echo(f"gave up after {timeout_s:g} s", err=True)
            if as_json:
                click.echo(_pretty(document))
            sys.exit(EXIT_NO)
        time.sleep(WAIT_PERIOD_S)


def _steer(config_path: Path, target: str, asked: dict[str, Any], *, as_json: bool) -> None:
    """Have the sidecar do what is asked. Behind sudo, it also gets the name of who asked for it."""
    config = configuration.load(config_path)
    body = asked | {"on_behalf_of": os.environ.get("SUDO_USER") or None}
    document = _ask(config, target, method="POST", body=body)
    click.echo(_pretty(document) if as_json else tables.steered(document))
    if document["not_kept"]:
        click.echo(f"This cannot be written down, and a restart forgets it: {document['not_kept']}", err=True)


def _ask(
    config: Config, target: str, *, method: str = "GET", body: object = None, timeout_s: float = 10.0
) -> dict[str, Any]:
    reply = client.ask(config.listen.socket, target, method=method, body=body, timeout_s=timeout_s)
    if reply.status >= 400:
        raise ChefFailoverError(str(reply.body.get("detail", f"HTTP {reply.status}")))
    return reply.body


def _status(config: Config) -> dict[str, Any]:
    """The sidecar's own view, or with ``error`` what is known without it."""
    try:
        return _ask(config, "/v1/servers")
    except SidecarUnavailableError as error:
        from chef_failover.cli import last_resort  # noqa: PLC0415

        return last_resort.status(config, str(error))


def _status_in_words(document: dict[str, Any], server: str | None) -> tuple[str, bool]:
    """The text, and whether all is well: with the node, or with the one server that was asked for."""
    if document.get("error") or server is None:
        return tables.status(document), not (document.get("error") or document.get("degraded"))
    text = tables.status_of(document, server)
    if text is None:
        names = ", ".join(entry["name"] for entry in document["servers"]) or "none"
        raise ChefFailoverError(f"the configuration has no server {server!r}; it has: {names}")
    return text, any(entry["standing"] == "eligible" for entry in document["servers"] if entry["name"] == server)


def _pretty(document: object) -> str:
    return json.dumps(document, indent=2)
