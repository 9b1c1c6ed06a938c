"""Shell: the daemon's listeners, kept open whatever becomes of a port or of the socket's file.

Without the Unix socket there is no daemon. The loopback port is for people and monitoring: where another program has
bound it, that is said once, and tried again. Both share one interpreter with whatever a run asks. So the two threads of
the loopback port rest 15 times as long as they compute: together they take an eighth of a core at the most.
"""

from __future__ import annotations

import logging

from chef_failover.api.late import LateApp
from chef_failover.api.listeners import Listener, resting
from chef_failover.config.settings import Listen
from chef_failover.engine.sidecar import Sidecar
from chef_failover.errors import ChefFailoverError, ListenError

log = logging.getLogger(__name__)

TEND_EVERY_S = 10.0
LOOPBACK_RESTS = 15.0
"""How many times as long as it computes a thread of the loopback port rests."""


class Listening:
    """Both listeners of ``listen``, open from construction to `close`; they answer from `start` on.

    Raises:
        AlreadyRunningError: another process answers on the socket's path.
        ListenError: the socket cannot be opened.
    """

    def __init__(self, listen: Listen, sidecar: Sidecar) -> None:
        self._listen = listen
        self._apps = LateApp(sidecar, may_change=True), LateApp(sidecar, may_change=False)
        self._trouble: str | None = None
        self._socket = self._open_socket()
        self._loopback = self._open_loopback()

    def start(self) -> None:
        """Answer. Who has connected since construction has been kept waiting, not refused."""
        for listener in self._all():
            listener.start()

    def load(self) -> None:
        """Load what answers, which the first request would do."""
        for app in self._apps:
            app.load()

    def tend(self) -> None:
        """Open again what could not be opened, and the socket if its file has gone."""
        if self._loopback is None:
            self._loopback = self._open_loopback()
            if self._loopback is not None:
                self._loopback.start()
                log.info("listen.loopback %s: opened", self._listen.loopback)
        if not self._socket.is_in_place():
            self._socket.close()  # nobody new can reach it
            try:
                self._socket = self._open_socket()
            except (ChefFailoverError, OSError) as error:
                self._say(f"listen.socket: the file is gone and cannot be recreated: {error}")
                return
            self._socket.start()
            log.warning("listen.socket %s: the file was gone; recreated", self._listen.socket)

    def dead(self) -> tuple[str, ...]:
        """The keys of listeners that answer no more, by an internal error."""
        return tuple(listener.key for listener in self._all() if not listener.is_alive())

    def close(self) -> None:
        """Stop answering."""
        for listener in self._all():
            listener.close()

    def _all(self) -> list[Listener]:
        return [self._socket, *([self._loopback] if self._loopback else [])]

    def _open_socket(self) -> Listener:
        self._listen.socket.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return Listener("listen.socket", self._listen.socket, self._apps[0], threads=8, connections=200)

    def _open_loopback(self) -> Listener | None:
        if self._listen.loopback is None:
            return None
        try:
            app = resting(self._apps[1], LOOPBACK_RESTS)
            return Listener("listen.loopback", self._listen.loopback, app, threads=2, connections=50)
        except ListenError as error:
            self._say(f"{error}; retrying every {TEND_EVERY_S:.0f} s; listen.socket still works")
            return None

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble
