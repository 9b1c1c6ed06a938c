import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chef_failover.decide.readiness import caution, is_new_node, sentence, why_not_ready
from chef_failover.decide.seeding import wants_seed
from chef_failover.decide.selection import select
from chef_failover.decide.world import TRANSITIONS_KEPT, apply_registration, refresh_choice
from chef_failover.model.model import Health, NodeCheck, Outcome, Registration, RegistrationState, RiseFall, Transition
from chef_failover.model.needs import ReadinessMode, ReadinessPolicy
from chef_failover.model.run_history import RunEvidence
from tests.support.builders import EMPTY, ON, WEB, asked, bare, probed, server, was_read, world

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN


def fresh(*names, **more):
    return world(*(server(name, UNKNOWN) for name in names), **more)


def run(snapshot, name, outcomes, start=0.0):
    for step, outcome in enumerate(outcomes):
        snapshot = probed(snapshot, name, outcome, start + step)
    return snapshot


def test_the_first_server_is_chosen_before_anything_is_known_and_degraded():
    start = fresh("a", "b")
    assert (start.choice.name, start.choice.is_degraded) == ("a", True)


def attempts(*registrations):
    """What is remembered of the server, after one attempt to register for each state and reason."""
    snapshot = world(server("a"), server("b"), current="b")
    for at, (state, reason) in enumerate(registrations):
        for one in (Registration(RegistrationState.REQUESTED), Registration(state, reason)):
            snapshot = apply_registration(snapshot, snapshot.server("a"), one, now=float(at), on=ON)
    return [(one.before, one.after, one.reason) for one in snapshot.transitions if one.server == "a"]


FAILED, REFUSED = RegistrationState.FAILED, RegistrationState.REFUSED


def test_another_reason_why_a_registration_fails_is_news():
    assert attempts((FAILED, "no answer"), (FAILED, "no answer"), (FAILED, "HTTP 500"), (FAILED, "HTTP 500")) == [
        ("unassociated", "failed", "no answer"),
        ("failed", "failed", "HTTP 500"),
    ]
    changed = attempts((REFUSED, "wrong validator"), (REFUSED, "key conflict"))
    assert changed[-1] == ("refused", "refused", "key conflict")


def test_what_differs_at_each_attempt_is_no_news():
    clocks = [(FAILED, f"clock skew: ours says 2026-11-22 10:{minute}:00 UTC") for minute in range(10, 14)]
    request = [(FAILED, f"throttled (request {digit * 8}-0000-0000-0000-{digit * 12}))") for digit in "1f"]
    assert len(attempts(*clocks)) == 1
    assert len(attempts(*request)) == 1


def test_reasons_that_alternate_fill_no_list():
    assert attempts((FAILED, "x"), *[(FAILED, "y"), (FAILED, "x")] * 20) == [
        ("unassociated", "failed", "x"),
        ("failed", "failed", "x"),
    ]


def test_attempts_at_the_only_server_are_no_changes_of_the_choice():
    snapshot = run(fresh("a"), "a", [Outcome.OK])
    for attempt in range(1, 10):
        for state in (RegistrationState.REQUESTED, REFUSED):
            registration = Registration(state, "no", attempts=attempt, retry_at=float(attempt))
            snapshot = apply_registration(snapshot, snapshot.server("a"), registration, now=float(attempt), on=ON)
    assert [entry.after for entry in snapshot.transitions if entry.server is None] == ["a", "a (degraded)"]


def test_a_second_attempt_after_a_refusal_for_the_load_is_no_change_of_the_choice():
    snapshot = run(fresh("a"), "a", [Outcome.OK])
    for retry_at in (300.0, 2.0):  # put off, and then waited for
        refused = Registration(FAILED, "HTTP 503", attempts=1, retry_at=retry_at, throttled_since=1.0)
        snapshot = apply_registration(snapshot, snapshot.server("a"), refused, now=2.0, on=ON)
    assert [entry.after for entry in snapshot.transitions if entry.server is None] == ["a", "a (degraded)"]


