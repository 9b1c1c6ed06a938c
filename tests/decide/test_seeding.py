import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.decide.readiness import why_not_ready
from chef_failover.decide.seeding import (
    differences_of,
    is_awaited_from,
    is_mended_soon,
    reference,
    wants_seed,
    why_not_seeded,
)
from chef_failover.model.model import Health, NodeCheck, Outcome, ProbeResult, Registration, RegistrationState
from chef_failover.model.needs import NodeObject, ReadinessMode, ReadinessPolicy
from chef_failover.model.run_history import Used
from tests.support.builders import EMPTY, WEB, bare, holding, proven, server, was_read, without

DOWN = Health.DOWN
OFF = ReadinessPolicy(ReadinessMode.OFF)
CHECK = ReadinessPolicy(ReadinessMode.CHECK)
POLICY = ReadinessPolicy(policy_group="production", policy_name="webserver")
OTHER = NodeObject(run_list=("recipe[db]",))
NONE_KNOWN = "no server is known to have more than an empty object of this node, and a has none"


@pytest.mark.parametrize(
    ("in_use", "why_not"),
    [
        (holding("a"), None),
        (holding("a", health=DOWN), None),
        (holding("a", EMPTY), "the object on a, which is in use, has an empty run list"),
        (without("a"), NONE_KNOWN),
        (server("a"), "the object on a, which is in use, has not been read yet"),
        (without("a", node_check=attrs.evolve(NodeCheck(0.0), trouble="no")), NONE_KNOWN),
        (
            holding("a", node_check=NodeCheck(0.0, trouble="no")),
            "the object on a, which is in use, has not been read yet",
        ),
        (server("b"), "no server is in use"),
    ],
)
def test_what_the_others_are_seeded_from(in_use, why_not):
    snapshot = bare(in_use, server("z"), current="a")
    assert why_not_seeded(snapshot, snapshot.server("z")) == why_not
    assert reference(snapshot) == (None if why_not else WEB)
    assert why_not_seeded(bare(in_use), in_use) == "no server is in use"


@pytest.mark.parametrize(
    ("standby", "readiness", "wants"),
    [
        (without("b"), None, True),
        (without("b"), CHECK, False),
        (without("b"), OFF, False),
        (without("b"), POLICY, False),
        (without("b", DOWN), None, False),
        (without("b", registration=Registration(RegistrationState.FAILED)), None, False),
        (attrs.evolve(without("b"), last_alive_probe=ProbeResult(Outcome.FORBIDDEN, "403", 1.0)), None, False),
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


@pytest.mark.parametrize(
    ("in_use", "standby", "is_soon"),
    [
        (proven("a", node_check=NodeCheck(0.0, has_node_object=True)), without("b"), True),
        (proven("a", node_check=NodeCheck(0.0, has_node_object=True)), without("b", DOWN), False),
        (without("a"), without("b"), False),
        (holding("a"), without("b"), True),
        (holding("a"), holding("b"), False),
    ],
    ids=["once it is read", "nor where nothing can be given", "nor where there is none", "at once", "it has one"],
)
def test_what_is_given_soon_may_have_to_be_read_before(in_use, standby, is_soon):
    snapshot = bare(in_use, standby, current="a")
    assert is_mended_soon(snapshot, standby) is is_soon
    assert not is_mended_soon(snapshot, in_use)


def test_a_last_resort_without_the_object_is_seeded_from_what_was_read_of_the_others():
    dead = holding("b", health=DOWN, priority=2), holding("c", OTHER, DOWN, priority=3)
    snapshot = bare(without("a", priority=9), holding("d", EMPTY, DOWN, priority=1), *dead, current="a")
    assert reference(snapshot) == WEB
    assert wants_seed(snapshot, snapshot.server("a"))
    assert differences_of(snapshot, snapshot.server("c")) == ("run list",)
    gone = without("b", DOWN), without("c", DOWN)
    assert reference(bare(without("a"), *gone, current="a")) is None


def test_what_an_operator_emptied_is_not_filled_from_elsewhere():
    snapshot = bare(holding("a", EMPTY), holding("b", health=DOWN), without("c"), current="a")
    assert reference(snapshot) is None
    assert not wants_seed(snapshot, snapshot.server("c"))


def test_nothing_is_created_while_a_server_has_not_been_probed():
    """Right after a start the first to answer is in use, whatever the better ones have."""
    assert not wants_seed(bare(server("a", Health.UNKNOWN), without("b"), proven("c"), current="c"), without("b"))
    assert wants_seed(bare(holding("a"), without("b"), proven("c"), current="c"), without("b"))


def test_a_server_never_reached_matters_only_if_it_is_preferred_to_the_source():
    for other, wants in ((server("c", Health.UNKNOWN), True), (server("0", Health.UNKNOWN), False)):
        assert wants_seed(bare(holding("a"), without("b"), other, current="a"), without("b")) is wants


@pytest.mark.parametrize(
    ("used", "is_known"),
    [
        (Used(WEB.run_list), True),
        (Used(("recipe[other]",)), False),
        (Used(WEB.run_list, "staging"), False),
        (Used(), False),
        (None, False),
    ],
)
def test_a_standby_knows_the_node_if_its_object_is_as_the_last_run_had_it(used, is_known):
    """The main server came back empty. Without such a run the node is new, and the standby may be hostile."""
    main = without("a")
    snapshot = bare(main, holding("b"), current="a", used=used)
    assert why_not_ready(snapshot, main) == ("has no object of this node" if is_known else None)
    assert wants_seed(snapshot, main) is is_known
    both = bare(main, holding("b", OTHER), holding("c"), current="a", used=used)
    assert reference(both) == (WEB if is_known else OTHER)


def test_a_standby_s_object_of_a_former_life_is_read_to_compare_it_with_runs():
    standby = holding("b", node_check=NodeCheck(0.0, has_node_object=True), had_useful_node_object=True)
    used = Used(WEB.run_list)
    for main, more, is_read in (
        (without("a"), {"used": used}, True),
        (without("a"), {}, False),
        (without("a"), {"used": used, "readiness": POLICY}, False),
        (holding("a"), {"used": used}, False),
    ):
        assert is_awaited_from(bare(main, standby, current="a", **more), standby) is is_read
    found = was_read(bare(without("a"), standby, current="a", used=used), "b", 1.0, WEB)
    assert not is_awaited_from(found, found.server("b"))


def test_a_server_is_seeded_from_a_preferred_one_or_where_a_run_has_succeeded():
    for source, is_model in ((holding("b"), False), (proven("b"), True)):
        snapshot = bare(without("a"), source, without("c"), current="b")
        assert [wants_seed(snapshot, one) for one in snapshot.servers] == [is_model, False, True]
        expected = None if is_model else "no run of this node has succeeded on b, which has one"
        assert why_not_seeded(snapshot, snapshot.server("a")) == expected
    both = bare(without("a"), holding("b", OTHER), proven("c"), current="a")
    assert reference(both) == WEB


def test_nothing_is_created_from_an_object_that_does_nothing():
    snapshot = bare(holding("a", EMPTY), without("b"), current="a")
    assert not wants_seed(snapshot, snapshot.server("b"))


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
    assert WEB.differences(other) == words


def test_true_is_not_one():
    one, other = (attrs.evolve(WEB, normal=text) for text in ('{"a":[1]}', '{"a":[true]}'))
    assert one.differences(other) == ("normal attributes: a",)


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
    assert (one.differences(other) == ()) == (one == other)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.none() | nodes), max_size=6))
