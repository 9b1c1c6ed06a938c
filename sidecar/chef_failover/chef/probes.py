"""I/O: one probe of one Chef server, as a value.

Without a key, or before the node is known there, a probe asks for the server's status. With a key it asks for the
node's own object, signed: that proves database, authorisation, licence, key and clock at once. Node objects weigh 100
to 200 kB, so it asks with ``HEAD`` wherever the headers alone are proof, and with ``GET`` otherwise.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

import cachetools

from chef_failover.chef.answers import Answer, Finding, judge_api_version, judge_node, judge_node_head, judge_status
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import Auth, ChefServer, Connection, Signer
from chef_failover.chef.protocol import SIGNING_PROTOCOLS
from chef_failover.model.model import Outcome, ProbeResult

HABIT_LIFETIME_S = 3600.0
"""How long we remember what a server could not do, so that an upgraded one is asked again."""


class Prober:
    """Probes one server. ``signer`` gives None as long as there is no usable key.

    ``clock`` is the monotonic clock of the whole daemon, so that results can be compared.
    """

    def __init__(
        self,
        server: ChefServer,
        *,
        signer: Callable[[], Signer | None],
        clock: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._server = server
        self._target = server.target
        self._signer = signer
        self._clock = clock
        self._utc_now = utc_now
        self._habits: cachetools.TTLCache[str, str] = cachetools.TTLCache(8, HABIT_LIFETIME_S, timer=clock)

    def probe(self) -> ProbeResult:
        """The result, after ``timeout_s`` at the latest. Whatever a server or the network does is a value."""
        started = self._clock()
        signer = self._signer() if self._target.node_name else None
        try:
            with self._server.open() as connection:
                finding = self._ask_status(connection) if signer is None else self._ask_for_node(connection, signer)
                certificate_expires_on = connection.certificate_expires_on
        except ProbeError as error:
            return ProbeResult(error.outcome, error.detail, self._clock(), never_left_node=error.never_left_node)
        finished = self._clock()
        latency_s = finished - started
        return ProbeResult(
            outcome=finding.outcome,
            detail=finding.detail or f"answers in {latency_s * 1000:.0f} ms",
            finished_at=finished,
            latency_s=latency_s if finding.outcome.is_alive else None,
            has_node_object=finding.has_node_object,
            is_signed=signer is not None,
            certificate_expires_on=certificate_expires_on,
        )

    def _ask_status(self, connection: Connection) -> Finding:
        finding = judge_status(connection.request("GET", f"{self._target.root_url}/_status"))
        if finding is None:
            finding = judge_api_version(connection.request("GET", f"{self._target.root_url}/server_api_version"))
        return finding

    def _ask_for_node(self, connection: Connection, signer: Signer) -> Finding:
        protocol = self._habits.get("protocol", SIGNING_PROTOCOLS[0])
        if "HEAD" not in self._habits:
            finding = judge_node_head(connection.request("HEAD", self._target.node_url, signer(protocol)))
            if finding is not None:
                return finding
        answer, finding = self._get_node(connection, signer(protocol))
        if answer.status in (400, 401) and finding.outcome is not Outcome.CLOCK_SKEW and "protocol" not in self._habits:
            answer, older = self._get_node(connection, signer(SIGNING_PROTOCOLS[1]))
            if older.outcome.serves_node:
                self._habits["protocol"], finding = SIGNING_PROTOCOLS[1], older
        elif answer.status == 200 and finding.outcome is Outcome.OK:
            self._habits["HEAD"] = "is no proof here"
        return finding

    def _get_node(self, connection: Connection, auth: Auth) -> tuple[Answer, Finding]:
        answer = connection.request("GET", self._target.node_url, auth)
        return answer, judge_node(answer, self._target.node_name or "", self._utc_now())
