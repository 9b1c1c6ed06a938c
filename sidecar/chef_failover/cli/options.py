"""Shell: the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chef_failover.config import settings as configuration
from chef_failover.durations import parse_duration_s


class Duration(click.ParamType[float]):
    """500ms, 10s, 5m, 1h or 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Called by click."""
        try:
            return parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=configuration.DEFAULT_PATH,
    show_default=True,
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


timeout_option = click.option(
    "--timeout", "timeout_s", type=Duration(), default="10m", show_default=True, help="Give up after this time."
)
