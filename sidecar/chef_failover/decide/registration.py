"""Pure: how a registration goes on, as a literal table, and when the next attempt is due.

A registration is begun before the provider is called and written down, so that a crash in the middle finds REQUESTED
and asks the provider again: each of them recognises what it had begun. FAILED and REFUSED differ only in how soon it is
tried again, and in whether a person is asked for.

Only what is urgent is urgent. A node that has another server which works has all the time in the world: its first
attempt falls anywhere within `Spans.leisure_s`. A node that has none hurries, with the most preferred server first: its
first attempt falls within `Spans.urgent_s`, so that instances that boot together are no peak, and a run or a person
who waits has it made at once.

After a failure the next attempt falls anywhere within a span that doubles (full jitter): from 4 s up to ten minutes,
or from a minute up to four hours where nothing is urgent.

A server that throttles has more nodes at its door than it takes, and none of them knows how many. So there is no limit:
from its first refusal on, each node makes one attempt at any instant of each span, and spans follow one another and
grow. The first takes in a fleet of the size that `Spans.throttled_s` is made for, at about 5 registrations a second;
the second is short, for the few that were refused by chance; from then on each is longer by `GROWTH`. Where 5 a second
are taken, 1,000, 10,000 and 100,000 nodes of a fleet of unknown size make 2, 4.9 and 10 calls a node in 1.5 times the
time that is needed at least. Spans that follow one another make half the calls of those that all begin now, and their
last attempts come sooner.

No node can tell that it is the only one that was refused. So where a run or a person waits for an urgent registration,
the attempt is made when a fleet of unknown size would make it, however large the fleet is said to be.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import attrs

from chef_failover.decide.preference import is_preferred
from chef_failover.decide.spread import BOOT_S, doubled, scale
from chef_failover.model.model import Health, Registration, RegistrationState, ServerSnapshot, Snapshot
from chef_failover.model.registration import Answer, Event

FIRST_SPAN_S = 4.0
LEISURELY_SPAN_S = 60.0
"""The same where nothing is urgent."""
LONGEST_SPAN_S = 600.0
LONGEST_LEISURELY_S = 4 * 3600.0
"""The same where nothing is urgent: a server that registers no node hears little from a fleet that does not need it."""
REFUSED_SPAN_S = 1800.0
"""Refusals are tried again too, since a person may have mended the cause without telling us."""
URGENT_S = 15.0
"""How long the first attempts are spread of nodes that have no server yet and that no run waits for."""
LEISURE_S = 600.0
"""How long the first attempts are spread where ``failback`` is not a shorter time."""
THROTTLED_NODE_S = 0.278
"""Seconds of the first span at a server that throttles, for each node: 3.6 a second come where 5 are taken."""
THROTTLED_NODES = 1000
"""What that span is made for where the size of the fleet is not known."""
SECOND_SPAN = 6 / 278
THIRD_SPAN = 365 / 278
GROWTH = 1.42
"""The second and the third span by the first, and each further one by the one before."""
_OPEN = [state for state in RegistrationState if state is not RegistrationState.REGISTERED]
TABLE: Mapping[tuple[RegistrationState, Event], RegistrationState] = {
    **{(state, Event.BEGIN): RegistrationState.REQUESTED for state in _OPEN},
    (RegistrationState.REQUESTED, Event.GO_ON): RegistrationState.REQUESTED,
    (RegistrationState.REQUESTED, Event.CONFIRM): RegistrationState.REGISTERED,
    (RegistrationState.REQUESTED, Event.FAIL): RegistrationState.FAILED,
    (RegistrationState.REQUESTED, Event.REFUSE): RegistrationState.REFUSED,
    (RegistrationState.REGISTERED, Event.LOSE): RegistrationState.UNREGISTERED,
}


class IllegalTransitionError(LookupError):
    """The table has no such row; nothing has changed."""


@attrs.frozen
class Spans:
    """How long a fleet spreads, in seconds: first attempts that have time, those after a refusal, first probes, and
    first attempts that are urgent."""

    leisure_s: float = LEISURE_S
    throttled_s: float = THROTTLED_NODE_S * THROTTLED_NODES
    boot_s: float = BOOT_S
    urgent_s: float = URGENT_S


USUAL = Spans()
"""Of a fleet of unknown size with the default ``failback``."""


def spans(failback_s: float, nodes: int | None) -> Spans:
    """The spans of a fleet of ``nodes``, None for unknown; ``failback_s`` is 0 for immediately, infinite for never."""
    leisure_s = min(failback_s, LEISURE_S) or LEISURE_S
    throttled_s = max(LEISURELY_SPAN_S, THROTTLED_NODE_S * (nodes or THROTTLED_NODES))
    return Spans(leisure_s * scale(nodes), throttled_s, BOOT_S * scale(nodes), URGENT_S * scale(nodes))


def is_urgent(snapshot: Snapshot, name: str) -> bool:
    """Whether the registration with the server ``name`` cannot wait.

    It can while another server serves this node, or is expected to do so in a moment: at boot the most preferred server
    comes first. It cannot while the node is pinned to ``name``.
    """
    server = snapshot.server(name)
    if server is None or snapshot.pinned == name:
        return True
    others = [one for one in snapshot.servers if one.name != name and _may_serve(snapshot, one)]
    return not any(one.is_registered or is_preferred(one, server, snapshot) for one in others)


def _may_serve(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """It serves this node, as far as we know, or will once the node's first attempt to register has succeeded."""
    if server.health is Health.DOWN or snapshot.orders.drain_of(server.name):
        return False
    if server.is_registered:
        return not server.is_turned_away
    is_begun = server.registration.state in (RegistrationState.UNREGISTERED, RegistrationState.REQUESTED)
    return is_begun and server.registration.attempts <= 1


