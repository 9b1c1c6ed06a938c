"""I/O: signed requests to one Chef server, paced, and asked again where that may help."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

from chef_failover.chef import limits
from chef_failover.chef.answers import Answer, Finding, retry_after_s
from chef_failover.chef.deadline import ProbeError, TooLargeError
from chef_failover.chef.https import ChefServer, Signer
from chef_failover.chef.protocol import SIGNING_PROTOCOLS
from chef_failover.errors import SearchError
from chef_failover.model.model import Outcome

TRIES = 3
"""Of one request, with a pause that doubles: a page of large nodes may take a server too long once."""
PATIENCE_S = 60.0
"""Of a longer ``Retry-After`` no more is waited."""
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


class Asker:
    """Asks ``server``; ``signer`` signs as the user ``user``."""

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

    def ask(self, method: str, path: str, document: object, judge: _Judge) -> Answer:
        """The answer that ``judge`` finds in order.

        Raises:
            SearchError: there is none.
        """
        trouble, asked_for_s, is_of_object = "", 0.0, False
        for attempt in range(TRIES):
            if attempt:
                self._pace.sleep(max(2.0**attempt, min(asked_for_s, PATIENCE_S)))
            try:
                answer, finding = self._in_a_protocol(method, path, document, judge)
            except ProbeError as error:
                trouble, is_of_object = error.detail, isinstance(error, TooLargeError)
                continue
            if finding.outcome is Outcome.OK:
                return answer
            trouble, is_of_object = finding.detail, finding.outcome is Outcome.FORBIDDEN
            asked_for_s = retry_after_s(answer)
            if answer.status < 500 and answer.status != 429:
                break
        raise SearchError(trouble, is_of_object=is_of_object)

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
