"""I/O: a machine that was made from another's disk, and must not go on as that other.

Its state is the other's registrations, and its key, if we made it, is the other's identity: two nodes that sign with
one key, and of whom the server sees one. Both are kept under another name, for a person who restores a machine and
wants them back. A key that we did not make is left where it is: it was put there on purpose for this machine.
"""

from __future__ import annotations

import datetime
import itertools
import os
from pathlib import Path

from chef_failover.node import key_file
from chef_failover.state import document as state

MARK = ".of-"
"""Stands in a name between the file's own and the instance it was of."""


def set_aside(state_dir: Path, instance_id: str | None, now: datetime.datetime) -> str | None:
    """Put away what is in ``state_dir`` if it is of another instance than ``instance_id``; a sentence if it is so.

    Nothing is, as long as either id is not known. A crash in the middle is resumed at the next start: the state, which
    tells whose all this is, goes last. ``now`` is wall time.
    """
    former = state.peek(state_dir / state.FILE_NAME, now).instance_id
    if instance_id is None or former is None or instance_id == former:
        return None
    names = (key_file.NAME, key_file.PUBLIC_NAME) if key_file.is_ours(state_dir) else ()
    try:
        moved = [_move(state_dir / name, former) for name in (*names, state.FILE_NAME)]
    except OSError as error:
        return (
            f"this is {instance_id}, but {state_dir} belongs to {former} and cannot be set aside ({error.strerror});"
            f" this node continues as {former}"
        )
    return f"this is {instance_id}, cloned from {former}: starting fresh; set aside in {state_dir}: {', '.join(moved)}"


def _move(path: Path, former: str) -> str:
    """Rename ``path`` so that it overwrites nothing; its new name. Nobody else writes in this directory."""
    name = f"{path.name}{MARK}{former}"
    targets = map(path.with_name, itertools.chain([name], (f"{name}.{number}" for number in itertools.count(2))))
    target = next(target for target in targets if not os.path.lexists(target))
    path.rename(target)
    return target.name