def test_a_first_attempt_that_is_put_off_is_no_trouble_of_the_choice():
    waiting = Registration(RegistrationState.UNREGISTERED, retry_at=15.0, urgent_at=15.0)
    snapshot = fresh("a", "b")
    for name in "ab":
        snapshot = apply_registration(snapshot, snapshot.server(name), waiting, now=0.0, on=ON)
    snapshot = probed(snapshot, "a", Outcome.OK, 1.0)
    assert snapshot.choice.is_degraded
    in_vain = attrs.evolve(waiting, state=FAILED, attempts=1)
    failed = apply_registration(snapshot, snapshot.server("a"), in_vain, now=15.0, on=ON)
    said = [[entry.after for entry in one.transitions if entry.server is None] for one in (snapshot, failed)]
    assert said == [["a"], ["a", "a (degraded)"]]


def test_a_first_registration_that_has_time_is_no_trouble():
    first = Registration(RegistrationState.UNREGISTERED, retry_at=12.0)
    snapshot = run(bare(server("a", Health.UNKNOWN, registration=first)), "a", [Outcome.OK] * 2)
    assert [entry.after for entry in snapshot.transitions if entry.server is None] == ["a"]
    failing = run(snapshot, "a", [Outcome.REFUSED], 3.0)
    assert [entry.after for entry in failing.transitions if entry.server is None] == ["a", "a (degraded)"]


def test_a_standby_that_is_given_the_object_in_a_moment_is_no_trouble():
    """The first run has just made it on the main server, where it is still to be read."""
    snapshot = world(
        asked("a", had_useful_node_object=True, node_check=NodeCheck(0.0, has_node_object=True)), asked("b")
    )
    missed = was_read(snapshot, "b", 1.0)
    assert why_not_ready(missed, missed.server("b")) == "has no object of this node"
    assert [entry for entry in missed.transitions if entry.server == "b"] == []
    unreadable = was_read(was_read(snapshot, "a", 0.5, trouble="too large"), "b", 1.0)
    assert unreadable.transitions[-1].after == "not ready"


def test_a_node_that_a_server_is_yet_to_register_has_not_been_failed_by_it():
    for state in (RegistrationState.REQUESTED, REFUSED):
        snapshot = world(server("a", registration=Registration(state, attempts=2)), server("b"), current="a")
        assert snapshot.choice.name == "b"
        assert snapshot.server("a").returns.failed_at == ()


def test_the_standby_answering_first_does_not_take_the_node():
    snapshot = probed(fresh("a", "b"), "b", Outcome.OK, 1.0)
    assert snapshot.choice.name == "a"
    assert probed(snapshot, "a", Outcome.OK, 2.0).choice.name == "a"


def test_main_down_before_the_start_means_the_standby_at_once():
    snapshot = probed(fresh("a", "b"), "a", Outcome.REFUSED, 1.0)
    assert probed(snapshot, "b", Outcome.OK, 1.1).choice.name == "b"


def test_whichever_standby_answers_first_the_better_one_gets_the_node():
    snapshot = probed(fresh("a", "b", "c"), "a", Outcome.REFUSED, 1.0)
    snapshot = probed(snapshot, "c", Outcome.OK, 1.1)
    assert snapshot.choice.name == "c"
    assert probed(snapshot, "b", Outcome.OK, 1.2).choice.name == "b"


WAS_DOWN = Transition(ON, "a", "UP", "DOWN", "refused")


def test_after_a_restart_a_better_server_that_was_down_is_held_down():
    snapshot = fresh("a", "b", current="b", transitions=(WAS_DOWN,))
    assert run(run(snapshot, "b", [Outcome.OK]), "a", [Outcome.OK]).choice.name == "b"
    assert run(run(snapshot, "a", [Outcome.OK]), "b", [Outcome.OK]).choice.name == "b"


def test_after_a_restart_a_better_server_that_was_never_down_gets_the_node_at_once():
    snapshot = fresh("a", "b", current="b", transitions=(Transition(ON, "a", "UNKNOWN", "UP", "ok"),))
    assert run(run(snapshot, "b", [Outcome.OK]), "a", [Outcome.OK]).choice.name == "a"


def test_a_better_server_that_is_new_is_held_down_lest_a_fleet_moves_at_once():
    snapshot = fresh("a", "b", current="b")
    assert run(run(snapshot, "b", [Outcome.OK]), "a", [Outcome.OK]).choice.name == "b"


def test_all_down_from_the_start_leaves_the_node_with_the_first():
    snapshot = probed(fresh("a", "b"), "a", Outcome.REFUSED, 1.0)
    assert snapshot.choice.name == "a"
    assert probed(snapshot, "b", Outcome.REFUSED, 1.1).choice.name == "a"


