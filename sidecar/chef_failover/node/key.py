"""Shell: the node's key: where it is, and if there is none, a new one.

The places, in order:

1. ``node.client_key``. If it does not exist it is waited for, never made. Only our own place,
   written there, means "a key of its own, whatever else this node has".
2. The systemd credential ``client.pem``: how a service without privileges gets a key that only root may read. Where it
   says that the file was missing, no other key is made. A copy of our own key counts as our own, since chef-client
   may have no other.
3. Our own, in the state directory.
4. chef-client's, in /etc/chef or /etc/cinc: servers know this node by it already. One that we may not read, or cannot
   even see, is no reason to make another: that one would be refused wherever this node is known.
5. A new one, in our own place.

chef-client is told of the first and the third; in the other cases it has its own.
"""

from __future__ import annotations

import enum
import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from chef_failover import files
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.signing import ChefAuth
from chef_failover.config.settings import Config, NoAssociation
from chef_failover.errors import KeyFileError
from chef_failover.node import key_file
from chef_failover.node.key_file import Stamp

if TYPE_CHECKING:
    from chef_failover.chef.https import Signer

log = logging.getLogger(__name__)

ADOPTABLE = (Path("/etc/chef/client.pem"), Path("/etc/cinc/client.pem"))
CREDENTIALS = "CREDENTIALS_DIRECTORY"
_WAY_OUT = (
    "no new key is made, since the servers that know this node would reject it. Give the service"
    " LoadCredential=client.pem:{path}, or set node.client_key to a copy that it may read, or to {own} for"
    " a new key"
)


@attrs.frozen
class Places:
    """Where the node's key may be. ``own`` is a directory, the others are files."""

    own: Path
    configured: Path | None = None
    credential: Path | None = None
    adoptable: tuple[Path, ...] = ADOPTABLE

    @property
    def own_key(self) -> Path:
        """The key that we make."""
        return self.own / key_file.NAME


def places(config: Config, environ: Mapping[str, str] = os.environ) -> Places:
    """The places of ``config`` on this machine."""
    own, configured = config.state_dir, config.node.client_key
    if configured is not None:
        is_own = configured == own / key_file.NAME
        return Places(own, configured=None if is_own else configured, adoptable=())
    directory = environ.get(CREDENTIALS)
    return Places(own, credential=Path(directory) / key_file.NAME if directory else None)


class Origin(enum.Enum):
    """How the node came to its key."""

    CONFIGURED = "as configured"
    CREDENTIAL = "a systemd credential"
    OWN = "its own"
    ADOPTED = "adopted"


@attrs.frozen
class Found:
    """One file that is, or is to be, the node's key."""

    path: Path
    origin: Origin


def find(where: Places) -> Found | None:
    """The key's file, or None where a new one may be made.

    Raises:
        KeyFileError: it cannot be told whether there is one.
    """
    if where.configured is not None:
        return Found(where.configured, Origin.CONFIGURED)
    if where.credential is not None and _exists(where.credential) and not _same(where.credential, where.own_key):
        return Found(where.credential, Origin.CREDENTIAL)
    if _exists(where.own_key):
        return Found(where.own_key, Origin.OWN)
    for path in where.adoptable:
        try:
            if _exists(path):
                return Found(path, Origin.ADOPTED)
        except KeyFileError as error:
            way_out = f"chgrp chef-failover {path.parent} would let the service see it; {_WAY_OUT}"
            raise KeyFileError(f"{error}; {way_out.format(path=path, own=where.own_key)}") from error
    return None


