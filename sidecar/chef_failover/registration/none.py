"""I/O: the provider for servers where other tools register the node."""

from __future__ import annotations

from chef_failover.model.registration import Answer, Event
from chef_failover.registration.base import Registrant


class NoProvider:
    """Takes the node as associated, and can do nothing about it."""

    repairs = False

    def associate(self, registrant: Registrant, ticket: str | None) -> Answer:  # noqa: ARG002
        """Confirmed."""
        return Answer(Event.CONFIRM)
