"""Pure: the types of the configuration, each with what reads it, and what is said when that cannot be.

What reads a value raises ValueError, with the value and what would be right.
"""

from __future__ import annotations

import datetime
import functools
import math
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from chef_failover.config.source import Source, parse_key_source, parse_list_source
from chef_failover.config.urls import HostPort, is_host, is_port, parse_loopback, parse_server_url
from chef_failover.durations import parse_duration_s
from chef_failover.instants import parse_instant

_LETTERS = "letters, digits, dots, dashes and underscores"
PLACEHOLDERS = ("instance_id", "hostname", "fqdn")
_LINE_LIMIT = 200
_NAME_LIMIT = 255
_PATH_LIMIT = 4095
"""Of Linux, in bytes; a part between slashes has 255 at the most."""
_SOCKET_LIMIT = 107
"""Of Linux, in bytes, for a socket's path."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}")
_SHORT_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_ORGANIZATION = re.compile(r"[a-z0-9][a-z0-9_-]{0,254}")
_ENDPOINT = re.compile(
    r"(?:https://(?P<host>[A-Za-z0-9.-]+)|http://(?:127\.0\.0\.1|localhost))(?::(?P<port>[0-9]{1,5}))?/?"
)
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_yaml(value)} is not a string; put it in quotes if you mean one")
    return value


def _line(value: object) -> str:
    text = _text(value)
    if not text.isprintable() or len(text) > _LINE_LIMIT:
        raise ValueError(f"{_yaml(value)} is not one line of at most {_LINE_LIMIT} characters")
    return text


def _until(value: object) -> datetime.datetime:
    try:
        return parse_instant(value)
    except ValueError as error:
        right = "write 2026-11-22T10:00:00Z, or leave it out for a drain without an end"
        raise ValueError(f"{_yaml(value)} is not a time with a zone from 1970 to 2999; {right}") from error


def _whole_number(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{_yaml(value)} is not a whole number; write {least} to {most}")
        if not least <= value <= most:
            raise ValueError(f"{value} is too {'small' if value < least else 'large'}; write {least} to {most}")
        return value

    return read


def _absolute_path(value: object) -> Path:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError(f"{_yaml(value)} is not an absolute path; it must begin with /")
    if len(name := value.encode()) > _PATH_LIMIT or any(len(part) > _NAME_LIMIT for part in name.split(b"/")):
        raise ValueError(f"{_yaml(value)} is too long for a path")
    return Path(value)


def _socket_path(value: object) -> Path:
    path = _absolute_path(value)
    if not path.name or len(bytes(path)) > _SOCKET_LIMIT:
        raise ValueError(f"{_yaml(value)} is not a socket's path; write /DIRECTORY/NAME, at most {_SOCKET_LIMIT} bytes")
    return path


def _seconds(value: object) -> float:
    seconds = parse_duration_s(value)
    if seconds < 0.01:
        raise ValueError("must be at least 10ms")
    return seconds


def _timeout(value: object) -> float:
    seconds = _seconds(value)
    if seconds > 60:
        raise ValueError("must be at most 60s, since runs wait for it")
    return seconds


def _failback(value: object) -> float:
    if value in ("immediately", "never"):
        return 0.0 if value == "immediately" else math.inf
    try:
        return parse_duration_s(value)
    except ValueError as error:
        raise ValueError(f"{error}, immediately or never") from error


def _endpoint(value: object) -> str:
    found = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    if found is None or not is_host(found["host"] or "localhost") or not is_port(found["port"] or "443"):
        raise ValueError(f"{_yaml(value)} is not an AWS endpoint; write https://HOST, or http://127.0.0.1")
    return found[0]


def _matching(pattern: re.Pattern[str], what: str, right: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"{_yaml(value)} is not {what}; write {right}")
        return value

    return read


def _node_name(value: object) -> str:
    text = _text(value)
    unknown = [name for name in re.findall(r"{(.*?)}", text) if name not in PLACEHOLDERS]
    if unknown or len(text) > _NAME_LIMIT or not _WORD.fullmatch(re.sub("{.*?}", "x", text)):
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"{text!r} is not a node name; write letters, digits, . : _ - and the placeholders {known}")
    return text


def _yaml(value: object) -> str:
    """``value`` as the file has it, cut short."""
    match value:
        case None:
            text = "nothing"
        case bool():
            text = "true" if value else "false"
        case datetime.date():
            text = value.isoformat()
        case _:
            text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


Seconds = Annotated[float, _seconds]
"""A length of time, written ``10s``; 10 ms or more."""
Timeout = Annotated[float, _timeout]
"""A length of time within which something must end: up to a minute, or runs would wait for it."""
Freshness = Annotated[float, parse_duration_s]
"""A length of time that may be 0."""
Failback = Annotated[float, _failback]
"""Seconds; ``immediately`` is 0, ``never`` is infinite."""
Count = Annotated[int, _whole_number(1, 1000)]
FleetSize = Annotated[int, _whole_number(1, 10_000_000)]
"""How many nodes a fleet has."""
Priority = Annotated[int, _whole_number(-999_999, 999_999)]
Name = Annotated[str, _matching(_SHORT_WORD, "a name", f"at most 64 {_LETTERS}")]
"""A server's name, as tables and metrics have it, or an AWS region's."""
ChefName = Annotated[str, _matching(_WORD, "a name", f"at most {_NAME_LIMIT} {_LETTERS}")]
"""The name of a policy, a policy group or a client: what a Chef server takes."""
NodeName = Annotated[str, _node_name]
"""A node's name, maybe with placeholders."""
Organization = Annotated[str, _matching(_ORGANIZATION, "an organization", "its short name, as in its URL")]
EndpointUrl = Annotated[str, _endpoint]
"""Where an AWS service answers, when that is not its public address."""
HostPattern = Annotated[str, _matching(_HOST, "a host pattern", "chef.example.com or *.chef.example.com")]
"""A host name in which a leading ``*.`` stands for any labels."""
ServerUrl = Annotated[str, parse_server_url]
KeySource = Annotated[Source, parse_key_source]
ListSource = Annotated[Source, parse_list_source]
AbsolutePath = Annotated[Path, _absolute_path]
SocketPath = Annotated[Path, _socket_path]
"""Where a Unix socket can be."""
Loopback = Annotated[HostPort | None, parse_loopback]
Line = Annotated[str, _line]
"""Words for people."""
Until = Annotated[datetime.datetime, _until]
"""An instant of wall time, in UTC."""


