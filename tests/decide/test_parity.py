import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.api import render
from chef_failover.cli import tables
from chef_failover.decide import outlook
from chef_failover.decide.parity import SETTLING_S, compare, is_behind, is_compared, origin, stale
from chef_failover.decide.selection import select
from chef_failover.decide.world import apply_order, apply_run, lift
from chef_failover.model.about import About
from chef_failover.model.model import Health, NodeCheck, Outcome, Registration, RegistrationState, Standing
from chef_failover.model.needs import Content, ParityMode
from chef_failover.model.orders import Drain, Pin
from chef_failover.model.run_history import Run, Used
from tests.support.builders import ON, THRESHOLDS, WEB, bare, drain, drained, pin, probed, server, was_read, world

OLD, NEW, OTHER = "4d5e6f7a8b", "1a2b3c4d5e", "999999"
REQUIRE, WARN, OFF = ParityMode.REQUIRE, ParityMode.WARN, ParityMode.OFF
CHANGED = 1000.0
READ = CHANGED + 1.0
LATE = CHANGED + SETTLING_S
BEHIND = "policy webserver is at 4d5e6f7 there; runs use 1a2b3c4"
SAME = "has what runs use, or newer"
SETTLING = "not compared yet: runs use something new, which may reach this server within 30 min"
UNREAD = "not compared: not read since runs began to use this"
ELSEWHERE = "not compared: this node has another policy or environment there"
NO_REVISION = "not compared: the revision of the policy is not known"
NO_VERSIONS = "not compared: the versions of the cookbooks are not known"


def policy(revision, at=READ):
    return Content(at, ("webserver", "production"), revision)


def books(at=READ, *, environment="_default", **versions):
    return Content(at, environment=environment, cookbooks=versions)


def by_policy(revision):
    return Used(policy_name="webserver", policy_group="production", policy_revision=revision)


def by_books(environment="_default", **versions):
    return Used(("recipe[web]",), environment, cookbooks=versions)


def with_(content, name, health=Health.UP, **more):
    return server(name, health, node_check=NodeCheck(READ, WEB, content=content), **more)


def using(used, *servers, at="a", current="a", **more):
    """The world in which a run has last used that on the server ``at``, since CHANGED."""
    return bare(*servers, current=current, used=used, used_since=CHANGED, used_server=at, **more)


def compared(used, content, now=LATE, at="a", **more):
    """What is older on a standby that has ``content``, and what is said."""
    snapshot = using(used, server("a"), with_(content, "b"), at=at, **more)
    return stale(snapshot, snapshot.server("b"), now=now), compare(snapshot, snapshot.server("b"), now=now).words


@pytest.mark.parametrize(
    ("used", "content", "why", "said"),
    [
        (by_policy(NEW), policy(NEW), None, SAME),
        (by_policy(NEW), policy(OLD), BEHIND, BEHIND),
        (
            by_policy("1111111a"),
            policy("1111111b"),
            "policy webserver is at 1111111b there; runs use 1111111a",
            None,
        ),
        (by_policy(None), policy(OLD), None, NO_REVISION),
        (by_policy(NEW), policy(None), None, NO_REVISION),
        (by_policy(NEW), None, None, UNREAD),
        (by_policy(NEW), policy(OLD, CHANGED - 1.0), None, UNREAD),
        # another policy altogether is told by readiness
        (by_policy(NEW), attrs.evolve(policy(OLD), policy=("db", "production")), None, ELSEWHERE),
        (by_policy(NEW), books(apache2="1.0.0"), None, ELSEWHERE),
        (by_books(apache2="5.2.0"), books(apache2="5.2.0", other="1.0.0"), None, SAME),
        (by_books(apache2="5.2.0"), books(apache2="6.0.0"), None, SAME),
        (
            by_books(apache2="5.2.0"),
            books(apache2="5.0.1"),
            "1 cookbook is older: apache2 5.0.1 there, runs use 5.2.0",
            None,
        ),
        (
            by_books(apache2="5.2.0", ssl="1.0"),
            books(apache2="5.10.1"),
            "1 cookbook is older: ssl missing there, runs use 1.0",
            None,
        ),
        # numbers, not text; two of them are as good as three
        (by_books(ssl="1.9.0"), books(ssl="1.10.0"), None, SAME),
        (by_books(ssl="1.0"), books(ssl="1.0.0"), None, SAME),
        (by_books(ssl="1.0.0"), Content(READ, environment="_default"), None, NO_VERSIONS),
        (by_books(), books(ssl="1.0.0"), None, NO_VERSIONS),
        (by_books(ssl="1.0.0"), books(environment="qa"), None, ELSEWHERE),
        (
            by_books(**dict.fromkeys("abcde", "2.0.0")),
            books(**dict.fromkeys("abcde", "1.0.0")),
            "5 cookbooks are older: a 1.0.0 there, runs use 2.0.0; b 1.0.0 there, runs use 2.0.0;"
            " c 1.0.0 there, runs use 2.0.0 and 2 more",
            None,
        ),
    ],
)
def test_what_is_older_and_what_is_said_of_it(used, content, why, said):
    assert compared(used, content) == (why, said or why)


