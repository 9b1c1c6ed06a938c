import attrs
import pytest

from chef_failover.decide.selection import select
from chef_failover.model.model import Health, NodeCheck, Outcome, ProbeResult, Registration, RegistrationState, RiseFall
from chef_failover.model.needs import ReadinessPolicy
from tests.support.builders import EMPTY, WEB, bare, drained, holding, pin, proven, server, without

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN
TIMED_OUT = ProbeResult(Outcome.CONNECT_TIMEOUT, "connect timed out after 3.0 s", 0.0)


def dead(name, **more):
    return attrs.evolve(server(name, DOWN, **more), last_probe=TIMED_OUT)


def sentences(snapshot, **more):
    choice = select(snapshot, now=more.pop("now", 0.0), **more)
    return choice.reason, {verdict.name: verdict.sentence for verdict in choice.verdicts}


def test_the_sentence_of_the_design():
    reason, said = sentences(bare(dead("main"), server("standby")))
    assert reason == "main is DOWN: connect timed out after 3.0 s"
    assert said["main"] == "connect timed out after 3.0 s"
    assert said["standby"] == "in use, ok"


def test_all_is_well():
    reason, said = sentences(bare(server("a"), server("b")))
    assert reason == "first in order of preference, and UP"
    assert said["b"] == "could take over, ok"


def test_what_was_not_asked_is_not_claimed():
    reason, said = sentences(bare(server("a", UNKNOWN), server("b"), current="a"))
    assert (reason, said["a"]) == ("first in order of preference, and not probed yet", "in use, not probed yet")


def test_a_probe_that_failed_is_told_of_before_it_moves_anybody():
    failed = {"outcome": Outcome.REFUSED, "last_alive_probe": None}
    reason, said = sentences(bare(server("a", **failed), server("b", **failed), current="a"))
    assert reason == "first in order of preference, and UP, though its last probe failed: refused"
    assert said == {
        "a": "in use, though its last probe failed: refused",
        "b": "refused",
    }


def test_a_server_that_asked_to_be_left_alone():
    alone = server("a", at=1.0, stay_away_until=65.0)
    reason, _ = sentences(bare(alone, server("b", at=5.0)), now=5.0, runs_from=4.0)
    assert reason == "a is failing: it asked for no requests for another 60 s"
    said = [sentences(bare(alone, server("b")), now=now)[1]["a"] for now in (5.0, 65.0)]
    assert said == ["in use, ok; it asked for no requests for another 60 s", "in use, ok"]


def test_nobody_is_eligible():
    reason, _ = sentences(bare(dead("a"), dead("b")))
    assert reason == "no server is eligible; the best of the rest: a is DOWN: connect timed out after 3.0 s"


@pytest.mark.parametrize(
    ("failback_s", "sentence"),
    [(600.0, "UP again; the node returns in"), (float("inf"), "UP again, but failback is never")],
)
def test_a_held_down_server(failback_s, sentence):
    reason, said = sentences(bare(server("a"), server("b"), current="b", failback_s=failback_s))
    assert said["a"].startswith(sentence)
    assert reason.startswith("a is UP again")


@pytest.mark.parametrize(
    ("better", "sentence"),
    [
        (server("a", registration=Registration(RegistrationState.UNREGISTERED)), "this node is not registered there"),
        (server("a", outcome=Outcome.NOT_ASSOCIATED), "not_associated"),
        (drained(server("a")), "drained by alice"),
        (server("a", UNKNOWN), "not probed yet"),
    ],
)
def test_why_a_better_server_is_passed_over(better, sentence):
    assert sentences(bare(better, server("b")))[1]["a"] == sentence


@pytest.mark.parametrize(
    ("a", "b", "readiness", "sentence"),
    [
        (without("a"), proven("b"), ReadinessPolicy(), "has no object of this node"),
        (holding("a", EMPTY), proven("b"), ReadinessPolicy(), "its object of this node has an empty run list"),
        (
            holding("a", node_check=NodeCheck(0.0, WEB, policy_found=False)),
            server("b"),
            ReadinessPolicy(policy_group="production", policy_name="webserver"),
            "policy webserver is not in policy group production",
        ),
    ],
)
def test_a_server_where_a_run_would_do_nothing(a, b, readiness, sentence):
    reason, said = sentences(bare(a, b, readiness=readiness))
    assert said["a"] == sentence
    assert reason == f"a is not ready: {sentence}"


@pytest.mark.parametrize(
    ("a", "sentence"),
    [
        (
            attrs.evolve(server("a"), access=RiseFall(DOWN, 1, 0.0)),
            "a does not accept this node: its last probe succeeded; more must follow",
        ),
        (
            server("a", DOWN, outcome=Outcome.OK),
            "a is DOWN: its last probe succeeded; more must follow",
        ),
    ],
)
def test_a_server_whose_latest_word_is_good_is_not_said_to_be_bad_for_it(a, sentence):
    assert sentences(bare(a, server("b")))[0] == sentence


def test_a_run_that_starts_hears_what_just_happened():
    failing = attrs.evolve(server("a"), last_probe=TIMED_OUT, liveness=RiseFall(UP, 1, 0.0))
    reason, _ = sentences(bare(failing, server("b")), runs_from=0.0)
    assert reason == "a is failing: connect timed out after 3.0 s"
    late = sentences(bare(server("a", at=-9.0), server("b")), runs_from=0.0)
    assert late[1]["a"] == "no answer in time for this run"
    rising = attrs.evolve(server("a", DOWN), last_probe=server("x").last_probe, last_alive_probe=server("x").last_probe)
    assert sentences(bare(rising, server("b")), runs_from=0.0)[0] == "a is coming back: ok"


def test_offline_and_pinned():
    assert sentences(bare(dead("a"), server("b"), offline="no route to any Chef server"))[0] == (
        "this node is offline (no route to any Chef server), so nothing moves"
    )
    reason, said = sentences(bare(server("a"), server("b"), pin("b")))
    assert (reason, said["a"]) == ("pinned to b by alice", "would be used, if this node were not pinned to b")
