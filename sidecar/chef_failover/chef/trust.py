"""I/O: the certificates that a probe trusts, which are the ones that chef-client would.

chef-client trusts its own or the system's bundle, ``ssl_ca_file`` beside it, and the certificates in ``trusted_certs``.
Sources: github.com/chef/chef lib/chef/http/ssl_policies.rb; Ruby's Net::HTTP, which adds ca_file to the store it has.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cachetools

from chef_failover.chef.own_trouble import EXHAUSTED

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

TRUSTED_CERTS_DIRS = (Path("/etc/chef/trusted_certs"), Path("/etc/cinc/trusted_certs"))
_BUNDLES = (
    Path("/opt/chef/embedded/ssl/certs/cacert.pem"),
    Path("/opt/cinc/embedded/ssl/certs/cacert.pem"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/certs/ca-certificates.crt"),
)
"""The bundle is the first of these: a packaged chef-client brings its own, others use the distribution's."""
_CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class TrustStore:
    """TLS contexts, one for each ``ca_file``, made anew when a file that went into one has changed."""

    def __init__(self, trusted_certs_dirs: Sequence[Path] = TRUSTED_CERTS_DIRS) -> None:
        self._trusted_certs_dirs = trusted_certs_dirs
        self._contexts: cachetools.LRUCache[object, ssl.SSLContext] = cachetools.LRUCache(maxsize=8)
        self._lock = threading.Lock()

    def context(self, ca_file: Path | None) -> ssl.SSLContext:
        """A context that verifies chain and name as chef-client does.

        Raises:
            OSError: ``ca_file`` cannot be read; ``ssl.SSLError`` (one of those) when it holds no certificate.
        """
        extra = sorted(self._trusted_certs())
        bundles = [bundle for bundle in _BUNDLES if bundle.exists()][:1] + ([ca_file] if ca_file else [])
        key = tuple((str(path), path.stat().st_mtime_ns) for path in (*bundles, *extra))
        with self._lock:
            context = self._contexts.get(key)
            if context is None:
                context = self._contexts[key] = _make_context(bundles, extra)
        return context

    def _trusted_certs(self) -> Iterator[Path]:
        """What stands in ``trusted_certs`` and is there; a link that leads nowhere is not."""
        for directory in self._trusted_certs_dirs:
            for pattern in ("*.pem", "*.crt"):
                yield from (path for path in directory.glob(pattern) if path.exists())


def _make_context(bundles: Sequence[Path], extra: Sequence[Path]) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - see `https`

    # Not create_default_context: since Python 3.13 it is stricter than the OpenSSL of any chef-client.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_default_verify_paths()
    for bundle in bundles:
        context.load_verify_locations(cafile=bundle)
    for path in extra:
        try:
            # Ruby, and so chef-client, takes the first certificate of a file and no other.
            first = _CERTIFICATE.search(path.read_bytes())
            context.load_verify_locations(cadata=first[0].decode("ascii") if first else "")
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise  # another time it can be read
            log.warning("%s is not a certificate (%s); chef-client refuses to run with it there", path, error)
    return context
