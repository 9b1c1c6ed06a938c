import attrs
import pytest

from chef_failover.api import render
from chef_failover.cli import tables
from chef_failover.decide import outlook
from chef_failover.decide.parity import PAST_KEPT, SETTLING_S, VALID_S, compare, is_lagging, lags_from, renewed, stale
from chef_failover.decide.selection import select
from chef_failover.decide.world import apply_order, refresh_choice, undrain, unpin
from chef_failover.model.model import Health, NodeCheck, Outcome, Registration, RegistrationState, Standing
from chef_failover.model.needs import Content, ParityMode, Past
from tests.support.builders import (
    ON,
    THRESHOLDS,
    WEB,
    asked,
    bare,
    drain,
    pin,
    probed,
    server,
    was_read,
    with_failback,
    world,
)

OLD, NEW, OTHER = "4d5e6f7a8b", "1a2b3c4d5e", "999999"
REQUIRE, WARN, OFF = ParityMode.REQUIRE, ParityMode.WARN, ParityMode.OFF


def policy(revision, at=0.0, **more):
    return Content(at, ("webserver", "production"), revision, **more)


def books(used, at=0.0, *, environment="_default", **versions):
    return Content(at, environment=environment, cookbooks=versions, used=used)


def with_(content, name, health=Health.UP, **more):
    return server(name, health, node_check=NodeCheck(0.0, WEB, content=content), **more)


def had(*states):
    """Revisions, each with the instant until which it was there."""
    return tuple(Past(until, revision) for revision, until in states)


def words(snapshot, name, now=0.0):
    return compare(snapshot, snapshot.server(name), now=now).words


def compared(ours, theirs, now=0.0, **more):
    """What is older, and what is said."""
    snapshot = bare(with_(ours, "main"), with_(theirs, "standby"), current="main", **more)
    return stale(snapshot, snapshot.server("standby"), now=now), words(snapshot, "standby", now)


USED = {"apache2": "5.2.0", "ssl": None}
BEHIND = "policy webserver is at 4d5e6f7 there, and at 1a2b3c4 on main"
SAME = "as new as on main"
ELSEWHERE = "cannot be compared: on main this node has another policy or environment"
NONE_USED = "cannot be compared: main has no cookbook that this node is known to use"
NEWER = "newer than on main"
UNTOLD = "cannot be compared: "
IN_USE = UNTOLD + "main, which is in use, "
SETTLING = "not compared yet: a deployment has just reached main, and may be on its way"


@pytest.mark.parametrize(
    ("ours", "theirs", "why", "said"),
    [
        (policy(NEW), policy(NEW), None, SAME),
        (policy(NEW), policy(OLD), BEHIND, BEHIND),
        (
            policy("1111111a"),
            policy("1111111b"),
            "policy webserver is at 1111111b there, and at 1111111a on main",
            "policy webserver is at 1111111b there, and at 1111111a on main",
        ),
        (policy(None), policy(OLD), None, IN_USE + "does not say the revision of the policy"),
        (None, policy(OLD), None, IN_USE + "has not been read yet"),
        (policy(NEW), policy(None), None, UNTOLD + "it does not say the revision of the policy"),
        (policy(NEW), None, None, UNTOLD + "it has not been read yet"),
        # another policy altogether is told by readiness
        (policy(NEW), attrs.evolve(policy(OLD), policy=("db", "production")), None, ELSEWHERE),
        (policy(NEW), books(USED, apache2="1.0.0"), None, ELSEWHERE),
        (books(USED, apache2="5.2.0"), books({}, apache2="5.2.0", other="1.0.0"), None, SAME),
        (books(USED, apache2="5.2.0", unused="2.0.0"), books({}, apache2="5.2.0"), None, SAME),
        (
            books(USED, apache2="5.2.0"),
            books({}, apache2="5.0.1"),
            "1 cookbook is older: apache2 5.0.1 there, 5.2.0 on main",
            "1 cookbook is older: apache2 5.0.1 there, 5.2.0 on main",
        ),
        (
            books(USED, apache2="5.2.0", ssl="1.0"),
            books({}, apache2="5.10.1"),
            "1 cookbook is older: ssl missing there, 1.0 on main",
            "1 cookbook is older: ssl missing there, 1.0 on main",
        ),
        # numbers, not text; two of them are as good as three
        (books(USED, ssl="1.9.0"), books({}, ssl="1.10.0"), None, SAME),
        (books(USED, ssl="1.0"), books({}, ssl="1.0.0"), None, SAME),
        # what the last run had will do, whatever has been uploaded since
        (books(USED, apache2="6.0.0"), books({}, apache2="5.2.0"), None, SAME),
        (
            books(USED, apache2="6.0.0"),
            books({}, apache2="5.1.9"),
            "1 cookbook is older: apache2 5.1.9 there, 6.0.0 on main",
            "1 cookbook is older: apache2 5.1.9 there, 6.0.0 on main",
        ),
        # taken back on the server in use
        (books(USED, apache2="5.1.0"), books({}, apache2="5.1.0"), None, SAME),
        (books(USED, ssl="1.0.0"), Content(0.0), None, UNTOLD + "it does not say versions of cookbooks"),
        (books(USED, ssl="1.0.0"), books({}, environment="qa"), None, ELSEWHERE),
        (books({}, web="2.0.0"), books({}, web="1.0.0"), None, NONE_USED),
        (books({"web": None}, other="2.0.0"), books({}, other="1.0.0"), None, NONE_USED),
        (
            books(dict.fromkeys("abcde"), **dict.fromkeys("abcde", "2.0.0")),
            books({}, **dict.fromkeys("abcde", "1.0.0")),
            "5 cookbooks are older: a 1.0.0 there, 2.0.0 on main; b 1.0.0 there, 2.0.0 on main;"
            " c 1.0.0 there, 2.0.0 on main and 2 more",
            None,
        ),
    ],
)
def test_what_is_older_and_what_is_said_of_it(ours, theirs, why, said):
    assert compared(ours, theirs) == (why, said or why)


