"""The function of packaging/lambda, on moto's EC2, SQS and Secrets Manager, and on Chef servers."""

import datetime
import importlib.util
import json
import os
import re
import time

import boto3
import pytest
import responses
from moto import mock_aws

from chef_devserver import chef
from chef_devserver.messages import Request
from chef_devserver.state import Ace
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.trust import TrustStore
from chef_failover.fleet.asking import Pace
from chef_failover.model.model import Outcome
from tests.support.daemon_process import ROOT, dev_servers, until
from tests.support.goiardi import Goiardi, public_pem

REGION = "eu-west-1"
TAG = {"Key": "chef-failover", "Value": "node"}
BATCH = 10
OTHER = "i-0fedcba9876543210"


def event(instance_id, state="terminated"):
    """As EventBridge writes it."""
    return json.dumps(
        {
            "version": "0",
            "id": "7bf73129-1428-4cd3-a780-95db273d1602",
            "detail-type": "EC2 Instance State-change Notification",
            "source": "aws.ec2",
            "account": "123456789012",
            "time": "2026-11-30T12:00:00Z",
            "region": REGION,
            "resources": [f"arn:aws:ec2:{REGION}:123456789012:instance/{instance_id}"],
            "detail": {"instance-id": instance_id, "state": state},
        }
    )


def seen(instance_id):
    """The event of an instance that the function has seen with the tag before."""
    return json.dumps({"tag": f"{TAG['Key']}={TAG['Value']}", **json.loads(event(instance_id))})


def made_up(count):
    """Instances that EC2 has forgotten."""
    return [f"i-{number:017x}" for number in range(count)]


@pytest.fixture
def handler(aws_secret, monkeypatch, tmp_path):
    """The function as a new container of Lambda has it, in an account of moto's. It waits for nothing."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("CHEF_FAILOVER_TAG", f"{TAG['Key']}={TAG['Value']}")
    spec = importlib.util.spec_from_file_location("handler", ROOT / "packaging" / "lambda" / "handler.py")
    handler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(handler)
    monkeypatch.setattr(handler, "Pace", lambda per_s, sleep: Pace(1e6, sleep=lambda _: None))
    monkeypatch.setattr(handler, "TRUST", TrustStore((tmp_path,)))
    with mock_aws():
        url = boto3.client("sqs").create_queue(QueueName="retire")["QueueUrl"]
        monkeypatch.setenv("CHEF_FAILOVER_QUEUE", url)
        yield handler


def keep_credentials(monkeypatch, *accounts):
    """The secret with a profile for each: name, URL, user and key."""
    profile = '[{}]\nchef_server_url = "{}"\nclient_name = "{}"\nclient_key = """\n{}"""\n'
    text = "".join(profile.format(*one) for one in accounts)
    secret = boto3.client("secretsmanager").create_secret(Name="chef/administrators", SecretString=text)
    monkeypatch.setenv("CHEF_FAILOVER_CREDENTIALS", secret["ARN"])


@pytest.fixture
def servers(handler, monkeypatch, tmp_path):
    """Two embedded servers, whose administrator's keys are in the secret."""
    with dev_servers("main", "standby") as servers:
        (tmp_path / "ca.crt").write_bytes(servers[0].ca_pem)
        keys = {one.name: one.administrator_key.private_pem().decode() for one in servers}
        keep_credentials(monkeypatch, *((one.name, one.chef_server_url, "admin", keys[one.name]) for one in servers))
        yield servers


class Context:
    """As Lambda gives it: with so many seconds left, which each question takes one of."""

    def __init__(self, left_s=120):
        self._left_s = left_s

    def get_remaining_time_in_millis(self):
        self._left_s -= 1
        return self._left_s * 1000


def call(handler, bodies, left_s=120):
    """Deliver one batch, and return the bodies that come again."""
    records = [{"messageId": str(place), "body": body} for place, body in enumerate(bodies)]
    failed = handler.handle({"Records": records}, Context(left_s))["batchItemFailures"]
    return [bodies[int(one["itemIdentifier"])] for one in failed]


def put_back():
    """What the function has sent to its queue, each body."""
    queue = os.environ["CHEF_FAILOVER_QUEUE"]
    taken = boto3.client("sqs").get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )
    return int(taken["Attributes"]["ApproximateNumberOfMessagesDelayed"])


def launch(count, tags=(TAG,)):
    """Instances with these tags."""
    tagged = [{"ResourceType": "instance", "Tags": [*tags]}] if tags else []
    started = boto3.client("ec2").run_instances(
        ImageId="ami-12c6146b", MinCount=count, MaxCount=count, TagSpecifications=tagged
    )
    return [one["InstanceId"] for one in started["Instances"]]


