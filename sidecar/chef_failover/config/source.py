"""Pure: where a validator's key or the fleet's list is kept, as the configuration says it."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection

import attrs


class Store(enum.StrEnum):
    """The kinds of places that keep a key or a list."""

    FILE = "file"
    S3 = "s3"
    SECRETS_MANAGER = "secretsmanager"
    PARAMETER_STORE = "ssm"


KEY_STORES = (Store.FILE, Store.SECRETS_MANAGER, Store.PARAMETER_STORE)
LIST_STORES = (Store.S3, Store.PARAMETER_STORE, Store.FILE)
_FOR_KEYS = "write file:/absolute/path, secretsmanager:NAME, secretsmanager:NAME#json-key or ssm:NAME"
_FOR_LISTS = "write s3://bucket/key, ssm:/name or file:/absolute/path"
_PLACES = {
    Store.FILE: re.compile(r"(/.{1,4094})"),
    Store.S3: re.compile(r"//([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.{1,1024})"),
    Store.SECRETS_MANAGER: re.compile(r"([A-Za-z0-9/_+=.@:-]{1,2048})(?:#(.{1,255})?)?"),
    Store.PARAMETER_STORE: re.compile(r"([A-Za-z0-9/_.:-]{1,2048})"),
}
"""After the colon: the place, and its part where there is one."""


@attrs.frozen
class Source:
    """``place`` is a path, a bucket, a secret's name or ARN, or a parameter's name.

    ``part`` is an object's key in the bucket, or a key within the secret, which is JSON then.
    """

    store: Store
    place: str
    part: str | None = None

    def __str__(self) -> str:
        if self.store is Store.S3:
            return f"{self.store}://{self.place}/{self.part}"
        return f"{self.store}:{self.place}{f'#{self.part}' if self.part else ''}"


def parse_source(text: object, stores: Collection[Store], what: str) -> Source:
    """A source in one of ``stores``, such as ``secretsmanager:chef/validator#key``; ``what`` is kept there.

    Raises:
        ValueError: it is anything else. The message does not repeat what was written, which may be a key.
    """
    kind, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind not in stores or not rest:
        raise ValueError(f"not a source of {what}")
    store = Store(kind)
    found = _PLACES[store].fullmatch(rest) if rest.isprintable() else None
    if found is None:
        is_file = store is Store.FILE
        raise ValueError("the path after file: must be absolute" if is_file else "not a valid name in AWS")
    return Source(store, *found.groups())


def parse_key_source(text: object) -> Source:
    """Where a validator's key is kept.

    Raises:
        ValueError: see `parse_source`.
    """
    try:
        return parse_source(text, KEY_STORES, "a key")
    except ValueError as error:
        raise ValueError(f"{error}; {_FOR_KEYS}") from error


def parse_list_source(text: object) -> Source:
    """Where the fleet's list is kept, such as ``s3://fleet/chef/servers.yml``.

    Raises:
        ValueError: it is anything else; the message says what would be right.
    """
    try:
        return parse_source(text, LIST_STORES, "a list")
    except ValueError as error:
        raise ValueError(f"{text!r} is not a source of a server list; {_FOR_LISTS}") from error
