"""Shell: nodes removed from several Chef servers at once, a thread for each server.

The client goes first. Without it a node that still lives cannot make its object again, which it does at each run. And
the object, with the time of its last run, stays for the next call to judge by. Node objects go when no server knows the
client any more. So what a call leaves, because a server failed meanwhile, is still found by a search for the object,
and the next call finishes. What is not there is done already.

A server that fails as a whole is not asked again within the call.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from chef_failover.chef.answers import Answer, Finding, judge_one
from chef_failover.chef.protocol import segment
from chef_failover.errors import SearchError
from chef_failover.fleet import retirement
from chef_failover.fleet.asking import Asker
from chef_failover.fleet.reading import OnProgress
from chef_failover.fleet.retirement import Part, Sighting
from chef_failover.fleet.search import NodeSearch
from chef_failover.fleet.session import Session
from chef_failover.model.model import Outcome

RIGHTS = "an administrator of the organization may do that (group admins)"
_KEYS = {"name": ["name"], "instance_id": ["ec2", "instance_id"]}
Sightings = Mapping[str, tuple[Sighting, ...]]
"""By the name of the node: one of each server, in their order."""


class Servers:
    """The Chef servers of ``sessions``. ``progress`` is told how many more nodes are looked at, and how many were."""

    def __init__(self, sessions: Sequence[Session], progress: OnProgress = lambda more, done: None) -> None:  # noqa: ARG005
        self._servers = [_Server(session.account.label, session.asker) for session in sessions]
        self._users = frozenset(session.account.user for session in sessions)
        self._progress = progress
        self._lock = threading.Lock()

    @property
    def users(self) -> frozenset[str]:
        """Those who sign the requests."""
        return self._users

    def find(self, instance_ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        """For each of these EC2 instances the names of the nodes that it has saved, on any server.

        Raises:
            SearchError: not every server tells.
        """
        query = " OR ".join(f"ec2_instance_id:{one}" for one in instance_ids)
        with ThreadPoolExecutor(max_workers=len(self._servers)) as pool:
            rows = [row for found in pool.map(lambda server: server.find(query), self._servers) for row in found]
        return {one: frozenset(row["name"] for row in rows if row.get("instance_id") == one) for one in instance_ids}

    def look(self, names: Sequence[str], on: datetime.datetime) -> Sightings:
        """What each server has of each node now, which is ``on``."""
        self._tell(len(names) * len(self._servers), 0)
        return self._each(names, lambda server, _, name: server.look(name, on))

    def remove(self, found: Sightings, *, is_forced: bool = False) -> Sightings:
        """Remove the nodes that were ``found``, and return what became of them.

        With ``is_forced`` a node object goes from a server although another one could not be asked for the client.
        """
        self._tell(2 * len(found) * len(self._servers), 0)
        without = self._each([*found], lambda server, place, name: server.remove_client(name, found[name][place]))

        def remove_node(server: _Server, place: int, name: str) -> Sighting:
            mine = without[name][place]
            looked_at = (mine,) if is_forced else without[name]
            is_unknown = all(one.client in (Part.REMOVED, Part.GONE) for one in looked_at)
            return server.remove_node(name, mine) if is_unknown else mine

        return self._each([*found], remove_node)

    def _each(self, names: Sequence[str], work: Callable[[_Server, int, str], Sighting]) -> Sightings:
        def on_one(place: int) -> list[Sighting]:
            done = []
            for name in names:
                done.append(work(self._servers[place], place, name))
                self._tell(0, 1)
            return done

        with ThreadPoolExecutor(max_workers=len(self._servers)) as pool:
            columns = list(pool.map(on_one, range(len(self._servers))))
        return dict(zip(names, zip(*columns, strict=True), strict=True))

    def _tell(self, more: int, done: int) -> None:
        with self._lock:
            self._progress(more, done)


class _Server:
    """One of them, asked by one thread at a time."""

    def __init__(self, label: str, asker: Asker) -> None:
        self._label = label
        self._asker = asker
        self._failed: SearchError | None = None

    def find(self, query: str) -> list[dict[str, Any]]:
        """The nodes that it finds, each with its name and its instance."""
        try:
            rows = [row for rows in NodeSearch(self._asker, _KEYS).pages(query) for row in rows]
        except SearchError as error:
            raise SearchError(f"{self._label}: {error}") from error
        return [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str) and row["name"]]

    def look(self, name: str, on: datetime.datetime) -> Sighting:
        try:
            node, client = (self._ask("GET", kind, name) for kind in ("nodes", "clients"))
        except SearchError as error:
            return retirement.unread(self._label, str(error))
        return retirement.parse(self._label, client, node, on)

    def remove_client(self, name: str, one: Sighting) -> Sighting:
        if one.client is not Part.THERE or one.trouble:
            return one
        part, trouble = self._delete("clients", name)
        return attrs.evolve(one, client=part, trouble=trouble)

    def remove_node(self, name: str, one: Sighting) -> Sighting:
        if one.node is not Part.THERE or one.trouble:
            return one
        part, trouble = self._delete("nodes", name)
        return attrs.evolve(one, node=part, trouble=trouble)

    def _delete(self, kind: str, name: str) -> tuple[Part, str | None]:
        try:
            answer = self._ask("DELETE", kind, name)
        except SearchError as error:
            return Part.THERE, str(error)
        return Part.GONE if answer is None else Part.REMOVED, None

    def _ask(self, method: str, kind: str, name: str) -> dict[str, Any] | None:
        """What the answer has of the object; None where there is none."""
        if self._failed is not None:
            raise self._failed

        def judge(answer: Answer, user: str, utc_now: datetime.datetime) -> Finding:
            finding = judge_one(answer, name, user, utc_now)
            is_refused = finding.outcome is Outcome.FORBIDDEN
            return attrs.evolve(finding, detail=f"{finding.detail}; {RIGHTS}") if is_refused else finding

        try:
            answer = self._asker.ask(method, f"{kind}/{segment(name)}", None, judge)
        except SearchError as error:
            self._failed = None if error.is_of_object else error
            raise
        return answer.json() if answer.status == 200 else None
