"""Makes the zip of the function: ``build.py WHEELS ZIP``. No network. The same bytes for the same sources.

It has our code and what that imports here. boto3 is in Lambda's runtime, with the model of EC2 that our package lacks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
NEEDED = ("attrs", "cachetools", "certifi", "idna", "requests", "urllib3")


def main() -> None:
    """Build the tree, and pack it."""
    wheels, path = map(Path, sys.argv[1:])
    made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")), UTC)  # 1980, when zip begins
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        parts = (wheels, tree, tree / "licenses", tree / "sbom.cdx.json")
        subprocess.run([sys.executable, "-B", HERE.parent / "vendor.py", *parts, *NEEDED], check=True)
        files = {str(one.relative_to(tree)): one for one in tree.rglob("*") if one.is_file()}
        files |= {"handler.py": HERE / "handler.py", "licenses/LICENSE": HERE.parents[1] / "LICENSE"}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, made.timetuple()[:6])
                entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
                archive.writestr(entry, files[name].read_bytes())


main()
