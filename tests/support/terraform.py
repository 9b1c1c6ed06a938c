"""What the Terraform module makes with given variables, in the words of CloudFormation.

Neither Terraform nor a provider is needed: the parser works out variables, functions and loops, and ``account.tf``,
which asks AWS, is replaced.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tfparse

ACCOUNT = """
locals {
  partition  = "aws"
  dns_suffix = "amazonaws.com"
  region     = "us-east-1"
  account    = "123456789012"
}
"""
LEFT_OUT = {"__tfmeta", "id", "count", "for_each", "depends_on", "source_code_hash"}
"""What the parser adds or Terraform alone knows."""
NAMES = {
    "aws_s3_bucket.list[0]": "List",
    "aws_s3_bucket_versioning.list[0]": "List",
    "aws_s3_bucket_server_side_encryption_configuration.list[0]": "List",
    "aws_s3_bucket_public_access_block.list[0]": "List",
    "aws_s3_bucket_policy.list[0]": "ListPolicy",
    "aws_iam_role.node": "NodeRole",
    "aws_iam_role_policy_attachment.session_manager[0]": "NodeRole",
    "aws_iam_instance_profile.node": "InstanceProfile",
    "aws_launch_template.node[0]": "LaunchTemplate",
    "aws_autoscaling_group.nodes[0]": "Group",
    "aws_cloudwatch_log_group.metrics": "Metrics",
    "aws_cloudwatch_dashboard.fleet": "Dashboard",
    "aws_cloudwatch_event_rule.terminated[0]": "Terminated",
    "aws_cloudwatch_event_target.terminated[0]": "Terminated",
    "aws_sqs_queue.retire[0]": "RetireQueue",
    "aws_sqs_queue.dead[0]": "RetireDeadQueue",
    "aws_sqs_queue_policy.retire[0]": "RetireQueuePolicy",
    "aws_cloudwatch_log_group.retire[0]": "RetireLog",
    "aws_iam_role.retire[0]": "RetireRole",
    "aws_lambda_function.retire[0]": "RetireFunction",
    "aws_lambda_event_source_mapping.retire[0]": "RetireEvents",
}
"""Address, and CloudFormation's logical id. Other resources keep their address."""


def made(module: Path, variables: dict, folder: Path) -> dict[str, dict]:
    """The resources by their id: type and properties. Another resource, or its ARN, is its id."""
    copy = folder / module.name
    shutil.copytree(module, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("example", ".terraform*"))
    (copy / "test.tfvars.json").write_text(json.dumps(variables))
    return _worked_out(copy, copy)


def made_by_example(packaging: Path, folder: Path) -> dict[str, dict]:
    """The same for the module's example, which names files in ``packaging``."""
    for name in ("terraform", "examples"):
        shutil.copytree(packaging / name, folder / "packaging" / name, ignore=shutil.ignore_patterns(".terraform*"))
    module = folder / "packaging" / "terraform"
    (module / "example" / "test.tfvars.json").write_text("{}")
    return _worked_out(module / "example", module)


def _worked_out(root: Path, module: Path) -> dict[str, dict]:
    (module / "account.tf").write_text(ACCOUNT)
    parsed = tfparse.load_from_path(root, stop_on_hcl_error=True, vars_paths=["test.tfvars.json"])
    found = [one for many in parsed.values() for one in many if one["__tfmeta"].get("type") == "resource"]
    addresses = {one["id"]: one["__tfmeta"]["path"].removeprefix("module.chef_failover.") for one in found}
    resources: dict[str, dict] = {}
    for one in found:
        address = addresses[one["id"]]
        type_, properties = KINDS[address.partition(".")[0]]
        resource = resources.setdefault(NAMES.get(address, address), {"Type": type_, "Properties": {}})
        resource["Properties"] |= properties(_plain(one, addresses))
    return resources


def _plain(value: Any, addresses: dict[str, str]) -> Any:
    """Without nulls and what the parser adds, and with names where it has its own ids."""
    match value:
        case {"__attribute__": str(attribute)}:
            address = attribute.rpartition(".")[0].replace(".[", "[")
            return NAMES.get(address, address)
        case dict():
            return {
                key: _plain(one, addresses) for key, one in value.items() if key not in LEFT_OUT and one is not None
            }
        case list():
            return [_plain(one, addresses) for one in value]
        case str():
            for known, address in addresses.items():
                value = value.replace(known, NAMES.get(address, address))
    return value


def _camel(value: Any) -> Any:
    match value:
        case dict():
            return {
                re.sub("(?:^|_)([a-z])", lambda found: found[1].upper(), key): _camel(one) for key, one in value.items()
            }
        case list():
            return [_camel(one) for one in value]
    return value


def _dimensions(said: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in said.items()]


def _log_group(said: dict) -> dict:
    return {"LogGroupName": said["name"], "RetentionInDays": said["retention_in_days"]}


def _encryption(said: dict) -> dict:
    rule, keys = said["rule"], {"sse_algorithm": "SSEAlgorithm", "kms_master_key_id": "KMSMasterKeyID"}
    default = {keys[key]: value for key, value in rule["apply_server_side_encryption_by_default"].items()}
    made = {"BucketKeyEnabled": rule["bucket_key_enabled"], "ServerSideEncryptionByDefault": default}
    return {"BucketEncryption": {"ServerSideEncryptionConfiguration": [made]}}


