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

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import attrs

from chef_failover.chef import answers, limits
from chef_failover.chef.answers import Answer, Finding
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import ChefServer, Signer
from chef_failover.chef.protocol import SIGNING_PROTOCOLS
from chef_failover.errors import SearchError
from chef_failover.fleet.nodes import KEYS
from chef_failover.model.model import Outcome

EVERYTHING = "*:*"
PAGE = 200
WINDOW = 10_000
"""A search shows no results beyond this many."""
NAMES = 25
"""In one query."""
TRIES = 3
"""Of one request, with a pause that doubles: a page of large nodes may take a server too long once."""
_ID = "X_CHEF_id_CHEF_X"
_HEX = "0123456789abcdef"
_SPLITS = 3
Row = dict[str, Any]
_Judge = Callable[[Answer, str, datetime.datetime], Finding]


class Pace:
    """Lets ``per_s`` requests a second through, one after the other."""

    def __init__(
        self,
        per_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._gap_s = 1.0 / per_s
        self._clock = clock
        self._next_at = clock()
        self.sleep = sleep

    def wait(self) -> None:
        """Wait until the next request may go."""
        now = self._clock()
        if now < self._next_at:
            self.sleep(self._next_at - now)
        self._next_at = max(now, self._next_at) + self._gap_s


@attrs.frozen
class _Page:
    total: int
    rows: list[Row]


class NodeSearch:
    """Reads nodes of ``server``, which ``signer`` signs for as the user ``user``."""

    def __init__(
        self,
        server: ChefServer,
        signer: Signer,
        user: str,
        pace: Pace,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._server = server
        self._signer = signer
        self._user = user
        self._pace = pace
        self._utc_now = utc_now
        self._protocol: str | None = None

    def names(self) -> frozenset[str]:
        """The names of all nodes, by the server's own list.

        Raises:
            SearchError: it gives none.
        """
        return frozenset(self._listing("nodes"))

    def pages(self, query: str) -> Iterator[list[Row]]:
        """What the nodes that ``query`` finds publish, by `KEYS`; a node may come twice while others come and go.

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
        asked = urlencode({"q": query, "start": start, "rows": count or PAGE}, quote_via=quote)
        answer = self._ask("POST", f"search/node?{asked}", KEYS, answers.judge_search)
        body = answer.json() or {}
        rows = [row["data"] for row in body["rows"] if isinstance(row, dict) and isinstance(row.get("data"), dict)]
        return _Page(body["total"], rows)

    def _listing(self, kind: str) -> list[str]:
        return list(self._ask("GET", kind, None, answers.judge_listing).json() or {})

    def _ask(self, method: str, path: str, document: object, judge: _Judge) -> Answer:
        trouble = ""
        for attempt in range(TRIES):
            if attempt:
                self._pace.sleep(2.0**attempt)
            try:
                answer, finding = self._in_a_protocol(method, path, document, judge)
            except ProbeError as error:
                trouble = error.detail
                continue
            if finding.outcome is Outcome.OK:
                return answer
            trouble = finding.detail
            if answer.status < 500 and answer.status != 429:
                break
        raise SearchError(trouble)

    def _in_a_protocol(self, method: str, path: str, document: object, judge: _Judge) -> tuple[Answer, Finding]:
        """The answer in the signing protocol that this server takes, which the first answer tells."""
        known = self._protocol
        answer, finding = self._once(method, path, document, judge, known or SIGNING_PROTOCOLS[0])
        is_unsure = known is None and answer.status in (400, 401) and finding.outcome is not Outcome.CLOCK_SKEW
        if is_unsure:
            older, its_finding = self._once(method, path, document, judge, SIGNING_PROTOCOLS[1])
            if its_finding.outcome is Outcome.OK:
                self._protocol = SIGNING_PROTOCOLS[1]
                return older, its_finding
        if finding.outcome is Outcome.OK:
            self._protocol = known or SIGNING_PROTOCOLS[0]
        return answer, finding

    def _once(self, method: str, path: str, document: object, judge: _Judge, protocol: str) -> tuple[Answer, Finding]:
        self._pace.wait()
        with self._server.open() as connection:
            url = f"{connection.target.chef_server_url}/{path}"
            answer = connection.request(method, url, self._signer(protocol), document, limit=limits.OBJECT_BYTES)
        return answer, judge(answer, self._user, self._utc_now())


def _escaped(value: str) -> str:
    """``value`` as one word of a query."""
    return "".join(char if char.isalnum() or char == "_" else f"\\{char}" for char in value)
