"""Shell: keeps this node registered with one server.

It works only while the server is UP, or answered its last probe: one that has just come back is not UP yet, and a run
may have no other. One that was never heard of is probed when the next attempt is due.

Before each attempt its intent is on disk, and whatever the provider gave for it is, right after. So a crash at any
instant is followed by the same question again, which every provider can answer: see `base.Provider`.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import random
import time
from collections.abc import Callable

import attrs

from chef_failover.decide.registration import USUAL, Spans, advance, is_urgent
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.errors import KeyFileError, ValidatorKeyError
from chef_failover.model.model import Health, Outcome, Registration, RegistrationState, ServerSnapshot
from chef_failover.model.registration import Answer, Event
from chef_failover.registration.base import Provider, Registrant

WORD_HOLDS_S = 600.0
"""How long a person's word holds, that it is urgent or that something may be replaced, for attempts yet to be made."""
LOOK_S = 60.0
"""How often a server that was never heard of is probed for the sake of a registration that is due."""


class Registrar:
    """Registers the node with the server ``name``.

    Args:
        name: of the server.
        live: what is known of it, and where the result goes.
        provider: does it.
        registrant: who the node is; may take its time, to make a key.
        write_down: puts the snapshot on disk before it returns; may raise OSError.
        look_at: has the server probed at once.
        spans: how long the attempts of the fleet are spread.
        clock: monotonic seconds, the same as that of ``live``.
        utc_now: wall time.
        rng: for the jitter.
    """

    def __init__(
        self,
        name: str,
        *,
        live: LiveSnapshot,
        provider: Provider,
        registrant: Callable[[], Registrant],
        write_down: Callable[[], None],
        look_at: Callable[[str], None],
        spans: Spans = USUAL,
        clock: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        rng: random.Random,
    ) -> None:
        self._name = name
        self._live = live
        self._provider = provider
        self._registrant = registrant
        self._write_down = write_down
        self._look_at = look_at
        self._clock = clock
        self._utc_now = utc_now
        self._rng = rng
        self._spans = spans
        self._lacks_key = False
        self._hurries_until = self._replaces_until = -math.inf
        self._looks_from = clock() + rng.random() * spans.boot_s

    @property
    def is_ours(self) -> bool:
        """Whether registering there is our affair at all."""
        return self._provider.repairs

    def retry_now(self, *, replaces: bool = False) -> None:
        """A person waits for it, or has mended something: try now, as if for the first time, and go on to hurry.

        It does not matter then that the server asked to be left alone, unless it says so again to this very attempt.
        See `Registrant` for ``replaces``.
        """
        now = self._clock()

        def at_once(registration: Registration) -> Registration:
            if registration.state is RegistrationState.REGISTERED:
                return registration
            self._replaces_until = now + WORD_HOLDS_S if replaces else -math.inf
            self._hurries_until, self._looks_from = now + WORD_HOLDS_S, now
            ticket = None if replaces else registration.ticket
            return attrs.evolve(registration, attempts=0, retry_at=now, urgent_at=now, ticket=ticket)

        self._live.amend(self._name, at_once)

    def step(self) -> float:
        """Do what is due; seconds until something may be due again, infinite when only a change brings it."""
        server = self._server()
        if server is None or (server.health is Health.DOWN and not server.is_alive):
            return float("inf")
        if server.is_registered:
            return self._watch_over(server) if server.health is Health.UP else float("inf")
        registration = server.registration
        if registration.urgent_at < registration.retry_at and self._is_urgent():
            registration = attrs.evolve(registration, retry_at=registration.urgent_at)
            self._live.register(self._name, registration)
        alone_until = server.stay_away_until if self._clock() >= self._hurries_until else -math.inf
        left_s = max(registration.retry_at, alone_until) - self._clock()
        if left_s > 0 and not self._has_its_key_back():
            return left_s
        if server.health is Health.UNKNOWN:
            return self._look()
        self._attempt(registration)
        return 0.0

    def _look(self) -> float:
        """Have a server probed that was never heard of."""
        left_s = self._looks_from - self._clock()
        if left_s > 0:
            return left_s
        self._looks_from = self._clock() + LOOK_S
        self._look_at(self._name)
        return LOOK_S

    def _is_urgent(self) -> bool:
        return self._clock() < self._hurries_until or is_urgent(self._live.snapshot, self._name)

    def _watch_over(self, server: ServerSnapshot) -> float:
        """An association holds until the server itself, asked in the node's name, has denied it often enough."""
        last = server.last_probe
        if last is None or not last.is_signed or last.finished_at <= server.registration.retry_at:
            return float("inf")  # it has not been asked since it was confirmed
        is_denied = last.outcome is Outcome.NOT_ASSOCIATED and server.access.health is Health.DOWN
        if is_denied and self._provider.repairs:
            self._enter(server.registration, Answer(Event.LOSE, last.detail))
            return 0.0
        if last.outcome.serves_node and server.registration.attempts:
            self._live.amend(self._name, lambda registration: attrs.evolve(registration, attempts=0))
        return float("inf")

    def _attempt(self, registration: Registration) -> None:
        try:
            registrant = attrs.evolve(self._registrant(), replaces=self._clock() < self._replaces_until)
            if registration.ticket is None:
                registration = attrs.evolve(registration, identity=registrant.identity)
                registration = self._enter(registration, Answer(Event.BEGIN))
                self._write_down()
            answer = self._provider.associate(registrant, registration.ticket)
            if answer.event is not Event.FAIL:
                self._replaces_until = -math.inf
        except KeyFileError as error:
            self._lacks_key = not isinstance(error, ValidatorKeyError)
            answer = Answer(Event.FAIL if error.is_passing else Event.REFUSE, str(error))
        except OSError as error:
            reason = error.strerror or error
            answer = Answer(Event.FAIL, f"cannot save state.json, so registration waits: {reason}")
        if registration.state is not RegistrationState.REQUESTED:  # it did not come so far
            registration = self._enter(registration, Answer(Event.BEGIN))
        registration = self._enter(registration, answer)
        if registration.ticket is not None:
            with contextlib.suppress(OSError):  # the writer logs it; without it, a crash asks the provider again
                self._write_down()
        if registration.state is RegistrationState.REGISTERED:
            self._look_at(self._name)

    def _has_its_key_back(self) -> bool:
        """What it last failed for was the node's own key, and that is there now: no reason to wait any longer."""
        if not self._lacks_key:
            return False
        try:
            self._registrant()
        except KeyFileError:
            return False
        self._lacks_key = False
        return True

    def _enter(self, registration: Registration, answer: Answer) -> Registration:
        chance, now, on = self._rng.random(), self._clock(), self._utc_now()
        registration = advance(
            registration, answer, now=now, on=on, chance=chance, spans=self._spans, is_urgent=self._is_urgent()
        )
        self._live.register(self._name, registration)
        return registration

    def _server(self) -> ServerSnapshot | None:
        return self._live.snapshot.server(self._name)
