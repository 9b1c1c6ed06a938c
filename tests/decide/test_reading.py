import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.decide.readiness import why_not_ready
from chef_failover.decide.reading import (
    DAY_S,
    LACKING_S,
    SPREAD_S,
    UNREADABLE_S,
    after_run,
    due_at,
    is_asked_by,
    question,
)
from chef_failover.decide.seeding import reference, wants_seed
from chef_failover.model.model import Health, NodeCheck, Outcome, Registration, RegistrationState
from chef_failover.model.needs import Content, NodeObject, ParityMode, ReadinessMode, ReadinessPolicy
from chef_failover.model.question import Look, Question
from chef_failover.model.run_history import Phase, Run, RunEvidence, Used
from tests.support.builders import EMPTY, ON, WEB, asked, bare, holding, probed, server, was_read, without, world

DOWN, UP = Health.DOWN, Health.UP
OFF = ReadinessPolicy(ReadinessMode.OFF)
POLICY = ReadinessPolicy(policy_group="production", policy_name="webserver")
WORKED = RunEvidence(has_succeeded=True, saves=True)
USED = Used(("recipe[web]",), cookbooks={"web": "2.0.0"})
BY_POLICY = Used(policy_name="webserver", policy_group="production", policy_revision="1a2b")
REGISTERED = Registration(RegistrationState.REGISTERED, attempts=1, retry_at=60.0)


def lacking(name="b", misses=1, at=50.0, **more):
    return without(name, node_check=NodeCheck(at, misses=misses, **more))


def unreadable(name="b", misses=1, at=50.0, node=WEB, **more):
    return holding(name, node_check=NodeCheck(at, node, trouble="no answer", misses=misses), **more)


@pytest.mark.parametrize(
    ("one", "more", "due"),
    [
        (server("b"), {}, -math.inf),
        (server("b", was_known=True), {}, 10.0 + SPREAD_S / 2),
        (server("b", was_known=True, registration=REGISTERED), {}, -math.inf),
        (server("b", was_known=True, lacked_object_at=10.0), {}, -math.inf),
        (server("b", DOWN), {}, math.inf),
        (server("b", outcome=Outcome.NOT_ASSOCIATED), {}, math.inf),
        (server("b", registration=Registration(RegistrationState.REQUESTED)), {}, math.inf),
        (server("b"), {"readiness": OFF, "parity": ParityMode.OFF}, math.inf),
        (server("b"), {"readiness": OFF}, -math.inf),
        # at rest once a day
        (holding("b", at=50.0), {}, 50.0 + DAY_S),
        (holding("b", at=50.0), {"chance": 0.0}, 50.0 + DAY_S * 0.8),
        (without("b", at=50.0), {"readiness": POLICY}, 50.0 + DAY_S),
        # once it is asked for, or registered
        (holding("b", at=50.0), {"asked_at": 50.5}, -math.inf),
        (holding("b", at=50.0), {"asked_at": 49.5}, 50.0 + DAY_S),
        (holding("b", at=50.0, registration=REGISTERED), {}, -math.inf),
        (holding("b", at=60.5, registration=REGISTERED), {}, 60.5 + DAY_S),
        # what runs use has changed
        (holding("b", at=50.0), {"used": USED, "used_since": 70.0}, 70.0 + SPREAD_S / 2),
        (holding("b", at=50.0), {"used": USED, "used_since": 70.0, "chance": 0.0}, 70.0),
        (holding("b", at=50.0), {"used": USED, "used_since": 40.0}, 50.0 + DAY_S),
        (unreadable(), {"used": USED, "used_since": 70.0}, 50.0 + UNREADABLE_S),
        # something is missing
        (lacking(), {}, 50.0 + LACKING_S),
        (lacking(misses=3), {}, 50.0 + 4 * LACKING_S),
        (lacking(misses=3), {"chance": 0.0}, 50.0),
        (lacking(misses=10_000), {}, 50.0 + DAY_S),
        (unreadable(), {}, 50.0 + UNREADABLE_S),
        (unreadable(misses=4), {}, 50.0 + 8 * UNREADABLE_S),
        # it asked to be left alone
        (holding("b", at=50.0, stay_away_until=9e9), {"asked_at": 51.0}, 9e9 + UNREADABLE_S / 2),
        # what was due while it was away
        (holding("b", at=50.0, changed_at=2 * DAY_S), {}, 2.5 * DAY_S),
        (holding("b", at=50.0, changed_at=60.0), {}, 50.0 + DAY_S),
        (unreadable(changed_at=5000.0), {}, 5000.0 + DAY_S / 2),
        # and never was before
        (unreadable(node=None, changed_at=5000.0), {}, 5000.0 + SPREAD_S / 2),
        (unreadable(node=None, changed_at=5000.0, was_known=True), {}, 5000.0 + DAY_S / 2),
    ],
)
def test_when_a_standby_is_read(one, more, due):
    chance, asked_at = more.pop("chance", 0.5), more.pop("asked_at", -math.inf)
    snapshot = bare(holding("a", run_evidence=WORKED), one, current="a", **more)
    assert due_at(snapshot, one, chance=chance, since=10.0, asked_at=asked_at) == pytest.approx(due)