def test_nothing_is_compared_when_it_is_off_or_no_server_is_in_use():
    assert compared(policy(NEW), policy(OLD), parity=OFF) == (None, "not compared: parity is off")
    snapshot = bare(with_(policy(NEW), "main"), with_(policy(OLD), "standby"))
    assert stale(snapshot, snapshot.server("standby"), now=0.0) is None
    assert words(snapshot, "standby") == UNTOLD + "no server is in use"


def test_the_server_in_use_is_what_the_others_are_compared_with():
    snapshot = bare(with_(policy(NEW), "main"), with_(policy(OLD), "standby"), current="standby")
    standby = snapshot.server("standby")
    assert stale(snapshot, standby, now=0.0) is None
    assert words(snapshot, "standby") == "the others are compared with it"
    assert words(bare(server("main"), current="main"), "main") == UNTOLD + "it has not been read yet"


def test_what_was_read_long_ago_counts_until_the_other_one_changes():
    long, changed = VALID_S + 1, had((OTHER, 1.0))
    assert compared(policy(NEW), policy(OLD), now=long)[0] == BEHIND
    assert compared(policy(NEW, long, past=changed), policy(OLD, 1.0), now=long)[0] == BEHIND
    assert compared(policy(NEW, long, past=changed), policy(OLD), now=long) == (
        None,
        UNTOLD + "what was read on standby is too old",
    )
    assert compared(policy(NEW), policy(OLD, long, past=changed), now=long) == (
        None,
        UNTOLD + "what was read on main is too old",
    )


# --- which one is older ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "is_stale"),
    [
        # "c" came after "b", and "b" after "a"; whoever has what the other one had is older, however long ago that was
        (("c", [("a", 10), ("b", 20)]), ("a", []), True),
        (("c", [("a", 10), ("b", 20)]), ("b", [("a", 3000)]), True),
        (("a", []), ("c", [("a", 10), ("b", 20)]), False),
        (("b", [("a", 30)]), ("c", [("a", 10), ("b", 20)]), False),
        # "b" was taken back: the one that changed first is older
        (("a", [("a", 10), ("b", 30)]), ("b", [("a", 20)]), True),
        (("b", [("a", 20)]), ("a", [("a", 10), ("b", 30)]), False),
        # nothing in common: the one in use is right
        (("c", []), ("a", []), True),
        (("c", [("b", 10)]), ("x", [("a", 20)]), True),
        # the same is the same, whatever was before
        (("c", [("a", 10)]), ("c", [("b", 20)]), False),
    ],
)
def test_a_history_tells_which_revision_is_older(ours, theirs, is_stale):
    ours, theirs = (policy(revision, 5000.0, past=had(*past)) for revision, past in (ours, theirs))
    why, said = compared(ours, theirs, now=5000.0)
    assert (why is not None) == is_stale
    assert is_stale or said in (SAME, NEWER)


def test_a_standby_two_behind_that_catches_up_by_one_is_still_stale():
    snapshot = read(in_use("a", "b"), 1.0, a="r1", b="r1")
    for at, revision in ((600.0, "r2"), (1200.0, "r3"), (1800.0, "r4")):
        snapshot = read(snapshot, at, a=revision, b="r1")
    for at in range(2400, 86_400, 600):
        snapshot = read(snapshot, float(at), a="r4", b="r2")
        assert stale(snapshot, snapshot.server("b"), now=float(at)) is not None


def test_a_standby_that_was_updated_first_is_newer():
    snapshot = read(read(in_use("a", "b"), 1.0, a=OLD, b=OLD), 600.0, a=OLD, b=NEW)
    assert words(snapshot, "b", 600.0) == "newer than on a"
    snapshot = was_read(snapshot, "b", 1200.0, WEB, content=policy(None, 1200.0))
    snapshot = read(snapshot, 1800.0, a=OLD, b=NEW)
    assert words(snapshot, "b", 1800.0) == "newer than on a"


def test_a_deployment_has_ten_minutes_to_reach_the_standby():
    changed = policy(NEW, 1000.0, past=had((OLD, 1000.0)))
    assert compared(changed, policy(OLD, 900.0), now=1000.0) == (None, SETTLING)
    assert compared(changed, policy(OLD, 1000.0 + SETTLING_S - 1), now=1600.0) == (None, SETTLING)
    assert compared(changed, policy(OLD, 1000.0 + SETTLING_S), now=1600.0)[0] == BEHIND
    assert compared(changed, policy(OTHER, 900.0), now=1000.0)[0] is not None  # it had not even the one before


def test_a_second_deployment_takes_nothing_of_the_time_for_the_first():
    snapshot = read(read(in_use("a", "b"), 1.0, a="r1"), 590.0, b="r1")
    snapshot = read(read(snapshot, 600.0, a="r2"), 1100.0, a="r3")
    assert stale(snapshot, snapshot.server("b"), now=1100.0) is None
    later = read(snapshot, 1200.0, b="r1")
    assert stale(later, later.server("b"), now=1200.0) is not None  # and it adds nothing to it
    assert stale(read(snapshot, 1200.0, b="r2"), later.server("b"), now=1200.0) is not None


def test_only_the_cookbooks_that_the_node_uses_are_a_deployment():
    snapshot = in_use("a", "b")

    def found(name, at, **versions):
        content = books({"web": None, "ssl": "1.0.0"}, at, ssl="1.0.0", **versions)
        return was_read(snapshot, name, at, WEB, content=content)

    snapshot = found("a", 1.0, web="1.0.0", unused="1.0.0")
    snapshot = found("b", 500.0, web="1.0.0")
    snapshot = found("a", 520.0, web="2.0.0", unused="1.0.0")
    snapshot = found("a", 1001.0, web="2.0.0", unused="1.0.1")
    assert len(snapshot.server("a").node_check.content.past) == 1
    assert stale(snapshot, snapshot.server("b"), now=1001.0) is None
    snapshot = found("b", 1119.0, web="1.0.0")
    assert stale(snapshot, snapshot.server("b"), now=1119.0) is None
    snapshot = found("b", 1120.0, web="1.0.0")
    assert words(snapshot, "b", 1120.0) == "1 cookbook is older: web 1.0.0 there, 2.0.0 on a"
    assert stale(found("b", 1000.0, web="0.9.0"), snapshot.server("b"), now=1120.0) is not None


def test_what_a_reading_remembers_of_those_before():
    first = renewed(None, policy(OLD, 1.0))
    assert (first.changed_at, first.past) == (-float("inf"), ())
    same = renewed(first, policy(OLD, 2.0))
    assert (same.read_at, same.past) == (2.0, ())
    changed = renewed(same, policy(NEW, 3.0))
    assert (changed.changed_at, changed.past) == (3.0, had((OLD, 3.0)))
    assert renewed(changed, policy(NEW, 4.0)).past == changed.past
    third = renewed(changed, policy(OTHER, 5.0))
    assert third.past == had((OLD, 3.0), (NEW, 5.0))
    for before, after in [(policy(None), policy(NEW)), (changed, books({})), (changed, Content(1.0))]:
        assert renewed(before, after) == after


def test_a_server_that_changes_all_the_time_is_not_remembered_for_ever():
    content = policy("r0", 0.0)
    for step in range(1, 100):
        content = renewed(content, policy(f"r{step}", float(step)))
    assert content.past == had(*((f"r{step - 1}", float(step)) for step in range(100 - PAST_KEPT, 100)))


def test_a_server_that_does_not_tell_once_has_told_before():
    """One HTTP 500 erases nothing; what was known keeps its date, and that it was asked for is known, too."""
    known = renewed(renewed(None, policy(OLD, 1.0)), policy(NEW, 2.0))
    hiccup = renewed(known, policy(None, 3.0))
    assert (hiccup.revision, hiccup.read_at, hiccup.asked_at, hiccup.past) == (NEW, 2.0, 3.0, known.past)
    books_known = books({"web": None}, 2.0, web="1.0.0")
    assert renewed(books_known, Content(3.0, environment="_default")) == attrs.evolve(books_known, asked_at=3.0)
    assert not renewed(books_known, Content(3.0, environment="qa")).is_readable


# --- the choice -----------------------------------------------------------------------------------------------------


def three(main=Health.UP, parity=REQUIRE, b=OLD, c=NEW, current="a", **more):
    servers = (with_(policy(NEW), "a", main), with_(policy(b), "b"), with_(policy(c), "c"))
    return bare(*servers, current=current, parity=parity, **more)


@pytest.mark.parametrize(
    ("snapshot", "chosen", "degraded"),
    [
        (three(), "a", False),
        (three(Health.DOWN), "c", False),
        (three(Health.DOWN, WARN), "b", False),
        (three(Health.DOWN, OFF), "b", False),
        (three(Health.DOWN, c=OLD), "b", False),  # no fresh one: a stale run is better than none
        (three(Health.DOWN, b=None), "b", False),  # what cannot be told is not held against it
        (three(Health.DOWN, pin=pin("b")), "b", False),
        (three(Health.DOWN, current=None), "b", False),
    ],
)
def test_a_stale_standby_is_passed_over_while_a_fresh_one_is_well(snapshot, chosen, degraded):
    choice = select(snapshot, now=0.0)
    assert (choice.name, choice.is_degraded) == (chosen, degraded)


def test_why_it_is_passed_over_is_said():
    choice = select(three(Health.DOWN), now=0.0)
    assert choice.verdicts[1].standing is Standing.STALE
    assert choice.reason == (
        "a is DOWN: refused; b is stale: policy webserver is at 4d5e6f7 there, and at 1a2b3c4 on a"
    )


@pytest.mark.parametrize(
    "worse",
    [
        with_(policy(NEW), "c", Health.DOWN),
        with_(policy(NEW), "c", drain=drain("c")),
        with_(policy(NEW), "c", registration=Registration(RegistrationState.REFUSED)),
        with_(policy(NEW), "c", outcome=Outcome.NOT_ASSOCIATED),
    ],
)
def test_a_stale_standby_is_better_than_any_that_is_not_well(worse):
    main = with_(policy(NEW), "a", Health.DOWN)
    choice = select(bare(main, with_(policy(OLD), "b"), worse, current="a", parity=REQUIRE), now=0.0)
    assert (choice.name, choice.standing) == ("b", Standing.ELIGIBLE)


def test_the_server_in_use_is_never_left_for_being_stale():
    snapshot = bare(with_(policy(OLD), "a"), with_(policy(NEW), "b"), current="a", parity=REQUIRE)
    assert select(snapshot, now=0.0).name == "a"


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


def test_the_node_returns_from_a_stale_standby():
    away = down(read(in_use("a", "b"), 1.0, a=NEW, b=OLD), "a", 10.0)
    assert (away.choice.name, away.lagging_since) == ("b", 12.0)
    assert words(away, "a", 20.0) == words(away, "b", 20.0) == UNTOLD + "b, which is in use, may itself be stale"
    back = up(read(away, 20.0, a=NEW, b=OLD), "a", 30.0)
    assert (back.choice.name, back.lagging_since) == ("a", None)
    assert stale(back, back.server("b"), now=31.0) is not None


