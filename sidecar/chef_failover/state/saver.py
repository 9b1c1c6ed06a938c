"""Shell: keeps something on disk, on a thread of its own, so that a slow disk delays no probe and no answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Saver:
    """Calls ``save()`` after each `change`, as often as the disk keeps up: several changes may become one write.

    What cannot be written is said once for each reason, and is never fatal.

    Args:
        save: writes; may raise OSError.
        lost: what is said after the reason when it does.
        every_s: saves at least so often, changed or not.
    """

    def __init__(
        self,
        save: Callable[[], None],
        lost: str = "the state cannot be written: %s; a restart will not know the choice",
        every_s: float | None = None,
    ) -> None:
        self._save = save
        self._lost = lost
        self._every_s = every_s
        self._saving = threading.Lock()
        self._wake = threading.Condition()
        self._is_dirty = False
        self._is_stopping = False
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def change(self) -> None:
        """There is something new to keep. Returns at once."""
        with self._wake:
            self._is_dirty = True
            self._wake.notify()

    def save_now(self) -> None:
        """Keep it before going on.

        Raises:
            OSError: it cannot be written.
        """
        with self._saving:
            self._save()

    def stop(self, timeout_s: float) -> None:
        """Keep what is new, unless the disk takes longer than ``timeout_s``."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._is_dirty and not self._is_stopping:
                    is_woken = self._wake.wait(self._every_s)
                    self._is_dirty |= not is_woken
                if not self._is_dirty:
                    return
                self._is_dirty = False
            self._save_once()

    def _save_once(self) -> None:
        trouble = None
        try:
            self.save_now()
        except OSError as error:
            trouble = error.strerror or str(error)
            if trouble != self._trouble:
                log.error(self._lost, trouble)
        self._trouble = trouble
