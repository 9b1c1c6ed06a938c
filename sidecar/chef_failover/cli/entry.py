"""Shell: where the program begins, and the one place where errors become exit codes.

The daemon as its unit starts it has no arguments to be parsed, and does without the parser, a seventh of its start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from chef_failover import lean
from chef_failover.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_NO, ChefFailoverError


def main() -> None:
    """Do what the command line asks for, and turn every error into its exit code."""
    try:
        _loaded_for(sys.argv[1:])()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except ChefFailoverError as error:
        if sys.stderr is not None:  # closed, and `print` would write to stdout
            print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(EXIT_NO)
    except Exception:
        import logging  # noqa: PLC0415

        logging.getLogger(__name__).exception("a bug in chef-failover; please report it with this")
        sys.exit(EXIT_BUG)


def _loaded_for(arguments: Sequence[str]) -> Callable[[], None]:
    with lean.loading():
        if arguments == ["serve"]:
            from chef_failover.daemon.serve import serve  # noqa: PLC0415

            return serve
        from chef_failover.cli.commands import run  # noqa: PLC0415

        return run