def test_a_stale_standby_that_is_in_use_counts_again_once_it_has_changed():
    away = down(read(in_use("a", "b", "c"), 1.0, a=NEW, b=OLD, c=OLD), "a", 10.0)
    assert away.choice.name == "b"
    assert stale(away, away.server("c"), now=20.0) is None
    away = read(away, 20.0, b=OTHER)
    away = read(away, 20.0 + SETTLING_S, b=OTHER, c=OLD)
    assert stale(away, away.server("c"), now=20.0 + SETTLING_S) is not None


def test_from_one_stale_standby_to_the_next_nothing_is_known_better():
    away = down(read(in_use("a", "b", "c"), 1.0, a=NEW, b=OLD, c=OTHER), "a", 10.0)
    further = down(away, "b", 20.0)
    assert (further.choice.name, further.lagging_since) == ("c", 22.0)
    back = up(further, "a", 30.0)
    assert (back.choice.name, back.lagging_since) == ("a", None)


def test_a_fresh_standby_is_not_left_for_a_better_one_that_is_stale():
    away = down(read(in_use("a", "b", "c"), 1.0, a=NEW, b=OLD, c=NEW), "a", 10.0)
    assert (away.choice.name, away.lagging_since) == ("c", None)
    for at in (600.0, 1200.0, 1800.0, 2400.0):  # long after what was read of the main server has expired
        away = read(away, at, b=OLD, c=NEW)
        assert away.choice.name == "c"
    assert read(away, 2401.0, b=NEW).choice.name == "b"


# --- what is in use may be stale ------------------------------------------------------------------------------------


def days_pass(snapshot, start, probed_too=(), **revisions):
    """A day of readings that find these, and of good probes of these."""
    for at in range(start, start + 86_400, 500):
        snapshot = read(snapshot, float(at), **revisions)
        for name in probed_too:
            snapshot = probed(snapshot, name, Outcome.OK, at + 1.0)
    return snapshot


@pytest.mark.parametrize("failback_s", [0.0, 600.0])
def test_a_node_that_boots_while_main_is_down_returns_from_a_stale_standby(failback_s):
    new = world(server("a", Health.UNKNOWN), server("b", Health.UNKNOWN), parity=REQUIRE, failback_s=failback_s)
    new = down(probed(new, "b", Outcome.OK, 1.0), "a", 1.1)
    assert (new.choice.name, new.lagging_since) == ("b", 1.1)
    back = days_pass(up(read(new, 2.0, b=OLD), "a", 100.0), 200, ["a"], a=NEW, b=OLD)
    assert (back.choice.name, back.lagging_since) == ("a", None)


def equals():
    """Two servers of one priority, and their names in the order of this node."""
    snapshot = world(server("a", priority=1), server("b", priority=1), parity=REQUIRE, failback_s=0.0)
    first = snapshot.choice.name
    return snapshot, first, "b" if first == "a" else "a"


def test_the_node_returns_from_a_stale_equal():
    snapshot, first, other = equals()
    away = down(read(snapshot, 1.0, **{first: NEW, other: OLD}), first, 10.0)
    assert (away.choice.name, away.lagging_since) == (other, 12.0)
    assert up(read(away, 20.0, **{first: NEW, other: OLD}), first, 30.0).choice.name == first


def test_a_drill_on_a_stale_equal_ends():
    snapshot, first, other = equals()
    snapshot = read(snapshot, 1.0, **{first: NEW, other: OLD})
    pinned = apply_order(snapshot, pin(other), is_forced=False, now=2.0, on=ON)
    assert unpin(pinned, who="alice", now=3.0, on=ON).choice.name == first


def test_when_a_stale_standby_is_back_first_the_node_returns_all_the_same():
    dark = down(down(read(in_use("a", "b"), 1.0, a=NEW, b=OLD), "b", 10.0), "a", 20.0)
    away = with_failback(probed(up(dark, "b", 2000.0), "a", Outcome.REFUSED, 2001.5), 600.0)
    assert away.choice.name == "b"
    back = days_pass(up(read(away, 2002.0, b=OLD), "a", 2100.0), 2200, ["a"], a=NEW, b=OLD)
    assert back.choice.name == "a"


