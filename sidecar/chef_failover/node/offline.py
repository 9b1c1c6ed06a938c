"""I/O: a look at ourselves, when every server seems to fail."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from concurrent.futures import Future
from urllib.parse import urlsplit

from chef_failover.chef.lookup import Address, Resolver
from chef_failover.chef.own_trouble import dead_end


def look(urls: Iterable[str], resolver: Resolver, timeout_s: float) -> str | None:
    """Why this node can reach none of ``urls``, or None if it could reach one; within about ``timeout_s``.

    Only what this machine alone can know counts: no name server answers, or the kernel has no route. A server that
    refuses or stays silent is the server's affair. All names are looked up at once: one whose zone is dead takes no
    time from the others.
    """
    limit = time.monotonic() + timeout_s
    lookups = [resolver.begin(parts.hostname or "", parts.port or 443, timeout_s) for parts in map(urlsplit, urls)]
    reasons = [_cut_off(lookup, max(0.0, limit - time.monotonic())) for lookup in lookups]
    if not reasons or None in reasons:
        return None
    return "; ".join(sorted({reason for reason in reasons if reason}))


def _cut_off(lookup: Future[list[Address]], timeout_s: float) -> str | None:
    try:
        addresses = lookup.result(timeout_s)
    except OSError as error:
        is_ours = isinstance(error, TimeoutError) or error.errno == socket.EAI_AGAIN
        return "no name server answers" if is_ours else None
    return "no route to any Chef server" if all(dead_end(one[0], one[4]) for one in addresses) else None
