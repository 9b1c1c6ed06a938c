"""I/O: connections under one absolute deadline for all that is ever waited for on them.

``requests`` has a timeout for each step and each read, so a server that sends a byte a second is never late. Here the
sockets of a connection shorten their timeout, before each wait, to what is left. And because only the place that fails
knows what it was doing, a failure is given its class here, as `ProbeError`, which neither urllib3 nor requests touch.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from chef_failover.chef import limits
from chef_failover.chef.lookup import Address
from chef_failover.chef.own_trouble import EXHAUSTED, dead_end
from chef_failover.model.model import Outcome


class ProbeError(Exception):
    """A request failed; ``never_left_node`` and ``is_node_trouble`` as in `ProbeResult`."""

    def __init__(
        self, outcome: Outcome, detail: str, *, never_left_node: bool = False, is_node_trouble: bool = False
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.never_left_node = never_left_node
        self.is_node_trouble = is_node_trouble


class TooLargeError(ProbeError):
    """The answer is a success, and too large to be read; ``head`` is how it begins."""

    def __init__(self, detail: str, head: bytes) -> None:
        super().__init__(Outcome.NOT_CHEF, detail)
        self.head = head


class Deadline:
    """An instant of ``clock`` after which the answer is of no use."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._at = clock() + timeout_s

    def left_s(self) -> float:
        """Seconds left, never quite 0: what waits on it then fails as late."""
        return max(0.001, self._at - self._clock())

    def is_over(self) -> bool:
        """Whether it has passed."""
        return self._clock() >= self._at


class BoundedSocket:
    """A socket whose every wait ends at ``deadline``, and what never has to wait, too."""

    deadline: Deadline
    _received = 0

    def recv_into(self, *args: Any, **kwargs: Any) -> int:  # noqa: ANN401
        """As ever; in vain once it is too late, or too much."""
        count: int = self._within(super().recv_into, *args, **kwargs)  # type: ignore[misc]
        self._received += count
        if self._received > limits.CONNECTION_BYTES:
            raise ProbeError(
                Outcome.NOT_CHEF, f"more than {limits.CONNECTION_BYTES // 1024**2} MiB received on one connection"
            )
        return count

    def sendall(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """As ever; in vain once it is too late."""
        self._within(super().sendall, *args, **kwargs)  # type: ignore[misc]

    def _within(self, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self.settimeout(self.deadline.left_s())  # type: ignore[attr-defined]
        try:
            if self.deadline.is_over():
                raise TimeoutError
            return operation(*args, **kwargs)
        except TimeoutError as error:
            timeout_s = self.deadline.timeout_s
            raise ProbeError(Outcome.READ_TIMEOUT, f"no complete answer within {timeout_s:.1f} s") from error
        except OSError as error:
            raise_if_exhausted(error)
            if "CERTIFICATE_REQUIRED" in str(getattr(error, "reason", "")):
                words = "TLS: its front end demands a client certificate, and the sidecar has none"
                raise ProbeError(Outcome.TLS, words) from error
            raise ProbeError(Outcome.REFUSED, "connection reset before the answer was complete") from error


class _TcpSocket(BoundedSocket, socket.socket):
    pass


def connect(addresses: list[Address], deadline: Deadline) -> socket.socket:
    """A connection to the first address that takes one; each gets its share of the time that is left.

    Raises:
        ProbeError: none does.
    """
    if not addresses:
        raise ProbeError(Outcome.DNS, "the host name has no address")
    failures = []
    for index, address in enumerate(addresses):
        try:
            return _connect_to(address, deadline, deadline.left_s() / (len(addresses) - index))
        except OSError as error:
            failures.append(_connect_error(error, address, deadline))
            failures[-1].__cause__ = error
    # What a server did says more than that this node has no IPv6, say.
    raise min(failures, key=lambda failure: failure.is_node_trouble)


def raise_if_exhausted(error: OSError) -> None:
    """Raise a `ProbeError` if it was this machine that had nothing left to send with."""
    if error.errno in EXHAUSTED:
        raise _exhausted(error) from error


def _exhausted(error: OSError) -> ProbeError:
    return ProbeError(Outcome.REFUSED, f"this node is out of resources: {error.strerror}", is_node_trouble=True)


def _connect_to(address: Address, deadline: Deadline, timeout_s: float) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = _TcpSocket(family, kind, protocol)
    try:
        sock.settimeout(timeout_s)
        sock.connect(where)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(deadline.left_s())
    except OSError:
        sock.close()
        raise
    sock.deadline = deadline
    return sock


def _connect_error(error: OSError, address: Address, deadline: Deadline) -> ProbeError:
    if isinstance(error, TimeoutError):
        return ProbeError(Outcome.CONNECT_TIMEOUT, f"connect timed out after {deadline.timeout_s:.1f} s")
    if isinstance(error, ConnectionRefusedError):
        return ProbeError(Outcome.REFUSED, "connection refused")
    if error.errno in EXHAUSTED:
        return _exhausted(error)
    ours = dead_end(address[0], address[4])
    if ours is not None:
        return ProbeError(Outcome.REFUSED, f"connect: {ours}", never_left_node=True, is_node_trouble=True)
    return ProbeError(Outcome.REFUSED, f"connect: {error.strerror}")
