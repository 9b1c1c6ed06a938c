"""An object that this node cannot save: a warning by a reading, a veto by a run, and what ends either."""

import math

import attrs
import pytest

from chef_failover.api import render
from chef_failover.cli import tables
from chef_failover.decide.outlook import conditions_for_use, shortcomings
from chef_failover.decide.readiness import caution, sentence, why_not_ready
from chef_failover.decide.reading import LACKING_S, due_at, question
from chef_failover.decide.rights import BARRED_S, REFUSED, cure, may_save
from chef_failover.decide.world import apply_run
from chef_failover.model.about import About
from chef_failover.model.model import NodeCheck, Outcome, Standing
from chef_failover.model.needs import ReadinessMode, ReadinessPolicy
from chef_failover.model.question import Look
from chef_failover.model.run_history import Phase, Run, RunEvidence
from tests.support.builders import ON, WEB, bare, holding, probed, server, was_read, world

REFUSAL = {"result": "failed", "phase": Phase.SAVE, "http_status": 403}
WORKED = {"result": "succeeded"}


def ran(snapshot, at, name="a", *, result, **more):
    return apply_run(snapshot, Run(str(at), name, result, None, ON, **more), now=at, on=ON)


def pair(may=True, **more):
    """Two servers with the node's object, in use the first, which shows its rights or not."""
    a = holding("a", node_check=NodeCheck(0.0, WEB, may_save=may), changed_at=-math.inf)
    return world(a, holding("b"), **more)


@pytest.mark.parametrize(
    ("check", "evidence", "expected"),
    [
        (None, RunEvidence(), None),
        (NodeCheck(0.0, WEB), RunEvidence(), None),
        (NodeCheck(0.0, WEB, may_save=False), RunEvidence(), False),
        (NodeCheck(0.0, WEB, may_save=False), RunEvidence(saves=True), True),
        (NodeCheck(0.0, WEB), RunEvidence(saves=False), False),
    ],
)
def test_a_run_knows_better_than_a_reading(check, evidence, expected):
    assert may_save(server("a", node_check=check, run_evidence=evidence)) is expected


def test_a_reading_that_is_refused_warns_and_moves_nobody():
    snapshot = pair(may=False)
    a, b = snapshot.servers
    assert (snapshot.choice.name, why_not_ready(snapshot, a)) == ("a", None)
    said = f"has an object that this node probably cannot save, because another client created it: {cure('web-1')}"
    assert shortcomings(snapshot, a, now=0.0, on=None) == (said,)
    assert "knife node delete web-1" in said
    assert "knife acl add client web-1 nodes web-1 update" in said
    assert sentence(snapshot, a) == "has an object of this node; this node probably cannot save its object there"
    assert caution(snapshot, a).startswith("a: this node probably cannot save its object there")
    assert (shortcomings(snapshot, b, now=0.0, on=None), caution(snapshot, b)) == ((), None)
    document = render.servers(snapshot, About("1"), now=0.0)
    assert [entry["may_save"] for entry in document["servers"]] == [False, None]
    rows = [line.split("  ") for line in tables.status(document).splitlines() if line.startswith("*")]
    assert [" cannot save" in row or "cannot save" in row for row in rows] == [True]


@pytest.mark.parametrize("may", [True, False, None])
def test_a_run_that_could_not_save_makes_the_server_not_ready_at_once(may):
    snapshot = ran(pair(may), 5.0, **REFUSAL)
    a = snapshot.server("a")
    assert (snapshot.choice.name, snapshot.choice.reason) == ("b", f"a is not ready: {REFUSED}")
    assert [(step.server, step.after) for step in snapshot.transitions[-2:]] == [("a", "not ready"), (None, "b")]
    assert sentence(snapshot, a) == REFUSED
    assert any("this node cannot save" in line for line in shortcomings(snapshot, a, now=5.0, on=None))
    assert conditions_for_use(snapshot, snapshot.choice.verdicts[0], snapshot.choice, now=5.0) == ("it must be ready")
    again = was_read(snapshot, "a", 60.0, WEB)
    assert due_at(again, again.server("a"), chance=0.5, since=0.0) == 60.0 + LACKING_S
    asked = question(again, again.server("a"))
    assert (asked.look, asked.asks_content) == (Look.EXISTENCE, False)


@pytest.mark.parametrize(
    ("node", "more", "name"),
    [
        (WEB, {"may_save": True}, "a"),
        (WEB, {"may_save": False}, "b"),
        (WEB, {}, "b"),
        (WEB, {"trouble": "no answer", "may_save": True}, "b"),
    ],
)
def test_a_later_reading_that_is_shown_the_rights_ends_it(node, more, name):
    snapshot = was_read(ran(pair(), 5.0, **REFUSAL), "a", 60.0, node, **more)
    assert snapshot.choice.name == name
    if name == "a":
        assert [step.after for step in snapshot.transitions if step.server == "a"] == ["not ready", "ready"]


def test_where_no_rights_are_told_of_one_refusal_bars_it_for_some_hours():
    barred = was_read(ran(pair(None), 5.0, **REFUSAL), "a", BARRED_S, WEB)
    assert (barred.choice.name, barred.server("a").run_evidence.saves) == ("b", False)
    failed = ran(barred, BARRED_S, result="failed", phase=Phase.CONVERGE)
    assert was_read(failed, "a", BARRED_S + 10.0, WEB).choice.name == "a"
    assert was_read(barred, "a", BARRED_S + 10.0, WEB, trouble="no answer").choice.name == "b"


def test_an_outage_does_not_shorten_that():
    barred = ran(pair(None), 5.0, **REFUSAL)
    for at, outcome in enumerate([Outcome.REFUSED] * 3 + [Outcome.OK] * 2, start=60):
        barred = probed(barred, "a", outcome, float(at))
    assert was_read(barred, "a", BARRED_S, WEB).server("a").run_evidence.saves is False


def test_an_object_that_is_gone_is_another_matter():
    snapshot = was_read(ran(pair(), 5.0, **REFUSAL), "a", 60.0)
    assert snapshot.server("a").run_evidence.saves is None
    assert was_read(ran(pair(may=False), 5.0, **WORKED), "a", 60.0).server("a").run_evidence.saves is None


def test_a_run_that_works_there_ends_it_and_the_warning_too():
    snapshot = ran(ran(pair(may=False), 5.0, **REFUSAL), 60.0, **WORKED)
    assert snapshot.choice.name == "a"
    assert may_save(was_read(snapshot, "a", 90.0, WEB, may_save=False).server("a")) is True


def test_where_no_server_can_be_saved_to_the_first_is_the_best_of_the_rest():
    snapshot = ran(ran(pair(), 5.0, **REFUSAL), 60.0, "b", **REFUSAL)
    assert (snapshot.choice.is_degraded, snapshot.choice.standing) == (True, Standing.NOT_READY)


def test_with_readiness_off_it_is_said_and_held_against_nobody():
    snapshot = ran(pair(readiness=ReadinessPolicy(ReadinessMode.OFF)), 5.0, **REFUSAL)
    a = snapshot.server("a")
    assert (snapshot.choice.name, why_not_ready(snapshot, a)) == ("a", None)
    assert any("this node cannot save" in line for line in shortcomings(snapshot, a, now=5.0, on=None))


def test_with_a_policy_of_the_configuration_it_counts_as_well():
    policy = ReadinessPolicy(policy_group="production", policy_name="webserver")
    a = attrs.evolve(holding("a"), node_check=NodeCheck(0.0, WEB, policy_found=True, may_save=False))
    assert sentence(bare(a, readiness=policy), a) == (
        "policy webserver is in policy group production; this node probably cannot save its object there"
    )
    assert ran(world(a, holding("b"), readiness=policy), 5.0, **REFUSAL).choice.name == "b"
