"""The sidecars of these tests never start: nobody waits for that."""

import pytest

from chef_failover.engine import watch


@pytest.fixture(autouse=True)
def _no_start_is_waited_for(monkeypatch):
    monkeypatch.setattr(watch, "START_S", 0.0)
