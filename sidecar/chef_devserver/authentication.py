"""Pure: the server's half of Chef's signed requests, with the checks and the texts of erchef.

Sources: github.com/chef/chef-server chef_authn.erl (``validate_headers``: presence, clock, signing description, in this
order), chef_wm_malformed.erl (texts and statuses) and oc_chef_wm_base.erl (``verify_request_signature``).
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from chef_devserver.messages import Request, Response, error_response
from chef_failover.chef.signing import canonical_request, digest

SKEW = datetime.timedelta(seconds=900)
"""How far a client's clock may be off, either way (``auth_skew``)."""
_REQUIRED = ("X-Ops-UserId", "X-Ops-Timestamp", "X-Ops-Sign", "X-Ops-Content-Hash")


def malformed(request: Request, protocols: frozenset[str], now: datetime.datetime) -> Response | None:
    """Why the headers cannot be right from any sender; None when they can. ``now`` is aware."""
    missing = [name for name in _REQUIRED if name.lower() not in request.headers]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        return error_response(400, f"missing required authentication header(s) {names}")
    try:
        sent = datetime.datetime.strptime(request.headers["x-ops-timestamp"], "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return error_response(401, "bad header(s) 'X-Ops-Timestamp'")
    if abs(now - sent) > SKEW:
        return unsynchronized(request.user)
    if _protocol(request) not in protocols:
        return error_response(400, "Unsupported authentication protocol version")
    return None


def unauthorized(request: Request, public_key_pem: str | None) -> Response | None:
    """Why the signature is not by this key (None or empty: the client is unknown, or has none); None when it is."""
    if not public_key_pem:
        return unknown_client(request.user)
    protocol = _protocol(request)
    canonical = canonical_request(
        protocol,
        method=request.method,
        path=request.path,
        body_hash=digest(request.body, protocol),
        timestamp=request.headers["x-ops-timestamp"],
        user=request.user,
        api_version=request.headers.get("x-ops-server-api-version", "0"),
    )
    try:
        verify(public_key(public_key_pem), protocol, _signature(request), canonical)
    except (InvalidSignature, ValueError):
        return bad_signature(request.user)
    return None


def public_key(pem: str) -> rsa.RSAPublicKey:
    """The RSA key in ``pem``.

    Raises:
        ValueError: there is none.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError("not a supported key") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return key


def unknown_client(name: str) -> Response:
    """401: there is no such client."""
    return _unauthorized(f"Failed to authenticate as '{name}'. Ensure that your node_name and client key are correct.")


def bad_signature(name: str) -> Response:
    """401: the client has another key."""
    return _unauthorized(f"Invalid signature for user or client '{name}'")


def unsynchronized(name: str) -> Response:
    """401: the client's clock is wrong."""
    return error_response(401, f"Failed to authenticate as {name}. Synchronize the clock on your host.")


def _unauthorized(message: str) -> Response:
    return error_response(401, message).having(("WWW-Authenticate", 'X-Ops-Sign version="1.0" version="1.1"'))


def _protocol(request: Request) -> str:
    found = re.search(r"version=([\d.]+)", request.headers["x-ops-sign"])
    return found.group(1) if found else ""


def _signature(request: Request) -> bytes:
    lines: list[str] = []
    while line := request.headers.get(f"x-ops-authorization-{len(lines) + 1}"):
        lines.append(line)
    try:
        return base64.b64decode("".join(lines), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def verify(key: rsa.RSAPublicKey, protocol: str, signature: bytes, canonical: bytes) -> None:
    """Check a signature, by another library than the one that makes ours.

    Raises:
        InvalidSignature: it is not this key's, or not over ``canonical``.
    """
    if protocol == "1.3":
        key.verify(signature, canonical, padding.PKCS1v15(), hashes.SHA256())
    elif key.recover_data_from_signature(signature, padding.PKCS1v15(), None) != canonical:
        raise InvalidSignature
