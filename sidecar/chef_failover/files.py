"""I/O: files where others may have laid something: read with care; and files that are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

SYSTEM_BUNDLES = ("etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/certs/ca-certificates.crt")
"""Below the root: the certificates that the system trusts, on Amazon Linux and Fedora, and on Debian."""


def read(path: Path, limit: int, *, may_be_link: bool = False, only_ours: bool = False) -> bytes:
    """Return what the regular file at ``path`` holds: ``limit`` bytes at the most.

    Nothing that lies there instead is followed, waited for or read without end. ``may_be_link`` is for a path that
    only root can lay; ``only_ours`` is for one that others than root and this very user must not be able to write.

    Raises:
        OSError: it cannot be read, or is a link, a pipe, a device or too long; ``strerror`` says which.
    """
    # Not blocking: a pipe without a writer, or a lease on the file, would hold us up.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | (0 if may_be_link else os.O_NOFOLLOW)
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
            if only_ours and (found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022):
                raise OSError(errno.EPERM, "users other than root can write it", str(path))
            data = file.read(limit + 1)
    except OSError as error:
        if error.errno == errno.ELOOP and not may_be_link:
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from error
        raise
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit // 1024} KiB", str(path))
    return data


def replace(path: Path, data: bytes, mark: str = "") -> None:
    """Make ``data`` the content of ``path``, which everybody may read: all of it or none, whatever happens.

    Where others may replace it at the same time, each has a ``mark`` of its own.

    Raises:
        OSError: the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}{mark}.new")
    temporary.unlink(missing_ok=True)  # of a crash, or a pipe or a link that was laid there
    write_new(temporary, data, 0o644)
    temporary.replace(path)
    flush_directory(path.parent)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Make the file ``path``, where nothing may be yet, with ``data`` and ``mode``, whatever the umask is; flush it.

    Raises:
        OSError: something lies there, or the directory cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def flush_directory(path: Path) -> None:
    """Have what was made, renamed or removed in the directory ``path`` survive a power cut.

    Raises:
        OSError: it cannot be opened or flushed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
