"""Pure: what makes a request one of Chef's, before it is signed."""

from __future__ import annotations

from urllib.parse import quote

SERVER_API_VERSION = "1"
"""What we ask for: API version 1 is served by every Chef server since 12, and by goiardi."""
CHEF_HEADERS = {
    "Accept": "application/json",
    # nginx before a Chef server answers 200 with an HTML page to a request without this of 10 or more.
    "X-Chef-Version": "16.0.0",
    "X-Ops-Server-API-Version": SERVER_API_VERSION,
}
"""Of every request, signed or not."""
SIGNING_PROTOCOLS = ("1.3", "1.1")
"""Signing protocols, the one to try first at the front."""


def segment(name: str) -> str:
    """``name`` as one part of a path. A Chef server decodes none, so a colon, which names may have, goes as it is."""
    return quote(name, safe=":")
