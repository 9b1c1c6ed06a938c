"""Pure: what ``GET /v1/server`` is asked."""

from __future__ import annotations

import math
import re
from urllib.parse import parse_qsl

import attrs

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")


@attrs.frozen
class Question:
    """Whether to wait for fresh results, and how old, in seconds, they may be at the most."""

    waits: bool = True
    max_age_s: float = math.inf

    def unhurried(self) -> Question:
        """The same for a question that accepts results as old as ``fresh_for``."""
        return attrs.evolve(self, max_age_s=math.inf)

    @classmethod
    def parse(cls, query: str) -> Question:
        """The question in the query of a URL.

        Raises:
            ValueError: it makes no sense; with what would.
        """
        asked = dict(parse_qsl(query, keep_blank_values=True))
        wait, max_age = asked.get("wait"), asked.get("max_age")
        if wait not in (None, "no"):
            raise ValueError(f"wait is {wait!r}; write no, or leave it out")
        if max_age is not None and not _SECONDS.fullmatch(max_age):
            raise ValueError(f"max_age is {max_age!r}; write seconds such as 0.5, or leave it out")
        return cls(wait is None, math.inf if max_age is None else float(max_age))