def test_a_seed_does_something_and_meets_no_object_but_what_a_run_has_left(readings):
    snapshot = bare(server("a"), server("b"), current="a")
    for at, (name, node) in enumerate(readings):
        snapshot = was_read(snapshot, name, float(at), node)
        for one in snapshot.servers:
            if wants_seed(snapshot, one):
                assert reference(snapshot).does_something
                assert one.node_check.node is None or one.lacked_object_at is not None


def left(name, node=EMPTY, **more):
    """A server where a run has left this object, and nobody had one before."""
    return holding(name, node, lacked_object_at=1.0, **more)


@pytest.mark.parametrize(
    ("servers", "current", "wanted"),
    [
        ((holding("a"), left("b")), "a", True),
        ((holding("a"), left("b", NodeObject(environment="staging"))), "a", False),
        ((holding("a", NodeObject(("x",), "staging")), left("b", NodeObject(environment="staging"))), "a", True),
        ((holding("a"), left("b", NodeObject(normal='{"a":1}'))), "a", False),
        ((holding("a"), holding("b", EMPTY)), "a", False),
        ((left("a"), holding("b")), "b", False),
        ((holding("a", health=Health.DOWN), left("b")), "b", False),
    ],
    ids=[
        "what a run has left",
        "somebody gave it an environment",
        "in the environment of the node",
        "somebody gave it attributes",
        "it was always there",
        "never on a server preferred to the one in use",
        "only from the server in use",
    ],
)
def test_an_empty_object_is_filled_only_where_a_run_has_left_it(servers, current, wanted):
    snapshot = bare(*servers, current=current)
    lacking = next(one for one in servers if one.node_check.node is not None and not one.node_check.node.does_something)
    assert wants_seed(snapshot, lacking) is wanted


def test_what_a_run_empties_again_is_filled_again_and_what_a_person_made_is_not():
    snapshot = bare(holding("a"), left("b"), current="a")
    filled = was_read(snapshot, "b", 10.0, WEB)
    assert wants_seed(*with_b(was_read(filled, "b", 60.0, EMPTY)))
    others = was_read(snapshot, "b", 10.0, NodeObject(("recipe[other]",)))
    assert not wants_seed(*with_b(was_read(others, "b", 60.0, EMPTY)))
    late = was_read(was_read(snapshot, "b", 10.0, WEB), "b", 4000.0, WEB)
    assert not wants_seed(*with_b(was_read(late, "b", 4060.0, EMPTY)))


def with_b(snapshot):
    return snapshot, snapshot.server("b")
