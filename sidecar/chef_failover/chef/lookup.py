"""I/O: name lookup that can be given up on.

The C library's resolver cannot be interrupted and may take half a minute over a dead name server. So each lookup runs
on a thread of its own, at most one for each name: who asks while one is under way waits for that one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

MOST = 16
"""Lookups under way at once: the threads of a process are counted, and a zone that is dead holds each for seconds."""
Address = tuple[int, int, int, str, Any]
"""As ``socket.getaddrinfo`` gives it: family, type, protocol, canonical name, socket address."""


class Resolver:
    """Looks names up through ``getaddrinfo(host, port)``, which may block for as long as it likes."""

    def __init__(self, getaddrinfo: Callable[[str, int], list[Address]] | None = None) -> None:
        self._getaddrinfo = getaddrinfo or _getaddrinfo
        self._under_way: dict[tuple[str, int], Future[list[Address]]] = {}
        self._lock = threading.Lock()

    def lookup(self, host: str, port: int, timeout_s: float) -> list[Address]:
        """The addresses of ``host``.

        Raises:
            OSError: there are none (``socket.gaierror``), or ``timeout_s`` was over first (``TimeoutError``).
        """
        return self.begin(host, port).result(timeout_s)

    def begin(self, host: str, port: int) -> Future[list[Address]]:
        """The lookup under way, or a new one; its result is what `lookup` gives or raises.

        Beyond `MOST` it fails at once, with EAI_AGAIN as when no name server answers.

        Raises:
            RuntimeError: this process may have no further thread.
        """
        with self._lock:
            future = self._under_way.get((host, port))
            if future is None:
                future = Future()
                if len(self._under_way) >= MOST:
                    words = f"{MOST} other lookups are under way"
                    future.set_exception(socket.gaierror(socket.EAI_AGAIN, words))
                    return future
                arguments = (host, port, future)
                threading.Thread(target=self._run, args=arguments, name=f"lookup {host}", daemon=True).start()
                self._under_way[host, port] = future
        return future

    def _run(self, host: str, port: int, future: Future[list[Address]]) -> None:
        try:
            future.set_result(self._getaddrinfo(host, port))
        except (OSError, UnicodeError) as error:
            future.set_exception(
                error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error))
            )
        finally:
            with self._lock:
                self._under_way.pop((host, port), None)


def _getaddrinfo(host: str, port: int) -> list[Address]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
