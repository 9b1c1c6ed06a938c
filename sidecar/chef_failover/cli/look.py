"""Shell: the commands that show: which server, why, and what the Ohai plugin publishes."""

from __future__ import annotations

import datetime
import functools
import sys
import time
from pathlib import Path
from typing import Any

import click

from chef_failover.cli import last_resort, tables
from chef_failover.cli.asking import ask, known, pretty, shown
from chef_failover.cli.options import config_option, json_option
from chef_failover.errors import EXIT_NO, ChefFailoverError, SidecarUnavailableError
from chef_failover.fleet import standby as standby_answer
from chef_failover.node import accepted
from chef_failover.printable import VALUE_LIMIT, printable

WATCH_PERIOD_S = 2.0


@click.command()
@config_option
@json_option
def server(config_path: Path, as_json: bool) -> None:
    """Print the URL of the Chef server to use now.

    If the sidecar is down, print its last choice or else the first server of config.yml, as chef-client would use it,
    and say so on stderr.
    """
    work = accepted.at_work(config_path)
    config = work.config
    try:
        document = ask(config, "/v1/server?max_age=0", timeout_s=config.health.timeout + 2)
    except SidecarUnavailableError as error:
        document = last_resort.server(config)
        for words in filter(None, (work.why_not, f"{error}; {document['reason']}")):
            click.echo(printable(words, VALUE_LIMIT), err=True)
    click.echo(pretty(document) if as_json else shown(lambda said: str(said["chef_server_url"]), document))


@click.command()
@config_option
@json_option
@click.argument("server", required=False)
@click.option("--watch", is_flag=True, help="Refresh every two seconds until interrupted.")
@click.option(
    "--standby", is_flag=True, help="Only say whether another server could take over now; exit 1 if none could."
)
def status(config_path: Path, *, as_json: bool, server: str | None, watch: bool, standby: bool) -> None:
    """Show all servers, and why each one is in use or not.

    It also says what would move the node. With SERVER, show all details of that server.
    """
    if standby and (watch or server):
        raise click.UsageError("--standby checks every server once; leave out SERVER and --watch")
    work = accepted.at_work(config_path)
    if standby:
        _say_whether_another_could(known(work.config, refresh=True), as_json=as_json)
        return
    while True:
        document = known(work.config, refresh=True)
        document["warnings"] = [*filter(None, (work.why_not,)), *document.get("warnings", ())]
        text, is_well = shown(functools.partial(_status_in_words, server, work.is_written), document)
        if watch and sys.stdout.isatty():
            click.clear()
        click.echo(pretty(document) if as_json else text)
        if not watch:
            break
        time.sleep(WATCH_PERIOD_S)
    if not is_well:
        sys.exit(EXIT_NO)


def _say_whether_another_could(document: dict[str, Any], *, as_json: bool) -> None:
    could = shown(functools.partial(standby_answer.of_node, on=datetime.datetime.now(datetime.UTC)), document)
    click.echo(pretty(could) if as_json else tables.standby(could))
    if could["standby"] is None:
        sys.exit(EXIT_NO)


@click.command()
@config_option
def facts(config_path: Path) -> None:
    """Print what the Ohai plugin publishes, as JSON."""
    config = accepted.at_work(config_path).config
    click.echo(pretty(ask(config, "/v1/facts")))


def _status_in_words(server: str | None, is_accepted: bool, document: dict[str, Any]) -> tuple[str, bool]:
    """The text, and whether all is well: with the node, or with the one server that was asked for."""
    is_ill = bool(document.get("error") or document.get("offline"))
    if document.get("error") or server is None:
        return tables.status(document, is_accepted=is_accepted), not (is_ill or document.get("degraded"))
    text = tables.status_of(document, server)
    if text is None:
        names = ", ".join(entry["name"] for entry in document["servers"]) or "none"
        raise ChefFailoverError(f"the configuration has no server {server!r}; it has: {names}")
    asked = (entry for entry in document["servers"] if entry["name"] == server)
    is_used = server == document["choice"] and not document["degraded"]  # a stale one, where nothing better is
    return text, not is_ill and (is_used or any(entry["standing"] == "eligible" for entry in asked))
