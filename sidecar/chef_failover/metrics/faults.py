"""Shell: counts the internal errors that a net caught. Every net of the daemon counts here; the tests assert zero."""

from __future__ import annotations

import threading


class Faults:
    """How many exceptions no code expected: in a task, a request, a reload, a thread or a line of the log."""

    def __init__(self) -> None:
        self.count = 0
        self.last: str | None = None
        """What was being done, and the class of the error."""
        self._lock = threading.Lock()

    def add(self, what: str, error: BaseException | None = None) -> None:
        """Count one that happened while ``what`` was being done. ``error`` is None where a library tells only words."""
        with self._lock:
            self.count += 1
            self.last = what if error is None else f"{what}: {type(error).__name__}"
