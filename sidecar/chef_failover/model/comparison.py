"""Pure: what one server has, beside what runs use. Whether it counts is `decide.parity`."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from chef_failover.model.needs import Content
from chef_failover.model.run_history import Used
from chef_failover.printable import printable

_NAMED = 3
"""Cookbooks that are named at the most."""
_SHORT = 7
"""Characters of a revision that people are shown, where they tell the difference."""


@attrs.frozen
class Comparison:
    """What a server has, beside what runs use."""

    words: str
    """For people. Of a stale one, what is older there, as words of their own."""
    is_stale: bool | None = None
    """None: not compared, or it cannot be told."""


def comparison(used: Used, content: Content) -> Comparison:
    """What a server has by ``content``, beside what runs ``used``."""
    if content.question != used.question:
        return Comparison("not compared: this node has another policy or environment there")
    if used.has_policy:
        if used.policy_revision is None or content.revision is None:
            return Comparison("not compared: the revision of the policy is not known")
        words = _behind_in_policy(str(used.policy_name), used.policy_revision, content.revision)
    else:
        if not used.cookbooks or content.cookbooks is None:
            return Comparison("not compared: the versions of the cookbooks are not known")
        words = _behind_in_cookbooks(used.cookbooks, content.cookbooks)
    return Comparison(words or "has what runs use, or newer", is_stale=words is not None)


def _behind_in_policy(name: str, here: str, there: str) -> str | None:
    if there == here:
        return None
    if there[:_SHORT] != here[:_SHORT]:
        there, here = there[:_SHORT], here[:_SHORT]
    return f"policy {printable(name)} is at {there} there; runs use {here}"


def _behind_in_cookbooks(used: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    said = [
        f"{name} {theirs.get(name, 'missing')} there, runs use {version}"
        for name, version in sorted(used.items())
        if name not in theirs or _ordered(theirs[name]) < _ordered(version)
    ]
    if not said:
        return None
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    count = "1 cookbook is" if len(said) == 1 else f"{len(said)} cookbooks are"
    return f"{count} older: {'; '.join(said[:_NAMED])}{more}"


def _ordered(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))
