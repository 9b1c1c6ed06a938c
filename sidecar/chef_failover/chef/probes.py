"""I/O: one probe of one Chef server, as a value.

With a key, a probe asks for the node's own client, signed: 200 bytes that prove front, licence, database, organization,
authorisation, key and clock at once, and that no data collector hears of. Where a client may not read itself, the
default environment does as well. Without a key, or before the node is known there, it asks for the principal of the
node's name, which needs no signature and still comes past maintenance, licence and organization.

Neither tells of the search index, without which no run can save its node. Only ``/_status`` does, so that is asked now
and then on the same connection, after a run that failed at its save, and more often for a while after it has said
something new. It is all that a node
without a name can ask, and the last resort where a server has no principals.

Sources: github.com/chef/chef-server chef_wm_named_client.erl, chef_wm_named_principal.erl, chef_wm_status.erl,
oc_chef_data_collector.erl, oc_chef_authz_org_creator.erl; goiardi 0.11.10 as it runs.
"""

from __future__ import annotations

import datetime
import math
import random
import time
from collections.abc import Callable

import attrs
import cachetools

from chef_failover.chef import answers
from chef_failover.chef.answers import Answer, Finding
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import Auth, ChefServer, Connection, Signer
from chef_failover.chef.protocol import SIGNING_PROTOCOLS
from chef_failover.decide.spread import doubled, varied
from chef_failover.model.model import Outcome, ProbeResult
from chef_failover.model.needs import DEFAULT_ENVIRONMENT

HABIT_LIFETIME_S = 3 * 86400.0
"""How long we remember what a server could not do, so that an upgraded one is asked again."""
STATUS_INTERVAL_S = 6 * 3600.0
"""How often ``/_status`` is asked beside what else a probe asks, while it says the same as ever, give or take a fifth.

A run that fails at its save has it asked sooner."""
FAILING_STATUS_INTERVAL_S = 1800.0
"""The same at the most while the search index fails: runs pass the server over until it is seen to work again."""
STATUS_SETTLES_S = 300.0
"""For so long after it has said something new, each probe asks it: what is new must be said several times to count."""


