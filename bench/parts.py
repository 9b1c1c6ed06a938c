"""The programs that are measured, or that we are measured against."""

from __future__ import annotations

import os
import shutil

_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


class MissingPartError(Exception):
    """A program is not installed; the message is its name."""


def require(name: str) -> str:
    """The path of a program; Debian keeps servers where a user's PATH does not look."""
    found = shutil.which(name) or shutil.which(name, path=_SBIN)
    if found is None:
        raise MissingPartError(name)
    return found


def is_ci() -> bool:
    """Whether a missing part is a failure."""
    return os.environ.get("CI") == "true"
