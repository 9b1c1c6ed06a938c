"""Pure: whether a certificate is for the host that was asked, by Ruby's rules, which are chef-client's.

OpenSSL's own rules differ both ways: they take a common name beside an address in subjectAltName, and no address as
a common name, no part of a label as a wildcard, and none right below a top-level domain.

Source: github.com/ruby/openssl lib/openssl/ssl.rb, ``verify_certificate_identity``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any


def mismatch(certificate: Mapping[str, Any], host: str) -> str | None:
    """Why ``certificate``, as ``SSLSocket.getpeercert`` has it, is not for ``host``, a name or an address."""
    alternatives = certificate.get("subjectAltName", ())
    names = [value for kind, value in alternatives if kind == "DNS"]
    addresses = [value for kind, value in alternatives if kind == "IP Address"]
    if not names and not addresses:
        subject = [attribute for one in certificate.get("subject", ()) for attribute in one]
        names = [value for kind, value in subject if kind == "commonName"]
    address = _address(host)
    if any(_matches(host, name) for name in names) or (address and address in map(_address, addresses)):
        return None
    return f"{'IP address' if address else 'Hostname'} mismatch, certificate is not valid for {host!r}"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _matches(host: str, name: str) -> bool:
    if not (name.isascii() and host.isascii()):
        return False
    parts, wanted = (text.lower().rstrip(".").split(".") for text in (name, host))
    if len(parts) < 2:
        return name == host
    return len(parts) == len(wanted) and _label_matches(wanted[0], parts[0]) and parts[1:] == wanted[1:]


def _label_matches(label: str, pattern: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return label == pattern
    if "*" in after or (label.startswith("xn--") and pattern != "*"):
        return False
    return len(before) + len(after) < len(label) and label.startswith(before) and label.endswith(after)
