"""packaging/terraform and packaging/cloudformation make the same, and that is what it should be."""

import base64
import copy
import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.project.test_iam import as_list
from tests.project.test_iam import statements as policy
from tests.project.test_monitoring_examples import declarations, series
from tests.support import cloudformation, terraform

PACKAGING = Path(__file__).parents[2] / "packaging"
MODULE, TEMPLATE = PACKAGING / "terraform", PACKAGING / "cloudformation" / "chef-failover.yml"
USER_DATA = (PACKAGING / "examples" / "user-data-of-ami.yml").read_text()
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:chef/administrators-AbCdEf"
LAYER = "arn:aws:lambda:us-east-1:123456789012:layer:our-ca:1"
TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"
LEAST: dict[str, object] = {}
BUCKET = {"list_bucket": "fleet", "validator_secrets": ["chef/validator-a", "validators"]}
PARAMETERS = {"list_parameter": "/chef/servers", "validator_parameters": ["/chef/validator"], "session_manager": False}
GROUP = {"image": "ami-0123", "subnets": ["subnet-1", "subnet-2"], "security_groups": ["sg-1"], "user_data": USER_DATA}
RETIRES = {"retire_credentials": SECRET, "alarm_topic": TOPIC, "retention_days": 14}
EVERYTHING = BUCKET | PARAMETERS | GROUP | RETIRES | {
    "kms_key_arn": KEY, "servers": ["a", "b", "c"], "retire_subnets": ["subnet-3"], "retire_security_groups": ["sg-2"],
    "retire_layers": [LAYER],
}  # fmt: skip
WISHES = pytest.mark.parametrize(
    "wishes",
    [LEAST, BUCKET, PARAMETERS, GROUP, RETIRES, EVERYTHING],
    ids=["least", "bucket", "parameters", "group", "retires", "everything"],
)
EACH_MINUTES, EACH_HOUR = 300, 3600
ALARMS = {
    "no-usable-server": ("chef_failover_degraded", "Average", "GreaterThanThreshold", 0.05, EACH_MINUTES, 2),
    "silent": ("chef_failover_degraded", "SampleCount", "LessThanThreshold", 1, EACH_MINUTES, 6),
    "runs-fail": ("chef_failover_runs_total", "Sum", "GreaterThanThreshold", 20, EACH_HOUR, 1),
    "a-down": ("chef_failover_server_up", "Average", "LessThanThreshold", 0.5, EACH_MINUTES, 2),
    "a-cannot-take-over": ("chef_failover_server_eligible", "Average", "LessThanThreshold", 0.5, EACH_MINUTES, 15),
    "a-certificate": (
        "chef_failover_server_certificate_expiry_timestamp_seconds", "Minimum", "LessThanThreshold", 14, EACH_HOUR, 1,
    ),
    "retire-failed": ("ApproximateNumberOfMessagesVisible", "Maximum", "GreaterThanThreshold", 0, EACH_MINUTES, 1),
    "retire-late": ("ApproximateAgeOfOldestMessage", "Maximum", "GreaterThanThreshold", 1800, EACH_MINUTES, 1),
}  # fmt: skip
"""Metric, statistic, comparison, threshold, seconds of a period, periods."""


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def variables_of(wishes, folder):
    """What Terraform is given; the zip file is one that is there."""
    (folder / "retire.zip").write_bytes(b"PK")
    return wishes | {"retire_zip": str(folder / "retire.zip")}


def parameters_of(wishes):
    """The same for CloudFormation."""
    said = {camel(name): ",".join(value) if isinstance(value, list) else value for name, value in wishes.items()}
    if "UserData" in said:
        said["UserData"] = base64.b64encode(gzip.compress(said["UserData"].encode())).decode()
    if "SessionManager" in said:
        said["SessionManager"] = str(said["SessionManager"]).lower()
    return said | ({"RetireZipBucket": "code"} if "retire_credentials" in wishes else {})


