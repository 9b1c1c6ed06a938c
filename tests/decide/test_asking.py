import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.decide.asking import LONGEST_SILENCE_S, MOMENT_S, SILENCE_S, server_to_settle, servers_to_ask
from chef_failover.decide.selection import server_worth_waiting_for
from chef_failover.decide.world import leave_alone
from chef_failover.model.model import Health, Outcome, ProbeResult, Registration, RegistrationState
from tests.support.builders import ON, bare, drain, pin, probed, proven, server, without

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN
NOW = 1000.0
EARLIER = NOW - SILENCE_S


def ask(snapshot, *, now=NOW, runs_from=NOW, asked=None, **more):
    return servers_to_ask(snapshot, now=now, runs_from=runs_from, asked=asked or {}, **more)


def names(snapshot, **more):
    asking = ask(snapshot, **more)
    return "".join(asking.awaited), "".join(asking.for_later)


@pytest.mark.parametrize(
    ("servers", "current", "expected"),
    [
        ((server("a"), server("b"), server("c")), "a", ("a", "")),
        ((server("a", UNKNOWN), server("b", UNKNOWN)), None, ("a", "")),
        ((server("a", DOWN), server("b"), server("c")), "b", ("b", "a")),
        ((server("a", DOWN), server("b", DOWN), server("c")), "c", ("c", "ab")),
        ((server("a", DOWN), server("b", DOWN)), "a", ("a", "")),
        ((server("a", changed_at=900.0), server("b")), "b", ("b", "a")),
        ((without("a"), proven("b")), "b", ("b", "a")),
        ((server("a"), drain("a"), server("b")), "b", ("b", "")),
        ((server("a", registration=Registration(RegistrationState.REFUSED)), server("b")), "b", ("b", "a")),
        ((server("a", DOWN, at=NOW - 1), server("b")), "b", ("b", "")),
        ((server("a", DOWN, at=NOW - MOMENT_S - 1), server("b")), "b", ("b", "a")),
        ((server("a", at=NOW), server("b")), "a", ("", "")),
        ((server("a", DOWN, at=NOW), server("b", at=NOW)), "b", ("", "")),
        ((server("a", DOWN), server("b", at=NOW)), "b", ("", "a")),
        ((server("a", at=NOW, outcome=Outcome.REFUSED), server("b")), "a", ("b", "")),
    ],
)
def test_a_run_asks_what_it_wants_and_what_it_would_rather_want(servers, current, expected):
    assert names(bare(*servers, current=current)) == expected


def test_one_that_is_silent_has_the_next_asked_beside_it():
    snapshot = bare(server("a"), server("b"), server("c"), current="a")
    assert ask(snapshot).again_at == NOW + SILENCE_S
    assert names(snapshot, asked={"a": EARLIER + 0.01}) == ("a", "")
    asking = ask(snapshot, asked={"a": EARLIER})
    assert (asking.awaited, asking.again_at) == (("a", "b"), NOW + SILENCE_S)
    assert names(snapshot, asked={"a": EARLIER - 1, "b": EARLIER}) == ("abc", "")
    silent = ask(snapshot, asked=dict.fromkeys("abc", EARLIER))
    assert (silent.awaited, silent.again_at) == (("a", "b", "c"), float("inf"))


@pytest.mark.parametrize(
    ("latency_s", "silence_s"),
    [(None, SILENCE_S), (0.01, SILENCE_S), (0.4, 0.8), (30.0, LONGEST_SILENCE_S)],
)
def test_a_server_that_is_slow_to_answer_is_given_its_time(latency_s, silence_s):
    proof = ProbeResult(Outcome.OK, "ok", 0.0, latency_s)
    snapshot = bare(attrs.evolve(server("a"), last_probe=proof, last_alive_probe=proof), server("b"), current="a")
    assert ask(snapshot).again_at == NOW + silence_s
    assert names(snapshot, asked={"a": NOW - silence_s + 0.01}) == ("a", "")
    assert names(snapshot, asked={"a": NOW - silence_s}) == ("ab", "")


def test_no_third_is_asked_once_the_second_has_answered():
    snapshot = bare(server("a"), server("b", at=NOW), server("c"), current="a")
    assert names(snapshot, asked={"a": EARLIER - 1}) == ("a", "")


def test_a_run_that_waits_for_its_registration_learns_of_the_next_server():
    begun = Registration(RegistrationState.UNREGISTERED)
    snapshot = bare(server("a", at=NOW, registration=begun), server("b"))
    assert names(snapshot) == ("a", "")
    assert names(snapshot, asked={"a": EARLIER}) == ("ab", "")
    assert names(snapshot, registers=False) == ("b", "")


