"""I/O: whether the service can read the certificates that chef-client trusts, and chef-client likes them all."""

from __future__ import annotations

from chef_failover.chef.trust import TrustStore
from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import Node
from chef_failover.doctor.service import as_service


def checks(node: Node) -> tuple[Check, ...]:
    """The certificates that are trusted."""
    return (Check("trust", lambda: trust(node)),)


def trust(node: Node) -> str | None:
    """What is wrong with them, for any server, as the service's user sees it."""
    store = TrustStore(root=node.root, which=node.which)
    words: dict[str, None] = {}
    with as_service(node):
        for ca_file in {server.ca_file for server in node.config.servers} or {None}:
            try:
                found = store.read(ca_file)
            except OSError as error:
                words[f"ca_file {ca_file}: {error.strerror or error}"] = None
            else:
                words |= dict.fromkeys((*found.forbidden, *found.lacking, *found.fatal))
    return "; ".join(words) or None
