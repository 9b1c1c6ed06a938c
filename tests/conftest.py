"""Shared by all tests: the helpers beside this file are importable."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def contract():
    """The folder with the JSON that binds the API to the Ruby side."""
    return Path(__file__).parent / "contract"
