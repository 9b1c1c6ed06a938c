"""Pure: what chef-client's own configuration says, and where it and ours part: what that leads to, what to do.

Probes are to find what a run would find, so each difference in names, addresses, TLS or proxies is one between what the
sidecar says and what happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from chef_failover.chef.proxy import proxy_for
from chef_failover.config.settings import Config
from chef_failover.printable import printable

DEFAULT_URL = "https://localhost:443"
"""Chef's own, where nobody has set one."""
WITHOUT_SERVER = ("local_mode", "chef_zero.enabled", "solo_legacy_mode")
"""With any of them a run uses no Chef server; `solo` alone changes nothing in chef-client.

Source: github.com/chef/chef lib/chef/local_mode.rb, lib/chef/client.rb and chef-config/lib/chef-config/config.rb.
"""


@attrs.frozen
class ClientRb:
    """What was evaluated. Values of settings are str, bool, None or lists of those; secrets are not among them."""

    reader: str
    """Chef or chef-config, with its version."""
    theirs: Mapping[str, Any]
    """What holds without the shim, defaults included."""
    ours: Mapping[str, Any]
    """What the shim sets, if it does not ask the sidecar."""
    set_by: Mapping[str, str]
    """The file that has set each setting last, the shim's apart."""
    set_late: Mapping[str, str]
    """Of these, what was set after the shim."""
    ohai: Mapping[str, Any]
    proxies: Mapping[str, str | None] | None
    """The proxy by which a run reaches each URL, None: without one. None where runs fail over what is set."""
    is_shim_read: bool

    def text(self, setting: str) -> str | None:
        """``setting`` on one line; None where it is not set, or is no text."""
        value = self.theirs.get(setting)
        return printable(value) or None if isinstance(value, str) else None

    def place(self, setting: str) -> str:
        """The file to look at for ``setting``."""
        return printable(self.set_by.get(setting, "client.rb"))


@attrs.frozen
class Difference:
    """``words`` say what it leads to and what to do."""

    setting: str
    words: str


def differences(
    config: Config, probed: Mapping[str, Any], found: ClientRb, environment: Mapping[str, str] | None = None
) -> Iterator[Difference]:
    """Each of them that the values alone show.

    ``probed`` is what `check` found, ``environment`` that of the running sidecar; None if it cannot be seen.
    """
    if not probed["servers"]:
        return  # then the shim touches nothing
    yield from _identity(probed["node_name"] if config.node.name else None, found)
    yield from _server([entry["chef_server_url"] for entry in probed["servers"]], found)
    yield from _tls(found)
    yield from _proxies(config, probed["servers"], found, environment)
    yield from _policy(config, found)


def _identity(name: str | None, found: ClientRb) -> Iterator[Difference]:
    theirs = found.text("node_name")
    if name and theirs and theirs != name:
        yield Difference(
            "node_name",
            f"{found.place('node_name')} has {theirs}, but config.yml has {name}: runs use {name}, for the servers"
            f" another node with its own run list; set node.name to {theirs}, or remove node_name",
        )


def _server(urls: Sequence[str], found: ClientRb) -> Iterator[Difference]:
    theirs, place = found.text("chef_server_url"), found.place("chef_server_url")
    without_server = next((one for one in WITHOUT_SERVER if found.theirs.get(one)), None)
    if without_server is not None:
        words = f"{found.place(without_server)} turns it on, so runs use no server: remove it"
        yield Difference(without_server, words)
    if not theirs or theirs == DEFAULT_URL:
        return
    if "chef_server_url" in found.set_late:
        yield Difference(
            "chef_server_url",
            f"{place} sets {theirs} after the shim, so runs use that server even"
            " while it is DOWN: move it to client.rb, where it does no harm",
        )
    hosts = {_host(url) for url in urls}
    known = {_organization(url) for url in urls if _host(theirs) not in hosts or _host(url) == _host(theirs)}
    organization = _organization(theirs)
    if organization not in known and (organization is not None or _host(theirs) in hosts):
        ours = ", ".join(sorted(one or "none" for one in known))
        yield Difference(
            "organization",
            f"{place} has organization {organization or 'none'} in chef_server_url, but config.yml has {ours}: runs use"
            f" the latter, which may not know this node; set node.organization, or the server's, to"
            f" {organization or 'null'}",
        )


