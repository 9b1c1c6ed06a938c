"""The function for AWS Lambda that removes the nodes of terminated EC2 instances from all Chef servers.

Its events are batches of SQS messages, each with EventBridge's "EC2 Instance State-change Notification" in its body. It
returns which of them are to come again: those for which a server was down or refused, and all of them where EC2, the
secret or the credentials in it cannot be used. What can never succeed is said in the log, and is done.

``$CHEF_FAILOVER_CREDENTIALS`` is the ARN of a Secrets Manager secret with a Chef credentials file, which has a profile
for each Chef server. ``$CHEF_FAILOVER_TAG``, ``key=value``, is what an instance must have.
"""

from __future__ import annotations

import datetime
import functools
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chef_failover.chef.trust import TrustStore
from chef_failover.errors import ChefFailoverError
from chef_failover.fleet import credentials, session, terminated
from chef_failover.fleet.asking import Pace
from chef_failover.fleet.credentials import Account
from chef_failover.fleet.retire import Servers
from chef_failover.model.instance import is_instance_id
from chef_failover.printable import VALUE_LIMIT, printable

PER_S = 4.0
"""Requests a second to each server."""
TIMEOUT_S = 10.0
"""Of each. One that fails is tried three times, so a server that is silent costs 36 s, once."""
AWS = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
TRUST = TrustStore((Path("/opt/trusted_certs"),))
"""The system's certificates, and those that a Lambda layer brings."""
GONE = ("shutting-down", "terminated")

log = logging.getLogger("chef_failover.lambda")
log.setLevel(logging.INFO)


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda gives it
    """Called by Lambda: the messages that are to come again."""
    instances = {record["messageId"]: one for record in event["Records"] if (one := _instance(record))}
    try:
        again = _retire({*instances.values()})
    except (BotoCoreError, ClientError, ChefFailoverError) as error:
        _say("nothing is done now", str(error))
        again = {*instances.values()}
    return {"batchItemFailures": [{"itemIdentifier": message} for message, one in instances.items() if one in again]}


def _instance(record: Mapping[str, Any]) -> str | None:
    """The instance that was terminated, as the message says; None where it says something else."""
    try:
        detail = json.loads(record["body"])["detail"]
        one, state = detail["instance-id"], detail["state"]
    except (LookupError, TypeError, ValueError, RecursionError):
        one = state = None
    if state == "terminated" and is_instance_id(one):
        return str(one)
    _say(f"message {record['messageId']}", "not the event of a terminated instance, so nothing is done")
    return None


def _retire(instances: set[str]) -> set[str]:
    """Remove the nodes of those that have the tag, and return those that are to come again."""
    ours = {*_tagged(instances)}
    if not ours:
        return set()
    sessions = [session.begin(one, TRUST, None, Pace(PER_S), TIMEOUT_S) for one in _accounts()]
    outcomes = terminated.retire(Servers(sessions), sorted(ours), datetime.datetime.now(datetime.UTC))
    for one, outcome in outcomes.items():
        for sentence in outcome.said:
            _say(one, sentence)
    return {one for one, outcome in outcomes.items() if not outcome.is_done}


def _tagged(instances: Collection[str]) -> Iterator[str]:
    """Those that have the tag. EC2 forgets an instance after about an hour: then its node alone can tell."""
    if not instances:
        return
    key, _, value = os.environ["CHEF_FAILOVER_TAG"].partition("=")
    answer = _client("ec2").describe_instances(Filters=[{"Name": "instance-id", "Values": sorted(instances)}])
    known = {one["InstanceId"]: one for reservation in answer["Reservations"] for one in reservation["Instances"]}
    for one in sorted(instances):
        told = known.get(one)
        if told is not None and {"Key": key, "Value": value} not in told.get("Tags", []):
            _say(one, f"has no tag {key}={value}, so nothing is done")
        elif told is not None and told["State"]["Name"] not in GONE:
            _say(one, f"is {told['State']['Name']}, so nothing is done")
        else:
            yield one


def _accounts() -> list[Account]:
    """One for each Chef server, read each time: a key that was changed in the secret counts at once."""
    arn = os.environ["CHEF_FAILOVER_CREDENTIALS"]
    secret = _client("secretsmanager", arn.split(":")[3]).get_secret_value(SecretId=arn)
    return credentials.from_text(secret.get("SecretString", ""), "the secret")


@functools.cache
def _client(service: str, region: str | None = None) -> Any:  # noqa: ANN401 - boto3 makes it at run time
    return boto3.client(service, region_name=region, config=AWS)


def _say(what: str, sentence: str) -> None:
    log.info("%s: %s", printable(what), printable(sentence, VALUE_LIMIT))
