"""I/O: a look at ourselves, when every server seems to fail."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from chef_failover.lookup import Resolver

_LEAST_S = 0.1
"""What a lookup gets even when those before it have used up the time: an address needs no name server."""


def look(urls: Iterable[str], resolver: Resolver, timeout_s: float) -> str | None:
    """Why this node can reach none of ``urls``, or None if it could reach one; within about ``timeout_s``.

    Only what this machine alone can know counts: no name server answers, or the kernel has no route. A server that
    refuses or stays silent is the server's affair.
    """
    limit = time.monotonic() + timeout_s
    reasons = [_cut_off(url, resolver, max(_LEAST_S, limit - time.monotonic())) for url in urls]
    if not reasons or None in reasons:
        return None
    return "; ".join(sorted({reason for reason in reasons if reason}))


def _cut_off(url: str, resolver: Resolver, timeout_s: float) -> str | None:
    parts = urlsplit(url)
    try:
        addresses = resolver.lookup(parts.hostname or "", parts.port or 443, timeout_s)
    except OSError as error:
        is_ours = isinstance(error, TimeoutError) or error.errno == socket.EAI_AGAIN
        return "no name server answers" if is_ours else None
    return None if any(_has_route(address[0], address[4]) for address in addresses) else "no route to any Chef server"


def _has_route(family: int, address: tuple[str, int]) -> bool:
    """Whether the kernel would know where to send a packet. Connecting a datagram socket sends none."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
    except OSError as error:
        return error.errno not in (errno.ENETUNREACH, errno.ENETDOWN, errno.EAFNOSUPPORT)
    return True
