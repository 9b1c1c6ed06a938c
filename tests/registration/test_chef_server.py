"""Registration with a Chef server: who is known, who is let in, and what is said to a person."""

import datetime
import json

import pytest

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.protocol import SIGNING_PROTOCOLS
from chef_failover.chef.trust import TrustStore
from chef_failover.errors import KeyFileError, ValidatorKeyError
from chef_failover.model.registration import Event
from chef_failover.registration.base import Registrant
from chef_failover.registration.chef_server import ChefServerProvider
from tests.support.chef import CLOCK, LICENCE, NO_ORGANIZATION, UNKNOWN_CLIENT, URL, check_signature, made_up, sent
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
        return provider.associate(Registrant(name, KEY), None)

    return associate


def asked(server):
    return [(method, path.rpartition("/")[2], status) for method, path, status in server.requests]


# --- an embedded server ----------------------------------------------------------------------------------------------


def test_a_new_node_is_registered_in_two_requests(server, associate):
    answer = associate()
    assert (answer.event, answer.detail) == (Event.CONFIRM, "registered by default-validator")
    assert asked(server) == [("GET", NODE, 401), ("POST", "clients", 201)]
    assert server.state.clients[NODE].strip() == KEY.public_pem().decode().strip()


def test_who_is_known_already_touches_no_validator(server, associate):
    server.register(NODE, KEY.public_pem())
    unread = associate(validator_key=lambda: pytest.fail("the key was read for nothing"))
    assert (unread.event, unread.detail) == (Event.CONFIRM, "the server knows this node by this key")
    assert asked(server) == [("GET", NODE, 200)]


def test_after_a_crash_right_after_the_call_the_same_question_confirms(server, associate):
    associate()
    assert associate().event is Event.CONFIRM
    assert list(server.state.clients).count(NODE) == 1


def test_another_key_under_this_name_is_a_conflict_with_what_to_do(server, associate):
    server.register(NODE, OTHER_KEY.public_pem())
    answer = associate()
    assert answer.event is Event.REFUSE
    assert "key conflict" in answer.detail
    for command in (f"client delete {NODE}", f"acl add client {NODE} nodes {NODE} update", f"node delete {NODE}"):
        assert f"knife {command}" in answer.detail
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
        assert provider.associate(Registrant(NODE, KEY), None).event is Event.CONFIRM
        assert provider.associate(Registrant(NODE, KEY), None).event is Event.CONFIRM


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"validator_key": lambda: OTHER_KEY}, "is not the key of client default-validator on this server, or the"),
        ({"validator": "nobody"}, "association.validator_key is not the key of client nobody on this server, or the"),
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
    assert "set node.organization to one that exists there" in answer.detail


def test_a_clock_that_is_wrong_is_said_with_both_times_and_tried_again(associate):
    answer = associate(utc_now=lambda: utc_now() - datetime.timedelta(hours=1))
    assert answer.event is Event.FAIL
    assert "clock" in answer.detail


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.RESET, Fault.CERT_EXPIRED])
def test_a_server_that_cannot_be_spoken_to_is_asked_again(server, associate, fault):
    server.fault = fault
    answer = associate()
    assert (answer.event, bool(answer.detail)) == (Event.FAIL, True)


# --- answers made up -------------------------------------------------------------------------------------------------

NOBODY = (401, UNKNOWN_CLIENT)
NO_CLIENT = (404, {"error": [f"Cannot load client {NODE}"]})
HTML = (200, "<html>Please sign in</html>")


def asks(chef, *known):
    """The server's answers to the node's question, in turn."""
    for status, said in known:
        add(chef, "GET", f"clients/{NODE}", status, said)


def add(chef, method, path, status, said, **headers):
    body = said if isinstance(said, str) else json.dumps(said)
    chef.add(method, f"{URL}/{path}", body=body, status=status, headers=headers)


def registered(chef, *, validator_key=lambda: OTHER_KEY):
    provider = ChefServerProvider(made_up(NODE), validator="acme-validator", read_key=validator_key, utc_now=utc_now)
    answer = provider.associate(Registrant(NODE, KEY), None)
    assert "BEGIN" not in answer.detail
    return answer


