"""One registrar, step by step, with a clock of our own."""

import datetime
import random

import attrs
import pytest

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.decide.registration import FIRST_SPAN_S
from chef_failover.decide.spread import BOOT_S
from chef_failover.decide.world import leave_alone
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.engine.registrar import LOOK_S, WORD_HOLDS_S, Registrar
from chef_failover.errors import KeyFileError, ValidatorKeyError
from chef_failover.model.model import (
    Health,
    Outcome,
    ProbeResult,
    Registration,
    RegistrationState,
    SelectionPolicy,
    Snapshot,
)
from chef_failover.model.registration import Answer, Event
from chef_failover.registration.base import NoProvider, Registrant
from tests.support.builders import ON, server

NEVER = float("inf")
KEY = PrivateKey.generate(1024)


class Script:
    """A provider that gives its answers in turn, and remembers what it was asked."""

    repairs = True

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def associate(self, registrant, ticket):
        self.asked.append((registrant.node_name, ticket))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    """The registrar for server "a" with everything around it."""

    def __init__(self, provider, *, health=Health.UP, registration=None, registrant=None, other=Health.DOWN):
        self.now = 100.0
        self.provider = provider
        self.written, self.looked = [], []
        self.disk_error = None
        first = registration or Registration(RegistrationState.UNREGISTERED)
        snapshot = Snapshot(
            (server("a", health, registration=first), server("b", other)), SelectionPolicy(600.0, "web-1")
        )
        self.woken = 0
        self.live = LiveSnapshot(snapshot, clock=lambda: self.now, utc_now=self.utc_now, on_change=self.on_change)
        self.registrar = Registrar(
            "a",
            live=self.live,
            provider=provider,
            registrant=registrant or (lambda: Registrant("web-1", KEY)),
            write_down=self.write_down,
            look_at=self.looked.append,
            clock=lambda: self.now,
            utc_now=self.utc_now,
            rng=random.Random(7),
        )

    def utc_now(self):
        return ON + datetime.timedelta(seconds=self.now)

    def on_change(self, _snapshot):
        self.woken += 1

    def write_down(self):
        if self.disk_error:
            raise self.disk_error
        self.written.append(self.registration)

    @property
    def registration(self):
        return self.live.snapshot.server("a").registration

    @property
    def said(self):
        return [(entry.before, entry.after) for entry in self.live.snapshot.transitions if entry.server == "a"]

    def probe(self, outcome=Outcome.OK, *, is_signed=True, times=1):
        for _ in range(times):
            self.now += 1
            self.live.record("a", ProbeResult(outcome, outcome.value, self.now, is_signed=is_signed))


CONFIRM, FAIL, REFUSE = Answer(Event.CONFIRM, "done"), Answer(Event.FAIL, "no luck"), Answer(Event.REFUSE, "never")


def test_intent_is_written_before_the_call():
    seen = []

    class Provider(Script):
        def associate(self, registrant, ticket):
            seen.extend(bench.written)
            return super().associate(registrant, ticket)

    bench = Bench(Provider(CONFIRM))
    assert bench.registrar.step() == 0.0
    assert [(entry.state, bool(entry.identity)) for entry in seen] == [(RegistrationState.REQUESTED, True)]
    assert (bench.registration.state, bench.looked) == (RegistrationState.REGISTERED, ["a"])
    assert bench.said == [("unassociated", "associated")]


def test_a_server_that_is_down_is_left_alone():
    bench = Bench(Script(), health=Health.DOWN)
    assert bench.registrar.step() == NEVER
    assert (bench.provider.asked, bench.looked) == ([], [])


def test_a_server_that_answers_again_registers_the_node_before_it_is_up():
    bench = Bench(Script(CONFIRM), health=Health.DOWN)
    bench.probe(Outcome.REFUSED)
    assert (bench.registrar.step(), bench.woken) == (NEVER, 0)
    bench.probe()
    assert (bench.live.snapshot.server("a").health, bench.woken) == (Health.DOWN, 1)
    bench.registrar.step()
    assert bench.registration.state is RegistrationState.REGISTERED


def test_a_server_that_was_never_heard_of_is_probed_within_a_few_seconds_of_the_boot():
    bench = Bench(Script(), health=Health.UNKNOWN)
    left_s = bench.registrar.step()
    assert (0 < left_s <= BOOT_S, bench.looked) == (True, [])
    bench.now += left_s
    assert [bench.registrar.step() for _ in range(2)] == [LOOK_S, LOOK_S]
    assert (bench.provider.asked, bench.looked) == ([], ["a"])


def put_off(**more):
    """A registration that is due in 300 s, beside a server that works."""
    late = Registration(RegistrationState.UNREGISTERED, retry_at=400.0)
    return Bench(Script(FAIL, FAIL), registration=late, other=Health.UP, **more)


def test_with_another_server_that_works_there_is_time():
    bench = put_off()
    assert (bench.registrar.step(), bench.provider.asked) == (300.0, [])
    bench.now += 300
    bench.registrar.step()
    assert len(bench.provider.asked) == 1


