"""Shell: what takes tens of megabytes takes turns, or the unit's memory would not do."""

from __future__ import annotations

import threading

LARGE = threading.Lock()
"""Held by whatever reads and parses a large document, and by whoever has a child process for AWS."""
