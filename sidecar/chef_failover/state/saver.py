"""Shell: keeps something on disk, step by step."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Saver:
    """Calls ``save()``, which may raise OSError, when there is something new: several changes may become one write."""

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._saving = threading.Lock()
        self._is_new = threading.Event()
        self._trouble: str | None = None

    def change(self) -> None:
        """There is something new to keep."""
        self._is_new.set()

    def keep(self) -> None:
        """Keep what is new before going on.

        Raises:
            OSError: it cannot be written, and stays to be kept.
        """
        with self._saving:
            if self._is_new.is_set():
                self._is_new.clear()
                try:
                    self._save()
                except OSError:
                    self._is_new.set()
                    raise

    def step(self) -> float:
        """The same as a task's step: what cannot be written is said once for each reason, and is never fatal."""
        trouble = None
        try:
            self.keep()
        except OSError as error:
            trouble = error.strerror or str(error)
            if trouble != self._trouble:
                log.error("the state cannot be written: %s; a restart will not know the choice", trouble)
        self._trouble = trouble
        return math.inf
