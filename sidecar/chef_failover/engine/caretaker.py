"""Shell: what is done for this node on one server, on a thread of its own, so that a slow server delays no other.

Probing has loops of its own, which never wait for this.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chef_failover.engine.enrolment import Enrolment
    from chef_failover.engine.node_care import NodeCare

log = logging.getLogger(__name__)

LONGEST_NAP_S = 5.0
"""How long what wakes nobody (a machine that slept, a key that was replaced) may stay unseen."""


class Caretaker:
    """Does what is due for the node on the server ``name``: registers it, then looks after its object there."""

    def __init__(self, name: str, enrolment: Enrolment, care: NodeCare) -> None:
        self.name = name
        self.faults = 0
        """How often a step broke by a fault of ours."""
        self._enrolment = enrolment
        self._care = care
        self._wake = threading.Condition()
        self._is_woken = self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"caretaker {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further step; one under way ends by itself."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()

    def wake(self) -> None:
        """The world has changed: look at once whether there is something to do."""
        with self._wake:
            self._is_woken = True
            self._wake.notify()

    def hurry(self, *, replaces: bool) -> bool:
        """Try to register now, as if for the first time; False when that is somebody else's affair."""
        if not self._enrolment.is_ours:
            return False
        self._enrolment.hurry(replaces=replaces)
        self.wake()
        return True

    def reread(self, *, in_doubt: bool) -> None:
        """A run has ended there, and may have changed the node's object."""
        self._care.ask(in_doubt=in_doubt)
        self.wake()

    def step(self) -> float:
        """Do what is due; seconds until something may be due again, infinite when only a change brings it."""
        return min(self._enrolment.step(), self._care.step())

    def _run(self) -> None:
        delay_s = 0.0
        while self._wait(delay_s):
            try:
                delay_s = self.step()
            except Exception:
                self.faults += 1
                log.exception("the work for %s broke by a fault of ours, not of the server", self.name)
                delay_s = LONGEST_NAP_S

    def _wait(self, delay_s: float) -> bool:
        """Until something may be due, or has changed; False when the loop is to end."""
        with self._wake:
            if not self._is_woken and not self._is_stopping:
                self._wake.wait(min(delay_s, LONGEST_NAP_S))
            self._is_woken = False
            return not self._is_stopping


class Caretakers:
    """One for each server. ``make`` makes them for the first who needs one."""

    def __init__(self, make: Callable[[], Iterable[Caretaker]]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._made: Mapping[str, Caretaker] = {}

    @property
    def faults(self) -> int:
        """How often any of them broke by a fault of ours."""
        return sum(caretaker.faults for caretaker in self._made.values())

    def start(self) -> None:
        """Begin."""
        for caretaker in self._by_name.values():
            caretaker.start()

    def stop(self) -> None:
        """End, without waiting for what is under way."""
        for caretaker in self._made.values():
            caretaker.stop()

    def wake(self) -> None:
        """The world has changed."""
        for caretaker in self._made.values():
            caretaker.wake()

    def hurry(self, name: str, *, replaces: bool) -> bool:
        """See `Caretaker.hurry`."""
        caretaker = self._by_name.get(name)
        return caretaker is not None and caretaker.hurry(replaces=replaces)

    def reread(self, name: str, *, in_doubt: bool) -> None:
        """See `Caretaker.reread`."""
        caretaker = self._by_name.get(name)
        if caretaker is not None:
            caretaker.reread(in_doubt=in_doubt)

    @property
    def _by_name(self) -> Mapping[str, Caretaker]:
        with self._making:
            self._made = self._made or {caretaker.name: caretaker for caretaker in self._make()}
            return self._made