def test_one_failed_probe_moves_nothing_and_three_do():
    both = run(run(fresh("a", "b"), "a", [Outcome.OK]), "b", [Outcome.OK])
    assert run(both, "a", [Outcome.REFUSED] * 2, 10).choice.name == "a"
    down = run(both, "a", [Outcome.REFUSED] * 3, 10)
    assert down.choice.name == "a", "b has not answered since a went DOWN"
    moved = run(down, "b", [Outcome.OK], 12.1)
    assert moved.choice.name == "b"
    health, choice = moved.transitions[-2:]
    assert (health.server, health.before, health.after, health.reason) == ("a", "UP", "DOWN", "refused")
    assert (choice.server, choice.before, choice.after) == (None, "a", "b")
    assert moved.server("a").changed_on == health.on
    assert moved.chosen_on == choice.on


def test_offline_counts_nothing_and_moves_nothing():
    both = run(run(fresh("a", "b"), "a", [Outcome.OK]), "b", [Outcome.OK])
    snapshot = both
    for at in range(10, 30):
        snapshot = probed(snapshot, "ab"[at % 2], Outcome.DNS, float(at), offline="no name server answers")
    assert [one.liveness for one in snapshot.servers] == [one.liveness for one in both.servers]
    assert (snapshot.choice.name, snapshot.offline) == (both.choice.name, "no name server answers")
    assert snapshot.choice.reason == "this node is offline (no name server answers), so nothing moves"
    assert snapshot.transitions == both.transitions
    back = probed(snapshot, "a", Outcome.OK, 31.0)
    assert (back.offline, back.choice.name) == (None, "a")


def test_trouble_of_the_node_is_counted_against_no_server():
    both = run(run(fresh("a", "b"), "a", [Outcome.OK]), "b", [Outcome.OK])
    snapshot = both
    for at in range(10, 20):
        snapshot = probed(snapshot, "a", Outcome.TLS, float(at), is_node_trouble=True)
    held = snapshot.server("a")
    assert (held.health, held.is_changing, snapshot.choice.name) == (UP, False, "a")
    for_run = select(snapshot, now=20.0, runs_from=19.0)
    assert (for_run.name, for_run.is_degraded, for_run.reason) == (
        "a",
        False,
        "first in order of preference, and UP, though its last probe failed: tls",
    )
    assert snapshot.server("a").detail == "tls"
    from_start = probed(fresh("a", "b"), "a", Outcome.TLS, 1.0, is_node_trouble=True)
    assert (from_start.server("a").health, from_start.choice.name) == (UNKNOWN, "a")
    assert probed(from_start, "b", Outcome.OK, 2.0).choice.name == "a"


def test_offline_from_the_start_still_has_an_answer():
    snapshot = probed(fresh("a", "b"), "a", Outcome.DNS, 1.0, offline="no route")
    assert snapshot.choice.name == "a"


def test_a_401_is_no_outage():
    both = run(run(fresh("a", "b"), "a", [Outcome.OK]), "b", [Outcome.OK])
    snapshot = run(both, "a", [Outcome.NOT_ASSOCIATED] * 3, 10)
    assert snapshot.server("a").health is UP
    assert snapshot.choice.name == "b"


def test_one_refusal_moves_nothing_and_one_pardon_moves_nothing_back_but_two_do():
    both = run(run(fresh("a", "b"), "a", [Outcome.OK]), "b", [Outcome.OK])
    snapshot = both
    for at in range(10, 60, 2):
        snapshot = probed(snapshot, "a", Outcome.NOT_ASSOCIATED, float(at))
        snapshot = probed(snapshot, "a", Outcome.OK, float(at + 1))
        assert snapshot.choice.name == "a"
    refused = run(snapshot, "a", [Outcome.NOT_ASSOCIATED] * 3, 100)
    assert refused.choice.name == "b"
    assert run(refused, "a", [Outcome.OK], 110).choice.name == "b"
    assert run(refused, "a", [Outcome.OK] * 2, 110).choice.name == "a", "it was never DOWN: no hold-down"


