"""Shell: the command that asks the Chef servers about all nodes, from a workstation or a nightly job."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from chef_failover.cli import fleet_tables
from chef_failover.cli.asking import pretty
from chef_failover.cli.options import Duration, json_option
from chef_failover.cli.servers import progress_bar, with_sessions
from chef_failover.errors import EXIT_NO, ChefFailoverError
from chef_failover.fleet import inventory, page, parity, report
from chef_failover.fleet.reading import Reading
from chef_failover.fleet.search import EVERYTHING, NodeSearch
from chef_failover.fleet.session import Session
from chef_failover.printable import printable_values


@click.command()
@with_sessions
@click.option(
    "--without", metavar="SERVER", help="The server that fails, by its name on the nodes; by default the most used one."
)
@click.option("--query", default=EVERYTHING, help="Only nodes that match this search, in knife's syntax.")
@click.option(
    "--interval",
    "interval_s",
    type=Duration(),
    default="30m",
    show_default=True,
    help="How often nodes run chef-client; a node not seen for two intervals does not count.",
)
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path), help="Also write the report to this file, as HTML."
)
@click.option(
    "--parity",
    "with_parity",
    is_flag=True,
    help="Also compare what the servers have with the first profile's server.",
)
@json_option
def fleet(
    *,
    sessions: Sequence[Session],
    without: str | None,
    query: str,
    interval_s: float,
    html_path: Path | None,
    with_parity: bool,
    as_json: bool,
) -> None:
    """Say which nodes would be left alone if a server died now.

    It reads from the Chef servers what all nodes publish, and asks no node. Exit code 1 if a node would be left
    alone, or if not all nodes could be read. Nothing is changed anywhere.
    """
    on = datetime.datetime.now(datetime.UTC)
    with progress_bar("reading nodes") as progress:
        reading = Reading(query, on, progress)
        sources = reading.read(
            [(one.account.label, one.account.chef_server_url, NodeSearch(one.asker)) for one in sessions]
        )
    try:
        document = report.make(reading.nodes.values(), sources, without=without, interval_s=interval_s, on=on)
    except ValueError as error:
        raise ChefFailoverError(str(error)) from error
    if with_parity:
        with ThreadPoolExecutor(max_workers=len(sessions)) as pool:
            read = pool.map(lambda one: inventory.read(one.account.label, one.asker), sessions)
            document["parity"] = parity.compare(list(read))
    if html_path is not None:
        try:
            html_path.write_text(page.render(printable_values(document)), encoding="utf-8")
        except OSError as error:
            raise ChefFailoverError(f"{html_path}: {error.strerror}") from error
    click.echo(pretty(document) if as_json else fleet_tables.report(printable_values(document)))
    if not report.is_well(document):
        sys.exit(EXIT_NO)
