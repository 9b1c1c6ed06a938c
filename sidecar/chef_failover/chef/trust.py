"""I/O: the certificates that a probe trusts: those that chef-client would, no more and no less.

chef-client adds up the default store of its OpenSSL, ``ssl_ca_file`` and its ``trusted_certs``. A packaged client has
an OpenSSL of its own, whose store takes the place of the system's.

chef-client reads as root and we do not. What we may not read is left out, and said once with what to do. A certificate
that is lacking then is this node's trouble, and so is a file in ``trusted_certs`` with which chef-client does not run.

Sources: github.com/chef/chef lib/chef/http/ssl_policies.rb; Ruby's ext/openssl, which adds ``ca_file`` to the store and
takes the first certificate of a file in ``trusted_certs``, DER or PEM.
"""

from __future__ import annotations

import grp
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import cachetools

from chef_failover.chef import installed
from chef_failover.chef.own_trouble import EXHAUSTED
from chef_failover.files import SYSTEM_BUNDLES

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

_FIRST_PEM = re.compile(rb".*?-----BEGIN (X509 )?CERTIFICATE-----.*?-----END (X509 )?CERTIFICATE-----", re.DOTALL)


@attrs.frozen
class Trust:
    """What is trusted, and in words what is not that should be."""

    context: ssl.SSLContext
    forbidden: tuple[str, ...] = ()
    """What chef-client reads and this user may not."""
    lacking: tuple[str, ...] = ()
    """What chef-client passes over as well."""
    fatal: tuple[str, ...] = ()
    """What ends every run."""


class TrustStore:
    """TLS contexts, one for each ``ca_file``, made again when a file that went into one has changed.

    ``trusted_certs_dirs`` None are those of the client that is installed; ``root`` is above etc and opt.
    """

    def __init__(
        self,
        trusted_certs_dirs: Sequence[Path] | None = None,
        root: Path = Path("/"),
        which: Callable[[str], str | None] = shutil.which,
    ) -> None:
        self._trusted_certs_dirs = trusted_certs_dirs
        self._root = root
        self._which = which
        self._known: cachetools.LRUCache[object, Trust] = cachetools.LRUCache(maxsize=8)
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def look(self, ca_file: Path | None) -> Trust:
        """The same as `read`; what is wrong with it is logged once."""
        trust = self.read(ca_file)
        with self._lock:
            new = {*trust.forbidden, *trust.lacking, *trust.fatal} - self._said
            self._said |= new
        for words in new:
            log.warning("%s", words)
        return trust

    def read(self, ca_file: Path | None) -> Trust:
        """What chef-client trusts that has ``ca_file`` as its ``ssl_ca_file``; the context leaves names to `names`.

        Raises:
            OSError: ``ca_file`` holds no certificate, which Ruby refuses, too.
        """
        client = installed.client(self._root, self._which)
        # For a Python whose OpenSSL is not the system's; one that is reads the same.
        places = [self._root / name for name in SYSTEM_BUNDLES]
        if client.openssl:
            # Our environment is not chef-client's, so SSL_CERT_FILE names no other.
            places = [client.openssl / "cert.pem", client.openssl / "certs/cacert.pem"]
        bundle = next(filter(installed.is_there, places), None)
        directories = self._trusted_certs_dirs
        if directories is None:
            directories = (self._root / f"etc/{client.product}/trusted_certs",)
        certificates = [path for directory in directories for path in _certificates(directory)]
        key = (client, ca_file, *(_stamp(path) for path in (bundle, ca_file, *certificates) if path))
        with self._lock:
            trust = self._known.get(key)
            if trust is None:
                trust = self._known[key] = _load(client.openssl, bundle, ca_file, certificates)
        return trust


def _certificates(directory: Path) -> list[Path]:
    """What Ruby's glob finds there. A directory that may not be listed stands for what is in it."""
    try:
        paths = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return [directory]
    return [path for path in paths if path.name.endswith((".crt", ".pem")) and not path.name.startswith(".")]


def _stamp(path: Path) -> tuple[object, ...]:
    """What changes with the file, also when only its mode does."""
    try:
        found = path.stat()
    except OSError as error:
        return path, error.errno
    return path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _load(openssl: Path | None, bundle: Path | None, ca_file: Path | None, certificates: Sequence[Path]) -> Trust:
    import ssl  # noqa: PLC0415 - see `https`

    # Not create_default_context: since Python 3.13 it is stricter than the OpenSSL of any chef-client.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if openssl is None:
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(capath=openssl / "certs")
    forbidden, lacking = [], []
    for path in filter(None, (bundle, ca_file)):
        try:
            context.load_verify_locations(path)
        except PermissionError as error:
            forbidden.append(_what_to_do([path], error))
        except OSError as error:
            if error.errno in EXHAUSTED or (path == ca_file and not isinstance(error, FileNotFoundError)):
                raise
            lacking.append(f"cannot trust {path}: {error.strerror or error}")
    also_forbidden, fatal = _add_certificates(context, certificates)
    return Trust(context, (*forbidden, *also_forbidden), tuple(lacking), tuple(fatal))


def _add_certificates(context: ssl.SSLContext, paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    closed: dict[Path, OSError] = {}
    fatal = []
    for path in paths:
        try:
            context.load_verify_locations(cadata=_first_certificate(path.read_bytes()))
        except PermissionError as error:
            closed[path] = error
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise  # another time it can be read
            why = (isinstance(error, OSError) and error.strerror) or error
            fatal.append(f"chef-client does not start with this trusted certificate: {path}: {why}")
    forbidden = [_what_to_do([*closed], next(iter(closed.values())))] if closed else []
    return forbidden, fatal


def _first_certificate(data: bytes) -> bytes | str:
    """The one that Ruby takes, as ``cadata`` wants it."""
    if data[:1] == b"\x30" and len(data) > 1:  # DER: a sequence, its length, and whatever follows it
        length_octets = data[1] & 0x7F if data[1:2] > b"\x80" else 0
        length = int.from_bytes(data[2 : 2 + length_octets]) if length_octets else data[1]
        return data[: 2 + length_octets + length]
    first = _FIRST_PEM.match(data)
    return first[0].decode("ascii", "ignore") if first else ""


def _what_to_do(paths: Sequence[Path], error: OSError) -> str:
    """Return one sentence for all ``paths``, since they are closed together: a directory, or files that root made."""
    path, more = paths[0], f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    closed = [one for one in reversed(path.parents) if not os.access(one, os.X_OK, effective_ids=True)]
    where, mode = (str(closed[0]), "x") if closed else (" ".join(map(str, paths)), "rx" if path.is_dir() else "r")
    try:
        group = grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        group = str(os.getegid())
    return (
        f"chef-client trusts {path}{more}, but the sidecar cannot read {'them' if more else 'it'} ({error.strerror}):"
        f" chgrp {group} {where} && chmod g+{mode} {where}"
    )
