"""I/O: one AWS call, in a child process that ends with it.

AWS is asked at registration and for the fleet's list, and boto3 with one client costs 20 MB that a process which
imported it never gives back. So the sidecar imports none of it: each call pays a third of a second of a start. What is
called every few minutes, the list in S3, goes by `Signed`.

What is asked goes over the child's stdin and what comes over its stdout; neither its arguments, which every local user
may read, nor anything that it says on stderr get near a log. The child finds our package by our own ``sys.path``, so it
works from a vendored tree as from an installed one. It gets no second try: the engine that asks knows how to wait, and
a library that repeats by itself doubles what a throttled account is asked. (A URL that was refused is gone after it.)
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from chef_failover import turns
from chef_failover.errors import AwsError
from chef_failover.printable import printable

TIMEOUT_S = 20.0
_BOOTSTRAP = """
import gc, sys
gc.disable()
sys.excepthook = lambda cl, *_: print(cl.__name__, file=sys.stderr)
import json
request = json.load(sys.stdin)
sys.path[:] = request["path"]
from chef_failover.aws import child
child.main(request)
"""
"""What an exception says may quote what was read, so only its name gets out."""


Call = Callable[..., dict[str, Any]]
"""`call`, or what counts its calls or sees them signed."""
_MISSING = ("NoSuchBucket", "NoSuchKey", "ParameterNotFound", "ParameterVersionNotFound", "ResourceNotFoundException")
_FORBIDDEN = (
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "InvalidKeyId",
    "KMS.AccessDeniedException",
)


@attrs.define
class Signed:
    """What calls for one object of S3 leave for the next: a URL that needs no boto3.

    So four calls a day cost what a call costs, and all others a quarter of it.
    """

    url: str | None = None
    place: object = None
    """What the URL is for."""


def why_unread(error: AwsError, region: str, policy: str, keys: str) -> str:
    """Why what is in ``region`` cannot be read, and what to do, as words that follow its name.

    ``policy`` is the file with what the node's role needs; ``keys`` of config.yml say where it is.
    """
    if error.code in _MISSING:
        return f"does not exist in {region} ({error.code}); correct {keys}"
    if error.code in _FORBIDDEN:
        what = f"may not be read by this node's role in {region}, or does not exist; allow what {policy} has"
        return f"{what} ({error.code})"
    if error.is_about_credentials:
        return f"needs AWS credentials: {error}; give the instance a profile with {policy}, and check its clock"
    return f"cannot be read in {region}: {error}"


def call(
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    region: str,
    endpoint_url: str | None = None,
    ca_file: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    signed: Signed | None = None,
) -> dict[str, Any]:
    """What AWS answers, as boto3 gives it, with times as ISO 8601 text.

    Args:
        service: boto3's name of the service, such as "secretsmanager".
        operation: the API's name of the operation, such as "GetSecretValue".
        parameters: of the operation; what JSON can hold.
        region: of the service.
        endpoint_url: where it answers, when that is not its public address.
        ca_file: the certificates to trust there, in PEM form. None for those that all AWS calls trust.
        timeout_s: until the child is killed, from its start. Another call under way is waited for before.
        signed: what earlier calls for this object left, and this one leaves.

    Raises:
        AwsError: there is no answer, or none that is a success.
    """
    place = service, operation, {**parameters, "IfNoneMatch": None}, region, endpoint_url, ca_file
    request = {
        "path": sys.path,
        "service": service,
        "operation": operation,
        "parameters": parameters,
        "region": region,
        "endpoint_url": endpoint_url,
        "ca_file": str(ca_file) if ca_file else None,
        "timeout_s": timeout_s,
        "url": signed.url if signed and signed.place == place else None,
    }
    with turns.LARGE:
        exit_code, out, err = _run(json.dumps(request).encode(), timeout_s)
    answer = _read(exit_code, out, err)
    if signed:
        signed.place, signed.url = place, answer.get("url")
    if "error" in answer:
        error = answer["error"]
        raise AwsError(printable(error["code"]), printable(error["message"]), error["status"])
    reply: dict[str, Any] = answer["reply"]
    return reply


def _run(request: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
    """The child's exit code, stdout and stderr."""
    command = [sys.executable, "-I", "-S", "-c", _BOOTSTRAP]  # as the sidecar itself: its path comes with the request
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)  # noqa: S603 - ourselves
    except OSError as error:
        raise AwsError("Broken", f"cannot start a process: {error.strerror}") from error
    with child:
        try:
            out, err = child.communicate(request, timeout_s)
        except subprocess.TimeoutExpired:
            raise AwsError("Timeout", f"no answer within {timeout_s:.0f} s") from None
        finally:
            if child.poll() is None:  # with whatever it started itself, such as a credential_process
                os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, out, err


def _read(exit_code: int, out: bytes, err: bytes) -> dict[str, Any]:
    answer = None
    with contextlib.suppress(ValueError):
        answer = json.loads(out, object_hook=_with_bytes)
    if exit_code or not isinstance(answer, dict):
        last = err.decode("ascii", "replace").split()[-1:]
        what = last[0] if last and last[0].isidentifier() else f"exit code {exit_code}"
        raise AwsError("Broken", f"the AWS process failed with {what}")
    return answer


def _with_bytes(value: dict[str, Any]) -> object:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
