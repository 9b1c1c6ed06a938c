"""The function for AWS Lambda that removes the nodes of terminated EC2 instances from all Chef servers.

Its events are batches of SQS messages, each with EventBridge's "EC2 Instance State-change Notification" in its body. It
returns which of them are to come again: those for which a server was down or refused, or that a person has to decide,
those that it had no time for, and all of them where EC2, the secret or the credentials in it cannot be used. The queue
gives up on them some day, which sets off an alarm. What can never succeed is said in the log, and is done.

EC2 drops the tags of a terminated instance, and forgets it after about an hour. So a message whose instance was seen
with the tag goes back into the queue with the tag in it, in place of the one that comes again.

``$CHEF_FAILOVER_CREDENTIALS`` is the ARN of a Secrets Manager secret with a Chef credentials file, which has a profile
for each Chef server, the preferred one first. ``$CHEF_FAILOVER_TAG``, ``key=value``, is what an instance must have, and
``$CHEF_FAILOVER_QUEUE`` the URL of the queue.
"""

from __future__ import annotations

import datetime
import enum
import functools
import json
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs
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
PATIENCE_S = 10.0
"""Of one pause that a server asks for."""
NEEDED_S = 45.0
"""With less time left no instance is begun."""
AGAIN_AFTER_S = 720
"""As the queue's visibility timeout."""
AWS = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
TRUST = TrustStore((Path("/opt/trusted_certs"),))
"""The system's certificates, and those that a Lambda layer brings."""
GONE = ("shutting-down", "terminated")

log = logging.getLogger("chef_failover.lambda")
log.setLevel(logging.INFO)


class _Context(Protocol):
    def get_remaining_time_in_millis(self) -> int: ...


class _Case(enum.Enum):
    OURS = enum.auto()
    FOREIGN = enum.auto()
    UNKNOWN = enum.auto()
    """EC2 has forgotten it, or at least its tags."""
    RUNNING = enum.auto()


@attrs.frozen
class _Event:
    instance_id: str
    tag: str | None
    """What the instance had, as this function has seen it."""


def handle(event: Mapping[str, Any], context: _Context) -> dict[str, Any]:
    """Called by Lambda: the messages that are to come again."""
    events = {record["messageId"]: one for record in event["Records"] if (one := _event(record))}
    cases: dict[str, _Case] = {}
    done: set[str] = set()
    try:
        cases.update(_cases([*events.values()]))
        done |= {one for one, case in cases.items() if case is _Case.FOREIGN}
        done.update(
            _retired({one: case for one, case in cases.items() if case in (_Case.OURS, _Case.UNKNOWN)}, context)
        )
    except (BotoCoreError, ClientError, ChefFailoverError) as error:
        _say("no more is done now", str(error))
    left = {message: one for message, one in events.items() if one.instance_id not in done}
    unmarked = {
        message: one
        for message, one in left.items()
        if cases.get(one.instance_id) is _Case.OURS and one.tag != os.environ["CHEF_FAILOVER_TAG"]
    }
    try:
        for message in _put_back(unmarked):
            del left[message]
    except (BotoCoreError, ClientError) as error:
        _say("the tag is not remembered", str(error))
    return {"batchItemFailures": [{"itemIdentifier": message} for message in left]}


def _event(record: Mapping[str, Any]) -> _Event | None:
    """The instance that was terminated, as the message says; None where it says something else."""
    try:
        body = json.loads(record["body"])
        detail = body["detail"]
        one, state = detail["instance-id"], detail["state"]
    except (LookupError, TypeError, ValueError, RecursionError):
        one = state = None
    if state == "terminated" and is_instance_id(one):
        return _Event(str(one), body.get("tag"))
    _say(f"message {record['messageId']}", "not the event of a terminated instance, so nothing is done")
    return None


def _cases(events: Collection[_Event]) -> Iterator[tuple[str, _Case]]:
    """What each instance is. EC2 is asked for those that this function has not seen with the tag."""
    tag = os.environ["CHEF_FAILOVER_TAG"]
    ours = {one.instance_id for one in events if one.tag == tag}
    yield from ((one, _Case.OURS) for one in sorted(ours))
    asked = sorted({one.instance_id for one in events} - ours)
    if not asked:
        return
    key, _, value = tag.partition("=")
    answer = _client("ec2").describe_instances(Filters=[{"Name": "instance-id", "Values": asked}])
    known = {one["InstanceId"]: one for reservation in answer["Reservations"] for one in reservation["Instances"]}
    for one in asked:
        told = known.get(one)
        if told is None or not told.get("Tags"):
            yield one, _Case.UNKNOWN
        elif {"Key": key, "Value": value} not in told["Tags"]:
            _say(one, f"has no tag {tag}, so nothing is done")
            yield one, _Case.FOREIGN
        elif told["State"]["Name"] not in GONE:
            _say(one, f"is {told['State']['Name']} as EC2 says, so it is asked again later")
            yield one, _Case.RUNNING
        else:
            yield one, _Case.OURS


def _retired(cases: Mapping[str, _Case], context: _Context) -> Iterator[str]:
    """Remove the nodes of each, and yield those with which there is no more to do."""
    if not cases:
        return
    servers = Servers([session.begin(one, TRUST, None, Pace(PER_S, sleep=_sleep), TIMEOUT_S) for one in _accounts()])
    for one, case in cases.items():
        if context.get_remaining_time_in_millis() < 1000 * NEEDED_S:
            _say(one, "no time is left for it, so it comes again")
            continue
        outcome = terminated.retire(servers, one, datetime.datetime.now(datetime.UTC), is_ours=case is _Case.OURS)
        for sentence in outcome.said:
            _say(one, sentence)
        if outcome.is_done:
            yield one


def _put_back(events: Mapping[str, _Event]) -> Iterator[str]:
    """Send these events again, with the tag in each, and yield the messages that are done by that."""
    tag = os.environ["CHEF_FAILOVER_TAG"]
    for message, one in events.items():
        body = json.dumps({"tag": tag, "detail": {"instance-id": one.instance_id, "state": "terminated"}})
        queue = os.environ["CHEF_FAILOVER_QUEUE"]
        _client("sqs").send_message(QueueUrl=queue, MessageBody=body, DelaySeconds=AGAIN_AFTER_S)
        yield message


def _sleep(seconds: float) -> None:
    """A server that throttles for longer has its turn when the message comes again."""
    time.sleep(min(seconds, PATIENCE_S))


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
