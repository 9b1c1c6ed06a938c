"""Shell: reads what a run needs on one server when that is due, and creates the node's object where it is missing.

An object that exists is never changed, but for one that a run has left empty: what differs is shown, and a person
decides.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable

import attrs

from chef_failover.chef.deadline import ProbeError
from chef_failover.decide import reading, seeding
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.model.model import NodeCheck
from chef_failover.model.needs import NodeObject
from chef_failover.model.question import Question

log = logging.getLogger(__name__)


class NodeUpkeep:
    """Looks after the node's object on the server ``name``.

    Args:
        name: of the server.
        live: what is known, and where the result goes.
        check: reads there what is asked; None while there is no key to sign with.
        create: creates it there; False when it exists by now. May raise ProbeError.
        fill: gives it to the empty one there; False when that is no longer empty. May raise ProbeError.
        clock: monotonic seconds, the same as that of ``live``.
        rng: for the jitter.
    """

    def __init__(
        self,
        name: str,
        *,
        live: LiveSnapshot,
        check: Callable[[Question], NodeCheck | None],
        create: Callable[[NodeObject], bool],
        fill: Callable[[NodeObject], bool],
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random,
    ) -> None:
        self._name = name
        self._live = live
        self._check = check
        self._create = create
        self._fill = fill
        self._clock = clock
        self._rng = rng
        self._chance = rng.random()
        self._since = clock()
        self._asked_at = self._seeded_at = -math.inf

    def ask(self) -> None:
        """Have it read again, however fresh the last reading is."""
        self._asked_at = self._clock()

    def step(self) -> float:
        """Do what is due; seconds until something may be due again, infinite when only a change brings it."""
        snapshot = self._live.snapshot
        server = snapshot.server(self._name)
        if server is None:
            return math.inf
        due_at = reading.due_at(snapshot, server, chance=self._chance, since=self._since, asked_at=self._asked_at)
        alone_s = server.stay_away_until - self._clock()
        left_s = max(alone_s, due_at - self._clock())
        if left_s > 0:
            reference = seeding.reference(snapshot) if alone_s <= 0 else None
            if reference is None or server.node_check is None or not seeding.wants_seed(snapshot, server):
                return left_s
            # What was created and is not found (a replica behind, a damaged index) is not created again and again.
            pause_s = self._seeded_at + reading.UNREADABLE_S * (1 + self._chance) - self._clock()
            if pause_s > 0:
                return min(left_s, pause_s)
            self._seeded_at = self._clock()
            source = seeding.source(snapshot)
            seed = self._create if server.node_check.node is None else self._fill
            self._seed(seed, reference, server.node_check, source.name if source else "")
            return 0.0
        check = self._check(reading.question(snapshot, server, asked_at=self._asked_at))
        if check is None:
            return math.inf
        self._chance = self._rng.random()
        self._live.take(self._name, check)
        return 0.0

    def _seed(self, seed: Callable[[NodeObject], bool], reference: NodeObject, check: NodeCheck, source: str) -> None:
        try:
            is_new = seed(reference)
        except ProbeError as error:
            trouble = f"the sidecar cannot {'create' if check.node is None else 'fill'} it there: {error.detail}"
            self._live.take(self._name, attrs.evolve(check, read_at=self._clock(), trouble=trouble))
        else:
            if is_new:
                log.info("%s now has this node's object, copied from %s", self._name, source)
            self.ask()