@functools.cache
def make_converter() -> cattrs.Converter:
    """A converter that is strict about types and keys, and reports all that is wrong at once."""
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_func(_is_a(Annotated), lambda value, cl: cl.__metadata__[0](value))
    converter.register_structure_hook_func(_is_a(Literal), _literal)
    converter.register_structure_hook_factory(_is_union_of_classes, lambda cl: _provider_hook(cl, converter))
    converter.register_structure_hook_factory(attrs.has, lambda cl: _mapping_hook(cl, converter))
    converter.register_structure_hook_factory(_is_a(tuple), lambda cl: _list_hook(cl, converter))
    return converter


def _is_a(origin: Any) -> Callable[[Any], bool]:
    return lambda cl: get_origin(cl) is origin


def _literal(value: object, cl: Any) -> object:
    if value is False and "off" in get_args(cl):
        return "off"  # which YAML reads as false
    if value not in get_args(cl):
        raise ValueError(f"{_yaml(value)} is not one of: {', '.join(map(str, get_args(cl)))}")
    return value


def _is_union_of_classes(cl: Any) -> bool:
    return get_origin(cl) is types.UnionType and all(map(attrs.has, get_args(cl)))


def _provider_hook(cl: Any, converter: cattrs.Converter) -> Callable[[object, Any], Any]:
    """One of several classes, told apart by the default of their ``provider``."""
    classes = {attrs.fields(member).provider.default: member for member in get_args(cl)}

    def read(value: object, _: Any) -> Any:
        settings = _mapping(value)
        provider = settings.get("provider", "none")
        if not isinstance(provider, str) or provider not in classes:
            raise ValueError(f"provider {_yaml(provider)} is not one of: {', '.join(sorted(classes))}")
        return converter.structure(settings, classes[provider])

    return read


def _mapping_hook(cl: type, converter: cattrs.Converter) -> Callable[[object, Any], Any]:
    structure: Any = make_dict_structure_fn(
        cl, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
    )
    return lambda value, cl: structure(_mapping(value), cl)


def _mapping(value: object) -> dict[object, object]:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{_yaml(value)} is not a mapping; write keys and values")
    return value or {}


def _list_hook(cl: Any, converter: cattrs.Converter) -> Callable[[object, Any], Any]:
    element = get_args(cl)[0]

    def read(value: object, _: Any) -> Any:
        if value is not None and not isinstance(value, list):
            raise ValueError(f"{_yaml(value)} is not a list")
        return tuple(converter.structure(value or [], list[element]))  # type: ignore[valid-type]

    return read
