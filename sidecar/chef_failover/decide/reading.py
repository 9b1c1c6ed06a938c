"""Pure: when what a run of this node needs is read on a server, what is asked then, and what a run tells without it.

A whole fleet reads, so a reading has to have a reason. Nothing is read on the server in use once a run has succeeded
there: what a run used, it tells at its end. The others are read when the node has been registered there, within half an
hour after what runs use has changed, and once a day; after a restart at once where the node had no object. While
something is missing, or a server cannot be read, the next reading comes after a random part of a span that doubles, and
asks for no more than what is missing.

A server that comes back after hours owes a reading to a part of the fleet. These are spread over a day as well, so that
it is read no more than at rest.

A node object can have megabytes. Whether it is there is told by its access control list, or by a ``HEAD`` where there
is no such list. It is read whole only where it is not known what it does, where it differs from what runs use, and
where another one is to be made like it.
"""

from __future__ import annotations

import math

import attrs

from chef_failover.decide import parity, seeding
from chef_failover.decide.readiness import why_not_ready
from chef_failover.decide.rights import is_barred, is_refused
from chef_failover.decide.spread import doubled, varied
from chef_failover.model.model import NodeCheck, ServerSnapshot, Snapshot
from chef_failover.model.needs import Content, NodeObject, ParityMode
from chef_failover.model.question import Look, Question
from chef_failover.model.run_history import Phase, Run, Used

DAY_S = 86400.0
"""Seconds between readings at rest, and the longest span of all."""
SPREAD_S = 1800.0
"""Over so many seconds a fleet reads what may have changed everywhere."""
LACKING_S = 1800.0
"""Half of the first span while something is missing; each further reading in vain doubles the span."""
UNREADABLE_S = 60.0
"""The same while a server cannot be read."""
_MISSING = (404, 412)
"""What a server answers to a run that lacks a policy, an environment or a cookbook there."""


def due_at(
    snapshot: Snapshot, server: ServerSnapshot, *, chance: float, since: float, asked_at: float = -math.inf
) -> float:
    """The instant of the monotonic clock from which on what a run needs there is to be read.

    Minus infinity for at once; infinity as long as only a change of ``snapshot`` can bring it.

    Args:
        snapshot: the world.
        server: the one to be read.
        chance: from 0 to below 1, for the jitter; the same until the next reading.
        since: when this life began to look after the node.
        asked_at: when a person, or a run that left something open, last asked for a reading.
    """
    policy, check = snapshot.policy, server.node_check
    is_off = policy.readiness.is_off and policy.parity is ParityMode.OFF
    if is_off or not server.answers_node:
        return math.inf
    read_at = server.read_at
    is_in_use = snapshot.is_in_use(server.name)
    is_model = seeding.is_awaited_from(snapshot, server)
    is_unread = check is None and (not server.was_known or server.lacked_object_at is not None)
    is_new = is_unread or server.registration.retry_at > read_at
    if is_in_use and server.has_had_success and not is_model and asked_at <= read_at:
        return math.inf
    due_at = _after_outage(server, _due_at(snapshot, check, chance, since), chance)
    if asked_at > read_at or is_new or (is_model and not (check and check.trouble)):
        due_at = -math.inf
    return max(due_at, server.stay_away_until + UNREADABLE_S * chance)


def question(snapshot: Snapshot, server: ServerSnapshot, *, asked_at: float = -math.inf) -> Question:
    """What the next reading there asks; everything if a person has asked for it."""
    check, readiness, used = server.node_check, snapshot.policy.readiness, snapshot.used
    is_missing = server.has_node_object is False
    is_model = seeding.is_awaited_from(snapshot, server)
    is_asked = asked_at > server.read_at
    asks_content = is_asked or not (is_model and server.has_had_success)
    look = Look.ARRIVAL if is_missing else Look.EXISTENCE
    if readiness.has_policy:
        look = Look.EXISTENCE
    elif is_asked or is_model or not _is_known(server, used):
        look = Look.WHOLE
    elif check is not None and not check.trouble and check.misses > 0 and _span_s(check) < DAY_S:
        asks_content = not (is_missing or is_barred(snapshot, server))
        look = Look.NOTHING if asks_content else look
    return Question(readiness, look, asks_content, parity.is_compared(snapshot, server), used)


def counted(snapshot: Snapshot, server: ServerSnapshot, check: NodeCheck) -> NodeCheck:
    """``check``, the latest reading of ``server``, which has it already, with the `NodeCheck.misses` continued."""
    is_miss = check.trouble or why_not_ready(snapshot, server) or parity.is_behind(snapshot, server)
    return attrs.evolve(check, misses=check.misses + 1 if is_miss else 0)


def after_run(server: ServerSnapshot, used: Used, *, at: float) -> ServerSnapshot:
    """What is known of ``server`` once a run there has succeeded that used ``used``, ``at`` that instant."""
    former = server.node_check or NodeCheck(-math.inf)
    policy, environment = used.question
    content = Content(at, policy, used.policy_revision, environment, used.cookbooks or None)
    check = NodeCheck(at, former.node, content=content, has_node_object=True, node_read_at=former.node_read_at)
    check, is_empty = attrs.evolve(check, policy_found=used.has_policy or None), not used.does_something
    if is_empty and (server.has_node_object is False or server.lacked_object_at is not None):
        made = NodeObject(environment=used.environment)  # by chef-client, just now
        check = attrs.evolve(check, node=made, node_read_at=at)
        return attrs.evolve(server, node_check=check, lacked_object_at=at)
    if not is_empty and check.node is not None and check.node.work != used.work:
        check = attrs.evolve(check, node=None)
    has_had_useful = server.had_useful_node_object or not is_empty
    return attrs.evolve(server, node_check=check, had_useful_node_object=has_had_useful, lacked_object_at=None)


def is_asked_by(server: ServerSnapshot, run: Run) -> bool:
    """The end of ``run`` leaves open what is there; ``server`` is as it was before."""
    if run.is_success:
        return run.used is None and server.has_node_object is False
    is_open = (run.phase is Phase.START and run.http_status in _MISSING) or is_refused(run)
    return is_open or server.has_node_object is False


def _is_known(server: ServerSnapshot, used: Used | None) -> bool:
    """What the object there does is known, and as runs have it, even if that is nothing."""
    node = server.node_object
    is_told = server.has_useful_node_object if node is None or used is None else node.work == used.work
    return server.has_node_object is False or is_told


def _due_at(snapshot: Snapshot, check: NodeCheck | None, chance: float, since: float) -> float:
    if check is None:
        return since + SPREAD_S * chance
    span_s = _span_s(check) if check.misses else DAY_S
    # What lasts is read as what is well.
    due_at = check.read_at + (chance * span_s if span_s < DAY_S else varied(DAY_S, chance))
    if snapshot.used_since > check.read_at and not check.trouble:
        return min(due_at, snapshot.used_since + SPREAD_S * chance)
    return due_at


def _span_s(check: NodeCheck) -> float:
    return doubled(UNREADABLE_S if check.trouble else LACKING_S, check.misses, DAY_S)


def _after_outage(server: ServerSnapshot, due_at: float, chance: float) -> float:
    """``due_at`` or, where the server could not be read then, some time within a day since it can.

    One that was never read is called ready meanwhile, so it has half an hour.
    """
    changes = (server.liveness.changed_at, server.access.changed_at)
    came_back_at = max((at for at in changes if at is not None), default=-math.inf)
    span_s = DAY_S if server.is_known else SPREAD_S
    return due_at if due_at >= came_back_at else came_back_at + span_s * chance
