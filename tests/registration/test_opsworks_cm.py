"""The provider for OpsWorks CM: what it asks, and what it makes of each answer."""

import json
import random
import re
from typing import Any

import attrs
import pytest
from botocore import exceptions
from botocore.stub import Stubber

from chef_failover.aws import call as aws
from chef_failover.aws.boto import MODELS, client, session
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config.schema import EndpointUrl, Name
from chef_failover.config.settings import OpsworksAssociation
from chef_failover.decide.registration import spans, throttled_wait_s
from chef_failover.errors import AwsError
from chef_failover.model.registration import Answer, Event
from chef_failover.registration.base import Registrant
from chef_failover.registration.opsworks_cm import ATTRIBUTE_NAMES, LONGEST_POLL_S, POLL_S, OpsworksCm
from tests.support.opsworks_stub import DRIP, PAIRS, OpsworksStub

POLICY = "packaging/iam/opsworks-cm.json"


@pytest.fixture(scope="module")
def registrant():
    return Registrant("i-0abc", PrivateKey.generate())


@pytest.fixture
def stub():
    with OpsworksStub() as running:
        yield running


def provider(stub=None, **more):
    association = OpsworksAssociation(Name("us-east-1"), endpoint_url=stub and stub.url)
    return OpsworksCm(association, server_name="mainserver", **{"rng": random.Random(7)} | more)


class Scripted:
    """A call that gives or raises ``answers`` in turn; what it was asked is in ``asked``."""

    def __init__(self, *answers):
        self.asked, self._left = [], list(answers)

    def __call__(self, service, operation, parameters, *, region, endpoint_url, ca_file=None):
        self.asked.append((operation, parameters))
        answer = self._left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def after(*answers, ticket=None, registrant, **more):
    return provider(call=Scripted(*answers), **more).associate(registrant, ticket)


# Over the wire


def test_a_node_is_registered_step_by_step(aws_secret, stub, registrant):
    stub.polls = 2
    ours = provider(stub, organization="acme")
    begun = ours.associate(registrant, None)
    assert begun.event is Event.GO_ON
    for _ in range(2):
        waiting = ours.associate(registrant, begun.ticket)
        assert (waiting.event, waiting.ticket) == (Event.GO_ON, begun.ticket)
        assert 0.8 * POLL_S <= waiting.not_before_s <= 1.2 * POLL_S
    assert ours.associate(registrant, begun.ticket).event is Event.CONFIRM
    assert stub.nodes["mainserver"] == {"i-0abc": registrant.key.public_pem().decode()}
    assert stub.seen[0].attributes["CHEF_AUTOMATE_ORGANIZATION"] == "acme"
    assert {seen.region for seen in stub.seen} == {"us-east-1"}
    assert [seen.operation for seen in stub.seen] == ["AssociateNode"] + 3 * ["DescribeNodeAssociationStatus"]


def test_an_older_service_gets_the_older_names(aws_secret, stub, registrant):
    stub.pairs, stub.polls = PAIRS[1:], 0
    ours = provider(stub)
    assert ours.associate(registrant, ours.associate(registrant, None).ticket).event is Event.CONFIRM
    assert [tuple(seen.attributes) for seen in stub.seen[:2]] == list(ATTRIBUTE_NAMES)


def test_neither_throttling_nor_a_cut_connection_loses_the_ticket(aws_secret, stub, registrant):
    stub.polls = 0
    ours = provider(stub)
    ticket = ours.associate(registrant, None).ticket
    stub.throttle()
    stub.faults += [(503, b"<html>"), (200, b"[]"), (200, b"<html>Welcome")]
    answers = [ours.associate(registrant, ticket) for _ in range(4)]
    assert {(answer.event, answer.ticket) for answer in answers} == {(Event.GO_ON, ticket)}
    assert not any(ticket in answer.detail for answer in answers)
    assert ours.associate(registrant, ticket).event is Event.CONFIRM


