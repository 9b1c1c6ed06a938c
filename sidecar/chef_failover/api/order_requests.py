"""Pure: a drain or a pin as JSON asks for it, checked whole. A misspelt ``for_s`` must not mean for ever."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

import attrs

from chef_failover.durations import LONGEST_S
from chef_failover.model.orders import Drain, Pin

_KEYS = {
    "drain": ("reason", "for_s", "force", "on_behalf_of"),
    "undrain": ("on_behalf_of",),
    "pin": ("reason", "for_s", "strict", "on_behalf_of"),
    "unpin": ("on_behalf_of",),
}


@attrs.frozen
class OrderRequest:
    """``for_s`` None lasts until a person ends it; ``on_behalf_of`` is whom the asking user names, and no proof."""

    reason: str = ""
    for_s: float | None = None
    is_forced: bool = False
    is_strict: bool = False
    on_behalf_of: str | None = None

    def drain(self, server: str, peer: str, *, now: float, on: datetime.datetime) -> Drain:
        """The drain that is asked for, by the user ``peer``."""
        return Drain(**self._order(server, peer, now, on))

    def pin(self, server: str, peer: str, *, now: float, on: datetime.datetime) -> Pin:
        """The pin that is asked for, by the user ``peer``."""
        return Pin(**self._order(server, peer, now, on), is_strict=self.is_strict)

    def who(self, peer: str) -> str:
        """The user as the kernel knows him, and as whom he says he acts."""
        return f"{peer} (for {self.on_behalf_of})" if self.on_behalf_of not in (None, peer) else peer

    def _order(self, server: str, peer: str, now: float, on: datetime.datetime) -> dict[str, Any]:
        is_endless = self.for_s is None
        return {
            "server": server,
            "who": self.who(peer),
            "reason": self.reason,
            "created_on": on,
            "lasts_s": math.inf if self.for_s is None else self.for_s,
            "ends_at": math.inf if self.for_s is None else now + self.for_s,
            "ends_on": None if is_endless else on + datetime.timedelta(seconds=self.for_s or 0.0),
        }


def parse(action: str, body: object) -> OrderRequest:
    """The request to ``action`` ("drain") in ``body``, as JSON has it.

    Raises:
        ValueError: with everything that is wrong, in one message.
    """
    if not isinstance(body, Mapping):
        raise ValueError("the body must be a JSON object or empty")
    known = _KEYS[action]
    problems = [f"unknown key {key!r}; known keys: {', '.join(known)}" for key in body if key not in known]
    if not _is_line(body.get("reason"), 200):
        problems.append("reason must be null or one line of 1 to 200 characters")
    if not _is_line(body.get("on_behalf_of"), 64):
        problems.append("on_behalf_of must be null or one line of 1 to 64 characters")
    for_s = body.get("for_s")
    is_number = isinstance(for_s, int | float) and not isinstance(for_s, bool)
    if for_s is not None and not (is_number and 0 < for_s <= LONGEST_S):
        problems.append(f"for_s must be null or seconds, above 0 and at most {LONGEST_S:.0f}")
    problems += [f"{key} must be true or false" for key in ("force", "strict") if body.get(key, False) not in _BOOLEANS]
    if problems:
        raise ValueError("; ".join(problems))
    return OrderRequest(
        reason=body.get("reason") or "",
        for_s=None if for_s is None else float(for_s),
        is_forced=bool(body.get("force")),
        is_strict=bool(body.get("strict")),
        on_behalf_of=body.get("on_behalf_of"),
    )


_BOOLEANS = (True, False)


def _is_line(value: Any, length: int) -> bool:  # noqa: ANN401
    return value is None or (isinstance(value, str) and 0 < len(value) <= length and value.isprintable())
