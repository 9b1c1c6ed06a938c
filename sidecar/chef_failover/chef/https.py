"""I/O: a Chef server, and the connection that sends it requests.

Probes, registration, node objects and ``doctor`` all go this way. So they all verify as chef-client does, follow no
redirect, read no endless body, and end in time: one `Deadline` covers name lookup, connect, TLS and every byte. What
fails is a `ProbeError` with its class and its words.

``requests`` sends, through its transport adapter alone: a session reads the whole body of a redirect, however long,
even when it is told not to follow. The modules behind this one are a quarter of what the daemon loads, so all that
imports it is loaded after READY.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import socket
import ssl
from collections.abc import Callable
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import requests
import requests.adapters
import urllib3
from urllib3.connection import HTTPSConnection

from chef_failover import __version__, weighed_json
from chef_failover.chef import limits, names
from chef_failover.chef.answers import Answer, retry_after_s
from chef_failover.chef.deadline import BoundedSocket, Deadline, ProbeError, TooLargeError, connect, raise_if_exhausted
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.own_trouble import EXHAUSTED
from chef_failover.chef.protocol import CHEF_HEADERS, segment
from chef_failover.chef.proxy import proxy_for
from chef_failover.chef.trust import Trust, TrustStore
from chef_failover.model.model import Outcome

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""Authentication as ``requests`` has it: it signs what is about to be sent."""
Signer = Callable[[str], Auth]
"""Gives the authentication for a signing protocol."""
_LACKS_ISSUER = (2, 18, 19, 20, 21)
"""Of OpenSSL's reasons to refuse a chain, those that one more certificate to trust could end."""
_HEADERS = CHEF_HEADERS | {"User-Agent": f"chef-failover/{__version__}", "Accept-Encoding": "identity"}


