"""What the values of the domain say of themselves."""

import pytest

from chef_failover.model.instance import is_instance_id
from chef_failover.model.model import Transition
from chef_failover.model.needs import NodeObject
from tests.support.builders import ON, WEB, bare, drain, pin, server


@pytest.mark.parametrize(
    ("node", "other", "is_left"),
    [
        (NodeObject(), WEB, True),
        (NodeObject(environment="staging"), NodeObject(("x",), "staging"), True),
        (NodeObject(environment="staging"), WEB, False),
        (NodeObject(normal='{"a":1}'), WEB, False),
        (WEB, WEB, False),
        (NodeObject(policy_name="web", policy_group="prod"), WEB, False),
    ],
)
def test_what_a_run_has_left_may_be_filled_and_nothing_else(node, other, is_left):
    assert node.is_left_for(other) is is_left


@pytest.mark.parametrize(
    ("after", "may"),
    [((), True), (("UP",), False), (("UP", "DOWN", "UP"), True), (("ready", "associated"), True)],
)
def test_a_server_may_come_back_that_was_down_or_never_met(after, may):
    steps = tuple(Transition(ON, "a", "", label, "") for label in after)
    others = (Transition(ON, "b", "UP", "DOWN", ""), Transition(ON, None, "a", "b", ""))
    snapshot = bare(server("a"), server("b"), is_choice_remembered=True, transitions=(*steps, *others))
    assert snapshot.may_come_back("a") is may
    assert not bare(server("a"), transitions=others).may_come_back("a"), "nothing was chosen in a former life"


@pytest.mark.parametrize(
    ("text", "is_one"), [("i-0123456789abcdef0", True), ("i-0abc", False), ("web-1", False), (7, False)]
)
def test_an_instance_s_id(text, is_one):
    assert is_instance_id(text) is is_one


def test_an_order_tells_who_gave_it_how_long_and_why():
    assert drain("a").told() == "drained by alice"
    assert drain("a", lasts_s=7200.0, reason="kernel").told() == "drained by alice for 2 h: kernel"
    strictly = pin("b", lasts_s=7200.0, ends_at=7200.0, is_strict=True)
    assert strictly.told(600.0) == "pinned strictly to b by alice for another 2 h"
