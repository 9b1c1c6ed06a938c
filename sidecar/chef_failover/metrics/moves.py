"""Pure: moves of the node from one server to another, and why."""

from __future__ import annotations

import enum

from chef_failover.model.model import Snapshot, Standing


class Move(enum.StrEnum):
    """A change of the server in use, by its direction in the order of preference."""

    FAILOVER = "failover"
    FAILBACK = "failback"


PREFERRED, PINNED, REMOVED = "preferred", "pinned", "removed"
_LEFT_FOR = ("down", "turns_node_away", "not_ready", "drained", "fails_runs", "impaired")
CAUSES = (*_LEFT_FOR, PREFERRED, PINNED, REMOVED)
"""Why the node moves; these are shown from the start, with 0, so that the first of a kind is an increase."""


def move_between(before: Snapshot, after: Snapshot) -> tuple[Move, str] | None:
    """The move of the settled choice and its cause: one of CAUSES or, rarely, the name of another `Standing`.

    The very first choice is no move.
    """
    was, now = before.choice, after.choice
    if was is None or now is None or was.name == now.name:
        return None
    left = next((verdict for verdict in now.verdicts if verdict.name == was.name), None)
    if left is None:
        return Move.FAILOVER, REMOVED
    move = Move.FAILOVER if left.is_better else Move.FAILBACK
    if after.pinned == now.name:
        return move, PINNED
    return move, PREFERRED if left.standing is Standing.ELIGIBLE else left.standing.name.lower()