def test_a_ticket_that_is_forgotten_is_asked_for_anew_and_not_repeated(aws_secret, stub, registrant):
    answer = provider(stub).associate(registrant, "forgotten0123")
    assert (answer.event, answer.ticket) == (Event.FAIL, None)
    assert "forgotten0123" not in answer.detail


def test_a_server_in_maintenance_may_be_back_next_time(aws_secret, stub, registrant):
    stub.unhealthy.add("mainserver")
    answer = provider(stub).associate(registrant, None)
    assert answer.event is Event.FAIL
    assert answer.detail == (
        "OpsWorks CM in us-east-1 says that server mainserver is not HEALTHY:"
        " Server mainserver is in state UNDER_MAINTENANCE"
    )


def test_a_server_that_is_not_there_needs_a_person(aws_secret, stub, registrant):
    stub.servers = {"another"}
    answer = provider(stub).associate(registrant, None)
    assert answer.event is Event.REFUSE
    assert "no server mainserver" in answer.detail
    assert "correct association.server_name or association.region" in answer.detail


def test_nothing_secret_is_in_what_is_said(aws_secret, stub, registrant, caplog, tmp_path):
    caplog.set_level("DEBUG")
    ours, details = provider(stub), []
    ticket = ours.associate(registrant, None).ticket
    for kind in ("ThrottlingException", "AccessDeniedException", "ValidationException", "SomethingNew"):
        for one in (None, ticket):
            stub.fail(kind, f"about {ticket}", times=2)
            details.append(ours.associate(registrant, one).detail)
            stub.faults.clear()
    said = caplog.text + "".join(details[1::2])
    for secret in (aws_secret, ticket, registrant.key.private_pem().decode().splitlines()[1]):
        assert secret not in said


def test_no_credentials(aws_secret, stub, registrant, tmp_path):
    (tmp_path / "aws-credentials").write_text("")
    answer = provider(stub).associate(registrant, None)
    assert answer.event is Event.FAIL
    assert "NoCredentials" in answer.detail
    assert f"give the instance a profile that allows what {POLICY} has" in answer.detail


def test_an_endpoint_that_is_not_there(aws_secret, registrant):
    association = OpsworksAssociation(Name("us-east-1"), endpoint_url=EndpointUrl("http://127.0.0.1:9"))
    answer = OpsworksCm(association, server_name="mainserver", rng=random.Random(7)).associate(registrant, None)
    assert answer.event is Event.FAIL
    assert "http://127.0.0.1:9" in answer.detail
    assert answer.detail.endswith("check association.region and association.endpoint_url")


def test_a_throttled_fleet_is_registered_and_nobody_starves(registrant):
    """AWS's own rates, and a registration takes a minute: 13 questions for each node are 520 s of what is allowed."""
    clock, tokens, filled_at, asked = [0.0], [10.0], [0.0], []

    def call(service, operation, parameters, *, region, endpoint_url, ca_file=None):
        asked.append(clock[0])
        tokens[0] = min(10.0, tokens[0] + 5.0 * (clock[0] - filled_at[0]))
        filled_at[0] = clock[0]
        if tokens[0] < 1:
            raise AwsError("ThrottlingException", "Rate exceeded", 400)
        tokens[0] -= 1
        if operation == "AssociateNode":
            return {"NodeAssociationStatusToken": f"token-{clock[0]}"}
        begun = float(parameters["NodeAssociationStatusToken"].partition("-")[2])
        return {"NodeAssociationStatus": "SUCCESS" if clock[0] - begun > 60 else "IN_PROGRESS"}

    chance = random.Random(3)
    first_s = spans(600.0, 200).throttled_s
    nodes: list[list[Any]] = [[chance.random(), number, None, None] for number in range(200)]
    providers = [provider(call=call, rng=random.Random(number)) for number in range(200)]
    confirmed_at = {}
    while nodes:
        nodes.sort()
        node = nodes[0]
        clock[0], number, ticket, since = node
        answer = providers[number].associate(registrant, ticket)
        node[2] = answer.ticket
        match answer.event:
            case Event.CONFIRM:
                confirmed_at[number] = clock[0]
                nodes.pop(0)
            case Event.GO_ON:
                node[0] += answer.not_before_s
            case Event.FAIL:
                node[3] = clock[0] if since is None else since
                node[0] += throttled_wait_s(clock[0] - node[3], first_s, chance=chance.random())
    assert len(confirmed_at) == 200
    assert max(confirmed_at.values()) < 600
    assert len(asked) < 200 * 13


