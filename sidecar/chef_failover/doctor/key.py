"""I/O: the node's key: found where, fit to be used by the service, and known to the servers."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from chef_failover.config.settings import NoAssociation
from chef_failover.doctor.files import look, service_can_read, service_user, user
from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import UNIT, Node
from chef_failover.doctor.service import as_service
from chef_failover.errors import KeyFileError, UnseenError
from chef_failover.model.model import Outcome
from chef_failover.node import key_file
from chef_failover.node.key import CREDENTIALS, Origin, find, places


def checks(node: Node, probed: dict[str, Any]) -> tuple[Check, ...]:
    """The key, and what each server says to it; ``probed`` is what `check` found."""
    return (
        Check("key", lambda: key(node)),
        *(
            Check(f"key at {entry['name']}", lambda entry=entry: fits(entry, is_signed=probed["signed"]))  # type: ignore[misc]
            for entry in probed["servers"]
        ),
    )


def key(node: Node) -> str | None:
    """The key that the service finds, by the rules of `node_key`."""
    if node.config.node.name is None:
        raise UnseenError("node.name is not set, so probes are not signed, and chef-client keeps its own key")
    credentials = node.path(f"/run/credentials/{UNIT}")
    try:
        with as_service(node):
            found = find(places(node.config, {CREDENTIALS: str(credentials)}))
    except KeyFileError as error:
        if service_user(node) is None:
            raise UnseenError(f"{error}; run this as root") from error
        return str(error)
    if found is None:
        is_made = any(not isinstance(server.association, NoAssociation) for server in node.config.servers)
        return None if is_made else "there is none, and none is made, since no server has an association"
    with contextlib.suppress(FileNotFoundError):
        look(found.path)
        if not os.access(found.path, os.R_OK, effective_ids=True):
            raise UnseenError(f"{user(os.geteuid())} may not read {found.path}; run this as root")
    try:
        key_file.read(found.path, may_be_link=found.origin is not Origin.OWN)
    except KeyFileError as error:
        return str(error)
    mode = found.path.stat().st_mode
    if mode & 0o007 and found.origin is not Origin.CREDENTIAL:
        return f"everybody may read {found.path}, and be this node: chmod o-rwx {found.path}"
    trouble = service_can_read(node, found.path)
    return trouble and f"{found.path}: {trouble}; give it to the service as client-key.conf in packaging/examples does"


def fits(entry: dict[str, Any], *, is_signed: bool) -> str | None:
    """Whether that server knows this node by this key."""
    if not is_signed:
        raise UnseenError("this probe was not signed: no node.name, or no key that we may read")
    outcome = Outcome(entry["outcome"])
    if outcome.serves_node:
        return None
    if outcome is Outcome.NOT_ASSOCIATED:
        remedy = f"chef-failover associate {entry['name']}, or register the key with knife client key create"
        return f"{entry['detail']}: {remedy}"
    if outcome.turns_node_away:
        return str(entry["detail"])
    raise UnseenError(f"it could not be asked: {entry['detail']}")
