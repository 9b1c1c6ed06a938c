"""I/O: state.json, the only thing we remember.

The Ruby shim reads it too, when the socket does not answer. So it is written whole or not at all, and whatever is
wrong with it when we start is set aside, said, and never fatal: the worst loss is one hold-down.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

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
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading a document raises that is not one of ours."""

T = TypeVar("T")


@attrs.frozen
class _Now:
    """The instant of reading, on both clocks; ``is_same_boot`` when the file's monotonic instants are of this boot."""

    on: datetime.datetime
    at: float
    is_same_boot: bool

    def past(self, value: object) -> float:
        """An instant of the monotonic clock that is not to come."""
        return min(_number(value), self.at)


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
        is_same_boot = boot_id is not None and document.get("boot_id") == boot_id
        return _structure(document, _Now(now, at, is_same_boot))
    except FileNotFoundError:
        return Remembered()
    except OSError as error:
        return Remembered(problems=(f"{path} cannot be read ({error.strerror}); starting without it",))
    except _DAMAGE as error:
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


def _structure(document: Mapping[str, Any], now: _Now) -> Remembered:
    choice = document.get("choice") or {}
    name = choice.get("name")
    if name is not None and not _is_text(name):
        raise ValueError("choice.name is not text")
    transitions = tuple(map(_transition, (document.get("transitions") or [])[-TRANSITIONS_KEPT:]))
    since = _maybe(parse_instant, choice.get("since"))
    problems = []
    if (since and since > now.on) or any(transition.on > now.on for transition in transitions):
        problems.append(
            f"{FILE_NAME} has times after {now.on:%Y-%m-%d %H:%M:%S} UTC; dropped, since the clock was set back"
        )
        since = min(since, now.on) if since else None
        transitions = tuple(transition for transition in transitions if transition.on <= now.on)
    registrations = {}
    for server, entry in (document.get("associations") or {}).items():
        try:
            registrations[server, _text(entry["chef_server_url"], _WORDS_LIMIT)] = _registration(entry, now)
        except _DAMAGE:
            problems.append(f"{FILE_NAME}: damaged registration with {_words(server)}; the node registers again")
    orders, dropped = _orders(document, now)
    instance_id = document.get("instance_id")
    return Remembered(
        name,
        since,
        transitions,
        registrations,
        _history(document.get("runs") or {}, now.on),
        _evidence(document.get("run_evidence") or {}, now),
        orders=orders,
        reason=_words(choice["reason"]) if choice.get("reason") else None,
        problems=(*problems, *dropped),
        with_work=frozenset(filter(_is_text, document.get("with_work") or ())),
        without_object=frozenset(filter(_is_text, document.get("without_object") or ())),
        instance_id=instance_id if is_instance_id(instance_id) else None,
        stale=frozenset(filter(_is_text, document.get("stale") or ())),
        servers=_servers(document.get("servers") or {}, now),
        use=_use(document.get("used"), now),
    )


def _servers(entries: Mapping[str, Any], now: _Now) -> dict[str, Known]:
    """What is not whole is left out: it costs a hold-down."""
    found = {}
    for name, entry in entries.items():
        with contextlib.suppress(*_DAMAGE):
            well_since = _maybe(now.past, entry["well_since"]) if now.is_same_boot else None
            returns = _returns(entry.get("returns"), now) if now.is_same_boot else Returns()
            was_read = entry.get("was_read") is not False  # which older versions do not write
            found[_text(name)] = Known(_text(entry["chef_server_url"], _WORDS_LIMIT), well_since, returns, was_read)
    return found


def _returns(entry: Any, now: _Now) -> Returns:  # noqa: ANN401
    """What older versions do not write, or is not one of ours, is learned again."""
    try:
        failed_at = tuple(sorted(map(now.past, entry["failed_at"][-MOST_A_DAY:])))
        came_back_at = -math.inf if entry["came_back_at"] is None else now.past(entry["came_back_at"])
        return Returns(_count(entry["doublings"], _DOUBLINGS_LIMIT), failed_at, came_back_at)
    except _DAMAGE:
        return Returns()


def _use(entry: Any, now: _Now) -> KnownUse | None:  # noqa: ANN401
    """What is not whole is left out: the next run tells."""
    with contextlib.suppress(*_DAMAGE):
        on = min(parse_instant(entry["since"]), now.on)
        at = now.at - (now.on - on).total_seconds()
        return KnownUse(used.parse(entry), _text(entry["node"]), at, on, _maybe(_text, entry.get("server")))
    return None


def _transition(entry: Mapping[str, Any]) -> Transition:
    server = _maybe(_text, entry["server"])
    return Transition(
        parse_instant(entry["at"]), server, _text(entry["from"]), _text(entry["to"]), _words(entry["reason"])
    )


