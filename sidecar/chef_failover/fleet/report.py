"""Pure: what a fleet uses now, and what would become of it without one of its servers.

The answer is about the nodes that use that server; the others go on where they are. A node outlives its server if
another one could take it over now, as `standby` has it. What hinders the standby that is nearest to it is the reason of
a node that would not.
"""

from __future__ import annotations

import collections
import datetime
import enum
from collections.abc import Collection, Iterable
from typing import Any

import attrs

from chef_failover.fleet.nodes import Node
from chef_failover.fleet.standby import Barrier, Caution, first_of

Document = dict[str, Any]
_Names = dict[str, str]
"""What nodes call the server of each ``chef_server_url`` that was read."""


class Hindrance(enum.StrEnum):
    """Why nothing can take a node over, whatever its servers do."""

    NOT_INSTALLED = "not_installed"
    NOT_SEEN = "not_seen"
    SIDECAR_DOWN = "sidecar_down"
    TOO_OLD = "too_old"
    PINNED = "pinned"
    NO_STANDBY = "no_standby"


Reason = Hindrance | Barrier
REASONS: dict[Reason, str] = {
    Hindrance.NOT_INSTALLED: "without chef-failover",
    Hindrance.NOT_SEEN: "not seen for longer than two intervals",
    Hindrance.SIDECAR_DOWN: "its sidecar is down",
    Hindrance.TOO_OLD: "its chef-failover is too old to tell",
    Hindrance.PINNED: "pinned strictly to this server",
    Hindrance.NO_STANDBY: "no other server is configured",
    Barrier.NOT_REGISTERED: "not registered on any standby",
    Barrier.DOWN: "every standby that knows it is down",
    Barrier.TURNED_AWAY: "its standbys refuse it",
    Barrier.NOT_READY: "its standbys lack what a run needs",
    Barrier.NO_OBJECT: "no node object on any standby",
    Barrier.FAILS_RUNS: "its standbys failed its last runs",
    Barrier.IMPAIRED: "its standbys' search index fails",
    Barrier.CANNOT_SAVE: "it cannot save its object on any standby",
    Barrier.NOT_READ: "its sidecar has yet to read its standbys",
}
CAUTIONS = {
    Caution.STALE: "the standby is stale",
    Caution.CERTIFICATE_ENDS: "the standby's certificate ends within 21 days",
}
STATES = {
    "degraded": "degraded",
    "drained": "with a drained server",
    "pinned": "pinned to a server",
    Hindrance.NOT_INSTALLED: REASONS[Hindrance.NOT_INSTALLED],
    Hindrance.SIDECAR_DOWN: "sidecar down",
    Hindrance.NOT_SEEN: REASONS[Hindrance.NOT_SEEN],
}


@attrs.frozen
class Source:
    """What one Chef server gave. ``known`` is its own count of nodes, None where it did not tell."""

    label: str
    chef_server_url: str
    read: int
    known: int | None
    unindexed: tuple[str, ...] = ()
    """Nodes that it has and that its search does not find."""
    trouble: str | None = None

    @property
    def is_whole(self) -> bool:
        """Nothing was left out, as far as it tells."""
        return self.trouble is None and not self.unindexed and (self.known is None or self.read >= self.known)


def make(
    nodes: Collection[Node],
    sources: Iterable[Source],
    *,
    without: str | None,
    interval_s: float,
    on: datetime.datetime,
) -> Document:
    """The report on ``nodes``.

    Args:
        nodes: each name once.
        sources: where they were read.
        without: the server that dies; None for the one that most nodes use.
        interval_s: seconds between two runs of a node.
        on: now, in wall time.

    Raises:
        ValueError: no node uses the server ``without``, and none knows it.
    """
    sources = tuple(sources)
    seen_after = on.timestamp() - 2 * interval_s
    names = _names(nodes)
    using = collections.Counter(_in_use(node, names) for node in nodes)
    if without is None:
        without = max(using, key=lambda name: using[name], default=None)
    elif without not in {*using, *(one.name for node in nodes for one in node.facts.servers or ())}:
        raise ValueError(f"no node uses {without}; they use: {', '.join(sorted(using)) or 'none'}")
    states = _groups(STATES, ((state, node.name) for node in nodes for state in _states(node, seen_after)))
    outcome = _without(nodes, names, without, seen_after) if without is not None else None
    return {
        "schema": 1,
        "at": on.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sources": [attrs.asdict(source) | {"whole": source.is_whole} for source in sources],
        "whole": all(source.is_whole for source in sources),
        "nodes": len(nodes),
        "using": dict(using.most_common()),
        "states": states,
        "without": outcome,
    }


