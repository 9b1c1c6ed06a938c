"""Pure: the documents of the API as the status page shows them, in words. The template only places them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import attrs

from chef_failover.api import timeline
from chef_failover.durations import in_words

Document = dict[str, Any]


@attrs.frozen
class Headline:
    """The answer to "why this server?". ``mood`` is ``well``, ``degraded``, ``offline`` or ``idle``."""

    mood: str
    text: str
    reason: str
    since: str | None = None


@attrs.frozen
class Row:
    """One server in the table."""

    name: str
    is_chosen: bool
    health: str
    last_probe: str
    reason: str
    url: str


@attrs.frozen
class Standby:
    """A server that is not in use, and what it lacks to take over; nothing when it could."""

    name: str
    lacks: tuple[str, ...]


@attrs.frozen
class Registration:
    """How the node's registration with one server stands."""

    name: str
    state: str
    detail: str
    attempts: int
    next_attempt: str


@attrs.frozen
class Overview:
    """The whole page. Times are ISO 8601 in UTC."""

    node: str
    version: str
    on: str
    headline: Headline
    servers: tuple[Row, ...]
    standbys: tuple[Standby, ...]
    registrations: tuple[Registration, ...]
    lines: tuple[timeline.Line, ...]
    entries: tuple[timeline.Entry, ...]


def overview(document: Document, runs: Sequence[Document] = (), *, on: datetime.datetime) -> Overview:
    """The page at the wall time ``on``.

    Args:
        document: as `render.servers` has it.
        runs: those that have ended, each as ``GET /v1/runs`` has it.
        on: now.
    """
    servers = document["servers"]
    return Overview(
        node=document["node_name"] or "this node",
        version=document["version"],
        on=on.strftime("%Y-%m-%dT%H:%M:%SZ"),
        headline=_headline(document),
        servers=tuple(map(_row, servers)),
        standbys=tuple(Standby(entry["name"], tuple(entry["lacks"])) for entry in servers if not entry["chosen"]),
        registrations=tuple(map(_registration, servers)),
        lines=timeline.lines(document, runs, on=on),
        entries=timeline.entries(document, runs, on=on),
    )


def _headline(document: Document) -> Headline:
    if document["choice"] is None:
        return Headline("idle", "No server is configured", "so chef-client keeps its own chef_server_url")
    mood, name = "well", document["choice"]
    if document["degraded"]:
        mood, name = "degraded", f"{name}, degraded"
    if document["offline"]:
        mood = "offline"
    return Headline(mood, f"Using {name}", document["reason"], document["since"])


def _row(entry: Document) -> Row:
    probed = "none yet" if entry["outcome"] is None else f"{entry['outcome']}, {in_words(entry['age_s'])} ago"
    return Row(entry["name"], entry["chosen"], entry["health"], probed, entry["reason"], entry["chef_server_url"])


def _registration(entry: Document) -> Registration:
    retry_s = entry["association_retry_in_s"]
    due = "none needed" if retry_s is None else "now" if retry_s <= 0 else f"in {in_words(retry_s)}"
    return Registration(
        entry["name"], entry["association"], entry["association_detail"] or "", entry["association_attempts"], due
    )
