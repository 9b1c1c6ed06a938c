"""Shell: the metrics in a file for node_exporter's textfile collector, for nodes whose ports are not scraped.

Written whole on every change, and every minute so that the file's age (``node_textfile_mtime_seconds``) tells that the
sidecar lives. So the file stays when it stops.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

from chef_failover import files
from chef_failover.state.saver import Trouble

EVERY_S = 60.0


class Textfile:
    """Keeps ``text()`` in the file that `use` names, if any."""

    def __init__(self, text: Callable[[], bytes]) -> None:
        self._text = text
        self._wanted: Path | None = None
        self._path: Path | None = None
        self._trouble = Trouble()

    def use(self, path: Path | None) -> None:
        """Write there from the next `step` on; None: nowhere."""
        self._wanted = path

    def step(self) -> float:
        """Write it; seconds until it is to be written again. A file elsewhere that told of the past goes."""
        if self._wanted != self._path:
            if self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.unlink()
            self._path, self._trouble = self._wanted, Trouble()
        if self._path is None:
            return math.inf
        with self._trouble.borne(f"cannot write metrics.textfile {self._path}"):
            files.replace(self._path, self._text())
        return EVERY_S
