"""Real sidecars for the tests: a whole one in this process, or the daemon as a process of its own."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from chef_devserver.authority import Authority
from chef_devserver.server import DevServer
from chef_failover.api import client
from chef_failover.config import settings as config
from chef_failover.errors import SidecarUnavailableError

ROOT = Path(__file__).parents[2]
HEALTH = "{interval: 1s, retry_interval: 200ms, timeout: 1s, rise: 2, fall: 3}"


def until(condition, timeout_s=60.0):
    """Poll until ``condition()`` is true, and give its value."""
    limit = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.01)
    return value


def _ports():
    """Some ports of our own, though other tests run beside these.

    They are below those that Linux gives to outgoing connections: none of them is taken before somebody listens.
    """
    for first in range(20000, 32000, 1500):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0chef-failover-tests-{first}")  # a name that is ours until this process ends
        except OSError:
            mark.close()
        else:
            mark.detach()  # stays open, and nobody warns of it
            return iter(random.sample(range(first, first + 1500), 1500))
    raise AssertionError("eight runs of these tests are under way already")


_PORTS = _ports()


def free_port(address="127.0.0.1"):
    """A port that nobody listens on, and that nobody is given again."""
    for port in _PORTS:
        with socket.socket() as listening, contextlib.suppress(OSError):
            listening.bind((address, port))
            return port
    raise AssertionError("no port is free")


@contextlib.contextmanager
def dev_servers(*names, organization="default"):
    authority = Authority()
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(DevServer(name, authority, organization=organization)) for name in names)


def write_config(
    directory: Path,
    servers=(),
    *,
    health=HEALTH,
    failback="10m",
    loopback="off",
    node="{}",
    more="",
    registers=False,
):
    """A config.yml in ``directory`` for ``servers``; its socket and state are there too.

    With ``registers`` the node registers itself with each, by that server's own validator.
    """
    if servers:
        (directory / "ca.pem").write_bytes(servers[0].ca_pem)
    lines = ""
    for server in servers:
        association = "{provider: none}"
        if registers:
            key = directory / f"{server.name}-validator.pem"
            key.write_bytes(server.validator_key.private_pem())
            association = f"{{provider: chef-server, validator_key: 'file:{key}'}}"
        lines += (
            f"  - {{name: {server.name}, url: '{server.url}', ca_file: {directory}/ca.pem,"
            f" association: {association}}}\n"
        )
    text = (
        f"node: {node}\nservers:\n{lines}health: {health}\nselection: {{failback: {failback}}}\n"
        f"listen: {{socket: {directory}/sidecar.sock, loopback: {loopback}}}\nstate_dir: {directory}\n{more}"
    )
    path = directory / "config.yml"
    path.write_text(text)
    return path


def hear_all(sidecar, since=None):
    """Have every server of a sidecar of this process probed that was not since then, and wait for the results."""
    since = sidecar.now() if since is None else since
    for server in sidecar.snapshot.servers:
        if not server.is_probed_since(since):
            sidecar._look_at(server.name)
    until(lambda: all(server.is_probed_since(since) for server in sidecar.snapshot.servers))


class Daemon:
    """``chef-failover serve`` as a process; ``log`` is what it wrote to stderr so far."""

    def __init__(self, config_path: Path, **environ: str) -> None:
        self.config_path = config_path
        self.socket = config.load(config_path).listen.socket
        self._log_path = config_path.parent / "daemon.log"
        self._environ = os.environ | environ
        self.process = self._start()

    def _start(self):
        with self._log_path.open("a") as log:
            return subprocess.Popen(command("serve", "--config", self.config_path), stderr=log, env=self._environ)

    @property
    def log(self):
        return self._log_path.read_text()

    def ask(self, target, **more):
        return client.ask(self.socket, target, **more)

    def is_up(self):
        assert self.process.poll() is None, self.log
        with contextlib.suppress(SidecarUnavailableError):
            return self.ask("/livez").status == 200
        return False

    def wait_up(self):
        until(self.is_up)
        return self

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Its exit code after ``number``."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def restart(self):
        self.process = self._start()
        return self.wait_up()


@contextlib.contextmanager
def daemon(config_path, **environ):
    running = Daemon(config_path, **environ)
    try:
        yield running.wait_up()
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def command(*arguments):
    return [sys.executable, "-m", "chef_failover", *map(str, arguments)]


def run(*arguments, **more):
    """The command line, run to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=100, check=False, **more)
