"""Shell: the main job on embedded Chef servers, told in plain words: a failover, the hold-down, the failback.

It uses what a node uses: the sidecar as a process of its own, the Unix socket, and, where Ruby and the shim are there,
the very file that chef-client loads. It watches itself: if what it announces does not happen, it fails. However it
ends, nothing of it stays: the servers are threads of it, and the kernel ends the sidecar with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import requests

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_failover.api import client
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.signing import ChefAuth, load_key
from chef_failover.cli import tables
from chef_failover.errors import EXIT_INTERRUPTED, ChefFailoverError, SidecarUnavailableError

NODE = "web-1"
NAMES = ("mainserver", "standby-b", "standby-c")
SHIM_PATHS = (
    Path(__file__).parents[2] / "ruby_shim" / "lib" / "chef_failover.rb",
    Path("/usr/share/chef-failover/ruby/chef_failover.rb"),
)
CONFIG = """\
# Only waiting is shorter than on a real node: there, interval is 60s and failback is 10m.
node: {{name: {node}, client_key: {key}}}
servers:
{servers}
health: {{interval: 1s}}
selection: {{failback: 6s}}
listen: {{socket: {directory}/sidecar.sock, loopback: "127.0.0.1:{port}"}}
state_dir: {directory}
"""
RUBY_RESOLVER = """
require ARGV[0]
$stdout.sync = true
while $stdin.gets
  chef_config = {}
  ChefFailover.apply(chef_config, ARGV[1])
  puts chef_config[:chef_server_url]
