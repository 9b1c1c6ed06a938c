"""Shell: a thread for each open connection, and the means to end them all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

Pause = Callable[[float], bool]
"""Waits that many seconds, or less: True as soon as the connection is to end."""
_LIMIT = 256
"""More connections at a time than this are closed at once."""
_JOIN_S = 5.0


class Connections:
    """The open connections. ``total`` counts every one that was ever taken."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._ended = threading.Event()

    def __len__(self) -> int:
        return len(self._open)

    def take(self, connection: socket.socket, servant: Callable[[Pause], Callable[[socket.socket], None]]) -> None:
        """Serve ``connection`` in its own thread, by what ``servant`` gives.

        ``servant`` is called in the same breath as the connection is entered, so that whatever it reads is either cut
        with the others by a ``cut`` or no older than that.
        """
        with self._lock:
            self.total += 1
            if len(self._open) >= _LIMIT:
                connection.close()
                return
            serve = servant(self._ended.wait)
            thread = threading.Thread(
                target=self._run, args=(connection, serve), name="devserver-connection", daemon=True
            )
            self._open[connection] = thread
            thread.start()

    def cut(self) -> None:
        """End every connection; they are gone when this returns."""
        with self._lock:
            self._ended.set()
            self._ended = threading.Event()
            threads = list(self._open.values())
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(_JOIN_S)

    def _run(self, connection: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        try:
            with connection, contextlib.suppress(OSError, ValueError):  # the client left, or talks nonsense
                serve(connection)
        finally:
            with self._lock:
                del self._open[connection]
