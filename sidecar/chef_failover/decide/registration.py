"""Pure: how a registration goes on, as a literal table.

A registration is begun before the provider is called and written down, so that a crash in the middle finds REQUESTED
and asks the provider again: each of them recognises what it had begun. FAILED and REFUSED differ only in how soon it is
tried again, and in whether a person is asked for.

Waiting is exponential with full jitter: any instant from 0 to a span that doubles up to a limit. A whole fleet that is
turned back at once then comes back spread over that span, however it started.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
from collections.abc import Mapping

import attrs

from chef_failover.model.model import Registration, RegistrationState

FIRST_SPAN_S = 4.0
LONGEST_SPAN_S = 600.0
REFUSED_SPAN_S = 1800.0
"""Refusals are tried again too, since somebody may have mended the cause without telling us."""


class Event(enum.Enum):
    """What happens to a registration."""

    BEGIN = "begin"
    """The provider is about to be asked."""
    GO_ON = "go on"
    """The provider works on it; its ticket tells which request to ask after."""
    CONFIRM = "confirm"
    FAIL = "fail"
    REFUSE = "refuse"
    LOSE = "lose"
    """The server says that it does not know this node or its key."""


TABLE: Mapping[tuple[RegistrationState, Event], RegistrationState] = {
    (RegistrationState.UNREGISTERED, Event.BEGIN): RegistrationState.REQUESTED,
    (RegistrationState.FAILED, Event.BEGIN): RegistrationState.REQUESTED,
    (RegistrationState.REFUSED, Event.BEGIN): RegistrationState.REQUESTED,
    (RegistrationState.REQUESTED, Event.BEGIN): RegistrationState.REQUESTED,
    (RegistrationState.REQUESTED, Event.GO_ON): RegistrationState.REQUESTED,
    (RegistrationState.REQUESTED, Event.CONFIRM): RegistrationState.REGISTERED,
    (RegistrationState.REQUESTED, Event.FAIL): RegistrationState.FAILED,
    (RegistrationState.REQUESTED, Event.REFUSE): RegistrationState.REFUSED,
    (RegistrationState.REGISTERED, Event.LOSE): RegistrationState.UNREGISTERED,
}


class IllegalTransitionError(LookupError):
    """The table has no such row; nothing has changed."""


@attrs.frozen
class Answer:
    """What a provider says: GO_ON, CONFIRM, FAIL or REFUSE, with words for people."""

    event: Event
    detail: str = ""
    ticket: str | None = None
    """With GO_ON: what to ask after next time."""
    not_before_s: float = 0.0
    """The server asked for at least this pause (``Retry-After``), or there is nothing to hear earlier."""
    first_span_s: float = FIRST_SPAN_S
    """With FAIL: the span of the first retry. A server that throttles a whole fleet needs a wider one."""


def advance(
    registration: Registration, answer: Answer, *, now: float, on: datetime.datetime, chance: float
) -> Registration:
    """The registration after ``answer`` came at ``now`` (monotonic) and ``on`` (wall time).

    Args:
        registration: as it stands.
        answer: what happened.
        now: monotonic seconds.
        on: wall time.
        chance: from 0 to below 1, for the jitter.

    Raises:
        IllegalTransitionError: this cannot happen to it as it stands.
    """
    after = TABLE.get((registration.state, answer.event))
    if after is None:
        raise IllegalTransitionError(f"{registration.state} has no {answer.event.value}")
    attempts = registration.attempts + (answer.event is Event.BEGIN)
    return Registration(
        state=after,
        detail=answer.detail,
        attempts=attempts,
        retry_at=now + answer.not_before_s + chance * _span_s(answer, attempts),
        ticket=answer.ticket,
        identity=registration.identity,
        on=registration.on if after is registration.state else on,
    )


def identity_of(node_name: str, public_pem: bytes) -> str:
    """The digest that tells whose registration it is."""
    return hashlib.sha256(node_name.encode() + b"\0" + public_pem.strip()).hexdigest()


def _span_s(answer: Answer, attempts: int) -> float:
    """From when on it may be worked on again: a span that doubles with each attempt in vain."""
    match answer.event:
        case Event.FAIL:
            return min(LONGEST_SPAN_S, answer.first_span_s * 2.0 ** min(attempts - 1, 30))
        case Event.LOSE if attempts:  # associated and lost again and again: the server forgets, or somebody deletes
            return min(LONGEST_SPAN_S, FIRST_SPAN_S * 2.0 ** min(attempts, 30))
        case Event.REFUSE:
            return REFUSED_SPAN_S
    return 0.0
