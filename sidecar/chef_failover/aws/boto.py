"""I/O: one AWS call by boto3, and the URL by which the next one of S3 does without. Only the child imports this."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore import exceptions, xform_name
from botocore.config import Config

from chef_failover.aws.presigned import BODY_LIMIT, CONNECT_SHARE, READ_SHARE, SIGNED_FOR_S, refusal

MODELS = Path(__file__).with_name("models")
"""Models of services that botocore does not have any more, written by us."""
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


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """``{"reply": ...}`` or ``{"error": {"code", "message", "status"}}``.

    With the one, or a status of 304, ``"url"`` is where the same object of S3 may be asked for; None of other things.
    """
    ca_file, url = request["ca_file"], None
    try:
        aws = session(request["region"])
        service = client(aws, request["service"], request["endpoint_url"], request["timeout_s"], ca_file)
        if request["operation"] == "GetObject":
            url = sign(aws, service, request)
        reply = getattr(service, xform_name(request["operation"]))(**request["parameters"])
        if "Body" in reply:  # of S3, a stream
            reply["Body"] = reply["Body"].read(BODY_LIMIT)
    except exceptions.ClientError as error:
        told, metadata = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        status = metadata.get("HTTPStatusCode", 0)
        return refusal(told.get("Code"), told.get("Message"), status) | {"url": url if status == 304 else None}
    except exceptions.ParamValidationError as error:
        return refusal("Misconfigured", type(error).__name__)  # its words quote the parameters
    except exceptions.BotoCoreError as error:
        if ca_file and (why := _why_useless(ca_file)):
            return refusal("Misconfigured", f"ca_file {ca_file}: {why}")
        code = next((code for cl, code in _CODES.items() if isinstance(error, cl)), "Misconfigured")
        return refusal(code, str(error))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        # botocore trusts that JSON is an object of a sane depth
        return refusal("GarbageReply", f"not an answer of this service ({type(error).__name__})")
    reply.pop("ResponseMetadata", None)
    return {"reply": reply, "url": url}


def _why_useless(ca_file: str) -> str | None:
    """What is wrong with ``ca_file``; botocore says only which server it cannot verify."""
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        return error.strerror or str(error)
    return None


def session(region: str) -> boto3.Session:
    """It knows our models, and finds the credentials once for all its clients."""
    found = botocore.session.Session()
    found.get_component("data_loader").search_paths.insert(0, str(MODELS))
    return boto3.Session(botocore_session=found, region_name=region)


def client(
    aws: boto3.Session, service: str, endpoint_url: str | None, timeout_s: float, ca_file: str | None = None
) -> Any:  # noqa: ANN401
    """Return a client that asks once. It trusts ``ca_file`` alone; credentials come from where they come otherwise."""
    config = Config(
        connect_timeout=CONNECT_SHARE * timeout_s,
        read_timeout=READ_SHARE * timeout_s,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return aws.client(service, endpoint_url=endpoint_url, verify=ca_file, config=config)


def sign(aws: boto3.Session, service: Any, request: dict[str, Any]) -> str:  # noqa: ANN401
    """Return a URL for the object that ``request`` asks for, at the address where ``service`` asks.

    Left alone, botocore would take S3's global endpoint for it.
    """
    place = {name: value for name, value in request["parameters"].items() if name != "IfNoneMatch"}
    is_virtual = request["endpoint_url"] is None and "." not in place["Bucket"]
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "virtual" if is_virtual else "auto"},
        use_dualstack_endpoint=False,  # it is in the address, if it is wanted
        use_fips_endpoint=False,
    )
    signer = aws.client("s3", endpoint_url=service.meta.endpoint_url, config=config)
    url: str = signer.generate_presigned_url("get_object", Params=place, ExpiresIn=SIGNED_FOR_S)
    return url
