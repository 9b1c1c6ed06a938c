"""Pure: what somebody else says, fit for a line of a log or a table."""

from __future__ import annotations

LIMIT = 300
"""Characters that are kept."""


def printable(text: str) -> str:
    """``text`` on one line: cut, with single spaces, and without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[:LIMIT]).split())
