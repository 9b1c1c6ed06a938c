"""Pure: what this node's runs tell of the servers that they used.

Probes ask for little, and by other code than chef-client's: a server may answer every probe and fail every run. So two
runs in a row that a server failed before a cookbook had a word put it behind every server that is well, for one hour
for each such run, four at the most, or until a run there gets further.

Runs come every half hour or so, which is why this is longer than most hold-downs: for ten minutes no run would use the
other server. When the time is over the next run tries the server again, and one more failure puts it back for longer.
Where all servers fail runs, the node stays where it is and so tries each in turn, hours apart.

What fails in a cookbook says nothing of the server, from its compilation on. Nor does a failure that the probes
explain: while a server is DOWN, turns the node away or cannot be reached from this node, nothing is counted, and one
that goes DOWN begins with a clean slate.
"""

from __future__ import annotations

import math
import re

import attrs

from chef_failover.decide.rights import is_refused
from chef_failover.durations import in_words
from chef_failover.model.model import Health, ServerSnapshot, Snapshot
from chef_failover.model.run_history import Phase, Run, RunEvidence

ENOUGH = 2
"""Runs in a row that put a server behind the others."""
HOLD_DOWN_S = 3600.0
"""How long it stays there, for each run that failed."""
MOST = 4
"""Of more runs than these none makes it longer."""
_STATUSES = (401, 403, 404, 429)
_CONNECTION = re.compile(
    r"Errno::(ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT)|EOFError|SocketError"
    r"|Socket::ResolutionError|Timeout::Error|Net::(Open|Read|Write)Timeout|Net::HTTPBadResponse|OpenSSL::SSL::SSLError"
)
"""Ruby's classes for what goes wrong with a connection or TLS."""


def heard(snapshot: Snapshot, server: ServerSnapshot, run: Run, *, at: float) -> RunEvidence:
    """What is known by runs once ``run``, which used ``server``, has ended ``at`` that instant."""
    evidence = server.run_evidence
    if run.is_success:
        return RunEvidence(saves=True, has_succeeded=True)
    if run.phase in (Phase.CONVERGE, Phase.SAVE):
        evidence = excused(evidence)
        return attrs.evolve(evidence, failed_at=at, saves=False) if is_refused(run) else evidence
    last = server.last_probe
    # What only our probes lack explains no failure of chef-client's.
    is_well = server.health is Health.UP and last is not None and (last.outcome.serves_node or last.is_only_our_trouble)
    if not is_well or snapshot.offline or run.phase is not Phase.START or not _is_failed_by_server(run):
        return evidence
    status = f" (HTTP {run.http_status})" if run.http_status is not None else ""
    return attrs.evolve(
        evidence,
        failed_starts=evidence.failed_starts + 1,
        failed_at=at,
        failure=f"{run.error_class or 'an unknown error'}{status}",
    )


def excused(evidence: RunEvidence) -> RunEvidence:
    """``evidence`` without what speaks against the server before a run converges."""
    return attrs.evolve(evidence, failed_starts=0, failure="")


def why_behind(snapshot: Snapshot, server: ServerSnapshot, *, now: float) -> str | None:
    """Why it stands behind others, in words; None when no run speaks against it, or not any more.

    With ``failback: never`` it stays there until a run there gets further.
    """
    evidence = server.run_evidence
    span_s = max(snapshot.policy.failback_s, min(evidence.failed_starts, MOST) * HOLD_DOWN_S)
    left_s = evidence.failed_at + span_s - now
    if evidence.failed_starts < ENOUGH or left_s <= 0:
        return None
    span = "" if math.isinf(left_s) else f"for another {in_words(left_s)}, or "
    said = f"the last {evidence.failed_starts} runs there failed before any cookbook ran, with {evidence.failure}"
    return f"{said}; other servers are preferred {span}until a run there gets further"


def _is_failed_by_server(run: Run) -> bool:
    if run.http_status is not None:
        return run.http_status in _STATUSES or run.http_status >= 500
    return run.error_class is not None and _CONNECTION.fullmatch(run.error_class) is not None