class Prober:
    """Probes one server. ``signer`` gives None as long as there is no usable key.

    ``clock`` is the monotonic clock of the whole daemon, so that results can be compared; ``chance`` is for the jitter.
    """

    def __init__(
        self,
        server: ChefServer,
        *,
        signer: Callable[[], Signer | None],
        clock: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._server = server
        self._target = server.target
        self._signer = signer
        self._clock = clock
        self._utc_now = utc_now
        self._chance = chance
        self._habits: cachetools.TTLCache[str, str] = cachetools.TTLCache(8, HABIT_LIFETIME_S, timer=clock)
        self._index: Finding | None = None
        """What was said of a search index that fails; None while it does not."""
        self._index_changed_at = self._status_due_at = self._status_asked_at = -math.inf
        self._status_setbacks = 0
        self._licence_notice: str | None = None
        self._retry_after_s = 0.0

    @property
    def protocol(self) -> str:
        """The signing protocol that the server takes, as far as probes have found out."""
        return self._habits.get("protocol", SIGNING_PROTOCOLS[0])

    def probe(self, *, doubted_at: float = -math.inf) -> ProbeResult:
        """The result, after ``timeout_s`` at the latest. Whatever a server or the network does is a value.

        ``doubted_at``: what ``/_status`` said before this instant no longer counts.
        """
        started = self._clock()
        if self._status_asked_at < doubted_at:
            self._status_due_at = -math.inf
        signer = self._signer() if self._target.node_name else None
        try:
            with self._server.open() as connection:
                finding = self._ask_as_node(connection, signer) if signer else self._ask_unsigned(connection)
                latency_s = self._clock() - started
                index_fails = finding.index_fails
                if finding.outcome is Outcome.OK and index_fails is None:
                    index_fails = self._look_at_index(connection)
                    finding = self._index or finding
                certificate_expires_on = connection.certificate_expires_on
        except ProbeError as error:
            return ProbeResult(
                error.outcome,
                error.detail,
                self._clock(),
                began_at=started,
                never_left_node=error.never_left_node,
                is_node_trouble=error.is_node_trouble,
            )
        return ProbeResult(
            outcome=finding.outcome,
            detail=finding.detail or f"answers in {latency_s * 1000:.0f} ms",
            finished_at=self._clock(),
            began_at=started,
            latency_s=latency_s if finding.outcome.is_alive else None,
            is_signed=signer is not None,
            certificate_expires_on=certificate_expires_on,
            index_fails=index_fails,
            licence_notice=self._licence_notice,
            retry_after_s=self._retry_after_s,
        )

    def _get(self, connection: Connection, url: str, auth: Auth | None = None) -> Answer:
        answer = connection.request("GET", url, auth)
        self._licence_notice = answers.licence_notice(answer)
        self._retry_after_s = answers.retry_after_s(answer)
        return answer

    # --- in the node's name -------------------------------------------------------------------------------------------

    def _ask_as_node(self, connection: Connection, signer: Signer) -> Finding:
        answer, finding = self._ask_for_client(connection, signer(self.protocol))
        if answer.status not in (400, 401) or finding.outcome is Outcome.CLOCK_SKEW:
            return finding
        if self._habits.pop("protocol", None) is None:
            _, older = self._ask_for_client(connection, signer(SIGNING_PROTOCOLS[1]))
            if older.outcome.serves_node:
                self._habits["protocol"] = SIGNING_PROTOCOLS[1]
                return older
        return finding

    def _ask_for_client(self, connection: Connection, auth: Auth) -> tuple[Answer, Finding]:
        """About the client that signs or, where server or proxy forbid that, about something else that clients may."""
        if "no client" not in self._habits:
            answer = self._get(connection, self._target.own("clients"), auth)
            finding = answers.judge_client(answer, self._target.node_name, self._utc_now())
            if answer.status != 403 or finding.outcome is Outcome.LICENCE:
                return answer, finding
        answer = self._get(connection, f"{self._target.chef_server_url}/environments/{DEFAULT_ENVIRONMENT}", auth)
        finding = answers.judge_environment(answer, DEFAULT_ENVIRONMENT, self._target.node_name, self._utc_now())
        if finding.outcome is Outcome.OK:
            self._habits.setdefault("no client", "may not be read")
        else:
            self._habits.pop("no client", None)
        return answer, finding

    # --- without a signature ------------------------------------------------------------------------------------------

    def _ask_unsigned(self, connection: Connection) -> Finding:
        name = self._target.node_name
        if name and "no principals" not in self._habits:
            answer = self._get(connection, self._target.own("principals"), self._target.introduce)
            finding = answers.judge_principal(answer, name)
            if finding is not None:
                return finding
            if answers.is_own_page(answer):  # which may hide a passing 502
                return self._ask_status(connection)
        finding = self._ask_status(connection)
        if name and finding.outcome.is_alive:
            self._habits.setdefault("no principals", "has no such path")
        return finding

    def _ask_status(self, connection: Connection) -> Finding:
        finding = answers.judge_status(self._get(connection, f"{self._target.root_url}/_status"))
        if finding is None:
            finding = answers.judge_api_version(self._get(connection, f"{self._target.root_url}/server_api_version"))
        return finding

    def _leave_status(self, at_least_s: float = 0.0) -> None:
        """It was asked for in vain: a passing fault, or a front that keeps it from nodes, so pauses double."""
        pause_s = doubled(STATUS_SETTLES_S, self._status_setbacks, STATUS_INTERVAL_S)
        self._status_due_at = self._clock() + max(pause_s, at_least_s)
        self._status_setbacks += 1

    def _look_at_index(self, connection: Connection) -> bool | None:
        """Whether the search index fails, if it is time to ask and the server tells."""
        now = self._clock()
        if now < self._status_due_at:
            return None
        is_first, self._status_asked_at = math.isinf(self._status_asked_at), now
        try:
            answer = connection.request("GET", f"{self._target.root_url}/_status")
        except ProbeError:  # what it was asked for has been answered, and stays so
            self._leave_status()
            return None
        finding = answers.judge_status(answer)
        if finding is None or (finding.outcome.is_alive and finding.index_fails is None):
            self._status_due_at = now + HABIT_LIFETIME_S  # it has no such page, or none that names its parts
            return None
        if finding.index_fails is None:
            self._leave_status(answers.retry_after_s(answer))
            return None
        self._status_setbacks = 0
        if finding.index_fails is not (self._index is not None):
            self._index_changed_at = now
        self._index = attrs.evolve(finding, outcome=Outcome.DEGRADED) if finding.index_fails else None
        settled_s = now - self._index_changed_at - STATUS_SETTLES_S
        # The first look is news, too, and the next probe confirms it: before a reload, it may have been otherwise.
        longest_s = varied(FAILING_STATUS_INTERVAL_S if finding.index_fails else STATUS_INTERVAL_S, self._chance())
        self._status_due_at = now if is_first else now + min(longest_s, max(0.0, settled_s))
        return finding.index_fails
