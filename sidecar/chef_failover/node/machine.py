"""Shell: the machine that a sidecar runs on."""

from __future__ import annotations

import datetime
import functools
import random
import time
from collections.abc import Callable

import attrs

from chef_failover.chef.lookup import Resolver
from chef_failover.chef.trust import TrustStore
from chef_failover.model.model import Snapshot
from chef_failover.node import boot, identity


@attrs.frozen
class Machine:
    """What a sidecar takes from the machine it runs on, so that a test can give it another."""

    clock: Callable[[], float] = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    """Seconds that never jump. BOOTTIME goes on while the machine sleeps, so results are old when it wakes."""
    utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    rng: random.Random = attrs.field(factory=random.Random)
    resolver: Resolver = attrs.field(factory=Resolver)
    trust: TrustStore = attrs.field(factory=TrustStore)
    node_name: Callable[[str], str] = identity.node_name
    instance_id: Callable[[str | None], str | None] = identity.this_instance
    boot_id: Callable[[], str | None] = boot.boot_id
    on_change: Callable[[Snapshot], None] = lambda _: None
