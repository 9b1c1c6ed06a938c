"""Registration with a Chef server, on the embedded one: who is known, who is let in, and what is said to a person."""

import datetime

import pytest

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_failover.chef.https import ChefServer, Connection, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.trust import TrustStore
from chef_failover.decide.registration import Event
from chef_failover.errors import KeyFileError
from chef_failover.registration.base import Applicant
from chef_failover.registration.chef_server import CROWD_SPAN_S, ChefServerProvider
from tests.support.goiardi import VALIDATOR, Goiardi

NODE = "i-0abc"
KEY, OTHER_KEY = PrivateKey.generate(), PrivateKey.generate()


def utc_now():
    return datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def server(authority):
    with DevServer("main", authority) as server:
        yield server


@pytest.fixture
def associate(server, tmp_path):
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(server.ca_pem)

    def associate(*, url=None, name=NODE, validator=None, validator_key=None, utc_now=utc_now):
        target = Target(url or server.chef_server_url, timeout_s=5.0, ca_file=ca_file, node_name=name)
        provider = ChefServerProvider(
            ChefServer(target, Resolver(), TrustStore(())),
            validator=validator or server.state.validator,
            read_key=validator_key or (lambda: server.validator_key),
            utc_now=utc_now,
        )
        return provider.associate(Applicant(name, KEY), None)

    return associate


def asked(server):
    return [(method, path.rpartition("/")[2], status) for method, path, status in server.requests]


def test_a_new_node_is_registered_in_two_requests(server, associate):
    answer = associate()
    assert (answer.event, answer.detail) == (Event.CONFIRM, "registered by default-validator")
    assert asked(server) == [("GET", NODE, 401), ("POST", "clients", 201)]
    assert server.state.clients[NODE].strip() == KEY.public_pem().decode().strip()


def test_who_is_known_already_touches_no_validator(server, associate):
    server.register(NODE, KEY.public_pem())
    unread = associate(validator_key=lambda: pytest.fail("the key was read for nothing"))
    assert (unread.event, unread.detail) == (Event.CONFIRM, "it knows this node by this key")
    assert asked(server) == [("GET", NODE, 404)]


def test_after_a_crash_right_after_the_call_the_same_question_confirms(server, associate):
    associate()
    assert associate().event is Event.CONFIRM
    assert list(server.state.clients).count(NODE) == 1


def test_another_key_under_this_name_is_a_conflict_with_what_to_do(server, associate):
    server.register(NODE, OTHER_KEY.public_pem())
    answer = associate()
    assert answer.event is Event.REFUSE
    assert "key conflict" in answer.detail
    assert f"knife client delete {NODE}" in answer.detail
    assert server.state.clients[NODE].strip() == OTHER_KEY.public_pem().decode().strip()
    assert len(server.requests) == 3


def test_a_name_taken_between_the_questions_by_ourselves_is_ours(server, associate):
    def meanwhile():
        server.register(NODE, KEY.public_pem())
        return server.validator_key

    assert associate(validator_key=meanwhile).event is Event.CONFIRM


def test_a_server_that_knows_only_the_old_signatures(authority, tmp_path):
    (tmp_path / "ca.pem").write_bytes(authority.ca_pem)
    with DevServer("old", authority, protocols=["1.0", "1.1"]) as old:
        target = Target(old.chef_server_url, timeout_s=5.0, ca_file=tmp_path / "ca.pem", node_name=NODE)
        provider = ChefServerProvider(
            ChefServer(target, Resolver(), TrustStore(())),
            validator=old.state.validator,
            read_key=lambda: old.validator_key,
            utc_now=utc_now,
        )
        assert provider.associate(Applicant(NODE, KEY), None).event is Event.CONFIRM
        assert provider.associate(Applicant(NODE, KEY), None).event is Event.CONFIRM


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"validator_key": lambda: OTHER_KEY}, "does not accept the validator default-validator"),
        ({"validator": "nobody"}, "association.validator and association.validator_key must fit"),
        ({"name": "a/b"}, "see node.name"),
    ],
)
def test_what_needs_a_person_says_what_to_mend(server, associate, more, words):
    server.validator_key  # noqa: B018 - registers it
    answer = associate(**more)
    assert answer.event is Event.REFUSE
    assert words in answer.detail


def test_an_organization_that_does_not_exist(server, associate):
    answer = associate(url=f"{server.url}/organizations/nope")
    assert answer.event is Event.REFUSE
    assert "node.organization must name one that exists there" in answer.detail


