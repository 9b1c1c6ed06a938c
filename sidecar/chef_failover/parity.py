"""Pure: whether a standby would give this node an older policy, or older cookbooks, than the server in use.

What is compared is what a run would get: the revision of the node's policy, or, for a node with a run list, the latest
version that its environment admits of each cookbook that it uses. A server that has no such endpoint, or does not
answer it usably, cannot be told, and is never stale.

Which of two is the older one? Versions of cookbooks say so themselves; and what the node's last run had is new enough,
whatever has been uploaded since. Revisions of a policy are digests without an order. There the server in use is right,
unless the other one was seen to change after it, to something that the one in use did not have before.

A deployment reaches the servers one after the other, and we read each of them every ten minutes. So a standby that has
what the server in use had before its last change is not held to be stale until it has been read ten minutes later.

After a move to a server that is not the first in order of preference, what is in use may be older than what was left.
Unless the two were compared right then, and it was as new, it is not what others are compared with until it changes
itself: or else the main server, back again, would be called stale and the node would never return. A restart or a
reload is no move, so that is remembered across both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from chef_failover.health import JITTER
from chef_failover.model import Choice, Content, Health, ParityMode, ServerSnapshot, Snapshot
from chef_failover.readiness import INTERVAL_S

SETTLING_S = INTERVAL_S
"""How long a deployment may take to reach all servers."""
VALID_S = 4 * INTERVAL_S
"""How long what was read counts, though the other one has changed: a reading may repeat it, and the next one fail."""
_NAMED = 3
"""Cookbooks that are named at the most."""
_SHORT = 7
"""Characters of a revision that people are shown, where they tell the difference."""


def stale(snapshot: Snapshot, server: ServerSnapshot, *, now: float) -> str | None:
    """What is older there than on the server in use, as words of their own; None: nothing that we know of."""
    reference = _reference(snapshot)
    pair = _pair(reference, server, now)
    if reference is None or pair is None or reference.name == server.name or _is_settling(*pair):
        return None
    return _behind(*pair, reference.name)


def sentence(snapshot: Snapshot, server: ServerSnapshot, *, now: float) -> str:
    """How it compares, for people."""
    if snapshot.policy.parity is ParityMode.OFF:
        return "not compared: parity is off"
    words = stale(snapshot, server, now=now)
    if words is not None:
        return words
    reference = _reference(snapshot)
    if _content(server) is None or (
        reference is not None and _content(reference) and not _pair(reference, server, now)
    ):
        return _why_untold(server)
    if reference is None or _content(reference) is None:
        return "cannot be told: nothing is known to compare it with"
    return "the others are compared with it" if reference is server else f"as new as on {reference.name}"


def lags_from(snapshot: Snapshot, choice: Choice, *, now: float) -> float | None:
    """`Snapshot.lagging_since` after a move to where ``choice`` says; ``snapshot`` is the world before."""
    taken = snapshot.server(choice.name)
    if taken is None or not choice.passed_over:
        return None
    return None if _is_fresh(snapshot, taken, now) else now


def is_awaited(server: ServerSnapshot) -> bool:
    """What a run would get there will be known in a moment: it is asked right after the first signed probe."""
    is_signed = server.proof is not None and server.proof.is_signed and server.proof.outcome.serves_node
    return server.node_check is None and (server.health is Health.UNKNOWN or is_signed)


def renewed(former: Content | None, content: Content) -> Content:
    """``content``, just read, with what is remembered of the one before, which holds where the server did not tell."""
    if former is None or not former.is_readable or _question(former) != _question(content):
        return attrs.evolve(content, changed_at=-math.inf, former=None)
    if not content.is_readable:
        return attrs.evolve(former, asked_at=content.asked_at)
    if (former.revision, former.cookbooks) == (content.revision, content.cookbooks):
        return attrs.evolve(content, changed_at=former.changed_at, former=former.former)
    return attrs.evolve(content, changed_at=content.read_at, former=attrs.evolve(former, former=None))


def is_recent(content: Content | None, environment: str, now: float) -> bool:
    """The cookbooks of ``environment`` were asked for there so short a time ago that nobody needs to ask again."""
    if content is None or content.policy is not None or content.environment != environment:
        return False
    return now - content.asked_at < INTERVAL_S * (1 - JITTER)


# --- on the way -----------------------------------------------------------------------------------------------------


def _content(server: ServerSnapshot | None) -> Content | None:
    """What it could tell, however long ago."""
    content = server.node_check.content if server and server.node_check else None
    return content if content is not None and content.is_readable else None


def _pair(reference: ServerSnapshot | None, server: ServerSnapshot, now: float) -> tuple[Content, Content] | None:
    """What can be compared: of the one in use, and of the other. What neither has changed since counts for ever."""
    ours, theirs = _content(reference), _content(server)
    if ours is None or theirs is None:
        return None
    counts = all(
        now - one.read_at <= VALID_S or other.changed_at <= one.read_at
        for one, other in ((ours, theirs), (theirs, ours))
    )
    return (ours, theirs) if counts else None


def _reference(snapshot: Snapshot) -> ServerSnapshot | None:
    """The server in use, unless it may itself be stale, or nothing is to be compared."""
    in_use = snapshot.server(snapshot.choice.name) if snapshot.choice else None
    if in_use is None or snapshot.policy.parity is ParityMode.OFF:
        return None
    if snapshot.lagging_since is None:
        return in_use
    content = _content(in_use)
    return in_use if content is not None and content.changed_at > snapshot.lagging_since else None


def _is_fresh(snapshot: Snapshot, server: ServerSnapshot, now: float) -> bool:
    """It was compared, and is as new."""
    pair = _pair(_reference(snapshot), server, now)
    return pair is not None and _question(pair[0]) == _question(pair[1]) and _behind(*pair, "") is None


def _why_untold(server: ServerSnapshot) -> str:
    content = server.node_check.content if server.node_check else None
    if content is None:
        return "not read yet"
    if content.is_readable:
        return "cannot be told: what was read there is too old"
    what = "the revision of the policy" if content.policy else "versions of cookbooks"
    return f"cannot be told: the server does not say {what}"


def _question(content: Content) -> object:
    return content.policy, content.environment


def _is_settling(ours: Content, theirs: Content) -> bool:
    """They may just have been read before a deployment that we have been read after."""
    is_early = theirs.read_at < ours.changed_at + SETTLING_S
    return is_early and ours.former is not None and _behind(ours.former, theirs, "") is None


def _behind(ours: Content, theirs: Content, name: str) -> str | None:
    """What is older in ``theirs``; the server ``name`` has ``ours``."""
    if _question(ours) != _question(theirs):
        return None  # another policy or environment altogether: readiness names that
    if ours.policy is not None:
        return _behind_in_policy(ours, theirs, name)
    older = _older_cookbooks(ours, theirs.cookbooks or {})
    said = [f"{cookbook} {version or 'missing'} there, {here} on {name}" for cookbook, version, here in older]
    if not said:
        return None
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    count = "1 cookbook is" if len(said) == 1 else f"{len(said)} cookbooks are"
    return f"{count} older: {'; '.join(said[:_NAMED])}{more}"


def _behind_in_policy(ours: Content, theirs: Content, name: str) -> str | None:
    was_ours = ours.former is not None and ours.former.revision == theirs.revision
    is_ahead = theirs.changed_at > ours.changed_at and not was_ours
    if ours.policy is None or theirs.revision == ours.revision or is_ahead:
        return None
    there, here = str(theirs.revision), str(ours.revision)
    if there[:_SHORT] != here[:_SHORT]:
        there, here = there[:_SHORT], here[:_SHORT]
    return f"policy {_printable(ours.policy[0])} is at {there} there, and at {here} on {name}"


def _older_cookbooks(ours: Content, theirs: Mapping[str, str]) -> list[tuple[str, str | None, str]]:
    """Name, version there (None: there is none) and version here, of each that is too old."""
    found = []
    for cookbook, used in sorted(ours.used.items()):
        here = (ours.cookbooks or {}).get(cookbook)
        if here is None:
            continue  # not even the server in use has it any more
        wanted = min(here, used or here, key=_ordered)
        version = theirs.get(cookbook)
        if version is None or _ordered(version) < _ordered(wanted):
            found.append((cookbook, version, here))
    return found


def _ordered(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def _printable(text: str) -> str:
    """What a server says, fit for a line: cut, and without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:300])