def put_off(
    registration: Registration, spans: Spans, *, now: float, chance: float, is_urgent: bool = False
) -> Registration:
    """``registration``, of which nothing has been tried yet, to be tried at an instant of the span that it has."""
    waits_s = 0.0, chance * spans.urgent_s, chance * spans.leisure_s
    return _due_after(registration, waits_s, earliest=now, is_urgent=is_urgent)


def hurried(registration: Registration) -> Registration:
    """``registration``, which is urgent and which a run or a person waits for: due as soon as that allows."""
    return attrs.evolve(registration, retry_at=min(registration.retry_at, registration.awaited_at))


def advance(
    registration: Registration,
    answer: Answer,
    *,
    now: float,
    on: datetime.datetime,
    chance: float,
    spans: Spans = USUAL,
    is_urgent: bool = True,
) -> Registration:
    """The registration after ``answer`` came at ``now`` (monotonic) and ``on`` (wall time).

    Args:
        registration: as it stands.
        answer: what happened.
        now: monotonic seconds.
        on: wall time.
        chance: from 0 to below 1, for the jitter.
        spans: of the fleet.
        is_urgent: as `is_urgent` has it.

    Raises:
        IllegalTransitionError: this cannot happen to it as it stands.
    """
    after = TABLE.get((registration.state, answer.event))
    if after is None:
        raise IllegalTransitionError(f"{registration.state} has no {answer.event.value}")
    attempts = registration.attempts + (answer.event is Event.BEGIN)
    since = registration.throttled_since if answer.event is Event.BEGIN or answer.is_throttled else None
    since = now if since is None and answer.is_throttled else since
    after_this = attrs.evolve(
        registration,
        state=after,
        detail=answer.detail,
        attempts=attempts,
        throttled_since=since,
        ticket=answer.ticket,
        on=registration.on if after is registration.state else on,
    )
    waits_s = _waits_s(answer.event, after_this, spans, now=now, chance=chance)
    return _due_after(after_this, waits_s, earliest=now + answer.not_before_s, is_urgent=is_urgent)


_Three = tuple[float, float, float]
"""Of an attempt that a run waits for, of one that is urgent, and of one that has time."""


def _due_after(registration: Registration, waits_s: _Three, *, earliest: float, is_urgent: bool) -> Registration:
    awaited_at, urgent_at, leisurely_at = (earliest + wait_s for wait_s in waits_s)
    retry_at = urgent_at if is_urgent else max(urgent_at, leisurely_at)
    return attrs.evolve(registration, retry_at=retry_at, urgent_at=urgent_at, awaited_at=awaited_at)


def _waits_s(event: Event, registration: Registration, spans: Spans, *, now: float, chance: float) -> _Three:
    """Seconds until ``registration``, to which ``event`` has just led, may be worked on again."""
    attempts, urgent_s, leisurely_s = registration.attempts, 0.0, 0.0
    match event:
        case Event.FAIL if registration.throttled_since is not None:
            waited_s = now - registration.throttled_since
            awaited_s = throttled_wait_s(waited_s, min(spans.throttled_s, USUAL.throttled_s), chance=chance)
            urgent_s = throttled_wait_s(waited_s, spans.throttled_s, chance=chance)
            # What has time was spread over the leisure already, and that was too short.
            leisurely_s = throttled_wait_s(waited_s, max(spans.throttled_s, 4 * spans.leisure_s), chance=chance)
            return awaited_s, urgent_s, leisurely_s
        case Event.FAIL:
            urgent_s = doubled(FIRST_SPAN_S, attempts - 1, LONGEST_SPAN_S)
            leisurely_s = doubled(LEISURELY_SPAN_S, attempts - 1, LONGEST_LEISURELY_S)
        case Event.LOSE:  # registered and lost again and again: the server forgets, or a person deletes
            urgent_s = doubled(FIRST_SPAN_S, attempts, LONGEST_SPAN_S) if attempts else 0.0
            leisurely_s = doubled(spans.leisure_s, attempts, LONGEST_LEISURELY_S)
        case Event.REFUSE:
            urgent_s, leisurely_s = REFUSED_SPAN_S, doubled(REFUSED_SPAN_S, attempts - 1, LONGEST_LEISURELY_S)
    return chance * urgent_s, chance * urgent_s, chance * leisurely_s


def throttled_wait_s(waited_s: float, first_s: float, *, chance: float) -> float:
    """Seconds until the next attempt at a server that throttles, ``waited_s`` after the first refusal.

    It falls anywhere within the span after the one that ``waited_s`` is in, of which the first lasts ``first_s``; after
    the first refusal itself, within the first.
    """
    begins_s, length_s, next_s = 0.0, first_s, SECOND_SPAN * first_s
    while waited_s > 0 and begins_s <= waited_s:
        begins_s, length_s = begins_s + length_s, next_s
        next_s = max(THIRD_SPAN * first_s, GROWTH * length_s)
    return begins_s - max(0.0, waited_s) + chance * length_s
