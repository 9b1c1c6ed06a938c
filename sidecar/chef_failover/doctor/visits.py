"""I/O: one visit to each server, step by step, to tell where it fails: name, route, connection, certificate, clock."""

from __future__ import annotations

import datetime
import email.utils
import errno
import socket
import ssl
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import attrs

from chef_failover.chef.lookup import Address, Resolver
from chef_failover.chef.trust import TrustStore
from chef_failover.config.settings import Config, Server
from chef_failover.decide.prospects import CERTIFICATE_NOTICE_S
from chef_failover.doctor.finding import Check
from chef_failover.durations import in_words
from chef_failover.errors import UnseenError

CLOCK_NOTICE_S = 60.0
"""Chef servers refuse at fifteen minutes; a time service that works is never off by one."""
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


@attrs.frozen
class Visit:
    """How far it came: each step is reached only if the one before has no trouble."""

    server: str
    host: str
    lookup: str | None = None
    route: str | None = None
    connection: str | None = None
    certificate: str | None = None
    certificate_left_s: float | None = None
    clock_ahead_s: float | None = None
    """By how much this node's clock is ahead of the server's."""
    unseen: str | None = None
    """Why nothing was tried."""

    def checks(self) -> tuple[Check, ...]:
        """What the visit tells, one by one."""
        steps: tuple[tuple[str, Callable[[], str | None]], ...] = (
            ("name", self._name),
            ("route", self._route),
            ("certificate", self._certificate),
            ("clock", self._clock),
        )
        return tuple(Check(f"{what} of {self.server}" if what != "route" else f"route to {self.server}", look)
                     for what, look in steps)  # fmt: skip

    def _name(self) -> str | None:
        self._expect(self.unseen)
        return self.lookup and f"{self.host} has no address ({self.lookup}): repair DNS, or add it to /etc/hosts"

    def _route(self) -> str | None:
        self._expect(self.unseen, self.lookup and "its name has no address")
        if self.route:
            return f"no packet gets out to it ({self.route}): look at the routes of this machine, ip route"
        if self.connection:
            return f"{self.connection}: look at the server, its security group and the firewalls on the way"
        return None

    def _certificate(self) -> str | None:
        self._expect(self.unseen, self._is_far and "it could not be reached")
        if self.certificate:
            return f"{self.certificate}: put its CA into trusted_certs (knife ssl fetch), or name it at ca_file"
        left_s = self.certificate_left_s
        if left_s is None or left_s > CERTIFICATE_NOTICE_S:
            return None
        return f"expires in {in_words(max(0.0, left_s))}: renew it on the server"

    def _clock(self) -> str | None:
        self._expect(self.unseen, (self._is_far or self.certificate) and "it could not be reached")
        if self.clock_ahead_s is None:
            raise UnseenError("it does not tell its time")
        if abs(self.clock_ahead_s) <= CLOCK_NOTICE_S:
            return None
        side = "ahead of" if self.clock_ahead_s > 0 else "behind"
        span = in_words(abs(self.clock_ahead_s))
        return f"this node's clock is {span} {side} it, and at 15 min it refuses: see chronyc tracking, or timedatectl"

    @property
    def _is_far(self) -> bool:
        return bool(self.lookup or self.route or self.connection)

    def _expect(self, *reasons: str | bool | None) -> None:
        for reason in reasons:
            if isinstance(reason, str) and reason:
                raise UnseenError(reason)


def visit_all(
    config: Config, resolver: Resolver, trust: TrustStore, utc_now: Callable[[], datetime.datetime]
) -> tuple[Visit, ...]:
    """Every server of ``config``, all at once."""
    with ThreadPoolExecutor(max_workers=max(1, len(config.servers))) as pool:
        return tuple(pool.map(lambda server: visit(config, server, resolver, trust, utc_now), config.servers))


def visit(
    config: Config, server: Server, resolver: Resolver, trust: TrustStore, utc_now: Callable[[], datetime.datetime]
) -> Visit:
    """One server; each step may take ``health.timeout``."""
    parts = urlsplit(server.url)
    host, port, timeout_s = parts.hostname or "", parts.port or 443, config.health.timeout
    start = Visit(server.name, host)
    if config.health.proxy == "environment" and "https" in urllib.request.getproxies():
        return attrs.evolve(start, unseen="it is reached through the proxy of the environment")
    try:
        addresses = resolver.lookup(host, port, timeout_s)
    except OSError as error:
        return attrs.evolve(start, lookup=_words(error))
    try:
        connection = _connect(addresses, timeout_s)
    except OSError as error:
        if error.errno in _NO_ROUTE:
            return attrs.evolve(start, route=_words(error))
        return attrs.evolve(start, connection=_words(error))
    with connection:
        return _speak(start, connection, lambda: trust.context(server.ca_file), utc_now)


def _speak(
    start: Visit,
    connection: socket.socket,
    context: Callable[[], ssl.SSLContext],
    utc_now: Callable[[], datetime.datetime],
) -> Visit:
    try:
        with context().wrap_socket(connection, server_hostname=start.host) as tls:
            return _look_around(start, tls, utc_now)
    except ssl.SSLCertVerificationError as error:
        return attrs.evolve(start, certificate=error.verify_message)
    except OSError as error:
        return attrs.evolve(start, connection=_words(error))


def _connect(addresses: list[Address], timeout_s: float) -> socket.socket:
    trouble = OSError("no address")
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(timeout_s)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            trouble = error
        else:
            return connection
    raise trouble


def _look_around(start: Visit, tls: ssl.SSLSocket, utc_now: Callable[[], datetime.datetime]) -> Visit:
    ends = (tls.getpeercert() or {}).get("notAfter")
    left_s = ssl.cert_time_to_seconds(str(ends)) - utc_now().timestamp() if ends else None
    tls.sendall(f"HEAD /_status HTTP/1.1\r\nHost: {start.host}\r\nConnection: close\r\n\r\n".encode())
    head = tls.recv(16384).decode("latin-1").partition("\r\n\r\n")[0]
    dates = [line.partition(":")[2].strip() for line in head.split("\r\n") if line.lower().startswith("date:")]
    ahead_s = None
    if dates:
        try:
            ahead_s = (utc_now() - email.utils.parsedate_to_datetime(dates[0])).total_seconds()
        except (ValueError, TypeError):
            ahead_s = None
    return attrs.evolve(start, certificate_left_s=left_s, clock_ahead_s=ahead_s)


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error)
