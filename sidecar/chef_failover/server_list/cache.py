"""I/O: the last list of use, on disk, for a start at which its source cannot be asked.

It is the text as it was fetched, so that lines count as they do at the source, below one comment that says where it is
from. It is checked again like any other list when it is read.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from pathlib import Path

from chef_failover import files
from chef_failover.config.source import Source
from chef_failover.server_list.listing import SIZE_LIMIT, Listing

FILE_NAME = "discovered.yml"


def read(state_dir: Path, source: Source | None) -> Listing | None:
    """What was kept of ``source``; None if nothing, or nothing whole. Never fails."""
    try:
        head, _, text = files.read(state_dir / FILE_NAME, 2 * SIZE_LIMIT).decode().partition("\n")
        told = json.loads(head.removeprefix("#"))
        fetched_on = datetime.datetime.fromisoformat(told["fetched"])
        is_whole = told["length"] == len(text) and fetched_on.tzinfo is not None
        if told["source"] != str(source) or not is_whole or not isinstance(told["version"], str):
            return None
        return Listing(told["source"], text, told["version"], fetched_on)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def drop(state_dir: Path) -> None:
    """Keep nothing. Never fails."""
    with contextlib.suppress(OSError):
        (state_dir / FILE_NAME).unlink()


def write(state_dir: Path, listing: Listing) -> None:
    """Keep ``listing`` in the place of what was kept before.

    Raises:
        OSError: the directory cannot be written.
    """
    head = {
        "source": listing.source,
        "version": listing.version,
        "fetched": listing.fetched_on.isoformat(),
        "length": len(listing.text),
    }
    files.replace(state_dir / FILE_NAME, f"# {json.dumps(head)}\n{listing.text}".encode())