def _orders(document: Mapping[str, Any], now: _Now) -> tuple[Orders, list[str]]:
    """Drains and pin; and a sentence for each that is not one of ours, since losing it must not lose the others."""
    orders, dropped = Orders(), []
    drains, pin = document.get("drains") or {}, document.get("pin")
    entries = [(name, entry) for name, entry in (drains if isinstance(drains, dict) else {"": drains}).items()]
    for name, entry in [*entries, *([] if pin is None else [(None, pin)])]:
        try:
            fields = _order(entry, now)
            if name is None:
                orders = orders.plus(Pin(server=_text(entry["server"]), **fields, is_strict=entry["strict"] is True))
            else:
                orders = orders.plus(Drain(server=_text(name), **fields))
        except _DAMAGE:
            what = "pin" if name is None else "drain"
            dropped.append(f"{FILE_NAME}: dropped a damaged {what}: {str(entry)[:200]!r}")
    return orders, dropped


def _order(entry: Mapping[str, Any], now: _Now) -> dict[str, Any]:
    """The fields of an `Order` but its server. Its end is taken from the monotonic clock while that is the same one."""
    lasts_s = math.inf if entry["lasts_s"] is None else _number(entry["lasts_s"], LONGEST_S)
    ends_on = _maybe(parse_instant, entry["ends"])
    if not lasts_s > 0 or (ends_on is None) != math.isinf(lasts_s):
        raise ValueError("lasts_s and ends do not match")
    ends_at = math.inf
    if ends_on is not None and now.is_same_boot:
        ends_at = min(_number(entry["ends_at"]), now.at + lasts_s)
    elif ends_on is not None:
        ends_at = ends_at_after_reboot(ends_on, lasts_s, now.at, now.on)
    return {
        "who": _text(entry["who"]),
        "reason": _words(entry["reason"]),
        "created_on": min(parse_instant(entry["created"]), now.on),
        "lasts_s": lasts_s,
        "ends_at": ends_at,
        "ends_on": ends_on,
        "in_use": _maybe(_text, entry["in_use"]),
    }


def _history(entry: Mapping[str, Any], now: datetime.datetime) -> RunHistory:
    """Times after ``now`` are not believed; that the clock was set back is said once, of other times."""
    runs = tuple(run for run in map(_run, entry.get("last") or ()) if run.ended_on <= now)
    last_success_on = _maybe(parse_instant, entry.get("last_success_at"))
    return RunHistory(
        runs[-RUNS_KEPT:],
        _count(entry.get("since_success", 0)),
        min(last_success_on, now) if last_success_on else None,
    )


def _run(entry: Mapping[str, Any]) -> Run:
    return Run(
        run_id=_text(entry["run_id"]),
        server=_maybe(_text, entry["server"]),
        result=_text(entry["result"]),
        error_class=_maybe(_text, entry["error_class"]),
        ended_on=parse_instant(entry["ended_at"]),
        started_on=_maybe(parse_instant, entry["started_at"]),
        duration_s=_maybe(_number, entry["duration_s"]),
        # Older versions write neither of these.
        phase=_maybe(Phase, entry.get("phase")),
        http_status=_maybe(_count, entry.get("http_status")),
    )


def _evidence(entries: Mapping[str, Any], now: _Now) -> dict[tuple[str, str], RunEvidence]:
    """After a reboot nobody knows when a run failed: the next ones tell. What is not one of ours is dropped alone."""
    found = {}
    for name, entry in entries.items():
        with contextlib.suppress(*_DAMAGE):
            saves = entry["saves"] if entry["saves"] in (None, True, False) else None
            has_succeeded = entry.get("succeeded", saves) is True  # which older versions do not write
            failed_starts, failed_at, failure = 0, now.at if saves is False else -math.inf, ""
            if entry["failed_at"] is not None and now.is_same_boot:
                failed_starts, failed_at = _count(entry["failed_starts"]), now.past(entry["failed_at"])
                failure = _words(entry["failure"])
            place = _text(name), _text(entry["chef_server_url"], _WORDS_LIMIT)
            found[place] = RunEvidence(failed_starts, failed_at, failure, saves, has_succeeded)
    return found


def _registration(entry: Mapping[str, Any], now: _Now) -> Registration:
    """One that was throttled is tried again when it was to be, a day from now at most."""
    registration = Registration(
        state=RegistrationState(entry["association"]),
        detail=_words(entry["detail"]),
        attempts=_count(entry["attempts"]),
        ticket=None if entry["ticket"] is None else _text(entry["ticket"], _WORDS_LIMIT),
        identity=_text(entry["identity"]),
        on=_maybe(parse_instant, entry["since"]),
    )
    throttled = entry.get("throttled")
    if throttled is None or not now.is_same_boot:
        return registration
    latest = now.at + _LONGEST_WAIT_S
    return attrs.evolve(
        registration,
        throttled_since=now.past(throttled["since"]),
        retry_at=min(_number(throttled["retry_at"]), latest),
        urgent_at=min(_number(throttled["urgent_at"]), latest),
        awaited_at=min(_number(throttled["awaited_at"]), latest),
    )


def _maybe(read: Callable[[Any], T], value: object) -> T | None:
    return None if value is None else read(value)


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


def _count(value: object, limit: float = _COUNT_LIMIT) -> int:
    return int(_number(value, limit))
