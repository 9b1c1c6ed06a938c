"""Shell: nodes removed from several Chef servers at once, a thread for each server.

On each server the client goes first: without it a node that still lives cannot make its object again, which it does at
each run. The servers whose object a run has saved go last, once nothing is left on the others. So what a call leaves,
because a server failed meanwhile, is still found by a search for the object, and judged by it; and where a call has
removed the client, no object is left to speak against the next client of that name. What is not there is done already.

A server that fails as a whole is not asked again within the call.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from chef_failover.chef.answers import Answer, Finding, judge_one
from chef_failover.chef.protocol import segment
from chef_failover.errors import SearchError
from chef_failover.fleet import retirement
from chef_failover.fleet.asking import Asker
from chef_failover.fleet.credentials import Account
from chef_failover.fleet.reading import OnProgress
from chef_failover.fleet.retirement import Part, Sighting
from chef_failover.fleet.search import NodeSearch
from chef_failover.fleet.session import Session
from chef_failover.model.model import Outcome

RIGHTS = "an administrator of the organization may do that (group admins)"
GROUPS = 20
"""Within the group admins no more are read."""
_KEYS = {"name": ["name"], "instance_id": ["ec2", "instance_id"]}
Sightings = Mapping[str, tuple[Sighting, ...]]
"""By the name of the node: one of each server, in their order."""


class Servers:
    """The Chef servers of ``sessions``. ``progress`` is told how many more nodes are looked at, and how many were."""

    def __init__(self, sessions: Sequence[Session], progress: OnProgress = lambda more, done: None) -> None:  # noqa: ARG005
        self._servers = [_Server(session.account, session.asker) for session in sessions]
        self.users = frozenset(session.account.user for session in sessions)
        """Those who sign the requests."""
        self._progress = progress

    def find(self, instance_id: str) -> frozenset[str]:
        """The names of the nodes that this EC2 instance has saved, on any server.

        Raises:
            SearchError: not every server tells.
        """
        query = f"ec2_instance_id:{instance_id}"
        with ThreadPoolExecutor(max_workers=len(self._servers)) as pool:
            rows = [row for found in pool.map(lambda server: server.find(query), self._servers) for row in found]
        return frozenset(row["name"] for row in rows if row.get("instance_id") == instance_id)

    def look(self, names: Sequence[str], on: datetime.datetime, *, with_rights: bool = False) -> Sightings:
        """What each server has of each node now, which is ``on``; ``with_rights``: and whose each object is."""
        self._progress(len(names) * len(self._servers), 0)
        return self._each(names, lambda server, _, name: server.look(name, on, with_rights=with_rights))

    def remove(self, found: Sightings) -> Sightings:
        """Remove the nodes that were ``found``, and return what became of them. A server in trouble stays as it is."""
        self._progress(2 * len(found) * len(self._servers), 0)

        def remove_unsaved(server: _Server, place: int, name: str) -> Sighting:
            mine = found[name][place]
            return mine if mine.has_run else server.remove(name, mine)

        first = self._each([*found], remove_unsaved)
        failed = {
            name for name in found if [one.trouble for one in first[name]] != [one.trouble for one in found[name]]
        }

        def remove_saved(server: _Server, place: int, name: str) -> Sighting:
            mine = first[name][place]
            return server.remove(name, mine) if mine.has_run and name not in failed else mine

        return self._each([*found], remove_saved)

    def _each(self, names: Sequence[str], work: Callable[[_Server, int, str], Sighting]) -> Sightings:
        def on_one(place: int) -> list[Sighting]:
            done = []
            for name in names:
                done.append(work(self._servers[place], place, name))
                self._progress(0, 1)
            return done

        with ThreadPoolExecutor(max_workers=len(self._servers)) as pool:
            columns = list(pool.map(on_one, range(len(self._servers))))
        return dict(zip(names, zip(*columns, strict=True), strict=True))


class _Server:
    """One of them, asked by one thread at a time."""

    def __init__(self, account: Account, asker: Asker) -> None:
        self._label = account.label
        self._has_rights = "/organizations/" in account.chef_server_url  # goiardi and Chef 11 have none, nor groups
        self._asker = asker
        self._failed: SearchError | None = None
        self._groups: tuple[frozenset[str], SearchError | None] | None = None

    def find(self, query: str) -> list[dict[str, Any]]:
        """The nodes that it finds, each with its name and its instance."""
        try:
            rows = [row for rows in NodeSearch(self._asker, _KEYS).pages(query) for row in rows]
        except SearchError as error:
            raise SearchError(f"{self._label}: {error}") from error
        return [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str) and row["name"]]

    def look(self, name: str, on: datetime.datetime, *, with_rights: bool) -> Sighting:
        try:
            node, client = (self._ask("GET", kind, name) for kind in ("nodes", "clients"))
            administrators = self._administrators() if client and self._has_rights else ()
            found = retirement.parse(self._label, client, node, on, administrators)
            if with_rights and self._has_rights and client and found.has_run:
                found = attrs.evolve(found, is_own=self._is_own(name))
        except SearchError as error:
            return retirement.unread(self._label, str(error))
        return found

    def remove(self, name: str, one: Sighting) -> Sighting:
        client, trouble = self._delete("clients", name, one.client, one.trouble)
        node, trouble = self._delete("nodes", name, one.node, trouble)
        return attrs.evolve(one, client=client, node=node, trouble=trouble)

    def _delete(self, kind: str, name: str, part: Part, trouble: str | None) -> tuple[Part, str | None]:
        """What becomes of this part; after ``trouble`` nothing is tried."""
        if part is not Part.THERE or trouble:
            return part, trouble
        try:
            answer = self._ask("DELETE", kind, name)
        except SearchError as error:
            return part, str(error)
        return Part.GONE if answer is None else Part.REMOVED, None

    def _administrators(self) -> frozenset[str]:
        """Who is in the group admins, and in groups within it. It is read once."""
        if self._groups is None:
            try:
                self._groups = self._members(), None
            except SearchError as error:
                words = f"it does not tell who is an administrator: {error}"
                self._groups = frozenset(), SearchError(words, is_of_object=True)
        names, trouble = self._groups
        if trouble is not None:
            raise trouble
        return names

    def _members(self) -> frozenset[str]:
        groups, names = ["admins"], set[str]()
        for group in groups:
            if len(groups) > GROUPS:
                raise SearchError(f"more than {GROUPS} groups are in the group admins", is_of_object=True)
            told = self._ask("GET", "groups", group) or {}
            names |= {*_strings(told.get("actors")), *_strings(told.get("clients"))}
            groups += [one for one in _strings(told.get("groups")) if one not in groups]
        return frozenset(names)

    def _is_own(self, name: str) -> bool:
        """The client may write the node object of its name, as who makes one may, and others may not."""
        told = self._ask("GET", "nodes", name, "_acl")
        writers = told["update"] if told else {}
        return name in (*_strings(writers.get("actors")), *_strings(writers.get("clients")))

    def _ask(self, method: str, kind: str, name: str, what: str = "") -> dict[str, Any] | None:
        """What the answer has of the object, or of ``what`` of it; None where there is none."""
        if self._failed is not None:
            raise self._failed

        def judge(answer: Answer, user: str, utc_now: datetime.datetime) -> Finding:
            if what and answer.status == 200 and isinstance(answer.fields.get("update"), dict):
                return Finding(Outcome.OK)
            finding = judge_one(answer, name, user, utc_now)
            is_refused = finding.outcome is Outcome.FORBIDDEN
            return attrs.evolve(finding, detail=f"{finding.detail}; {RIGHTS}") if is_refused else finding

        try:
            answer = self._asker.ask(method, "/".join(filter(None, (kind, segment(name), what))), None, judge)
        except SearchError as error:
            self._failed = None if error.is_of_object else error
            raise
        return answer.document if answer.status == 200 else None


def _strings(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
