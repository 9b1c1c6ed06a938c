"""I/O: state.json, the only thing we remember.

The Ruby shim reads it too, when the socket does not answer. So it is written whole or not at all, and whatever is
wrong with it when we start is set aside, said, and never fatal: the worst loss is one hold-down.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from chef_failover import files, weighed_json
from chef_failover.chef import used
from chef_failover.decide.hold_down import MOST_A_DAY
from chef_failover.decide.steering import ends_at_after_reboot
from chef_failover.decide.world import TRANSITIONS_KEPT
from chef_failover.durations import LONGEST_S
from chef_failover.instants import parse_instant
from chef_failover.model.instance import is_instance_id
from chef_failover.model.model import Registration, RegistrationState, Returns, Transition
from chef_failover.model.orders import Drain, Orders, Pin
from chef_failover.model.run_history import RUNS_KEPT, Phase, Run, RunEvidence, RunHistory
from chef_failover.state.remembered import Known, KnownUse, Remembered

SCHEMA = 1
FILE_NAME = "state.json"
UNASSOCIATED_FILE_NAME = "unassociated_servers.txt"
SIZE_LIMIT = 1024 * 1024
"""Bytes of state.json, as the shim has it. A hundred servers, with the most that is kept of each, have 150 kB, and what
a run used has 200 kB at the most: three times the body that told it."""
_MEMORY_LIMIT = 16 * 1024 * 1024
_NAME_LIMIT = 255
_WORDS_LIMIT = 4000
_COUNT_LIMIT = 1_000_000_000
_DOUBLINGS_LIMIT = 64
_LONGEST_WAIT_S = 86400.0


@attrs.frozen
class Instant:
    """One instant on both clocks: of the wall, and the monotonic one, which is of one boot."""

    on: datetime.datetime
    at: float = 0.0
    boot_id: str | None = None


def read(path: Path, now: datetime.datetime, *, at: float = 0.0, boot_id: str | None = None) -> Remembered:
    """What ``path`` holds; ``now`` is wall time, and later times are not believed. Never fails.

    ``at`` is the same instant on the monotonic clock of the boot ``boot_id``. A file that we cannot use is kept beside,
    as ``state.json.rejected``.
    """
    remembered = peek(path, now, at=at, boot_id=boot_id)
    if remembered.is_useless:
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f"{path.name}.rejected"))
    return remembered


def peek(path: Path, now: datetime.datetime, *, at: float = 0.0, boot_id: str | None = None) -> Remembered:
    """Like `read`, and touches nothing."""
    try:
        document = weighed_json.loads(files.read(path, SIZE_LIMIT), _MEMORY_LIMIT)
        if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
            raise ValueError("not a state file of chef-failover")
        if document["schema"] > SCHEMA:
            raise ValueError(f"schema {document['schema']} is newer than {SCHEMA}, the newest that this version reads")
        return _structure(document, Instant(now, at, boot_id))
    except FileNotFoundError:
        return Remembered()
    except OSError as error:
        return Remembered(problems=(f"{path} cannot be read ({error.strerror}); starting without it",))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{path} rejected and renamed to {path.name}.rejected: {error}"
        return Remembered(problems=(said,), is_useless=True)


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``document``, so that a crash at any instant leaves the old or the new.

    Raises:
        OSError: the directory cannot be written.
    """
    files.replace(path, json.dumps({"schema": SCHEMA, **document}, indent=1).encode())


def write_names(path: Path, names: Iterable[str]) -> None:
    """Replace ``path`` by ``names``, one a line, unless it holds them already.

    Raises:
        OSError: the directory cannot be written.
    """
    data = "".join(f"{name}\n" for name in names).encode()
    with contextlib.suppress(OSError):
        if files.read(path, len(data)) == data:
            return
    files.replace(path, data)


