import datetime
import math

import attrs
import pytest

from chef_failover.decide import outlook
from chef_failover.decide.selection import select
from chef_failover.model.model import Health, Outcome, ProbeResult, Registration, RegistrationState, RiseFall
from tests.support.builders import ON, WEB, bare, drain, drained, holding, pin, proven, server, without

DOWN, UNKNOWN = Health.DOWN, Health.UNKNOWN


def lacks(snapshot, name, now=0.0, on=ON):
    return outlook.shortcomings(snapshot, snapshot.server(name), now=now, on=on)


def wants(snapshot, now=0.0):
    choice = select(snapshot, now=now)
    return {verdict.name: outlook.conditions_for_use(snapshot, verdict, choice, now=now) for verdict in choice.verdicts}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (server("b"), ()),
        (server("b", UNKNOWN), ("is UNKNOWN: not probed yet",)),
        (server("b", UNKNOWN, outcome=Outcome.TLS), ("is UNKNOWN: tls",)),
        (server("b", DOWN), ("is DOWN: refused",)),
        (server("b", outcome=Outcome.CLOCK_SKEW), ("does not accept this node: clock_skew",)),
        (
            attrs.evolve(server("b"), access=RiseFall(DOWN, 1, 0.0)),
            ("is coming back: its last probe succeeded; more must follow",),
        ),
        (
            server("b", registration=Registration(RegistrationState.FAILED, "no validator key")),
            ("does not accept this node: registration there failed: no validator key",),
        ),
        (
            server("b", registration=Registration(RegistrationState.UNREGISTERED)),
            ("does not accept this node: this node is not registered there",),
        ),
        (
            server("b", registration=Registration(RegistrationState.UNREGISTERED, retry_at=480.0, urgent_at=1.0)),
            (
                "does not accept this node: this node is not registered there",
                "registers this node in 8 min, or at once by: chef-failover associate b",
            ),
        ),
        (without("b"), ("is not ready: has no object of this node",)),
        ((server("b"), drain("b", reason="disk")), ("is drained by alice: disk",)),
        ((server("b"), drain("b", ends_at=0.0)), ()),
        (
            drained(without("b", DOWN)),
            ("is DOWN: refused", "is not ready: has no object of this node", "is drained by alice"),
        ),
    ],
)
def test_what_a_server_lacks(one, expected):
    assert lacks(bare(holding("a"), one), "b") == expected


def test_a_licence_in_its_grace_period():
    told = ProbeResult(Outcome.OK, "ok", 0.0, licence_notice="It ends on Monday.")
    snapshot = bare(attrs.evolve(server("a"), last_probe=told, last_alive_probe=told))
    assert lacks(snapshot, "a") == ("has a Chef licence in its grace period: It ends on Monday.",)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (None, ()),
        (90, ()),
        (12, ("has a certificate that expires in 12 d",)),
        (-1, ("has an expired certificate",)),
    ],
)
def test_a_certificate_that_expires(days, expected):
    on = None if days is None else ON + datetime.timedelta(days=days)
    snapshot = bare(attrs.evolve(server("a"), last_probe=ProbeResult(Outcome.OK, "ok", 0.0, certificate_expires_on=on)))
    assert lacks(snapshot, "a") == expected
    assert lacks(snapshot, "a", on=None) == ()


@pytest.mark.parametrize(
    ("snapshot", "name", "expected"),
    [
        (bare(server("a"), server("b")), "a", None),
        (bare(server("a"), server("b")), "b", "a must fail or be drained, or the node be pinned"),
        (bare(*map(server, "abc")), "c", "a and b must fail or be drained, or the node be pinned"),
        (
            bare(server("a", DOWN), server("b")),
            "a",
            "it must come UP; it must then stay UP for 13 min (failback), or the node be pinned",
        ),
        (bare(server("a", DOWN), server("b"), failback_s=0.0), "a", "it must come UP"),
        (
            bare(server("a", DOWN), server("b"), failback_s=math.inf),
            "a",
            "it must come UP; failback is never, so a person must move the node: chef-failover pin a",
        ),
        (
            bare(server("a", changed_at=-300.0), server("b"), current="b"),
            "a",
            "it must stay UP for 8 min (failback), or the node be pinned",
        ),
        (
            bare(server("a"), server("b"), current="b", failback_s=math.inf),
            "a",
            "failback is never, so a person must move the node: chef-failover pin a",
        ),
        (
            bare(server("a"), drain("a"), server("b")),
            "a",
            "its drain must end; it must stay UP for 13 min (failback), or the node be pinned",
        ),
        (
            bare(server("a"), server("b"), pin("b")),
            "a",
            "the pin to b must end; it must stay UP for 13 min (failback), or the node be pinned",
        ),
        (
            bare(server("a"), server("b", DOWN), pin("b"), current="a"),
            "b",
            "it must come UP",
        ),
        (
            bare(server("a"), server("b", registration=Registration(RegistrationState.REFUSED))),
            "b",
            "it must accept this node; a must fail or be drained, or the node be pinned",
        ),
        (bare(server("a", outcome=Outcome.FORBIDDEN), server("b"), failback_s=0.0), "a", "it must accept this node"),
        (
            bare(without("a"), proven("b", WEB), failback_s=0.0),
            "a",
            "it must be ready",
        ),
    ],
)
def test_what_would_have_to_change(snapshot, name, expected):
    assert wants(snapshot)[name] == expected


def test_a_server_that_is_gone_needs_nothing_said():
    snapshot = bare(server("a"), server("b"))
    choice = select(snapshot, now=0.0)
    left = attrs.evolve(snapshot, servers=snapshot.servers[:1])
    assert outlook.conditions_for_use(left, choice.verdicts[1], choice, now=0.0) is None


def test_what_is_well_and_not_chosen_yet():
    snapshot = bare(server("a", UNKNOWN), server("b", UNKNOWN))
    choice = select(snapshot, now=0.0)
    probed = attrs.evolve(snapshot, servers=(snapshot.servers[0], server("b")))
    assert outlook.conditions_for_use(probed, choice.verdicts[1], choice, now=0.0) == (
        "nothing; the node moves there shortly"
    )
