import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.model import (
    Association,
    Health,
    HealthState,
    NodeCheck,
    NodeObject,
    Outcome,
    ParityMode,
    ProbeResult,
    ReadinessMode,
    ReadinessPolicy,
    Registration,
)
from chef_failover.readiness import (
    INTERVAL_S,
    RETRY_INTERVAL_S,
    differences,
    differences_of,
    due_at,
    is_new_node,
    nothing_to_seed_from,
    reference,
    sentence,
    wants_seed,
    why_not_ready,
)

from worlds import EMPTY, WEB, bare, holding, server, was_read, without, word

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN
OFF = ReadinessPolicy(ReadinessMode.OFF)
CHECK = ReadinessPolicy(ReadinessMode.CHECK)
POLICY = ReadinessPolicy(policy_group="production", policy_name="webserver")
OTHER = NodeObject(run_list=("recipe[db]",))


# --- is it ready? ---------------------------------------------------------------------------------------------------


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
        ({"proof": word(True)}, True),
        ({"proof": word(False)}, False),
        ({"proof": ProbeResult(Outcome.OK, "unsigned", 0.0)}, None),
        ({"proof": ProbeResult(Outcome.NOT_ASSOCIATED, "401", 0.0, is_signed=True)}, None),
        ({"node_check": NodeCheck(0.0, WEB)}, True),
        ({"node_check": NodeCheck(0.0)}, False),
        ({"node_check": NodeCheck(0.0, WEB, trouble="no answer")}, None),
        ({"node_check": NodeCheck(2.0), "proof": word(True, 1.0)}, False),
        ({"node_check": NodeCheck(1.0), "proof": word(True, 2.0)}, True),
        ({"node_check": NodeCheck(1.0), "proof": ProbeResult(Outcome.FORBIDDEN, "403", 2.0)}, False),
        ({"node_check": NodeCheck(2.0, trouble="no answer"), "proof": word(False, 1.0)}, False),
    ],
)
def test_the_latest_word_tells_whether_there_is_an_object(more, has):
    assert attrs.evolve(server("a", UNKNOWN), **more).has_node_object is has


def read(check, *, policy=None, state=None, holder=True):
    """Why a server with this reading is not ready, while another has the object."""
    one = attrs.evolve(server("a"), node_check=check, readiness=state or HealthState())
    others = [holding("b")] if holder else []
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
        (NodeCheck(0.0), {"policy": OFF}, None, "not looked at: readiness is off"),
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
            NodeCheck(0.0, EMPTY),
            {"state": HealthState(UP)},
            None,
            "counts as ready until this is said again: its object of this node has an empty run list",
        ),
        (
            NodeCheck(0.0, WEB),
            {"state": HealthState(DOWN)},
            "was not ready until a moment ago, and has yet to prove that this is over",
            None,
        ),
        (
            NodeCheck(0.0),
            {"policy": POLICY},
            None,
            "whether policy webserver is in policy group production cannot be told there",
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
            "whether policy webserver is in policy group production has not been asked yet",
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
    elsewhere = holding("c", health=DOWN)
    assert said_of("b", holding("a", EMPTY), without("b"), elsewhere, current="a") == (
        "has no object of this node (it is not created, since the object on a, which is in use, has an empty run list)"
    )
    assert said_of("b", holding("a", EMPTY), without("b"), elsewhere, readiness=CHECK) == "has no object of this node"
    refused = attrs.evolve(without("b"), node_check=NodeCheck(1.0, trouble="it cannot be created there: HTTP 403"))
    assert said_of("b", holding("a"), refused, current="a") == (
        "has no object of this node (it cannot be created there: HTTP 403)"
    )


def test_a_server_that_only_a_probe_has_spoken_of():
    snapshot = bare(server("a", says=True), server("b", says=False))
    assert sentence(snapshot, snapshot.server("a")) == "has an object of this node, not read whole yet"
    assert why_not_ready(snapshot, snapshot.server("b")) == "has no object of this node"


def test_an_object_that_appeared_counts_only_once_it_is_read_unless_it_cannot_be_read():
    appeared = attrs.evolve(without("a"), proof=word(True, 5.0))
    assert why_not_ready(bare(appeared), appeared) == "has a new object of this node, not read yet"
    unreadable = attrs.evolve(appeared, node_check=NodeCheck(6.0, trouble="too long"), readiness=HealthState())
    assert why_not_ready(bare(unreadable), unreadable) is None


@pytest.mark.parametrize(
    ("servers", "is_new"),
    [
        ([], True),
        ([server("a"), server("b", DOWN)], True),
        ([without("a"), without("b")], True),
        ([without("a"), holding("b")], False),
        ([without("a"), holding("b", EMPTY)], True),
        ([without("a"), server("b", DOWN, had_work=True)], False),
        ([without("a"), without("b", had_work=True)], True),
        ([without("a"), holding("b", health=DOWN)], False),
        ([without("a"), server("b", DOWN, readiness=HealthState(UP))], False),
    ],
)
def test_a_node_is_new_as_long_as_no_server_is_known_to_have_it(servers, is_new):
    assert is_new_node(bare(*servers)) == is_new


NONE_KNOWN = "no server is known to have more than an empty object of this node, and a has none"

# --- seeding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_use", "why_not"),
    [
        (holding("a"), None),
        (holding("a", health=DOWN), None),
        (holding("a", EMPTY), "the object on a, which is in use, has an empty run list"),
        (without("a"), NONE_KNOWN),
        (
            attrs.evolve(holding("a"), proof=word(False, 5.0)),
            NONE_KNOWN,
        ),
        (server("a"), "the object on a, which is in use, has not been read yet"),
        (holding("a", None, node_check=NodeCheck(0.0, trouble="no")), NONE_KNOWN),
        (
            holding("a", node_check=NodeCheck(0.0, trouble="no")),
            "the object on a, which is in use, has not been read yet",
        ),
        (server("b"), "no server is in use"),
    ],
)
def test_what_the_others_are_seeded_from(in_use, why_not):
    snapshot = bare(in_use, current="a")
    assert nothing_to_seed_from(snapshot) == why_not
    assert reference(snapshot) == (None if why_not else WEB)
    assert nothing_to_seed_from(bare(in_use)) == "no server is in use"


