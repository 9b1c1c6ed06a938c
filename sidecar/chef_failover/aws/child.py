"""I/O: the child's side of `aws`. Nothing but that child imports this.

Four fifths of what a call costs is boto3: to import it and to read its models. So it is imported only where no URL that
an earlier child signed gives an answer of use. No garbage is collected in the half second at most that the child lives.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import math
import os
import signal
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from chef_failover.aws import presigned
from chef_failover.files import SYSTEM_BUNDLES

IMDS = ("169.254.169.254", "[fd00:ec2::254]")
"""The metadata service, as the host stands in its URL."""
REPLY_LIMIT = 2 * 1024 * 1024
"""Characters that the parent is told, an object in base64 included."""


def main(request: dict[str, Any]) -> None:
    """Make the call, print the reply or the error, and end the process. It ends by itself if its parent is gone."""
    signal.alarm(math.ceil(request["timeout_s"]) + 1)
    configure(os.environ)
    # botocore reads whatever AWS, or who answers in its place, sends: that is not to cost the sidecar its life.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    answer = presigned.answer(request)
    if answer is None:
        from chef_failover.aws import boto  # noqa: PLC0415 - see above

        answer = boto.answer(request)
    told = json.dumps(answer, default=_plain)
    if len(told) > REPLY_LIMIT:
        told = json.dumps(presigned.refusal("GarbageReply", f"answer longer than {REPLY_LIMIT // 1024**2} MiB"))
    sys.stdout.write(told)
    sys.stdout.flush()
    os._exit(0)  # at once: taking a process apart costs a tenth of a reading


def configure(environ: MutableMapping[str, str], root: Path = Path("/")) -> None:
    """Set what holds for every client of this process.

    The metadata service is asked in its second version alone, and never by a proxy. Each region is asked at its own
    endpoints: S3's global one, which botocore takes for us-east-1, is served by no interface endpoint of a VPC.
    The system's certificates below ``root`` are trusted, unless ``environ`` names others; botocore's own know nothing
    of what an admin adds or withdraws.
    """
    environ.setdefault("AWS_EC2_METADATA_V1_DISABLED", "true")
    environ["AWS_S3_US_EAST_1_REGIONAL_ENDPOINT"] = environ["AWS_STS_REGIONAL_ENDPOINTS"] = "regional"
    bundle = next((path for name in SYSTEM_BUNDLES if (path := root / name).is_file()), None)
    if bundle and not environ.keys() & {"AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}:
        environ["AWS_CA_BUNDLE"] = str(bundle)
    excepted = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    if excepted != "*":
        environ["no_proxy"] = ",".join(filter(None, (excepted, *IMDS)))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError
