"""Fetches the wheels that the package is made of, the only step that needs a network: ``wheelhouse.py DIRECTORY``.

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
"""Wheels are chosen for the oldest Python; vendor.py takes nothing from them that would not serve the newer ones."""
PLATFORMS = ("any", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""MarkupSafe and PyYAML have a wheel for each platform. vendor.py takes their Python code, which is the same in all."""


def main() -> None:
    """Remove what is pinned no longer, and fetch what is missing."""
    directory = Path(sys.argv[1])
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
        _download(directory, missing.values())


def _download(directory: Path, pins: Iterable[Pin]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.writelines(pin.text for pin in pins)
        requirements.flush()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        platforms = [f"--platform={platform}" for platform in PLATFORMS]
        which = ["--no-deps", "--only-binary=:all:", f"--python-version={FLOOR}", *platforms]
        subprocess.run([*pip, *which, f"--dest={directory}", f"--requirement={requirements.name}"], check=True)


main()
