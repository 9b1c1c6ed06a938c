"""Shell: the command that asks the Chef servers about all nodes, from a workstation or a nightly job."""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.signing import ChefAuth
from chef_failover.chef.trust import TrustStore
from chef_failover.cli import fleet_tables
from chef_failover.cli.asking import pretty
from chef_failover.cli.options import Duration, json_option
from chef_failover.errors import EXIT_NO, ChefFailoverError
from chef_failover.fleet import credentials, inventory, page, parity, report
from chef_failover.fleet.asking import Asker, Pace
from chef_failover.fleet.credentials import Account
from chef_failover.fleet.reading import OnProgress, Reading
from chef_failover.fleet.search import EVERYTHING, NodeSearch
from chef_failover.printable import printable_values

_TRUSTED = Path("/etc/chef/trusted_certs")


@click.command()
@click.option(
    "--profile", "profiles", multiple=True, help="A profile of the credentials; give it again for each server."
)
@click.option(
    "--credentials",
    "credentials_path",
    type=click.Path(path_type=Path),
    default=credentials.PATH,
    envvar="CHEF_CREDENTIALS_FILE",
    show_default=True,
    help="Where the profiles are.",
)
@click.option("--server", "url", help="A Chef server's URL, with its organization, in place of a profile.")
@click.option("--client-name", help="With --server: the user or client who asks.")
@click.option("--key", "key_path", type=click.Path(path_type=Path), help="With --server: the file with that one's key.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="Certificates to trust beside those of knife.")
@click.option("--without", metavar="SERVER", help="The server that dies, by its name on the nodes; the most used one.")
@click.option("--query", default=EVERYTHING, help="Only the nodes that this search finds, as knife takes it.")
@click.option(
    "--interval",
    "interval_s",
    type=Duration(),
    default="30m",
    show_default=True,
    help="How often nodes run chef-client; one that was not seen for two of these is not counted on.",
)
@click.option(
    "--rate",
    "per_s",
    type=click.FloatRange(min=0.1),
    default=4.0,
    show_default=True,
    help="Requests a second to each server, at most.",
)
@click.option(
    "--timeout", "timeout_s", type=Duration(), default="60s", show_default=True, help="How long one request may take."
)
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Also write the report there, as a page.")
@click.option(
    "--parity",
    "with_parity",
    is_flag=True,
    help="Also compare what the servers have; the first profile is the measure.",
)
@json_option
def fleet(
    profiles: Sequence[str],
    credentials_path: Path,
    *,
    url: str | None,
    client_name: str | None,
    key_path: Path | None,
    ca_file: Path | None,
    without: str | None,
    query: str,
    interval_s: float,
    per_s: float,
    timeout_s: float,
    html_path: Path | None,
    with_parity: bool,
    as_json: bool,
) -> None:
    """Say which nodes would be left alone if a server died now.

    It reads from the Chef servers what all nodes publish, and asks no node. Exit code 1 if a node would be left
    alone, or if not all nodes could be read. Nothing is changed anywhere.
    """
    if url is not None and not profiles and client_name is not None and key_path is not None:
        accounts = [credentials.from_options(url, client_name, key_path)]
    elif not (url or client_name or key_path):
        accounts = credentials.from_profiles(credentials_path, profiles, os.environ)
    else:
        raise click.UsageError("give --server, --client-name and --key together, and without --profile")
    on = datetime.datetime.now(datetime.UTC)
    trust = TrustStore((credentials.expanded(credentials_path).parent / "trusted_certs", _TRUSTED))
    askers = [_asker(one, trust, ca_file, per_s, timeout_s) for one in accounts]
    with _progress_bar() as progress:
        reading = Reading(query, on, progress)
        sources = reading.read([(*_of(one), NodeSearch(asker)) for one, asker in zip(accounts, askers, strict=True)])
    try:
        document = report.make(reading.nodes.values(), sources, without=without, interval_s=interval_s, on=on)
    except ValueError as error:
        raise ChefFailoverError(str(error)) from error
    if with_parity:
        with ThreadPoolExecutor(max_workers=len(accounts)) as pool:
            document["parity"] = parity.compare(list(pool.map(inventory.read, (one.label for one in accounts), askers)))
    if html_path is not None:
        _write(html_path, page.render(printable_values(document)))
    click.echo(pretty(document) if as_json else fleet_tables.report(printable_values(document)))
    if not report.is_well(document):
        sys.exit(EXIT_NO)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ChefFailoverError(f"{path}: {error.strerror}") from error


def _of(account: Account) -> tuple[str, str]:
    return account.label, account.chef_server_url


def _asker(account: Account, trust: TrustStore, ca_file: Path | None, per_s: float, timeout_s: float) -> Asker:
    target = Target(account.chef_server_url, timeout_s, ca_file, account.user, uses_environment_proxy=True)

    def signer(protocol: str) -> ChefAuth:
        return ChefAuth(account.user, account.key, protocol)

    return Asker(ChefServer(target, Resolver(), trust), signer, account.user, Pace(per_s))


@contextlib.contextmanager
def _progress_bar() -> Iterator[OnProgress]:
    """A bar on stderr for a person who waits; nothing for a log."""
    if not sys.stderr.isatty():
        yield lambda more, done: None  # noqa: ARG005
        return
    with click.progressbar(length=0, label="reading nodes", file=sys.stderr) as bar:

        def progress(more: int, done: int) -> None:
            bar.length = (bar.length or 0) + more
            bar.update(done)

        yield progress
