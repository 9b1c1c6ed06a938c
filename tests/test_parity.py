import attrs
import pytest

from chef_failover import prospects, render, tables
from chef_failover.model import Association, Content, Health, NodeCheck, Outcome, ParityMode, Registration, Standing
from chef_failover.overview import overview
from chef_failover.parity import SETTLING_S, VALID_S, is_recent, lags_from, renewed, sentence, stale
from chef_failover.readiness import INTERVAL_S
from chef_failover.selection import select
from chef_failover.world import obey, settle, undrain, unpin

from worlds import ON, THRESHOLDS, WEB, bare, drain, pin, probed, server, was_read, with_failback, world

OLD, NEW, OTHER = "4d5e6f7a8b", "1a2b3c4d5e", "999999"
REQUIRE, WARN, OFF = ParityMode.REQUIRE, ParityMode.WARN, ParityMode.OFF


def policy(revision, at=0.0, **more):
    return Content(at, ("webserver", "production"), revision, **more)


def books(used, at=0.0, *, environment="_default", asked_at=None, **versions):
    return Content(at, environment=environment, cookbooks=versions, used=used, asked_at=asked_at or at)


def with_(content, name, health=Health.UP, **more):
    return server(name, health, node_check=NodeCheck(0.0, WEB, content=content), **more)


def compared(ours, theirs, now=0.0, **more):
    snapshot = bare(with_(ours, "main"), with_(theirs, "standby"), current="main", **more)
    standby = snapshot.server("standby")
    return stale(snapshot, standby, now=now), sentence(snapshot, standby, now=now)


USED = {"apache2": "5.2.0", "ssl": None}
BEHIND = "policy webserver is at 4d5e6f7 there, and at 1a2b3c4 on main"
SAME = "as new as on main"
UNKNOWN = "cannot be told: nothing is known to compare it with"


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
        (policy(None), policy(OLD), None, UNKNOWN),
        (None, policy(OLD), None, UNKNOWN),
        (policy(NEW), policy(None), None, "cannot be told: the server does not say the revision of the policy"),
        (policy(NEW), None, None, "not read yet"),
        # another policy altogether is told by readiness
        (policy(NEW), attrs.evolve(policy(OLD), policy=("db", "production")), None, SAME),
        (policy(NEW), books(USED, apache2="1.0.0"), None, SAME),
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
        (books(USED, ssl="1.0.0"), Content(0.0), None, "cannot be told: the server does not say versions of cookbooks"),
        (books(USED, ssl="1.0.0"), books({}, environment="qa"), None, SAME),
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
    assert sentence(snapshot, snapshot.server("standby"), now=0.0) == UNKNOWN


def test_the_server_in_use_is_what_the_others_are_compared_with():
    snapshot = bare(with_(policy(NEW), "main"), with_(policy(OLD), "standby"), current="standby")
    standby = snapshot.server("standby")
    assert stale(snapshot, standby, now=0.0) is None
    assert sentence(snapshot, standby, now=0.0) == "the others are compared with it"
    unread = bare(server("main"), current="main")
    assert sentence(unread, unread.server("main"), now=0.0) == "not read yet"


def test_what_was_read_long_ago_counts_until_the_other_one_changes():
    long = VALID_S + 1
    assert compared(policy(NEW), policy(OLD), now=long)[0] == BEHIND
    too_old = "cannot be told: what was read there is too old"
    assert compared(policy(NEW, long, changed_at=1.0), policy(OLD, 1.0), now=long)[0] == BEHIND
    assert compared(policy(NEW, long, changed_at=1.0), policy(OLD), now=long) == (None, too_old)
    assert compared(policy(NEW), policy(OLD, long, changed_at=1.0), now=long)[0] is None


