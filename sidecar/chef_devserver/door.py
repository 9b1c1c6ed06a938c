"""I/O: a TCP port that can be open, shut or a black hole, and stays ours while it is shut.

A second socket, bound and never listening, keeps the port: while the door is shut nobody else is given it, and no
client that connects to it from the same number meets itself. Linux allows this to two sockets with SO_REUSEADDR.

The black hole needs no privileges: Linux drops SYNs while the queue of connections waiting for ``accept`` is full. We
make that queue as short as it can be, and fill it ourselves.
"""

from __future__ import annotations

import contextlib
import select
import socket
import weakref

_BACKLOG = 256
_PROBE_S = 0.05
"""A connect over loopback that takes longer than this was dropped."""
_FILLERS = 16
"""More connections than the shortest queue holds (one, on Linux)."""


class Door:
    """The port ``port`` (0: a free one) of ``host``. It starts shut; ``address`` is where it is."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self._saver = _bound(family, (host, port))
        # Closes it also when nobody calls ``release``.
        self.release = weakref.finalize(self, self._saver.close)
        self._family = family
        self.address: tuple[str, int] = self._saver.getsockname()[:2]
        self._listener: socket.socket | None = None
        self._fillers: list[socket.socket] = []

    def open(self) -> socket.socket:
        """Listen, and give the socket to accept on."""
        self._listener = _bound(self._family, self.address)
        self._listener.listen(_BACKLOG)
        return self._listener

    def block(self) -> None:
        """Become a black hole. When this returns, the next connect gets no answer."""
        self._listener = _bound(self._family, self.address)
        self._listener.listen(0)
        for _ in range(_FILLERS):
            filler = socket.socket(self._family)
            self._fillers.append(filler)
            filler.setblocking(False)
            filler.connect_ex(self.address)
            if not select.select([], [filler], [], _PROBE_S)[1]:
                return
        raise OSError(f"the queue of {self.address} does not fill: is this Linux?")

    def shut(self) -> None:
        """Stop listening: an ``accept`` under way fails, waiting clients are reset, new ones refused."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


def _bound(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
