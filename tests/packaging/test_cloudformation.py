"""The CloudFormation template, as cfn-lint reads it and as moto makes a stack of it."""

import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from tests.project.test_aws_modules import EVERYTHING, KEY, TEMPLATE, parameters_of, statements, told
from tests.support import cloudformation

NOT_IN_MOTO = {"AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::CloudWatch::Alarm"}


def client(name):
    return boto3.client(name, region_name="us-east-1")


def test_cfn_lint_finds_nothing():
    ran = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), TEMPLATE], capture_output=True, text=True, check=False, timeout=110
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def stack():
    """Everything that moto knows, made of the template without its loops."""
    with mock_aws(config={"lambda": {"use_docker": False}}):
        client("s3").create_bucket(Bucket="code")
        client("s3").put_object(Bucket="code", Key="chef-failover-retire.zip", Body=b"PK")
        subnets = [one["SubnetId"] for one in client("ec2").describe_subnets()["Subnets"][:2]]
        image = client("ec2").describe_images()["Images"][0]["ImageId"]
        groups = [one["GroupId"] for one in client("ec2").describe_security_groups()["SecurityGroups"][:1]]
        said = parameters_of(EVERYTHING | {"subnets": subnets, "image": image, "security_groups": groups})
        template = cloudformation.unrolled(cloudformation.read(TEMPLATE), said)
        left = {name: one for name, one in template["Resources"].items() if one["Type"] not in NOT_IN_MOTO}
        formation = client("cloudformation")
        formation.create_stack(
            StackName="chef-failover",
            TemplateBody=json.dumps(template | {"Resources": left}),
            Parameters=[{"ParameterKey": name, "ParameterValue": str(value)} for name, value in said.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        (found,) = formation.describe_stacks(StackName="chef-failover")["Stacks"]
        resources = formation.list_stack_resources(StackName="chef-failover")["StackResourceSummaries"]
        yield found, {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}


def test_moto_makes_a_stack_of_the_template(stack):
    found, resources = stack
    assert found["StackStatus"] == "CREATE_COMPLETE"
    expected = cloudformation.made(cloudformation.read(TEMPLATE), parameters_of(EVERYTHING))
    assert set(resources) == {name for name, one in expected.items() if one["Type"] not in NOT_IN_MOTO}
    outputs = {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}
    assert outputs["DiscoverySource"] == "s3://fleet/chef-servers.yml"
    assert outputs["NodeRole"] == resources["NodeRole"]


def test_its_bucket_is_encrypted(stack):
    rules = client("s3").get_bucket_encryption(Bucket=stack[1]["List"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}


@pytest.mark.parametrize(("role", "own"), [("NodeRole", set()), ("RetireRole", {"RetireQueue", "RetireLog:*"})])
def test_its_roles_allow_what_the_template_says(stack, role, own):
    """``own``: resources of the stack, whose names moto makes."""
    name, iam = {"RoleName": stack[1][role]}, client("iam")
    policies = [iam.get_role_policy(**name, PolicyName=one) for one in iam.list_role_policies(**name)["PolicyNames"]]
    found = told(one["PolicyDocument"] for one in policies)
    expected = statements(cloudformation.made(cloudformation.read(TEMPLATE), parameters_of(EVERYTHING)), role)
    outside = {one for one in expected if one[1] not in own}
    assert outside <= found
    assert {one[0] for one in found - outside} == {one[0] for one in expected - outside}
    assert all(":chef-failover-retire" in one[1] or "/chef-failover-retire" in one[1] for one in found - outside)


def test_its_events_reach_the_function(stack):
    _, made = stack
    (target,) = client("events").list_targets_by_rule(Rule=made["Terminated"].rpartition("/")[2])["Targets"]
    queue = client("sqs").get_queue_attributes(QueueUrl=made["RetireQueue"], AttributeNames=["All"])["Attributes"]
    assert target["Arn"] == queue["QueueArn"]
    assert queue["VisibilityTimeout"] == "720"
    dead = client("sqs").get_queue_attributes(QueueUrl=made["RetireDeadQueue"], AttributeNames=["All"])["Attributes"]
    assert json.loads(queue["RedrivePolicy"]) == {"deadLetterTargetArn": dead["QueueArn"], "maxReceiveCount": 360}
    function = client("lambda").get_function_configuration(FunctionName="chef-failover-retire")
    assert function["Environment"]["Variables"]["CHEF_FAILOVER_TAG"] == "chef-failover=node"
    (events,) = client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert (events["EventSourceArn"], events["FunctionArn"]) == (queue["QueueArn"], function["FunctionArn"])
    assert (events["BatchSize"], events["FunctionResponseTypes"]) == (10, ["ReportBatchItemFailures"])


def test_its_group_starts_nodes_with_the_tag(stack):
    (group,) = client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert group["LaunchTemplate"]["LaunchTemplateId"] == stack[1]["LaunchTemplate"]
    (instance,) = client("ec2").describe_instances()["Reservations"][0]["Instances"]
    assert {"Key": "chef-failover", "Value": "node"} in instance["Tags"]
