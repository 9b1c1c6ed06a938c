"""I/O: one probe of one Chef server, as a value.

Without a key, or before the node is known there, a probe asks for the server's status. With a key it asks for the
node's own object, signed: that proves database, authorisation, licence, key and clock at once. Node objects weigh 100
to 200 kB, so it asks with ``HEAD`` wherever the headers alone are proof, and with ``GET`` otherwise.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from http.client import RemoteDisconnected
from pathlib import Path
from urllib.parse import quote

import attrs
import cachetools
import requests
import requests.auth
import requests.utils
import urllib3

from chef_failover import __version__
from chef_failover.answers import (
    Answer,
    Finding,
    judge_api_version,
    judge_node,
    judge_node_head,
    judge_status,
)
from chef_failover.chef_protocol import SIGNING_PROTOCOLS, chef_headers
from chef_failover.deadline import Adapter, Deadline, ProbeError
from chef_failover.lookup import Resolver
from chef_failover.model import Outcome, ProbeResult
from chef_failover.trust import TrustStore

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a body that we read at the most; a Chef server refuses objects over 2 MB by default."""
HABIT_LIFETIME_S = 3600.0
"""How long we remember what a server could not do, so that an upgraded one is asked again."""


@attrs.frozen
class Target:
    """What to probe. ``chef_server_url`` has the organization, if there is one."""

    chef_server_url: str
    timeout_s: float
    ca_file: Path | None = None
    node_name: str | None = None
    needs_node_object: bool = True
    uses_environment_proxy: bool = False

    @property
    def root_url(self) -> str:
        """Where the paths that belong to no organization begin."""
        return self.chef_server_url.partition("/organizations/")[0]

    @property
    def node_url(self) -> str:
        """The node's own object."""
        return f"{self.chef_server_url}/nodes/{quote(self.node_name or '', safe='')}"


Signer = Callable[[str], requests.auth.AuthBase]
"""Gives the authentication for a signing protocol."""


class Prober:
    """Probes one server. ``signer`` gives None as long as there is no usable key.

    ``clock`` is the monotonic clock of the whole daemon, so that results can be compared.
    """

    def __init__(
        self,
        target: Target,
        *,
        signer: Callable[[], Signer | None],
        resolver: Resolver,
        trust: TrustStore,
        clock: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._target = target
        self._signer = signer
        self._resolver = resolver
        self._trust = trust
        self._clock = clock
        self._utc_now = utc_now
        self._habits: cachetools.TTLCache[str, str] = cachetools.TTLCache(8, HABIT_LIFETIME_S, timer=clock)

    def probe(self) -> ProbeResult:
        """The result, after ``timeout_s`` at the latest. Whatever a server or the network does is a value."""
        started = self._clock()
        deadline = Deadline(self._target.timeout_s)
        try:
            with self._session(deadline) as session:
                finding = self._ask(session)
        except ProbeError as error:
            return ProbeResult(error.outcome, error.detail, self._clock(), never_left_node=error.never_left_node)
        except requests.RequestException as error:
            return ProbeResult(*_judge_broken(error), self._clock())
        finished = self._clock()
        latency_s = finished - started
        return ProbeResult(
            outcome=finding.outcome,
            detail=finding.detail or f"answers in {latency_s * 1000:.0f} ms",
            finished_at=finished,
            latency_s=latency_s if finding.outcome.is_alive else None,
            has_node_object=finding.has_node_object or not self._target.needs_node_object,
        )

    def _session(self, deadline: Deadline) -> requests.Session:
        ca_file = self._target.ca_file
        try:
            context = self._trust.context(ca_file)
        except OSError as error:
            raise ProbeError(Outcome.TLS, f"ca_file {ca_file}: {error.strerror or error}") from error
        session = _Session()
        session.trust_env = False
        session.mount("https://", Adapter(deadline, self._resolver, context))
        session.headers = chef_headers() | {"User-Agent": f"chef-failover/{__version__}", "Accept-Encoding": "identity"}  # type: ignore[assignment]
        if self._target.uses_environment_proxy:
            session.proxies = requests.utils.get_environ_proxies(self._target.root_url)
        return session

    def _ask(self, session: requests.Session) -> Finding:
        signer = self._signer() if self._target.node_name else None
        if signer is not None:
            return self._ask_for_node(session, signer)
        finding = judge_status(_request(session, "GET", f"{self._target.root_url}/_status"))
        if finding is None:
            finding = judge_api_version(_request(session, "GET", f"{self._target.root_url}/server_api_version"))
        return finding

    def _ask_for_node(self, session: requests.Session, signer: Signer) -> Finding:
        protocol = self._habits.get("protocol", SIGNING_PROTOCOLS[0])
        if "HEAD" not in self._habits:
            finding = judge_node_head(_request(session, "HEAD", self._target.node_url, signer(protocol)))
            if finding is not None:
                return finding
        answer, finding = self._get_node(session, signer(protocol))
        if answer.status in (400, 401) and finding.outcome is not Outcome.CLOCK_SKEW and "protocol" not in self._habits:
            answer, older = self._get_node(session, signer(SIGNING_PROTOCOLS[1]))
            if older.outcome.serves_node:
                self._habits["protocol"], finding = SIGNING_PROTOCOLS[1], older
        elif answer.status == 200 and finding.outcome is Outcome.OK:
            self._habits["HEAD"] = "is no proof here"
        return finding

    def _get_node(self, session: requests.Session, auth: requests.auth.AuthBase) -> tuple[Answer, Finding]:
        answer = _request(session, "GET", self._target.node_url, auth)
        return answer, judge_node(answer, self._target.node_name or "", self._utc_now())


class _Session(requests.Session):
    """Finds no redirect anywhere.

    ``requests`` looks where a redirect leads even if it is told not to follow: it reads the whole body first, however
    long, and raises ValueError over a target that is none.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        return None


def _request(session: requests.Session, method: str, url: str, auth: requests.auth.AuthBase | None = None) -> Answer:
    with session.request(method, url, auth=auth, allow_redirects=False, stream=True) as response:
        body = b""
        for chunk in response.iter_content(65536):
            body += chunk
            if len(body) > BODY_LIMIT:
                raise ProbeError(Outcome.NOT_CHEF, f"an answer longer than {BODY_LIMIT // 1024**2} MiB")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, body)


def _judge_broken(error: requests.RequestException) -> tuple[Outcome, str]:
    """The class of what broke on the way to an HTTP answer, or within one."""
    if isinstance(error, requests.exceptions.ProxyError):
        return Outcome.REFUSED, "the proxy does not connect"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RemoteDisconnected | urllib3.exceptions.IncompleteRead):
            return Outcome.REFUSED, "connection closed before the answer was whole"
        inner = cause.args[-1] if cause.args and isinstance(cause.args[-1], BaseException) else None
        cause = inner or cause.__cause__
    return Outcome.NOT_CHEF, "what it sends is not HTTP"
