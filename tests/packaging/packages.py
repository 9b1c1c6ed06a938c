"""Building packages of this working tree, as `make rpm` does."""

from __future__ import annotations

import os
from pathlib import Path

from tests.packaging.node import call
from tests.support.parts import missing_part, require_program

ROOT = Path(__file__).parents[2]
ARCHES = ("x86_64", "aarch64")
OLD, NEW = "0.0.1", "99.0.0"
"""Versions before and after all others."""


def build(directory: Path, arch: str, version: str) -> Path:
    """Build the package of ``version`` for ``arch``, compressed quickly, and give its path."""
    require_program("rpmbuild", "rpm")
    wheels = ROOT / "build" / "wheelhouse" / arch
    if not wheels.is_dir():
        missing_part("there is no wheelhouse (make wheelhouse)")
    environ = os.environ | {"VERSION": version, "PAYLOAD": "w3.zstdio"}
    call(ROOT / "packaging" / "build-rpm", arch, wheels, directory, env=environ)
    return directory / f"chef-failover-{version}-1.amzn2023.{arch}.rpm"