@pytest.mark.parametrize(
    ("standby", "readiness", "wants"),
    [
        (without("b"), None, True),
        (without("b"), CHECK, False),
        (without("b"), OFF, False),
        (without("b"), POLICY, False),
        (without("b", DOWN), None, False),
        (without("b", registration=Registration(Association.FAILED)), None, False),
        (attrs.evolve(without("b"), proof=ProbeResult(Outcome.FORBIDDEN, "403", 1.0)), None, False),
        (attrs.evolve(without("b"), proof=word(True, 1.0)), None, False),
        (attrs.evolve(without("b"), node_check=NodeCheck(0.0, trouble="no answer")), None, False),
        (attrs.evolve(without("b"), node_check=None), None, False),
        (holding("b", EMPTY), None, False),
        (holding("b", OTHER), None, False),
        (holding("b"), None, False),
    ],
)
def test_only_a_missing_object_is_created(standby, readiness, wants):
    snapshot = bare(holding("a"), standby, current="a", readiness=readiness)
    assert wants_seed(snapshot, standby) == wants
    assert not wants_seed(snapshot, snapshot.server("a"))


def test_a_last_resort_without_the_object_is_seeded_from_what_was_read_of_the_others():
    dead = holding("b", health=DOWN, priority=2), holding("c", OTHER, DOWN, priority=3)
    snapshot = bare(without("a", priority=9), holding("d", EMPTY, DOWN, priority=1), *dead, current="a")
    assert reference(snapshot) == WEB
    assert wants_seed(snapshot, snapshot.server("a"))
    assert differences_of(snapshot, snapshot.server("c")) == ("run list",)
    gone = attrs.evolve(dead[0], proof=word(False, 5.0)), attrs.evolve(dead[1], proof=word(False, 5.0))
    assert reference(bare(without("a"), *gone, current="a")) is None


def test_what_an_operator_emptied_is_not_filled_from_elsewhere():
    snapshot = bare(holding("a", EMPTY), holding("b", health=DOWN), without("c"), current="a")
    assert reference(snapshot) is None
    assert not wants_seed(snapshot, snapshot.server("c"))


def test_nothing_is_created_while_a_server_has_not_been_probed():
    """Right after a start the first to answer is in use, whatever the better ones have."""
    assert not wants_seed(bare(server("a", Health.UNKNOWN), without("b"), holding("c"), current="c"), without("b"))
    assert wants_seed(bare(holding("a"), without("b"), holding("c"), current="c"), without("b"))


def test_nothing_is_created_from_an_object_that_does_nothing():
    snapshot = bare(holding("a", EMPTY), without("b"), current="a")
    assert not wants_seed(snapshot, snapshot.server("b"))


