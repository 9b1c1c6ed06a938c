"""Whatever local users do to either listener, it serves when they have done, as fast and as small as before.

`make bench` does the same for 60 s, and judges the time by itself.
"""

import time
from pathlib import Path

import pytest

from tests.support.daemon_process import daemon, free_port, until, write_config
from tests.support.flood import GET, flood, over_tcp

LASTS_S = 10.0


def resident_mb(pid):
    (kb,) = (line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
    return int(kb) / 1024


def p99_s(running):
    """How long all but one in a hundred of the shim's questions take at the most."""
    took = []
    for _ in range(200):
        began = time.monotonic()
        assert running.ask("/v1/server?wait=no").status == 200
        took.append(time.monotonic() - began)
    return sorted(took)[197]


@pytest.mark.timeout(300)
def test_after_a_flood_the_shim_is_answered_as_before(servers, tmp_path):
    for server in servers:
        server.start()
    port = free_port()
    with daemon(write_config(tmp_path, servers, loopback=f'"127.0.0.1:{port}"')) as running:
        until(lambda: running.ask("/v1/servers").body["degraded"] is False)
        lines, mb = len(running.log.splitlines()), resident_mb(running.process.pid)
        flood(running.socket, port, LASTS_S)
        until(running.is_up)
        assert min(p99_s(running) for _ in range(3)) < 1.0, "milliseconds, but for a busy host"
        assert resident_mb(running.process.pid) - mb < 16
        assert len(running.log.splitlines()) - lines < 100
        assert running.ask("/livez").body["faults"] == 0, running.log
        with over_tcp(port) as peer:
            peer.settimeout(30)
            peer.sendall(GET)
            assert peer.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert running.stop() == 0
