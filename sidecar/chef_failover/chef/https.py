"""I/O: HTTPS through ``requests`` under one `Deadline` for name lookup, connect, TLS and every byte.

Nobody needs it before the first probe, and it is a quarter of what the daemon loads: so it comes after READY.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from http.client import RemoteDisconnected
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from chef_failover import __version__
from chef_failover.chef.answers import Answer
from chef_failover.chef.deadline import BoundedSocket, Deadline, ProbeError, connect
from chef_failover.chef.lookup import Address, Resolver
from chef_failover.chef.protocol import chef_headers
from chef_failover.model.model import Outcome

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""Authentication as ``requests`` has it: it signs what is about to be sent."""
BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a body that we read at the most; a Chef server refuses objects over 2 MB by default."""


class _TlsSocket(BoundedSocket, ssl.SSLSocket):
    def getpeername(self) -> Any:  # noqa: ANN401
        """As ever, but None for a peer who is gone already; the handshake will find that out.

        ``SSLSocket`` asks for its peer when it is made, and where a reset came first it raises without closing itself
        (CPython 3.11.7, ``SSLSocket._create``).
        """
        try:
            return super().getpeername()
        except OSError:
            return None


class _Connection(HTTPSConnection):
    def __init__(
        self,
        *args: Any,  # noqa: ANN401
        deadline: Deadline,
        resolver: Resolver,
        meet: Callable[[Mapping[str, Any]], None],
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._deadline = deadline
        self._resolver = resolver
        self._meet = meet

    def _new_conn(self) -> socket.socket:
        return connect(self._look_up(), self._deadline)

    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError as error:
            what = f"accepted the connection, then said nothing for {self._deadline.timeout_s:.1f} s"
            raise ProbeError(Outcome.READ_TIMEOUT, what) from error
        except ssl.SSLEOFError as error:
            raise ProbeError(Outcome.REFUSED, "connection closed during the TLS handshake") from error
        except (ssl.SSLError, urllib3.exceptions.SSLError) as error:
            raise ProbeError(Outcome.TLS, f"TLS: {_tls_reason(error)}") from error
        except OSError as error:
            raise ProbeError(Outcome.REFUSED, "connection reset during the TLS handshake") from error
        self.sock.deadline = self._deadline  # type: ignore[union-attr]
        self._meet(self.sock.getpeercert() or {})  # type: ignore[union-attr]

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
        except OSError as error:
            raise ProbeError(Outcome.REFUSED, "the proxy does not connect") from error

    def _look_up(self) -> list[Address]:
        host = self._dns_host
        try:
            return self._resolver.lookup(host, self.port, self._deadline.left_s())
        except TimeoutError as error:
            what = f"no name server answered for {host} within {self._deadline.timeout_s:.1f} s"
            raise ProbeError(Outcome.DNS, what, never_left_node=True) from error
        except OSError as error:
            is_ours = error.errno == socket.EAI_AGAIN
            what = f"name lookup of {host}: {error.strerror or error}"
            raise ProbeError(Outcome.DNS, what, never_left_node=is_ours) from error


class _Adapter(requests.adapters.HTTPAdapter):
    """Mounted on a session, makes all of its requests end at ``deadline`` and trust ``context`` alone."""

    def __init__(self, deadline: Deadline, resolver: Resolver, context: ssl.SSLContext) -> None:
        context.sslsocket_class = _TlsSocket
        pool = type("_Pool", (HTTPSConnectionPool,), {})
        # A partial in a class is a method since CPython 3.14.
        pool.ConnectionCls = staticmethod(  # type: ignore[attr-defined]
            functools.partial(_Connection, deadline=deadline, resolver=resolver, meet=self._meet)
        )
        self._certificate: Mapping[str, Any] = {}
        self._pools = {"https": pool}
        self._context = context
        super().__init__()

    @property
    def certificate_expires_on(self) -> datetime.datetime | None:
        """When the certificate ends that the server showed last; None before there was one that can be trusted."""
        until = self._certificate.get("notAfter")
        return until and datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(until), datetime.UTC)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Called by the base class's constructor."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:  # noqa: ANN401
        """Called once a request goes through ``proxy``."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ANN401, ARG002
        """Leaves trust to the context, where the base class would add certifi's bundle."""
        conn.cert_reqs = "CERT_REQUIRED"
        conn.ca_certs = conn.ca_cert_dir = None

    def _meet(self, certificate: Mapping[str, Any]) -> None:
        self._certificate = certificate


@contextlib.contextmanager
def converse(
    deadline: Deadline, resolver: Resolver, context: ssl.SSLContext, *, proxied_url: str | None
) -> Iterator[Conversation]:
    """What sends requests until ``deadline``, through the proxy that the environment has for ``proxied_url``."""
    adapter = _Adapter(deadline, resolver, context)
    with _Session() as session:
        session.trust_env = False
        session.mount("https://", adapter)
        session.headers = chef_headers() | {"User-Agent": f"chef-failover/{__version__}", "Accept-Encoding": "identity"}  # type: ignore[assignment]
        if proxied_url is not None:
            session.proxies = requests.utils.get_environ_proxies(proxied_url)
        yield Conversation(session, adapter)


class Conversation:
    """An `exchange.Ask`."""

    def __init__(self, session: requests.Session, adapter: _Adapter) -> None:
        self._session = session
        self._adapter = adapter

    @property
    def certificate_expires_on(self) -> datetime.datetime | None:
        """When the certificate ends that the server showed last; None before there was one that can be trusted."""
        return self._adapter.certificate_expires_on

    def __call__(self, method: str, url: str, auth: Auth | None = None, document: object = None) -> Answer:
        """The answer; see `exchange.Ask`."""
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
    auth: Auth | None,
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
        return Answer(response.status_code, lower, body, unquote(urlsplit(url).path))


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


def _tls_reason(error: BaseException) -> str:
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return inner.verify_message
    reason = getattr(inner, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else "handshake failed"