def terminate(*instances):
    boto3.client("ec2").terminate_instances(InstanceIds=instances)


def put(server, name, instance_id, *, age_s=60.0):
    """The node as the instance has saved it that long ago."""
    server.register(name, "a key")
    server.put_node(name, automatic=saved_by(instance_id, age_s))


def saved_by(instance_id, age_s=60.0):
    return {"ohai_time": time.time() - age_s, "ec2": {"instance_id": instance_id}}


def left(server):
    return {*server.state.nodes, *server.state.clients}


# Many nodes: the embedded servers answer without a network, since TLS would take most of the time.


class InMemory:
    """Takes requests to the embedded servers to their answers; ``down`` names the servers that are dead."""

    def __init__(self, servers, answers):
        self.down = set()
        for server in servers:
            for method in ("GET", "POST", "DELETE"):
                url = re.compile(re.escape(server.url) + "/")
                answers.add_callback(method, url, lambda request, server=server: self._answer(server, request))

    def _answer(self, server, request):
        if server.name in self.down:
            return 0, {}, ProbeError(Outcome.REFUSED, "connection refused")
        headers = {name.lower(): value for name, value in request.headers.items()}
        arrived = Request(request.method, request.path_url, headers, request.body or b"")
        now = datetime.datetime.now(datetime.UTC)
        response = chef.answer(server.state, arrived, now, PrivateKey.generate)
        return response.status, dict(response.headers), response.body


def test_500_nodes_are_removed_though_a_server_is_down_meanwhile(handler, servers, caplog):
    main, standby = servers
    instances = [*launch(10), *made_up(490)]
    terminate(*instances[:10])
    for place, one in enumerate(instances):
        name = f"web-{place}" if place % 10 == 0 else one
        put(main, name, one)
        standby.register(name, "a key")
    put(main, "stays", OTHER)
    bodies = [event(one) if place < 10 else seen(one) for place, one in enumerate(instances)]
    with responses.RequestsMock(assert_all_requests_are_fired=False) as answers:
        network = InMemory(servers, answers)
        again = []
        for start in range(0, 500, BATCH):
            network.down = {"standby"} if 200 <= start < 400 else set()
            again += call(handler, bodies[start : start + BATCH])
        assert again == bodies[200:400]
        assert (len(left(main)), len(left(standby))) == (201, 200)
        assert [call(handler, again[start : start + BATCH]) for start in range(0, 200, BATCH)] == [[]] * 20
    assert (left(main), left(standby)) == ({"stays"}, set())
    assert f"{instances[0]}: web-0 is removed from main and standby" in caplog.text
    assert f"{instances[200]}: not now: standby: connection refused" in caplog.text
    assert "PRIVATE KEY" not in caplog.text


# A few nodes, over the network.


def test_a_node_that_has_passed_to_another_instance_stays(handler, servers, caplog):
    main, standby = servers
    gone, old, new = made_up(3)
    put(main, "web-1", gone, age_s=3600)
    put(standby, "web-1", OTHER, age_s=90000)
    put(main, "web-2", gone, age_s=60)
    standby.register("web-2", "a key")
    standby.put_node("web-2")
    main.put_node("web-3", automatic={"ec2": {"instance_id": new}})  # an allow list without ohai_time
    put(standby, "web-3", old, age_s=90000)
    main.put_node("web-4", automatic={"fqdn": "web-4"})
    put(standby, "web-4", old, age_s=-9e6)
    assert call(handler, [seen(gone), seen(old)]) == []
    kept = {"web-1", "web-3", "web-4"}
    assert (left(main), left(standby)) == (kept, kept)
    assert f"{gone}: web-1 is kept: {OTHER} has saved it on standby" in caplog.text
    assert f"{gone}: web-2 is removed from main and standby" in caplog.text
    assert f"{old}: web-3 is kept: {new} has saved it on main" in caplog.text
    assert f"{old}: web-4 is kept: a machine without an EC2 instance id has saved it on main" in caplog.text


def test_what_a_standby_says_removes_nothing_from_main(handler, servers, caplog):
    main, standby = servers
    (one,) = made_up(1)
    for server in servers:
        server.register("ci-deployer", "a key")
    standby.put_node("ci-deployer", automatic=saved_by(one))  # any node may create it
    main.register("web-1", "a key")
    main.put_node("web-1")
    put(standby, "web-1", one)
    assert call(handler, [seen(one)]) == []
    assert (left(main), left(standby)) == ({"ci-deployer", "web-1"}, set())
    stays = "stays on main, where nothing tells whose it is: if it is gone, remove it with chef-failover retire"
    assert f"{one}: ci-deployer is removed from standby; ci-deployer {stays}" in caplog.text