def test_a_pin_says_what_is_wanted():
    servers = server("a"), server("b"), server("c", DOWN)
    assert names(bare(*servers, pin("b"), current="b")) == ("b", "")
    assert names(bare(*servers, pin("c"), current="a")) == ("a", "c")


def test_a_server_that_asked_to_be_left_alone_is_not_asked():
    snapshot = bare(server("a", outcome=Outcome.BUSY), server("b"), current="b")
    alone = leave_alone(snapshot, "a", 60.0, now=NOW, on=ON)
    assert names(snapshot) == ("a", "")
    assert names(alone) == ("b", "")
    assert names(leave_alone(alone, "b", 60.0, now=NOW, on=ON)) == ("", "")


def test_without_servers_nobody_is_asked():
    assert names(bare()) == ("", "")


@pytest.mark.parametrize(
    ("in_use", "others", "probe", "expected"),
    [
        (server("a"), (server("b"),), ("a", Outcome.REFUSED), None),
        (server("a", DOWN, changed_at=NOW, at=NOW), (server("b"),), ("a", Outcome.REFUSED), "b"),
        (server("a", DOWN, changed_at=NOW, at=NOW), (server("b", DOWN), server("c")), ("a", Outcome.REFUSED), "c"),
        (server("a", DOWN, changed_at=NOW, at=NOW), (server("b", DOWN), server("c")), ("c", Outcome.REFUSED), "b"),
        (server("a", DOWN, changed_at=NOW, at=NOW), (server("b", UNKNOWN),), ("a", Outcome.REFUSED), "b"),
        (server("a", DOWN, changed_at=NOW, at=NOW), (server("b"),), ("b", Outcome.OK), None),
        (server("a", DOWN, changed_at=NOW, at=NOW), (server("b"),), ("b", Outcome.REFUSED), None),
        (server("a", DOWN, changed_at=0.0), (server("b", DOWN),), ("b", Outcome.OK), "a"),
        (server("a", DOWN, changed_at=0.0), (server("b", DOWN),), ("b", Outcome.REFUSED), None),
    ],
)
def test_a_server_in_use_that_is_down_has_asked_who_may_replace_it(in_use, others, probe, expected):
    before = bare(in_use, *others, current="a")
    name, outcome = probe
    if before.server(name).health is DOWN and outcome is Outcome.OK:  # the second good one
        before = probed(before, name, outcome, NOW)
    after = probed(before, name, outcome, NOW + 1)
    assert server_to_settle(before, after, name, now=NOW + 1) == expected
    gone = attrs.evolve(after, offline="no route")
    assert server_to_settle(before, gone, name, now=NOW + 1) is None


HEALTHS = st.sampled_from([UP, DOWN, UNKNOWN])
AT = st.sampled_from([NOW, NOW - 5, 0.0])


@given(
    st.lists(st.tuples(HEALTHS, AT), min_size=1, max_size=4),
    st.dictionaries(st.sampled_from("abcd"), st.floats(NOW - 1, NOW)),
)
def test_a_run_waits_exactly_while_an_answer_may_change_its_choice(found, asked):
    snapshot = bare(*(server(name, health, at=at) for name, (health, at) in zip("abcd", found, strict=False)))
    asking = ask(snapshot, asked=asked)
    wanted = server_worth_waiting_for(snapshot, now=NOW, runs_from=NOW)
    assert asking.awaited[:1] == ((wanted,) if wanted else ())
    assert not {*asking.awaited} & {*asking.for_later}
    assert asking.again_at > NOW
    for earlier in asking.awaited[:-1]:
        assert NOW - asked[earlier] >= SILENCE_S


@given(st.lists(st.sampled_from([Outcome.OK, Outcome.REFUSED, Outcome.BUSY]), min_size=4, max_size=4))
def test_where_all_answer_at_once_a_run_asks_no_server_behind_the_first_good_one(outcomes):
    truth = dict(zip("abcd", outcomes, strict=True))
    snapshot, asked = bare(*map(server, "abcd"), current="a"), ""
    while names := ask(snapshot).awaited:
        assert len(names) == 1
        assert names[0] not in asked
        asked += names[0]
        snapshot = probed(snapshot, names[0], truth[names[0]], NOW)
    good = [name for name in "abcd" if truth[name] is Outcome.OK]
    assert asked == "abcd"[: "abcd".index(good[0]) + 1 if good else 4]
