import math

import attrs
import pytest

from chef_failover.decide.reading import CONFIRMING_INTERVAL_S, INTERVAL_S, RETRY_INTERVAL_S, due_at, is_recent
from chef_failover.model.model import Health, NodeCheck, Outcome, Registration, RegistrationState, RiseFall
from chef_failover.model.needs import Content, ParityMode, ReadinessMode, ReadinessPolicy
from chef_failover.model.run_history import RunEvidence
from tests.support.builders import EMPTY, WEB, bare, holding, server, without

DOWN = Health.DOWN
CHANGING = RiseFall(Health.UP, streak=1)
OFF = ReadinessPolicy(ReadinessMode.OFF)
POLICY = ReadinessPolicy(policy_group="production", policy_name="webserver")
LATEST = Content(1000.0, environment="_default", cookbooks={"web": "1.0.0"})


def policy(revision, at, **more):
    return Content(at, ("webserver", "production"), revision, **more)


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
        (holding("a", at=50.0, run_evidence=RunEvidence(saves=False)), {}, 50.0 + INTERVAL_S),
        (attrs.evolve(holding("a"), node_check=NodeCheck(50.0, WEB, trouble="no")), {}, 50.0 + RETRY_INTERVAL_S),
        (holding("a", at=50.0, readiness=CHANGING), {}, 50.0 + CONFIRMING_INTERVAL_S),
        (without("a", at=50.0, readiness=CHANGING), {}, 50.0 + CONFIRMING_INTERVAL_S),
        (
            holding("a", readiness=CHANGING, node_check=NodeCheck(50.0, WEB, trouble="no")),
            {},
            50.0 + RETRY_INTERVAL_S,
        ),
        (holding("a", health=DOWN), {}, math.inf),
        (server("a", outcome=Outcome.NOT_ASSOCIATED), {}, math.inf),
        (server("a", registration=Registration(RegistrationState.REQUESTED)), {}, math.inf),
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


@pytest.mark.parametrize(
    ("former", "wanted", "is_recent_"),
    [
        (None, policy(None, 1000.0), False),
        (policy("1a2b", 1000.0), policy(None, 1479.0), True),
        (policy(None, 1000.0), policy(None, 1479.0), True),
        (policy("1a2b", 1000.0), policy(None, 1000.0 + INTERVAL_S * 0.8), False),
        (policy("1a2b", 1.0, asked_at=1000.0), policy(None, 1479.0), True),
        (attrs.evolve(policy("1a2b", 1000.0), policy=("db", "production")), policy(None, 1000.0), False),
        (LATEST, attrs.evolve(LATEST, cookbooks=None), True),
        (LATEST, Content(1000.0, environment="qa"), False),
        (LATEST, policy(None, 1000.0), False),
    ],
)
def test_nobody_asks_again_so_soon(former, wanted, is_recent_):
    assert is_recent(former, wanted) == is_recent_