# --- when to read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "more", "due"),
    [
        (server("a"), {}, -math.inf),
        (holding("a", at=50.0), {}, 50.0 + INTERVAL_S),
        (holding("a", at=50.0), {"chance": 0.0}, 50.0 + INTERVAL_S * 0.8),
        (holding("a", at=50.0), {"asked_at": 50.5}, -math.inf),
        (holding("a", at=50.0), {"asked_at": 49.5}, 50.0 + INTERVAL_S),
        (without("a", at=50.0), {}, 50.0 + RETRY_INTERVAL_S),
        (holding("a", EMPTY, at=50.0), {}, 50.0 + RETRY_INTERVAL_S),
        (attrs.evolve(holding("a"), node_check=NodeCheck(50.0, WEB, trouble="no")), {}, 50.0 + RETRY_INTERVAL_S),
        (attrs.evolve(without("a"), proof=word(True, 5.0)), {}, -math.inf),
        (attrs.evolve(holding("a"), proof=word(False, 5.0)), {}, -math.inf),
        (holding("a", health=DOWN), {}, math.inf),
        (server("a", outcome=Outcome.NOT_ASSOCIATED), {}, math.inf),
        (server("a", registration=Registration(Association.REQUESTED)), {}, math.inf),
        (server("a"), {"readiness": OFF, "parity": ParityMode.OFF}, math.inf),
        (server("a"), {"readiness": OFF}, -math.inf),
        (without("a", at=50.0), {"readiness": POLICY}, 50.0 + INTERVAL_S),
        (
            without("a", at=50.0, node_check=NodeCheck(50.0, policy_found=False)),
            {"readiness": POLICY},
            50.0 + RETRY_INTERVAL_S,
        ),
    ],
)
def test_when_a_reading_is_due(one, more, due):
    chance, asked_at = more.pop("chance", 0.5), more.pop("asked_at", -math.inf)
    snapshot = bare(one, holding("b"), **more)
    assert due_at(snapshot, one, chance=chance, asked_at=asked_at) == pytest.approx(due)


def test_a_new_node_is_not_read_in_haste():
    snapshot = bare(without("a", at=50.0), without("b", at=50.0))
    assert due_at(snapshot, snapshot.server("a"), chance=0.5) == pytest.approx(50.0 + INTERVAL_S)


# --- what differs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (WEB, ()),
        (attrs.evolve(WEB, run_list=("recipe[db]",)), ("run list",)),
        (attrs.evolve(WEB, environment="staging"), ("environment: staging, not _default",)),
        (attrs.evolve(WEB, environment="a\nb"), ("environment: a b, not _default",)),
        (attrs.evolve(WEB, policy_name="web"), ("policy: web in no group, not none in no group",)),
        (attrs.evolve(WEB, normal='{"app":{"password":"secret"},"tags":[]}'), ("normal attributes: app, tags",)),
        (attrs.evolve(WEB, normal='{"app":null}'), ("normal attributes: app",)),
        (
            NodeObject((), "staging", normal="{" + ",".join(f'"{key:02}":1' for key in range(20)) + "}"),
            (
                "run list",
                "environment: staging, not _default",
                "normal attributes: 00, 01, 02, 03, 04, 05, 06, 07 and 12 more",
            ),
        ),
    ],
)
def test_what_differs_is_named_and_no_value_of_an_attribute(other, words):
    assert differences(WEB, other) == words


def test_true_is_not_one():
    one, other = (attrs.evolve(WEB, normal=text) for text in ('{"a":[1]}', '{"a":[true]}'))
    assert differences(one, other) == ("normal attributes: a",)


@pytest.mark.parametrize(
    ("standby", "current", "readiness", "words"),
    [
        (holding("b", OTHER), "a", None, ("run list",)),
        (holding("b", OTHER), "a", CHECK, ("run list",)),
        (holding("b", OTHER), "a", OFF, ()),
        (holding("b", OTHER), None, None, ()),
        (holding("b"), "a", None, ()),
        (without("b"), "a", None, ()),
        (server("b"), "a", None, ()),
    ],
)
def test_what_differs_from_the_object_in_use(standby, current, readiness, words):
    assert differences_of(bare(holding("a"), standby, current=current, readiness=readiness), standby) == words


nodes = st.builds(
    NodeObject,
    st.lists(st.sampled_from(["recipe[web]", "role[db]"]), max_size=2).map(tuple),
    st.sampled_from(["_default", "staging"]),
    st.sampled_from([None, "web"]),
    st.sampled_from([None, "prod"]),
    st.sampled_from(["{}", '{"a":1}', '{"a":true}', '{"a":1,"b":{}}']),
)


@given(nodes, nodes)
def test_differences_are_empty_just_when_objects_are_equal(one, other):
    assert (differences(one, other) == ()) == (one == other)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.none() | nodes), max_size=6))
def test_a_seed_does_something_and_never_meets_an_object(readings):
    snapshot = bare(server("a"), server("b"), current="a")
    for at, (name, node) in enumerate(readings):
        snapshot = was_read(snapshot, name, float(at), node)
        for one in snapshot.servers:
            if wants_seed(snapshot, one):
                assert reference(snapshot).does_something
                assert one.node_check.node is None