def _structure(document: Mapping[str, Any], instant: Instant) -> Remembered:
    now = instant.on
    choice = document.get("choice") or {}
    name = choice.get("name")
    if name is not None and not _is_text(name):
        raise ValueError("choice.name is not text")
    transitions = tuple(map(_transition, (document.get("transitions") or [])[-TRANSITIONS_KEPT:]))
    since = parse_instant(choice["since"]) if choice.get("since") else None
    problems = []
    if (since and since > now) or any(transition.on > now for transition in transitions):
        problems.append(
            f"{FILE_NAME} has times after {now:%Y-%m-%d %H:%M:%S} UTC; dropped, since the clock was set back"
        )
        since = min(since, now) if since else None
        transitions = tuple(transition for transition in transitions if transition.on <= now)
    entries = document.get("associations") or {}
    registrations, is_same_boot = {}, _is_same_boot(document, instant)
    for server, entry in entries.items():
        try:
            registration, throttled = _registration(entry), entry.get("throttled")
            if throttled is not None and is_same_boot:
                registration = _throttled(registration, throttled, instant)
            registrations[server, _text(entry["chef_server_url"], _WORDS_LIMIT)] = registration
        except (ValueError, KeyError, TypeError):
            problems.append(f"{FILE_NAME}: damaged registration with {_words(server)}; the node registers again")
    orders, dropped = _orders(document, instant, is_same_boot=is_same_boot)
    problems += dropped
    instance_id = document.get("instance_id")
    return Remembered(
        name,
        since,
        transitions,
        registrations,
        _history(document.get("runs") or {}, now),
        _evidence(document.get("run_evidence") or {}, instant, is_same_boot=is_same_boot),
        orders=orders,
        reason=_words(choice["reason"]) if choice.get("reason") else None,
        problems=tuple(problems),
        with_work=frozenset(filter(_is_text, document.get("with_work") or ())),
        without_object=frozenset(filter(_is_text, document.get("without_object") or ())),
        instance_id=instance_id if is_instance_id(instance_id) else None,
        stale=frozenset(filter(_is_text, document.get("stale") or ())),
        servers=_servers(document, instant),
        use=_use(document.get("used"), instant),
    )


def _servers(document: Mapping[str, Any], instant: Instant) -> dict[str, Known]:
    """What is not whole is left out: it costs a hold-down."""
    found, is_same_boot = {}, _is_same_boot(document, instant)
    for name, entry in (document.get("servers") or {}).items():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            since = entry["well_since"] if is_same_boot else None
            well_since = None if since is None else min(_number(since), instant.at)
            returns = _returns(entry.get("returns") or {}, instant) if is_same_boot else Returns()
            was_read = entry.get("was_read") is not False  # which older versions do not write
            found[_text(name)] = Known(_text(entry["chef_server_url"], _WORDS_LIMIT), well_since, returns, was_read)
    return found


def _returns(entry: Mapping[str, Any], instant: Instant) -> Returns:
    """What older versions do not write, or is not one of ours, is learned again."""
    try:
        failed_at = tuple(sorted(min(_number(at), instant.at) for at in entry["failed_at"][-MOST_A_DAY:]))
        came_back_at = -math.inf if entry["came_back_at"] is None else min(_number(entry["came_back_at"]), instant.at)
        return Returns(int(_number(entry["doublings"], _DOUBLINGS_LIMIT)), failed_at, came_back_at)
    except (ValueError, KeyError, TypeError):
        return Returns()


def _use(entry: Mapping[str, Any] | None, instant: Instant) -> KnownUse | None:
    """What is not whole is left out: the next run tells."""
    if entry is None:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        on = min(parse_instant(entry["since"]), instant.on)
        at = instant.at - (instant.on - on).total_seconds()
        server = entry.get("server")
        return KnownUse(used.parse(entry), _text(entry["node"]), at, on, None if server is None else _text(server))
    return None


def _is_same_boot(document: Mapping[str, Any], instant: Instant) -> bool:
    return instant.boot_id is not None and document.get("boot_id") == instant.boot_id


def _transition(entry: Mapping[str, Any]) -> Transition:
    server = None if entry["server"] is None else _text(entry["server"])
    return Transition(
        parse_instant(entry["at"]), server, _text(entry["from"]), _text(entry["to"]), _words(entry["reason"])
    )


def _orders(document: Mapping[str, Any], instant: Instant, *, is_same_boot: bool) -> tuple[Orders, list[str]]:
    """Drains and pin; and a sentence for each that is not one of ours, since losing it must not lose the others."""
    orders, dropped = Orders(), []
    entries = document.get("drains") or {}
    for name, entry in entries.items() if isinstance(entries, dict) else [("", entries)]:
        try:
            orders = orders.plus(Drain(**_order(entry | {"server": name}, instant, is_same_boot=is_same_boot)))
        except (ValueError, KeyError, TypeError):
            dropped.append(f"{FILE_NAME}: dropped a damaged drain: {str(entry)[:200]!r}")
    entry = document.get("pin")
    try:
        if entry is not None:
            pin = Pin(**_order(entry, instant, is_same_boot=is_same_boot), is_strict=entry["strict"] is True)
            orders = orders.plus(pin)
    except (ValueError, KeyError, TypeError):
        dropped.append(f"{FILE_NAME}: dropped a damaged pin: {str(entry)[:200]!r}")
    return orders, dropped