@pytest.mark.parametrize(
    ("known", "event", "words"),
    [
        (HTML, Event.FAIL, "not an answer of a Chef server"),
        ((200, ""), Event.FAIL, "empty body"),
        ((200, {"name": "another"}), Event.FAIL, "not an answer of a Chef server"),
        ((301, ""), Event.FAIL, "redirects, which a Chef server never does"),
        ((401, CLOCK), Event.FAIL, "clock skew"),
        ((403, LICENCE), Event.FAIL, "the server's Chef licence is not valid"),
        ((404, "<html></html>"), Event.FAIL, "not an answer of a Chef server"),
        ((500, {"error": ["internal service error"]}), Event.FAIL, "HTTP 500"),
        ((503, ""), Event.FAIL, "HTTP 503 Service Unavailable: in maintenance"),
        ((200, {"name": NODE}), Event.CONFIRM, "knows this node by this key"),
        ((403, {"error": ["missing read permission"]}), Event.CONFIRM, "knows this node by this key"),
        ((404, NO_ORGANIZATION), Event.REFUSE, "set node.organization to one that exists there"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_a_clear_no_to_the_node_leads_to_the_validator(chef, known, event, words):
    asks(chef, known)
    answer = registered(chef, validator_key=lambda: pytest.fail("the key was read for nothing"))
    assert (answer.event, words in answer.detail) == (event, True), answer.detail
    assert sent(chef) == [("GET", f"clients/{NODE}")]
    check_signature(chef.calls[0].request, "1.3", NODE, KEY, utc_now())


MADE = {"uri": f"{URL}/clients/{NODE}"}


@pytest.mark.parametrize(
    ("made", "event", "words"),
    [
        ((201, MADE), Event.CONFIRM, "registered by acme-validator"),
        ((201, MADE | {"chef_key": {"name": "default"}}), Event.CONFIRM, "registered by acme-validator"),
        ((201, ""), Event.FAIL, "HTTP 201 Created: empty body"),
        ((201, {"name": NODE}), Event.FAIL, "not an answer of a Chef server"),
        (HTML, Event.FAIL, "not an answer of a Chef server"),
        ((302, ""), Event.FAIL, "redirects, which a Chef server never does"),
        ((401, CLOCK), Event.FAIL, "clock skew"),
        ((403, {"error": ["missing create permission"]}), Event.REFUSE, "acme-validator may not create clients there"),
        ((403, LICENCE), Event.FAIL, "the server's Chef licence is not valid"),
        ((404, NO_ORGANIZATION), Event.REFUSE, "set node.organization to one that exists there"),
        ((413, {"error": ["too long"]}), Event.REFUSE, "the server rejects this node's name or key"),
        ((500, ""), Event.FAIL, "HTTP 500"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("unknown", [NOBODY, NO_CLIENT], ids=["unknown", "a user of that name"])
def test_what_the_server_says_to_the_validator(chef, unknown, made, event, words):
    asks(chef, unknown)
    add(chef, "POST", "clients", *made)
    answer = registered(chef)
    assert (answer.event, words in answer.detail) == (event, True), answer.detail
    assert sent(chef) == [("GET", f"clients/{NODE}"), ("POST", "clients")]
    request = chef.calls[1].request
    check_signature(request, "1.3", "acme-validator", OTHER_KEY, utc_now())
    assert json.loads(request.body) == {"name": NODE, "public_key": KEY.public_pem().decode()}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "the server rejects this node's name or key"),
        (401, "association.validator_key is not the key of client acme-validator on this server"),
    ],
)
def test_who_refuses_1_3_is_asked_by_1_1_and_then_believed(chef, status, words):
    asks(chef, NOBODY)
    add(chef, "POST", "clients", status, {"error": ["no"]})
    answer = registered(chef)
    assert (answer.event, words in answer.detail) == (Event.REFUSE, True), answer.detail
    for protocol, call in zip(SIGNING_PROTOCOLS, list(chef.calls)[1:], strict=True):
        check_signature(call.request, protocol, "acme-validator", OTHER_KEY, utc_now())


@pytest.mark.parametrize(
    ("known", "event", "words"),
    [
        (NOBODY, Event.REFUSE, "key conflict: another key is registered there as i-0abc"),
        ((200, {"name": NODE}), Event.CONFIRM, "knows this node by this key"),
        ((500, ""), Event.FAIL, "HTTP 500"),
    ],
)
def test_a_name_that_is_taken_is_asked_about_once_more(chef, known, event, words):
    asks(chef, NOBODY, known)
    add(chef, "POST", "clients", 409, {"error": ["Client already exists"]})
    answer = registered(chef)
    assert (answer.event, words in answer.detail) == (event, True), answer.detail
    assert [method for method, _ in sent(chef)] == ["GET", "POST", "GET"]
    check_signature(chef.calls[2].request, "1.3", NODE, KEY, utc_now())


@pytest.mark.parametrize(
    ("asked", "pause_s"), [("7", 7.0), ("86400", 3600.0), ("soon", 0.0), ("-1", 0.0), ("\u0667", 0.0), (None, 0.0)]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_crowded_server_is_left_alone_as_long_as_it_asks(chef, status, asked, pause_s):
    asks(chef, NOBODY)
    add(chef, "POST", "clients", status, {"error": ["slow down"]}, **({"Retry-After": asked} if asked else {}))
    answer = registered(chef)
    assert (answer.event, answer.not_before_s, answer.is_throttled) == (Event.FAIL, pause_s, True)


@pytest.mark.parametrize("status", [429, 503])
def test_a_crowded_server_may_say_so_to_the_first_question(chef, status):
    asks(chef, (status, {"error": ["slow down"]}))
    answer = registered(chef)
    assert (answer.event, answer.is_throttled) == (Event.FAIL, True)


@pytest.mark.parametrize("is_throttled", [True, False])
def test_a_throttled_read_of_the_validator_key_is_told_apart(chef, is_throttled):
    def unreadable():
        raise ValidatorKeyError("association.validator_key: no", is_passing=True, is_throttled=is_throttled)

    asks(chef, NOBODY)
    answer = registered(chef, validator_key=unreadable)
    assert (answer.event, answer.is_throttled) == (Event.FAIL, is_throttled)


def test_without_a_validator_key_only_who_is_known_gets_in(chef):
    asks(chef, NOBODY, (200, {"name": NODE}))
    answer = registered(chef, validator_key=None)
    assert (answer.event, "association.validator_key" in answer.detail) == (Event.REFUSE, True)
    assert registered(chef, validator_key=None).event is Event.CONFIRM


@pytest.mark.parametrize(("is_passing", "event"), [(True, Event.FAIL), (False, Event.REFUSE)])
def test_a_validator_key_that_cannot_be_read(chef, is_passing, event):
    def unreadable():
        raise KeyFileError("association.validator_key: /v.pem: Permission denied", is_passing=is_passing)

    asks(chef, NOBODY)
    answer = registered(chef, validator_key=unreadable)
    assert (answer.event, "association.validator_key" in answer.detail) == (event, True)


# --- goiardi ---------------------------------------------------------------------------------------------------------


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
        first = provider.associate(Registrant(NODE, KEY), None)
        assert (first.event, first.detail) == (Event.CONFIRM, "registered by chef-validator")
        again = provider.associate(Registrant(NODE, KEY), None)
        assert (again.event, again.detail) == (Event.CONFIRM, "the server knows this node by this key")
        conflict = provider.associate(Registrant(NODE, OTHER_KEY), None)
        assert (conflict.event, "key conflict" in conflict.detail) == (Event.REFUSE, True)
        bad = provider.associate(Registrant("a/b", KEY), None)
        assert bad.event is Event.REFUSE
        stranger = ChefServerProvider(
            ChefServer(target, Resolver(), TrustStore(())), validator=VALIDATOR, read_key=lambda: KEY, utc_now=utc_now
        ).associate(Registrant("other", KEY), None)
        assert (stranger.event, "validator" in stranger.detail) == (Event.REFUSE, True)