def test_the_server_in_use_is_read_until_a_run_there_has_succeeded():
    for check in (None, NodeCheck(50.0, WEB)):
        new = asked("a", node_check=check)
        expected = 50.0 + DAY_S if check else -math.inf
        assert due_at(bare(new, current="a"), new, chance=0.5, since=0.0) == pytest.approx(expected)
        worked = attrs.evolve(new, run_evidence=WORKED)
        assert due_at(bare(worked, current="a"), worked, chance=0.5, since=0.0) == math.inf
        assert due_at(bare(worked, current="a"), worked, chance=0.5, since=0.0, asked_at=51.0) == -math.inf


@pytest.mark.parametrize(
    ("source", "standby", "more", "is_read"),
    [
        (None, holding("b", at=9000.0), {}, False),
        (None, lacking(at=9000.0), {}, True),
        (None, lacking(at=9000.0), {"readiness": ReadinessPolicy(ReadinessMode.CHECK)}, False),
        (None, without("b", DOWN), {}, False),
        (None, holding("b", EMPTY, at=9000.0, lacked_object_at=8000.0), {}, True),
        (None, holding("b", EMPTY, at=9000.0), {}, False),
        (NodeCheck(100.0, WEB), lacking(at=9000.0), {}, True),
        (NodeCheck(8500.0, WEB), lacking(at=9000.0), {}, False),
        (NodeCheck(8500.0, WEB), lacking(at=9000.0), {"used": USED, "used_since": 8600.0}, True),
        (NodeCheck(9500.0, WEB, node_read_at=100.0), lacking(at=9000.0), {}, True),
    ],
)
def test_an_object_is_read_whole_when_another_is_to_be_made_like_it(source, standby, more, is_read):
    main = asked("a", node_check=source, run_evidence=WORKED, had_useful_node_object=True)
    snapshot = bare(main, standby, current="a", **more)
    assert (due_at(snapshot, main, chance=0.5, since=0.0) == -math.inf) == is_read
    if is_read:
        assert question(snapshot, main) == Question(snapshot.policy.readiness, Look.WHOLE, False, used=snapshot.used)
    assert not (is_read and wants_seed(snapshot, standby))


def test_the_object_that_another_is_made_from_is_not_asked_for_without_a_pause():
    main = asked("a", node_check=NodeCheck(50.0, trouble="too large", misses=2), run_evidence=WORKED)
    snapshot = bare(main, lacking(at=9000.0), current="a")
    assert due_at(snapshot, main, chance=0.5, since=0.0) == pytest.approx(50.0 + 2 * UNREADABLE_S)


OTHER = NodeObject(("recipe[db]",))
ABSENT = Look.ARRIVAL, True


@pytest.mark.parametrize(
    ("one", "more", "look", "asks_content"),
    [
        (asked("b"), {}, Look.WHOLE, True),
        (asked("b", had_useful_node_object=True), {}, Look.EXISTENCE, True),
        (holding("b"), {}, Look.EXISTENCE, True),
        (holding("b"), {"used": USED}, Look.EXISTENCE, True),
        (holding("b", OTHER), {"used": USED}, Look.WHOLE, True),
        (holding("b", OTHER), {}, Look.EXISTENCE, True),
        (holding("b", EMPTY), {}, Look.WHOLE, True),
        (holding("b", EMPTY), {"used": Used()}, Look.EXISTENCE, True),
        (holding("b", EMPTY), {"used": USED}, Look.WHOLE, True),
        (holding("b"), {"used": BY_POLICY}, Look.WHOLE, True),
        (holding("b", NodeObject((), "x", "webserver", "production")), {"used": BY_POLICY}, Look.EXISTENCE, True),
        (without("b"), {}, Look.ARRIVAL, True),
        (lacking(), {}, Look.ARRIVAL, False),
        (lacking(misses=7), {}, Look.ARRIVAL, True),
        (unreadable(), {}, Look.EXISTENCE, True),
        (holding("b", node_check=NodeCheck(0.0, WEB, misses=1)), {}, Look.NOTHING, True),
        (asked("b"), {"readiness": POLICY}, Look.EXISTENCE, True),
        (lacking(), {"readiness": POLICY}, Look.EXISTENCE, True),
    ],
)
def test_a_reading_asks_for_what_is_not_known(one, more, look, asks_content):
    snapshot = bare(holding("a", run_evidence=WORKED), one, current="a", **more)
    asks = question(snapshot, one)
    assert (asks.look, asks.asks_content) == (look, asks_content)


