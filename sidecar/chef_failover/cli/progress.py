"""I/O: how far something is, on a terminal in place, elsewhere one line for each change."""

from __future__ import annotations

import re
import shutil
from typing import TextIO

_SPAN = re.compile(r"\d+(\.\d+)? (s|min|h|d)\b")
"""Lengths of time, which change by themselves and tell nothing new in a log."""


class Progress:
    """Shows lines on ``stream``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._shown: tuple[str, ...] = ()

    def show(self, lines: tuple[str, ...]) -> None:
        """``lines`` is how far it is now."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns
            lines = tuple(line[: width - 1] for line in lines)
        if self._is_terminal and self._shown:
            self._stream.write(f"\x1b[{len(self._shown)}F\x1b[J")
        said = {_SPAN.sub("", line) for line in self._shown}
        new = lines if self._is_terminal else tuple(line for line in lines if _SPAN.sub("", line) not in said)
        self._stream.write("".join(f"{line}\n" for line in new))
        self._stream.flush()
        self._shown = lines