def test_without_a_validator_key_only_who_is_known_gets_in(server, tmp_path):
    (tmp_path / "ca.pem").write_bytes(server.ca_pem)
    target = Target(server.chef_server_url, timeout_s=5.0, ca_file=tmp_path / "ca.pem", node_name=NODE)
    provider = ChefServerProvider(
        ChefServer(target, Resolver(), TrustStore(())), validator="v", read_key=None, utc_now=utc_now
    )
    answer = provider.associate(Applicant(NODE, KEY), None)
    assert (answer.event, "association.validator_key" in answer.detail) == (Event.REFUSE, True)
    server.register(NODE, KEY.public_pem())
    assert provider.associate(Applicant(NODE, KEY), None).event is Event.CONFIRM


def test_a_clock_that_is_wrong_is_said_with_both_times_and_tried_again(associate):
    answer = associate(utc_now=lambda: utc_now() - datetime.timedelta(hours=1))
    assert answer.event is Event.FAIL
    assert "clock" in answer.detail


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        (Fault.REFUSE, Event.FAIL),
        (Fault.RESET, Event.FAIL),
        (Fault.CERT_EXPIRED, Event.FAIL),
        (Fault.HTML, Event.FAIL),
        (Fault.EMPTY, Event.FAIL),
        (Fault.REDIRECT, Event.FAIL),
        (Fault.SERVER_ERROR, Event.FAIL),
        (Fault.MAINTENANCE, Event.FAIL),
        (Fault.LICENCE, Event.FAIL),
        (Fault.UNAUTHORIZED_CLOCK, Event.FAIL),
        (Fault.FORBIDDEN, Event.CONFIRM),
        (Fault.WRONG_ORGANIZATION, Event.REFUSE),
        (Fault.UNAUTHORIZED_UNKNOWN_CLIENT, Event.REFUSE),
    ],
)
def test_every_fault_is_an_answer(server, associate, fault, event):
    server.fault = fault
    answer = associate()
    assert answer.event is event
    assert answer.detail


@pytest.mark.parametrize("status", [429, 503])
def test_a_crowded_server_is_left_alone_for_as_long_as_it_asks_and_longer(associate, monkeypatch, status):
    from chef_failover.chef import answers

    real = Connection.request

    def crowded(self, method, *arguments):
        if method == "POST":
            return answers.Answer(status, {"retry-after": "7"}, b'{"error": ["slow down"]}')
        return real(self, method, *arguments)

    monkeypatch.setattr(Connection, "request", crowded)
    answer = associate()
    assert (answer.event, answer.not_before_s, answer.first_span_s) == (Event.FAIL, 7.0, CROWD_SPAN_S)


@pytest.mark.parametrize(("is_passing", "event"), [(True, Event.FAIL), (False, Event.REFUSE)])
def test_a_validator_key_that_cannot_be_read(associate, is_passing, event):
    def unreadable():
        raise KeyFileError("association.validator_key: /v.pem: Permission denied", is_passing=is_passing)

    answer = associate(validator_key=unreadable)
    assert (answer.event, "association.validator_key" in answer.detail) == (event, True)


def test_no_key_is_ever_in_what_is_said(server, associate):
    server.register(NODE, OTHER_KEY.public_pem())
    said = associate().detail + associate(validator="nobody").detail
    assert "PRIVATE" not in said
    assert "BEGIN" not in said


def test_goiardi_with_its_own_validator(tmp_path):
    with Goiardi(tmp_path / "goiardi") as goiardi:
        from chef_failover.chef.signing import load_key

        target = Target(goiardi.url, timeout_s=10.0, ca_file=goiardi.ca_file, node_name=NODE)
        provider = ChefServerProvider(
            ChefServer(target, Resolver(), TrustStore(())),
            validator=VALIDATOR,
            read_key=lambda: load_key(tmp_path / "goiardi" / "chef-validator.pem"),
            utc_now=utc_now,
        )
        first = provider.associate(Applicant(NODE, KEY), None)
        assert (first.event, first.detail) == (Event.CONFIRM, "registered by chef-validator")
        again = provider.associate(Applicant(NODE, KEY), None)
        assert (again.event, again.detail) == (Event.CONFIRM, "it knows this node by this key")
        conflict = provider.associate(Applicant(NODE, OTHER_KEY), None)
        assert (conflict.event, "key conflict" in conflict.detail) == (Event.REFUSE, True)
        bad = provider.associate(Applicant("a/b", KEY), None)
        assert bad.event is Event.REFUSE
        stranger = ChefServerProvider(
            ChefServer(target, Resolver(), TrustStore(())), validator=VALIDATOR, read_key=lambda: KEY, utc_now=utc_now
        ).associate(Applicant("other", KEY), None)
        assert (stranger.event, "validator" in stranger.detail) == (Event.REFUSE, True)
