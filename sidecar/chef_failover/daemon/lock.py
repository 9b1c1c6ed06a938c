"""I/O: locks that end with the process, so that a state directory and a socket have one daemon."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from chef_failover.errors import AlreadyRunningError

FILE_NAME = ".lock"
"""Stays when the process has ended; the lock does not."""


def hold(path: Path, what: str) -> int:
    """Lock the file ``path`` until this process ends, and return its descriptor. ``what`` it stands for is told.

    Raises:
        AlreadyRunningError: another process has it.
        OSError: there can be no such file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AlreadyRunningError(f"{what}: another sidecar uses it and holds the lock on {path}") from error
    return descriptor
