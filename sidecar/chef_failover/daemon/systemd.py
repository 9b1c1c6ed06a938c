"""I/O: what systemd wants to know, over the socket it names. Without systemd all of it does nothing.

Source: sd_notify(3).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from chef_failover.printable import printable

PATIENCE_S = 5.0
"""How long a message waits while systemd takes none; what `systemctl status` shows does not wait, nor does a choice."""


class Notifier:
    """Speaks to ``NOTIFY_SOCKET`` of ``environ``."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        microseconds = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(microseconds) / 1e6 if microseconds.isdigit() and is_ours else None
        """Seconds within which systemd wants a sign of life, or None."""

    def ready(self) -> None:
        """The service has started, or has reloaded."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The service begins to reload."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The service begins to stop."""
        self._send("STOPPING=1")

    def status(self, line: str) -> None:
        """What ``systemctl status`` shows. A line break in it would begin another message."""
        self._send(f"STATUS={printable(line)}", patience_s=0.0)

    def alive(self) -> None:
        """Feeds the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, message: str, patience_s: float = PATIENCE_S) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(patience_s)
                sock.connect(self._address)
                sock.sendall(message.encode())
        except OSError:
            return  # systemd does not listen, which is no reason to fail