def test_a_reading_that_was_asked_for_asks_for_everything():
    main = holding("a", at=50.0, run_evidence=WORKED)
    snapshot = bare(main, lacking(at=9000.0), current="a")
    for asked_at, whole in ((49.0, False), (51.0, True)):
        assert question(snapshot, main, asked_at=asked_at).asks_content is whole
        standby = question(snapshot, snapshot.server("b"), asked_at=asked_at + 8950.0)
        assert ((standby.look is Look.WHOLE) == standby.asks_content) is True
        assert standby.asks_content is whole


def test_versions_are_asked_for_only_where_they_are_compared():
    servers = [holding(name) for name in "ab"]
    for at, compares in ((None, []), ("a", ["b"]), ("b", [])):
        snapshot = bare(*servers, used=USED, used_server=at, current="a")
        assert [one.name for one in servers if question(snapshot, one).compares] == compares


@pytest.mark.parametrize(
    ("asks", "node", "content"),
    [
        (Question(POLICY), WEB, (("webserver", "production"), None)),
        (Question(), WEB, (None, "_default")),
        (Question(), NodeObject((), "x", "db", "qa"), (("db", "qa"), None)),
        (Question(used=BY_POLICY), WEB, (None, "_default")),
        (Question(used=BY_POLICY), None, (("webserver", "production"), None)),
        (Question(used=attrs.evolve(USED, environment="qa")), None, (None, "qa")),
        (Question(), None, (None, None)),
    ],
)
def test_what_the_object_there_says_is_asked_for_before_what_runs_use(asks, node, content):
    assert asks.content(node) == content


# --- misses ---------------------------------------------------------------------------------------------------------


def misses(snapshot):
    return snapshot.server("b").node_check.misses


def test_what_is_missing_is_counted():
    snapshot = world(holding("a"), asked("b"), current="a")
    found = []
    for at, node in enumerate([None, None, WEB, WEB, WEB, None, None, None, None, WEB, WEB]):
        snapshot = was_read(snapshot, "b", float(at), node)
        found.append(misses(snapshot))
    assert found == [1, 2, 0, 0, 0, 1, 2, 3, 4, 0, 0]


def test_a_reading_that_failed_is_counted_and_a_new_node_lacks_nothing():
    snapshot = was_read(world(without("a"), asked("b"), current="a"), "b", 1.0)
    assert misses(snapshot) == 0
    snapshot = was_read(was_read(snapshot, "b", 2.0, trouble="no"), "b", 3.0, trouble="no")
    assert misses(snapshot) == 2
    assert misses(was_read(snapshot, "b", 4.0, WEB)) == 0


def test_a_standby_that_has_something_older_is_read_as_one_that_lacks_something():
    old = Content(5.0, ("webserver", "production"), "4d5e")
    snapshot = world(holding("a"), asked("b"), used=BY_POLICY, used_since=1.0, used_server="a", current="a")
    assert misses(was_read(snapshot, "b", 5.0, WEB, content=old)) == 1
    assert misses(was_read(snapshot, "b", 5.0, WEB, content=attrs.evolve(old, revision="1a2b"))) == 0


# --- what a run tells -----------------------------------------------------------------------------------------------


def run(result="succeeded", used=None, **more):
    return Run("r", "b", result, None, ON, used=used, **more)


def test_a_run_that_did_something_tells_that_the_object_is_there():
    one = after_run(without("b", lacked_object_at=1.0), USED, at=70.0)
    snapshot = bare(holding("a"), one, current="a")
    assert (one.has_node_object, one.lacked_object_at, one.node_check.node) == (True, None, None)
    assert (why_not_ready(snapshot, one), one.node_check.content.cookbooks) == (None, USED.cookbooks)
    assert due_at(snapshot, one, chance=0.5, since=0.0) == pytest.approx(70.0 + DAY_S)
    assert question(snapshot, one).look is Look.EXISTENCE


def test_a_run_that_did_nothing_where_there_was_no_object_has_left_an_empty_one():
    one = after_run(without("b"), Used(), at=70.0)
    snapshot = bare(holding("a", at=60.0), one, current="a")
    assert (one.lacked_object_at, one.node_check.node) == (70.0, EMPTY)
    assert wants_seed(snapshot, one)
    given = after_run(holding("b", lacked_object_at=60.0), Used(), at=70.0)  # and over the one that was made meanwhile
    assert wants_seed(bare(holding("a", at=60.0), given, current="a"), given)


def test_a_run_by_another_run_list_than_was_read_tells_that_the_object_has_changed():
    assert after_run(holding("b"), USED, at=70.0).node_check.node == WEB
    assert after_run(holding("b", OTHER), USED, at=70.0).node_check.node is None


