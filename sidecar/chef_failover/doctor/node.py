"""I/O: where the checks look, so that a test can give them another machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import attrs

from chef_failover.config.settings import Config
from chef_failover.node.machine import Machine

UNIT = "chef-failover.service"


@attrs.frozen
class Node:
    """This node, as one configuration describes it."""

    config: Config
    config_path: Path
    root: Path = Path("/")
    """Above etc, opt and run."""
    user: str = "chef-failover"
    """Whom the service runs as."""
    which: Callable[[str], str | None] = shutil.which
    machine: Machine = attrs.field(factory=Machine)
    """One for all checks: its store says once what may not be read."""

    def path(self, absolute: str) -> Path:
        """Where that is on this node."""
        return self.root / absolute.removeprefix("/")
