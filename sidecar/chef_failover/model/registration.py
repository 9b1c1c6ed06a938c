"""Pure: what a provider says of a registration, as values. What follows from it is `decide.registration`."""

from __future__ import annotations

import enum

import attrs


class Event(enum.Enum):
    """What happens to a registration."""

    BEGIN = "begin"
    """The provider is about to be asked."""
    GO_ON = "go on"
    """The provider works on it; its ticket tells which request to ask after."""
    CONFIRM = "confirm"
    FAIL = "fail"
    REFUSE = "refuse"
    LOSE = "lose"
    """The server says that it does not know this node or its key."""


@attrs.frozen
class Answer:
    """What a provider says: GO_ON, CONFIRM, FAIL or REFUSE, with words for people."""

    event: Event
    detail: str = ""
    ticket: str | None = None
    """With GO_ON: what to ask after next time."""
    not_before_s: float = 0.0
    """The server asked for at least this pause (``Retry-After``), or there is nothing to hear earlier."""
    is_throttled: bool = False
    """With FAIL: it takes no more for now (429, 503), most likely because a whole fleet asks."""
