"""Pure: where the fleet's list of servers is kept, as the configuration says it."""

from __future__ import annotations

import enum
import re

import attrs

_RIGHT = "write s3://bucket/key, ssm:/name or file:/absolute/path"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PARAMETER = re.compile(r"[A-Za-z0-9/_.:-]{1,2048}")
_KEY_LIMIT = 1024
"""Characters of a key in S3."""


class ListStore(enum.StrEnum):
    """The kinds of places that keep a list."""

    FILE = "file"
    S3 = "s3"
    PARAMETER_STORE = "ssm"


@attrs.frozen
class ListAddress:
    """``name`` is a path, a key in ``bucket``, or a parameter's name."""

    store: ListStore
    name: str
    bucket: str | None = None

    def __str__(self) -> str:
        return f"{self.store}:{f'//{self.bucket}/' if self.bucket else ''}{self.name}"


def parse_list_address(text: object) -> ListAddress:
    """An address such as ``s3://fleet/chef/servers.yml``.

    Raises:
        ValueError: it is anything else; the message says what would be right.
    """
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError(f"{text!r} is no place where a list is kept; {_RIGHT}")
    kind, _, name = text.partition(":")
    if kind == ListStore.FILE and name.startswith("/"):
        return ListAddress(ListStore.FILE, name)
    if kind == ListStore.PARAMETER_STORE and _PARAMETER.fullmatch(name):
        return ListAddress(ListStore.PARAMETER_STORE, name)
    if kind == ListStore.S3 and name.startswith("//"):
        bucket, _, key = name.removeprefix("//").partition("/")
        if _BUCKET.fullmatch(bucket) and 0 < len(key) <= _KEY_LIMIT:
            return ListAddress(ListStore.S3, key, bucket)
    raise ValueError(f"{text!r} is no place where a list is kept; {_RIGHT}")
