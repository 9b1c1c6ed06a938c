"""I/O: what keeps this machine from sending anything, in which no server has a part.

The kernel refuses at once where its own routes lead nowhere. The same error may come later, from a router or because
the server's machine is off; so it is asked again with a datagram socket, whose connect sends nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
"""No file descriptor, no memory, no port of its own is left: the next attempt may work."""
_DEAD_ENDS = {
    **{number: os.strerror(number) for number in (errno.ENETUNREACH, errno.ENETDOWN, errno.EAFNOSUPPORT)},
    errno.EHOSTUNREACH: "this node has an unreachable route to it",
    errno.EINVAL: "this node has a blackhole route to it",
    errno.EACCES: "this node has a prohibit route to it",
}
"""What the kernel refuses a connect with, by ``fib_props`` in Linux's fib_semantics.c."""


def dead_end(family: int, where: Any) -> str | None:  # noqa: ANN401
    """Why this machine has no way to this address, in words; None where it has one, or cannot tell."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(where)
    except OSError as error:
        return _DEAD_ENDS.get(error.errno or 0)
    return None
