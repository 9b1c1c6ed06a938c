"""I/O: whether the service can read the certificates that chef-client trusts, chef-client likes them all, and AWS's."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from chef_failover.chef.trust import TrustStore
from chef_failover.doctor.files import as_the_service_reads
from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import Node
from chef_failover.doctor.service import as_service


def checks(node: Node) -> tuple[Check, ...]:
    """The certificates that are trusted: of Chef servers, and of endpoints of AWS that config.yml names."""
    own = [*dict.fromkeys(one.ca_file for one in node.config.endpoints if one.ca_file)]
    in_aws = [Check("CA files for AWS can be read", lambda: trust_in_aws(node, own))] if own else []
    return (Check("CA files can be read", lambda: trust(node)), *in_aws)


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


def trust_in_aws(node: Node, ca_files: Sequence[Path]) -> str | None:
    """Return what is wrong with the first of ``ca_files`` that the service cannot read, or that has no certificate.

    Raises:
        FileNotFoundError: there is no such file.
        UnseenError: only root may know.
    """
    for ca_file in ca_files:
        path, trouble = as_the_service_reads(node, str(ca_file))
        if trouble:
            return f"{trouble}: chgrp {node.user} {ca_file}; chmod 0640 {ca_file}"
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError as error:
            return f"ca_file {ca_file}: {error.strerror or error}: write certificates in PEM form"
    return None
