"""I/O: what root has accepted of config.yml. The sidecar, the commands and the shim go by that, and so by one thing.

config.yml is read here alone. `accept` checks it whole and writes beside it what the shim compares with: URLs,
organizations and the node's name as they are used, paths, the time to wait. The text of config.yml is in there, too,
and the sidecar is configured by that text. So a mistake in config.yml leaves the sidecar and the shim where they were,
together, and an edit that root has not accepted changes nothing for either.

The file lies beside config.yml because that directory is root's already (the shim believes what is there), outlives
reboots, and is not the service's to write. Its name begins with that of its config.yml, so a second configuration in
the same directory has its own.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from chef_failover import files
from chef_failover.config import settings as configuration
from chef_failover.config.settings import Config
from chef_failover.errors import ConfigError, IdentityError, NotAcceptedError
from chef_failover.node import identity, key_file
from chef_failover.state import document as state

SCHEMA = 1
SUFFIX = ".accepted.json"
SIZE_LIMIT = 1 << 20
"""Bytes of the file; the shim reads no more either."""
SHIM_PATIENCE_S = 1.0
"""What the shim waits beyond one probe."""

NameOf = Callable[[str], str]


@attrs.frozen
class Accepted:
    """A configuration that is at work.

    ``node_name`` is None where the configuration has none, or where it was not known when it was accepted. ``why_not``
    says why this is not what config.yml has now; None if it is.
    """

    config: Config
    node_name: str | None
    text: str
    why_not: str | None = None
    is_written: bool = True
    """False: nothing was accepted, and this is config.yml itself. The shim then lets chef-client alone."""


def path_of(config_path: Path) -> Path:
    """The file that holds what was accepted of ``config_path``."""
    return config_path.with_name(config_path.name + SUFFIX)


def accept(config_path: Path, name_of: NameOf = identity.node_name, *, is_running: bool = False) -> Accepted:
    """Check ``config_path`` and write what it says, for the shim and the sidecar to go by.

    Whatever is wrong, what was accepted before stays, with the name of this machine. ``is_running``: a sidecar is to
    take it over without a restart.

    Raises:
        ConfigError: with every mistake.
        IdentityError: the node's name cannot be found out. Where nothing was accepted before a start, the rest is.
        NotAcceptedError: it needs a restart, others than root can write it, it is empty where servers were accepted, or
            what is accepted cannot be written.
    """
    former = read_if_there(config_path)
    try:
        text = configuration.read_text(config_path)
        config = configuration.parse(text, str(config_path))
    except ConfigError:
        if former is not None:  # maybe on a disk of another machine
            with contextlib.suppress(IdentityError):
                _write_for(config_path, former.config, former.text, name_of, former)
        raise
    _expect_roots(config_path)
    if former is not None and former.config.servers and _is_empty(text):
        raise NotAcceptedError(f"{config_path} is empty; write servers: [] to have chef-client keep its own server")
    if is_running and former is not None:  # a running sidecar cannot move where it meets the shim
        before = former.config
        if (config.listen.socket, config.state_dir) != (before.listen.socket, before.state_dir):
            raise NotAcceptedError("listen.socket or state_dir changed: systemctl restart chef-failover")
    try:
        return _write_for(config_path, config, text, name_of, former)
    except IdentityError:
        if former is None and not is_running:
            _write(path_of(config_path), document(config, text, None), is_new=True)
        raise


def _write_for(config_path: Path, config: Config, text: str, name_of: NameOf, former: Accepted | None) -> Accepted:
    node_name = name_of(config.node.name) if config.node.name else None
    _write(path_of(config_path), document(config, text, node_name), is_new=former is None)
    return Accepted(config, node_name, text)


def _is_empty(text: str) -> bool:
    """Whether it says nothing, or comments alone: a copy that was cut off, or a sample."""
    return all(not line or line.startswith("#") for line in map(str.strip, text.splitlines()))


def _expect_roots(config_path: Path) -> None:
    """Who may write what root accepts decides where root's runs go."""
    found = config_path.stat()
    is_open = found.st_mode & (0o002 if found.st_gid == 0 else 0o022)
    if os.geteuid() == 0 and (found.st_uid != 0 or is_open):
        mend = f"chown root {config_path}; chmod 0644 {config_path}"
        raise NotAcceptedError(f"users other than root can write {config_path}: {mend}")


