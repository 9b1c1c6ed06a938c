"""`make install`, with a Python that only lays out what vendoring and the manual would: who may change all that."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case $2 in
*vendor.py) mkdir -p "$4/package" "$5" "$(dirname "$6")" && touch "$4/package/module.py" "$6" ;;
*manual.py) mkdir -p "$3/man/man8" && touch "$3/man/man8/chef-failover.8" ;;
esac
"""


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nothing_that_is_installed_may_be_changed_or_missed_by_others(tmp_path, umask):
    python, root = tmp_path / "python3.11", tmp_path / "root"
    python.write_text(PYTHON)
    python.chmod(0o755)
    before = os.umask(umask)
    try:
        arguments = [f"DESTDIR={root}", f"PYTHON={python}", f"VENV={tmp_path}/none"]
        subprocess.run(["make", "-C", ROOT, "install", *arguments], check=True, capture_output=True)
    finally:
        os.umask(before)
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert root / "usr/lib/chef-failover/package/module.py" in found
    assert root / "etc/chef/client.d/chef_failover.rb" in found
    assert root / "usr/share/doc/chef-failover/examples/client-key.conf" in found
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o022 or mode & 0o444 != 0o444} == {}