def test_a_move_to_a_standby_that_cannot_be_compared_may_be_to_a_stale_one():
    for unknown in ({}, {"b": None}):
        away = down(read(in_use("a", "b"), 1.0, a=NEW, **unknown), "a", 10.0)
        assert away.lagging_since == 12.0
        assert up(read(away, 20.0, a=NEW, b=OLD), "a", 30.0).choice.name == "a"
    assert lags_from(away, attrs.evolve(away.choice, name="gone"), now=1.0) is None


def test_what_was_in_use_before_this_life_is_what_it_was():
    """A reload or a restart takes the node from no fresh standby to a stale one, and not from main for good."""
    fresh = down(read(in_use("a", "b", "c"), 1.0, a=NEW, b=OLD, c=NEW), "a", 10.0)
    assert (fresh.choice.name, fresh.lagging_since) == ("c", None)
    assert refresh_choice(attrs.evolve(fresh, is_choice_remembered=True), now=20.0, on=ON).choice.name == "c"
    lagging = bare(with_(policy(NEW), "a"), with_(policy(OLD), "b"), current="b", parity=REQUIRE, lagging_since=5.0)
    assert stale(lagging, lagging.server("a"), now=9.0) is None
    assert is_lagging(lagging)
    assert not is_lagging(attrs.evolve(lagging, choice=None))
    deployed = read(lagging, 6.0, b=NEW)
    assert not is_lagging(deployed)  # which is what is written down
    on_main = attrs.evolve(lagging, choice=attrs.evolve(lagging.choice, name="a"))
    assert stale(on_main, on_main.server("b"), now=9.0) is None  # whoever is first now: nobody knows


@pytest.mark.parametrize(
    ("near", "far", "goes_to"),
    [
        # right after a restart, with "far" in use: nothing is read yet, or not of both
        (asked("b"), server("c", Health.UNKNOWN), "c"),
        (asked("b"), asked("c"), "c"),
        (with_(policy(OLD), "b"), asked("c"), "c"),
        (asked("b"), with_(policy(NEW), "c"), "c"),
        (with_(policy(OLD), "b"), with_(policy(NEW), "c"), "c"),
        # what will never be read holds nobody up, and what is down even less
        (server("b"), with_(policy(NEW), "c"), "b"),
        (with_(None, "b"), with_(policy(NEW), "c"), "b"),
        (asked("b"), server("c", Health.DOWN), "b"),
        (with_(policy(NEW), "b"), with_(policy(NEW), "c"), "b"),
    ],
)
def test_nobody_leaves_a_well_server_for_one_that_is_about_to_be_compared_with_it(near, far, goes_to):
    snapshot = bare(server("a", Health.DOWN), near, far, current="c", parity=REQUIRE, failback_s=0.0)
    choice = select(snapshot, now=0.0)
    assert (choice.name, choice.is_degraded) == (goes_to, False)
    assert select(attrs.evolve(snapshot, choice=None), now=0.0).name == "b"


def test_a_server_that_is_about_to_be_compared_says_so():
    snapshot = bare(asked("b"), with_(policy(NEW), "c"), current="c", parity=REQUIRE, failback_s=0.0)
    choice = select(snapshot, now=0.0)
    assert choice.reason == "b is not compared with c yet"
    assert outlook.conditions_for_use(snapshot, choice.verdicts[0], choice, now=0.0) == (
        "nothing; the node moves there as soon as it has proven itself"
    )


@pytest.mark.parametrize("at", [500.0, 5000.0])
def test_a_server_in_use_that_does_not_tell_for_once_is_what_it_was(at):
    before = read(in_use("a", "b", "c"), 1.0, a=NEW, b=OLD, c=NEW)
    snapshot = was_read(before, "a", at, WEB, content=policy(None, at))
    assert down(snapshot, "a", at + 10).choice.name == "c"
    near = read(
        down(was_read(read(in_use("a", "b"), 1.0, a=NEW, b=OLD), "a", at, WEB, content=policy(None, at)), "a", at + 10),
        at + 50,
        b=OLD,
    )
    assert up(near, "a", at + 60).choice.name == "a"


