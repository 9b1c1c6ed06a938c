"""I/O: HTTPS through ``requests`` under one absolute deadline for name lookup, connect, TLS and every byte.

``requests`` has a timeout for each step and each read, so a server that sends a byte a second is never late. Here the
sockets of a connection shorten their timeout, before each wait, to what is left. And because only the place that fails
knows what it was doing, a failure is given its class here, as `ProbeError`, which neither urllib3 nor requests touch.
"""

from __future__ import annotations

import datetime
import errno
import functools
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests.adapters
import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from chef_failover.lookup import Address, Resolver
from chef_failover.model import Outcome

CONNECTION_LIMIT = 16 * 1024 * 1024
"""Bytes that one connection may bring: several answers, with what no other limit counts (interim answers, trailers)."""
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ProbeError(Exception):
    """A request failed; ``never_left_node`` when this machine could not even send it."""

    def __init__(self, outcome: Outcome, detail: str, *, never_left_node: bool = False) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.never_left_node = never_left_node


class Deadline:
    """An instant of ``clock`` after which nobody waits any more."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._at = clock() + timeout_s

    def left_s(self) -> float:
        """Seconds left, never quite 0: what waits on it then fails as late."""
        return max(0.001, self._at - self._clock())

    def is_over(self) -> bool:
        """Whether it has passed."""
        return self._clock() >= self._at


class _Bounded:
    """A socket whose every wait ends at ``deadline``, and what never has to wait, too."""

    deadline: Deadline
    _received = 0

    def recv_into(self, *args: Any, **kwargs: Any) -> int:  # noqa: ANN401
        count: int = self._within(super().recv_into, *args, **kwargs)  # type: ignore[misc]
        self._received += count
        if self._received > CONNECTION_LIMIT:
            raise ProbeError(Outcome.NOT_CHEF, f"more than {CONNECTION_LIMIT // 1024**2} MiB in one connection")
        return count

    def sendall(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self._within(super().sendall, *args, **kwargs)  # type: ignore[misc]

    def _within(self, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self.settimeout(self.deadline.left_s())  # type: ignore[attr-defined]
        try:
            if self.deadline.is_over():
                raise TimeoutError
            return operation(*args, **kwargs)
        except TimeoutError as error:
            timeout_s = self.deadline.timeout_s
            raise ProbeError(Outcome.READ_TIMEOUT, f"no whole answer within {timeout_s:.1f} s") from error
        except OSError as error:
            raise ProbeError(Outcome.REFUSED, "connection cut before the answer was whole") from error


class _TcpSocket(_Bounded, socket.socket):
    pass


class _TlsSocket(_Bounded, ssl.SSLSocket):
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


class Adapter(requests.adapters.HTTPAdapter):
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


def connect(addresses: list[Address], deadline: Deadline) -> socket.socket:
    """A connection to the first address that takes one; each gets its share of the time that is left.

    Raises:
        ProbeError: none does.
    """
    if not addresses:
        raise ProbeError(Outcome.DNS, "the name has no address")
    failures = []
    for index, address in enumerate(addresses):
        try:
            return _connect_to(address, deadline, deadline.left_s() / (len(addresses) - index))
        except OSError as error:
            failures.append(_connect_error(error, deadline))
    # What a server did says more than that this node has no IPv6, say.
    raise min(failures, key=lambda failure: failure.never_left_node)


def _connect_to(address: Address, deadline: Deadline, timeout_s: float) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = _TcpSocket(family, kind, protocol)
    try:
        sock.settimeout(timeout_s)
        sock.connect(where)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(deadline.left_s())
    except OSError:
        sock.close()
        raise
    sock.deadline = deadline
    return sock


def _connect_error(error: OSError, deadline: Deadline) -> ProbeError:
    if isinstance(error, TimeoutError):
        return ProbeError(Outcome.CONNECT_TIMEOUT, f"connect timed out after {deadline.timeout_s:.1f} s")
    if isinstance(error, ConnectionRefusedError):
        return ProbeError(Outcome.REFUSED, "connection refused")
    return ProbeError(Outcome.REFUSED, f"connect: {error.strerror}", never_left_node=error.errno in _NO_ROUTE)


def _tls_reason(error: BaseException) -> str:
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return inner.verify_message
    reason = getattr(inner, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else "handshake failed"