def test_beyond_the_burst_the_service_turns_back(aws_secret, registrant):
    registered = []
    with OpsworksStub(polls=0, rate=0.001, burst=1, on_registered=lambda *one: registered.append(one)) as stub:
        ours = provider(stub)
        ticket = ours.associate(registrant, None).ticket
        turned_back = ours.associate(registrant, None)
        assert (turned_back.event, turned_back.is_throttled) == (Event.FAIL, True)
        stub.rate = None
        assert ours.associate(registrant, ticket).event is Event.CONFIRM
    assert registered == [("mainserver", "i-0abc", registrant.key.public_pem().decode())]


# Without a wire


@pytest.mark.parametrize("code", ["ThrottlingException", "Throttling", "TooManyRequestsException"])
def test_a_throttled_fleet_spreads_out(registrant, code):
    answer = after(AwsError(code, "Rate exceeded", 400), registrant=registrant)
    assert (answer.event, answer.is_throttled) == (Event.FAIL, True)


def test_whoever_is_throttled_asks_ever_less_often_and_then_more_often_again(registrant):
    throttled, at_it = AwsError("ThrottlingException", "", 400), {"NodeAssociationStatus": "IN_PROGRESS"}
    call = Scripted(*[throttled] * 8, *[at_it] * 40, {"NodeAssociationStatusToken": "t"})
    ours = provider(call=call, rng=type("Even", (), {"random": lambda _: 0.5})())
    pauses = [ours.associate(registrant, "t").not_before_s for _ in range(48)]
    assert pauses[:8] == [10, 20, 40, 80, 160, 160, 160, 160]
    assert (LONGEST_POLL_S, sorted(pauses[8:], reverse=True)) == (160, pauses[8:])
    assert pauses[-1] == POLL_S
    assert ours.associate(registrant, None).not_before_s == POLL_S


@pytest.mark.parametrize(
    ("error", "event", "words"),
    [
        (
            AwsError("AccessDeniedException", "x", 400),
            Event.REFUSE,
            f"opsworks-cm:AssociateNode in us-east-1; .*{POLICY}",
        ),
        (AwsError("ResourceNotFoundException", "x", 400), Event.REFUSE, "association.server_name"),
        (AwsError("Misconfigured", "bad region"), Event.REFUSE, "association.region"),
        (AwsError("SubscriptionRequiredException", "x", 400), Event.REFUSE, "SubscriptionRequiredException: x"),
        (AwsError("InvalidStateException", "x", 400), Event.FAIL, "not HEALTHY"),
        (AwsError("NoCredentials", "x"), Event.FAIL, "profile"),
        (AwsError("InvalidSignatureException", "Signature expired", 400), Event.FAIL, "clock"),
        (AwsError("Timeout", "x"), Event.FAIL, "Timeout: x"),
        (AwsError("Unreachable", "x"), Event.FAIL, "May 2024"),
        (AwsError("InternalFailure", "x", 500), Event.FAIL, "InternalFailure"),
    ],
    ids=lambda value: value.code if isinstance(value, AwsError) else None,
)
def test_what_an_error_means_for_a_new_registration(registrant, error, event, words):
    answer = after(error, registrant=registrant)
    assert (answer.event, answer.ticket) == (event, None)
    assert re.search(words, answer.detail)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (AwsError("Timeout", "x"), Event.GO_ON),
        (AwsError("NoCredentials", "x"), Event.GO_ON),
        (AwsError("500", "x", 500), Event.GO_ON),
        (AwsError("ResourceNotFoundException", "x", 400), Event.FAIL),
        (AwsError("ValidationException", "x", 400), Event.FAIL),
        (AwsError("AccessDeniedException", "x", 400), Event.REFUSE),
    ],
    ids=lambda value: value.code if isinstance(value, AwsError) else None,
)
def test_what_an_error_means_for_one_under_way(registrant, error, event):
    answer = after(error, registrant=registrant, ticket="t0123")
    assert (answer.event, answer.ticket) == (event, "t0123" if event is Event.GO_ON else None)


