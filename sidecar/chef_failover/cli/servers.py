"""Shell: the options of commands that ask Chef servers with an account of their own, and the sessions they make."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from chef_failover.chef.trust import TrustStore
from chef_failover.cli.options import Duration
from chef_failover.fleet import credentials, session
from chef_failover.fleet.asking import Pace
from chef_failover.fleet.reading import OnProgress
from chef_failover.fleet.session import Session

_TRUSTED = Path("/etc/chef/trusted_certs")
_OPTIONS = (
    click.option(
        "--profile", "profiles", multiple=True, help="A profile of the credentials file; repeat it for each server."
    ),
    click.option(
        "--credentials",
        "credentials_path",
        type=click.Path(path_type=Path),
        default=credentials.PATH,
        envvar="CHEF_CREDENTIALS_FILE",
        show_default=True,
        help="The file with the profiles.",
    ),
    click.option("--server", "url", help="A Chef server's URL, with its organization, instead of a profile."),
    click.option("--client-name", help="With --server: the name of a user or client."),
    click.option(
        "--key", "key_path", type=click.Path(path_type=Path), help="With --server: the key file of that user or client."
    ),
    click.option(
        "--ca-file", type=click.Path(path_type=Path), help="CA certificates to trust, in addition to knife's."
    ),
    click.option(
        "--rate",
        "per_s",
        type=click.FloatRange(min=0.1),
        default=4.0,
        show_default=True,
        help="At most this many requests a second to each server.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=Duration(),
        default="60s",
        show_default=True,
        help="Timeout of one request.",
    ),
)


def with_sessions(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options, and what comes of them as its argument ``sessions``: one of each server."""

    @functools.wraps(command)
    def wrapped(
        *,
        profiles: Sequence[str],
        credentials_path: Path,
        url: str | None,
        client_name: str | None,
        key_path: Path | None,
        ca_file: Path | None,
        per_s: float,
        timeout_s: float,
        **others: Any,  # noqa: ANN401 - what else the command takes
    ) -> None:
        if url is not None and not profiles and client_name is not None and key_path is not None:
            accounts = [credentials.from_options(url, client_name, key_path)]
        elif not (url or client_name or key_path):
            accounts = credentials.from_profiles(credentials_path, profiles, os.environ)
        else:
            raise click.UsageError("give --server, --client-name and --key together, and without --profile")
        trust = TrustStore((credentials.expanded(credentials_path).parent / "trusted_certs", _TRUSTED))
        sessions: list[Session] = [session.begin(one, trust, ca_file, Pace(per_s), timeout_s) for one in accounts]
        command(sessions=sessions, **others)

    return functools.reduce(lambda made, option: option(made), reversed(_OPTIONS), wrapped)


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[OnProgress]:
    """A bar on stderr for a person who waits, which several threads may move; nothing for a log."""
    if not sys.stderr.isatty():
        yield lambda more, done: None  # noqa: ARG005
        return
    with click.progressbar(length=0, label=label, file=sys.stderr) as bar:
        lock = threading.Lock()

        def progress(more: int, done: int) -> None:
            with lock:
                bar.length = (bar.length or 0) + more
                bar.update(done)

        yield progress
