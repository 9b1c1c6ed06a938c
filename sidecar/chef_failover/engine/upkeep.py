"""Shell: what is done for this node on one server, on a thread of its own, so that a slow server delays no other.

Probing has loops of its own, which never wait for this.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chef_failover.engine.node_upkeep import NodeUpkeep
    from chef_failover.engine.registrar import Registrar

log = logging.getLogger(__name__)

LONGEST_NAP_S = 5.0
"""How long what wakes nobody (a machine that slept, a key that was replaced) may stay unseen."""


class Upkeep:
    """Does what is due for the node on the server ``name``: registers it, then looks after its object there."""

    def __init__(self, name: str, registrar: Registrar, care: NodeUpkeep) -> None:
        self.name = name
        self.faults = 0
        """How often a step broke by a fault of ours."""
        self._registrar = registrar
        self._node_upkeep = care
        self._wake = threading.Condition()
        self._is_woken = self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"upkeep {name}", daemon=True)

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

    def retry_now(self, *, replaces: bool) -> bool:
        """Try to register now, as if for the first time; False when that is somebody else's affair."""
        if not self._registrar.is_ours:
            return False
        self._registrar.retry_now(replaces=replaces)
        self.wake()
        return True

    def reread_node(self, *, in_doubt: bool) -> None:
        """A run has ended there, and may have changed the node's object."""
        self._node_upkeep.ask(in_doubt=in_doubt)
        self.wake()

    def step(self) -> float:
        """Do what is due; seconds until something may be due again, infinite when only a change brings it."""
        return min(self._registrar.step(), self._node_upkeep.step())

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


class Upkeeps:
    """One for each server. ``make`` makes them for the first who needs one."""

    def __init__(self, make: Callable[[], Iterable[Upkeep]]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._made: Mapping[str, Upkeep] = {}

    @property
    def faults(self) -> int:
        """How often any of them broke by a fault of ours."""
        return sum(upkeep.faults for upkeep in self._made.values())

    def start(self) -> None:
        """Begin."""
        for upkeep in self._by_name.values():
            upkeep.start()

    def stop(self) -> None:
        """End, without waiting for what is under way."""
        for upkeep in self._made.values():
            upkeep.stop()

    def wake(self) -> None:
        """The world has changed."""
        for upkeep in self._made.values():
            upkeep.wake()

    def retry_now(self, name: str, *, replaces: bool) -> bool:
        """See `Upkeep.retry_now`."""
        upkeep = self._by_name.get(name)
        return upkeep is not None and upkeep.retry_now(replaces=replaces)

    def reread_node(self, name: str, *, in_doubt: bool) -> None:
        """See `Upkeep.reread_node`."""
        upkeep = self._by_name.get(name)
        if upkeep is not None:
            upkeep.reread_node(in_doubt=in_doubt)

    @property
    def _by_name(self) -> Mapping[str, Upkeep]:
        with self._making:
            self._made = self._made or {upkeep.name: upkeep for upkeep in self._make()}
            return self._made
