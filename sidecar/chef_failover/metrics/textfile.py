"""Shell: the metrics in a file for node_exporter's textfile collector, for nodes whose ports nobody scrapes.

Written whole on every change, and every minute so that the file's age (``node_textfile_mtime_seconds``) tells that the
sidecar lives. Nobody takes the file away when it stops, for that very reason.
"""

from __future__ import annotations

import contextlib
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
        self._path: Path | None = None
        self._saver: Saver | None = None

    def use(self, path: Path | None) -> None:
        """Write there from now on; None: nowhere. A file elsewhere is taken away, lest it tell of the past for ever."""
        if path == self._path:
            return
        if self._path is not None:
            self.stop(1.0)
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._path = path
        if path is not None:
            self._saver = Saver(
                lambda: self._write(path), f"metrics.textfile {path} cannot be written: %s", self._every_s
            )
            self._saver.start()
            self._saver.change()

    def change(self) -> None:
        """There is something new to tell. Returns at once."""
        saver = self._saver
        if saver is not None:
            saver.change()

    def stop(self, timeout_s: float) -> None:
        """Write no more; what is new is still told, unless the disk takes longer than ``timeout_s``."""
        if self._saver is not None:
            self._saver.stop(timeout_s)
            self._saver = None

    def _write(self, path: Path) -> None:
        state.replace(path, self._text())
