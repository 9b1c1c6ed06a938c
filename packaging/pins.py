"""What requirements/run.txt pins, and what of it goes into the package."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

RUN_TXT = Path(__file__).parents[1] / "requirements" / "run.txt"


@dataclasses.dataclass(frozen=True)
class Pin:
    """One pinned requirement; ``text`` is its whole entry, as pip reads it."""

    name: str
    version: str
    hashes: frozenset[str]
    text: str


def packaged(run_txt: Path = RUN_TXT) -> dict[str, Pin]:
    """The pins that go into the package, by name."""
    entries = re.findall(r"^[a-z0-9].*(?:\n +[^\n]*)*", run_txt.read_text(), flags=re.MULTILINE)
    pins = [_pin(entry) for entry in entries]
    return {pin.name: pin for pin in pins}


def _pin(entry: str) -> Pin:
    name, _, version = entry.split(maxsplit=1)[0].partition("==")
    return Pin(name, version, frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)), entry + "\n")