def _write(path: Path, document: dict[str, Any], *, is_new: bool) -> None:
    """Replace ``path``, unless it has the same already."""
    data = json.dumps(document, indent=1).encode()
    if len(data) > SIZE_LIMIT:
        raise NotAcceptedError(f"{path} would be longer than {SIZE_LIMIT >> 20} MiB")
    try:
        if is_new or path.read_bytes() != data:
            files.replace(path, data, mark=str(os.getpid()))  # a reload may meet a start
    except OSError as error:
        raise NotAcceptedError(f"cannot write {path}: {error.strerror}; run this as root") from error


def document(config: Config, text: str, node_name: str | None) -> dict[str, Any]:
    """What the shim compares with; servers in order of preference, ``text`` for the sidecar."""
    return {
        "schema": SCHEMA,
        "node_name": node_name,
        "client_key": str(config.node.client_key or config.state_dir / key_file.NAME),
        "servers": [
            {
                "name": server.name,
                "chef_server_url": config.chef_server_url(server),
                "ssl_ca_file": str(server.ca_file) if server.ca_file else None,
            }
            for server in sorted(config.servers, key=config.priority)
        ],
        "trusted_hosts": list(config.trusted_hosts),
        "socket": str(config.listen.socket),
        "state_file": str(config.state_dir / state.FILE_NAME),
        "budget_s": config.health.timeout + SHIM_PATIENCE_S,
        "text": text,
    }


def read(config_path: Path) -> Accepted:
    """What was accepted of ``config_path``.

    Raises:
        NotAcceptedError: nothing was, or not by root, or not by a version that agrees with this one.
    """
    path = path_of(config_path)
    try:
        document = json.loads(files.read(path, SIZE_LIMIT, only_ours=True))
        if document["schema"] != SCHEMA:
            raise NotAcceptedError(f"{path} has schema {document['schema']!r}, and this version reads {SCHEMA}")
        text, node_name = document["text"], document["node_name"]
        return Accepted(configuration.parse(text, str(config_path)), node_name, text)
    except FileNotFoundError as error:
        raise NotAcceptedError(f"no configuration is accepted yet: {path} does not exist") from error
    except ConfigError as error:
        raise NotAcceptedError(f"{path} was written by another version: {error}") from error
    except OSError as error:
        raise NotAcceptedError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotAcceptedError(f"{path} is damaged") from error


def read_if_there(config_path: Path) -> Accepted | None:
    """Like `read`; None where that raises."""
    try:
        return read(config_path)
    except NotAcceptedError:
        return None


def at_work(config_path: Path) -> Accepted:
    """What the sidecar of ``config_path`` and the shim go by, with why that is not what the file has now.

    Raises:
        ConfigError: nothing is accepted, and the file has mistakes.
    """
    try:
        accepted = read(config_path)
    except NotAcceptedError as error:
        text = configuration.read_text(config_path)
        alone = f"{error}; chef-client keeps its own server until the service starts"
        return Accepted(configuration.parse(text, str(config_path)), None, text, alone, is_written=False)
    return attrs.evolve(accepted, why_not=_why_not(config_path, accepted))


def for_sidecar(config_path: Path, name_of: NameOf = identity.node_name, *, is_running: bool = False) -> Accepted:
    """What a sidecar goes by: it accepts ``config_path`` itself where it may, else takes what root has accepted.

    It may where it can write beside the file: as root, in a container, on a developer's machine. The service cannot.

    Raises:
        ConfigError: nothing is accepted, and the file has mistakes.
        IdentityError: the node's name cannot be found out, or is not the one that was accepted.
    """
    refused: str | None = None
    if os.access(config_path.parent, os.W_OK, effective_ids=True):
        try:
            return accept(config_path, name_of, is_running=is_running)
        except NotAcceptedError as error:
            refused = str(error)
        except ConfigError:
            pass  # which is said below
    found = at_work(config_path)
    pattern = found.config.node.name
    if pattern is not None and found.is_written and found.node_name is None and is_running:
        raise IdentityError(
            "the configuration was accepted before the node's name was known: systemctl restart chef-failover"
        )
    if pattern is not None and not (is_running and found.is_written):
        here = name_of(pattern)
        if found.is_written and here != found.node_name:  # a disk of another machine, or a name that came late
            raise IdentityError(f"this node is {here}, accepted for {found.node_name}: run chef-failover accept")
        found = attrs.evolve(found, node_name=here)
    return attrs.evolve(found, why_not=refused or found.why_not)


def _why_not(config_path: Path, accepted: Accepted) -> str | None:
    try:
        text = configuration.read_text(config_path)
        if text == accepted.text or configuration.parse(text, str(config_path)) == accepted.config:
            return None
    except ConfigError as error:
        return f"{config_path} is invalid and not in use: {'; '.join(error.lines)}"
    return f"{config_path} changed and is not in use yet; run: systemctl reload chef-failover"
