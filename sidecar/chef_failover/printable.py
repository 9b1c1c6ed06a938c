"""Pure: text of others, made fit to be shown at the edge where it leaves us: a terminal, a log, a page.

A server, a list, a file or a program on the socket may have put anything in it: escape sequences that command a
terminal, marks that turn the direction of what follows, line breaks that forge a line.
"""

from __future__ import annotations

from typing import Any

LIMIT = 300
"""Characters that are kept of what others say."""
VALUE_LIMIT = 2000
"""Characters that are kept of a whole sentence of ours, which quotes what others say."""


def printable(text: str, limit: int = LIMIT) -> str:
    """``text`` on one line: cut, with single spaces, and without what `visible` takes."""
    return " ".join(visible(text[:limit]).split())


def visible(text: str) -> str:
    """``text`` with a space for every character that is none to look at: controls, line breaks, bidirectional marks."""
    return "".join(char if char.isprintable() else " " for char in text)


def printable_values(document: Any) -> Any:  # noqa: ANN401
    """The JSON value ``document`` with all text in it, keys as well, `printable`.

    Raises:
        RecursionError: it is nested too deep.
    """
    if isinstance(document, str):
        return printable(document, VALUE_LIMIT)
    if isinstance(document, dict):
        return {printable_values(key): printable_values(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [printable_values(value) for value in document]
    return document
