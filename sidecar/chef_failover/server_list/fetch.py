"""I/O: the fleet's list, asked for where it is kept, and only had again when it has changed.

S3 answers to If-None-Match without the list. The Parameter Store cannot: it tells a version with the value, and counts
from 1 again when a parameter is deleted and created, as Terraform does, so a digest of the value stands next to it. A
file is as new as its times.
"""

from __future__ import annotations

import functools
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
_POLICIES = {Store.S3: "packaging/iam/s3.json", Store.PARAMETER_STORE: "packaging/iam/ssm-list.json"}


def fetch(settings: DiscoverySettings, version: str | None = None, call: aws.Call = aws.call) -> Answer:
    """What is at ``settings.source``; ``version`` is the one that is known already. Never fails."""
    source, region = settings.source, settings.region or ""  # the configuration is not valid without one for AWS
    if source is None:
        return Trouble("discovery.source is not set")
    ask = functools.partial(call, region=region, endpoint_url=settings.endpoint_url, ca_file=settings.ca_file)
    read = {Store.FILE: _from_file, Store.S3: _from_s3}.get(source.store, _from_parameter_store)
    try:
        return read(source, version, ask)
    except OSError as error:
        return Trouble(f"{source}: cannot read it: {error.strerror}", is_passing=True)
    except AwsError as error:
        if error.status == 304:
            return Unchanged()
        why = aws.why_unread(error, region, _POLICIES[source.store], "discovery.source or region")
        return Trouble(f"{source}: {why}", is_passing=error.is_passing, is_throttled=error.is_throttled)
    except UnicodeError:
        return Trouble(f"{source}: not UTF-8 text")


def _from_file(source: Source, version: str | None, _: aws.Call) -> Answer:
    path = Path(source.place)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        return Trouble(f"{source}: not a regular file")
    now = f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
    if now == version:
        return Unchanged()
    return _whole(source, files.read(path, SIZE_LIMIT, may_be_link=True), now)


def _from_s3(source: Source, version: str | None, call: aws.Call) -> Answer:
    condition = {"IfNoneMatch": version} if version else {}
    reply = call("s3", "GetObject", {"Bucket": source.place, "Key": source.part, **condition})
    body, tag = reply.get("Body"), reply.get("ETag")
    if not isinstance(body, bytes) or not isinstance(tag, str) or len(tag) > _VERSION_LIMIT:
        return Trouble(f"{source}: S3 sent no object", is_passing=True)
    return _whole(source, body, tag)


def _from_parameter_store(source: Source, version: str | None, call: aws.Call) -> Answer:
    reply = call("ssm", "GetParameter", {"Name": source.place, "WithDecryption": True}).get("Parameter", {})
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
