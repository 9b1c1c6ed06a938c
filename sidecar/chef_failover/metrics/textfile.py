"""Shell: the metrics in a file for node_exporter's textfile collector, for nodes whose ports nobody scrapes.

Written whole on every change, and every minute so that the file's age (``node_textfile_mtime_seconds``) tells that the
sidecar lives. Nobody takes the file away when it stops, for that very reason.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

from chef_failover.state import document as state
from chef_failover.state.saver import Saver

EVERY_S = 60.0


class Textfile:
    """Keeps ``text()`` in the file that `use` names, if any."""

    def __init__(self, text: Callable[[], bytes], every_s: float = EVERY_S) -> None:
        self._text = text
        self._every_s = every_s
        self._wanted: Path | None = None
        self._path: Path | None = None
        self._saver: Saver | None = None

    def use(self, path: Path | None) -> None:
        """Write there from the next `step` on; None: nowhere."""
        self._wanted = path

    def step(self) -> float:
        """Write what is new; seconds until it is to be written again. A file elsewhere that told of the past goes."""
        path = self._wanted
        if path != self._path:
            if self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.unlink()
            lost = f"metrics.textfile {path} cannot be written: %s"
            self._path, self._saver = path, Saver(self._write, lost, self._every_s) if path else None
        return self._saver.step() if self._saver else math.inf

    def _write(self) -> None:
        if self._path is not None:
            state.replace(self._path, self._text())
