"""Shell: keeps something on disk, step by step."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Saver:
    """Calls ``save()`` in each `step`. What cannot be written is said once for each reason, and is never fatal.

    Args:
        save: writes; may raise OSError.
        lost: what is said after the reason when it does.
        every_s: saves at least so often, changed or not.
    """

    def __init__(
        self,
        save: Callable[[], None],
        lost: str = "the state cannot be written: %s; a restart will not know the choice",
        every_s: float = math.inf,
    ) -> None:
        self._save = save
        self._lost = lost
        self._every_s = every_s
        self._saving = threading.Lock()
        self._trouble: str | None = None

    def save_now(self) -> None:
        """Keep it before going on.

        Raises:
            OSError: it cannot be written.
        """
        with self._saving:
            self._save()

    def step(self) -> float:
        """Keep what is new; seconds until it is to be kept again, changed or not."""
        trouble = None
        try:
            self.save_now()
        except OSError as error:
            trouble = error.strerror or str(error)
            if trouble != self._trouble:
                log.error(self._lost, trouble)
        self._trouble = trouble
        return self._every_s