def test_nothing_is_compared_when_it_is_off_or_no_run_has_told():
    assert compared(by_policy(NEW), policy(OLD), parity=OFF) == (None, "not compared: parity is off")
    untold = None, "not compared: no run has reported what it used"
    assert compared(None, policy(OLD)) == compared(by_policy(NEW), policy(OLD), at="gone") == untold


def test_a_deployment_has_half_an_hour_to_reach_a_standby():
    assert compared(by_policy(NEW), policy(OLD), LATE - 1.0) == (None, SETTLING)
    assert compared(by_policy(NEW), policy(NEW), LATE - 1.0) == (None, SAME)
    assert compared(by_policy(NEW), policy(OLD), LATE) == (BEHIND, BEHIND)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("a", [None, BEHIND, BEHIND]),
        ("b", [None, None, BEHIND]),
        ("c", [None, None, None]),
    ],
)
def test_a_server_is_held_against_what_runs_used_on_one_preferred_to_it(at, said):
    snapshot = using(by_policy(NEW), *(with_(policy(OLD), name) for name in "abc"), at=at)
    assert [stale(snapshot, one, now=LATE) for one in snapshot.servers] == said
    assert [is_compared(snapshot, one) for one in snapshot.servers] == [words is not None for words in said]
    words = {name: compare(snapshot, snapshot.server(name), now=LATE).words for name in "abc"}
    assert words[at] == "has what runs use"
    assert at == "a" or words["a"] == f"not compared: it is preferred to {at}, where the last runs were"


def test_equals_are_held_against_each_other_in_the_order_of_this_node():
    one, other = equals()[1:]
    snapshot = using(by_policy(NEW), *(with_(policy(OLD), name, priority=1) for name in (one, other)), at=one)
    assert [is_compared(snapshot, snapshot.server(name)) for name in (one, other)] == [False, True]


def test_what_was_stale_before_a_restart_is_until_it_is_read():
    snapshot = using(by_policy(NEW), server("a"), server("b", was_stale=True))
    said = "it was stale when last read, before a restart"
    assert stale(snapshot, snapshot.server("b"), now=LATE) == said
    assert stale(snapshot, snapshot.server("b"), now=LATE - 1.0) is None
    assert is_behind(snapshot, snapshot.server("b"))
    assert not is_behind(was_read(snapshot, "b", READ, WEB, content=policy(NEW)), server("b"))


# --- what runs tell -------------------------------------------------------------------------------------------------


def ran(snapshot, name, revision, at):
    run = Run(f"{name}-{at}", name, "succeeded", None, ON, used=by_policy(revision))
    return apply_run(snapshot, run, now=at, on=ON)


def test_what_runs_use_comes_from_the_most_preferred_server_that_has_it():
    snapshot = bare(server("a"), server("b"), server("c"))
    for name, used, expected in (("b", NEW, "b"), ("c", NEW, "b"), ("a", NEW, "a"), ("b", NEW, "a"), ("b", OLD, "b")):
        found = origin(snapshot, snapshot.server(name), by_policy(used))
        snapshot = attrs.evolve(snapshot, used=by_policy(used), used_server=found)
        assert snapshot.used_server == expected


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([OLD, NEW])), min_size=1, max_size=8))
def test_where_the_last_run_was_and_what_is_preferred_to_it_is_not_stale(runs):
    snapshot = world(*(server(name) for name in "abc"), parity=REQUIRE)
    for at, (name, revision) in enumerate(runs):
        snapshot = ran(snapshot, name, revision, float(at))
    now = len(runs) + SETTLING_S
    assert stale(snapshot, snapshot.server(runs[-1][0]), now=now) is None
    assert stale(snapshot, snapshot.server("a"), now=now) is None


