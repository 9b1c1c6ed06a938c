"""Pure: what a run of this node needs on a server and what it gets there, as values."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping

import attrs

from chef_failover.printable import printable

DEFAULT_ENVIRONMENT = "_default"
"""The environment that every Chef server has."""
_NAMED = 8
"""Attributes that are named at the most where objects differ."""
Question = tuple[tuple[str, str] | None, str | None]
"""What a run gets is asked for by name and group of a policy or, without one, by the environment."""


class ReadinessMode(enum.StrEnum):
    """What we do about node objects."""

    OFF = "off"
    """Nothing; they play no part."""
    CHECK = "check"
    SEED = "seed"
    """Besides, create the missing ones."""


@attrs.frozen
class ReadinessPolicy:
    """What readiness needs of the configuration: the mode, and the policy that the configuration gives the node."""

    mode: ReadinessMode = ReadinessMode.SEED
    policy_group: str | None = None
    policy_name: str | None = None

    @property
    def is_off(self) -> bool:
        """Node objects play no part."""
        return self.mode is ReadinessMode.OFF

    @property
    def has_policy(self) -> bool:
        """The node runs by a policy of the configuration, so it needs no node object anywhere."""
        return self.policy_group is not None and self.policy_name is not None


@attrs.frozen
class NodeObject:
    """What a node object says of how its node is to be configured."""

    run_list: tuple[str, ...] = ()
    environment: str = DEFAULT_ENVIRONMENT
    policy_name: str | None = None
    policy_group: str | None = None
    normal: str = "{}"
    """The normal attributes as canonical JSON: equal ones are equal text."""

    @property
    def has_policy(self) -> bool:
        """It names a policy, which then stands for the run list."""
        return self.policy_name is not None and self.policy_group is not None

    @property
    def does_something(self) -> bool:
        """A run by it would configure something."""
        return bool(self.run_list) or self.has_policy

    @property
    def work(self) -> object:
        """What a run by it would do: its policy, or else environment and run list."""
        return (self.policy_name, self.policy_group) if self.has_policy else (self.environment, self.run_list)

    def is_left_for(self, other: NodeObject) -> bool:
        """It is as chef-client makes it where there is none, so that ``other`` may take its place."""
        is_bare = not self.does_something and self.normal == "{}"
        return is_bare and self.environment in (DEFAULT_ENVIRONMENT, other.environment)

    def differences(self, other: NodeObject) -> tuple[str, ...]:
        """What is not the same in ``other``, in words. Attributes are only named: a value may be a secret."""
        found = []
        if self.run_list != other.run_list:
            found.append("run list")
        if self.environment != other.environment:
            found.append(f"environment: {other.environment}, not {self.environment}")
        policies = [f"{node.policy_name or 'none'} in {node.policy_group or 'no group'}" for node in (other, self)]
        if policies[0] != policies[1]:
            found.append(f"policy: {policies[0]}, not {policies[1]}")
        if self.normal != other.normal:
            found.append(f"normal attributes: {_differing_keys(self.normal, other.normal)}")
        return tuple(map(printable, found))


class ParityMode(enum.StrEnum):
    """What we do about standbys with another policy or older cookbooks than the last successful run used."""

    OFF = "off"
    """Nothing; they are not compared."""
    WARN = "warn"
    REQUIRE = "require"
    """Besides, pass them over while another server is as new."""


@attrs.frozen
class Content:
    """What a run of this node would get from one server, as far as it can be compared with what runs use.

    Either ``revision`` or ``cookbooks`` is there; neither when the server cannot tell.
    """

    read_at: float
    """On the monotonic clock."""
    policy: tuple[str, str] | None = None
    """Name and group of the policy that was asked for; None for a node with a run list."""
    revision: str | None = None
    """Of that policy."""
    environment: str | None = None
    """Where the cookbooks were asked for."""
    cookbooks: Mapping[str, str] | None = None
    """The latest version of every cookbook that the environment there admits."""

    @property
    def question(self) -> Question:
        """What was asked: only answers to the same question can be compared."""
        return self.policy, self.environment

    @property
    def is_readable(self) -> bool:
        """The server could tell."""
        return self.revision is not None or self.cookbooks is not None


def _differing_keys(one: str, other: str) -> str:
    ours, theirs = _texts_of_values(one), _texts_of_values(other)
    keys = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def _texts_of_values(normal: str) -> dict[str, str]:
    """Each attribute's value as text again: to Python, true is 1."""
    return {key: json.dumps(value, sort_keys=True) for key, value in json.loads(normal).items()}