def test_a_choice_that_becomes_degraded_is_a_transition():
    one = run(fresh("a"), "a", [Outcome.OK])
    assert [entry.after for entry in one.transitions if entry.server is None] == ["a"]
    refused = run(one, "a", [Outcome.NOT_ASSOCIATED] * 3, 10)
    assert (refused.transitions[-1].before, refused.transitions[-1].after) == ("a", "a (degraded)")
    back = run(refused, "a", [Outcome.OK] * 2, 20)
    assert (back.transitions[-1].before, back.transitions[-1].after) == ("a (degraded)", "a")


def test_the_choice_goes_with_the_last_server():
    without = attrs.evolve(world(server("a")), servers=())
    assert refresh_choice(without, now=1.0, on=ON).choice is None
    assert refresh_choice(bare(), now=1.0, on=ON).choice is None


def test_a_server_in_use_that_left_the_list_is_replaced_even_offline():
    left = attrs.evolve(world(server("a"), server("b"), offline="no route"), servers=(server("b"),))
    assert refresh_choice(left, now=1.0, on=ON).choice.name == "b"


def test_history_is_bounded():
    snapshot = fresh("a", "b")
    for at in range(200):
        snapshot = probed(snapshot, "a", Outcome.OK if at % 6 < 3 else Outcome.REFUSED, float(at))
    assert len(snapshot.transitions) == TRANSITIONS_KEPT


# --- readiness ------------------------------------------------------------------------------------------------------


def says(snapshot, name, has_node_object, at):
    """A probe in the node's name, and what a reading found right after it."""
    snapshot = probed(snapshot, name, Outcome.OK, at, is_signed=True)
    return was_read(snapshot, name, at + 0.05, WEB if has_node_object else None)


def test_a_new_node_is_ready_everywhere_until_one_server_has_its_object():
    snapshot = says(says(fresh("a", "b"), "b", False, 1.0), "a", False, 1.1)
    assert (snapshot.choice.name, snapshot.choice.is_degraded) == ("a", False)
    assert [why_not_ready(snapshot, one) for one in snapshot.servers] == [None, None]
    first_run = says(snapshot, "a", True, 60.0)
    assert why_not_ready(first_run, first_run.server("a")) is None
    assert why_not_ready(first_run, first_run.server("b")) == "has no object of this node"
    assert (first_run.choice.name, first_run.choice.is_degraded) == ("a", False)


def worked(snapshot, name):
    """A run has succeeded there."""
    evidence = RunEvidence(has_succeeded=True)
    return snapshot.with_server(attrs.evolve(snapshot.server(name), run_evidence=evidence))


def test_the_server_that_knows_the_node_takes_it_whichever_was_heard_first():
    for first, second in ("ab", "ba"):
        snapshot = worked(fresh("a", "b"), "b")
        for at, name in enumerate((first, second), start=1):
            snapshot = says(snapshot, name, name == "b", float(at))
        assert snapshot.choice.name == "b"
        assert snapshot.choice.reason == "a is not ready: has no object of this node"


def test_what_a_standby_claims_to_have_draws_no_new_node_to_it():
    """Nor is a server that is preferred to it given what it has, before a run there has succeeded."""
    for first, second in ("ab", "ba"):
        snapshot = fresh("a", "b")
        for at, name in enumerate((first, second), start=1):
            snapshot = says(snapshot, name, name == "b", float(at))
        snapshot = says(says(snapshot, "a", False, 3.0), "b", True, 3.1)
        assert (snapshot.choice.name, snapshot.choice.is_degraded) == ("a", False)
        assert select(snapshot, now=4.0, runs_from=2.9).name == "a"
        assert not wants_seed(snapshot, snapshot.server("a"))
        said = "has no object of this node; b has more, and no run of this node has succeeded there"
        assert sentence(snapshot, snapshot.server("a")) == said
        assert caution(snapshot, snapshot.server("a")) == f"a {said}; a run there may do nothing"
        known = worked(snapshot, "b")
        assert wants_seed(known, known.server("a"))
        assert select(known, now=4.0, runs_from=2.9).name == "b"


def test_a_standby_in_use_while_main_was_down_decides_nothing_for_it():
    snapshot = says(run(fresh("a", "b"), "a", [Outcome.REFUSED] * 3), "b", True, 5.0)
    assert snapshot.choice.name == "b"
    back = says(says(snapshot, "a", False, 10.0), "a", False, 11.0)
    assert not wants_seed(back, back.server("a"))
    assert why_not_ready(back, back.server("a")) is None
    assert wants_seed(worked(back, "b"), back.server("a"))


