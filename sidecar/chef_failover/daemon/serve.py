"""Shell: the daemon. It opens the listeners, and answers to signals and to systemd."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import math
import queue
import signal
import sys
import threading
import time
from pathlib import Path

import attrs

from chef_failover.api import render
from chef_failover.config import settings as configuration
from chef_failover.config.settings import Config
from chef_failover.daemon import lock, logs
from chef_failover.daemon.listening import TEND_EVERY_S, Listening
from chef_failover.daemon.systemd import Notifier
from chef_failover.engine.sidecar import Sidecar
from chef_failover.errors import ChefFailoverError, NotAcceptedError
from chef_failover.metrics.faults import Faults
from chef_failover.node import accepted
from chef_failover.node.accepted import Accepted
from chef_failover.node.machine import Machine

log = logging.getLogger(__name__)

_STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
_RELOADS = signal.SIGHUP
_SWITCH_S = 0.0005
"""How long a thread may compute while another one waits for the interpreter. A run's question passes through three
threads, and by Python's default it would wait for up to 5 ms at each, beside a probe or a reader."""


def serve(config_path: Path = configuration.DEFAULT_PATH) -> None:
    """Run until SIGTERM or SIGINT by what is accepted of ``config_path``; SIGHUP looks at that again.

    Raises:
        ChefFailoverError: it cannot start: the configuration, the node's name or a listener.
    """
    # Blocked here, before any thread exists, signals are taken one at a time by a thread below, never in a handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOPS, _RELOADS})
    sys.setswitchinterval(_SWITCH_S)
    faults = Faults()
    logs.from_a_thread(faults)
    work = _Work(config_path, accepted.for_sidecar(config_path))
    config = work.accepted.config
    logs.use(config.log_format)
    if work.accepted.why_not is not None:
        log.warning("%s", work.accepted.why_not)
    _lock(config)
    systemd = Notifier()
    machine = Machine(node_name=work.node_name, on_change=lambda snapshot: systemd.status(render.status_line(snapshot)))
    sidecar = Sidecar(config, machine, faults)
    listening = Listening(config.listen, sidecar)
    listening.start()
    log.info("started with %s on Python %s: %s", config_path, sys.version.split()[0], _servers_in_words(sidecar))
    systemd.status(render.status_line(sidecar.snapshot))
    systemd.ready()
    try:
        _load_workers()
        sidecar.start()
        listening.load()
        _give_back_memory()
        _obey(sidecar, listening, work, systemd, _signals())
    finally:
        systemd.stopping()
        listening.close()
        sidecar.stop()
    log.info("stopped")


@attrs.define
class _Work:
    """What is at work, since the start or the last reload."""

    config_path: Path
    accepted: Accepted

    def node_name(self, _pattern: str) -> str:
        """The node's name, as it was accepted."""
        return str(self.accepted.node_name)


def _lock(config: Config) -> None:
    """One daemon for a state directory, and one for a socket. Where no lock can be, that is said and no reason to stop.

    Raises:
        AlreadyRunningError: another daemon has one of them.
    """
    socket = config.listen.socket
    with contextlib.suppress(OSError):
        socket.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    for path, what in (
        (config.state_dir / lock.FILE_NAME, f"state_dir {config.state_dir}"),
        (socket.with_name(f".{socket.name}{lock.FILE_NAME}"), f"listen.socket {socket}"),
    ):
        try:
            lock.hold(path, what)
        except OSError as error:
            log.warning("cannot lock %s (%s): a second sidecar could use it too", what, error.strerror)


def _load_workers() -> None:
    """What probes, registers and counts. It takes a third of the start, and those who ask may come meanwhile."""
    from chef_failover.engine import workers  # noqa: F401, PLC0415
    from chef_failover.metrics import series  # noqa: F401, PLC0415


def _give_back_memory() -> None:
    """What importing everything took and left: a tenth of the process. glibc keeps it otherwise.

    What is left lives as long as the process. The collector looks at it no more: that stopped every thread for 50 ms.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _obey(
    sidecar: Sidecar, listening: Listening, work: _Work, systemd: Notifier, signals: queue.SimpleQueue[int]
) -> None:
    """Take signals, tend the listeners and feed the watchdog until SIGTERM or SIGINT says to stop."""
    pause_s = min(TEND_EVERY_S, (systemd.watchdog_s or math.inf) / 2)
    feed_at = time.monotonic() + pause_s
    received: int | None = None
    while received not in _STOPS:
        try:
            received = signals.get(timeout=max(0.0, feed_at - time.monotonic()))
        except queue.Empty:
            received = None
        if time.monotonic() >= feed_at:
            feed_at = time.monotonic() + pause_s
            listening.tend()
            if systemd.watchdog_s and not (sidecar.late() or listening.dead()):
                systemd.alive()
        if received == _RELOADS:
            systemd.reloading()
            _reload(sidecar, work)
            systemd.status(render.status_line(sidecar.snapshot))
            systemd.ready()


def _signals() -> queue.SimpleQueue[int]:
    """The signals as they come. (`signal.sigtimedwait` makes one up when SIGCONT ends it after its time.)"""
    received: queue.SimpleQueue[int] = queue.SimpleQueue()

    def take() -> None:
        while True:
            received.put(signal.sigwait({*_STOPS, _RELOADS}))

    threading.Thread(target=take, name="signals", daemon=True).start()
    return received


def _reload(sidecar: Sidecar, work: _Work) -> None:
    """A configuration that is newly accepted takes over in whole; any trouble leaves the old one at work."""
    former, before = work.accepted, sidecar.config
    try:
        found = accepted.for_sidecar(work.config_path, is_running=True)
        if found.is_written and found.why_not is not None and found.text == former.text:
            raise NotAcceptedError(found.why_not)
        work.accepted = found
        fixed = attrs.evolve(found.config, listen=before.listen, state_dir=before.state_dir)
        sidecar.reload(fixed)
    except Exception as error:
        work.accepted = former
        if not isinstance(error, ChefFailoverError):
            sidecar.faults.add("reload", error)
            log.exception("internal error: reload failed")
        sidecar.reload_refused()
        for line in error.lines if isinstance(error, ChefFailoverError) else [str(error)]:
            log.error("reload failed; the configuration in use stays: %s", line)
        return
    logs.use(found.config.log_format)
    log.info("reloaded %s: %s", work.config_path, _servers_in_words(sidecar))
    if found.why_not is not None:
        log.warning("%s", found.why_not)
    if fixed != found.config:
        log.warning("listen or state_dir changed in %s; this takes effect with a restart", work.config_path)


def _servers_in_words(sidecar: Sidecar) -> str:
    names = ", ".join(server.name for server in sidecar.config.servers)
    return names or "no server is configured; chef-client keeps its own chef_server_url"