# --- the choice -----------------------------------------------------------------------------------------------------


def three(main=Health.UP, *orders, parity=REQUIRE, b=OLD, c=NEW, current="a", **more):
    servers = (server("a", main), with_(policy(b), "b"), with_(policy(c), "c"))
    return using(by_policy(NEW), *servers, *orders, current=current, parity=parity, **more)


@pytest.mark.parametrize(
    ("snapshot", "chosen", "degraded"),
    [
        (three(), "a", False),
        (three(Health.DOWN), "c", False),
        (three(Health.DOWN, current="c"), "c", False),  # and it stays there, though the stale one comes first
        (three(current="c", failback_s=0.0), "a", False),
        (three(Health.DOWN, parity=WARN), "b", False),
        (three(Health.DOWN, parity=OFF), "b", False),
        (three(Health.DOWN, c=OLD), "b", False),  # no fresh one: a stale run is better than none
        (three(Health.DOWN, b=None), "b", False),  # what cannot be told is not held against it
        (three(Health.DOWN, pin("b")), "b", False),
    ],
)
def test_a_stale_standby_is_passed_over_while_a_fresh_one_is_well(snapshot, chosen, degraded):
    choice = select(snapshot, now=LATE)
    assert (choice.name, choice.is_degraded) == (chosen, degraded)


def test_why_it_is_passed_over_is_said():
    choice = select(three(Health.DOWN), now=LATE)
    assert choice.verdicts[1].standing is Standing.STALE
    assert choice.reason == f"a is DOWN: refused; b is stale: {BEHIND}"


@pytest.mark.parametrize(
    "worse",
    [
        with_(policy(NEW), "c", Health.DOWN),
        drained(with_(policy(NEW), "c")),
        with_(policy(NEW), "c", registration=Registration(RegistrationState.REFUSED)),
        with_(policy(NEW), "c", outcome=Outcome.NOT_ASSOCIATED),
    ],
)
def test_a_stale_standby_is_better_than_any_that_is_not_well(worse):
    snapshot = using(by_policy(NEW), server("a", Health.DOWN), with_(policy(OLD), "b"), worse, parity=REQUIRE)
    choice = select(snapshot, now=LATE)
    assert (choice.name, choice.standing) == ("b", Standing.STALE)


def down(snapshot, name, at):
    for step in range(THRESHOLDS.fall):
        snapshot = probed(snapshot, name, Outcome.REFUSED, at + step)
    for other in snapshot.servers:
        if other.health is Health.UP:
            snapshot = probed(snapshot, other.name, Outcome.OK, at + step)
    return snapshot


def up(snapshot, name, at):
    for step in range(THRESHOLDS.rise):
        snapshot = probed(snapshot, name, Outcome.OK, at + step)
    return snapshot


def read(snapshot, at, **revisions):
    for name, revision in revisions.items():
        snapshot = was_read(snapshot, name, at, WEB, content=policy(revision, at))
    return snapshot


def in_use(*names, **more):
    return world(*(server(name) for name in names), parity=REQUIRE, failback_s=0.0, **more)


def deployed(*names, **revisions):
    """NEW runs on "a" for long, and the others have ``revisions``."""
    return read(ran(in_use(*names), "a", NEW, 1.0), 2.0 + SETTLING_S, **revisions)


def test_the_node_returns_from_a_stale_standby():
    away = down(deployed("a", "b", b=OLD), "a", 3000.0)
    assert away.choice.name == "b"
    away = ran(away, "b", OLD, 3100.0)
    back = up(away, "a", 9000.0)
    assert back.choice.name == "a"
    assert stale(ran(back, "a", NEW, 9100.0), back.server("b"), now=20_000.0) is None  # not read since
    assert stale(read(ran(back, "a", NEW, 9100.0), 9200.0, b=OLD), back.server("b"), now=20_000.0) is None
    again = read(ran(back, "a", NEW, 9100.0), 9200.0, b=OLD)
    assert stale(again, again.server("b"), now=20_000.0) == BEHIND


