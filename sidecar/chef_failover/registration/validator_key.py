"""I/O: the validator's key, from where the configuration says that it is kept.

It registers every node of the organization, so it is read when a registration needs it and never kept. No message has
anything of it, nor of the secret around it.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from chef_failover import files
from chef_failover.aws import call as aws
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config.settings import ChefServerAssociation
from chef_failover.config.source import Source, Store
from chef_failover.errors import AwsError, ValidatorKeyError

SIZE_LIMIT = 65536
"""What Secrets Manager takes at the most; no key is near it."""


def read(source: Source, association: ChefServerAssociation, call: aws.Call = aws.call) -> PrivateKey:
    """The key in ``source``. If AWS keeps it, ``call`` asks where ``association`` says.

    Raises:
        ValidatorKeyError: it cannot be read, or is not an RSA key. Says whether that may pass.
        KeyFileError: this machine has no OpenSSL 3.
    """
    text = _from_file(source) if source.store is Store.FILE else _from_aws(source, association, call)
    if source.part is not None:
        text = _member(source, text)
    if not text.strip():
        raise _error(source, "is empty")
    try:
        return PrivateKey.from_pem(text)
    except ValueError as error:
        hint = _lost_line_breaks(text)
        if source.store is Store.SECRETS_MANAGER and source.part is None and text.lstrip().startswith(b"{"):
            hint = "; it looks like JSON: name the key within it, as in secretsmanager:NAME#json-key"
        raise _error(source, f"{error}{hint}") from error


def _lost_line_breaks(text: bytes) -> str:
    """What consoles and templates do to a key that is pasted into them, as the rest of a sentence."""
    if b"-----BEGIN" not in text:
        return ""
    if b"\\n" in text:
        return "; its line breaks are written as \\n: store it with real line breaks"
    return "" if b"\n" in text.strip() else "; its line breaks are missing: store it with line breaks, as in its file"


def _from_file(source: Source) -> bytes:
    try:
        return files.read(Path(source.place), SIZE_LIMIT, may_be_link=True)
    except OSError as error:
        raise _error(source, f"cannot be read: {error.strerror}") from error


def _from_aws(source: Source, association: ChefServerAssociation, call: aws.Call) -> bytes:
    region = association.region or ""  # the configuration is not valid without one
    call = functools.partial(call, region=region, endpoint_url=association.endpoint_url, ca_file=association.ca_file)
    try:
        if source.store is Store.SECRETS_MANAGER:
            reply = call("secretsmanager", "GetSecretValue", {"SecretId": source.place})
            value = reply.get("SecretString") or reply.get("SecretBinary")
        else:
            reply = call("ssm", "GetParameter", {"Name": source.place, "WithDecryption": True})
            value = reply.get("Parameter", {}).get("Value")
    except AwsError as error:
        why = aws.why_unread(error, region, f"packaging/iam/{source.store}.json", "it, or association.region")
        raise _error(source, why, is_passing=error.is_passing, is_throttled=error.is_throttled) from error
    if value is None:
        raise _error(source, f"has no value in {region}", is_passing=True)
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def _member(source: Source, text: bytes) -> bytes:
    """One value of a secret that is a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None  # the exception has the whole secret in it, so none is raised on top of it
    if not isinstance(value, dict):
        raise _error(source, "is not a JSON object; remove the # and what follows it")
    member = value.get(source.part)
    if not isinstance(member, str):
        raise _error(source, f"has no string under {source.part!r}")
    return member.encode(errors="replace")


def _error(source: Source, what: str, *, is_passing: bool = False, is_throttled: bool = False) -> ValidatorKeyError:
    message = f"association.validator_key {source}: {what}"
    return ValidatorKeyError(message, is_passing=is_passing, is_throttled=is_throttled)
