"""The documents of the API as text: what is said is so."""

import attrs
import pytest

from chef_failover.api import render
from chef_failover.cli import tables
from chef_failover.model.about import About
from chef_failover.model.model import Health, Outcome, Registration, RegistrationState
from tests.support.builders import WEB, holding, server, without, world


def status(*servers, **more):
    return tables.status(render.servers(world(*servers, **more), About("1"), now=1.0))


UNREGISTERED = Registration(RegistrationState.UNREGISTERED)
OTHER = attrs.evolve(WEB, run_list=("recipe[db]",))


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (holding("b"), "yes"),
        (holding("b", OTHER), "differs"),
        (holding("b", health=Health.DOWN), "no"),
        (holding("b", registration=UNREGISTERED), "no"),
        (without("b"), "no"),
        (server("b", outcome=Outcome.CLOCK_SKEW), "no"),
        (server("b", Health.UNKNOWN), "?"),
    ],
)
def test_ready_is_where_a_run_could_work(one, word):
    row = next(line.split() for line in status(holding("a"), one).splitlines() if line.startswith("   b "))
    assert row[3] == word
