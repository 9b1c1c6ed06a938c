"""Nodes, servers and the time that they share. Where a sample stands for a larger fleet, servers shrink with it."""

from __future__ import annotations

import collections
import itertools
import random
from collections.abc import Iterable, Sequence

from bench.fleet.aws import Bucket
from bench.fleet.chef_client import CYCLE_S, REQUESTS
from bench.fleet.clock import Clock
from bench.fleet.node import Node, Settings
from bench.fleet.server import ChefServer, Kind, peak

RUNS_CPU_S = REQUESTS * Kind.RUN.cpu_s / CYCLE_S
"""Seconds of a server's CPU a second that the runs of one node need."""


class Fleet:
    """``nodes`` simulated nodes and their servers.

    Args:
        nodes: how many are simulated.
        seed: of all chance.
        settings: of each sidecar.
    """

    def __init__(self, nodes: int, seed: int, settings: Settings = Settings()) -> None:  # noqa: B008 - a frozen value
        self.clock = Clock()
        self.rng = random.Random(seed)
        self.size = nodes
        self.need = RUNS_CPU_S * nodes
        """Cores that all runs need."""
        self.servers: list[ChefServer] = []
        self.nodes: list[Node] = []
        self._settings = settings

    def server(self, name: str, *, capacity: float = 1e9, other: float = 0.0, registrations: Bucket | None = None):
        """One more server; ``capacity`` and ``other``, others' load, are multiples of what the fleet's runs need."""
        server = ChefServer(
            self.clock, name, cores=capacity * self.need, other=other * self.need, registrations=registrations
        )
        self.servers.append(server)
        return server

    def populate(self, *, priorities: Sequence[int] | None = None, validator_key: Bucket | None = None) -> None:
        """Make the nodes, once all servers are there."""
        for number in range(self.size):
            self.nodes.append(
                Node(
                    f"i-{number:08x}",
                    self.clock,
                    self.servers,
                    priorities=priorities or range(1, len(self.servers) + 1),
                    settings=self._settings,
                    rng=self.rng,
                    validator_key=validator_key,
                )
            )

    def settle(self, *, runs: bool = True) -> None:
        """The fleet has been at work for days, with its runs spread evenly."""
        for number, node in enumerate(self.nodes):
            node.has_run_for_days()
            if runs:
                self.clock.at((number + self.rng.random()) / self.size * CYCLE_S, node.run)
        self.rng.shuffle(self.nodes)

    @property
    def moves(self) -> float:
        """Moves of a node, on average."""
        return sum(len(node.moves) for node in self.nodes) / self.size

    @property
    def most_moves(self) -> int:
        """Moves of the node that moved most."""
        return max(len(node.moves) for node in self.nodes)

    def requests(self, kinds: Iterable[Kind], begin: float, end: float) -> int:
        """On all servers together."""
        kinds = tuple(kinds)
        return sum(server.requests(kinds, begin, end) for server in self.servers)

    def most_moves_again(self, within_s: int) -> float:
        """The largest part of the fleet that moved within so many seconds, each node's first move left aside."""
        later = itertools.chain.from_iterable(node.moves[1:] for node in self.nodes)
        return peak(collections.Counter(map(int, later)), within_s) * within_s / self.size
