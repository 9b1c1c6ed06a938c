"""I/O: the node's object on one Chef server, read whole, created or filled, always by the node's own key.

A node may read every node, policy group and environment, and create and save its own object, by the permissions that a
Chef server gives by default. None of this ever changes an object that does something.

Sources: github.com/chef/chef-server chef_wm_nodes.erl, oc_chef_wm_named_policy_group.erl, chef_wm_cookbooks.erl,
oc_chef_wm_acl.erl;
goiardi 0.11.10 as it runs.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from chef_failover import turns
from chef_failover.chef import limits, node_document
from chef_failover.chef.answers import (
    Answer,
    judge_acl,
    judge_cookbooks,
    judge_created,
    judge_head,
    judge_named,
    judge_one,
    judge_policy,
)
from chef_failover.chef.deadline import ProbeError, TooLargeError
from chef_failover.chef.https import Auth, ChefServer, Connection
from chef_failover.chef.node_document import NotANodeObjectError
from chef_failover.chef.protocol import segment
from chef_failover.model.model import NodeCheck, Outcome
from chef_failover.model.needs import DEFAULT_ENVIRONMENT, Content, NodeObject
from chef_failover.model.question import Look, Question

TURN_S = 60.0
"""How long a reading waits for others; each of them ends within its own timeout."""
UtcNow = Callable[[], datetime.datetime]


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def check(
    server: ChefServer,
    auth: Auth,
    question: Question,
    *,
    former: NodeCheck | None = None,
    clock: Callable[[], float] = time.monotonic,
    utc_now: UtcNow = _utc_now,
) -> NodeCheck:
    """One reading of what a run needs there. Whatever the server or the network does is a value.

    ``former`` is the reading before, which holds for what is not asked, or not told.
    """
    found = former or NodeCheck(-math.inf, has_node_object=None)
    try:
        with _its_turn(server) as connection:
            reader = _Reader(connection, auth, clock, utc_now)
            found = reader.look(question, found)
            if question.asks_content:
                found = reader.ask_content(question, found)
    except TooLargeError as error:
        is_of_this_node = _names(error.head, server.target.node_name)
        return NodeCheck(clock(), trouble=error.detail, has_node_object=is_of_this_node or None)
    except ProbeError as error:
        return NodeCheck(clock(), trouble=error.detail)
    return attrs.evolve(found, read_at=clock(), trouble="")


def create(server: ChefServer, auth: Auth, node: NodeObject, *, utc_now: UtcNow = _utc_now) -> bool:
    """Create the object of this node, which signs; False when another program has just made it: read it then.

    Raises:
        ProbeError: it was not created, or that is unknown.
    """
    name = server.target.node_name
    document = node_document.write(node, name)
    with _its_turn(server) as connection:
        answer = connection.request("POST", f"{server.target.chef_server_url}/nodes", auth, document)
    if answer.status == 409:
        return False
    finding = judge_created(answer, name, utc_now())
    if finding.outcome is not Outcome.OK:
        raise ProbeError(finding.outcome, finding.detail)
    return True


def fill(server: ChefServer, auth: Auth, node: NodeObject, *, utc_now: UtcNow = _utc_now) -> bool:
    """Give ``node`` to the object that a run has left empty; False when it is no longer like that: read it then.

    Raises:
        ProbeError: it was not saved, or that is unknown.
    """
    name = server.target.node_name
    with _its_turn(server) as connection:
        document = _read(connection, auth, utc_now())
        if document is None or not _parse(document).is_left_for(node):
            return False
        filled = node_document.filled(document, node)
        answer = connection.request("PUT", server.target.own("nodes"), auth, filled, limit=limits.OBJECT_BYTES)
    finding = judge_one(answer, name, name, utc_now())
    if finding.outcome is not Outcome.OK or not finding.has_node_object:
        raise ProbeError(finding.outcome, finding.detail)
    return True


@contextlib.contextmanager
def _its_turn(server: ChefServer) -> Iterator[Connection]:
    """A connection to ``server`` for what may be large, once nothing else that is large is under way.

    Raises:
        ProbeError: something else takes too long, or the server cannot be asked.
    """
    if not turns.LARGE.acquire(timeout=TURN_S):
        raise ProbeError(Outcome.READ_TIMEOUT, "not asked: other large objects are being read", never_left_node=True)
    try:
        with server.open() as connection:
            yield connection
    finally:
        turns.LARGE.release()


def _names(head: bytes, name: str) -> bool:
    """Is it the beginning of an object of that name?"""
    return re.search(rb'"name"\s*:\s*' + re.escape(json.dumps(name).encode()), head) is not None


def _read(connection: Connection, auth: Auth, utc_now: datetime.datetime) -> Mapping[str, Any] | None:
    """The node's object, or None when the server proves that it has none."""
    answer = connection.request("GET", connection.target.own("nodes"), auth, limit=limits.OBJECT_BYTES)
    name = connection.target.node_name
    finding = judge_one(answer, name, name, utc_now)
    if finding.outcome is not Outcome.OK:
        raise ProbeError(finding.outcome, finding.detail)
    return answer.document if finding.has_node_object else None


