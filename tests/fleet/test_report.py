"""What a fleet uses, and what would become of it without one server."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.fleet import report
from chef_failover.fleet.nodes import KEYS, Facts, Node, parse
from chef_failover.fleet.report import Source
from chef_failover.fleet.standby import Barrier, Caution
from tests.support import fleet

ON = datetime.datetime(2026, 11, 22, 10, 0, tzinfo=datetime.UTC)
MAIN_URL = "https://main.example.com/organizations/acme"
WHOLE = Source("main", MAIN_URL, 1, 1)


def node(name="web-1", *, age_s=60.0, found_on=MAIN_URL, published=None, **changes):
    """A node; ``changes`` are to what it publishes, None for nothing at all."""
    if published is None and "facts" not in changes:
        published = fleet.facts(**changes)
    row = {"name": name, "seen": None if age_s is None else ON.timestamp() - age_s}
    if published:
        in_use = published.pop("server", None) or {}
        row |= published | {"server": in_use.get("name"), "degraded": False}
    return parse(row, found_on, ON)


def bare(name="bare-1", **more):
    return node(name, facts=None, **more)


def made(*nodes, without="mainserver", sources=(WHOLE,)):
    return report.make(nodes, sources, without=without, interval_s=1800.0, on=ON)


def alone(*nodes, **more):
    return {group["key"]: group["nodes"] for group in made(*nodes, **more)["without"]["left_alone"]}


def test_a_fleet_that_is_well():
    document = made(node("a"), node("b"), node("c", uses="standbyserver"), without=None)
    assert document["using"] == {"mainserver": 2, "standbyserver": 1}
    assert document["states"] == []
    assert document["without"] == {
        "server": "mainserver", "go_on": {"standbyserver": 3}, "count": 3, "left_alone": [], "cautions": [],
    }  # fmt: skip
    assert report.is_well(document)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"association": "refused"}, "not_registered"),
        ({"health": "DOWN"}, "down"),
        ({"standing": "turns_node_away"}, "turned_away"),
        ({"ready": False, "has_object": False}, "no_object"),
        ({"ready": False}, "not_ready"),
        ({"may_save": False}, "cannot_save"),
        ({"standing": "impaired"}, "impaired"),
        ({"standing": "fails_runs"}, "fails_runs"),
    ],
)
def test_a_node_whose_standby_would_not_do_is_left_alone_for_a_reason(changes, reason):
    document = made(node("a", standbyserver=changes), node("b"))
    assert [(group["key"], group["nodes"]) for group in document["without"]["left_alone"]] == [(reason, ["a"])]
    assert document["without"]["go_on"] == {"standbyserver": 1}
    assert not report.is_well(document)


def test_the_standby_that_is_nearest_gives_the_reason():
    down = {"health": "DOWN"}
    assert alone(node("a", standbyserver=down, third={"association": "refused"})) == {"down": ["a"]}
    assert alone(node("a", standbyserver=down, third={"may_save": False})) == {"cannot_save": ["a"]}
    assert alone(node("a", standbyserver=down, third={})) == {}


def test_the_best_standby_is_the_one_that_is_used():
    one = node("a", standbyserver={"priority": 5}, third={"priority": 2})
    assert made(one)["without"]["go_on"] == {"third": 1}
    published = fleet.facts(third={}) | {"drains": {"standbyserver": {}}}
    assert made(node("a", published=published))["without"]["go_on"] == {"third": 1}


def published(**changes):
    return fleet.facts() | changes


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (bare(), "not_installed"),
        (bare(age_s=None), "not_seen"),
        (node("a", age_s=3601.0), "not_seen"),
        (node("a", published=published(available=False)), "sidecar_down"),
        (node("a", published=published(servers={"mainserver": {}, "standbyserver": {"health": "UP"}})), "too_old"),
        (node("a", published=published(servers=None)), "too_old"),
        (node("a", published=published(servers={"mainserver": fleet.WELL})), "no_standby"),
        (node("a", published=published(pin={"server": "mainserver", "strict": True})), "pinned"),
    ],
)
def test_what_leaves_a_node_alone_whatever_its_standbys_do(one, reason):
    assert [*alone(node("well"), one)] == [reason]


STANDBY_URL = "https://standby.example.com/organizations/acme"


def test_who_uses_another_server_goes_on_there_however_it_stands():
    there = {"published": fleet.facts("standbyserver"), "found_on": STANDBY_URL}
    unseen = {"age_s": 9e9, "found_on": STANDBY_URL}
    document = made(node("well"), node("a", **there), bare(**unseen))
    assert document["without"]["go_on"] == {"standbyserver": 3}
    pinned = published(pin={"server": "standbyserver", "strict": True})
    assert alone(node("a", published=pinned)) == {}


def test_a_node_without_chef_failover_uses_the_server_that_has_its_newest_object():
    elsewhere = "https://elsewhere.example.com/organizations/acme"
    assert made(node("a"), bare())["using"] == {"mainserver": 2}
    assert made(bare(found_on=elsewhere), without=None)["using"] == {elsewhere: 1}
    assert alone(bare(found_on=elsewhere), without=None) == {"not_installed": ["bare-1"]}


def test_what_goes_on_with_a_caution_is_told_and_well():
    soon = "2026-12-01T00:00:00Z"
    document = made(node("a", standbyserver={"stale": True, "certificate_ends": soon}), node("b"))
    assert [(group["key"], group["nodes"]) for group in document["without"]["cautions"]] == [
        ("stale", ["a"]),
        ("certificate_ends", ["a"]),
    ]
    assert report.is_well(document)


def test_how_nodes_stand():
    drained = published(drains={"mainserver": {}}, pin={"server": "standbyserver", "strict": False})
    degraded = Node("e", ON.timestamp(), Facts(True, server="mainserver", is_degraded=True), MAIN_URL)
    down = node("c", published=published(available=False))
    document = made(node("a", published=drained), bare("b"), down, node("d", age_s=7200.0), degraded)
    assert {group["key"]: group["nodes"] for group in document["states"]} == {
        "degraded": ["e"],
        "drained": ["a"],
        "pinned": ["a"],
        "not_installed": ["b"],
        "sidecar_down": ["c"],
        "not_seen": ["d"],
    }


def test_a_server_that_no_node_knows_is_a_mistake():
    with pytest.raises(ValueError, match="no node uses mainservre; they use: mainserver"):
        made(node(), without="mainservre")
    assert made(node(), without="standbyserver")["without"]["go_on"] == {"mainserver": 1}
    with pytest.raises(ValueError, match="they use: none"):
        made(without="mainserver")


def test_without_any_node_there_is_nothing_to_tell():
    document = made(without=None)
    assert (document["nodes"], document["without"], report.is_well(document)) == (0, None, True)


@pytest.mark.parametrize(
    "source",
    [
        Source("main", MAIN_URL, 1, 2),
        Source("main", MAIN_URL, 1, 1, unindexed=("lost",)),
        Source("main", MAIN_URL, 0, None, trouble="connection refused"),
    ],
)
def test_what_could_not_be_read_is_not_well(source):
    assert not report.is_well(made(node(), sources=[WHOLE, source]))


@pytest.mark.parametrize("row", [{}, {"name": None}, {"name": 7}, {"name": ""}])
def test_a_row_without_a_name_is_refused(row):
    with pytest.raises(ValueError, match="no name"):
        parse(row, MAIN_URL, ON)


@pytest.mark.parametrize("odd", [None, 7, [], "text", {"a": None}, {"a": {"certificate_ends": 7} | fleet.WELL}])
def test_whatever_a_node_publishes_is_taken(odd):
    row = {"name": "a", "seen": True, "available": True, "pin": odd, "drains": odd, "servers": odd, "server": odd}
    made(parse(row, MAIN_URL, ON), without=None)


@pytest.mark.parametrize(
    "odd", [10**400, -1, float("inf"), float("nan"), True, "1", ON.timestamp() + 901], ids=lambda odd: str(odd)[:20]
)
def test_a_time_that_no_run_can_have_is_unknown(odd):
    liar = parse(fleet.facts() | {"name": "web-1", "seen": odd, "server": "mainserver"}, STANDBY_URL, ON)
    assert liar.seen_at is None
    assert not liar.is_newer_than(node(age_s=1e9))
    assert node().is_newer_than(liar)
    assert alone(node("well"), liar) == {"not_seen": ["web-1"]}


def test_a_clock_that_is_a_little_ahead_is_no_lie():
    ahead = node(age_s=-899.0)
    assert ahead.seen_at == ON.timestamp() + 899.0
    assert ahead.is_newer_than(node())


ANY_NUMBER = st.floats() | st.integers() | st.sampled_from([10**400, -(10**400)])
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=4) | st.datetimes().map(str) | st.times().map(str)
ANYTHING = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
ANY_DATE = st.datetimes(timezones=st.none() | st.timezones()).map(lambda at: at.isoformat())
ENTRIES = st.fixed_dictionaries(
    {key: st.just(value) | ANYTHING for key, value in fleet.WELL.items()}
    | {"certificate_ends": ANY_DATE, "priority": ANY_NUMBER}
)
ROWS = st.fixed_dictionaries(
    {"name": ANY_TEXT},
    optional=dict.fromkeys([*KEYS][1:], ANYTHING)
    | {"available": st.booleans(), "servers": st.dictionaries(ANY_TEXT, ENTRIES | ANYTHING, max_size=3)},
)


@given(ROWS | ANYTHING)
def test_any_json_as_a_row_is_a_node_or_is_told(row):
    try:
        found = parse(row, MAIN_URL, ON)
    except ValueError as error:
        assert "no name" in str(error)
    else:
        made(found, node(), without=None)


def test_all_text_is_there_for_each_key():
    assert [*report.REASONS] == [*report.Hindrance, *reversed(Barrier)]
    assert [*report.CAUTIONS] == [*Caution]
