"""Pure: the chef-client runs that have ended, as far as we remember them, and what they tell of their servers."""

from __future__ import annotations

import datetime
import enum
import math
from collections.abc import Mapping

import attrs

from chef_failover.model.needs import DEFAULT_ENVIRONMENT, Question

RUNS_KEPT = 20


class Phase(enum.StrEnum):
    """How far a run had come when it failed."""

    START = "start"
    """The server has yet to give it the node and its cookbooks: no cookbook has had a word."""
    CONVERGE = "converge"
    """Cookbooks are at work, from their compilation on."""
    SAVE = "save"
    """All is converged, and the node is saved on the server."""


@attrs.frozen
class Used:
    """What a run of this node used, as chef-client knows it when the run ends."""

    run_list: tuple[str, ...] = ()
    environment: str = DEFAULT_ENVIRONMENT
    policy_name: str | None = None
    policy_group: str | None = None
    policy_revision: str | None = None
    cookbooks: Mapping[str, str] = attrs.field(factory=dict)
    """The version of each cookbook that the run loaded, by name."""

    @property
    def has_policy(self) -> bool:
        """It ran by a policy, which stands for run list and environment."""
        return self.policy_name is not None and self.policy_group is not None

    @property
    def question(self) -> Question:
        """What a server is to be asked for, to be compared with this."""
        if self.policy_name is not None and self.policy_group is not None:
            return (self.policy_name, self.policy_group), None
        return None, self.environment

    @property
    def work(self) -> object:
        """The same as `NodeObject.work`."""
        return (self.policy_name, self.policy_group) if self.has_policy else (self.environment, self.run_list)

    @property
    def does_something(self) -> bool:
        """It configured something."""
        return bool(self.run_list) or self.has_policy


@attrs.frozen
class Run:
    """One run that has ended. ``started_on`` is None when its start was not reported."""

    run_id: str
    server: str | None
    result: str
    """``succeeded`` or ``failed``."""
    error_class: str | None
    ended_on: datetime.datetime
    started_on: datetime.datetime | None = None
    duration_s: float | None = None
    phase: Phase | None = None
    """Of a failed run, where the shim has told."""
    http_status: int | None = None
    """Of the answer that failed it, if one did."""
    used: Used | None = None
    """Where the shim has told. Of the runs that are remembered it is forgotten: `Snapshot` has the latest."""

    @property
    def is_success(self) -> bool:
        """It converged this node."""
        return self.result == "succeeded"


@attrs.frozen
class RunHistory:
    """The last runs, oldest first, and what has to be known of those before them."""

    runs: tuple[Run, ...] = ()
    since_success: int = 0
    """Runs that failed since the last one that succeeded, or since we know."""
    last_success_on: datetime.datetime | None = None

    @property
    def last(self) -> Run | None:
        """The latest."""
        return self.runs[-1] if self.runs else None

    def add(self, run: Run) -> RunHistory:
        """With one more; a run whose end was told before is not counted again."""
        if any(known.run_id == run.run_id for known in self.runs):
            return self
        runs = (*self.runs, run)[-RUNS_KEPT:]
        if run.is_success:
            return RunHistory(runs, 0, run.ended_on)
        return RunHistory(runs, self.since_success + 1, self.last_success_on)


@attrs.frozen
class RunEvidence:
    """What this node's runs on one server tell of that server."""

    failed_starts: int = 0
    """Runs in a row that it failed in their first phase while its probes were well."""
    failed_at: float = -math.inf
    """When the latest of these, or the last one that could not save the node, ended, on the monotonic clock."""
    failure: str = ""
    """What that one failed with, in words."""
    saves: bool | None = None
    """Whether the last run that could tell saved the node there."""
    has_succeeded: bool = False
    """A run of this node has succeeded there, and the server has not forgotten the node since."""
