"""Pure: the documents of the API as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chef_failover.durations import in_words

Document = dict[str, Any]


def status(document: Document) -> str:
    """The answer to "why this server?", as a table with a reason for each."""
    if document.get("error"):
        known = document["choice"] or "nothing"
        names = ", ".join(entry["name"] for entry in document["servers"]) or "none"
        return (
            f"The sidecar is down: {document['error']}\n"
            f"Its last choice was: {known}. Configured servers: {names}.\n"
            "chef-client goes on with that choice. Start it with: systemctl start chef-failover"
        )
    if not document["servers"]:
        return "No server is configured, so chef-client keeps its own chef_server_url."
    rows = [("", "SERVER", "HEALTH", "READY", "LAST PROBE", "WHY")]
    rows += [
        (
            "*" if entry["chosen"] else "",
            entry["name"],
            entry["health"],
            _readiness(entry),
            _last_probe(entry),
            entry["reason"],
        )
        for entry in document["servers"]
    ]
    degraded = " (degraded)" if document["degraded"] else ""
    head = f"Using {document['choice']}{degraded} since {document['since']}: {document['reason']}"
    return f"{head}\n\n{_table(rows)}"


def check(document: Document, config_path: str) -> str:
    """The result of probing each server once."""
    rows = [("", "SERVER", "OUTCOME", "DETAIL", "URL")]
    rows += [
        ("ok" if entry["usable"] else "!!", entry["name"], entry["outcome"], entry["detail"], entry["chef_server_url"])
        for entry in document["servers"]
    ]
    how = (
        f"signed as {document['node_name']}"
        if document["signed"]
        else "unsigned (no node name, or no client key that can be read)"
    )
    head = f"{config_path} is valid. Probes are {how}."
    return f"{head}\n\n{_table(rows)}" if document["servers"] else f"{config_path} is valid. It names no server."


def progress(document: Document, *, must_be_associated: bool) -> tuple[bool, str]:
    """Whether the node has a server that works, and one line that says how far it is."""
    if document.get("error"):
        return False, f"waiting for the sidecar: {document['error']}"
    chosen = next((entry for entry in document["servers"] if entry["chosen"]), None)
    if chosen is None:
        return False, "waiting: no server is configured"
    if chosen["outcome"] is None:
        return False, f"waiting for the first probe of {chosen['name']}"
    if document["degraded"]:
        return False, f"waiting: {document['reason']}"
    if must_be_associated and chosen["association"] != "associated":
        return False, f"waiting: {chosen['name']} is UP, and this node is {chosen['association']} there"
    return True, f"ready: {chosen['name']} {chosen['chef_server_url']}"


def _readiness(entry: Document) -> str:
    if not entry["ready"]:
        return "no"
    return "differs" if entry["differences"] else "yes"


def _last_probe(entry: Document) -> str:
    if entry["outcome"] is None:
        return "none yet"
    return f"{entry['outcome']}, {in_words(entry['age_s'])} ago"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