def test_both_pairs_rejected_is_said_with_the_keys_to_mend(registrant):
    first, second = (AwsError("ValidationException", words, 400) for words in ("bad name", "bad attribute"))
    answer = after(first, second, registrant=registrant)
    assert answer.event is Event.REFUSE
    assert "bad name" in answer.detail
    assert "correct association.server_name, organization or node.name" in answer.detail


def test_throttling_between_the_pairs_is_throttling(registrant):
    answer = after(AwsError("ValidationException", ""), AwsError("Throttling", ""), registrant=registrant)
    assert (answer.event, answer.is_throttled) == (Event.FAIL, True)


@pytest.mark.parametrize("reply", [{}, {"NodeAssociationStatusToken": ""}])
def test_an_answer_without_a_token(registrant, reply):
    assert after(reply, registrant=registrant).event is Event.FAIL


@pytest.mark.parametrize("reply", [{}, {"NodeAssociationStatus": "PUZZLED"}])
def test_an_answer_without_a_status_keeps_the_ticket(registrant, reply):
    answer = after(reply, registrant=registrant, ticket="t")
    assert (answer.event, answer.ticket) == (Event.GO_ON, "t")


def test_what_failed_is_said_with_what_to_do(registrant):
    answer = after({"NodeAssociationStatus": "FAILED"}, registrant=registrant, ticket="t")
    assert answer.event is Event.FAIL
    assert "knife client delete i-0abc" in answer.detail
    assert "knife acl add client i-0abc nodes i-0abc update" in answer.detail


@pytest.mark.parametrize(
    ("answers", "ticket"),
    [([{"NodeAssociationStatus": "FAILED"}], "t"), ([AwsError("ValidationException", "taken")] * 2, None)],
)
def test_what_an_earlier_life_had_registered_is_confirmed_by_the_server(registrant, answers, ticket):
    asked = []

    def is_known(one):
        asked.append(one)
        return True

    answer = after(*answers, registrant=registrant, ticket=ticket, is_known=is_known)
    assert answer == Answer(Event.CONFIRM, "the server already accepts this node's key")
    assert asked == [registrant]


def test_a_clone_takes_nobodys_name(aws_secret, stub, registrant):
    stub.polls = 0
    stub.nodes["mainserver"]["i-0abc"] = "another's key"
    ours = provider(stub)
    answer = ours.associate(registrant, ours.associate(registrant, None).ticket)
    assert answer.event is Event.FAIL
    assert stub.nodes["mainserver"] == {"i-0abc": "another's key"}


def test_on_a_persons_word_the_older_registration_goes_first(aws_secret, stub, registrant):
    stub.nodes["mainserver"]["i-0abc"] = "another's key"
    ours, asked = provider(stub), attrs.evolve(registrant, replaces=True)
    answer = ours.associate(asked, None)
    while answer.event is Event.GO_ON:
        answer = ours.associate(registrant, answer.ticket)
    assert answer.event is Event.CONFIRM
    assert stub.nodes["mainserver"] == {"i-0abc": registrant.key.public_pem().decode()}
    calls = [seen.operation for seen in stub.seen if seen.operation != "DescribeNodeAssociationStatus"]
    assert calls == ["DisassociateNode", "AssociateNode"]
    assert stub.seen[0].attributes == {"CHEF_AUTOMATE_ORGANIZATION": "default"}


