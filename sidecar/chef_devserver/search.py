"""Pure: the search of nodes, full and partial, with the limits of OpenSearch.

A query is Lucene's, as far as people and programs here use it: ``field:pattern`` with ``*`` and ``?``, AND, OR, NOT and
parentheses. An object's attributes are merged, and flattened with ``_``; the last key of each path is a field as well.

Sources: github.com/chef/chef-server chef_wm_search.erl, chef_opensearch.erl, chef_index_expand.erl and
chef_object_base.erl (``make_guid``); erchef decodes the query once more than the address asks for.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote

import attrs

from chef_devserver.call import Call
from chef_devserver.messages import Response, error_response, internal_error, json_response
from chef_devserver.state import ChefState

WINDOW = 10_000
"""``max_result_window`` of the index: no result beyond it is shown, and none is counted."""
_ROWS = 1000
_LEVELS = ("default", "normal", "override", "automatic")
"""Of attributes, the strongest last."""
_TOKEN = re.compile(r'\s*([()]|AND\b|OR\b|NOT\b|(?:\\.|"[^"]*"|[^\s()\\])+)')
Node = dict[str, Any]


@attrs.define
class _Entry:
    """A node as the index has it."""

    name: str
    node: Node
    _fields: dict[str, list[str]] | None = None

    def fields(self) -> dict[str, list[str]]:
        """The texts of each field, flattened when first asked for."""
        if self._fields is None:
            self._fields = {}
            for key, text in _fields(self.node):
                self._fields.setdefault(key, []).append(text)
        return self._fields


Predicate = Callable[[_Entry], bool]


def answer(state: ChefState, call: Call) -> Response:
    """What ``search/node`` answers: whole objects to GET, to POST what its body asks for."""
    if call.route.name != "node":
        return error_response(404, f"I don't know how to search for {call.route.name} data objects.")
    if state.index_fails(call.down):
        return internal_error()
    asked = parse_qs(call.request.target.partition("?")[2])
    start, count = int(asked.get("start", ["0"])[0]), int(asked.get("rows", [str(_ROWS)])[0])
    try:
        matches = _parse(unquote(asked.get("q", ["*:*"])[0]))
    except (ValueError, IndexError):
        return error_response(400, "invalid search query")
    if start + count > WINDOW:
        return internal_error()
    indexed = (_Entry(name, node) for name, node in state.nodes.items() if name not in state.unindexed)
    found = sorted((entry.name for entry in indexed if matches(entry)), key=object_id)
    rows: list[Any] = [state.nodes[name] for name in found[start : start + count]]
    if call.request.method == "POST":
        wanted = json.loads(call.request.body)
        rows = [{"url": call.uri("nodes", node["name"]), "data": _chosen(node, wanted)} for node in rows]
    return json_response(200, {"total": min(len(found), WINDOW), "start": start, "rows": rows})


def bad_body(wanted: dict[str, Any]) -> str | None:
    """Why the body of a partial search is of no use; None when it is."""
    is_path = all(isinstance(path, list) and all(isinstance(key, str) for key in path) for path in wanted.values())
    return None if is_path else "invalid search"


@functools.lru_cache(maxsize=1 << 17)
def object_id(name: str) -> str:
    """The id of a node in the index, by which results are sorted: it ends in an MD5."""
    return f"{0:016x}{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()}"


def _chosen(node: Node, wanted: dict[str, list[str]]) -> dict[str, Any]:
    """For each key the value at its path, or null."""
    return {key: _at(node, path) for key, path in wanted.items()}


def _at(node: Node, path: list[str]) -> Any:  # noqa: ANN401 - any JSON value
    if not path:
        return None
    value = _top(node, path[0])
    for key in path[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _top(node: Node, key: str) -> Any:  # noqa: ANN401 - any JSON value
    """One top-level key of the node as a search sees it: its attributes merged, and over them what it is itself."""
    if key in ("name", "chef_environment", "run_list", "policy_name", "policy_group"):
        return node.get(key)
    merged: Any = None
    for level in _LEVELS:
        if key in node[level]:
            merged = _merged(merged, node[level][key])
    return merged


def _merged(weaker: Any, stronger: Any) -> Any:  # noqa: ANN401 - any JSON values
    if not (isinstance(weaker, dict) and isinstance(stronger, dict)):
        return stronger
    both = {key: _merged(weaker[key], stronger[key]) for key in weaker.keys() & stronger.keys()}
    return {**weaker, **stronger, **both}


def _fields(node: Node) -> Iterator[tuple[str, str]]:
    tops = {key for level in _LEVELS for key in node[level]} | {"name", "chef_environment", "run_list"}
    for key in tops:
        yield from _flat(key, key, _top(node, key))


def _flat(path: str, last: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{path}_{key}", key, inner)
            yield path, key  # that a key is there can be asked for, too
    elif isinstance(value, list):
        for inner in value:
            yield from _flat(path, last, inner)
    else:
        text = json.dumps(value) if isinstance(value, bool | None) else str(value)
        yield path, text
        yield last, text


# --- queries --------------------------------------------------------------------------------------------------------


def _parse(query: str) -> Predicate:
    """The query as a question to an entry of the index.

    Raises:
        ValueError, IndexError: it is none.
    """
    tokens = _TOKEN.findall(query)
    if "".join(tokens) != re.sub(r"\s", "", query):
        raise ValueError(query)
    matches = _either(tokens)
    if tokens:
        raise ValueError(query)
    return matches


def _either(tokens: list[str]) -> Predicate:
    matches = _both(tokens)
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        matches = functools.partial(_or, matches, _both(tokens))
    return matches


def _both(tokens: list[str]) -> Predicate:
    matches = _one(tokens)
    while tokens and tokens[0] in ("AND", "NOT"):
        if tokens[0] == "AND":
            tokens.pop(0)
        matches = functools.partial(_and, matches, _one(tokens))
    return matches


def _one(tokens: list[str]) -> Predicate:
    word = tokens.pop(0)
    if word == "NOT":
        return functools.partial(_not, _one(tokens))
    if word == "(":
        matches = _either(tokens)
        if tokens.pop(0) != ")":
            raise ValueError(word)
        return matches
    field, colon, pattern = word.partition(":")
    if not colon:
        raise ValueError(word)
    return _term(field, pattern)


def _term(field: str, pattern: str) -> Predicate:
    if (field, pattern) == ("*", "*"):
        return lambda entry: True  # noqa: ARG005
    if field == "X_CHEF_id_CHEF_X":
        ending = pattern.removeprefix("*")
        return lambda entry: object_id(entry.name).endswith(ending)
    # Brackets are no pattern here, and what is escaped is itself.
    parts = re.split(r"(\\.|[\[\]])", pattern.strip('"'))
    glob = "".join(f"[{part[-1]}]" if place % 2 else part for place, part in enumerate(parts))
    fits = re.compile(fnmatch.translate(glob)).fullmatch
    if field == "chef_environment":
        return lambda entry: fits(entry.node[field]) is not None
    return lambda entry: any(map(fits, entry.fields().get(field, ())))


def _or(one: Predicate, other: Predicate, entry: _Entry) -> bool:
    return one(entry) or other(entry)


def _and(one: Predicate, other: Predicate, entry: _Entry) -> bool:
    return one(entry) and other(entry)


def _not(one: Predicate, entry: _Entry) -> bool:
    return not one(entry)
