"""Pure: what makes a request one of Chef's, before it is signed."""

from __future__ import annotations

from urllib.parse import quote

SERVER_API_VERSION = "1"
"""What we ask for: API version 1 is served by every Chef server since 12, and by goiardi."""
CHEF_VERSION = "16.0.0"
"""nginx before a Chef server answers 200 with an HTML page to a request without ``X-Chef-Version`` of 10 or more."""
SIGNING_PROTOCOLS = ("1.3", "1.1")
"""Signing protocols, the one to try first at the front."""


def chef_headers() -> dict[str, str]:
    """The headers of every request, signed or not."""
    return {
        "Accept": "application/json",
        "X-Chef-Version": CHEF_VERSION,
        "X-Ops-Server-API-Version": SERVER_API_VERSION,
    }


def segment(name: str) -> str:
    """``name`` as one part of a path. A Chef server decodes none, so a colon, which names may have, goes as it is."""
    return quote(name, safe=":")
