"""I/O: one visit to each server, step by step, to tell where it fails: name, route, connection, certificate, clock."""

from __future__ import annotations

import datetime
import re
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import attrs

from chef_failover.chef.answers import time_told
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import ChefServer, Connection, Target
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.trust import TrustStore
from chef_failover.config.settings import Config, Server
from chef_failover.decide.outlook import CERTIFICATE_NOTICE_S
from chef_failover.doctor.finding import Check
from chef_failover.durations import in_words
from chef_failover.errors import UnseenError
from chef_failover.model.model import Outcome

CLOCK_NOTICE_S = 60.0
"""Chef servers refuse at fifteen minutes; a time service that works is never off by one."""
_OUT_OF_TIME = (9, 10)
"""OpenSSL's codes for a certificate that is not valid yet, and for one that has expired (x509_vfy.h)."""
_OTHER_NAME = (62, 64)
"""... for one of another host, and of another address."""
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
"""... for one whose CA is not trusted here."""
_VALIDITY = re.compile(rb"\x30[\x1e-\x22](?:\x17\x0d|\x18\x0f)(\d{12,14})Z(?:\x17\x0d|\x18\x0f)(\d{12,14})Z")
"""The two dates of a certificate in DER (RFC 5280, 4.1.2.5), each with two digits for the year or with four."""


@attrs.frozen
class Visit:
    """How far it came: each step is reached only if the one before has no trouble.

    ``connection`` and ``certificate`` say what to do, too.
    """

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
        return (
            Check(f"name of {self.server}", self._name),
            Check(f"route to {self.server}", self._route),
            Check(f"connection to {self.server}", self._connection),
            Check(f"certificate of {self.server}", self._certificate),
            Check(f"clock of {self.server}", self._clock),
        )

    def _name(self) -> str | None:
        self._expect(self.unseen)
        return self.lookup and f"{self.host} has no address ({self.lookup}): fix DNS, or add it to /etc/hosts"

    def _route(self) -> str | None:
        self._expect(self.unseen, self.lookup and "the host name has no address")
        if self.route:
            return f"no packet reaches it ({self.route}): check this machine's routes with ip route"
        return None

    def _connection(self) -> str | None:
        self._expect(self.unseen, (self.lookup or self.route) and "the server cannot be reached")
        return self.connection

    def _certificate(self) -> str | None:
        self._expect(self.unseen, self._is_far and "the server cannot be reached")
        if self.certificate:
            return self.certificate
        left_s = self.certificate_left_s
        if left_s is None or left_s > CERTIFICATE_NOTICE_S:
            return None
        return f"expires in {in_words(max(0.0, left_s))}: renew it on the server"

    def _clock(self) -> str | None:
        self._expect(self.unseen, (self._is_far or self.certificate) and "the server cannot be reached")
        if self.clock_ahead_s is None:
            raise UnseenError("the server does not send its time")
        if abs(self.clock_ahead_s) <= CLOCK_NOTICE_S:
            return None
        side = "ahead of" if self.clock_ahead_s > 0 else "behind"
        span = in_words(abs(self.clock_ahead_s))
        return (
            f"this node's clock is {span} {side} the server's, which refuses more than 15 min: check chronyc tracking,"
            " or timedatectl"
        )

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
    """One server, within ``health.timeout``."""
    start = Visit(server.name, urlsplit(server.url).hostname or "")
    uses_proxy = config.health.proxy == "environment"
    target = Target(server.url, config.health.timeout, server.ca_file, uses_environment_proxy=uses_proxy)
    try:
        with ChefServer(target, resolver, trust).open() as connection:
            if target.proxy_url:
                return attrs.evolve(start, unseen="not tried: the server is behind the proxy of the environment")
            return _look_around(start, connection, utc_now)
    except ProbeError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError) and not error.is_node_trouble:
            words, code = error.detail.removeprefix("TLS: "), error.__cause__.verify_code
            dates = _dates(server.url, config.health.timeout) if code in _OUT_OF_TIME else None
            return attrs.evolve(start, certificate=_distrust(words, code, dates, utc_now()))
        return _stopped(start, error)


def _look_around(start: Visit, connection: Connection, utc_now: Callable[[], datetime.datetime]) -> Visit:
    told = None
    try:
        told = time_told(connection.request("HEAD", f"{connection.target.root_url}/_status"))
    except ProbeError as error:
        if error.outcome is not Outcome.NOT_CHEF or connection.certificate_expires_on is None:
            raise
    now, ends = utc_now(), connection.certificate_expires_on
    return attrs.evolve(
        start,
        certificate_left_s=(ends - now).total_seconds() if ends else None,
        clock_ahead_s=(now - told).total_seconds() if told else None,
    )


def _stopped(start: Visit, error: ProbeError) -> Visit:
    """With the step that failed, in the words of what failed there."""
    cause = error.__cause__
    if error.is_node_trouble:
        return attrs.evolve(start, unseen=error.detail)
    if error.outcome is Outcome.READ_TIMEOUT:  # so no firewall is in the way
        return attrs.evolve(start, connection=f"{error.detail}: check the server")
    words = (isinstance(cause, OSError) and cause.strerror) or error.detail
    if isinstance(cause, TimeoutError):
        words = "no answer in time"
    if error.outcome is Outcome.DNS:
        return attrs.evolve(start, lookup=words)
    if error.never_left_node:
        return attrs.evolve(start, route=words)
    return attrs.evolve(start, connection=f"{words}: check the server, its security group and the firewalls in between")


def _distrust(
    words: str, code: int, dates: tuple[datetime.datetime, datetime.datetime] | None, now: datetime.datetime
) -> str:
    """What is wrong with a certificate, and what to do; ``dates`` are its own, where it or its CA is out of time."""
    if code in _OUT_OF_TIME:
        span = ""
        if dates:
            begins, ends = (date.strftime("%Y-%m-%d %H:%M UTC") for date in dates)
            whose = "its CA's, since its own is " if dates[0] <= now <= dates[1] else ""
            span = f"; {whose}valid from {begins} to {ends}"
        return f"{words}{span}: renew it on the server, or check this node's clock"
    if code in _OTHER_NAME:
        return f"{words}: write a name that it has in the server's url, or renew it with this one"
    if code in _UNKNOWN_ISSUER:
        return f"{words}: add its CA to trusted_certs (knife ssl fetch), or set ca_file"
    return f"{words}: renew it on the server"


def _dates(url: str, timeout_s: float) -> tuple[datetime.datetime, datetime.datetime] | None:
    """From when to when the certificate at ``url`` holds, trusted or not; None when that cannot be seen."""
    parts = urlsplit(url)
    try:
        pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=timeout_s)
        found = _VALIDITY.search(ssl.PEM_cert_to_DER_cert(pem))
    except (OSError, ValueError):
        return None
    if found is None:
        return None
    begins, ends = (
        datetime.datetime.strptime(f"{date.decode()}+0000", f"{'%Y' if len(date) == 14 else '%y'}%m%d%H%M%S%z")
        for date in found.groups()
    )
    return begins, ends
