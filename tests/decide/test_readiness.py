import attrs
import pytest

from chef_failover.decide.readiness import caution, is_new_node, is_unread, sentence, why_not_ready
from chef_failover.model.model import Health, NodeCheck
from chef_failover.model.needs import NodeObject, ReadinessMode, ReadinessPolicy
from tests.support.builders import EMPTY, WEB, asked, bare, holding, proven, server, signed, without

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN
OFF = ReadinessPolicy(ReadinessMode.OFF)
CHECK = ReadinessPolicy(ReadinessMode.CHECK)
POLICY = ReadinessPolicy(policy_group="production", policy_name="webserver")


@pytest.mark.parametrize(
    ("node", "does_something"),
    [
        (WEB, True),
        (EMPTY, False),
        (NodeObject(policy_name="web", policy_group="prod"), True),
        (NodeObject(policy_name="web"), False),
        (NodeObject(normal='{"a":1}', environment="staging"), False),
    ],
)
def test_an_object_with_neither_run_list_nor_policy_does_nothing(node, does_something):
    assert node.does_something == does_something


@pytest.mark.parametrize(
    ("more", "has"),
    [
        ({}, None),
        ({"last_alive_probe": signed()}, None),
        ({"node_check": NodeCheck(0.0, trouble="no answer")}, None),
        ({"node_check": NodeCheck(0.0, WEB)}, True),
        ({"node_check": NodeCheck(0.0)}, False),
        ({"node_check": NodeCheck(0.0, WEB, trouble="no answer")}, True),
        ({"node_check": attrs.evolve(NodeCheck(0.0), read_at=9.0, trouble="no answer")}, False),
    ],
)
def test_the_latest_reading_that_could_tell_says_whether_there_is_an_object(more, has):
    assert attrs.evolve(server("a", UNKNOWN), **more).has_node_object is has


def read(check, *, policy=None, holder=True):
    """Why a server with this reading is not ready, while another has the object."""
    one = attrs.evolve(server("a"), node_check=check)
    others = [proven("b")] if holder else []
    snapshot = bare(one, *others, readiness=policy)
    return why_not_ready(snapshot, one), sentence(snapshot, one)


STAGED = NodeObject(("recipe[web]",), "staging")
BY_POLICY = NodeObject((), "prod", policy_name="web", policy_group="prod")
"""As chef-client writes it: the environment has the policy group's name, and nobody ever loads it."""


@pytest.mark.parametrize(
    ("check", "more", "why_not", "said"),
    [
        (None, {}, None, "not known yet"),
        (NodeCheck(0.0, WEB), {}, None, "has an object of this node"),
        (NodeCheck(0.0), {"policy": CHECK}, "has no object of this node", None),
        (NodeCheck(0.0), {"policy": OFF}, None, "not checked: readiness is off"),
        (
            NodeCheck(0.0),
            {"holder": False},
            None,
            "no server is known to have an object of this node; its first run creates it",
        ),
        (NodeCheck(0.0, EMPTY), {}, "its object of this node has an empty run list", None),
        (
            NodeCheck(0.0, EMPTY),
            {"holder": False},
            None,
            "no server is known to have more than an empty object of this node",
        ),
        (NodeCheck(0.0, trouble="no answer"), {}, None, "cannot be read: no answer"),
        (NodeCheck(0.0, BY_POLICY, policy_found=None), {}, None, "has an object of this node"),
        (NodeCheck(0.0, BY_POLICY, policy_found=False), {}, "policy web is not in policy group prod", None),
        (NodeCheck(0.0, BY_POLICY, policy_found=True, environment_found=False), {}, None, "has an object of this node"),
        (
            NodeCheck(0.0, STAGED, environment_found=False),
            {},
            "environment staging, where its object puts this node, does not exist there",
            None,
        ),
        (
            NodeCheck(0.0),
            {"policy": POLICY},
            None,
            "not known whether policy webserver is in policy group production",
        ),
        (NodeCheck(0.0, policy_found=True), {"policy": POLICY}, None, "policy webserver is in policy group production"),
        (
            NodeCheck(0.0, policy_found=False),
            {"policy": POLICY},
            "policy webserver is not in policy group production",
            None,
        ),
        (
            None,
            {"policy": POLICY},
            None,
            "not known yet whether policy webserver is in policy group production",
        ),
        (
            None,
            {"policy": attrs.evolve(POLICY, policy_name=None)},  # half a policy is none
            None,
            "not known yet",
        ),
    ],
)
def test_why_it_is_not_ready_and_what_is_said_of_it(check, more, why_not, said):
    assert read(check, **more) == (why_not, said or why_not)


