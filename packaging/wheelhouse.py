"""Fetches the wheels that the packages are made of: ``wheelhouse.py ARCH DIRECTORY``. The only step that needs a network.

pip checks every wheel against its pinned hash. Wheels that are there already are not fetched again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from pins import Pin, packaged

FLOOR = "3.11"
"""Wheels are chosen for the oldest Python; vendor.py refuses what would not serve the newer ones."""
PURE = {"charset-normalizer"}
"""Compiled for one Python by default, but there is a pure wheel, too."""
GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def main() -> None:
    """Fetch, and remove what is pinned no longer."""
    arch, directory = sys.argv[1], Path(sys.argv[2])
    pins = packaged()
    directory.mkdir(parents=True, exist_ok=True)
    for wheel in directory.glob("*.whl"):
        name, version = wheel.name.split("-")[:2]
        pin = pins.get(name.replace("_", "-").lower())
        if pin is None or pin.version != version:
            wheel.unlink()
    compiled = [f"--platform={glibc}_{arch}" for glibc in GLIBC]
    _download(directory, [pin for pin in pins.values() if pin.name not in PURE], compiled)
    _download(directory, [pin for pin in pins.values() if pin.name in PURE], [])


def _download(directory: Path, pins: list[Pin], platforms: list[str]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.writelines(pin.text for pin in pins)
        requirements.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        command += ["--no-deps", "--only-binary=:all:", f"--python-version={FLOOR}", *platforms, "--platform=any"]
        subprocess.run([*command, f"--dest={directory}", f"--requirement={requirements.name}"], check=True)


main()
