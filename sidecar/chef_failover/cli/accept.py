"""Shell: the command by which root accepts config.yml."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import click

from chef_failover.api import client
from chef_failover.cli.options import config_option
from chef_failover.config import settings as configuration
from chef_failover.errors import ConfigError, NotAcceptedError, SidecarUnavailableError
from chef_failover.node import accepted

_ANSWERS_WITHIN_S = 5.0


@click.command()
@config_option
@click.option(
    "--reload", "pid", metavar="PID", type=click.IntRange(min=1), help="Then reload the sidecar with this process id."
)
def accept(config_path: Path, pid: int | None) -> None:
    """Check config.yml and put it to use.

    Sidecar and chef-client use only what root has accepted. The unit does this before each start and at each reload. An
    invalid file changes nothing. While a sidecar runs, reload it instead: systemctl reload chef-failover.
    """
    if pid is None and _would_part(config_path):
        raise NotAcceptedError("the sidecar runs with the former configuration; run: systemctl reload chef-failover")
    try:
        work = accepted.accept(config_path, is_running=pid is not None)
    finally:
        if pid is not None:  # also of what was refused: its log and its metrics tell
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
    names = ", ".join(server.name for server in work.config.servers)
    click.echo(f"accepted {config_path}: {names or 'no server; chef-client keeps its own chef_server_url'}")


def _would_part(config_path: Path) -> bool:
    """Whether a sidecar runs with another configuration: it would keep that, while chef-client takes the new one."""
    try:
        former = accepted.read(config_path).config
        if configuration.load(config_path) == former:
            return False
        client.ask(former.listen.socket, "/livez", timeout_s=_ANSWERS_WITHIN_S)
    except (ConfigError, NotAcceptedError, SidecarUnavailableError):
        return False
    return True