def test_a_server_that_died_is_still_known_to_have_the_object():
    snapshot = says(says(fresh("a", "b"), "a", True, 1.0), "b", False, 1.1)
    snapshot = run(run(snapshot, "a", [Outcome.REFUSED] * 3, 10), "b", [Outcome.OK], 12.1)
    assert (snapshot.choice.name, snapshot.choice.is_degraded) == ("b", True)
    assert snapshot.choice.reason.endswith("b is not ready: has no object of this node")


def test_one_reading_tells_that_the_object_is_gone_and_one_that_it_is_back():
    unseeded = worked(fresh("a", "b", readiness=ReadinessPolicy(ReadinessMode.CHECK)), "b")
    both = says(says(unseeded, "a", True, 1.0), "b", True, 1.1)
    moved = says(both, "a", False, 2.0)
    assert moved.choice.name == "b"
    assert (moved.transitions[-2].before, moved.transitions[-2].after) == ("ready", "not ready")
    back = says(moved, "a", True, 6.0)
    assert (back.transitions[-2].before, back.transitions[-2].after) == ("not ready", "ready")
    assert back.choice.name == "a", "it was never DOWN, so there is nothing to hold down"


def test_an_empty_object_counts():
    snapshot = says(says(worked(fresh("a", "b"), "b"), "a", True, 1.0), "b", True, 1.1)
    snapshot = was_read(snapshot, "a", 2.0, EMPTY)
    assert snapshot.choice.reason == "a is not ready: its object of this node has an empty run list"


def test_a_run_list_that_is_empty_everywhere_is_meant_so_and_moves_nobody():
    snapshot = probed(probed(fresh("a", "b"), "a", Outcome.OK, 1.0), "b", Outcome.OK, 1.1)
    for at, name in ((2.0, "a"), (2.5, "b"), (600.0, "a"), (601.0, "b")):
        snapshot = was_read(snapshot, name, at, EMPTY)
        assert (snapshot.choice.name, snapshot.choice.is_degraded) == ("a", False)


def test_what_was_read_once_holds_while_nothing_can_be_read():
    snapshot = was_read(was_read(fresh("a"), "a", 1.0, EMPTY), "a", 2.0, trouble="no answer")
    check = snapshot.server("a").node_check
    assert (check.node, check.read_at, check.trouble) == (EMPTY, 2.0, "no answer")
    unread = was_read(fresh("a"), "a", 1.0, trouble="no answer")
    assert why_not_ready(unread, unread.server("a")) is None


def test_what_a_server_cannot_tell_any_more_is_no_reason_to_hurry():
    served = probed(fresh("a"), "a", Outcome.OK, 1.0, is_signed=True)
    refused = probed(served, "a", Outcome.NOT_ASSOCIATED, 2.0, is_signed=True)
    assert refused.server("a").is_changing
    assert not run(refused, "a", [Outcome.NOT_ASSOCIATED] * 2, 3).server("a").is_changing
    assert not run(refused, "a", [Outcome.REFUSED] * 3, 3).server("a").is_changing


def test_what_was_read_last_holds_where_nothing_can_be_read_any_more():
    gone = was_read(
        says(says(worked(fresh("a", "b"), "b"), "a", False, 1.0), "b", True, 1.1), "a", 2.0, trouble="no answer"
    )
    assert gone.server("a").has_node_object is False
    assert gone.choice.name == "b"


def test_with_a_policy_only_the_policy_counts():
    policy = ReadinessPolicy(policy_group="production", policy_name="webserver")
    snapshot = probed(fresh("a", "b", readiness=policy), "a", Outcome.OK, 1.0, is_signed=True)
    snapshot = probed(snapshot, "b", Outcome.OK, 1.1, is_signed=True)
    assert (snapshot.choice.name, snapshot.choice.is_degraded) == ("a", False)
    snapshot = was_read(snapshot, "a", 2.0, policy_found=False)
    assert snapshot.choice.reason == "a is not ready: policy webserver is not in policy group production"
    pushed = was_read(was_read(snapshot, "a", 3.0, policy_found=True), "a", 4.0, policy_found=True)
    assert pushed.choice.name == "a"


