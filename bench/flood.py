"""(f) What a run waits for its server once local users have flooded both listeners for a minute, and what that leaves.

The flood is the tests' own: malformed, pipelined, unread and half-open connections at once. Beside the resolutions
after it stand those before it; memory and the log are held against what they were, too.
"""

from __future__ import annotations

from bench import parts, processes
from bench.crowd import free_port
from bench.figures import Figure, at_most, duration, percentile
from bench.servers import fleet
from tests.support.flood import flood

GROUP = "f"
LASTS_S = 60.0
ASKS_S = 10
LIMIT_MS = 50.0
LIMIT_MB = 16.0
LIMIT_LINES = 99


def measure() -> list[Figure]:
    """The figures; `MissingPartError` without ruby."""
    ruby = parts.require("ruby")
    with fleet() as servers:
        port = free_port()
        health = "interval: 1s, retry_interval: 200ms, fresh_for: 1h"
        config = servers.config("flood", health=health, loopback=f'"127.0.0.1:{port}"')
        with processes.sidecar(config) as sidecar:
            processes.until(sidecar.is_answering)
            processes.until(lambda: set(sidecar.health().values()) == {"UP"})

            def p99_s() -> float:
                script = str(processes.ROOT / "bench" / "resolve_often.rb")
                command = (ruby, script, str(processes.SHIM), str(config), str(ASKS_S))
                return percentile([took_s for _, took_s in processes.ruby_json(*command, timeout_s=ASKS_S + 60)], 99)

            before_s, mb, lines = p99_s(), processes.rss_mb(sidecar.pid), sidecar.log_lines()
            flood(sidecar.socket, port, LASTS_S)
            processes.until(sidecar.is_answering)
            after_s, more_mb = p99_s(), processes.rss_mb(sidecar.pid) - mb
            more_lines = sidecar.log_lines() - lines
    return [
        at_most(
            GROUP,
            f"shim, p99 in ms, after {LASTS_S:.0f} s of flood",
            duration(after_s),
            f"before {duration(before_s)}",
            figure=after_s * 1e3,
            limit=LIMIT_MS,
        ),
        at_most(GROUP, "... MB it left", f"{mb + more_mb:.1f} MB", f"{mb:.1f} MB", figure=more_mb, limit=LIMIT_MB),
        at_most(
            GROUP, "... lines of the log", f"{more_lines}", f"{lines} before", figure=more_lines, limit=LIMIT_LINES
        ),
    ]
