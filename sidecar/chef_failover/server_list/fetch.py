"""I/O: the fleet's list, asked for where it is kept, and only had again when it has changed.

S3 answers to If-None-Match without the list. The Parameter Store cannot: it tells a version with the value, and counts
from 1 again when a parameter is deleted and created, as Terraform does, so a digest of the value stands next to it. A
file is as new as its times.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import attrs

from chef_failover import files
from chef_failover.aws import call as aws
from chef_failover.config.settings import DiscoverySettings
from chef_failover.config.source import Source, Store
from chef_failover.errors import AwsError
from chef_failover.server_list.listing import SIZE_LIMIT


@attrs.frozen
class Fetched:
    """A version that differs from the one we had."""

    text: str
    version: str


@attrs.frozen
class Unchanged:
    """The version that we had is still the newest."""


@attrs.frozen
class Trouble:
    """It is unavailable; ``sentence`` says why and what to do. ``is_passing`` when it may work soon by itself.

    ``is_throttled``: the service takes no more requests for now.
    """

    sentence: str
    is_passing: bool = False
    is_throttled: bool = False


Answer = Fetched | Unchanged | Trouble

_VERSION_LIMIT = 200
"""Characters of what tells one version from another."""
_DIGEST_LENGTH = 16
"""Characters of a value's SHA-256; 64 bits."""

_MISSING = ("NoSuchKey", "NoSuchBucket", "ParameterNotFound", "ParameterVersionNotFound")
_FORBIDDEN = ("AccessDenied", "AccessDeniedException", "InvalidKeyId", "KMS.AccessDeniedException")
_POLICIES = {Store.S3: "packaging/iam/s3.json", Store.PARAMETER_STORE: "packaging/iam/ssm-list.json"}


def fetch(settings: DiscoverySettings, version: str | None = None, call: aws.Call = aws.call) -> Answer:
    """What is at ``settings.source``; ``version`` is the one that is known already. Never fails.

    The configuration is not valid without a region for what is in AWS.
    """
    source = settings.source
    if source is None:
        return Trouble("discovery.source is not set")
    region = settings.region or ""
    try:
        if source.store is Store.FILE:
            return _from_file(source, version)
        ask = _from_s3 if source.store is Store.S3 else _from_parameter_store
        return ask(source, region, settings.endpoint_url, version, aws.trusting(call, settings.ca_file))
    except OSError as error:
        return Trouble(f"{source}: cannot read it: {error.strerror}", is_passing=True)
    except AwsError as error:
        return Unchanged() if error.status == 304 else _judge(source, region, error)
    except UnicodeError:
        return Trouble(f"{source}: not UTF-8 text")


def _from_file(source: Source, version: str | None) -> Answer:
    path = Path(source.place)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        return Trouble(f"{source}: not a regular file")
    now = f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
    if now == version:
        return Unchanged()
    return _whole(source, files.read(path, SIZE_LIMIT, may_be_link=True), now)


def _from_s3(source: Source, region: str, endpoint_url: str | None, version: str | None, call: aws.Call) -> Answer:
    condition = {"IfNoneMatch": version} if version else {}
    parameters = {"Bucket": source.place, "Key": source.part, **condition}
    reply = call("s3", "GetObject", parameters, region=region, endpoint_url=endpoint_url)
    body, tag = reply.get("Body"), reply.get("ETag")
    if not isinstance(body, bytes) or not isinstance(tag, str) or len(tag) > _VERSION_LIMIT:
        return Trouble(f"{source}: S3 sent no object", is_passing=True)
    return _whole(source, body, tag)


def _from_parameter_store(
    source: Source, region: str, endpoint_url: str | None, version: str | None, call: aws.Call
) -> Answer:
    parameters = {"Name": source.place, "WithDecryption": True}
    reply = call("ssm", "GetParameter", parameters, region=region, endpoint_url=endpoint_url).get("Parameter", {})
    value = reply.get("Value")
    if not isinstance(value, str):
        return Trouble(f"{source}: the Parameter Store sent no value", is_passing=True)
    digest = hashlib.sha256(value.encode()).hexdigest()[:_DIGEST_LENGTH]
    now = f"{str(reply.get('Version'))[:_VERSION_LIMIT]}-{digest}"
    return Unchanged() if now == version else Fetched(value, now)


def _whole(source: Source, data: bytes, version: str) -> Answer:
    if len(data) > SIZE_LIMIT:
        return Trouble(f"{source}: longer than {SIZE_LIMIT // 1024} KiB")
    return Fetched(data.decode(), version)


def _judge(source: Source, region: str, error: AwsError) -> Trouble:
    policy = _POLICIES[source.store]
    if error.code in _MISSING:
        return Trouble(f"{source}: does not exist in {region} ({error.code}); correct discovery.source or region")
    if error.code in _FORBIDDEN:
        what = f"may not be read by this node's role in {region}, or does not exist; allow what {policy} has"
        return Trouble(f"{source}: {what} ({error.code})")
    if error.is_about_credentials:
        what = f"needs AWS credentials: {error}; give the instance a profile with {policy}, and check its clock"
        return Trouble(f"{source}: {what}", is_passing=True)
    what = f"{source}: cannot be read in {region}: {error}"
    return Trouble(what, is_passing=error.is_passing, is_throttled=error.is_throttled)
