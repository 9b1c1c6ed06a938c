"""I/O: the child's side of `aws`. Nothing but that child imports this, since boto3 comes with it.

A node that follows a list makes a call every five minutes, and what one costs is what boto3 takes to be imported and to
read its models. So no garbage is collected in the half second that it lives.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import math
import os
import signal
import ssl
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore import exceptions, xform_name
from botocore.config import Config

from chef_failover.files import SYSTEM_BUNDLES

MODELS = Path(__file__).with_name("models")
"""Models of services that botocore does not have any more, written by us."""
IMDS = ("169.254.169.254", "[fd00:ec2::254]")
"""The metadata service, as the host stands in its URL."""
BODY_LIMIT = 1024 * 1024
"""Bytes of an object; nothing that we ask for is near it."""
REPLY_LIMIT = 2 * 1024 * 1024
"""Characters that the parent is told, an object in base64 included."""
_CONNECT_SHARE = 0.2
_READ_SHARE = 0.4
_CODES: dict[type[Exception], str] = {
    exceptions.NoCredentialsError: "NoCredentials",
    exceptions.PartialCredentialsError: "NoCredentials",
    exceptions.CredentialRetrievalError: "NoCredentials",
    exceptions.MetadataRetrievalError: "NoCredentials",
    exceptions.ConnectTimeoutError: "Timeout",
    exceptions.ReadTimeoutError: "Timeout",
    exceptions.ConnectionError: "Unreachable",
    exceptions.HTTPClientError: "Unreachable",
    exceptions.IncompleteReadError: "GarbageReply",
}
"""The first that fits counts."""


def main(request: dict[str, Any]) -> None:
    """Make the call and print the reply, or the error. It ends by itself if its parent is gone."""
    signal.alarm(math.ceil(request["timeout_s"]) + 1)
    configure(os.environ)
    _go_first_when_memory_ends()
    told = json.dumps(answer(request), default=_plain)
    if len(told) > REPLY_LIMIT:
        told = json.dumps(_error("GarbageReply", f"answer longer than {REPLY_LIMIT // 1024**2} MiB"))
    sys.stdout.write(told)


def _go_first_when_memory_ends() -> None:
    """botocore reads whatever AWS, or who answers in its place, sends: that is not to cost the sidecar its life."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """``{"reply": ...}`` or ``{"error": {"code", "message", "status"}}``."""
    ca_file = request["ca_file"]
    try:
        service = client(request["service"], request["region"], request["endpoint_url"], request["timeout_s"], ca_file)
        reply = getattr(service, xform_name(request["operation"]))(**request["parameters"])
        if "Body" in reply:  # of S3, a stream
            reply["Body"] = reply["Body"].read(BODY_LIMIT)
    except exceptions.ClientError as error:
        told, metadata = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        return _error(told.get("Code"), told.get("Message"), metadata.get("HTTPStatusCode", 0))
    except exceptions.ParamValidationError as error:
        return _error("Misconfigured", type(error).__name__)  # its words quote the parameters
    except exceptions.BotoCoreError as error:
        if ca_file and (why := _why_useless(ca_file)):
            return _error("Misconfigured", f"ca_file {ca_file}: {why}")
        code = next((code for cl, code in _CODES.items() if isinstance(error, cl)), "Misconfigured")
        return _error(code, str(error))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        # botocore trusts that JSON is an object of a sane depth
        return _error("GarbageReply", f"not an answer of this service ({type(error).__name__})")
    reply.pop("ResponseMetadata", None)
    return {"reply": reply}


def _why_useless(ca_file: str) -> str | None:
    """What is wrong with ``ca_file``; botocore says only which server it cannot verify."""
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        return error.strerror or str(error)
    return None


def client(service: str, region: str, endpoint_url: str | None, timeout_s: float, ca_file: str | None = None) -> Any:  # noqa: ANN401
    """Return a client that asks once. It trusts ``ca_file`` alone; credentials come from where they come otherwise."""
    session = botocore.session.Session()
    session.get_component("data_loader").search_paths.insert(0, str(MODELS))
    config = Config(
        connect_timeout=_CONNECT_SHARE * timeout_s,
        read_timeout=_READ_SHARE * timeout_s,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return boto3.Session(botocore_session=session).client(
        service, region_name=region, endpoint_url=endpoint_url, verify=ca_file, config=config
    )


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


def _error(code: object, message: object, status: int = 0) -> dict[str, Any]:
    return {"error": {"code": str(code or "Unknown"), "message": str(message or ""), "status": status}}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError
