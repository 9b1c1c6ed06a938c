"""I/O: all nodes of one Chef server, read by partial search, a page at a time.

A server's search shows 10,000 results of a query at most, and says so by a count that is no larger. A query that finds
as many is split in 16 by the last hex digit of the objects' ids, and again where that is not enough. chef-zero has no
such ids; there the query is split by environment. goiardi counts the rows of the page and no more, and gives them in
another order each time, so there one page has to have all. Nothing is left out without a word: the server's
own list of nodes, which comes from its database, says which names the search did not find.

The server loads each node of a page whole, so pages are small and requests are paced.

Source: github.com/chef/chef-server chef_wm_search.erl, chef_opensearch.erl, chef_object_base.erl (``make_guid``);
goiardi 0.11.10 as it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import attrs

from chef_failover.chef import answers
from chef_failover.errors import SearchError
from chef_failover.fleet.asking import Asker
from chef_failover.fleet.nodes import KEYS

EVERYTHING = "*:*"
PAGE = 200
WINDOW = 10_000
"""A search shows no results beyond this many."""
NAMES = 25
"""In one query."""
_ID = "X_CHEF_id_CHEF_X"
_HEX = "0123456789abcdef"
_SPLITS = 3
Row = Any
"""What an answer has in place of a row's ``data``: any JSON, as a hostile server says it."""


@attrs.frozen
class _Page:
    total: int
    rows: list[Row]


class NodeSearch:
    """Reads of each node of the server that ``asker`` asks what ``keys`` have: the path of each key's value."""

    def __init__(self, asker: Asker, keys: Mapping[str, Sequence[str]] = KEYS) -> None:
        self._asker = asker
        self._keys = keys

    def names(self) -> frozenset[str]:
        """The names of all nodes, by the server's own list.

        Raises:
            SearchError: it gives none.
        """
        return frozenset(self._listing("nodes"))

    def pages(self, query: str) -> Iterator[list[Row]]:
        """What the nodes that ``query`` finds have; a node may come twice while others come and go.

        Raises:
            SearchError: not all of it could be read.
        """
        first = self._page(query, 0)
        if first.total < WINDOW:
            yield from self._pages(query, first)
            return
        is_any = False
        for rows in self._by_id(query, ""):
            is_any = is_any or bool(rows)
            yield rows
        if not is_any:
            for environment in self._listing("environments"):
                narrow = f"({query}) AND chef_environment:{_escaped(environment)}"
                yield from self._pages(narrow, self._page(narrow, 0))

    def named(self, names: Sequence[str]) -> Iterator[list[Row]]:
        """The same of the nodes of these names, until the search finds none of them any more.

        Raises:
            SearchError: as `pages`.
        """
        for start in range(0, len(names), NAMES):
            query = " OR ".join(f"name:{_escaped(name)}" for name in names[start : start + NAMES])
            rows = self._page(query, 0).rows
            if not rows:
                return
            yield rows

    def _by_id(self, query: str, ending: str) -> Iterator[list[Row]]:
        for digit in _HEX:
            narrow = f"({query}) AND {_ID}:*{digit}{ending}"
            first = self._page(narrow, 0)
            if first.total < WINDOW:
                yield from self._pages(narrow, first)
            elif len(ending) + 1 < _SPLITS:
                yield from self._by_id(query, f"{digit}{ending}")
            else:
                raise SearchError(f"{narrow} finds {WINDOW} nodes or more, and cannot be split further")

    def _pages(self, query: str, page: _Page) -> Iterator[list[Row]]:
        if page.total == len(page.rows) == PAGE:  # maybe it counts no more than the page
            yield self._page(query, 0, WINDOW).rows
            return
        yield page.rows
        for start in range(PAGE, page.total, PAGE):
            yield self._page(query, start).rows

    def _page(self, query: str, start: int, count: int | None = None) -> _Page:
        words = {"q": query, "start": start, "rows": count or PAGE}
        asked = urlencode(words, errors="replace", quote_via=quote)  # half a surrogate pair, in a name, is no UTF-8
        answer = self._asker.ask("POST", f"search/node?{asked}", self._keys, answers.judge_search)
        body = answer.fields
        rows = [row.get("data") if isinstance(row, dict) else None for row in body["rows"]]
        return _Page(body["total"], rows)

    def _listing(self, kind: str) -> list[str]:
        return list(self._asker.ask("GET", kind, None, answers.judge_listing).fields)


def _escaped(value: str) -> str:
    """``value`` as one word of a query."""
    return "".join(char if char.isalnum() or char == "_" else f"\\{char}" for char in value)
