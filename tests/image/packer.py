"""Packer with the template of packaging/packer, as the version at hand can read it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.parts import require_program

TEMPLATE = Path(__file__).parents[2] / "packaging" / "packer"
BUILD_S = 900.0
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_POLL_DELAY_SECONDS": "1",
    "CHECKPOINT_DISABLE": "1",
}


class Packer:
    """``folder`` is where it keeps what it makes."""

    def __init__(self, folder: Path) -> None:
        self.program = require_program("packer", "packer")
        self.folder = folder
        self.template = TEMPLATE
        if "v1.6." in self.run("version"):
            self.template = folder / "template"
            subprocess.run([TEMPLATE / "for-packer-1.6", self.template], check=True, timeout=30)

    def run(self, *words: str, timeout_s: float = 60.0) -> str:
        """What it says; an error if it fails."""
        ran = subprocess.run(
            [self.program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
            cwd=self.folder,
            env=os.environ | ENVIRONMENT | {"PACKER_CACHE_DIR": str(self.folder / "cache")},
        )
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    def build(self, **variables: object) -> str:
        words = [word for name, value in variables.items() for word in ("-var", f"{name}={value}")]
        return self.run("build", "-color=false", *words, str(self.template), timeout_s=BUILD_S)
