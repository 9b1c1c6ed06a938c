"""I/O: the files of a node's key. A key is read with suspicion, and made once, whole, and never over another.

A key that servers know and that is lost or overwritten cannot be replaced without a person. So a new one is written
beside its place, flushed, and linked to its name: link(2) never overwrites, and whenever the machine stops, there is a
whole key or none. Who makes one holds a lock on the directory, so that what a crash has left beside it can be removed.

Its public half stays beside it as ``client.pub``: for a person who registers the node by hand, and as the proof that we
made the key, written before the key itself. A key that a person put there has no such proof, and is never moved or
removed by us.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from chef_failover import files
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.errors import KeyFileError

NAME = "client.pem"
PUBLIC_NAME = "client.pub"
LOCK_NAME = ".client.lock"
LEFTOVERS = (".client.pem.new", ".client.pub.new")
"""What a crash may leave; the first is a private key."""
SIZE_LIMIT = 64 * 1024
_KINDS = {
    b"(missing)": "LoadCredential found no file when the service started; create it, then restart the service",
    b"ENCRYPTED": "the key has a passphrase; remove it with openssl pkey",
    b"BEGIN EC PRIVATE KEY": "this is an EC key; Chef needs an RSA key",
    b"BEGIN OPENSSH PRIVATE KEY": "this is an OpenSSH-format key; convert it with ssh-keygen -p -m PEM",
    b"BEGIN PUBLIC KEY": "this is a public key; the private key is needed",
    b"BEGIN CERTIFICATE": "this is a certificate; the private key is needed",
}

Stamp = tuple[str, int, int, int, int]


def stamp(path: Path) -> Stamp:
    """What changes whenever the file at ``path`` does, also when only its mode or owner changes.

    Raises:
        KeyFileError: there is none, or it cannot be seen.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(path: Path, *, may_be_link: bool = True) -> PrivateKey:
    """The RSA key in ``path``, PEM, PKCS#1 or PKCS#8, without a passphrase.

    Raises:
        KeyFileError: there is none, we may not read it, or it is something else. Nothing of it is in the message.
    """
    try:
        pem = files.read(path, SIZE_LIMIT, may_be_link=may_be_link)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    try:
        return PrivateKey.from_pem(pem)
    except ValueError as error:
        what = next((sentence for mark, sentence in _KINDS.items() if mark in pem), str(error))
        raise KeyFileError(f"{path}: {what}") from error


def create(directory: Path, key: PrivateKey) -> None:
    """Make ``key`` the one in ``directory``, unless there is one by then. When this returns, it survives a power cut.

    Raises:
        OSError: the directory cannot be written, or is full; then no key has been made.
    """
    path, temporary, temporary_public = (directory / name for name in (NAME, *LEFTOVERS))
    with _sole_maker(directory):
        if os.path.lexists(path):
            return
        try:
            files.write_new(temporary_public, key.public_pem(), 0o644)
            files.write_new(temporary, key.private_pem(), 0o600)
            temporary_public.replace(directory / PUBLIC_NAME)
            files.flush_directory(directory)
            with contextlib.suppress(FileExistsError):  # another program, which does not take our lock, was faster
                os.link(temporary, path)
        finally:
            _remove_leftovers(directory)


def settle(directory: Path) -> None:
    """Make sure that the key in ``directory`` survives a power cut, and remove what a crash has left.

    Raises:
        OSError: the directory cannot be used.
    """
    with _sole_maker(directory):
        pass


def is_ours(directory: Path) -> bool:
    """Whether we made the key that is in ``directory`` now."""
    try:
        proof = files.read(directory / PUBLIC_NAME, SIZE_LIMIT)
        return read(directory / NAME, may_be_link=False).public_pem() == proof
    except (OSError, KeyFileError):
        return False


@contextlib.contextmanager
def _sole_maker(directory: Path) -> Iterator[None]:
    # Not the directory itself is locked: every user who may read it could hold that lock for ever.
    lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_leftovers(directory)
        yield
        files.flush_directory(directory)
    finally:
        os.close(lock)


def _remove_leftovers(directory: Path) -> None:
    for name in LEFTOVERS:
        with contextlib.suppress(FileNotFoundError):
            (directory / name).unlink()