def test_a_fresh_server_that_cannot_be_read_any_more_is_not_left_for_a_stale_one():
    away = down(read(in_use("a", "b", "c"), 1.0, a=NEW, b=OLD, c=NEW), "a", 10.0)
    for at in range(700, 86_400, 500):
        away = read(was_read(away, "c", float(at), trouble="timeout"), at + 1.0, b=OLD)
        assert probed(away, "b", Outcome.OK, at + 2.0).choice.name == "c"
    late = read(away, 90_000.0, b=OTHER)  # a deployment that nobody can see on the one in use
    assert late.choice.name == "b"


# --- drains and pins ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failback_s", [0.0, float("inf")])
@pytest.mark.parametrize(("is_deployed_on_main", "returns"), [(True, True), (False, False)])
def test_the_end_of_a_drain_brings_the_node_back_unless_the_server_is_stale(failback_s, is_deployed_on_main, returns):
    snapshot = read(with_failback(in_use("a", "b"), failback_s), 1.0, a=NEW, b=NEW)
    snapshot = apply_order(snapshot, drain("a"), is_forced=False, now=2.0, on=ON)
    assert snapshot.choice.name == "b"
    at = 10.0 + SETTLING_S
    snapshot = read(read(snapshot, 10.0, b=OTHER), at, b=OTHER, a=OTHER if is_deployed_on_main else NEW)
    snapshot = undrain(snapshot, "a", who="alice", now=at + 1, on=ON)
    assert snapshot.choice.name == ("a" if returns else "b")


def test_after_a_drain_or_a_pin_to_a_stale_standby_the_node_returns():
    first = read(in_use("a", "b"), 1.0, a=NEW, b=OLD)
    drained = apply_order(first, drain("a"), is_forced=False, now=2.0, on=ON)
    assert (drained.choice.name, drained.lagging_since) == ("b", 2.0)
    assert undrain(drained, "a", who="alice", now=3.0, on=ON).choice.name == "a"
    pinned = apply_order(first, pin("b"), is_forced=False, now=2.0, on=ON)
    assert (pinned.choice.name, pinned.choice.is_degraded, pinned.lagging_since) == ("b", False, 2.0)
    assert unpin(pinned, who="alice", now=3.0, on=ON).choice.name == "a"


def test_a_pin_that_is_over_keeps_no_stale_standby_in_its_place():
    assert select(three(Health.DOWN, pin=pin("b", ends_at=5.0)), now=4.0).name == "b"
    assert select(three(Health.DOWN, pin=pin("b", ends_at=5.0)), now=5.0).name == "c"


def test_what_would_have_to_change_for_a_stale_standby_to_be_used():
    snapshot = bare(
        *(with_(policy(OLD if name in "bd" else NEW), name) for name in "abcd"), current="a", parity=REQUIRE
    )
    choice = select(snapshot, now=0.0)
    wants = {
        verdict.name: outlook.conditions_for_use(snapshot, verdict, choice, now=0.0) for verdict in choice.verdicts
    }
    assert wants == {
        "a": None,
        "b": "a and c must fail or be drained, or the node be pinned",
        "c": "a must fail or be drained, or the node be pinned",
        "d": "a and b and c must fail or be drained, or the node be pinned",
    }


def test_a_reading_that_failed_keeps_what_was_read_and_its_age():
    snapshot = read(in_use("a", "b"), 1.0, a=NEW, b=OLD)
    snapshot = was_read(snapshot, "b", 50.0, trouble="no answer")
    assert snapshot.server("b").node_check.content.read_at == 1.0
    assert was_read(snapshot, "b", 60.0, WEB).server("b").node_check.content is None


# --- the views ------------------------------------------------------------------------------------------------------


def test_it_is_shown():
    from chef_failover.model.about import About

    snapshot = read(world(server("a"), server("b")), 1.0, a=NEW, b=OLD)
    document = render.servers(snapshot, About("1"), now=2.0)
    said = "policy webserver is at 4d5e6f7 there, and at 1a2b3c4 on a"
    assert [(entry["stale"], entry["parity"]) for entry in document["servers"]] == [
        (False, "the others are compared with it"),
        (True, said),
    ]
    assert f"is stale: {said}" in tables.status(document)
    assert document["servers"][1]["lacks"] == [f"is stale: {said}"]