@pytest.fixture(scope="module")
def by_terraform(tmp_path_factory):
    """The parser takes a second, so what was made once is kept."""
    kept = {}

    def made(wishes):
        if (key := json.dumps(wishes)) not in kept:
            folder = tmp_path_factory.mktemp("terraform")
            kept[key] = by_name(terraform.made(MODULE, variables_of(wishes, folder), folder))
        return copy.deepcopy(kept[key])

    return made


def by_cloudformation(wishes):
    return by_name(cloudformation.made(cloudformation.read(TEMPLATE), parameters_of(wishes)))


def by_name(resources):
    """Alarms by their names, since only CloudFormation has ids for them."""
    return {
        one["Properties"]["AlarmName"] if one["Type"] == "AWS::CloudWatch::Alarm" else name: one
        for name, one in resources.items()
    }


@pytest.fixture(params=["terraform", "cloudformation"])
def outcome(request, by_terraform):
    """What one of the two makes, in the words of CloudFormation."""
    return by_terraform if request.param == "terraform" else by_cloudformation


def statements(resources, role):
    """What ``role`` allows: for each action and resource the statement's name, effect and condition."""
    policies = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::IAM::Policy"]
    return told(one["PolicyDocument"] for one in policies if one["Roles"] == [role])


def told(documents):
    return {
        (action, arn, one["Sid"], one["Effect"], json.dumps(one.get("Condition"), sort_keys=True))
        for document in documents
        for one in document["Statement"]
        for action in as_list(one["Action"])
        for arn in as_list(one["Resource"])
    }


def filled(name, values):
    """The policy of packaging/iam with that name, with its placeholders filled in."""
    said = json.dumps({"Statement": policy(name)})
    for placeholder, value in values.items():
        said = said.replace(placeholder, value)
    return json.loads(said)


def unpacked(data):
    return gzip.decompress(base64.b64decode(data)).decode()


def comparable(resources):
    """Without policies, which are compared by what they allow, and what only one of the two can say."""
    left = {name: one for name, one in resources.items() if one["Type"] != "AWS::IAM::Policy"}
    for one in left.values():
        one["Properties"].pop("Code", None)
        for part in one["Properties"].get("Metrics", ()):
            part.pop("Id", None)
        for part in one["Properties"].get("Targets", ()):
            part.pop("Id", None)
        if data := one["Properties"].get("LaunchTemplateData", {}).get("UserData"):
            one["Properties"]["LaunchTemplateData"]["UserData"] = unpacked(data)
    return left


@WISHES
def test_both_make_the_same(by_terraform, wishes):
    one, other = by_terraform(wishes), by_cloudformation(wishes)
    for role in {"NodeRole", "RetireRole"} & set(one):
        assert statements(one, role) == statements(other, role)
    assert comparable(one) == comparable(other)


