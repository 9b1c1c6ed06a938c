"""I/O: the node's key: found where, fit to be used by the service, and known to the servers."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import Any

from chef_failover.chef.principal import Known
from chef_failover.config.settings import NoAssociation
from chef_failover.doctor import unit
from chef_failover.doctor.files import look, service_can_read, service_user, user
from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import UNIT, Node
from chef_failover.doctor.service import as_service
from chef_failover.errors import KeyFileError, UnseenError
from chef_failover.model.model import Outcome
from chef_failover.node import key_file
from chef_failover.node.key import CREDENTIALS, Origin, find, places
from chef_failover.registration.chef_server import conflict


def checks(node: Node, probed: dict[str, Any]) -> tuple[Check, ...]:
    """The key, and what each server says to it; ``probed`` is what `check` found."""
    name, why_unsigned = probed["node_name"], probed["unsigned"]
    return (
        Check("key", lambda: key(node)),
        *(
            Check(f"key at {entry['name']}", functools.partial(fits, entry, name, why_unsigned))
            for entry in probed["servers"]
        ),
    )


def key(node: Node) -> str | None:
    """The key that the service finds, by the rules of `node_key`."""
    if node.config.node.name is None:
        raise UnseenError("node.name is not set: probes are unsigned, and chef-client keeps its own key")
    credentials = node.path(str(unit.CREDENTIALS_DIR))
    if node.config.node.client_key is None:
        handed_over = unit.credentials(node).loaded.get(key_file.NAME)
        if handed_over is not None:
            return _handed_over(handed_over, credentials / key_file.NAME)
    return _in_its_place(node, credentials)


def _in_its_place(node: Node, credentials: Path) -> str | None:
    """The key that the service opens itself."""
    try:
        with as_service(node):
            found = find(places(node.config, {CREDENTIALS: str(credentials)}))
    except KeyFileError as error:
        if service_user(node) is None:
            raise UnseenError(f"{error}; run this as root") from error
        return str(error)
    if found is None:
        if any(not isinstance(server.association, NoAssociation) for server in node.config.servers):
            raise UnseenError("there is no key yet: the first start of the service makes one")
        return "there is no key; the sidecar makes none, since no server has an association"
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
        return f"every user can read {found.path} and pose as this node: chmod o-rwx {found.path}"
    trouble = service_can_read(node, found.path)
    return trouble and f"{trouble}; give it to the service as in packaging/examples/client-key.conf"


def _handed_over(source: Path, copy: Path) -> str | None:
    """The key that systemd copies for the service when it starts it."""
    if not source.exists():
        raise UnseenError(f"{source} does not exist: see credentials")
    try:
        key_file.read(source)
        if copy.exists() and copy.read_bytes() != source.read_bytes():
            return f"{source} changed since the service started: systemctl restart {UNIT}"
    except KeyFileError as error:
        return str(error)
    return None


def fits(entry: dict[str, Any], node_name: str | None, why_unsigned: str | None) -> str | None:
    """Whether that server knows this node by this key; ``why_unsigned`` is None where it was asked in its name."""
    if why_unsigned is not None:
        raise UnseenError(f"this probe was unsigned: {why_unsigned}")
    outcome = Outcome(entry["outcome"])
    if outcome.serves_node:
        return None
    if outcome is Outcome.NOT_ASSOCIATED and entry["usable"] is None:
        raise UnseenError(entry["detail"])
    if outcome is Outcome.NOT_ASSOCIATED:
        return f"{entry['detail']}: {_remedy(entry['name'], entry['known'], node_name or '')}"
    if outcome.turns_node_away:
        return str(entry["detail"])
    raise UnseenError(f"could not ask the server: {entry['detail']}")


def _remedy(server: str, known: Known | None, node_name: str) -> str:
    """What to do about a server that turns this node away, by how it knows it."""
    match known:
        case Known.NOT:
            create = f"knife client create {node_name} -p client.pub, with the public half of the key"
            return f"the server does not know {node_name}, and its association is none: {create}; or set an association"
        case Known.BY_ANOTHER_KEY:
            return conflict(node_name)
        case Known.BY_THIS_KEY:
            return f"the server has this key, so it may have expired there: knife client key show {node_name} default"
    return f"chef-failover associate {server}, or register the key with knife client key create {node_name}"
