"""Pure: where the validator's key is kept, as the configuration says it."""

from __future__ import annotations

import enum
import re

import attrs

_RIGHT = "write file:/absolute/path, secretsmanager:NAME, secretsmanager:NAME#json-key or ssm:NAME"
_NAME = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2048}")


class Store(enum.StrEnum):
    """The kinds of places that keep a key."""

    FILE = "file"
    SECRETS_MANAGER = "secretsmanager"
    PARAMETER_STORE = "ssm"


@attrs.frozen
class KeySource:
    """``name`` is a path, a secret's name or ARN, or a parameter's name; ``json_key`` a key within the secret."""

    store: Store
    name: str
    json_key: str | None = None

    @property
    def is_in_aws(self) -> bool:
        """Whether reading it needs a region and credentials."""
        return self.store is not Store.FILE

    def __str__(self) -> str:
        fragment = f"#{self.json_key}" if self.json_key else ""
        return f"{self.store}:{self.name}{fragment}"


def parse_key_source(text: object) -> KeySource:
    """A source such as ``secretsmanager:chef/validator#key``.

    Raises:
        ValueError: it is anything else. What was written is not repeated: it may be the key itself.
    """
    if not isinstance(text, str):
        raise ValueError(f"this is no place where a key is kept; {_RIGHT}")
    kind, _, name = text.partition(":")
    if kind not in list(Store) or not name:
        raise ValueError(f"this is no place where a key is kept; {_RIGHT}")
    if kind == Store.FILE:
        if not name.startswith("/") or "\0" in name or "\n" in name:
            raise ValueError(f"the path after file: must be absolute; {_RIGHT}")
        return KeySource(Store.FILE, name)
    name, _, json_key = name.partition("#")
    if not _NAME.fullmatch(name) or (json_key and kind == Store.PARAMETER_STORE) or not json_key.isprintable():
        raise ValueError(f"this is no name that AWS takes; {_RIGHT}")
    return KeySource(Store(kind), name, json_key or None)