def test_a_fresh_standby_is_not_left_for_a_better_one_that_is_stale():
    away = down(deployed("a", "b", "c", b=OLD, c=NEW), "a", 3000.0)
    assert away.choice.name == "c"
    away = ran(away, "c", NEW, 3100.0)
    assert away.choice.name == "c"
    assert read(away, 4000.0, b=NEW).choice.name == "b"


def test_after_a_run_there_a_stale_standby_is_not_left_for_one_behind_it():
    away = down(deployed("a", "b", "c", b=OLD, c=OLD), "a", 3000.0)
    away = read(ran(away, "b", OLD, 3100.0), 3200.0 + SETTLING_S, c=NEW)
    assert away.choice.name == "b"


def equals():
    """Two servers of one priority, and their names in the order of this node."""
    snapshot = world(server("a", priority=1), server("b", priority=1), parity=REQUIRE, failback_s=0.0)
    first = snapshot.choice.name
    return snapshot, first, "b" if first == "a" else "a"


def test_the_node_returns_from_a_stale_equal():
    snapshot, first, other = equals()
    away = down(read(ran(snapshot, first, NEW, 1.0), 2000.0, **{other: OLD}), first, 3000.0)
    assert away.choice.name == other
    assert up(ran(away, other, OLD, 3100.0), first, 9000.0).choice.name == first


# --- drains and pins ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failback_s", [0.0, float("inf")])
def test_the_end_of_a_drain_brings_the_node_back_whatever_was_deployed_since(failback_s):
    first = ran(world(server("a"), server("b"), parity=REQUIRE, failback_s=failback_s), "a", NEW, 1.0)
    drained = apply_order(first, drain("a"), is_forced=False, now=2.0, on=ON)
    assert drained.choice.name == "b"
    drained = read(ran(drained, "b", OTHER, 3.0), 4.0, a=NEW)
    assert lift(drained, (Drain, "a"), who="alice", now=LATE * 2, on=ON).choice.name == "a"


def test_after_a_pin_to_a_stale_standby_the_node_returns():
    pinned = apply_order(deployed("a", "b", b=OLD), pin("b"), is_forced=False, now=3000.0, on=ON)
    assert (pinned.choice.name, pinned.choice.is_degraded) == ("b", False)
    assert lift(ran(pinned, "b", OLD, 3100.0), Pin, who="alice", now=9000.0, on=ON).choice.name == "a"


def test_a_pin_that_is_over_keeps_no_stale_standby_in_its_place():
    assert select(three(Health.DOWN, pin("b", ends_at=LATE + 5)), now=LATE + 4.0).name == "b"
    assert select(three(Health.DOWN, pin("b", ends_at=LATE + 5)), now=LATE + 5.0).name == "c"


def test_what_would_have_to_change_for_a_stale_standby_to_be_used():
    servers = (with_(policy(OLD if name in "bd" else NEW), name) for name in "abcd")
    snapshot = using(by_policy(NEW), *servers, parity=REQUIRE)
    choice = select(snapshot, now=LATE)
    wants = {
        verdict.name: outlook.conditions_for_use(snapshot, verdict, choice, now=LATE) for verdict in choice.verdicts
    }
    assert wants == {
        "a": None,
        "b": "a and c must fail or be drained, or the node be pinned",
        "c": "a must fail or be drained, or the node be pinned",
        "d": "a and b and c must fail or be drained, or the node be pinned",
    }


def test_a_reading_that_failed_keeps_what_was_read_and_its_age():
    snapshot = read(in_use("a", "b"), 1.0, b=OLD)
    snapshot = was_read(snapshot, "b", 50.0, trouble="no answer")
    assert snapshot.server("b").node_check.content.read_at == 1.0


# --- the views ------------------------------------------------------------------------------------------------------


def test_it_is_shown():
    document = render.servers(deployed("a", "b", b=OLD), About("1"), now=3000.0)
    assert [(entry["stale"], entry["parity"]) for entry in document["servers"]] == [
        (False, "has what runs use"),
        (True, BEHIND),
    ]
    assert f"is stale: {BEHIND}" in tables.status(document)
    assert document["servers"][1]["lacks"] == [f"is stale: {BEHIND}"]
