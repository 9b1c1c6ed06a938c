"""I/O: what is said to one Chef server, and what it answers: several requests under one deadline.

Probes, registration and node objects all go this way, so they all verify as chef-client does, end in time, follow no
redirect, read no endless body, and fail as `ProbeError` with its class and its words.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable, Iterator
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import attrs
import requests
import requests.auth
import requests.utils
import urllib3

from chef_failover import __version__
from chef_failover.answers import Answer
from chef_failover.chef_protocol import chef_headers
from chef_failover.deadline import Adapter, Deadline, ProbeError
from chef_failover.lookup import Resolver
from chef_failover.model import Outcome
from chef_failover.trust import TrustStore

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a body that we read at the most; a Chef server refuses objects over 2 MB by default."""

Signer = Callable[[str], requests.auth.AuthBase]
"""Gives the authentication for a signing protocol."""


@attrs.frozen
class Target:
    """A Chef server as this node speaks to it. ``chef_server_url`` has the organization, if there is one."""

    chef_server_url: str
    timeout_s: float
    ca_file: Path | None = None
    node_name: str | None = None
    uses_environment_proxy: bool = False

    @property
    def root_url(self) -> str:
        """Where the paths that belong to no organization begin."""
        return self.chef_server_url.partition("/organizations/")[0]

    @property
    def node_url(self) -> str:
        """The node's own object."""
        return f"{self.chef_server_url}/nodes/{quote(self.node_name or '', safe='')}"


class Ask(Protocol):
    """Sends one request to an absolute URL; ``document`` becomes its JSON body."""

    @property
    def certificate_expires_on(self) -> datetime.datetime | None:
        """When the server's certificate ends, once it has been asked."""

    def __call__(
        self, method: str, url: str, auth: requests.auth.AuthBase | None = None, document: object = None
    ) -> Answer:
        """The answer, whatever its status.

        Raises:
            ProbeError: there is none, or none that is HTTP.
        """


class Exchange:
    """Requests to ``target``."""

    def __init__(self, target: Target, resolver: Resolver, trust: TrustStore) -> None:
        self.target = target
        self._resolver = resolver
        self._trust = trust

    @contextlib.contextmanager
    def open(self) -> Iterator[Ask]:
        """What sends requests, until ``timeout_s`` from now.

        Raises:
            ProbeError: whatever the server or the network did, or ``ca_file`` holds no certificate.
        """
        adapter = self._adapter(Deadline(self.target.timeout_s))
        with self._session(adapter) as session:
            yield _Conversation(session, adapter)

    def _adapter(self, deadline: Deadline) -> Adapter:
        ca_file = self.target.ca_file
        try:
            context = self._trust.context(ca_file)
        except OSError as error:
            raise ProbeError(Outcome.TLS, f"ca_file {ca_file}: {error.strerror or error}") from error
        return Adapter(deadline, self._resolver, context)

    def _session(self, adapter: Adapter) -> requests.Session:
        session = _Session()
        session.trust_env = False
        session.mount("https://", adapter)
        session.headers = chef_headers() | {"User-Agent": f"chef-failover/{__version__}", "Accept-Encoding": "identity"}  # type: ignore[assignment]
        if self.target.uses_environment_proxy:
            session.proxies = requests.utils.get_environ_proxies(self.target.root_url)
        return session


class _Conversation:
    def __init__(self, session: requests.Session, adapter: Adapter) -> None:
        self._session = session
        self._adapter = adapter

    @property
    def certificate_expires_on(self) -> datetime.datetime | None:
        return self._adapter.certificate_expires_on

    def __call__(
        self, method: str, url: str, auth: requests.auth.AuthBase | None = None, document: object = None
    ) -> Answer:
        try:
            return _request(self._session, method, url, auth, document)
        except requests.RequestException as error:
            raise ProbeError(*_judge_broken(error)) from error


class _Session(requests.Session):
    """Finds no redirect anywhere.

    ``requests`` looks where a redirect leads even if it is told not to follow: it reads the whole body first, however
    long, and raises ValueError over a target that is none.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        return None


def _request(
    session: requests.Session,
    method: str,
    url: str,
    auth: requests.auth.AuthBase | None,
    document: Any,  # noqa: ANN401
) -> Answer:
    data = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"} if data else None
    with session.request(
        method, url, auth=auth, data=data, headers=headers, allow_redirects=False, stream=True
    ) as response:
        body = b""
        for chunk in response.iter_content(65536):
            body += chunk
            if len(body) > BODY_LIMIT:
                raise ProbeError(Outcome.NOT_CHEF, f"an answer longer than {BODY_LIMIT // 1024**2} MiB")
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, lower, body)


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