end
"""
ENDS_WITH_US = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, which outlives execv
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
PATIENCE_S = 20.0
UNDER_WAY_S = 0.5
"""A probe that a server answers at its last instant has ended within this: a run that asks meanwhile believes it."""

Resolve = Callable[[], str]


class DemoError(ChefFailoverError):
    """Something announced did not happen."""


@click.command()
@click.option("--keep", "is_kept", is_flag=True, help="Stay up at the end, and print what to try in another terminal.")
def main(is_kept: bool) -> None:
    """Watch a failover and a failback, on Chef servers embedded in this program."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # which would end us with the temporary directory left
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        run(is_kept=is_kept)
    except ChefFailoverError as error:
        click.echo(error, err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def run(*, is_kept: bool = False) -> None:
    """The whole demonstration, on stdout; with ``is_kept`` everything stays up until interrupted.

    Raises:
        DemoError: what was announced did not happen.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chef-failover-demo-")))
        servers = _start_servers(stack, directory)
        port = _free_port()
        config_path = _configure(directory, servers, port)
        sidecar = _start_sidecar(stack, directory, config_path)
        resolve, how = _resolver(stack, directory, config_path)
        act = _Act(directory, servers, resolve)
        _say(f"Three Chef servers on loopback, with TLS and signed requests: {', '.join(NAMES)}.")
        _say(f"One sidecar watches them. A chef-client stand-in starts a run every second and asks {how}.")
        _play(act)
        if is_kept:
            _end(sidecar)
            (directory / "state.json").unlink()  # or mainserver, which has failed twice here, stays unused for a day
            _start_sidecar(stack, directory, config_path)
            _keep(act, config_path, port)


def _play(act: _Act) -> None:
    main = act.servers[0]
    _title("1. All servers are well: the node uses the first of its list")
    act.runs_until(main.name, at_least=3)

    _title("2. mainserver is stopped, and the next run starts at once")
    main.stop()
    time.sleep(UNDER_WAY_S)
    act.runs_once(on="standby-b")
    _say("The very next run went to standby-b.")
    act.runs_until("standby-b", at_least=3)
    _say("The operator on call asks why:")
    act.show_status()

    _title("3. mainserver comes back; the node waits for a while (the hold-down) before it trusts it again")
    main.start()
    act.runs_until(main.name, at_least=3)
    _say("mainserver stayed UP for the hold-down, so the node came back.")

    _title("4. Something nastier: mainserver accepts connections and never says a word")
    main.fault = Fault.SILENT
    time.sleep(UNDER_WAY_S)
    slowest_s = act.runs_until("standby-b", at_least=6)
    _say(
        f"The longest wait was {slowest_s:.1f} s, one probe's deadline; once mainserver was DOWN, no run waited for it."
    )
    _say("chef-client alone would have hung there for an hour and a half.")
    main.fault = None
    _say(f"{act.number} runs in all, and none of them failed.")


class _Act:
    """The stage: what the scenes use."""

    def __init__(self, directory: Path, servers: tuple[DevServer, ...], resolve: Resolve) -> None:
        self.directory = directory
        self.servers = servers
        self._resolve = resolve
        self._key = load_key(directory / "client.pem")
        self.number = 0

    def runs_until(self, name: str, *, at_least: int) -> float:
        """Runs, one a second, until ``at_least`` in a row used ``name``; the longest wait for an answer, in seconds."""
        limit = time.monotonic() + PATIENCE_S
        in_a_row, slowest_s = 0, 0.0
        while in_a_row < at_least:
            if time.monotonic() > limit:
                raise DemoError(f"the demo expected runs on {name} within {PATIENCE_S:.0f} s, and they did not come")
            started = time.monotonic()
            used, took_s = self._run_once()
            in_a_row = in_a_row + 1 if used == name else 0
            slowest_s = max(slowest_s, took_s)
            time.sleep(max(0.0, started + 1 - time.monotonic()))
        return slowest_s

    def runs_once(self, *, on: str) -> None:
        """One run, which must use the server ``on``."""
        used, _ = self._run_once()
        if used != on:
            raise DemoError(f"the demo expected run {self.number} on {on}, and it used {used}")

    def show_status(self) -> None:
        """The table of ``chef-failover status``."""
        reply = client.ask(self.directory / "sidecar.sock", "/v1/servers")
        click.echo("\n".join(f"      {line}" for line in tables.status(reply.body).splitlines()))

    def _run_once(self) -> tuple[str, float]:
        self.number += 1
        started = time.monotonic()
        url = self._resolve()
        took_s = time.monotonic() - started
        server = next((server for server in self.servers if server.chef_server_url == url), None)
        if server is None:
            raise DemoError(f"run {self.number} was sent to {url!r}, which is none of the servers")
        self._start_run(url)
        click.echo(f"   run {self.number:2}  {server.name:<11} chosen in {took_s * 1000:4.0f} ms, and the run works")
        return server.name, took_s

    def _start_run(self, url: str) -> None:
        """The first request of a real run: the node object, signed."""
        try:
            answer = requests.get(
                f"{url}/nodes/{NODE}", auth=ChefAuth(NODE, self._key), verify=str(self.directory / "ca.pem"), timeout=5
            )
            answer.raise_for_status()
        except requests.RequestException as error:
            raise DemoError(f"run {self.number} was sent to {url} and failed: {error}") from error


def _start_servers(stack: contextlib.ExitStack, directory: Path) -> tuple[DevServer, ...]:
    authority = Authority()
    (directory / "ca.pem").write_bytes(authority.ca_pem)
    key = PrivateKey.generate()
    (directory / "client.pem").touch(mode=0o600)
    (directory / "client.pem").write_bytes(key.private_pem())
    servers = tuple(stack.enter_context(DevServer(name, authority)) for name in NAMES)
    for server in servers:
        server.register(NODE, key.public_pem().decode())
        server.put_node(NODE, run_list=["role[web]"])
    return servers


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _configure(directory: Path, servers: tuple[DevServer, ...], port: int) -> Path:
    lines = (f"  - {{name: {server.name}, url: '{server.url}', ca_file: {directory}/ca.pem}}" for server in servers)
    key = directory / "client.pem"
    text = CONFIG.format(node=NODE, key=key, servers="\n".join(lines), directory=directory, port=port)
    path = directory / "config.yml"
    path.write_text(text)
    return path


def _start_sidecar(stack: contextlib.ExitStack, directory: Path, config_path: Path) -> subprocess.Popen[Any]:
    log = stack.enter_context((directory / "sidecar.log").open("w"))
    sidecar = ["-m", "chef_failover", "serve", "--config", str(config_path)]
    command = [sys.executable, "-c", ENDS_WITH_US, str(os.getpid()), *sidecar]
    stack.callback(_end, process := subprocess.Popen(command, stderr=log))  # noqa: S603
    limit = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(SidecarUnavailableError):
            client.ask(directory / "sidecar.sock", "/v1/server")
            return process
        if process.poll() is not None or time.monotonic() > limit:
            raise DemoError(f"the sidecar did not start:\n{(directory / 'sidecar.log').read_text()}")
        time.sleep(0.05)


def _resolver(stack: contextlib.ExitStack, directory: Path, config_path: Path) -> tuple[Resolve, str]:
    """How the stand-in asks: as chef-client does, or, without Ruby, straight over the socket."""
    ruby = shutil.which("ruby")
    shim = next((path for path in SHIM_PATHS if path.exists()), None)
    if ruby is None or shim is None:

        def ask() -> str:
            return str(client.ask(directory / "sidecar.sock", "/v1/server?max_age=0").body["chef_server_url"])

        return ask, "over the socket (with ruby here, it would ask through the Ruby shim)"
    command = [ruby, "-e", RUBY_RESOLVER, str(shim), str(config_path)]
    process = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    stack.callback(_end, process)
    questions, answers = process.stdin, process.stdout
    if questions is None or answers is None:
        raise DemoError("ruby cannot be spoken to")

    def resolve() -> str:
        questions.write("?\n")
        questions.flush()
        return answers.readline().strip()

    return resolve, "through the Ruby shim"


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    process.wait(5)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _keep(act: _Act, config_path: Path, port: int) -> None:
    directory = act.directory
    _title("Everything stays up until you press Ctrl-C. In another terminal, try:")
    faults = ", ".join(fault.name.lower() for fault in Fault)
    click.echo(f"""\
   {sys.executable} -m chef_failover status --watch --config {config_path}
   {sys.executable} -m chef_failover check --config {config_path}
   {sys.executable} -m chef_failover pin mainserver --for 1m --config {config_path}    # back at once
   http://127.0.0.1:{port}/ in a browser     # the status page
   curl --unix-socket {directory}/sidecar.sock http://localhost/v1/server
   tail -f {directory}/sidecar.log
   echo refuse > {directory}/mainserver.fault    # and rm it to heal; other faults:
   {faults}
""")
    while True:
        for server in act.servers:
            _obey(server, directory / f"{server.name}.fault")
        time.sleep(0.2)


def _obey(server: DevServer, file: Path) -> None:
    """Switch the fault that ``file`` names; none when there is no such file or no such fault."""
    wanted = file.read_text().strip().upper() if file.exists() else ""
    fault = Fault.__members__.get(wanted)
    if server.fault is not fault:
        server.fault = fault
        click.echo(f"   {server.name}: {fault.name.lower() if fault else 'well again'}")


def _title(text: str) -> None:
    click.echo(f"\n{click.style(text, bold=True)}")


def _say(text: str) -> None:
    click.echo(f"   {text}")