def test_a_run_list_that_is_empty_on_purpose_says_nothing():
    one = after_run(holding("b"), Used(), at=70.0)
    assert (one.node_check.node, one.lacked_object_at, one.has_node_object) == (WEB, None, True)
    assert after_run(asked("b"), Used(), at=70.0).had_useful_node_object is False


def test_what_a_run_tells_holds_until_the_object_is_read():
    one = after_run(holding("b", EMPTY), USED, at=70.0)
    assert (one.node_check.node, one.had_useful_node_object) == (None, True)
    assert why_not_ready(bare(holding("a"), one, current="b"), one) is None
    assert reference(bare(one, current="b")) is None
    by_policy = after_run(asked("b"), BY_POLICY, at=70.0)
    assert (by_policy.node_check.policy_found, by_policy.node_check.content.revision) == (True, "1a2b")


@pytest.mark.parametrize(
    ("one", "ended", "is_asked"),
    [
        (holding("b"), run(), False),
        (holding("b"), run("failed", phase=Phase.CONVERGE), False),
        (holding("b"), run("failed", phase=Phase.START, http_status=503), False),
        (holding("b"), run("failed", phase=Phase.START, http_status=404), True),
        (holding("b"), run("failed", phase=Phase.START, http_status=412), True),
        (holding("b"), run("failed", phase=Phase.CONVERGE, http_status=404), False),
        (holding("b"), run("failed", phase=Phase.SAVE, http_status=403), True),
        (without("b"), run(), True),
        (without("b"), run(used=USED), False),
        (without("b"), run("failed", phase=Phase.CONVERGE), True),
    ],
)
def test_a_run_that_leaves_something_open_asks_for_a_reading(one, ended, is_asked):
    assert is_asked_by(one, ended) is is_asked


# --- what a fleet does ----------------------------------------------------------------------------------------------

FLEET = 10_000
CHANCES = [number * 0.6180339887 % 1 for number in range(FLEET)]


def read_between(since, until, fleet, **more):
    """How many of a fleet's nodes read "b" then; ``fleet`` has what each of them knows of it."""
    snapshots = (bare(holding("a", run_evidence=WORKED), one, current="a", **more) for one in fleet)
    due = (
        due_at(snapshot, snapshot.server("b"), chance=chance, since=since)
        for snapshot, chance in zip(snapshots, CHANCES, strict=True)
    )
    return sum(since <= at < until for at in due)


def test_a_restart_of_the_whole_fleet_is_no_storm():
    fleet = [asked("b", was_known=True)] * FLEET
    assert read_between(0.0, 60.0, fleet) == pytest.approx(FLEET * 60 / SPREAD_S, rel=0.1)
    assert read_between(0.0, SPREAD_S, fleet) == FLEET


@pytest.mark.parametrize("lasts_s", [600.0, 7200.0, 2 * DAY_S])
def test_a_standby_that_comes_back_is_read_no_more_than_at_rest(lasts_s):
    """What was due while it was away is spread over a day."""
    back_at = 10 * DAY_S
    read_at = [back_at - lasts_s - DAY_S * number / FLEET for number in range(FLEET)]
    fleet = [holding("b", at=at, changed_at=back_at) for at in read_at]
    assert read_between(back_at, back_at + 3600.0, fleet) <= 1.2 * FLEET * 3600.0 / DAY_S


def test_what_is_missing_for_a_day_costs_a_standby_a_few_readings_of_each_node():
    readings, at, misses = 0, 0.0, 1
    while at < DAY_S:
        snapshot = bare(holding("a", run_evidence=WORKED), lacking(misses=misses, at=at), current="a")
        at = due_at(snapshot, snapshot.server("b"), chance=0.5, since=0.0)
        readings, misses = readings + 1, misses + 1
    assert readings <= 6


@given(st.integers(1, 60), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_the_longer_something_is_missing_the_less_is_asked(count, is_unreadable, chance):
    one = unreadable(misses=count) if is_unreadable else lacking(misses=count)
    snapshot = bare(holding("a", run_evidence=WORKED), one, current="a")
    due = due_at(snapshot, one, chance=chance, since=0.0)
    first = UNREADABLE_S if is_unreadable else LACKING_S
    assert 50.0 <= due <= 50.0 + min(1.2 * DAY_S, first * 2**count)


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([holding, without, asked]))
def test_a_server_that_is_not_asked_in_the_name_of_the_node_is_not_read(chance, make):
    one = probed(world(holding("a"), make("b"), current="a"), "b", Outcome.NOT_ASSOCIATED, 5.0).server("b")
    assert due_at(bare(holding("a"), one), one, chance=chance, since=0.0) == math.inf
