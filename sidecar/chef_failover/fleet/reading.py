"""Shell: the nodes of several Chef servers at once, each name once.

A thread for each server reads its pages and keeps of each row what the report needs, so memory grows by a few hundred
bytes a node. A server that fails has said what it has said; the others are read all the same. A row that is no node is
trouble, and the other rows count.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs

from chef_failover.errors import SearchError
from chef_failover.fleet.nodes import Facts, Node, parse
from chef_failover.fleet.report import Source
from chef_failover.fleet.search import EVERYTHING, NodeSearch

OnProgress = Callable[[int, int], object]
"""Is told how many more nodes there are to read, and how many more were read, by any thread."""


class Reading:
    """Reads the nodes that ``query`` finds, ``on`` that wall time. ``nodes`` has, by name, those read so far."""

    def __init__(self, query: str, on: datetime.datetime, progress: OnProgress) -> None:
        self.nodes: dict[str, Node] = {}
        self._query = query
        self._on = on
        self._progress = progress
        self._facts: dict[Facts, Facts] = {}
        self._lock = threading.Lock()

    def read(self, searches: Sequence[tuple[str, str, NodeSearch]]) -> list[Source]:
        """Read from ``searches``, each a label, a ``chef_server_url`` and what searches there, all at once.

        Returns:
            How much each of them gave, in their order.
        """
        with ThreadPoolExecutor(max_workers=max(1, len(searches))) as pool:
            return list(pool.map(lambda one: self._read_one(*one), searches))

    def _read_one(self, label: str, chef_server_url: str, search: NodeSearch) -> Source:
        found: set[str] = set()
        known: frozenset[str] = frozenset()
        trouble: str | None = None
        try:
            if self._query == EVERYTHING:
                known = search.names()
                self._progress(len(known), 0)
            for rows in search.pages(self._query):
                trouble = self._take(rows, chef_server_url, found) or trouble
            for rows in search.named(sorted(known - found)):  # they slipped from page to page
                trouble = self._take(rows, chef_server_url, found) or trouble
            unindexed = known - found
            if unindexed:  # those that are gone by now were deleted meanwhile
                known = search.names()
                unindexed &= known
        except (SearchError, ValueError) as error:
            return Source(label, chef_server_url, len(found), len(known) or None, trouble=str(error))
        count = len(known | found) if self._query == EVERYTHING else None
        return Source(label, chef_server_url, len(found), count, tuple(sorted(unindexed)), trouble)

    def _take(self, rows: Sequence[object], chef_server_url: str, found: set[str]) -> str | None:
        """Keep the nodes in ``rows``, and return what is wrong with a row that is none."""
        nodes: list[Node] = []
        trouble = None
        for row in rows:
            try:
                nodes.append(parse(row, chef_server_url, self._on))
            except ValueError as error:
                trouble = str(error)
        with self._lock:
            new = [node for node in nodes if node.name not in found]
            found.update(node.name for node in new)
            self._progress(0, len(new))
            for node in new:
                if node.is_newer_than(self.nodes.get(node.name)):
                    self.nodes[node.name] = attrs.evolve(node, facts=self._facts.setdefault(node.facts, node.facts))
        return trouble
