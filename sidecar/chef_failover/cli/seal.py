"""I/O: takes from a machine what makes it this node, before an image is taken of it.

Only what we have made goes: a key is removed only with the proof that it is ours (see `key_file`). What else there is
of the node's identity is told, and left to people. The state, which tells where the node is registered,
goes last: until then a second run knows as much as the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import click

from chef_failover import files
from chef_failover.cli.options import config_option
from chef_failover.config.settings import Config
from chef_failover.daemon import lock
from chef_failover.errors import SealError
from chef_failover.node import accepted, clone, key_file
from chef_failover.node import key as node_key
from chef_failover.printable import VALUE_LIMIT, printable
from chef_failover.server_list import cache as list_cache
from chef_failover.state import document as state

_OF_ONE_LIFE = (
    *key_file.LEFTOVERS,
    key_file.LOCK_NAME,
    key_file.PUBLIC_NAME,
    list_cache.FILE_NAME,
    f".{list_cache.FILE_NAME}.new",
    state.UNASSOCIATED_FILE_NAME,
    f".{state.UNASSOCIATED_FILE_NAME}.new",
    f".{state.FILE_NAME}.new",
    lock.FILE_NAME,
    f"{state.FILE_NAME}.rejected",
    state.FILE_NAME,
)
_OF_FORMER_LIVES = tuple(f"{name}{clone.MARK}" for name in (key_file.NAME, key_file.PUBLIC_NAME, state.FILE_NAME))


@click.command()
@config_option
@click.option("--force", "is_forced", is_flag=True, help="Seal even a registered node.")
def seal(config_path: Path, is_forced: bool) -> None:
    """Remove this node's identity and state, for an image.

    It removes the key if the sidecar made it, and everything in the state directory, and lists what it removes.
    """
    config = accepted.at_work(config_path).config
    for sentence in remove_all(config, accepted.path_of(config_path), is_forced=is_forced):
        click.echo(printable(sentence, VALUE_LIMIT))


def remove_all(config: Config, accepted_path: Path | None = None, *, is_forced: bool = False) -> Iterator[str]:
    """Remove this node's identity and state; a sentence for each thing that is removed, or kept, as it happens.

    What was accepted of config.yml, in ``accepted_path``, goes last: until then a second run finds the rest by it.
    ``is_forced`` does it on a node that is registered, too. The servers are not told: what they have stays there.

    Raises:
        SealError: the sidecar runs, the node is registered, or something cannot be removed.
    """
    directory = config.state_dir
    if _is_running(config.listen.socket):
        raise SealError(
            f"the sidecar runs ({config.listen.socket} answers); stop it first, or it rewrites its state:"
            " systemctl stop chef-failover"
        )
    condemned = _condemned(directory)
    beside = [*accepted_path.parent.glob(f".{accepted_path.name}*.new"), accepted_path] if accepted_path else ()
    elsewhere = [path for path in (config.metrics.textfile, *beside) if path and os.path.lexists(path)]
    if not is_forced and (registered := _registered(directory / state.FILE_NAME)):
        raise SealError(
            f"this node is registered, or about to be: {', '.join(registered)}. Without its key, those servers would"
            " refuse it until its client is deleted there; use --force to seal it anyway"
        )
    folders = {path.parent for path in (*condemned, *elsewhere)}
    kept = [one for one in folders if not os.access(one, os.W_OK | os.X_OK, effective_ids=True)]
    if kept:
        raise SealError(f"this user cannot write {min(kept)}; nothing was removed; run this as root")
    for path in (*condemned, *elsewhere):
        try:
            path.unlink()
        except OSError as error:
            raise SealError(f"cannot remove {path}: {error.strerror}") from error
        yield f"removed {path}"
    if condemned:
        files.flush_directory(directory)
        if left := _condemned(directory):
            raise SealError(f"{left[0]} is back: something still writes to {directory}")
    else:
        yield f"nothing to remove in {directory}"
    yield from (
        f"kept {path}: chef-failover did not make it; remove it before you take an image" for path in _foreign(config)
    )


def _condemned(directory: Path) -> list[Path]:
    """What is to go, in order."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SealError(f"cannot read {directory}: {error.strerror}; run this as root") from error
    own_key = [key_file.NAME] if key_file.is_ours(directory) else []
    former = [name for name in names if name.startswith(_OF_FORMER_LIVES)]
    return [directory / name for name in (*own_key, *former, *_OF_ONE_LIFE) if name in names]


def _foreign(config: Config) -> Iterator[Path]:
    """Keys that are the node's and not of our making."""
    where = node_key.places(config, {})
    for path in filter(None, (where.configured, where.own_key, *where.adoptable)):
        with contextlib.suppress(OSError):
            if path.exists():
                yield path


def _registered(path: Path) -> list[str]:
    """The servers where the state says more than that the node is a stranger."""
    try:
        entries = json.loads(files.read(path, state.SIZE_LIMIT)).get("associations") or {}
        standing = {str(name): entry["association"] for name, entry in entries.items()}
    except FileNotFoundError:
        return []
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged"
        raise SealError(
            f"{path} cannot be read ({reason}), so it is unknown whether this node is registered; use --force to"
            " seal it anyway"
        ) from error
    return [f"{name} ({association})" for name, association in standing.items() if association != "unassociated"]


def _is_running(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except PermissionError as error:
            raise SealError(f"cannot tell at {path} whether the sidecar runs; run this as root") from error
        except OSError:
            return True  # it is too busy to take a connection
    return True