def test_with_readiness_off_nothing_counts():
    snapshot = fresh("a", "b", readiness=ReadinessPolicy(ReadinessMode.OFF))
    snapshot = was_read(says(says(snapshot, "a", False, 1.0), "b", True, 1.1), "a", 2.0, None)
    assert snapshot.choice.name == "a"


# Trouble of this node's own.


def both_fail(snapshot, times, **more):
    for at in times:
        for name in "ab":
            snapshot = probed(snapshot, name, Outcome.REFUSED, at, **more)
    return snapshot


def test_what_this_node_could_not_send_counts_for_nothing():
    start = run(run(fresh("a", "b"), "a", [Outcome.OK]), "b", [Outcome.OK])
    after = both_fail(start, range(1, 9), is_node_trouble=True)
    assert [one.liveness for one in after.servers] == [one.liveness for one in start.servers]
    assert after.transitions == start.transitions
    assert after.choice.verdicts[0].sentence.endswith("refused")
    assert select(after, now=9.0, runs_from=8.5).name == "a"  # what keeps us from asking keeps no run from working
    nowhere = probed(after, "a", Outcome.REFUSED, 10.0, is_node_trouble=True, never_left_node=True)
    nowhere = probed(nowhere, "b", Outcome.OK, 10.1)
    assert (nowhere.choice.name, select(nowhere, now=10.2, runs_from=9.5).name) == ("a", "b")


def test_a_server_that_could_not_be_asked_since_the_start_is_not_known():
    start = run(fresh("a", "b", current="a"), "b", [Outcome.OK], 1.0)
    assert start.choice.name == "a"
    after = probed(start, "a", Outcome.TLS, 2.0, is_node_trouble=True)
    assert (after.server("a").health, after.choice.name) == (UNKNOWN, "a")
    after = probed(start, "a", Outcome.DNS, 2.0, is_node_trouble=True, never_left_node=True)
    assert (after.server("a").health, after.choice.name) == (UNKNOWN, "b")


def test_a_failure_that_began_without_a_network_counts_for_nothing_once_it_is_back():
    start = run(run(fresh("a", "b"), "a", [Outcome.OK]), "b", [Outcome.OK])
    cut_off = probed(start, "a", Outcome.DNS, 2.0, offline="no name server answers", began_at=1.0)
    back = probed(cut_off, "a", Outcome.DNS, 5.0, began_at=4.0)
    assert (back.offline, back.server("a").liveness.streak) == (None, 0)
    late = probed(back, "b", Outcome.CONNECT_TIMEOUT, 6.0, began_at=4.5)
    assert late.server("b").liveness.streak == 0
    assert probed(late, "b", Outcome.CONNECT_TIMEOUT, 9.0, began_at=6.0).server("b").liveness.streak == 1
    assert probed(late, "b", Outcome.OK, 9.0, began_at=4.5).server("b").last_probe.outcome is Outcome.OK


def test_where_everything_fails_and_is_back_at_once_the_node_stays():
    start = run(run(fresh("a", "b"), "a", [Outcome.OK]), "b", [Outcome.OK])
    dark = both_fail(start, range(1, 5))
    assert ([one.health for one in dark.servers], dark.choice.name) == ([DOWN, DOWN], "a")
    for order in ("ab", "ba"):
        back = dark
        for at in (10.0, 12.0):
            for name in order:
                back = probed(back, name, Outcome.OK, at)
                assert back.choice.name == "a"
        assert not back.choice.is_degraded
    only_b = run(dark, "b", [Outcome.OK] * 2, 10.0)
    assert (only_b.choice.name, only_b.choice.is_degraded) == ("a", True)
    assert probed(only_b, "a", Outcome.REFUSED, 12.0, began_at=10.5).choice.name == "a"  # it began before b was UP
    assert probed(only_b, "a", Outcome.REFUSED, 12.0, began_at=11.5).choice.name == "b"


def is_well(server, snapshot):
    is_up = server.health is UP and server.access.health is UP and not server.index_fails
    return is_up and why_not_ready(snapshot, server) is None


def has_said_so(server):
    return server.last_probe.outcome.is_alive and not server.index.is_changing


def is_yet_to_be_asked(chosen, one):
    """The server in use is DOWN, and has not failed since a well one came UP, or that has not answered since."""
    last, answer = chosen.last_probe, one.last_alive_probe
    has_failed = not last.outcome.is_alive and last.finished_at >= one.liveness.changed_at
    return not has_failed or answer.finished_at < chosen.liveness.changed_at