def test_an_object_that_another_node_made_removes_nothing(handler, servers, caplog):
    main, standby = servers
    (one,) = made_up(1)
    main.register("web-1", "a key")
    for server in servers:
        server.register("ci-deployer", "a key")
    main.put_node("ci-deployer", automatic=saved_by(one), created_by="web-1")
    put(main, "web-2", one)
    main.state.add_client("web-2", "the key of another client of that name")
    assert call(handler, [seen(one)]) == []
    assert (left(main), left(standby)) == ({"ci-deployer", "web-1", "web-2"}, {"ci-deployer"})
    for name in ("ci-deployer", "web-2"):
        assert f"{one}: {name} is kept: its client may not write its object on main" in caplog.text
    main.put_node("web-2", automatic=saved_by(one))
    main.state.acls["web-2"]["grant"] = Ace(frozenset(), frozenset())
    assert call(handler, [seen(one)]) == [seen(one)]
    assert f"{one}: web-2 is kept: main: HTTP 403: missing read permission" in caplog.text


def test_an_administrator_stays_though_a_node_has_its_name(handler, servers, caplog):
    main, _ = servers
    (one,) = made_up(1)
    put(main, "automation", one)
    main.state.administrators.add("automation")
    assert call(handler, [seen(one)]) == []
    assert left(main) == {"automation"}
    assert f"{one}: automation is kept: a validator or administrator" in caplog.text