def said_of(name, *servers, **more):
    snapshot = bare(*servers, **more)
    return sentence(snapshot, snapshot.server(name))


def test_why_a_missing_object_is_not_created_is_said():
    assert said_of("b", holding("a"), without("b"), current="a") == "has no object of this node"
    elsewhere = proven("c", health=DOWN)
    assert said_of("b", holding("a", EMPTY), without("b"), elsewhere, current="a") == (
        "has no object of this node (not created: the object on a, which is in use, has an empty run list)"
    )
    assert said_of("b", holding("a", EMPTY), without("b"), elsewhere, readiness=CHECK) == "has no object of this node"
    refused = attrs.evolve(NodeCheck(1.0), trouble="it cannot be created there: HTTP 403")
    refused = attrs.evolve(without("b"), node_check=refused)
    assert said_of("b", holding("a"), refused, current="a") == (
        "has no object of this node (it cannot be created there: HTTP 403)"
    )


@pytest.mark.parametrize(
    ("servers", "is_new"),
    [
        ([], True),
        ([server("a"), server("b", DOWN)], True),
        ([without("a"), without("b")], True),
        ([without("a"), holding("b")], False),
        ([without("a"), holding("b", EMPTY)], True),
        ([without("a"), server("b", DOWN, had_useful_node_object=True)], False),
        ([without("a"), without("b", had_useful_node_object=True)], True),
        ([without("a"), holding("b", health=DOWN)], False),
    ],
)
def test_a_node_is_new_as_long_as_no_server_is_known_to_have_it(servers, is_new):
    assert is_new_node(bare(*servers)) == is_new


@pytest.mark.parametrize(
    ("b", "readiness", "expected"),
    [
        (asked("b"), CHECK, True),
        (asked("b"), POLICY, True),
        (asked("b"), OFF, False),
        (asked("b", was_known=True), CHECK, False),
        (asked("b", node_check=NodeCheck(0.0, trouble="no answer")), CHECK, True),
        (asked("b", node_check=NodeCheck(0.0, trouble="no answer", has_node_object=True)), CHECK, False),
        (holding("b"), CHECK, False),
        (without("b"), CHECK, False),
        (server("b"), CHECK, False),  # the sidecar has no key to read with
        (server("b", UNKNOWN), CHECK, False),
    ],
)
def test_a_server_is_unread_until_what_a_run_finds_there_is_known(b, readiness, expected):
    assert is_unread(bare(holding("a"), b, readiness=readiness), b) is expected


IDLE = "a run there will do nothing"
UNASKED = "a may know this node and cannot be asked; a run on b may do nothing"


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ([holding("a"), without("b")], f"b: has no object of this node; {IDLE}"),
        ([holding("a"), holding("b", EMPTY)], f"b: its object of this node has an empty run list; {IDLE}"),
        ([server("a", DOWN), without("b")], UNASKED),
        ([server("a", DOWN), holding("b", EMPTY)], UNASKED),
        ([without("a"), without("b")], None),
        ([holding("a"), holding("b")], None),
        ([holding("a", health=DOWN), holding("b")], None),
    ],
)
def test_what_a_run_on_b_is_warned_of(servers, said):
    assert caution(bare(*servers), servers[1]) == said


def test_a_run_on_the_first_server_is_not_warned_of_a_standby_that_is_dead():
    first = without("a")
    assert caution(bare(first, server("b", DOWN)), first) is None


def test_with_readiness_off_nobody_is_warned():
    standby = without("b")
    assert caution(bare(holding("a"), standby, readiness=ReadinessPolicy(ReadinessMode.OFF)), standby) is None