def test_a_deployment_has_ten_minutes_to_reach_the_standby():
    changed = policy(NEW, 1000.0, changed_at=1000.0, former=policy(OLD))
    assert compared(changed, policy(OLD, 900.0), now=1000.0) == (None, SAME)
    assert compared(changed, policy(OLD, 1000.0 + SETTLING_S - 1), now=1600.0)[0] is None
    assert compared(changed, policy(OLD, 1000.0 + SETTLING_S), now=1600.0)[0] == BEHIND
    assert compared(changed, policy(OTHER, 900.0), now=1000.0)[0] is not None  # it had not even the one before


def test_a_standby_that_was_updated_first_is_not_stale():
    ahead = policy(NEW, 1000.0, changed_at=1000.0, former=policy(OLD))
    assert compared(policy(OLD, 900.0), ahead, now=1000.0) == (None, SAME)
    # but one that has only now caught up with what the other had before is
    late = policy(OLD, 2000.0, changed_at=2000.0, former=policy(OTHER))
    moved_on = policy(NEW, 2000.0, changed_at=1000.0, former=policy(OLD))
    assert compared(moved_on, late, now=2000.0)[0] == BEHIND


def test_what_a_reading_remembers_of_the_one_before():
    first = renewed(None, policy(OLD, 1.0))
    assert (first.changed_at, first.former) == (-float("inf"), None)
    same = renewed(first, policy(OLD, 2.0))
    assert (same.read_at, same.changed_at, same.former) == (2.0, -float("inf"), None)
    changed = renewed(same, policy(NEW, 3.0))
    assert (changed.changed_at, changed.former) == (3.0, same)
    again = renewed(changed, policy(NEW, 4.0))
    assert (again.changed_at, again.former) == (3.0, same)
    third = renewed(again, policy(OTHER, 5.0))
    assert third.former == attrs.evolve(again, former=None)
    for before, after in [(policy(None), policy(NEW)), (policy(NEW), books({}))]:
        assert renewed(before, after).former is None


def test_a_server_that_does_not_tell_once_has_told_before():
    """One HTTP 500 erases nothing; what was known keeps its date, and that it was asked for is known, too."""
    known = renewed(renewed(None, policy(OLD, 1.0)), policy(NEW, 2.0))
    hiccup = renewed(known, policy(None, 3.0))
    assert (hiccup.revision, hiccup.read_at, hiccup.asked_at, hiccup.former) == (NEW, 2.0, 3.0, known.former)
    books_known = books({"web": None}, 2.0, web="1.0.0")
    assert renewed(books_known, Content(3.0, environment="_default")) == attrs.evolve(books_known, asked_at=3.0)
    assert not renewed(books_known, Content(3.0, environment="qa")).is_readable


@pytest.mark.parametrize(
    ("content", "is_recent_"),
    [
        (None, False),
        (policy(NEW, 1000.0), False),
        (books({}, 1000.0), True),
        (Content(1000.0, environment="_default"), True),
        (books({}, 1.0, asked_at=1000.0), True),
        (books({}, 1000.0, environment="qa"), False),
        (books({}, 1000.0 - INTERVAL_S * 0.8), False),
    ],
)
def test_cookbooks_are_not_asked_for_again_so_soon(content, is_recent_):
    assert is_recent(content, "_default", 1000.0) == is_recent_


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
        with_(policy(NEW), "c", registration=Registration(Association.REFUSED)),
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
    assert sentence(away, away.server("a"), now=20.0) == UNKNOWN
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
    pinned = obey(snapshot, pin(other), is_forced=False, now=2.0, on=ON)
    assert unpin(pinned, who="alice", now=3.0, on=ON).choice.name == first


def test_when_all_were_down_and_a_stale_standby_is_back_first_the_node_returns_all_the_same():
    dark = down(down(read(in_use("a", "b"), 1.0, a=NEW, b=OLD), "b", 10.0), "a", 20.0)
    away = with_failback(up(dark, "b", 2000.0), 600.0)
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
    assert settle(attrs.evolve(fresh, is_choice_remembered=True), now=20.0, on=ON).choice.name == "c"
    lagging = bare(with_(policy(NEW), "a"), with_(policy(OLD), "b"), current="b", parity=REQUIRE, lagging_since=5.0)
    assert stale(lagging, lagging.server("a"), now=9.0) is None
    on_main = attrs.evolve(lagging, choice=attrs.evolve(lagging.choice, name="a"))
    assert stale(on_main, on_main.server("b"), now=9.0) is None  # whoever is first now: nobody knows


