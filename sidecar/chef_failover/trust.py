"""I/O: the certificates that a probe trusts, which are the ones that chef-client would.

chef-client trusts the system's bundle, or ``ssl_ca_file`` in its place, and every certificate in ``trusted_certs``.
Sources: github.com/chef/chef lib/chef/http/ssl_policies.rb.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import cachetools

TRUSTED_CERTS_DIRS = (Path("/etc/chef/trusted_certs"), Path("/etc/cinc/trusted_certs"))
_BUNDLES = (Path("/etc/pki/tls/certs/ca-bundle.crt"), Path("/etc/ssl/certs/ca-certificates.crt"))
"""Where distributions keep the bundle, for a Python whose own OpenSSL looks elsewhere."""


class TrustStore:
    """TLS contexts, one for each ``ca_file``, made anew when a file that went into one has changed."""

    def __init__(self, trusted_certs_dirs: Sequence[Path] = TRUSTED_CERTS_DIRS) -> None:
        self._trusted_certs_dirs = trusted_certs_dirs
        self._contexts: cachetools.LRUCache[object, ssl.SSLContext] = cachetools.LRUCache(maxsize=8)
        self._lock = threading.Lock()

    def context(self, ca_file: Path | None) -> ssl.SSLContext:
        """A context that verifies chain and name as chef-client does. Its sockets are `deadline.DeadlineSocket`.

        Raises:
            OSError: ``ca_file`` cannot be read; ``ssl.SSLError`` (one of those) when it holds no certificate.
        """
        extra = sorted(self._trusted_certs())
        bundles = [ca_file] if ca_file else [bundle for bundle in _BUNDLES if bundle.exists()][:1]
        key = tuple((str(path), path.stat().st_mtime_ns) for path in (*bundles, *extra))
        with self._lock:
            context = self._contexts.get((ca_file, key))
            if context is None:
                context = self._contexts[ca_file, key] = _make_context(bundles, extra, is_system=ca_file is None)
        return context

    def _trusted_certs(self) -> Iterable[Path]:
        for directory in self._trusted_certs_dirs:
            for pattern in ("*.pem", "*.crt"):
                yield from directory.glob(pattern)


def _make_context(bundles: Sequence[Path], extra: Iterable[Path], *, is_system: bool) -> ssl.SSLContext:
    # Not create_default_context: since Python 3.13 it is stricter than the OpenSSL of any chef-client.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for bundle in bundles:
        context.load_verify_locations(cafile=bundle)
    if is_system and not bundles:
        context.set_default_verify_paths()
    for path in extra:
        try:
            context.load_verify_locations(cafile=path)
        except OSError:
            continue  # chef-client skips what is no certificate, too
    return context