def _parse(document: Mapping[str, Any]) -> NodeObject:
    try:
        return node_document.parse(document)
    except NotANodeObjectError as error:
        raise ProbeError(Outcome.NOT_CHEF, f"its node object {error}") from error


@attrs.frozen
class _Reader:
    """Asks, over one connection, what one reading asks."""

    connection: Connection
    auth: Auth
    clock: Callable[[], float]
    utc_now: UtcNow

    def look(self, question: Question, former: NodeCheck) -> NodeCheck:
        """``former`` with what the server says of the node's object."""
        if question.look is Look.NOTHING:
            return former
        exists, may_save = self._by_acl() if question.look is not Look.WHOLE else (None, None)
        if exists is None and question.look is not Look.WHOLE and not question.policy.has_policy:
            exists = self._by_head()
        is_whole = exists is None or (exists and question.look is Look.ARRIVAL)
        if question.look is not Look.WHOLE and (not is_whole or question.policy.has_policy):
            is_there = former.has_node_object if exists is None else exists
            node = former.node if is_there else None
            return attrs.evolve(former, node=node, has_node_object=is_there, may_save=may_save)
        document = _read(self.connection, self.auth, self.utc_now())
        node = None if document is None else _parse(document)
        if question.look is Look.WHOLE and node is not None:
            may_save = self._may_save(former)
        is_there, read_at = node is not None, self.clock()
        return attrs.evolve(former, node=node, has_node_object=is_there, may_save=may_save, node_read_at=read_at)

    def ask_content(self, question: Question, former: NodeCheck) -> NodeCheck:
        """``former`` with what the server says of the policy, or else of the environment and its cookbooks."""
        policy, environment = question.content(former.node)
        found = Content(self.clock(), policy, environment=environment)
        policy_found = environment_found = None
        if policy is not None:
            name, group = policy
            # By the list of its group, since the policy itself can be huge.
            told = judge_policy(self._ask(f"policy_groups/{segment(group)}"), group, name)
            policy_found, found = told.exists, attrs.evolve(found, revision=told.revision)
        elif environment is not None:
            cookbooks = self._cookbooks(environment) if question.compares else None
            found = attrs.evolve(found, cookbooks=cookbooks)
            environment_found = cookbooks is not None or self._has_environment(environment)
        known = former.content
        is_kept = known is not None and known.question == found.question and not found.is_readable
        content = known if is_kept else found
        return attrs.evolve(former, policy_found=policy_found, environment_found=environment_found, content=content)

    def _by_acl(self) -> tuple[bool | None, bool | None]:
        """Whether the node's object exists, and whether this node may save it; None for what is not told.

        Raises:
            ProbeError: the server is in trouble, or this node is unknown to it: it is to be asked nothing else.
        """
        name = self.connection.target.node_name
        answer = self._get(f"{self.connection.target.own('nodes')}/_acl")
        exists, may_save = judge_acl(answer, name)
        if exists is None and (answer.status in (401, 429) or answer.status >= 500):
            finding = judge_one(answer, name, name, self.utc_now())
            raise ProbeError(finding.outcome, finding.detail)
        return exists, may_save

    def _by_head(self) -> bool | None:
        """True where a server without ``_acl``, such as goiardi, proves that the node's object exists, else None.

        Where there is none, reading it costs no more than being told.
        """
        answer = self.connection.request("HEAD", self.connection.target.own("nodes"), self.auth)
        return True if judge_head(answer) else None

    def _may_save(self, former: NodeCheck) -> bool | None:
        """What a run needs has been read, and stays so whatever becomes of this."""
        try:
            return self._by_acl()[1]
        except ProbeError:
            return former.may_save

    def _cookbooks(self, environment: str) -> dict[str, str] | None:
        """The latest versions that the environment admits."""
        place = "cookbooks/_latest"
        if environment != DEFAULT_ENVIRONMENT:
            place = f"environments/{segment(environment)}/cookbooks?num_versions=1"
        try:
            return judge_cookbooks(self._ask(place))
        except ProbeError:
            return None  # what a run needs is asked all the same

    def _has_environment(self, name: str) -> bool | None:
        if name == DEFAULT_ENVIRONMENT:
            return True
        return judge_named(self._ask(f"environments/{segment(name)}"), name)

    def _ask(self, path: str) -> Answer:
        return self._get(f"{self.connection.target.chef_server_url}/{path}", limits.OBJECT_BYTES)

    def _get(self, url: str, limit: int = limits.SMALL_BYTES) -> Answer:
        return self.connection.request("GET", url, self.auth, limit=limit)