class Life(RuleBasedStateMachine):
    """Any life of three servers: what never happens to a node."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.world = fresh("a", "b", "c", failback_s=50.0)

    @rule(seconds=st.floats(0.1, 100.0))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(
        name=st.sampled_from("abc"),
        outcome=st.sampled_from(Outcome),
        is_offline=st.booleans(),
        is_signed=st.booleans(),
        index_fails=st.sampled_from([None, False, True]),
    )
    def a_probe_ends(self, name, outcome, is_offline, is_signed, index_fails):
        before = self.world
        is_offline = is_offline and not outcome.is_alive
        self.now += 0.01
        offline = "no route" if is_offline else None
        said = {"is_signed": is_signed, "index_fails": index_fails}
        self.world = after = probed(before, name, outcome, self.now, offline=offline, **said)
        if is_offline:
            assert after.choice.name == before.choice.name
            assert [one.health for one in after.servers] == [one.health for one in before.servers]
        elif after.choice.name != before.choice.name:
            self.check_move(before, after)

    @rule(name=st.sampled_from("abc"), node=st.sampled_from([None, EMPTY, WEB]), trouble=st.sampled_from(["", "no"]))
    def a_reading_ends(self, name, node, trouble):
        before = self.world
        self.now += 0.01
        self.world = after = was_read(before, name, self.now, None if trouble else node, trouble=trouble)
        if after.choice.name != before.choice.name and not trouble:
            self.check_move(before, after)

    @rule(name=st.sampled_from("abc"))
    def a_run_has_succeeded(self, name):
        self.world = worked(self.world, name)

    @invariant()
    def a_server_that_lacks_what_another_has_is_left_for_it(self):
        chosen = self.world.server(self.world.choice.name)
        others = [one for one in self.world.servers if is_well(one, self.world) and one.has_useful_node_object]
        others = [one for one in others if has_said_so(one) and (one.has_had_success or one.name < chosen.name)]
        if others and chosen.health is UP and not self.world.offline:
            assert chosen.has_node_object is not False

    @invariant()
    def a_node_without_an_object_anywhere_is_not_degraded_for_it(self):
        if is_new_node(self.world):
            assert all(why_not_ready(self.world, one) is None for one in self.world.servers)

    def check_move(self, before, after):
        left, taken = after.server(before.choice.name), after.server(after.choice.name)
        if is_well(left, after):
            # A node leaves a server that works only for a better one that has been well for the hold-down.
            # One that was never met before comes back from nowhere: it has no hold-down.
            assert is_well(taken, after)
            assert taken.priority < left.priority
            assert self.now - taken.well_since >= 50.0

    @invariant()
    def there_is_a_choice_among_the_servers(self):
        assert self.world.server(self.world.choice.name) is not None

    @invariant()
    def a_working_server_is_never_left_unused(self):
        chosen = self.world.server(self.world.choice.name)
        well = [one for one in self.world.servers if is_well(one, self.world) and has_said_so(one)]
        if well and not self.world.offline and chosen.health is not UNKNOWN and not is_well(chosen, self.world):
            assert chosen.health is DOWN
            assert any(is_yet_to_be_asked(chosen, one) for one in well)

    @invariant()
    def health_is_dated_once_it_is_known(self):
        for one in self.world.servers:
            assert (one.liveness == RiseFall()) or one.liveness.changed_at is not None


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


def test_that_a_standby_came_back_first_is_no_recovery_of_the_server_in_use():
    snapshot = world(server("a"), server("b"))
    for name in ("a", "b"):
        for at in (1.0, 2.0, 3.0):
            snapshot = probed(snapshot, name, Outcome.REFUSED, at)
    for at in (4.0, 5.0):
        snapshot = probed(snapshot, "b", Outcome.OK, at)
    assert (snapshot.choice.name, snapshot.choice.is_degraded) == ("a", True)
    assert snapshot.choice.reason == "a is DOWN: refused; its next probe decides whether the node leaves it"
    for at in (6.0, 7.0):
        snapshot = probed(snapshot, "a", Outcome.OK, at)
    said = [(one.before, one.after, one.reason) for one in snapshot.transitions if one.server is None][-1]
    assert said == ("a (degraded)", "a", "first in order of preference, and UP")
