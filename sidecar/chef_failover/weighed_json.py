"""Pure: JSON that others wrote, weighed before it is parsed.

A text of a few megabytes may become a hundred times as much in memory: ``{},`` has three bytes, and takes seventy. What
it takes at the most is told by its length and by how many values it has, and both can be counted for nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

VALUE_BYTES = 160
"""Memory for each value or pair, as CPython 3.11 has it: 120 in what Ohai writes, 200 where every key is another."""
_BEYOND_TWO_BYTES = re.compile(b"[\xf0-\xff]")


def weight(text: bytes | bytearray) -> int:
    """The bytes of memory that parsing ``text`` takes beside it, roughly."""
    width = 1 if text.isascii() else 4 if _BEYOND_TWO_BYTES.search(text) else 2
    values = text.count(b",") + text.count(b"[") + text.count(b"{")
    return width * len(text) + VALUE_BYTES * values


def loads(text: bytes, limit: int, object_hook: Callable[[dict[str, Any]], object] | None = None) -> Any:  # noqa: ANN401
    """What ``text`` says, if that takes ``limit`` bytes of memory at the most.

    Raises:
        ValueError: it is not JSON, or too much.
    """
    if weight(text) > limit:
        raise ValueError("it is too large")
    try:
        return json.loads(text, object_hook=object_hook)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("it is not whole JSON") from error
