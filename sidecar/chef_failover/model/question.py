"""Pure: what one reading asks a server, as values."""

from __future__ import annotations

import enum

import attrs

from chef_failover.model.needs import NodeObject, ReadinessPolicy
from chef_failover.model.run_history import Used


class Look(enum.Enum):
    """What is asked of the node object."""

    NOTHING = "nothing"
    EXISTENCE = "existence"
    """Whether it is there, by its access control list or, where a server has none, by a ``HEAD``."""
    ARRIVAL = "arrival"
    """The same; and if it is there now, it is read whole."""
    WHOLE = "whole"


@attrs.frozen
class Question:
    """What one reading asks."""

    policy: ReadinessPolicy = ReadinessPolicy()
    """What the configuration says."""
    look: Look = Look.WHOLE
    asks_content: bool = True
    """Ask for the policy or the environment as well."""
    compares: bool = False
    """Ask for versions of cookbooks, too."""
    used: Used | None = None
    """What runs use, which tells what to ask for while the object there is not known."""

    def content(self, node: NodeObject | None) -> tuple[tuple[str, str] | None, str | None]:
        """Name and group of the policy that a run there needs, or else its environment; ``node`` is what it has."""
        for one in (self.policy, node, self.used):
            if one is not None and one.policy_name is not None and one.policy_group is not None:
                return (one.policy_name, one.policy_group), None
            if isinstance(one, NodeObject | Used):
                return None, one.environment
        return None, None