def test_the_examples_make_the_same(tmp_path):
    """That of CloudFormation is run with an AWS CLI that tells what it was asked."""
    (tmp_path / "aws").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/told\n')
    (tmp_path / "aws").chmod(0o755)
    example = TEMPLATE.parent / "example.sh"
    subprocess.run([example], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, timeout=60)
    told = (tmp_path / "told").read_text().splitlines()
    assert told[:2] == ["cloudformation", "deploy"]
    assert {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"} < set(told)
    parameters = dict(one.split("=", 1) for one in told[told.index("--parameter-overrides") + 1 :])
    other = by_name(cloudformation.made(cloudformation.read(TEMPLATE), parameters))
    one = by_name(terraform.made_by_example(PACKAGING, tmp_path))
    for role in ("NodeRole", "RetireRole"):
        assert statements(one, role) == statements(other, role)
    assert comparable(one) == comparable(other)
    assert "Group" in one


def test_the_least_is_a_role_monitoring_and_nothing_that_costs_much(outcome):
    assert {resource["Type"] for resource in outcome(LEAST).values()} == {
        "AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::InstanceProfile",
        "AWS::Logs::LogGroup", "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard",
    }  # fmt: skip
    metrics = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    assert sorted(action for action, *_ in statements(outcome(LEAST), "NodeRole")) == metrics


@pytest.mark.parametrize("key", ["", KEY])
def test_nodes_may_do_what_the_policies_say(outcome, key):
    place = {"PARTITION": "aws", "REGION": "us-east-1", "ACCOUNT": "123456789012", "KEY_ID": KEY.rpartition("/")[2]}
    wanted = [
        filled("s3", place | {"BUCKET": "fleet", "OBJECT_KEY": "chef-servers.yml"}),
        filled("ssm-list", place | {"PARAMETER_WITHOUT_LEADING_SLASH": "chef/servers"}),
        filled("ssm", place | {"PARAMETER_WITHOUT_LEADING_SLASH": "chef/validator"}),
        *(filled("secretsmanager", place | {"SECRET_NAME": name}) for name in ("chef/validator-a", "validators")),
    ]
    allowed = {one for one in told(wanted) if key or not one[2].startswith("OnlyIf")}
    found = statements(outcome(BUCKET | PARAMETERS | {"kms_key_arn": key}), "NodeRole")
    assert {one for one in found if not one[0].startswith("logs:")} == allowed


def test_what_aws_would_refuse_is_refused_before_anything_is_made():
    """Terraform's parser works out no conditions, so they are looked up in the texts."""
    with pytest.raises(AssertionError, match="not aws: at the beginning"):
        by_cloudformation(RETIRES | {"retire_tag": "aws:autoscaling:groupName=web"})
    with pytest.raises(AssertionError, match="RetireSubnets need RetireSecurityGroups"):
        by_cloudformation(RETIRES | {"retire_subnets": ["subnet-3"]})
    assert by_cloudformation(RETIRES | {"retire_tag": "awsome=aws:x"})
    assert '&& !startswith(lower(var.retire_tag), "aws:")\n' in (MODULE / "variables.tf").read_text()
    needs = "condition     = length(var.retire_subnets) == 0 || length(var.retire_security_groups) > 0\n"
    assert needs in (MODULE / "outputs.tf").read_text()


def test_the_agents_log_group_is_the_one_that_its_configuration_names(outcome):
    agent = json.loads((PACKAGING / "examples" / "cloudwatch" / "amazon-cloudwatch-agent.json").read_text())
    group = agent["logs"]["metrics_collected"]["prometheus"]["log_group_name"]
    made = outcome(LEAST)
    assert made["Metrics"]["Properties"] == {"LogGroupName": group, "RetentionInDays": 30}
    (arn,) = {arn for action, arn, *_ in statements(made, "NodeRole") if action.startswith("logs:")}
    assert arn == f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"


@pytest.mark.parametrize(("key", "algorithm"), [("", "AES256"), (KEY, "aws:kms")])
def test_the_bucket_is_versioned_encrypted_and_closed(outcome, key, algorithm):
    made = outcome(BUCKET | {"kms_key_arn": key})
    bucket = made["List"]["Properties"]
    assert bucket["BucketName"] == "fleet"
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": algorithm} | (
        {"KMSMasterKeyID": key} if key else {}
    )
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    (statement,) = made["ListPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Resource"] == ["arn:aws:s3:::fleet", "arn:aws:s3:::fleet/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def figures(alarm):
    """Metrics with their dimensions, statistics and periods in seconds, of an alarm of either kind."""
    if "MetricName" in alarm:
        return [(alarm["MetricName"], alarm["Dimensions"], alarm["Statistic"], alarm["Period"])]
    of = [one["MetricStat"] for one in alarm["Metrics"] if "MetricStat" in one]
    return [(one["Metric"]["MetricName"], one["Metric"]["Dimensions"], one["Stat"], one["Period"]) for one in of]


def alarms(resources):
    return [one["Properties"] for one in resources.values() if one["Type"] == "AWS::CloudWatch::Alarm"]


def test_alarms_are_those_of_the_table(outcome):
    found = {}
    for alarm in alarms(outcome(RETIRES | {"servers": ["a"]})):
        (figure,) = {(name, statistic, period) for name, _, statistic, period in figures(alarm)}
        name, statistic, period = figure
        limit = (alarm["ComparisonOperator"], alarm["Threshold"], period, alarm["EvaluationPeriods"])
        found[alarm["AlarmName"].removeprefix("chef-failover-")] = (name, statistic, *limit)
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
    assert found == ALARMS


def sent_to_cloudwatch():
    """Each metric that the agent sends, with one dimension that it has there."""
    return {
        (name.strip("^$"), dimension)
        for one in declarations()
        for name in one["metric_selectors"]
        for (dimension,) in one["dimensions"]
    }


def test_alarms_and_dashboard_use_what_the_agent_sends(outcome):
    made = outcome(LEAST)
    used = {
        (name, dimension["Name"])
        for alarm in alarms(made)
        for name, dimensions, *_ in figures(alarm)
        for dimension in dimensions
    }
    assert len(used) == 5
    widgets = json.loads(made["Dashboard"]["Properties"]["DashboardBody"])["widgets"]
    for widget in widgets:
        assert widget["properties"]["region"] == "us-east-1"
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], str):
                namespace, name, dimension, *_ = metric
                assert namespace == "ChefFailover"
            else:
                (expression,) = (one["expression"] for one in metric)
                dimension, name = re.findall(r"\{ChefFailover,(\w+)\} MetricName=\"(\w+)\"", expression)[0]
            used.add((name, dimension))
    assert used <= sent_to_cloudwatch()
    assert {name for name, _ in used} <= series()
    places = [
        (x, y)
        for widget in widgets
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) == 23


def test_expressions_of_alarms_name_their_metrics():
    """The parser of HCL loses the ids of metric queries, so they are looked up in the texts."""
    source = (MODULE / "monitoring.tf").read_text()
    template = cloudformation.read(TEMPLATE)
    made = cloudformation.made(template, {})
    for alarm in (one for one in alarms(made) if "Metrics" in one):
        (expression,) = (one["Expression"] for one in alarm["Metrics"] if "Expression" in one)
        ids = {one["Id"] for one in alarm["Metrics"] if "MetricStat" in one}
        assert set(re.findall(r"\b[a-z]\w*", expression)) == ids
        assert f'expression  = "{expression}"' in source
    assert re.search(r'for_each = \["failed", "succeeded"\]\s+content \{\s+id = metric_query.value', source)
    assert 'id = "expiry"' in source


def test_instances_take_imdsv2_alone(outcome):
    made = outcome(GROUP)
    data = made["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    options = {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert data["MetadataOptions"] == options
    assert data["IamInstanceProfile"] == {"Arn": "InstanceProfile"}
    assert unpacked(data["UserData"]) == USER_DATA
    assert made["Group"]["Properties"]["LaunchTemplate"]["LaunchTemplateId"] == "LaunchTemplate"


@pytest.mark.parametrize("name", ["user-data.yml", "user-data-of-ami.yml"])
def test_user_data_fits_into_a_parameter(name):
    packed = base64.b64encode(gzip.compress((PACKAGING / "examples" / name).read_bytes()))
    assert len(packed) <= 4096


def test_without_an_image_or_subnets_no_instance_is_started(outcome):
    assert "Group" not in outcome(GROUP | {"subnets": []})
    assert not {"Group", "LaunchTemplate"} & set(outcome(GROUP | {"image": ""}))


def test_terminated_instances_go_through_a_queue_to_the_function(outcome):
    made = {name: one["Properties"] for name, one in outcome(EVERYTHING).items()}
    assert made["Terminated"]["EventPattern"] == {
        "source": ["aws.ec2"],
        "detail-type": ["EC2 Instance State-change Notification"],
        "detail": {"state": ["terminated"]},
    }
    assert [target["Arn"] for target in made["Terminated"]["Targets"]] == ["RetireQueue"]
    (statement,) = made["RetireQueuePolicy"]["PolicyDocument"]["Statement"]
    assert statement == {
        "Sid": "OnlyTheRuleSends",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "RetireQueue",
        "Condition": {"ArnEquals": {"aws:SourceArn": "Terminated"}},
    }
    queue, dead, function, events = (made[f"Retire{name}"] for name in ("Queue", "DeadQueue", "Function", "Events"))
    assert queue["VisibilityTimeout"] == 720 >= 6 * function["Timeout"]
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": "RetireDeadQueue", "maxReceiveCount": 360}
    assert queue["VisibilityTimeout"] * 360 == 3 * 86400 < queue["MessageRetentionPeriod"] / 4
    assert queue["SqsManagedSseEnabled"] is dead["SqsManagedSseEnabled"] is True
    assert (events["EventSourceArn"], events["FunctionName"], events["BatchSize"]) == (
        "RetireQueue",
        "RetireFunction",
        10,
    )
    assert events["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert events["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert (function["Handler"], function["Runtime"], function["Architectures"], function["MemorySize"]) == (
        "handler.handle", "python3.13", ["arm64"], 256,
    )  # fmt: skip
    environment = {
        "CHEF_FAILOVER_CREDENTIALS": SECRET,
        "CHEF_FAILOVER_TAG": "chef-failover=node",
        "CHEF_FAILOVER_QUEUE": "RetireQueue",
    }
    assert function["Environment"] == {"Variables": environment}
    handler = (PACKAGING / "lambda" / "handler.py").read_text()
    assert set(re.findall(r'os.environ\["(\w+)"\]', handler)) == set(environment)
    assert "\ndef handle(" in handler
    tags = {one["Key"]: one["Value"] for one in made["Group"]["Tags"] if one["PropagateAtLaunch"]}
    assert tags["chef-failover"] == "node"


@pytest.mark.parametrize("wishes", [RETIRES, EVERYTHING], ids=["least", "everything"])
def test_the_function_may_do_what_it_does(outcome, wishes):
    found = {action: arn for action, arn, *_ in statements(outcome(wishes), "RetireRole")}
    queue = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"]
    wanted = dict.fromkeys(queue, "RetireQueue")
    wanted |= dict.fromkeys(["logs:CreateLogStream", "logs:PutLogEvents"], "RetireLog:*")
    wanted |= {"secretsmanager:GetSecretValue": SECRET, "ec2:DescribeInstances": "*"}
    if wishes is EVERYTHING:
        interface = "CreateNetworkInterface DescribeNetworkInterfaces DeleteNetworkInterface DescribeSubnets"
        addresses = "AssignPrivateIpAddresses UnassignPrivateIpAddresses"
        wanted |= {"kms:Decrypt": KEY} | {f"ec2:{name}": "*" for name in f"{interface} {addresses}".split()}
    assert found == wanted


def test_both_are_asked_for_the_same_in_the_same_words():
    template = cloudformation.read(TEMPLATE)["Parameters"]
    blocks = re.findall(
        r'^variable "(\w+)" \{\n(.*?)^\}', (MODULE / "variables.tf").read_text(), re.DOTALL | re.MULTILINE
    )
    variables = {camel(name): text for name, text in blocks}
    assert set(variables) - set(template) == {"Name", "RetireZip"}  # the stack has a name; the zip file is uploaded
    assert set(template) - set(variables) == {"RetireZipBucket", "RetireZipKey"}
    for name, text in variables.items():
        (said,) = re.findall(r'^  description = "(.*)"$', text, flags=re.MULTILINE)
        assert "validation {" in text or "type        = bool" in text
        if name in template and name != "UserData":
            assert template[name]["Description"] == said
    for parameter in template.values():
        assert parameter["Description"]
        assert {"AllowedPattern", "AllowedValues", "MinValue"} & set(parameter)