def test_a_server_that_was_never_heard_of_is_not_probed_before_it_is_due():
    bench = put_off(health=Health.UNKNOWN)
    bench.now += 200
    assert (bench.registrar.step(), bench.looked) == (100.0, [])


def test_once_no_other_server_works_there_is_no_time():
    bench = put_off()
    bench.live.record("b", ProbeResult(Outcome.REFUSED, "refused", 101.0))
    for at in (102.0, 103.0):
        bench.live.record("b", ProbeResult(Outcome.REFUSED, "refused", at))
    bench.registrar.step()
    assert len(bench.provider.asked) == 1


def test_a_persons_word_that_it_is_urgent_holds_for_a_while():
    bench = put_off()
    bench.registrar.retry_now()
    bench.registrar.step()
    assert len(bench.provider.asked) == 1
    assert bench.registrar.step() <= FIRST_SPAN_S
    bench.now += WORD_HOLDS_S + 1
    bench.registrar.step()
    assert bench.registration.retry_at - bench.now > 0
    assert bench.registration.urgent_at < bench.registration.retry_at


def test_a_persons_word_counts_more_than_that_a_server_asked_to_be_left_alone():
    bench = Bench(Script(Answer(Event.FAIL, "no luck", not_before_s=900.0)))
    bench.live.steer(leave_alone, "a", 3600.0)
    assert bench.registrar.step() == 3600.0
    bench.registrar.retry_now()
    bench.registrar.step()
    assert len(bench.provider.asked) == 1
    assert bench.registrar.step() >= 900.0, "it has just said so again"


def test_it_waits_out_its_retry_and_says_a_failure_once():
    bench = Bench(Script(FAIL, FAIL, CONFIRM))
    bench.registrar.step()
    left_s = bench.registrar.step()
    assert 0 < left_s <= FIRST_SPAN_S
    bench.now += left_s
    bench.registrar.step()
    bench.now = bench.registration.retry_at
    bench.registrar.step()
    assert bench.said == [("unassociated", "failed"), ("failed", "associated")]


def test_the_ticket_is_written_right_after_and_asked_after():
    bench = Bench(Script(Answer(Event.GO_ON, ticket="t-1", not_before_s=5.0), CONFIRM))
    bench.registrar.step()
    assert [entry.ticket for entry in bench.written] == [None, "t-1"]
    assert bench.registrar.step() == 5.0
    bench.now += 5.0
    bench.registrar.step()
    assert bench.provider.asked == [("web-1", None), ("web-1", "t-1")]
    assert bench.registration.state is RegistrationState.REGISTERED


def test_after_a_crash_the_same_is_asked_again():
    bench = Bench(Script(CONFIRM), registration=Registration(RegistrationState.REQUESTED, identity="x", attempts=1))
    bench.registrar.step()
    assert bench.registration.state is RegistrationState.REGISTERED


def test_after_a_crash_with_a_ticket_that_is_asked_after():
    bench = Bench(Script(CONFIRM), registration=Registration(RegistrationState.REQUESTED, identity="x", ticket="t-9"))
    bench.registrar.step()
    assert bench.provider.asked == [("web-1", "t-9")]


def test_nothing_is_begun_that_cannot_be_written_down():
    provider = Script()
    bench = Bench(provider)
    bench.disk_error = OSError(28, "No space left on device")
    bench.registrar.step()
    assert provider.asked == []
    assert bench.registration.state is RegistrationState.FAILED
    assert "No space left on device" in bench.registration.detail


def test_a_ticket_that_cannot_be_written_still_counts_in_this_life():
    bench = Bench(Script(Answer(Event.GO_ON, ticket="t-1"), CONFIRM))

    def full(answer):
        bench.disk_error = OSError(28, "full")
        return answer

    associate = bench.provider.associate
    bench.provider.associate = lambda *asked: full(associate(*asked))
    bench.registrar.step()
    assert bench.registration.ticket == "t-1"
    bench.registrar.step()
    assert bench.registration.state is RegistrationState.REGISTERED


@pytest.mark.parametrize(
    ("is_passing", "association"), [(True, RegistrationState.FAILED), (False, RegistrationState.REFUSED)]
)
def test_a_key_that_cannot_be_had(is_passing, association):
    def registrant():
        raise KeyFileError("client key /x: Permission denied", is_passing=is_passing)

    bench = Bench(Script(), registrant=registrant)
    bench.registrar.step()
    assert (bench.registration.state, bench.written) == (association, [])
    assert "Permission denied" in bench.registration.detail


def associated(provider, **more):
    bench = Bench(provider, registration=Registration(RegistrationState.REGISTERED, identity="x"), **more)
    bench.probe(is_signed=True)
    return bench


def test_one_stray_401_loses_nothing():
    bench = associated(Script())
    bench.probe(Outcome.NOT_ASSOCIATED, times=2)
    assert bench.registrar.step() == NEVER
    bench.probe(Outcome.OK)
    assert bench.registration.state is RegistrationState.REGISTERED