def _tls(found: ClientRb) -> Iterator[Difference]:
    if found.text("ssl_verify_mode") == "verify_none" and not found.theirs.get("verify_api_cert"):
        yield Difference(
            "ssl_verify_mode",
            f"{found.place('ssl_verify_mode')} sets verify_none, so runs obey any server that answers, and one with a"
            " bad certificate is DOWN only for probes: set ssl_verify_mode :verify_peer",
        )
    halves = [one for one in ("ssl_client_cert", "ssl_client_key") if found.text(one)]
    if len(halves) == 1:
        lacks = {"ssl_client_cert": "ssl_client_key", "ssl_client_key": "ssl_client_cert"}[halves[0]]
        yield Difference(
            halves[0], f"{found.place(halves[0])} sets it without {lacks}, so every run fails: set both or none"
        )
    elif halves:
        yield Difference(
            "ssl_client_cert",
            f"{found.place('ssl_client_cert')} sets {found.text('ssl_client_cert')} for runs, but probes have none:"
            " a server whose front end demands one is DOWN for probes; let this node in without one",
        )


def _proxies(
    config: Config, servers: Sequence[Mapping[str, Any]], found: ClientRb, environment: Mapping[str, str] | None
) -> Iterator[Difference]:
    """Where client.rb sets a proxy. chef-client may have another in its own environment, which nobody sees here."""
    if found.proxies is None:
        words = f"{found.place('https_proxy')} sets proxies that Chef cannot use, so every run fails: correct them"
        yield Difference("https_proxy", words)
        return
    if config.health.proxy == "none":
        environment, remedy = {}, "health.proxy: environment and https_proxy in the service's environment"
    else:
        remedy = "the same for the service"
    if environment is None or not any(found.proxies.values()):
        return
    ways: dict[tuple[str | None, str | None], list[str]] = {}
    for entry in servers:
        theirs = found.proxies.get(entry["chef_server_url"])
        try:
            ours = proxy_for(urlsplit(entry["chef_server_url"]).hostname or "", environment)
        except ValueError:  # which its probes say
            continue
        if (theirs and _host(theirs)) != (ours and _host(ours)):
            ways.setdefault((theirs, ours), []).append(entry["name"])
    for (theirs, ours), names in ways.items():
        yield Difference(
            "https_proxy",
            f"runs reach {' and '.join(names)} {_way(theirs)}, but probes go {_way(ours)}: one may work and the other"
            f" not; set {remedy}, or list the servers in no_proxy",
        )


def _way(proxy: str | None) -> str:
    return f"through {printable(proxy.rpartition('@')[2])}" if proxy else "directly"


def _policy(config: Config, found: ClientRb) -> Iterator[Difference]:
    theirs = found.text("policy_name"), found.text("policy_group")
    ours = config.node.policy_name, config.node.policy_group
    environment = found.text("environment")
    is_judged = config.readiness != "off" and not found.text("json_attribs")  # a file that may name a policy, too
    if is_judged and theirs != ours and all(theirs):
        said = f"config.yml has policy {ours[0]} of group {ours[1]}" if all(ours) else "config.yml has none"
        yield Difference(
            "policy_name",
            f"{found.place('policy_name')} has policy {theirs[0]} of group {theirs[1]}, but {said}: readiness of"
            f" standbys is judged by something that runs do not use; set node.policy_name: {theirs[0]} and"
            f" node.policy_group: {theirs[1]}",
        )
    elif is_judged and theirs != ours and all(ours):
        yield Difference(
            "policy_name",
            f"config.yml has policy {ours[0]} of group {ours[1]}, but {found.place('policy_name')} lacks one: a run on"
            " a standby without an object of this node does nothing; set policy_name and policy_group there, too",
        )
    if environment and (all(theirs) or all(ours)):
        name, where = (theirs[0], found.place("policy_name")) if all(theirs) else (ours[0], "config.yml")
        yield Difference(
            "environment",
            f"{found.place('environment')} sets {environment}, and {where} sets policy {name}: a run with both"
            " fails, and with the environment alone uses no policy; remove one of them",
        )


def _host(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:  # it is none, and every run fails over it
        return url, None


def _organization(url: str) -> str | None:
    return url.partition("/organizations/")[2].partition("/")[0] or None
