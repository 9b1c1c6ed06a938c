"""Building packages of this working tree, as `make rpm` does."""

from __future__ import annotations

import os
from pathlib import Path

from tests.packaging.node import call
from tests.support.parts import missing_part, require_program

ROOT = Path(__file__).parents[2]
WHEELHOUSE = ROOT / "build" / "wheelhouse"
OLD, NEW = "0.0.1", "99.0.0"
"""Versions before and after all others."""


def build(directory: Path, version: str) -> Path:
    """Build the package of ``version``, compressed quickly, and give its path."""
    require_program("rpmbuild", "rpm")
    if not WHEELHOUSE.is_dir():
        missing_part("there is no wheelhouse (make wheelhouse)")
    environ = os.environ | {"VERSION": version, "PAYLOAD": "w3.zstdio"}
    call(ROOT / "packaging" / "build-rpm", WHEELHOUSE, directory, env=environ)
    return directory / f"chef-failover-{version}-1.noarch.rpm"
