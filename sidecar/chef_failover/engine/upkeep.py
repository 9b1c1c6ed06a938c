"""Shell: what is done for this node on one server. Probing never waits for this."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from chef_failover.engine.scheduler import Scheduler

if TYPE_CHECKING:
    from chef_failover.engine.node_upkeep import NodeUpkeep
    from chef_failover.engine.registrar import Registrar

UNSEEN_S = 5.0
"""How long what wakes no task (a key that was replaced, another server's reading) may stay unseen."""


class Upkeep:
    """Does what is due for the node on the server ``name``: registers it, then looks after its object there."""

    def __init__(self, name: str, registrar: Registrar, care: NodeUpkeep, scheduler: Scheduler) -> None:
        self.name = name
        self._registrar = registrar
        self._node_upkeep = care
        self._task = scheduler.task(f"upkeep of {name}", self.step, retry_s=UNSEEN_S)

    def wake(self) -> None:
        """The world has changed: look at once whether there is something to do."""
        self._task.wake()

    def stop(self) -> None:
        """Begin no further step; one under way ends by itself."""
        self._task.cancel()

    def retry_now(self, *, replaces: bool) -> bool:
        """Read and register now, as if for the first time; False where other tools register it."""
        self.reread_node()
        if not self._registrar.is_ours:
            return False
        self._registrar.retry_now(replaces=replaces)
        self.wake()
        return True

    def reread_node(self) -> None:
        """Read now what a run needs there."""
        self._node_upkeep.ask()
        self.wake()

    def step(self) -> float:
        """Do what is due; seconds until something may be due again."""
        return min(self._registrar.step(), self._node_upkeep.step(), UNSEEN_S)


class Upkeeps:
    """One for each server. ``make`` makes them for the first who needs one."""

    def __init__(self, make: Callable[[], Iterable[Upkeep]]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._made: Mapping[str, Upkeep] = {}

    def make(self) -> None:
        """Make them now, so that what stands in the way is known before anything else is stopped."""
        _ = self._by_name

    def start(self) -> None:
        """Begin."""
        for upkeep in self._by_name.values():
            upkeep.wake()

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

    def reread_node(self, name: str) -> None:
        """See `Upkeep.reread_node`."""
        upkeep = self._by_name.get(name)
        if upkeep is not None:
            upkeep.reread_node()

    @property
    def _by_name(self) -> Mapping[str, Upkeep]:
        with self._making:
            self._made = self._made or {upkeep.name: upkeep for upkeep in self._make()}
            return self._made
