"""Pure: addresses in the configuration."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import attrs

_LABELS = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_URL = re.compile(
    rf"(?:https|HTTPS)://(?P<host>{_LABELS}|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?(?P<path>/[A-Za-z0-9._~%/-]*)?"
)
_ORGANIZATIONS = re.compile("/organizations(/.*|)$")
_LIMIT = 1000
"""Characters of a URL."""


@attrs.frozen
class HostPort:
    """A listening address on this machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_server_url(text: object) -> str:
    """A Chef server's URL: https, a host, maybe a port and a path, and nothing else; without a trailing slash.

    Only the few characters are taken that no two parsers read differently; the Ruby shim takes the same.

    Raises:
        ValueError: it is anything else; the message says what would be right.
    """
    right = "write https://HOST[:PORT][/organizations/ORG]"
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a URL; {right}")
    if "@" in text:
        raise ValueError(f"a URL must not have a user or password; {right}")
    if text.lower().startswith("http://"):
        raise ValueError(f"{text!r} is not encrypted, but root runs what a Chef server sends; write https://…")
    match = _URL.fullmatch(text) if len(text) <= _LIMIT else None
    if match is None or not is_host(match["host"]) or not is_port(match["port"] or "443"):
        raise ValueError(f"{text!r} is not a Chef server's URL; {right}")
    organization = _ORGANIZATIONS.search(match["path"] or "")
    if organization is not None and not re.fullmatch("/[^/]+/*", organization[1]):
        raise ValueError(f"{text!r} does not end with its organization; {right}")
    return "https://" + text[len("https://") :].rstrip("/")


def is_host(text: str) -> bool:
    """Can name lookup take it: an IPv6 address in brackets, or labels that are no longer than DNS has them?"""
    if text.startswith("["):
        try:
            return ipaddress.ip_address(text[1:-1]).version == 6
        except ValueError:
            return False
    return len(text) <= 253 and all(0 < len(label) <= 63 for label in text.split("."))


def is_port(digits: str) -> bool:
    """Is it the number of a port that can be connected to?"""
    return 0 < int(digits) <= 65535


def place(url: str) -> tuple[str, int, str]:
    """Host, port and path of ``url``: two URLs that differ only in how they are written are one place."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 443, parts.path.rstrip("/")


def parse_loopback(text: object) -> HostPort | None:
    """``127.0.0.1:PORT`` or ``[::1]:PORT``; ``off``, which YAML reads as false, is None.

    Raises:
        ValueError: it is anything else, or an address that other machines can reach.
    """
    if text is False or text == "off":
        return None
    right = 'write "127.0.0.1:8473" or off'
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not an address; {right}")
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"{text!r} is not a loopback address; the sidecar serves this machine only; {right}")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{text!r} has no port from 0 to 65535; {right}")
    return HostPort(host, int(port))
