"""Shell: what takes tens of megabytes takes turns, or the unit's memory would not do."""

from __future__ import annotations

import threading

LARGE = threading.Lock()
"""Held while a large document is read and parsed, and while a child process for AWS runs."""
