"""I/O: an object of S3 by a URL that was signed before, with nothing but Python's own modules.

An error of the service is an answer as well: asked at once by boto3, a fleet would double what S3 refuses. All else is
none: the URL has expired, the bucket's policy takes none, or there is trouble that boto3 has the words for.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

SIGNED_FOR_S = 6 * 3600
"""How long a URL is good, as long as an instance's credentials at the most: it ends with those that signed it."""
BODY_LIMIT = 1024 * 1024
"""Bytes of an object; nothing that we ask for is near it."""
CONNECT_SHARE = 0.2
READ_SHARE = 0.4
"""Of the time that a child has."""
_CODE = re.compile(rb"<Code>(\w{1,100})</Code>")


def answer(request: dict[str, Any]) -> dict[str, Any] | None:
    """As `boto.answer`; None where ``request`` has no URL, or that does not do."""
    url, version = request["url"], request["parameters"].get("IfNoneMatch")
    if url is None:
        return None
    try:
        with _opener(request["ca_file"]).open(
            Request(url, headers={"If-None-Match": version} if version else {}),  # noqa: S310 - from boto3
            timeout=CONNECT_SHARE * request["timeout_s"],
        ) as response:
            body, status, headers = response.read(BODY_LIMIT), response.status, response.headers
    except (OSError, ValueError, http.client.HTTPException):
        return None
    if status == 304:
        return refusal("304", "Not Modified", status) | {"url": url}
    if status == 200 and headers["Content-Length"] == str(len(body)):
        return {"reply": {"Body": body, "ETag": headers["ETag"]}, "url": url}
    if status == 429 or status >= 500:
        said = _CODE.search(body)
        code = said[1].decode() if said else str(status)
        return refusal(code, http.client.responses.get(status), status) | {"url": url}
    return None


def refusal(code: object, message: object, status: int = 0) -> dict[str, Any]:
    """The error that the parent is told."""
    return {"error": {"code": str(code or "Unknown"), "message": str(message or ""), "status": status}}


def _opener(ca_file: str | None) -> OpenerDirector:
    """It follows no redirect, goes by the environment's proxies, and trusts what boto3 would."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bundle = ca_file or os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle:
        context.load_verify_locations(bundle)
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(context=context)):
        opener.add_handler(handler)
    return opener