def _alarm(said: dict) -> dict:
    metrics = []
    for query in said.pop("metric_query", []):
        one = {"ReturnData": False} | _camel({key: value for key, value in query.items() if key != "metric"})
        if metric := query.get("metric"):
            of = {"MetricName": metric["metric_name"], "Namespace": metric["namespace"]}
            of["Dimensions"] = _dimensions(metric["dimensions"])
            one["MetricStat"] = {"Metric": of, "Stat": metric["stat"], "Period": metric["period"]}
        metrics.append(one)
    actions = {"AlarmActions": said.pop("alarm_actions"), "OKActions": said.pop("ok_actions")}
    dimensions = {"Dimensions": _dimensions(said.pop("dimensions"))} if "dimensions" in said else {}
    wanted = {key: value for key, value in actions.items() if value} | dimensions
    return {**_camel(said), **wanted} | ({"Metrics": metrics} if metrics else {})


def _queue(said: dict) -> dict:
    redrive = {"RedrivePolicy": json.loads(said["redrive_policy"])} if "redrive_policy" in said else {}
    times = {"VisibilityTimeout": said.get("visibility_timeout_seconds")}
    return {
        "QueueName": said["name"],
        "SqsManagedSseEnabled": said["sqs_managed_sse_enabled"],
        "MessageRetentionPeriod": said["message_retention_seconds"],
    } | {key: value for key, value in (times | redrive).items() if value}


def _function(said: dict) -> dict:
    del said["filename"]
    variables = said.pop("environment")["variables"]
    wanted = {key: value for key, value in said.items() if value != []}
    return {"Environment": {"Variables": variables}, **_camel(wanted)}


def _template(said: dict) -> dict:
    del said["name_prefix"], said["update_default_version"]
    groups = said.pop("vpc_security_group_ids")
    return {"LaunchTemplateData": _camel(said) | ({"SecurityGroupIds": groups} if groups else {})}


def _group(said: dict) -> dict:
    template = {"LaunchTemplateId": "LaunchTemplate", "Version": said["launch_template"]["version"]}
    sizes = {"MinSize": said["min_size"], "MaxSize": said["max_size"], "VPCZoneIdentifier": said["vpc_zone_identifier"]}
    return sizes | {"LaunchTemplate": template, "Tags": _camel(said["tag"])}


KINDS: dict[str, tuple[str, Callable[[dict], dict]]] = {
    "aws_s3_bucket": ("AWS::S3::Bucket", lambda said: {"BucketName": said["bucket"]}),
    "aws_s3_bucket_versioning": (
        "AWS::S3::Bucket",
        lambda said: {"VersioningConfiguration": _camel(said["versioning_configuration"])},
    ),
    "aws_s3_bucket_server_side_encryption_configuration": ("AWS::S3::Bucket", _encryption),
    "aws_s3_bucket_public_access_block": (
        "AWS::S3::Bucket",
        lambda said: {"PublicAccessBlockConfiguration": _camel({k: v for k, v in said.items() if k != "bucket"})},
    ),
    "aws_s3_bucket_policy": (
        "AWS::S3::BucketPolicy",
        lambda said: {"Bucket": "List", "PolicyDocument": json.loads(said["policy"])},
    ),
    "aws_iam_role": (
        "AWS::IAM::Role",
        lambda said: {"AssumeRolePolicyDocument": json.loads(said["assume_role_policy"])},
    ),
    "aws_iam_role_policy_attachment": ("AWS::IAM::Role", lambda said: {"ManagedPolicyArns": [said["policy_arn"]]}),
    "aws_iam_role_policy": (
        "AWS::IAM::Policy",
        lambda said: {"Roles": [said["role"]], "PolicyDocument": json.loads(said["policy"])},
    ),
    "aws_iam_instance_profile": ("AWS::IAM::InstanceProfile", lambda said: {"Roles": [said["role"]]}),
    "aws_launch_template": ("AWS::EC2::LaunchTemplate", _template),
    "aws_autoscaling_group": ("AWS::AutoScaling::AutoScalingGroup", _group),
    "aws_cloudwatch_log_group": ("AWS::Logs::LogGroup", _log_group),
    "aws_cloudwatch_metric_alarm": ("AWS::CloudWatch::Alarm", _alarm),
    "aws_cloudwatch_dashboard": ("AWS::CloudWatch::Dashboard", _camel),
    "aws_cloudwatch_event_rule": (
        "AWS::Events::Rule",
        lambda said: {"Description": said["description"], "EventPattern": json.loads(said["event_pattern"])},
    ),
    "aws_cloudwatch_event_target": ("AWS::Events::Rule", lambda said: {"Targets": [{"Arn": said["arn"]}]}),
    "aws_sqs_queue": ("AWS::SQS::Queue", _queue),
    "aws_sqs_queue_policy": (
        "AWS::SQS::QueuePolicy",
        lambda said: {"Queues": [said["queue_url"]], "PolicyDocument": json.loads(said["policy"])},
    ),
    "aws_lambda_function": ("AWS::Lambda::Function", _function),
    "aws_lambda_event_source_mapping": ("AWS::Lambda::EventSourceMapping", _camel),
}
"""The type in CloudFormation, and its properties made of the attributes."""
