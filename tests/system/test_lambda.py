"""The function of packaging/lambda, on moto's EC2, SQS and Secrets Manager, and on Chef servers."""

import datetime
import importlib.util
import json
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
    monkeypatch.setattr(handler, "Pace", lambda per_s: Pace(1e6, sleep=lambda _: None))
    monkeypatch.setattr(handler, "TRUST", TrustStore((tmp_path,)))
    with mock_aws():
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


def call(handler, bodies):
    """Deliver one batch, and return the bodies that come again."""
    records = [{"messageId": str(place), "body": body} for place, body in enumerate(bodies)]
    failed = handler.handle({"Records": records}, None)["batchItemFailures"]
    return [bodies[int(one["itemIdentifier"])] for one in failed]


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
    bodies = [event(one) for one in instances]
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
    gone, old = made_up(2)
    put(main, "web-1", gone, age_s=3600)
    put(standby, "web-1", OTHER, age_s=600)
    put(main, "web-2", gone, age_s=60)
    put(standby, "web-2", old, age_s=90000)
    assert call(handler, [event(gone), event(old)]) == []
    assert (left(main), left(standby)) == ({"web-1"}, {"web-1"})
    assert f"{gone}: web-1 is kept: it is {OTHER} now, seen 10 min ago on standby" in caplog.text
    assert f"{gone}: web-2 is removed from main and standby" in caplog.text
    assert f"{old}: web-2 is kept: it is {gone} now" in caplog.text


def test_what_a_server_refuses_comes_again_and_the_rest_is_done(handler, servers, caplog):
    main, _ = servers
    one, other = made_up(2)
    for name in (one, other):
        put(main, name, name)
    main.state.acls[one]["delete"] = Ace(frozenset(), frozenset())
    assert call(handler, [event(one), event(other)]) == [event(one)]
    assert f"{one}: {one} is not gone yet: main: HTTP 403: missing delete permission" in caplog.text
    assert left(main) == {one}


def test_only_terminated_instances_with_the_tag_count(handler, servers, caplog):
    main, _ = servers
    (bare,), (other,), (running,) = launch(1, ()), launch(1, [{**TAG, "Value": "no"}]), launch(1)
    terminate(bare, other)
    for name in (bare, other, running):
        put(main, name, name)
    assert call(handler, [event(one) for one in (bare, other, running)]) == []
    assert left(main) == {bare, other, running}
    assert caplog.text.count("has no tag chef-failover=node, so nothing is done") == 2
    assert f"{running}: is running, so nothing is done" in caplog.text


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
    queue = sqs.create_queue(QueueName="retire")["QueueUrl"]
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
        for body in (event(one), event(other)):
            sqs.send_message(QueueUrl=queue, MessageBody=body)
        until(lambda: "web-1" in str(main.search(f"ec2_instance_id:{one}")))  # goiardi indexes in the background
        taken = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=BATCH)["Messages"]
        standby.stop()
        records = [{"messageId": message["MessageId"], "body": message["Body"]} for message in taken]
        failed = handler.handle({"Records": records}, None)["batchItemFailures"]
        assert {one["itemIdentifier"] for one in failed} == {message["MessageId"] for message in taken}
        standby.start()
        assert handler.handle({"Records": records}, None) == {"batchItemFailures": []}
        for server in (main, standby):
            assert not {"web-1", other} & {*server.names("clients"), *server.names("nodes")}
