"""Pure: the proxy that chef-client goes through, by its own reading of the environment.

Only the names in small letters count, and no ``all_proxy``. Whatever the scheme, a proxy is spoken to in plain text;
without one the port is that of https. Userinfo is sent as it stands.

An entry of ``no_proxy`` is the end of a name, ``*`` before it or not; it knows no ports and no networks. An empty entry
that others follow is the end of every name.

Sources: github.com/chef/chef chef-config/lib/chef-config/config.rb (``proxy_uri``) and mixin/fuzzy_hostname_matcher.rb,
lib/chef/http/basic_client.rb; github.com/gamache/fuzzyurl.rb.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

_PROXY = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?:(?P<user>[^\s@/:?#]*)(?::(?P<password>[^\s@/?#]*))?@)?"
    r"(?P<host>[A-Za-z0-9._~%!$&'()*+,;=-]+)(?::(?P<port>[0-9]*))?(?:(?!//)[/?#]\S*)?"
)
_PORTS = {"https": 443, None: 443}


def proxy_for(host: str, environ: Mapping[str, str]) -> str | None:
    """The proxy to ``host`` for https, as ``http://[USER:PASSWORD@]HOST:PORT``; None where chef-client takes none.

    Raises:
        ValueError: chef-client cannot use what ``https_proxy`` says.
    """
    words = environ.get("https_proxy", "").strip()
    if not words or _is_excepted(host, environ.get("no_proxy", "")):
        return None
    proxy = _PROXY.fullmatch(words)
    if proxy is None:
        raise ValueError("chef-client cannot use the https_proxy of the environment: write http://HOST:PORT")
    userinfo = f"{quote(proxy['user'], '')}:{quote(proxy['password'] or '', '')}@" if proxy["user"] else ""
    scheme = proxy["scheme"] and proxy["scheme"].lower()
    return f"http://{userinfo}{proxy['host']}:{proxy['port'] or _PORTS.get(scheme, 80)}"


def _is_excepted(host: str, no_proxy: str) -> bool:
    if not re.fullmatch(r"[A-Za-z0-9.-]+", host):  # what fuzzyurl cannot read is never excepted
        return False
    entries = re.split(r"\s*,\s*", no_proxy)
    while entries and not entries[-1]:
        entries.pop()
    return any(
        host.endswith(entry.removeprefix("*")) or (entry[:3] == "**." and f".{host}".endswith(entry[2:]))
        for entry in entries
    )