@pytest.mark.parametrize(
    ("near", "far", "goes_to"),
    [
        # right after a restart, with "far" in use: nothing is read yet, or not of both
        (server("b", says=True), server("c", Health.UNKNOWN), "c"),
        (server("b", says=True), server("c", says=True), "c"),
        (with_(policy(OLD), "b"), server("c", says=True), "c"),
        (server("b", says=True), with_(policy(NEW), "c"), "c"),
        (with_(policy(OLD), "b"), with_(policy(NEW), "c"), "c"),
        # what will never be read holds nobody up, and what is down even less
        (server("b"), with_(policy(NEW), "c"), "b"),
        (with_(None, "b"), with_(policy(NEW), "c"), "b"),
        (server("b", says=True), server("c", Health.DOWN), "b"),
        (with_(policy(NEW), "b"), with_(policy(NEW), "c"), "b"),
    ],
)
def test_nobody_leaves_a_well_server_for_one_that_is_about_to_be_compared_with_it(near, far, goes_to):
    snapshot = bare(server("a", Health.DOWN), near, far, current="c", parity=REQUIRE, failback_s=0.0)
    choice = select(snapshot, now=0.0)
    assert (choice.name, choice.is_degraded) == (goes_to, False)
    assert select(attrs.evolve(snapshot, choice=None), now=0.0).name == "b"


def test_a_server_that_is_about_to_be_compared_says_so():
    snapshot = bare(server("b", says=True), with_(policy(NEW), "c"), current="c", parity=REQUIRE, failback_s=0.0)
    choice = select(snapshot, now=0.0)
    assert choice.reason == "b is coming back: not compared with c yet"
    assert prospects.to_be_used(snapshot, choice.verdicts[0], choice, now=0.0) == (
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


def test_a_fresh_server_whose_object_cannot_be_read_any_more_is_not_left_for_a_stale_one():
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
    snapshot = obey(snapshot, drain("a"), is_forced=False, now=2.0, on=ON)
    assert snapshot.choice.name == "b"
    at = 10.0 + SETTLING_S
    snapshot = read(read(snapshot, 10.0, b=OTHER), at, b=OTHER, a=OTHER if is_deployed_on_main else NEW)
    snapshot = undrain(snapshot, "a", who="alice", now=at + 1, on=ON)
    assert snapshot.choice.name == ("a" if returns else "b")


def test_after_a_drain_or_a_pin_to_a_stale_standby_the_node_returns():
    first = read(in_use("a", "b"), 1.0, a=NEW, b=OLD)
    drained = obey(first, drain("a"), is_forced=False, now=2.0, on=ON)
    assert (drained.choice.name, drained.lagging_since) == ("b", 2.0)
    assert undrain(drained, "a", who="alice", now=3.0, on=ON).choice.name == "a"
    pinned = obey(first, pin("b"), is_forced=False, now=2.0, on=ON)
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
    wants = {verdict.name: prospects.to_be_used(snapshot, verdict, choice, now=0.0) for verdict in choice.verdicts}
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
    from chef_failover.render import About

    snapshot = read(world(server("a"), server("b")), 1.0, a=NEW, b=OLD)
    document = render.servers(snapshot, About("1"), now=2.0)
    words = "policy webserver is at 4d5e6f7 there, and at 1a2b3c4 on a"
    assert [(entry["stale"], entry["parity"]) for entry in document["servers"]] == [
        (False, "the others are compared with it"),
        (True, words),
    ]
    assert f"is stale: {words}" in tables.status(document)
    assert overview(document, on=ON).standbys[0].lacks == (f"is stale: {words}",)
