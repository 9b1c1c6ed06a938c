"""I/O: state.json, the only thing we remember.

The Ruby shim reads it too, when nobody answers on the socket. So it is written whole or not at all, and whatever is
wrong with it when we start is set aside, said, and never fatal: the worst loss is one hold-down.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from chef_failover.identity import is_instance_id
from chef_failover.model import Association, Registration, Snapshot, Transition
from chef_failover.run_history import RUNS_KEPT, Run, RunHistory

SCHEMA = 1
FILE_NAME = "state.json"
UNASSOCIATED_FILE_NAME = "unassociated_servers.txt"
_SIZE_LIMIT = 4 * 1024 * 1024


@attrs.frozen
class Remembered:
    """What a former life left. ``problems`` has a sentence for each thing that was dropped."""

    choice: str | None = None
    chosen_on: datetime.datetime | None = None
    transitions: tuple[Transition, ...] = ()
    registrations: Mapping[tuple[str, str], Registration] = attrs.field(factory=dict)
    """By name and ``chef_server_url`` of the server: registered somewhere else is not registered here."""
    history: RunHistory = RunHistory()
    problems: tuple[str, ...] = ()
    with_work: frozenset[str] = frozenset()
    """The servers that had an object of this node which does something."""
    is_useless: bool = False
    """The file holds nothing that we can use."""
    instance_id: str | None = None
    """The EC2 instance that it was written on."""


def of(snapshot: Snapshot) -> Remembered:
    """What would be remembered of ``snapshot``."""
    registrations = {(server.name, server.chef_server_url): server.registration for server in snapshot.servers}
    choice = snapshot.choice.name if snapshot.choice else None
    return Remembered(choice, snapshot.chosen_on, snapshot.transitions, registrations)


def read(path: Path, now: datetime.datetime) -> Remembered:
    """What ``path`` holds; ``now`` is wall time, and later times are not believed. Never fails.

    A file that we cannot use is kept beside, as ``state.json.rejected``.
    """
    remembered = peek(path, now)
    if remembered.is_useless:
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f"{path.name}.rejected"))
    return remembered


def peek(path: Path, now: datetime.datetime) -> Remembered:
    """Like `read`, and touches nothing."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_SIZE_LIMIT))
        if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
            raise ValueError("it is no state of ours")
        if document["schema"] > SCHEMA:
            raise ValueError(f"its schema {document['schema']} is newer than the {SCHEMA} that this version knows")
        return _structure(document, now)
    except FileNotFoundError:
        return Remembered()
    except OSError as error:
        return Remembered(problems=(f"{path} cannot be read ({error.strerror}); what it knew is not used",))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = "it is not whole JSON" if isinstance(error, json.JSONDecodeError | RecursionError) else str(error)
        said = f"{path} is not used, and kept as {path.name}.rejected: {reason}"
        return Remembered(problems=(said,), is_useless=True)


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``document``, so that a crash at any instant leaves the old or the new.

    Raises:
        OSError: the directory cannot be written.
    """
    replace(path, json.dumps({"schema": SCHEMA, **document}, indent=1).encode())


def write_names(path: Path, names: Iterable[str]) -> None:
    """Replace ``path`` by ``names``, one a line, unless it holds them already.

    Raises:
        OSError: the directory cannot be written.
    """
    data = "".join(f"{name}\n" for name in names).encode()
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    replace(path, data)


def replace(path: Path, data: bytes) -> None:
    """Make ``data`` the content of ``path``, which everybody may read: all of it or none, whatever happens.

    Raises:
        OSError: the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.fchmod(descriptor, 0o644)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _structure(document: Mapping[str, Any], now: datetime.datetime) -> Remembered:
    choice = document.get("choice") or {}
    name = choice.get("name")
    if name is not None and not isinstance(name, str):
        raise ValueError("its choice has no name")
    transitions = tuple(_transition(entry) for entry in document.get("transitions") or ())
    since = _time(choice["since"]) if choice.get("since") else None
    problems = []
    if (since and since > now) or any(transition.on > now for transition in transitions):
        problems.append(
            f"{FILE_NAME} has times after {now:%Y-%m-%d %H:%M:%S} UTC: the clock was set back; they are dropped"
        )
        since = min(since, now) if since else None
        transitions = tuple(transition for transition in transitions if transition.on <= now)
    entries = document.get("associations") or {}
    registrations = {(name, entry["chef_server_url"]): _registration(entry) for name, entry in entries.items()}
    instance_id = document.get("instance_id")
    return Remembered(
        name,
        since,
        transitions,
        registrations,
        _history(document.get("runs") or {}, now),
        tuple(problems),
        with_work=frozenset(map(str, document.get("with_work") or ())),
        instance_id=instance_id if is_instance_id(instance_id) else None,
    )


def _transition(entry: Mapping[str, Any]) -> Transition:
    server, reason = entry["server"], str(entry["reason"])
    return Transition(_time(entry["at"]), server, str(entry["from"]), str(entry["to"]), reason)


def _history(entry: Mapping[str, Any], now: datetime.datetime) -> RunHistory:
    """Times after ``now`` are not believed; that the clock was set back is said once, of other times."""
    runs = tuple(run for run in map(_run, entry.get("last") or ()) if run.ended_on <= now)
    since_success = entry.get("since_success", 0)
    if not isinstance(since_success, int):
        raise ValueError("its number of runs since the last success is none")
    last_success_on = _time(entry["last_success_at"]) if entry.get("last_success_at") else None
    return RunHistory(runs[-RUNS_KEPT:], since_success, min(last_success_on, now) if last_success_on else None)


def _run(entry: Mapping[str, Any]) -> Run:
    duration_s = entry["duration_s"]
    if not isinstance(duration_s, int | float | None) or not isinstance(entry["run_id"], str):
        raise ValueError("a run in it is not one of ours")
    return Run(
        run_id=entry["run_id"],
        server=entry["server"],
        result=str(entry["result"]),
        error_class=entry["error_class"],
        ended_on=_time(entry["ended_at"]),
        started_on=_time(entry["started_at"]) if entry["started_at"] else None,
        duration_s=duration_s,
    )


def _registration(entry: Mapping[str, Any]) -> Registration:
    ticket, identity = entry["ticket"], entry["identity"]
    if not isinstance(identity, str) or not isinstance(ticket, str | None) or not isinstance(entry["attempts"], int):
        raise ValueError("an association in it is not one of ours")
    return Registration(
        association=Association(entry["association"]),
        detail=str(entry["detail"]),
        attempts=entry["attempts"],
        ticket=ticket,
        identity=identity,
        on=_time(entry["since"]) if entry["since"] else None,
    )


def _time(text: str) -> datetime.datetime:
    time = datetime.datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    return time
