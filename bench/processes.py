"""Start the processes that are measured, and read from /proc what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from chef_failover.api import client
from chef_failover.errors import SidecarUnavailableError

ROOT = Path(__file__).resolve().parent.parent
SHIM = ROOT / "ruby_shim" / "lib" / "chef_failover.rb"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_POLL_S = 0.002


class Sidecar:
    """A running sidecar, on the socket that its configuration names."""

    def __init__(self, process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
        self.pid = process.pid
        self.socket = socket
        self._process = process
        self._log = log

    def get(self, target: str) -> dict[str, Any]:
        """The JSON object at ``target``."""
        return client.ask(self.socket, target).body

    def health(self) -> dict[str, str]:
        """UNKNOWN, UP or DOWN of each server."""
        return {server["name"]: server["health"] for server in self.get("/v1/servers?refresh=yes").get("servers", ())}

    def log_lines(self) -> int:
        """How many lines it has written so far."""
        return len(self._log.read_text().splitlines())

    def is_answering(self) -> bool:
        """Whether ``GET /v1/server`` gives a server."""
        try:
            return client.ask(self.socket, "/v1/server").status == 200
        except SidecarUnavailableError:
            if self._process.poll() is not None:
                raise RuntimeError(f"the sidecar has ended:\n{self._log.read_text()}") from None
            return False


@contextlib.contextmanager
def sidecar(config: Path, *python_options: str) -> Iterator[Sidecar]:
    """A sidecar with the configuration ``config``, whose directory has its socket and its log."""
    log = config.parent / "log"
    command = [sys.executable, *python_options, "-m", "chef_failover", "serve", "--config", str(config)]
    with running(command, log=log) as process:
        yield Sidecar(process, config.parent / "sidecar.sock", log)


@contextlib.contextmanager
def running(command: Sequence[str], log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives as long as the block."""
    with open(log or os.devnull, "wb") as sink:  # noqa: PTH123
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment())
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    """Ours, without a proxy, with the package on Python's path, and credentials for an AWS that checks none."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "bench")
    return inherited | keys | {"PYTHONPATH": str(ROOT / "sidecar")}


def ruby_json(*command: str, timeout_s: float) -> Any:
    """What a Ruby script prints, parsed."""
    finished = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment()
    )
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)}: {finished.stderr}")
    return json.loads(finished.stdout)


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> float:
    """Wait until ``condition`` holds; the seconds that it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise TimeoutError(f"not within {timeout_s} s: {condition}")
        time.sleep(_POLL_S)
    return time.monotonic() - started


def rss_mb(pid: int) -> float:
    """Resident memory, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has ended")


def cpu_s(pid: int) -> float:
    """Processor time, user and system, of all its threads, the ended ones included."""
    return _times_s(pid)[0]


def children_cpu_s(pid: int) -> float:
    """The same of all its child processes that have ended."""
    return _times_s(pid)[1]


def _times_s(pid: int) -> tuple[float, float]:
    user, system, of_children, of_their_system = map(
        int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
    )
    return (user + system) / _TICKS_PER_S, (of_children + of_their_system) / _TICKS_PER_S
