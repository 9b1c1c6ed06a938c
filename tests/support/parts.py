"""The programs that some tests run, as they are packaged: missing ones skip a test here and fail it in CI."""

import os
import shutil

import pytest


def require_program(name: str, package: str) -> str:
    """The path of a program, or a skip that names the package; with CI=true a failure, as every part must be there."""
    found = shutil.which(name)
    if found is None:
        missing_part(f"{name} is not installed (package {package})")
    return found


def missing_part(reason: str) -> None:
    """Skips the test with the reason, or fails it with CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, and {reason}", pytrace=False)
    pytest.skip(reason)
