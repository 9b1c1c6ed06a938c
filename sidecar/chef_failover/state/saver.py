"""Shell: keeps what is new on disk."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)


class Trouble:
    """What a disk refuses: said once for each reason, and never fatal."""

    def __init__(self) -> None:
        self._said: str | None = None

    @contextlib.contextmanager
    def borne(self, what: str, so: str = "") -> Iterator[None]:
        """Within, an OSError ends in a line of the log: ``what``, the reason, and what comes of it."""
        reason = None
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._said:
                log.error("%s: %s%s", what, reason, so)
        self._said = reason


class Saver:
    """Calls ``save()``, which may raise OSError, when there is something new: several changes may become one write."""

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._saving = threading.Lock()
        self._is_new = threading.Event()
        self._trouble = Trouble()

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
                except BaseException:
                    self._is_new.set()
                    raise

    def step(self) -> float:
        """Keep what is new, if the disk lets us; nothing is due again before the next change."""
        with self._trouble.borne("cannot save the state", "; a restart would forget the choice"):
            self.keep()
        return math.inf