class ClientKey:
    """The node's key, read again whenever its file changes: chef-client may write it long after we started.

    Args:
        config: names a key, or the state directory where one is made.
        node_name: whom `signer` signs for.
        may_make: False when servers know this node by a key: if that is gone, another one would only be refused.
        where: the places to look for the key, if not those of ``config`` on this machine.
        generate: makes a key of that many bits.
    """

    def __init__(
        self,
        config: Config,
        node_name: str,
        *,
        may_make: bool = True,
        where: Places | None = None,
        generate: Callable[[int], PrivateKey] = PrivateKey.generate,
    ) -> None:
        self.node_name = node_name
        self._where = where or places(config)
        self._bits = config.node.key_bits
        self._generate = generate
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._stamp: Stamp | None = None
        self._key: PrivateKey | None = None
        self._path: Path | None = None
        self._trouble: str | None = None
        self._trouble_in_making: str | None = None
        self._is_settled = False
        self._may_make = may_make
        self._is_made_here = may_make and any(not isinstance(one.association, NoAssociation) for one in config.servers)

    @property
    def trouble(self) -> str | None:
        """Why there is no usable key, as far as was seen last; None when there is one, or will be."""
        return self._trouble or self._trouble_in_making

    def signer(self) -> Signer | None:
        """What signs as this node, or None while there is no key that we may read."""
        key = self.private_key()
        return functools.partial(ChefAuth, self.node_name, key) if key is not None else None

    def private_key(self) -> PrivateKey | None:
        """The key, or None while there is none that we may read; `trouble` then says why."""
        with self._lock:
            try:
                self._key, trouble = self._look(), None
            except KeyFileError as error:
                self._key, trouble = None, f"node.client_key: {error}"
            if trouble and trouble != self._trouble:
                log.warning("%s; probing servers unsigned", trouble)
            self._trouble = trouble
            if self._key is not None:
                self._trouble_in_making = None
            return self._key

    def ensure(self) -> PrivateKey:
        """The key, made if this node has none. It takes as long as making one does; may be called from any thread.

        Raises:
            KeyFileError: there is one that cannot be used, or none can be made.
        """
        with self._making:
            key = self.private_key()
            if key is None and self._trouble is None:
                if not self._may_make or self._path is not None:
                    raise KeyFileError(
                        "node.client_key: the key by which servers know this node is missing; waiting for it."
                        " Put it back, or start fresh with chef-failover seal --force",
                        is_passing=True,
                    )
                self._make()
                key = self.private_key()
            if key is None:
                raise KeyFileError(self.trouble or "node.client_key: the new key has disappeared")
            if not self._is_settled and self._path == self._where.own_key:
                self._settle()
            return key

    @property
    def is_awaited(self) -> bool:
        """There is no key yet, and one is to come: it was promised, or registering makes it.

        A key that the last probe was signed with counts as there. Each run asks this, so it costs few system calls.
        """
        if self._key is not None or not (self._is_made_here or self._where.configured):
            return False
        try:
            found = find(self._where)
            return found is None or not _exists(found.path)
        except KeyFileError:  # we may not look there, and chef-client may
            return False

    def path_for_chef_client(self) -> Path | None:
        """The key that chef-client is to use, or None where it has its own."""
        try:
            found = find(attrs.evolve(self._where, adoptable=()))
        except KeyFileError:
            return None
        return None if found is None or found.origin is Origin.CREDENTIAL else found.path

    def _look(self) -> PrivateKey | None:
        found = find(self._where)
        if found is None:
            return None
        try:
            stamp = key_file.stamp(found.path)
            if self._key is not None and stamp == self._stamp:
                return self._key
            key = key_file.read(found.path, may_be_link=found.origin is not Origin.OWN)
        except KeyFileError as error:
            raise KeyFileError(self._explained(found, str(error))) from error
        self._stamp = stamp
        if found.path != self._path:
            log.info("the node's key is %s, %s", found.path, found.origin.value)
            self._path = found.path
        return key

    def _explained(self, found: Found, what: str) -> str:
        if found.origin is Origin.ADOPTED:
            return f"{what}; {_WAY_OUT.format(path=found.path, own=self._where.own_key)}"
        if found.origin is Origin.CONFIGURED and not os.path.lexists(found.path):
            return f"{what}; waiting for it (a configured key is never created)"
        return what

    def _make(self) -> None:
        try:
            key_file.create(self._where.own, self._generate(self._bits))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            said = f"node.client_key: cannot create a key in {self._where.own}: {reason}"
            if said != self._trouble_in_making:
                log.warning("%s", said)
            self._trouble_in_making = said
            raise KeyFileError(said) from error
        self._is_settled = True

    def _settle(self) -> None:
        """A key that a former process has made and not lived to flush."""
        try:
            key_file.settle(self._where.own)
        except OSError as error:
            log.warning("%s: %s; leftovers of a crash stay there", self._where.own, error.strerror)
        self._is_settled = True


def _same(one: Path, other: Path) -> bool:
    """Whether both are files that we may read, with the same content."""
    try:
        return files.read(one, key_file.SIZE_LIMIT) == files.read(other, key_file.SIZE_LIMIT)
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise KeyFileError(f"cannot tell whether {path} exists: {error.strerror}") from error
    return True
