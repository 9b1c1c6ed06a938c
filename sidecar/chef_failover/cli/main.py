"""Shell: where the program begins, which commands it has, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import io
import logging
import sys

import click

from chef_failover import __version__
from chef_failover.daemon import logs
from chef_failover.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_NO, ChefFailoverError
from chef_failover.printable import VALUE_LIMIT, printable

MODULES = {
    "serve": "serve",
    "accept": "accept",
    "server": "look",
    "status": "look",
    "check": "check",
    "wait": "register",
    "associate": "register",
    "drain": "steer",
    "undrain": "steer",
    "pin": "steer",
    "unpin": "steer",
    "facts": "look",
    "fleet": "fleet",
    "retire": "retire",
    "seal": "seal",
}
"""Where each command is. Only the one that is called is loaded."""


class Commands(click.Group):
    """The commands of `MODULES`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Their names."""
        return sorted(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """That command, if there is one."""
        return _load(cmd_name) if cmd_name in MODULES else None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chef-failover")
def cli() -> None:
    """Keep this node's chef-client on a Chef server that works."""


def commands() -> dict[str, click.Command]:
    """All of them, loaded, in the order in which the manual tells them."""
    return {name: _load(name) for name in MODULES}


def _load(name: str) -> click.Command:
    command: click.Command = getattr(importlib.import_module(f"chef_failover.cli.{MODULES[name]}"), name)
    return command


def _prepare_output() -> None:
    """What the locale has no character for is escaped, and warnings go to stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logs.to_stderr()


def main() -> None:
    """Do what the command line asks for, and turn every error into its exit code."""
    _prepare_output()
    try:
        cli.main(prog_name="chef-failover", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code if isinstance(error, click.UsageError) else EXIT_NO)
    except ChefFailoverError as error:
        if sys.stderr is not None:  # closed, and `print` would write to stdout
            print(*(printable(line, VALUE_LIMIT) for line in error.lines), sep="\n", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(EXIT_NO)
    except Exception:
        logging.getLogger(__name__).exception("internal error; please report this bug with the traceback")
        sys.exit(EXIT_BUG)
