"""The documents of the API as text: what is said is so."""

import attrs
import pytest

from chef_failover.api import render
from chef_failover.cli import tables
from chef_failover.model.about import About
from chef_failover.model.model import Health, Outcome, Registration, RegistrationState, Returns
from tests.support.builders import WEB, holding, probed, server, without, world


def document(*servers, **more):
    return render.servers(world(*servers, **more), About("1"), now=1.0)


def status(*servers, **more):
    return tables.status(document(*servers, **more))


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
        (server("b", outcome=Outcome.REFUSED), "?"),  # UP until it has failed often enough
    ],
)
def test_ready_is_where_a_run_could_work(one, word):
    row = next(line.split() for line in status(holding("a"), one).splitlines() if line.startswith("   b "))
    assert row[3] == word


def test_why_a_server_must_stay_well_for_longer_than_failback_is_said():
    flapping = server("a", changed_at=1.0, returns=Returns(2, (-1000.0,)))
    said = "in 53 min (failback, since it failed after the node had come back)"
    told = status(flapping, server("b", changed_at=-9e9), current="b")
    assert f"UP again; the node returns {said}" in told
    assert f"  a  it must stay UP {said.replace('in', 'for', 1)}" in told


def test_where_a_run_would_go_is_said_while_the_server_in_use_fails():
    failing = probed(world(holding("a"), holding("b"), current="a"), "a", Outcome.REFUSED, 1.0)
    head = tables.status(render.servers(failing, About("1"), now=1.0)).splitlines()[0]
    assert head.endswith("though its last probe failed: refused; a run that starts now uses b, unless a answers it")
    alone = probed(world(holding("a"), server("b", Health.DOWN), current="a"), "a", Outcome.REFUSED, 1.0)
    for still in (alone, world(holding("a"), holding("b"), current="a")):
        assert "a run that starts now" not in tables.status(render.servers(still, About("1"), now=1.0))


def test_a_warning_is_no_reason_for_not_being_ready():
    told = status(holding("a"), holding("b", OTHER), holding("c", health=Health.DOWN), current="a")
    assert "\n\nNot ready to take over:\n  c  is DOWN: " in told
    assert "\n\nIn use or able to take over, but:\n  b  has another object of this node" in told


def test_registration_that_failed_is_no_reason_while_the_server_is_down():
    failed = Registration(RegistrationState.FAILED, detail="HTTP 500")
    down = document(holding("a"), holding("b", health=Health.DOWN, registration=failed), current="a")
    assert next(line.split()[1:3] for line in tables.status(down).splitlines() if line.startswith("   b ")) == [
        "DOWN",
        "unassociated",
    ]
    assert tables.associations(down)[1] == "b: unassociated; waits until the server is UP"
    assert down["servers"][1]["association"] == "failed"
    up = status(holding("a"), holding("b", registration=failed), current="a")
    assert "   b       UP      failed" in up


@pytest.mark.parametrize(("strict", "words"), [(True, "The strict pin wins"), (False, "The drain wins over the pin")])
def test_which_of_a_drain_and_a_pin_wins_is_said(strict, words):
    order = {"who": "root", "created": "now", "ends": None, "reason": None}
    pin = order | {"server": "a", "strict": strict}
    assert tables.orders(pin, {"a": order})[2].startswith(words)
    assert len(tables.orders(pin, {"b": order})) == 2


NO_NAMES = "no name server answers"


def test_that_the_node_is_offline_comes_first():
    cut_off = probed(world(server("a"), server("b"), current="a"), "a", Outcome.DNS, 1.0, offline=NO_NAMES)
    told = render.servers(cut_off, About("1"), now=1.0)
    first = f"This node is offline: {NO_NAMES}. It cannot reach any Chef server and stays where it is."
    lines = tables.status(told).splitlines()
    assert lines[0] == first
    assert lines[1].endswith(f": this node is offline ({NO_NAMES}), so nothing moves")
    assert tables.status_of(told, "b").splitlines()[0] == first
    assert tables.progress(told, must_be_associated=False) == (False, (f"waiting: this node is offline: {NO_NAMES}",))
