"""One run of chef-client, as its server sees it: fifteen requests, one after the other, with chef-client's own retries.

Sources: github.com/chef/chef lib/chef/http.rb, lib/chef/application/base.rb, as FACTS of real runs confirm.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from bench.fleet.clock import Clock
from bench.fleet.server import ChefServer, Kind
from chef_failover.model.run_history import Phase

INTERVAL_S = 1800.0
SPLAY_S = 300.0
"""After the end of a run the next one begins after the interval and up to so much more."""
REQUESTS = 15
PAUSE_S = 1.5
"""Between two requests, on average."""
CYCLE_S = INTERVAL_S + SPLAY_S / 2 + (REQUESTS - 1) * PAUSE_S
"""From one run to the next, on average, where nothing is wrong."""
_RETRIES = 5
_RETRY_S = 5.0
_STARTS = 4
"""So many requests come before a cookbook has a word."""


def pause_s(rng: random.Random) -> float:
    """From the end of a run to the beginning of the next one."""
    return INTERVAL_S + rng.random() * SPLAY_S


@attrs.frozen
class Failure:
    """Why a run failed, as the shim reports it."""

    error_class: str
    phase: Phase
    http_status: int | None = None


class Run:
    """A run of ``node`` that begins now; ``on_end`` gets None if it succeeds."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        server: ChefServer,
        node: str,
        on_end: Callable[[Failure | None], None],
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._server = server
        self._node = node
        self._on_end = on_end
        self._done = self._tries = 0
        self._ask()

    def _ask(self) -> None:
        reply = self._server.ask(Kind.RUN)
        if reply.status == 200 and not self._server.knows(self._node):
            phase = Phase.START if self._done < _STARTS else Phase.CONVERGE
            self._clock.at(reply.at, self._on_end, Failure("Net::HTTPClientException", phase, 401))
        elif reply.status == 200:
            self._done += 1
            self._tries = 0
            if self._done == REQUESTS:
                self._server.save(self._node)
                self._clock.at(reply.at, self._on_end, None)
            else:
                self._clock.at(reply.at + self._rng.expovariate(1 / PAUSE_S), self._ask)
        elif self._tries == _RETRIES:
            self._clock.at(reply.at, self._on_end, self._failure(reply.status))
        else:
            self._tries += 1
            span_s = 2.0**self._tries
            pause_s = _RETRY_S if reply.status == 0 else 1 + span_s + self._rng.random() * span_s
            self._clock.at(reply.at + pause_s, self._ask)

    def _failure(self, status: int) -> Failure:
        phase = Phase.START if self._done < _STARTS else Phase.CONVERGE if self._done < REQUESTS - 1 else Phase.SAVE
        if status == 0:
            return Failure("Errno::ECONNREFUSED", phase)
        return Failure("Net::HTTPFatalError", phase, status)
