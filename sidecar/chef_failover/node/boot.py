"""I/O: which boot of this machine this is: its monotonic clock tells nothing of the instants of another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "CHEF_FAILOVER_BOOT_ID"
"""The unit's sandbox hides /proc/sys, so the unit passes what systemd knows."""
_PATH = Path("/proc/sys/kernel/random/boot_id")


def boot_id(environ: Mapping[str, str] = os.environ, path: Path = _PATH) -> str | None:
    """The kernel's random number of this boot as 32 hexadecimal digits; None where nobody tells."""
    text = environ.get(VARIABLE, "")
    if not text:
        try:
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None
    digits = text.strip().replace("-", "").lower()
    return digits if len(digits) == 32 and set(digits) <= set("0123456789abcdef") else None
