"""I/O: the node's object on one Chef server, read whole or created, always by the node's own key.

A node may read every node, policy group and environment, and create its own object, by the permissions that a Chef
server gives by default. None of this ever changes an object that exists.

Sources: github.com/chef/chef-server chef_wm_nodes.erl, oc_chef_wm_policy_group_policy_rev.erl; goiardi 0.11.10 as it
runs.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

import requests.auth

from chef_failover import node_document
from chef_failover.answers import judge_created, judge_named, judge_node
from chef_failover.deadline import ProbeError
from chef_failover.exchange import Ask, Exchange
from chef_failover.model import DEFAULT_ENVIRONMENT, NodeCheck, NodeObject, Outcome, ReadinessPolicy
from chef_failover.node_document import NotANodeObjectError

UtcNow = Callable[[], datetime.datetime]


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def check(
    exchange: Exchange,
    auth: requests.auth.AuthBase,
    policy: ReadinessPolicy,
    *,
    clock: Callable[[], float] = time.monotonic,
    utc_now: UtcNow = _utc_now,
) -> NodeCheck:
    """One whole reading of what a run needs there. Whatever the server or the network does is a value."""
    try:
        with exchange.open() as ask:
            node = _read(ask, exchange, auth, utc_now())
            needed = policy if policy.has_policy else node
            policy_found = environment_found = None
            if needed is not None and needed.has_policy:
                policy_found = _has_policy(ask, exchange, auth, str(needed.policy_group), str(needed.policy_name))
            if node is not None:
                environment_found = _has_environment(ask, exchange, auth, node.environment)
    except ProbeError as error:
        return NodeCheck(clock(), trouble=error.detail)
    return NodeCheck(clock(), node, policy_found, environment_found)


def read(exchange: Exchange, auth: requests.auth.AuthBase, *, utc_now: UtcNow = _utc_now) -> NodeObject | None:
    """This node's object, or None when the server proves that it has none.

    Raises:
        ProbeError: neither is certain.
    """
    with exchange.open() as ask:
        return _read(ask, exchange, auth, utc_now())


def policy_exists(exchange: Exchange, auth: requests.auth.AuthBase, group: str, name: str) -> bool | None:
    """Whether policy ``name`` is in policy ``group`` there; None when its answer proves neither.

    Raises:
        ProbeError: there is no answer.
    """
    with exchange.open() as ask:
        return _has_policy(ask, exchange, auth, group, name)


def create(
    exchange: Exchange, auth: requests.auth.AuthBase, name: str, node: NodeObject, *, utc_now: UtcNow = _utc_now
) -> bool:
    """Create the object of the node ``name``, who signs; False when somebody else has just made it: read it then.

    Raises:
        ProbeError: it was not created, or nobody knows whether it was.
    """
    document = node_document.write(node, name)
    with exchange.open() as ask:
        answer = ask("POST", f"{exchange.target.chef_server_url}/nodes", auth, document)
    if answer.status == HTTPStatus.CONFLICT:
        return False
    finding = judge_created(answer, name, utc_now())
    if finding.outcome is not Outcome.OK:
        raise ProbeError(finding.outcome, finding.detail)
    return True


def _read(ask: Ask, exchange: Exchange, auth: requests.auth.AuthBase, utc_now: datetime.datetime) -> NodeObject | None:
    answer = ask("GET", exchange.target.node_url, auth)
    finding = judge_node(answer, exchange.target.node_name or "", utc_now)
    if not finding.outcome.serves_node:
        raise ProbeError(finding.outcome, finding.detail)
    if not finding.has_node_object:
        return None
    try:
        return node_document.parse(answer.json() or {})
    except NotANodeObjectError as error:
        raise ProbeError(Outcome.NOT_CHEF, f"its object of this node {error}") from error


def _has_policy(ask: Ask, exchange: Exchange, auth: requests.auth.AuthBase, group: str, name: str) -> bool | None:
    path = f"policy_groups/{quote(group, safe='')}/policies/{quote(name, safe='')}"
    return judge_named(ask("GET", f"{exchange.target.chef_server_url}/{path}", auth), name, group)


def _has_environment(ask: Ask, exchange: Exchange, auth: requests.auth.AuthBase, name: str) -> bool | None:
    if name == DEFAULT_ENVIRONMENT:
        return True
    path = f"environments/{quote(name, safe='')}"
    return judge_named(ask("GET", f"{exchange.target.chef_server_url}/{path}", auth), name)
