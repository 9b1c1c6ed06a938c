"""I/O: Chef's signed requests, as ``requests`` authentication.

A Chef server knows a node by its client key: each request carries a signature over method, path, body hash, time and
name. Protocol 1.3 (SHA-256; every server since Chef 12.4) signs the path itself; 1.1 and 1.0 (SHA-1) sign a hash of it,
by an RSA encryption without a digest's name. We speak 1.3 and fall back to 1.1 where a server refuses it.

Sources: github.com/chef/mixlib-authentication signedheaderauth.rb; github.com/chef/chef-server oc_chef_wm_base.erl.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.protocol import CHEF_HEADERS, SERVER_API_VERSION, SIGNING_PROTOCOLS
from chef_failover.errors import KeyFileError

if TYPE_CHECKING:
    from requests import PreparedRequest

_LINE = 60
"""A signature is cut into header lines of this length."""


def canonical_path(path: str) -> str:
    """``path`` without doubled or trailing slashes and without a query, as both sides sign it."""
    collapsed = re.sub("/+", "/", path.partition("?")[0])
    return collapsed if len(collapsed) == 1 else collapsed.removesuffix("/")


def digest(data: bytes, protocol: str) -> str:
    """The hash by ``protocol``, in base64, as ``X-Ops-Content-Hash`` has that of the body."""
    # SHA-1 is what protocols 1.0 and 1.1 are made of; they are spoken only to servers that know no better.
    algorithm = hashlib.sha256 if protocol == "1.3" else functools.partial(hashlib.sha1, usedforsecurity=False)
    return base64.b64encode(algorithm(data).digest()).decode()


def canonical_request(
    protocol: str, *, method: str, path: str, body_hash: str, timestamp: str, user: str, api_version: str
) -> bytes:
    """The bytes that are signed. ``protocol`` is "1.0", "1.1" or "1.3"; ``timestamp`` is ISO 8601 in UTC with a Z."""
    if protocol == "1.3":
        lines: tuple[str, ...] = (
            f"Method:{method.upper()}",
            f"Path:{canonical_path(path)}",
            f"X-Ops-Content-Hash:{body_hash}",
            "X-Ops-Sign:version=1.3",
            f"X-Ops-Timestamp:{timestamp}",
            f"X-Ops-UserId:{user}",
            f"X-Ops-Server-API-Version:{api_version}",
        )
    else:
        lines = (
            f"Method:{method.upper()}",
            f"Hashed Path:{digest(canonical_path(path).encode(), protocol)}",
            f"X-Ops-Content-Hash:{body_hash}",
            f"X-Ops-Timestamp:{timestamp}",
            f"X-Ops-UserId:{digest(user.encode(), protocol) if protocol == '1.1' else user}",
        )
    return "\n".join(lines).encode()


def sign(key: PrivateKey, protocol: str, canonical: bytes) -> bytes:
    """The raw signature of ``canonical``."""
    return key.sign_sha256(canonical) if protocol == "1.3" else key.sign_bare(canonical)


@attrs.frozen
class ChefAuth:
    """Signs each request as ``user`` with ``key``, by ``protocol``, at ``utc_now()`` (an aware datetime)."""

    user: str
    key: PrivateKey
    protocol: str = SIGNING_PROTOCOLS[0]
    utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the headers; ``requests`` calls this as the last step before sending."""
        body = request.body or b""
        body_hash = digest(body.encode() if isinstance(body, str) else bytes(body), self.protocol)
        timestamp = self.utc_now().strftime("%Y-%m-%dT%H:%M:%SZ")
        request.headers.update(CHEF_HEADERS)
        canonical = canonical_request(
            self.protocol,
            method=request.method or "GET",
            path=urlsplit(request.url or "").path or "/",
            body_hash=body_hash,
            timestamp=timestamp,
            user=self.user,
            api_version=SERVER_API_VERSION,
        )
        signature = base64.b64encode(sign(self.key, self.protocol, canonical)).decode()
        algorithm = "sha256" if self.protocol == "1.3" else "sha1"
        request.headers["X-Ops-Sign"] = f"algorithm={algorithm};version={self.protocol};"
        request.headers["X-Ops-Userid"] = self.user
        request.headers["X-Ops-Timestamp"] = timestamp
        request.headers["X-Ops-Content-Hash"] = body_hash
        for number, start in enumerate(range(0, len(signature), _LINE), start=1):
            request.headers[f"X-Ops-Authorization-{number}"] = signature[start : start + _LINE]
        return request


def load_key(path: Path) -> PrivateKey:
    """The RSA key in the PEM file ``path``, PKCS#1 ("RSA PRIVATE KEY") or PKCS#8 ("PRIVATE KEY"), without a passphrase.

    Raises:
        KeyFileError: there is no such file, we may not read it, or it holds no RSA key. The key is not in the message.
    """
    try:
        return PrivateKey.from_pem(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"client key {path}: {error.strerror}") from error
    except ValueError as error:
        raise KeyFileError(f"client key {path}: {error}") from error
