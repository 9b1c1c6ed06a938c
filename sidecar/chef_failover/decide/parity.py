"""Pure: whether a standby would give this node an older policy, or older cookbooks, than the server in use.

What is compared is what a run would get: the revision of the node's policy, or, for a node with a run list, the latest
version that its environment admits of each cookbook that it uses. A server that has no such endpoint, or does not
answer it usably, cannot be compared, and is never stale.

Which of two is the older one? Versions of cookbooks say so themselves; and what the node's last run had is new enough,
whatever has been uploaded since. Revisions of a policy are digests without an order. So we keep, for each server, what
it had before, and until when. Of two servers with different revisions

* the one that has what the other one had before is older;
* if both do (a policy was taken back), the one that changed first is;
* if neither does, the server in use is right, since a person chose the order of the servers.

A deployment reaches the servers one after the other, and we read each of them every ten minutes. So a standby that has
what the server in use had is not held to be stale until it has been read ten minutes after that one lost it. Cookbooks
that the node does not use come and go without being a deployment.

What was read counts until a later reading; where none succeeds, as long as the other server has not changed since, or
else for a while. So what cannot be read any more is what it was, and is not held against anybody for ever.

After a move to a server that is not the first in order of preference, what is in use may be older than what was left.
Unless the two were compared right then, and it was as new, it is not what others are compared with until it changes
itself: or else the main server, back again, would be called stale and the node would never return. A restart or a
reload is no move, so that is remembered across both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from chef_failover.decide.reading import INTERVAL_S
from chef_failover.model.model import Choice, Health, ServerSnapshot, Snapshot
from chef_failover.model.needs import Content, ParityMode, Past
from chef_failover.printable import printable

SETTLING_S = INTERVAL_S
"""How long a deployment may take to reach all servers."""
VALID_S = 4 * INTERVAL_S
"""How long what was read counts, though the other one has changed: a reading may repeat it, and the next one fail."""
PAST_KEPT = 8
"""Former states of one server that are remembered."""
_NAMED = 3
"""Cookbooks that are named at the most."""
_SHORT = 7
"""Characters of a revision that people are shown, where they tell the difference."""


@attrs.frozen
class Comparison:
    """What a server has, beside what the one in use has."""

    words: str
    """For people. Of a stale one, what is older there, as words of their own."""
    is_stale: bool | None = None
    """None: not compared, or nobody can tell."""


def compare(snapshot: Snapshot, server: ServerSnapshot, *, now: float) -> Comparison:
    """Compare ``server`` with the one in use."""
    if snapshot.policy.parity is ParityMode.OFF:
        return Comparison("not compared: parity is off")
    in_use = snapshot.server(snapshot.choice.name) if snapshot.choice else None
    pair = _pair(snapshot, in_use, server, now)
    if in_use is None or isinstance(pair, str):
        return Comparison(f"cannot be compared: {pair}")
    if in_use.name == server.name:
        return Comparison("the others are compared with it")
    return _compare(*pair, in_use.name)


def stale(snapshot: Snapshot, server: ServerSnapshot, *, now: float) -> str | None:
    """What is older there than on the server in use, as words of their own; None: nothing that we know of."""
    found = compare(snapshot, server, now=now)
    return found.words if found.is_stale else None


def lags_from(snapshot: Snapshot, choice: Choice, *, now: float) -> float | None:
    """`Snapshot.lagging_since` after a move to where ``choice`` says; ``snapshot`` is the world before."""
    taken = snapshot.server(choice.name)
    if taken is None or not choice.passed_over:
        return None
    return None if compare(snapshot, taken, now=now).is_stale is False else now


def is_lagging(snapshot: Snapshot) -> bool:
    """The server in use may be older than what was left for it, and has not changed since."""
    in_use = snapshot.server(snapshot.choice.name) if snapshot.choice else None
    if in_use is None or snapshot.lagging_since is None:
        return False
    content = _known(in_use)
    return isinstance(content, str) or content.changed_at <= snapshot.lagging_since


def is_awaited(server: ServerSnapshot) -> bool:
    """What a run would get there will be known in a moment: it is asked right after the first signed probe."""
    is_signed = (
        server.last_alive_probe is not None
        and server.last_alive_probe.is_signed
        and server.last_alive_probe.outcome.serves_node
    )
    return server.node_check is None and (server.health is Health.UNKNOWN or is_signed)


def renewed(former: Content | None, content: Content) -> Content:
    """``content``, just read, with what is remembered of before, which holds where the server did not tell."""
    if former is None or not former.is_readable or former.question != content.question:
        return content
    if not content.is_readable:
        return attrs.evolve(former, asked_at=content.asked_at)
    before = Past(content.read_at, former.revision, _used_of(former.cookbooks, content.used))
    after = Past(content.read_at, content.revision, _used_of(content.cookbooks, content.used))
    return attrs.evolve(content, past=former.past if before == after else (*former.past, before)[-PAST_KEPT:])


# --- on the way -----------------------------------------------------------------------------------------------------


def _pair(
    snapshot: Snapshot, in_use: ServerSnapshot | None, server: ServerSnapshot, now: float
) -> tuple[Content, Content] | str:
    """What the one in use has and what ``server`` has, or why they cannot be compared."""
    if in_use is None:
        return "no server is in use"
    ours, theirs = _known(in_use), _known(server)
    if isinstance(theirs, str):
        return f"it {theirs}"
    if isinstance(ours, str):
        return f"{in_use.name}, which is in use, {ours}"
    if is_lagging(snapshot):
        return f"{in_use.name}, which is in use, may itself be stale"
    for one, other, name in ((theirs, ours, server.name), (ours, theirs, in_use.name)):
        if now - one.read_at > VALID_S and other.changed_at > one.read_at:
            return f"what was read on {name} is too old"
    return ours, theirs


def _known(server: ServerSnapshot) -> Content | str:
    """What it could tell, however long ago; or why there is nothing, as words that follow its name."""
    content = server.node_check.content if server.node_check else None
    if content is None:
        return "has not been read yet"
    if content.is_readable:
        return content
    return f"does not say {'the revision of the policy' if content.policy else 'versions of cookbooks'}"


def _used_of(cookbooks: Mapping[str, str] | None, used: Mapping[str, str | None]) -> Mapping[str, str] | None:
    """The cookbooks that the node uses."""
    return None if cookbooks is None else {name: cookbooks[name] for name in used if name in cookbooks}


def _compare(ours: Content, theirs: Content, name: str) -> Comparison:
    """``theirs`` with ``ours``, which the server ``name`` has."""
    if ours.question != theirs.question:
        return Comparison(f"cannot be compared: on {name} this node has another policy or environment")
    if ours.policy is None and not _used_of(ours.cookbooks, ours.used):
        return Comparison(f"cannot be compared: {name} has no cookbook that this node is known to use")
    words = _behind_in_policy(ours, theirs, name) if ours.policy else _behind_in_cookbooks(ours, theirs, name)
    if words is None:
        return Comparison(f"as new as on {name}", is_stale=False)
    if ours.policy and _is_newer(theirs, ours):
        return Comparison(f"newer than on {name}", is_stale=False)
    lost_at = max((past.until for past in ours.past if _has(theirs, past, ours.used)), default=None)
    if lost_at is not None and theirs.read_at < lost_at + SETTLING_S:
        return Comparison(f"not compared yet: a deployment has just reached {name}, and may be on its way")
    return Comparison(words, is_stale=True)


def _is_newer(one: Content, other: Content) -> bool:
    """By what each of them had before; their revisions differ."""
    was_there, was_here = (
        any(past.revision == content.revision for past in another.past)
        for content, another in ((other, one), (one, other))
    )
    return was_there and (not was_here or one.changed_at > other.changed_at)


def _has(content: Content, past: Past, used: Mapping[str, str | None]) -> bool:
    """It is as new as ``past`` was."""
    if content.policy is not None:
        return content.revision == past.revision
    return not any(_older_cookbooks(past.cookbooks or {}, used, content.cookbooks or {}))


def _behind_in_policy(ours: Content, theirs: Content, name: str) -> str | None:
    if ours.policy is None or theirs.revision == ours.revision:
        return None
    there, here = str(theirs.revision), str(ours.revision)
    if there[:_SHORT] != here[:_SHORT]:
        there, here = there[:_SHORT], here[:_SHORT]
    return f"policy {printable(ours.policy[0])} is at {there} there, and at {here} on {name}"


def _behind_in_cookbooks(ours: Content, theirs: Content, name: str) -> str | None:
    older = _older_cookbooks(ours.cookbooks or {}, ours.used, theirs.cookbooks or {})
    said = [f"{cookbook} {version or 'missing'} there, {here} on {name}" for cookbook, version, here in older]
    if not said:
        return None
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    count = "1 cookbook is" if len(said) == 1 else f"{len(said)} cookbooks are"
    return f"{count} older: {'; '.join(said[:_NAMED])}{more}"


def _older_cookbooks(
    ours: Mapping[str, str], used: Mapping[str, str | None], theirs: Mapping[str, str]
) -> Iterator[tuple[str, str | None, str]]:
    """Name, version there (None: there is none) and version here, of each that is too old."""
    for cookbook, here in sorted((_used_of(ours, used) or {}).items()):
        wanted = min(here, used[cookbook] or here, key=_ordered)
        version = theirs.get(cookbook)
        if version is None or _ordered(version) < _ordered(wanted):
            yield cookbook, version, here


def _ordered(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))