def _order(entry: Mapping[str, Any], instant: Instant, *, is_same_boot: bool) -> dict[str, Any]:
    """The fields of an `Order`. Its end is taken from the monotonic clock as long as that is the same one."""
    lasts_s = math.inf if entry["lasts_s"] is None else _number(entry["lasts_s"], LONGEST_S)
    ends_on = parse_instant(entry["ends"]) if entry["ends"] is not None else None
    if not lasts_s > 0 or (ends_on is None) != math.isinf(lasts_s):
        raise ValueError("lasts_s and ends do not match")
    ends_at = math.inf
    if ends_on is not None and is_same_boot:
        ends_at = min(_number(entry["ends_at"]), instant.at + lasts_s)
    elif ends_on is not None:
        ends_at = ends_at_after_reboot(ends_on, lasts_s, instant.at, instant.on)
    return {
        "server": _text(entry["server"]),
        "who": _text(entry["who"]),
        "reason": _words(entry["reason"]),
        "created_on": min(parse_instant(entry["created"]), instant.on),
        "lasts_s": lasts_s,
        "ends_at": ends_at,
        "ends_on": ends_on,
        "in_use": None if entry["in_use"] is None else _text(entry["in_use"]),
    }


def _history(entry: Mapping[str, Any], now: datetime.datetime) -> RunHistory:
    """Times after ``now`` are not believed; that the clock was set back is said once, of other times."""
    runs = tuple(run for run in map(_run, entry.get("last") or ()) if run.ended_on <= now)
    since_success = int(_number(entry.get("since_success", 0)))
    last_success_on = parse_instant(entry["last_success_at"]) if entry.get("last_success_at") else None
    return RunHistory(runs[-RUNS_KEPT:], since_success, min(last_success_on, now) if last_success_on else None)


def _run(entry: Mapping[str, Any]) -> Run:
    server, error_class, duration_s = entry["server"], entry["error_class"], entry["duration_s"]
    http_status = entry.get("http_status")  # which older versions do not write, nor the phase
    return Run(
        run_id=_text(entry["run_id"]),
        server=None if server is None else _text(server),
        result=_text(entry["result"]),
        error_class=None if error_class is None else _text(error_class),
        ended_on=parse_instant(entry["ended_at"]),
        started_on=parse_instant(entry["started_at"]) if entry["started_at"] else None,
        duration_s=None if duration_s is None else _number(duration_s),
        phase=Phase(entry["phase"]) if entry.get("phase") else None,
        http_status=None if http_status is None else int(_number(http_status)),
    )


def _evidence(
    entries: Mapping[str, Any], instant: Instant, *, is_same_boot: bool
) -> dict[tuple[str, str], RunEvidence]:
    """After a reboot nobody knows when a run failed: the next ones tell. What is not one of ours is dropped alone."""
    found = {}
    for name, entry in entries.items():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            failed_at, saves = entry["failed_at"], entry["saves"] if entry["saves"] in (None, True, False) else None
            has_succeeded = entry.get("succeeded", saves) is True  # which older versions do not write
            failed_by = instant.at if saves is False else -math.inf
            evidence = RunEvidence(failed_at=failed_by, saves=saves, has_succeeded=has_succeeded)
            if is_same_boot and failed_at is not None:
                at, count = min(_number(failed_at), instant.at), int(_number(entry["failed_starts"]))
                evidence = RunEvidence(count, at, _words(entry["failure"]), saves, has_succeeded)
            found[_text(name), _text(entry["chef_server_url"], _WORDS_LIMIT)] = evidence
    return found


def _registration(entry: Mapping[str, Any]) -> Registration:
    ticket = entry["ticket"]
    return Registration(
        state=RegistrationState(entry["association"]),
        detail=_words(entry["detail"]),
        attempts=int(_number(entry["attempts"])),
        ticket=None if ticket is None else _text(ticket, _WORDS_LIMIT),
        identity=_text(entry["identity"]),
        on=parse_instant(entry["since"]) if entry["since"] else None,
    )


def _throttled(registration: Registration, entry: Mapping[str, Any], instant: Instant) -> Registration:
    """Tried again when it was to be, a day from now at most."""
    latest = instant.at + _LONGEST_WAIT_S
    return attrs.evolve(
        registration,
        throttled_since=min(_number(entry["since"]), instant.at),
        retry_at=min(_number(entry["retry_at"]), latest),
        urgent_at=min(_number(entry["urgent_at"]), latest),
        awaited_at=min(_number(entry["awaited_at"]), latest),
    )


def _is_text(value: object, limit: int = _NAME_LIMIT) -> bool:
    return isinstance(value, str) and len(value) <= limit and value.isprintable()


def _text(value: object, limit: int = _NAME_LIMIT) -> str:
    """A name or the like, which is compared: as it is, or not at all."""
    if not _is_text(value, limit):
        raise ValueError("a value is not printable text")
    return str(value)


def _words(value: object) -> str:
    """Something for people, which may have been cut."""
    return "".join(char if char.isprintable() else " " for char in str(value)[:_WORDS_LIMIT])


def _number(value: object, limit: float = _COUNT_LIMIT) -> float:
    """Nothing that is no number, and no more than any clock or counter of ours has come to."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
        raise ValueError("a value is not a number in range")
    return value
