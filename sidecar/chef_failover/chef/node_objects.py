"""I/O: the node's object on one Chef server, read whole or created, always by the node's own key.

A node may read every node, policy group and environment, and create and save its own object, by the permissions that a
Chef server gives by default. None of this ever changes an object to which somebody has given something.

Sources: github.com/chef/chef-server chef_wm_nodes.erl, oc_chef_wm_named_policy_group.erl, chef_wm_cookbooks.erl,
oc_chef_wm_acl.erl;
goiardi 0.11.10 as it runs.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import attrs

from chef_failover import turns
from chef_failover.chef import limits, node_document
from chef_failover.chef.answers import (
    Answer,
    judge_acl,
    judge_cookbooks,
    judge_created,
    judge_named,
    judge_node,
    judge_policy,
)
from chef_failover.chef.deadline import ProbeError, TooLargeError
from chef_failover.chef.https import Auth, ChefServer, Connection
from chef_failover.chef.node_document import NotANodeObjectError
from chef_failover.chef.protocol import segment
from chef_failover.decide.reading import is_recent
from chef_failover.model.model import NodeCheck, Outcome
from chef_failover.model.needs import DEFAULT_ENVIRONMENT, Content, NodeObject, ReadinessPolicy

TURN_S = 60.0
"""How long a reading waits for others; each of them ends within its own timeout."""
UtcNow = Callable[[], datetime.datetime]


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def check(
    server: ChefServer,
    auth: Auth,
    policy: ReadinessPolicy,
    *,
    compares: bool = False,
    former: NodeCheck | None = None,
    clock: Callable[[], float] = time.monotonic,
    utc_now: UtcNow = _utc_now,
) -> NodeCheck:
    """One whole reading of what a run needs there. Whatever the server or the network does is a value.

    Args:
        server: how to reach it.
        auth: signs as this node.
        policy: what the configuration says.
        compares: also find out what can be compared with other servers: a policy's revision, or cookbooks' versions.
        former: the reading before; for what can be compared nobody asks again so soon.
        clock: monotonic seconds.
        utc_now: wall time, which servers have, too.
    """
    content = policy_found = environment_found = may_save = None
    try:
        with _its_turn(server) as connection:
            document = _read(connection, auth, utc_now())
            node = _parse(document)
            needed = policy if policy.has_policy else node

            def get(path: str) -> Answer:
                url = f"{connection.target.chef_server_url}/{path}"
                return connection.request("GET", url, auth, limit=limits.OBJECT_BYTES)

            if needed is not None and needed.has_policy:
                wanted = Content(clock(), policy=(str(needed.policy_name), str(needed.policy_group)))
                policy_found, content = _policy(get, wanted, former)
            elif node is not None:
                environment_found = _has_environment(get, node.environment)
                if compares:
                    used = node_document.cookbooks_used(document or {})
                    content = _cookbooks(get, Content(clock(), environment=node.environment, used=used), former)
            if node is not None:
                may_save = _may_save(connection, auth, former)
    except TooLargeError as error:
        is_of_this_node = _names(error.head, server.target.node_name or "")
        return NodeCheck(clock(), trouble=error.detail, has_node_object=is_of_this_node or None)
    except ProbeError as error:
        return NodeCheck(clock(), trouble=error.detail)
    content = content if compares else None
    return NodeCheck(clock(), node, policy_found, environment_found, content=content, may_save=may_save)


def read(server: ChefServer, auth: Auth, *, utc_now: UtcNow = _utc_now) -> NodeObject | None:
    """This node's object, or None when the server proves that it has none.

    Raises:
        ProbeError: neither is certain.
    """
    with _its_turn(server) as connection:
        return _parse(_read(connection, auth, utc_now()))


def create(server: ChefServer, auth: Auth, name: str, node: NodeObject, *, utc_now: UtcNow = _utc_now) -> bool:
    """Create the object of the node ``name``, who signs; False when somebody else has just made it: read it then.

    Raises:
        ProbeError: it was not created, or nobody knows whether it was.
    """
    document = node_document.write(node, name)
    with _its_turn(server) as connection:
        answer = connection.request("POST", f"{connection.target.chef_server_url}/nodes", auth, document)
    if answer.status == HTTPStatus.CONFLICT:
        return False
    finding = judge_created(answer, name, utc_now())
    if finding.outcome is not Outcome.OK:
        raise ProbeError(finding.outcome, finding.detail)
    return True


def fill(server: ChefServer, auth: Auth, name: str, node: NodeObject, *, utc_now: UtcNow = _utc_now) -> bool:
    """Give ``node`` to the object that a run has left empty; False when it is no longer like that: read it then.

    Raises:
        ProbeError: it was not saved, or nobody knows whether it was.
    """
    with _its_turn(server) as connection:
        document = _read(connection, auth, utc_now())
        found = _parse(document)
        if document is None or found is None or not found.is_left_for(node):
            return False
        filled = node_document.filled(document, node)
        answer = connection.request("PUT", connection.target.node_url, auth, filled, limit=limits.OBJECT_BYTES)
    finding = judge_node(answer, name, utc_now())
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
        raise ProbeError(
            Outcome.READ_TIMEOUT, "not asked, since other large objects are being read", never_left_node=True
        )
    try:
        with server.open() as connection:
            yield connection
    finally:
        turns.LARGE.release()


def _names(head: bytes, name: str) -> bool:
    """Is it the beginning of an object of that name?"""
    return re.search(rb'"name"\s*:\s*' + re.escape(json.dumps(name).encode()), head) is not None


def _read(connection: Connection, auth: Auth, utc_now: datetime.datetime) -> Mapping[str, Any] | None:
    answer = connection.request("GET", connection.target.node_url, auth, limit=limits.OBJECT_BYTES)
    finding = judge_node(answer, connection.target.node_name or "", utc_now)
    if not finding.outcome.serves_node:
        raise ProbeError(finding.outcome, finding.detail)
    return answer.json() if finding.has_node_object else None


def _parse(document: Mapping[str, Any] | None) -> NodeObject | None:
    try:
        return None if document is None else node_document.parse(document)
    except NotANodeObjectError as error:
        raise ProbeError(Outcome.NOT_CHEF, f"its object of this node {error}") from error


def _may_save(connection: Connection, auth: Auth, former: NodeCheck | None) -> bool | None:
    """As `NodeCheck` has it. What a run needs has been read, and stays so whatever becomes of this."""
    try:
        return judge_acl(connection.request("GET", f"{connection.target.node_url}/_acl", auth))
    except ProbeError:
        return former.may_save if former is not None else None


def _policy(
    get: Callable[[str], Answer], wanted: Content, former: NodeCheck | None
) -> tuple[bool | None, Content | None]:
    """Whether the policy exists, and its revision: by the list of its group, since the policy itself can be huge.

    Only a policy that was missing is asked for again before its time.
    """
    if former is not None and former.policy_found is not False and is_recent(former.content, wanted):
        return former.policy_found, former.content
    name, group = wanted.policy or ("", "")
    found = judge_policy(get(f"policy_groups/{segment(group)}"), group, name)
    return found.exists, attrs.evolve(wanted, revision=found.revision)


def _cookbooks(get: Callable[[str], Answer], wanted: Content, former: NodeCheck | None) -> Content:
    """The latest versions that the environment admits."""
    known = former.content if former is not None else None
    if known is not None and is_recent(known, wanted):
        return attrs.evolve(known, used=wanted.used)
    environment = str(wanted.environment)
    is_default = environment == DEFAULT_ENVIRONMENT
    place = f"environments/{segment(environment)}/cookbooks?num_versions=1"
    try:
        answer = get("cookbooks/_latest" if is_default else place)
    except ProbeError:
        return wanted  # what a run needs has been read, and stays so
    return attrs.evolve(wanted, cookbooks=judge_cookbooks(answer))


def _has_environment(get: Callable[[str], Answer], name: str) -> bool | None:
    if name == DEFAULT_ENVIRONMENT:
        return True
    return judge_named(get(f"environments/{segment(name)}"), name)