def test_a_server_that_denies_the_node_often_enough_gets_it_registered_again():
    bench = associated(Script(CONFIRM))
    bench.probe(Outcome.NOT_ASSOCIATED, times=3)
    steps = [(bench.registrar.step(), bench.registration.state) for _ in range(2)]
    assert steps == [(0.0, RegistrationState.UNREGISTERED), (0.0, RegistrationState.REGISTERED)]
    assert bench.registrar.step() == NEVER  # the old 401 says nothing of the new registration
    assert bench.said == [("unassociated", "associated")] or bench.said[-2:] == [
        ("associated", "unassociated"),
        ("unassociated", "associated"),
    ]


def test_who_is_denied_again_and_again_asks_ever_more_seldom():
    bench = associated(Script(*[CONFIRM] * 50))
    attempts = 0
    while bench.now < 100 + 3600:
        bench.probe(Outcome.NOT_ASSOCIATED)
        while bench.registrar.step() == 0.0:
            pass
        attempts = max(attempts, bench.registration.attempts)
    assert 5 < attempts < 40


@pytest.mark.parametrize("outcome", [Outcome.CLOCK_SKEW, Outcome.FORBIDDEN, Outcome.WRONG_ORGANIZATION, Outcome.TLS])
def test_other_refusals_are_no_loss(outcome):
    bench = associated(Script())
    bench.probe(outcome, times=3)
    bench.registrar.step()
    assert bench.registration.state is RegistrationState.REGISTERED


def test_an_unsigned_401_is_no_loss():
    bench = associated(Script())
    bench.probe(Outcome.NOT_ASSOCIATED, is_signed=False, times=3)
    assert bench.registrar.step() == NEVER


def test_without_a_provider_that_repairs_the_node_only_waits():
    bench = associated(NoProvider())
    bench.probe(Outcome.NOT_ASSOCIATED, times=3)
    assert bench.registrar.step() == NEVER
    assert bench.registration.state is RegistrationState.REGISTERED


def test_a_signed_probe_proves_it_and_clears_the_attempts():
    bench = Bench(Script(FAIL, CONFIRM))
    bench.registrar.step()
    bench.now = bench.registration.retry_at
    bench.registrar.step()
    assert bench.registration.attempts == 2
    bench.probe()
    bench.registrar.step()
    assert bench.registration.attempts == 0


def test_a_persons_word_to_replace_reaches_the_provider_until_it_has_acted_on_it():
    seen = []

    class Provider(Script):
        def associate(self, registrant, ticket):
            seen.append(registrant.replaces)
            return super().associate(registrant, ticket)

    bench = Bench(Provider(REFUSE, FAIL, Answer(Event.GO_ON, ticket="t"), CONFIRM))
    bench.registrar.step()
    bench.registrar.retry_now(replaces=True)
    for _ in range(3):
        bench.now = max(bench.now, bench.registration.retry_at)
        bench.registrar.step()
    assert seen == [False, True, True, False]


def test_a_persons_word_holds_for_what_is_to_be_done_now_and_not_for_later():
    """Said of an association that stands, it must not take somebody's name away days later."""
    seen = []

    class Provider(Script):
        def associate(self, registrant, ticket):
            seen.append((registrant.replaces, ticket))
            return super().associate(registrant, ticket)

    bench = associated(Provider(CONFIRM))
    bench.registrar.retry_now(replaces=True)
    bench.probe(Outcome.NOT_ASSOCIATED, times=3)
    bench.registrar.step()
    bench.registrar.step()
    assert seen == [(False, None)]
    late = Bench(Provider(CONFIRM))
    late.registrar.retry_now(replaces=True)
    late.now += WORD_HOLDS_S + 1
    late.registrar.step()
    assert seen[1:] == [(False, None)]


def test_a_replacement_drops_what_is_under_way():
    bench = Bench(Script(Answer(Event.GO_ON, ticket="t-1"), Answer(Event.GO_ON, ticket="t-2")))
    bench.registrar.step()
    bench.registrar.retry_now(replaces=True)
    bench.registrar.step()
    assert bench.provider.asked == [("web-1", None), ("web-1", None)]


def test_a_key_that_comes_back_ends_the_wait_for_it():
    there = False

    def registrant():
        if not there:
            raise KeyFileError("node.client_key: /x: No such file or directory")
        return Registrant("web-1", KEY)

    bench = Bench(Script(CONFIRM), registrant=registrant)
    bench.registrar.step()
    assert bench.registrar.step() > 5
    there = True
    assert bench.registrar.step() == 0.0
    assert bench.registration.state is RegistrationState.REGISTERED


def test_a_validators_key_is_waited_for_as_long_as_it_takes():
    bench = Bench(Script(ValidatorKeyError("association.validator_key: no")))
    bench.registrar.step()
    assert bench.registrar.step() > 0
    assert bench.registration.state is RegistrationState.REFUSED


def test_hurry_tries_at_once():
    bench = Bench(Script(REFUSE, CONFIRM))
    bench.registrar.step()
    assert bench.registrar.step() > 0
    bench.registrar.retry_now()
    bench.registrar.step()
    assert bench.registration.state is RegistrationState.REGISTERED
    bench.registrar.retry_now()  # nothing to do any more
    assert bench.registration == attrs.evolve(bench.registration, state=RegistrationState.REGISTERED)