def test_there_may_be_nothing_to_replace(aws_secret, stub, registrant):
    stub.polls = 0
    ours = provider(stub)
    answer = ours.associate(attrs.evolve(registrant, replaces=True), None)
    assert ours.associate(registrant, ours.associate(registrant, answer.ticket).ticket).event is Event.CONFIRM


@pytest.mark.parametrize(
    ("answer", "event"),
    [
        (AwsError("AccessDeniedException", "no", 400), Event.REFUSE),
        (AwsError("ThrottlingException", "slow", 400), Event.FAIL),
        ({}, Event.FAIL),
    ],
)
def test_what_an_error_means_for_a_replacement(registrant, answer, event):
    assert after(answer, registrant=attrs.evolve(registrant, replaces=True)).event is event


def test_a_deadline_is_an_answer_too(aws_secret, stub, registrant):
    stub.faults.append(DRIP)

    def call(*arguments, **more):
        return aws.call(*arguments, **more, timeout_s=1.0)

    answer = provider(stub, call=call).associate(registrant, None)
    assert (answer.event, "Timeout" in answer.detail) == (Event.FAIL, True)


# The model


@pytest.fixture
def stubber(aws_secret):
    with Stubber(client(session("us-east-1"), "opsworkscm", None, 20.0)) as stubber:
        yield stubber


def test_the_model_is_ours_and_has_what_we_call(stubber):
    meta = stubber.client.meta
    operations = {"AssociateNode", "DescribeNodeAssociationStatus", "DisassociateNode"}
    assert set(meta.service_model.operation_names) == operations
    assert meta.endpoint_url == "https://opsworks-cm.us-east-1.amazonaws.com"
    assert meta.service_model.signature_version == "v4"
    metadata = json.loads((MODELS / "opsworkscm/2016-11-01/service-2.json").read_text())["metadata"]
    assert metadata == dict(meta.service_model.metadata)


def test_the_shapes_of_what_goes_and_comes(stubber):
    attributes = [{"Name": "CHEF_ORGANIZATION", "Value": "default"}]
    asked = {"ServerName": "mainserver", "NodeName": "i-0abc", "EngineAttributes": attributes}
    stubber.add_response("associate_node", {"NodeAssociationStatusToken": "t"}, asked)
    assert stubber.client.associate_node(**asked)["NodeAssociationStatusToken"] == "t"
    status = {"NodeAssociationStatus": "SUCCESS", "EngineAttributes": attributes}
    asked = {"ServerName": "mainserver", "NodeAssociationStatusToken": "t"}
    stubber.add_response("describe_node_association_status", status, asked)
    assert stubber.client.describe_node_association_status(**asked)["NodeAssociationStatus"] == "SUCCESS"
    stubber.assert_no_pending_responses()
    with pytest.raises(exceptions.ParamValidationError):
        stubber.add_response("associate_node", {"Token": "t"})
    stubber.add_response("associate_node", {})
    with pytest.raises(exceptions.ParamValidationError):
        stubber.client.associate_node(ServerName="mainserver", NodeName="i-0abc")


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("associate_node", "InvalidStateException"),
        ("associate_node", "ResourceNotFoundException"),
        ("associate_node", "ValidationException"),
        ("describe_node_association_status", "ResourceNotFoundException"),
        ("describe_node_association_status", "ValidationException"),
    ],
)
def test_the_errors_are_modelled(stubber, operation, error):
    stubber.add_client_error(operation, error, "no")
    asked = {"ServerName": "m", "NodeName": "n", "EngineAttributes": [], "NodeAssociationStatusToken": "t"}
    shape = stubber.client.meta.service_model.operation_model(stubber.client.meta.method_to_api_mapping[operation])
    fitting = {name: value for name, value in asked.items() if name in shape.input_shape.members}
    with pytest.raises(getattr(stubber.client.exceptions, error)):
        getattr(stubber.client, operation)(**fitting)
    assert error in {one.name for one in shape.error_shapes}