@attrs.frozen
class Target:
    """A Chef server as this node speaks to it. ``chef_server_url`` has the organization, if there is one."""

    chef_server_url: str
    timeout_s: float
    ca_file: Path | None = None
    node_name: str = ""
    """Empty while it is not known."""
    uses_environment_proxy: bool = False

    @property
    def root_url(self) -> str:
        """Where the paths that belong to no organization begin."""
        return self.chef_server_url.partition("/organizations/")[0]

    @property
    def host(self) -> str:
        """As it is written, since Ruby minds capitals here and there; a final dot is for the lookup alone."""
        netloc = urlsplit(self.chef_server_url).netloc
        return netloc[1:].partition("]")[0] if netloc.startswith("[") else netloc.partition(":")[0].rstrip(".")

    @property
    def proxy_url(self) -> str | None:
        """The proxy to it, if any.

        Raises:
            ValueError: the environment names one that chef-client cannot use.
        """
        return proxy_for(self.host, os.environ) if self.uses_environment_proxy else None

    def own(self, kind: str) -> str:
        """The URL of what is the node's own: its object among the ``nodes``, or what signs for it, among ``clients``.

        One of the ``principals`` tells without a signature whether there is such a client.
        """
        return f"{self.chef_server_url}/{kind}/{segment(self.node_name)}"

    def introduce(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """In the place of a signature: say who asks, without which nginx before a Chef server lets nobody in."""
        request.headers["X-Ops-Userid"] = self.node_name
        return request


@attrs.frozen
class ChefServer:
    """What it takes to speak to ``target``.

    ``leave_alone`` is told for how many seconds the server wants no more requests, whenever an answer says so;
    ``count`` is told the URL of each request that is made.
    """

    target: Target
    resolver: Resolver
    trust: TrustStore
    leave_alone: Callable[[float], object] = lambda _: None
    count: Callable[[str], object] = lambda _: None

    def open(self) -> contextlib.closing[Connection]:
        """A connection until ``timeout_s`` from now, as a context manager; the first request connects it.

        Raises:
            ProbeError: no run could connect, whatever the server does.
        """
        ca_file = self.target.ca_file
        try:
            trust = self.trust.look(ca_file)
        except OSError as error:
            raise_if_exhausted(error)
            raise ProbeError(Outcome.TLS, f"ca_file {ca_file}: {error.strerror or error}") from error
        if trust.fatal:
            raise ProbeError(Outcome.TLS, "; ".join(trust.fatal), is_node_trouble=True)
        try:
            proxy_url = self.target.proxy_url
        except ValueError as error:
            raise ProbeError(Outcome.REFUSED, str(error), is_node_trouble=True) from error
        return contextlib.closing(Connection(self, trust, proxy_url))


class Connection(requests.adapters.HTTPAdapter):
    """Sends requests to ``server``, through the proxy if there is one, until its time is over."""

    certificate_expires_on: datetime.datetime | None = None
    """When the server's certificate ends; None before it has shown one that can be trusted."""

    def __init__(self, server: ChefServer, trust: Trust, proxy_url: str | None) -> None:
        super().__init__()
        trust.context.sslsocket_class = _TlsSocket
        self.server = server
        self.target = server.target
        self.trust = trust
        self.deadline = Deadline(server.target.timeout_s)
        self._proxies = {"https": proxy_url} if proxy_url else {}

    def request(
        self,
        method: str,
        url: str,
        auth: Auth | None = None,
        document: object = None,
        *,
        limit: int = limits.SMALL_BYTES,
    ) -> Answer:
        """The answer to one request to an absolute URL, whatever its status; ``document`` becomes its JSON body.

        Of what is no success only the beginning is read. Who asks for an object gives a
        ``limit`` of its own, in bytes, and holds `turns.LARGE` until the answer is gone.

        Raises:
            ProbeError: there is no answer, or none that is HTTP. TooLargeError: a success that is too large.
        """
        data = None if document is None else json.dumps(document).encode()
        headers = _HEADERS | ({"Content-Type": "application/json"} if data else {})
        body = bytearray()
        self.server.count(url)
        try:
            prepared = requests.Request(method, url, headers, data=data, auth=auth).prepare()
            with self.send(prepared, stream=True, proxies=self._proxies) as response:
                is_success = response.status_code < 300
                most = limit if is_success else limits.SMALL_BYTES
                for chunk in response.iter_content(65536):
                    body += chunk
                    if len(body) > most:
                        break
        except requests.RequestException as error:
            raise ProbeError(*_judge_broken(error)) from error
        if is_success:
            _expect_bearable(body, limit)
        lower = {name.lower(): value for name, value in response.headers.items()}
        answer = Answer(response.status_code, lower, bytes(body), unquote(urlsplit(url).path))
        if span_s := retry_after_s(answer):
            self.server.leave_alone(span_s)
        return answer

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Has the pool of the base class, with a proxy or without, connect as we do."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = functools.partial(_HttpsConnection, self)
        return pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ANN401, ARG002
        """Leaves trust to the context, where the base class would add certifi's bundle."""
        conn.cert_reqs = "CERT_REQUIRED"
        conn.ca_certs = conn.ca_cert_dir = None


def _expect_bearable(body: bytearray, limit: int) -> None:
    said = None
    if len(body) > limit:
        said = f"longer than {f'{limit // 1024**2} MiB' if limit >= 1024**2 else f'{limit // 1024} KiB'}"
    elif len(body) + weighed_json.weight(body) > limits.PARSED_BYTES:
        said = f"{len(body) / 1e6:.1f} MB with too many values to parse in memory"
    if said is not None:
        raise TooLargeError(f"answer too large ({said})", bytes(body[: limits.SMALL_BYTES]))


class _HttpsConnection(HTTPSConnection):
    """What ``owner`` sends by, once `connect` has met the server.

    urllib3 has no public way to bring a socket of one's own: ``_new_conn`` and ``_dns_host`` are its private names.
    """

    def __init__(self, owner: Connection, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs | {"ssl_context": owner.trust.context, "assert_hostname": False})
        self._owner = owner
        self._deadline = owner.deadline

    def _new_conn(self) -> socket.socket:
        host = self._dns_host
        try:
            addresses = self._owner.server.resolver.lookup(host, self.port, self._deadline.left_s())
        except TimeoutError as error:
            what = f"no name server answered for {host} within {self._deadline.timeout_s:.1f} s"
            # What comes of the lookup in the end is what the next probe gets.
            raise ProbeError(Outcome.DNS, what, never_left_node=True, is_node_trouble=True) from error
        except OSError as error:
            is_ours = error.errno in EXHAUSTED or error.errno == socket.EAI_MEMORY
            is_nobody_asked = is_ours or error.errno == socket.EAI_AGAIN
            what = f"name lookup of {host}: {error.strerror or error}"
            raise ProbeError(Outcome.DNS, what, never_left_node=is_nobody_asked, is_node_trouble=is_ours) from error
        return connect(addresses, self._deadline)

    def connect(self) -> None:
        try:
            super().connect()
            certificate: dict[str, Any] = self.sock.getpeercert()  # type: ignore[union-attr]
            if wrong := names.mismatch(certificate, self._owner.target.host):
                mismatch = ssl.SSLCertVerificationError()  # as of an OpenSSL that looks at names
                mismatch.verify_code, mismatch.verify_message = 62, wrong
                raise mismatch
        except TimeoutError as error:
            what = f"accepted the connection, then said nothing for {self._deadline.timeout_s:.1f} s"
            raise ProbeError(Outcome.READ_TIMEOUT, what) from error
        except ssl.SSLEOFError as error:
            raise ProbeError(Outcome.REFUSED, "connection closed during the TLS handshake") from error
        except (ssl.SSLError, urllib3.exceptions.SSLError) as error:
            raise self._distrust(error) from error
        except OSError as error:
            raise_if_exhausted(error)
            # What the operating system reports has a number; what ``http.client`` says of a proxy has none.
            is_proxy = self.proxy is not None and error.errno is None
            what = "the proxy cannot connect to the server" if is_proxy else "connection reset during the TLS handshake"
            raise ProbeError(Outcome.REFUSED, what) from error
        self.sock.deadline = self._deadline  # type: ignore[union-attr]
        ends = ssl.cert_time_to_seconds(certificate["notAfter"])
        self._owner.certificate_expires_on = datetime.datetime.fromtimestamp(ends, datetime.UTC)

    def _distrust(self, error: Exception) -> ProbeError:
        inner = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
        if not isinstance(inner, ssl.SSLCertVerificationError):
            reason = getattr(inner, "reason", None)
            return ProbeError(Outcome.TLS, f"TLS: {reason.lower().replace('_', ' ') if reason else 'handshake failed'}")
        lacks_issuer, trust = inner.verify_code in _LACKS_ISSUER, self._owner.trust
        unread = (*trust.forbidden, *trust.lacking) if lacks_issuer else ()
        words = "; ".join((f"TLS: {inner.verify_message}", *unread))
        return ProbeError(Outcome.TLS, words, is_node_trouble=lacks_issuer and bool(trust.forbidden))


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


def _judge_broken(error: requests.RequestException) -> tuple[Outcome, str]:
    """The class of what broke on the way to an HTTP answer, or within one."""
    if isinstance(error, requests.exceptions.ProxyError):
        return Outcome.REFUSED, "the proxy cannot connect to the server"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RemoteDisconnected | urllib3.exceptions.IncompleteRead):
            return Outcome.REFUSED, "connection closed before the answer was complete"
        cause = cause.__context__
    return Outcome.NOT_CHEF, "not an HTTP answer"
