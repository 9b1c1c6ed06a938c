"""Shell: the command that is the daemon."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from chef_failover.cli.options import config_option
from chef_failover.daemon import serve as daemon


@click.command()
@config_option
def serve(config_path: Path) -> None:
    """Run the sidecar in the foreground; SIGHUP reloads it."""
    daemon.serve(config_path)
    logging.shutdown()
    # A thread that waits for a server, or makes a key, is inside OpenSSL, which the end of Python takes down under it.
    os._exit(0)