def is_well(document: Document) -> bool:
    """Every node was read, and every one would go on."""
    return bool(document["whole"]) and not (document["without"] and document["without"]["left_alone"])


def _without(nodes: Iterable[Node], names: _Names, without: str, seen_after: float) -> Document:
    go_on: collections.Counter[str] = collections.Counter()
    alone: list[tuple[Reason, str]] = []
    cautions: list[tuple[Caution, str]] = []
    for node in nodes:
        use = _in_use(node, names)
        if use != without:
            go_on[use] += 1
        elif hindrance := _hindrance(node, without, seen_after):
            alone.append((hindrance, node.name))
        else:
            others = tuple(one for one in node.facts.servers or () if one.name != without)
            best = first_of(others)
            if best is None:
                alone.append((_nearest(one.barrier for one in others), node.name))
            else:
                go_on[best.name] += 1
                cautions += [(caution, node.name) for caution in best.cautions]
    return {
        "server": without,
        "go_on": dict(go_on.most_common()),
        "count": sum(go_on.values()),
        "left_alone": _groups(REASONS, alone),
        "cautions": _groups(CAUTIONS, cautions),
    }


def _hindrance(node: Node, without: str, seen_after: float) -> Hindrance | None:
    facts = node.facts
    checks = (
        (_is_unseen(node, seen_after), Hindrance.NOT_SEEN),
        (facts.available is None, Hindrance.NOT_INSTALLED),
        (facts.available is False, Hindrance.SIDECAR_DOWN),
        (facts.servers is None, Hindrance.TOO_OLD),
        (facts.is_pinned_strictly and facts.pinned == without, Hindrance.PINNED),
        (not [one for one in facts.servers or () if one.name != without], Hindrance.NO_STANDBY),
    )
    return next((hindrance for holds, hindrance in checks if holds), None)


def _nearest(barriers: Iterable[Barrier | None]) -> Barrier:
    found = {*barriers}
    return next(barrier for barrier in Barrier if barrier in found)


def _states(node: Node, seen_after: float) -> list[str]:
    facts = node.facts
    checks = (
        (facts.is_degraded, "degraded"),
        (facts.drained, "drained"),
        (facts.pinned, "pinned"),
        (facts.available is None, Hindrance.NOT_INSTALLED),
        (facts.available is False, Hindrance.SIDECAR_DOWN),
        (_is_unseen(node, seen_after), Hindrance.NOT_SEEN),
    )
    return [state for holds, state in checks if holds]


def _is_unseen(node: Node, seen_after: float) -> bool:
    return node.seen_at is None or node.seen_at < seen_after


def _groups(titles: dict[Any, str], members: Iterable[tuple[Any, str]]) -> list[Document]:
    """The members by their key, the largest group first."""
    found: dict[Any, list[str]] = collections.defaultdict(list)
    for key, name in members:
        found[key].append(name)
    return [
        {"key": str(key), "title": titles[key], "count": len(names), "nodes": sorted(names)}
        for key, names in sorted(found.items(), key=lambda group: -len(group[1]))
    ]


def _names(nodes: Iterable[Node]) -> _Names:
    """A node saves its object on the server that it uses: what most of those there call it is its name."""
    told: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for node in nodes:
        if node.facts.server:
            told[node.found_on][node.facts.server] += 1
    return {url: count.most_common(1)[0][0] for url, count in told.items()}


def _in_use(node: Node, names: _Names) -> str:
    """The server that its runs use: by its own word, or else the one that had its newest object."""
    return node.facts.server or names.get(node.found_on, node.found_on)
