"""Pure: what Chef servers have, side by side. The first is the measure, and each standby is told what it lacks.

Contents are compared by digests, and never kept or shown: a data bag may hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

Objects = Mapping[str, str]
"""Names of one kind, each with its revision or digest; empty where there is nothing more to compare."""
KINDS = ("policies", "cookbooks", "roles", "environments", "data bags", "data bag items")


@attrs.frozen
class Inventory:
    """What one server has. ``untold`` says of a kind that is not in ``kinds`` why it could not be read."""

    label: str
    kinds: Mapping[str, Objects]
    untold: Mapping[str, str]
    clients_without_node: tuple[str, ...] = ()
    nodes_without_client: tuple[str, ...] = ()


def compare(inventories: Sequence[Inventory]) -> dict[str, Any]:
    """What each but the first lacks, of what the first has; at least one inventory."""
    main, standbys = inventories[0], inventories[1:]
    return {
        "main": main.label,
        "standbys": [
            {
                "label": standby.label,
                "whole": not (standby.untold or main.untold),
                "lacks": [
                    lack
                    for kind in KINDS
                    if kind in main.kinds and kind in standby.kinds
                    for lack in _lacks(kind, main.kinds[kind], standby.kinds[kind])
                ],
            }
            for standby in standbys
        ],
        "servers": [
            {
                "label": one.label,
                "counts": {kind: len(objects) for kind, objects in one.kinds.items()},
                "untold": dict(one.untold),
                "clients_without_node": list(one.clients_without_node),
                "nodes_without_client": list(one.nodes_without_client),
            }
            for one in inventories
        ],
    }


def _lacks(kind: str, main: Objects, standby: Objects) -> list[dict[str, Any]]:
    missing = sorted(main.keys() - standby.keys())
    other = sorted(name for name in main.keys() & standby.keys() if main[name] != standby[name])
    found = ((f"{kind} missing", missing), (f"{kind} that differ", other))
    return [{"title": title, "count": len(names), "names": names} for title, names in found if names]
