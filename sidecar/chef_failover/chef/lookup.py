"""I/O: name lookup that can be given up on.

The C library's resolver cannot be interrupted and may take half a minute over a dead name server. So each lookup runs
on a thread of its own, at most one for each name: who asks while one is under way waits for that one.

A name server that is silent makes each lookup take 5 s until the next one is asked, and then it works; where all are
silent, it fails in the end. What comes too late for who asked is kept for who asks next: an address is given at once,
while a new lookup goes on, and a failure once that one is late, too, since the network may have come back meanwhile.
"""

from __future__ import annotations

import errno
import math
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

MOST = 32
"""Lookups under way at once: the threads of a process are counted, and a zone that is dead holds each for seconds."""
MOST_LATE = 16
"""While so many are under way, no name is looked up whose last lookup was late: there is room for others."""
KEPT_S = 600.0
"""For so long an answer holds that came too late."""
Address = tuple[int, int, int, str, Any]
"""As ``socket.getaddrinfo`` gives it: family, type, protocol, canonical name, socket address."""
Name = tuple[str, int]


class Resolver:
    """Looks names up through ``getaddrinfo(host, port)``, which may block for as long as it likes."""

    def __init__(
        self,
        getaddrinfo: Callable[[str, int], list[Address]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._getaddrinfo = getaddrinfo or _getaddrinfo
        self._clock = clock
        self._under_way: dict[Name, Future[list[Address]]] = {}
        self._late: dict[Name, tuple[Future[list[Address]], float]] = {}
        """The names whose last lookup was late, with what became of it, and when."""
        self._lock = threading.Lock()

    def lookup(self, host: str, port: int, timeout_s: float) -> list[Address]:
        """The addresses of ``host``.

        Raises:
            OSError: there are none (``socket.gaierror``), or ``timeout_s`` was over first (``TimeoutError``).
        """
        future = self.begin(host, port, timeout_s)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            with self._lock:
                kept, since = self._late.get((host, port), (future, 0.0))
                if not future.done():
                    self._late[host, port] = future, self._clock()
            if kept.done() and self._clock() - since < KEPT_S:
                return kept.result()
            raise

    def begin(self, host: str, port: int, timeout_s: float = math.inf) -> Future[list[Address]]:
        """The lookup under way, or a new one; its result is what `lookup` gives or raises.

        What takes longer than ``timeout_s`` is late; while the next one goes on, the result is the address that came
        late. Beyond `MOST_LATE` a name that was late fails at once, with EAI_AGAIN as when no name server answers;
        beyond `MOST` every name does, with ENOBUFS.

        Raises:
            RuntimeError: this process may have no further thread.
        """
        name = (host, port)
        with self._lock:
            future = self._under_way.get(name) or self._start(name, self._clock() + timeout_s)
            kept, since = self._late.get(name, (future, 0.0))
            is_good = kept.done() and kept.exception() is None
            return kept if is_good and self._clock() - since < KEPT_S else future

    def _start(self, name: Name, late_from: float) -> Future[list[Address]]:
        future: Future[list[Address]] = Future()
        count, is_late = len(self._under_way), name in self._late
        if count >= (MOST_LATE if is_late else MOST):
            words = f"{count} other name lookups are in progress"
            future.set_exception(socket.gaierror(socket.EAI_AGAIN, words) if is_late else OSError(errno.ENOBUFS, words))
            return future
        arguments = (name, future, late_from)
        threading.Thread(target=self._run, args=arguments, name=f"lookup {name[0]}", daemon=True).start()
        self._under_way[name] = future
        return future

    def _run(self, name: Name, future: Future[list[Address]], late_from: float) -> None:
        try:
            future.set_result(self._getaddrinfo(*name))
        except UnicodeError as error:
            future.set_exception(socket.gaierror(socket.EAI_NONAME, str(error)))
        except OSError as error:
            future.set_exception(error)
        finally:
            if not future.done():  # an internal error: callers are told, and the thread reports it
                future.set_exception(socket.gaierror(socket.EAI_FAIL, "internal error"))
            with self._lock:
                del self._under_way[name]
                self._late.pop(name, None)
                if self._clock() > late_from:
                    self._late[name] = future, self._clock()


def _getaddrinfo(host: str, port: int) -> list[Address]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