def test_a_name_that_is_used_again_between_two_deliveries_stays(handler, servers, monkeypatch):
    main, standby = servers
    (old,) = made_up(1)
    for server in servers:
        put(server, "web-1", old)
    remove = handler.Servers.remove

    def stop_and_remove(*arguments):
        standby.stop()
        return remove(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(handler.Servers, "remove", stop_and_remove)
        assert call(handler, [seen(old)]) == [seen(old)]
    assert left(main) == set()
    standby.start()
    main.register("web-1", "the key of the next instance")
    assert call(handler, [seen(old)]) == []
    assert (left(main), left(standby)) == ({"web-1"}, set())


def test_what_claims_to_have_many_nodes_is_left_to_a_person(handler, servers, caplog):
    main, _ = servers
    one, other = made_up(2)
    for number in range(20):
        main.put_node(f"web-{number}", automatic=saved_by(one))
    put(main, other, other)
    assert call(handler, [seen(one), seen(other)]) == [seen(one)]
    assert len(left(main)) == 20
    assert f"{one}: more than 20 nodes say that they are of this instance: if it is gone, remove" in caplog.text


def test_what_there_is_no_time_for_comes_again(handler, servers, caplog):
    main, _ = servers
    one, other = made_up(2)
    for name in (one, other):
        put(main, name, name)
    assert call(handler, [seen(one), seen(other)], left_s=46) == [seen(other)]
    assert left(main) == {other}
    assert f"{other}: no time is left for it, so it comes again" in caplog.text


def test_a_server_that_wants_more_than_ten_seconds_is_left(handler, monkeypatch):
    slept = []
    monkeypatch.setattr(handler.time, "sleep", slept.append)
    handler._sleep(60.0)
    handler._sleep(2.0)
    assert slept == [10.0, 2.0]


def test_what_a_server_refuses_comes_again_and_the_rest_is_done(handler, servers, caplog):
    main, _ = servers
    one, other = made_up(2)
    for name in (one, other):
        put(main, name, name)
    main.state.acls[one]["delete"] = Ace(frozenset(), frozenset())
    assert call(handler, [seen(one), seen(other)]) == [seen(one)]
    assert f"{one}: {one} is not gone yet: main: HTTP 403: missing delete permission" in caplog.text
    assert left(main) == {one}


def test_only_terminated_instances_with_the_tag_count(handler, servers, caplog):
    main, _ = servers
    (other,), (named,), (running,) = launch(1, [{**TAG, "Value": "no"}]), launch(1, [{**TAG, "Key": "Name"}]), launch(1)
    terminate(other, named)
    for name in (other, named, running):
        put(main, name, name)
    assert call(handler, [event(one) for one in (other, named, running)]) == [event(running)]
    assert left(main) == {other, named, running}
    assert caplog.text.count("has no tag chef-failover=node, so nothing is done") == 2
    assert f"{running}: is running as EC2 says, so it is asked again later" in caplog.text
    assert put_back() == 0


def test_without_a_tag_nothing_is_removed_and_a_person_hears_of_what_is_there(handler, servers, caplog):
    main, _ = servers
    (bare, unknown), (forgotten,) = launch(2, ()), made_up(1)
    terminate(bare, unknown)
    put(main, bare, bare)
    put(main, "db-prod", forgotten)
    bodies = [event(one) for one in (bare, unknown, forgotten)]
    bodies.append(json.dumps({**json.loads(bodies[2]), "tag": "another=tag"}))
    assert call(handler, bodies) == [bodies[0], *bodies[2:]]
    assert left(main) == {bare, "db-prod"}
    assert f"{forgotten}: db-prod is kept: EC2 does not tell any more whether the instance had the tag" in caplog.text
    assert f"{unknown}: no Chef server has a node of it" in caplog.text
    assert put_back() == 0


def test_a_tag_that_was_seen_is_remembered_in_the_message(handler, servers, monkeypatch, caplog):
    main, standby = servers
    (one,) = launch(1)
    terminate(one)
    put(main, "web-1", one)
    standby.stop()
    with monkeypatch.context() as patch:
        patch.setenv("CHEF_FAILOVER_QUEUE", os.environ["CHEF_FAILOVER_QUEUE"] + "-absent")
        assert call(handler, [event(one)]) == [event(one)], "it cannot be put back"
        assert "the tag is not remembered: " in caplog.text
    monkeypatch.setattr(handler, "AGAIN_AFTER_S", 0)
    assert call(handler, [event(one)]) == []
    (message,) = boto3.client("sqs").receive_message(QueueUrl=os.environ["CHEF_FAILOVER_QUEUE"])["Messages"]
    boto3.client("ec2").delete_tags(Resources=[one], Tags=[TAG])
    assert call(handler, [message["Body"]]) == [message["Body"]], "it is in the queue with its tag already"
    standby.start()
    assert call(handler, [message["Body"]]) == []
    assert left(main) == set()


def test_a_message_that_can_never_succeed_is_told_and_done(handler, caplog):
    detail = {"instance-id": OTHER, "state": "terminated"}
    bodies = ["", "[]", "[" * 100_000, json.dumps({"detail": 7}), json.dumps({"detail": detail | {"state": "running"}})]
    bodies += [json.dumps({"detail": detail | {"instance-id": one}}) for one in ("i-1", ["i"], None, "i-1 OR *:*")]
    assert call(handler, bodies) == []
    assert caplog.text.count("not the event of a terminated instance, so nothing is done") == len(bodies)


def test_without_the_secret_or_with_a_wrong_one_all_come_again(handler, servers, monkeypatch, caplog):
    wrong = boto3.client("secretsmanager").create_secret(
        Name="wrong", SecretString="[main]\nclient_key = 'swordfish'\n"
    )
    for arn, said in ((wrong["ARN"], "client_name is missing"), (wrong["ARN"][:-6] + "absent", "ResourceNotFound")):
        monkeypatch.setenv("CHEF_FAILOVER_CREDENTIALS", arn)
        assert call(handler, [event(OTHER), "", event(OTHER)]) == [event(OTHER)] * 2
        assert said in caplog.text
    assert "swordfish" not in caplog.text


def test_on_goiardi_the_messages_of_a_queue_are_worked_off(handler, monkeypatch, tmp_path):
    sqs = boto3.client("sqs")
    one, other = made_up(2)
    queue = os.environ["CHEF_FAILOVER_QUEUE"]
    with Goiardi(tmp_path / "main") as main, Goiardi(tmp_path / "standby") as standby:
        for server in (main, standby):
            (tmp_path / f"{server.port}.crt").write_bytes(server.ca_file.read_bytes())
            for name in ("web-1", other):
                server.register(name, public_pem(PrivateKey.generate()))
        main.put_node({"name": "web-1", "run_list": [], "automatic": saved_by(one)})
        accounts = [
            (name, server.url, "admin", (server.ca_file.parent / "admin.pem").read_text())
            for name, server in (("main", main), ("standby", standby))
        ]
        keep_credentials(monkeypatch, *accounts)
        for body in (seen(one), seen(other)):
            sqs.send_message(QueueUrl=queue, MessageBody=body)
        until(lambda: "web-1" in str(main.search(f"ec2_instance_id:{one}")))  # goiardi indexes in the background
        taken = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=BATCH)["Messages"]
        standby.stop()
        records = [{"messageId": message["MessageId"], "body": message["Body"]} for message in taken]
        failed = handler.handle({"Records": records}, Context())["batchItemFailures"]
        assert {one["itemIdentifier"] for one in failed} == {message["MessageId"] for message in taken}
        standby.start()
        assert handler.handle({"Records": records}, Context()) == {"batchItemFailures": []}
        for server in (main, standby):
            assert not {"web-1", other} & {*server.names("clients"), *server.names("nodes")}
