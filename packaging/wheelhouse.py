"""Fetches the wheels that packages are made of, the only step that needs a network: ``wheelhouse.py ARCH DIRECTORY``.

pip checks every wheel against its pinned hash. With all of them there, nothing is asked of anybody.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pins import Pin, packaged

FLOOR = "3.11"
"""Wheels are chosen for the oldest Python; vendor.py refuses what would not serve the newer ones."""
GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def main() -> None:
    """Remove what is pinned no longer, and fetch what is missing."""
    arch, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    missing = packaged()
    for wheel in directory.glob("*.whl"):
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        name = next((pin.name for pin in missing.values() if digest in pin.hashes), None)
        if name is None:
            wheel.unlink()
        else:
            del missing[name]
    if missing:
        _download(directory, missing.values(), [f"--platform={glibc}_{arch}" for glibc in GLIBC])


def _download(directory: Path, pins: Iterable[Pin], platforms: list[str]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.writelines(pin.text for pin in pins)
        requirements.flush()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        which = ["--no-deps", "--only-binary=:all:", f"--python-version={FLOOR}", *platforms, "--platform=any"]
        subprocess.run([*pip, *which, f"--dest={directory}", f"--requirement={requirements.name}"], check=True)


main()
