"""Pure: the report on a fleet as text for a terminal: the table first, then the groups, with a few names of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chef_failover.cli.tables import table

Document = Mapping[str, Any]
NAMES = 10
"""Of one group that are shown; ``--json`` has all."""


def report(document: Document) -> str:
    """What servers the nodes use, how they stand, and what would become of them without one server."""
    read = "\n".join(line for source in document["sources"] for line in _source(source))
    sections = [read, _using(document), _groups("State:", document["states"])]
    if document["without"]:
        sections += _without(document["without"], document["nodes"])
    if "parity" in document:
        sections += _parity(document["parity"])
    return "\n\n".join(filter(None, sections))


def _source(source: Document) -> Iterator[str]:
    of = f" of {source['known']}" if source["known"] is not None else ""
    label = "" if source["label"] == source["chef_server_url"] else f"{source['label']}: "
    yield f"{label}{source['read']}{of} nodes read from {source['chef_server_url']}"
    if source["trouble"]:
        yield f"  not all could be read: {source['trouble']}"
    if source["unindexed"]:
        yield f"  its search does not find {len(source['unindexed'])} of them: {_names(source['unindexed'])}"


def _using(document: Document) -> str:
    rows = [("SERVER IN USE", "NODES"), *((name, f"{count}") for name, count in document["using"].items())]
    return table(rows) if document["using"] else "There are no nodes."


def _without(without: Document, total: int) -> list[str]:
    alone = sum(group["count"] for group in without["left_alone"])
    head = f"Without {without['server']}, {without['count']} of {total} nodes go on"
    head += f", and {alone} would be left alone." if alone else "."
    rows = [(f"  {name}", str(count)) for name, count in without["go_on"].items()]
    return [
        "\n".join(filter(None, (head, table(rows)))),
        _groups("Left alone:", without["left_alone"]),
        _groups("They go on, but:", without["cautions"]),
    ]


def _parity(compared: Document) -> Iterator[str]:
    for standby in compared["standbys"]:
        rows = [(f"  {lack['title']}", str(lack["count"]), _names(lack["names"])) for lack in standby["lacks"]]
        less = "" if standby["whole"] else ", of what could be read"
        head = f"{standby['label']} has everything that {compared['main']} has{less}."
        yield f"{standby['label']} lacks, of what {compared['main']} has:\n{table(rows)}" if rows else head
    for server in compared["servers"]:
        rows = [(f"  {kind} could not be read", "", why) for kind, why in server["untold"].items()]
        for title, names in (
            ("clients without a node", server["clients_without_node"]),
            ("nodes without a client", server["nodes_without_client"]),
        ):
            rows += [(f"  {title}", str(len(names)), _names(names))] if names else []
        if rows:
            yield f"{server['label']}:\n{table(rows)}"


def _groups(title: str, groups: Sequence[Document]) -> str:
    rows = [(f"  {group['title']}", str(group["count"]), _names(group["nodes"])) for group in groups]
    return f"{title}\n{table(rows)}" if rows else ""


def _names(names: Sequence[str]) -> str:
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {more} more" if more > 0 else "")
