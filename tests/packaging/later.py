"""Programs of a later Debian, in a root of their own, where they see the temporary files of the tests."""

import os

from tests.packaging.node import call
from tests.packaging.packages import ROOT


def later(program):
    """How such a program is called; None where it is not to be had."""
    root = ROOT / "build" / "roots" / "later"
    if "ALONE" not in os.environ or not (root / "usr" / "bin" / program).exists():
        return None
    for shared in ("dev", "proc"):
        (root / shared).mkdir(exist_ok=True)
        if not os.path.ismount(root / shared):
            call("mount", "--rbind", f"/{shared}", root / shared)  # in a mount namespace that ends with the tests
    return ["chroot", root, f"/usr/bin/{program}"]
