"""Pure: YAML with the line of every key, so that a message can point at it."""

from __future__ import annotations

from typing import Any

import attrs
import yaml

Step = str | int
_MOST_VALUES = 100_000
_INT = "tag:yaml.org,2002:int"
_LONGEST_NUMBER = 100
"""Characters of a whole number. Python reads longer ones than it writes."""


@attrs.frozen
class Document:
    """Plain values, the line of each path in them (from 1), and the paths of keys that stand twice."""

    value: Any
    lines: dict[tuple[Step, ...], int]
    duplicates: tuple[tuple[Step, ...], ...]

    def line(self, path: tuple[Step, ...]) -> int:
        """The line of ``path``, or of the nearest thing around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """The first document of ``text``.

    Raises:
        yaml.YAMLError: ``text`` is not YAML, holds more than one document, uses tags that are not plain data, or has
            an alias within what it stands for.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines: dict[tuple[Step, ...], int] = {}
        duplicates: list[tuple[Step, ...]] = []
        if node is not None:
            _walk(node, (), frozenset(), lines, duplicates)
        value = None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()
    return Document(value, lines, tuple(duplicates))


def _walk(
    node: yaml.Node,
    path: tuple[Step, ...],
    around: frozenset[int],
    lines: dict[tuple[Step, ...], int],
    duplicates: list[tuple[Step, ...]],
) -> None:
    """Note the line of ``node`` and of all in it; ``around`` has the identities of the nodes it stands in."""
    if id(node) in around:
        raise yaml.YAMLError("an alias that contains itself")
    if len(lines) > _MOST_VALUES:
        raise yaml.YAMLError(f"more than {_MOST_VALUES} values (aliases expanded)")
    _expect_short_number(node)
    around |= {id(node)}
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _expect_short_number(key)
            inner = (*path, str(key.value))
            if inner in lines:
                duplicates.append(inner)
            lines[inner] = key.start_mark.line + 1
            _walk(value, inner, around, lines, duplicates)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), around, lines, duplicates)


def _expect_short_number(node: yaml.Node) -> None:
    if isinstance(node, yaml.ScalarNode) and node.tag == _INT and len(node.value) > _LONGEST_NUMBER:
        raise yaml.MarkedYAMLError(problem="a number with too many digits", problem_mark=node.start_mark)
