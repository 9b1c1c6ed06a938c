"""chef-client goes where the sidecar says: whole runs on two real Chef servers (goiardi), through the installed shim.

Every scenario runs with a stand-in (tests/ruby), and with chef-client itself where there is one. Where a run went is
seen twice: a file in client.d notes every event with the URL, and each run leaves its time in the node object that its
server keeps.

The sidecar has the defaults of health and selection, as its users have, but for what would take minutes: `BRISK`.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
from pathlib import Path

import pytest
import requests

from chef_devserver.state import PIVOTAL, Ace
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.signing import ChefAuth, load_key
from chef_failover.node import accepted
from tests.support.daemon_process import daemon, dev_servers, run, until
from tests.support.goiardi import Goiardi, public_pem
from tests.support.parts import missing_part, require_program

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests" / "ruby" / "chef_client_stand_in.rb"
LIBRARIES = ("chef-config/config", "mixlib/authentication", "mixlib/log")
NAMES = ("mainserver", "standbyserver")
NODE = "i-0abc"
KINDS = ("stand-in", "chef-client")
BRISK = "{interval: 1s, retry_interval: 200ms}"
"""For what happens in the background, which a test would wait a minute for."""
ROLE = "base"
"""A role that does nothing, for a run list that is not empty."""
END_S = 90
"""What a run of chef-client itself may take on a slow machine; the stand-in's takes half a second."""
NOTEBOOK = r"""
require "json"
note = lambda do |event, more = {}|
  happened = { event: event, url: Chef::Config[:chef_server_url] }.merge(more)
  File.write("%(notes)s", JSON.generate(happened) + "\n", mode: "a")
end
note.call("configured")
unless $chef_failover_notebook # every evaluation would add another handler
  $chef_failover_notebook = true
  Chef.event_handler do
    on(:run_start) { |*_| note.call("run_start") }
    on(:converge_start) do |*_|
      note.call("converge_start")
      sleep 0.02 while File.exist?("%(gate)s")
    end
    on(:run_completed) { |*_| note.call("run_completed") }
    on(:run_failed) { |error, *_| note.call("run_failed", error: error.class.to_s) }
  end
end
"""
CLIENT_RB = """
chef_license "accept-no-persist"
cache_path "%(root)s/chef"
file_cache_path "%(root)s/chef/cache"
file_backup_path "%(root)s/chef/backup"
lockfile "%(root)s/chef/lock"
pid_file "%(root)s/chef/pid"
chef_repo_path "%(root)s/repo"
minimal_ohai true
http_retry_count 0
http_retry_delay 0
data_collector["server_url"] = nil
"""
"""Neither server, name, key nor CA: those are the shim's to set."""


@dataclasses.dataclass
class Kind:
    """A chef-client to run: its command, and a hold-down that lasts longer than its start."""

    name: str
    command: list[str]
    failback: str


@pytest.fixture(
    scope="module",
    params=[KINDS[0], pytest.param(KINDS[1], marks=pytest.mark.timeout(900))],
)
def kind(request):
    if request.param == KINDS[0]:
        ruby = require_program("ruby", "ruby")
        code = "".join(f"require '{library}'\n" for library in LIBRARIES)
        if subprocess.run([ruby, "-e", code], capture_output=True, check=False).returncode:
            missing_part(
                "Chef's libraries are not installed (packages ohai, ruby-chef-config, ruby-mixlib-authentication)"
            )
        return Kind(request.param, [ruby, str(STAND_IN)], failback="2s")
    found = shutil.which("chef-client") or shutil.which("cinc-client")
    if found is None:  # also with CI=true: no distribution packages it
        pytest.skip("neither chef-client nor cinc-client is on PATH, and no distribution packages them")
    return Kind(request.param, [found], failback="12s")


def new_node(kind):
    """A node that is registered and has no object yet. The first run makes one, so each kind needs its own."""
    return f"i-0new-{kind}"


@pytest.fixture(scope="module")
def drawn():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def key(tmp_path_factory, drawn):
    """The file with the node's key."""
    path = tmp_path_factory.mktemp("key") / "client.pem"
    path.write_bytes(drawn.private_pem())
    return path


@pytest.fixture(scope="module")
def both(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("goiardi")
    with Goiardi(folder / "main") as main, Goiardi(folder / "standby") as standby:
        for server in (main, standby):
            server.register(NODE, public_pem(drawn), run_list=())
            for kind in KINDS:
                server.register(new_node(kind), public_pem(drawn))
            server.save()
        yield main, standby


@pytest.fixture
def servers(both):
    """Main and standby, running, with the node in both; a test may kill either."""
    yield both
    for server in both:
        server.kill()
        server.start()


class Machine:
    """A node in a folder of its own: config.yml, the shim, client.rb and client.d."""

    def __init__(self, root, kind, servers, key, node=NODE):
        self.root = root
        self.node = node
        self.kind = kind
        self.servers = servers
        self.key = key
        self.config = root / "config.yml"
        self.accepted = accepted.path_of(self.config)
        self.socket = root / "sidecar.sock"
        self.gate = root / "gate"
        self._notes = root / "notes"
        self._environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        for name in ("chef/cache", "repo/cookbooks", "client.d", "share/ruby"):
            (root / name).mkdir(parents=True)
        self.write_config()
        self.write_client_rb()
        self._install()
        # A goiardi that is killed may have written an earlier test's run down.
        self._before = {server.url: self._saved_at(server) if key.exists() else None for server in servers}

    def write_config(
        self, name="config.yml", *, socket="sidecar.sock", health="{}", selection="{}", registers=False, more=""
    ):
        """A config.yml under this name, for another sidecar perhaps, and its path.

        With ``registers`` the node registers itself with each server, by that server's validator.
        """
        listed = ""
        for server_name, server in zip(NAMES, self.servers, strict=True):
            association = "{provider: none}"
            if registers:
                association = f"{{provider: chef-server, validator_key: 'file:{server.validator_pem}'}}"
            listed += (
                f"  - {{name: {server_name}, url: '{server.url}', ca_file: {server.ca_file},"
                f" association: {association}}}\n"
            )
        text = (
            f"node: {{name: {self.node}, organization: null, client_key: {self.key}}}\nservers:\n{listed}"
            f"health: {health}\nselection: {selection}\n{more}\n"
            f"listen: {{socket: {self.root / socket}, loopback: off}}\nstate_dir: {self.root}\n"
        )
        (self.root / name).write_text(text)
        accepted.accept(self.root / name)
        return self.root / name

    def write_client_rb(self, more=""):
        (self.root / "client.rb").write_text(CLIENT_RB % {"root": self.root} + more)

    def _install(self):
        shutil.copytree(ROOT / "ruby_shim/lib", self.root / "share/ruby", dirs_exist_ok=True)
        (self.root / "client.d/chef_failover.rb").write_text(self.installed("client.d/chef_failover.rb"))
        (self.root / "client.d/zz_notebook.rb").write_text(NOTEBOOK % {"notes": self._notes, "gate": self.gate})

    def installed(self, name):
        """A file of the shim's with the two paths replaced as its comment says."""
        program = f"s#/usr/share/chef-failover#{self.root}/share#;s#/etc/chef-failover/config.yml#{self.config}#"
        return subprocess.run(
            ["sed", program, ROOT / "ruby_shim" / name], capture_output=True, text=True, check=True
        ).stdout

    @property
    def notes(self):
        """What happened in chef-client so far, in order."""
        if not self._notes.exists():
            return []
        return [json.loads(line) for line in self._notes.read_text().splitlines()]

    @property
    def output(self):
        return (self.root / "output").read_text()

    @property
    def ended(self):
        """How each run ended so far."""
        return [note["event"] for note in self.notes if note["event"] in ("run_completed", "run_failed")]

    def count(self, event):
        return [note["event"] for note in self.notes].count(event)

    def urls(self, event):
        return [note["url"] for note in self.notes if note["event"] == event]

    @contextlib.contextmanager
    def chef_client(self, *options):
        """chef-client as a process; what it forked ends with it."""
        command = [*self.kind.command, "-c", str(self.root / "client.rb"), "-l", "info", *map(str, options)]
        with (self.root / "output").open("w") as output:
            process = subprocess.Popen(
                command, cwd=self.root, env=self._environ, stdout=output, stderr=output, start_new_session=True
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, *options):
        """One run to its end: its exit code."""
        with self.chef_client("--once", *options) as process:
            return process.wait(END_S)

    def wait_for(self, event, number):
        """Until ``event`` has happened ``number`` times."""
        until(lambda: self.count(event) >= number, END_S)

    def run_of(self, process):
        """One more run of a daemonised chef-client, which succeeds; then it has read its files again."""
        ended, configured = self.ended, self.count("configured")
        process.send_signal(signal.SIGUSR1)
        until(lambda: len(self.ended) > len(ended), END_S)
        assert self.ended[-1] == "run_completed", self.output
        self.wait_for("configured", configured + 1)
        assert process.poll() is None, self.output

    def has_run_on(self, server):
        """Whether a run of this machine has saved the node there."""
        return self._saved_at(server) != self._before[server.url]

    def _saved_at(self, server):
        """The time that the last run left in the node object; None when it has not run, or there is no object."""
        with requests.Session() as session:
            session.trust_env = False
            auth = ChefAuth(self.node, load_key(self.key))
            answer = session.get(f"{server.url}/nodes/{self.node}", auth=auth, verify=server.ca_file, timeout=10)
        assert answer.status_code in (200, 404), answer.text
        return answer.json().get("automatic", {}).get("ohai_time")


class Embedded:
    """A Chef server in this process, with what `Machine` and the tests want of a goiardi."""

    def __init__(self, server, ca_file):
        self.state, self.url, self.ca_file = server.state, server.chef_server_url, ca_file
        self.start, self.kill = server.start, server.stop
        self.validator_pem = ca_file.with_name(f"{server.name}-validator.pem")
        self.validator_pem.write_bytes(server.validator_key.private_pem())
        self._administrator_key = server.administrator_key

    def administer(self, method, path, content=None):
        """One request of an administrator's."""
        with requests.Session() as session:
            session.trust_env = False
            auth, url = ChefAuth("admin", self._administrator_key), f"{self.url}/{path}"
            session.request(
                method, url, json=content, auth=auth, verify=str(self.ca_file), timeout=10
            ).raise_for_status()


@pytest.fixture
def embedded(tmp_path, drawn):
    """Main and standby; both know the node."""
    with dev_servers(*NAMES) as servers:
        (tmp_path / "ca.pem").write_bytes(servers[0].ca_pem)
        for server in servers:
            server.register(NODE, public_pem(drawn))
            server.put_node(NODE, run_list=[f"role[{ROLE}]"])
        yield [Embedded(server, tmp_path / "ca.pem") for server in servers]


class Slow:
    """``server`` behind a relay that lets each connection wait for a moment."""

    def __init__(self, server, url):
        self.url = url
        self.ca_file, self.validator_pem = server.ca_file, server.validator_pem


@contextlib.contextmanager
def slowed(server, delay_s):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            time.sleep(delay_s)
            with socket.create_connection(("127.0.0.1", server.port)) as onward:
                back = threading.Thread(target=pump, args=(onward, self.request), daemon=True)
                back.start()
                pump(self.request, onward)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as relaying:
        threading.Thread(target=relaying.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield Slow(server, f"https://127.0.0.1:{relaying.server_address[1]}")
        relaying.shutdown()


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def machine(tmp_path, kind, servers, key):
    return Machine(tmp_path, kind, servers, key)


@pytest.fixture
def main(servers):
    return servers[0]


@pytest.fixture
def standby(servers):
    return servers[1]


class Relay(socketserver.ThreadingUnixStreamServer):
    """Stands on a socket and keeps what is asked. It hands it on to ``beyond``, or gives ``answer`` to everybody."""

    daemon_threads = True

    def __init__(self, path, beyond=None, answer=None):
        self.asked = []
        self._beyond = beyond
        self._answer = answer
        super().__init__(str(path), _Asked)

    def respond(self, line, request):
        self.asked.append((line, request))
        if self._answer is not None:
            body = json.dumps(self._answer).encode()
            return b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        with socket.socket(socket.AF_UNIX) as onward:
            onward.connect(str(self._beyond))
            onward.sendall(request)
            return b"".join(iter(lambda: onward.recv(65536), b""))

    @property
    def reports(self):
        """The run reports, in order."""
        return [
            json.loads(request.partition(b"\r\n\r\n")[2]) for line, request in self.asked if line == "POST /v1/runs"
        ]

    @property
    def questions(self):
        """How often somebody asked for the server."""
        return sum(line.partition("?")[0] == "GET /v1/server" for line, _ in self.asked)


class _Asked(socketserver.StreamRequestHandler):
    server: Relay

    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.rfile.readline()
        length = next((int(line[15:]) for line in head.splitlines() if line.startswith(b"Content-Length:")), 0)
        line = " ".join(head.decode().split()[:2])
        self.wfile.write(self.server.respond(line, head + self.rfile.read(length)))


@contextlib.contextmanager
def relay(path, **more):
    with Relay(path, **more) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def settle(machine, name):
    """Until the sidecar's own choice is ``name``, and written down."""
    state = machine.root / "state.json"
    until(lambda: state.exists() and json.loads(state.read_text())["choice"]["name"] == name)


# A node with nothing but the package and its configuration.


@pytest.mark.parametrize("is_main_up", [True, False], ids=["both up", "main down at boot"])
def test_first_boot(tmp_path, kind, servers, is_main_up):
    """It makes its key, registers with whoever is there, and runs there with that key; then the standby is seeded."""
    main, standby = servers
    node = f"i-0boot-{kind.name}-{'both' if is_main_up else 'standby'}"
    machine = Machine(tmp_path, kind, servers, tmp_path / "client.pem", node)
    machine.write_config(health=BRISK, registers=True)
    if not is_main_up:
        main.kill()
    with daemon(machine.config) as sidecar:
        ended = run("wait", "--associated", "--timeout", "1m", "--config", machine.config)
        assert ended.returncode == 0, ended.stderr
        used, other = (main, standby) if is_main_up else (standby, main)
        assert machine.run() == 0, machine.output
        assert {note["url"] for note in machine.notes} == {used.url}
        assert machine.has_run_on(used)
        other.start()
        ended = run("wait", "--associated", "--all", "--timeout", "1m", "--config", machine.config)
        assert ended.returncode == 0, ended.stderr
        key = load_key(machine.key)
        until(lambda: other.request("GET", f"clients/{node}", node, key).status_code == 200, 60)
        assert sidecar.process.poll() is None


def test_a_standby_without_the_object_is_seeded_also_after_a_restart(tmp_path, kind, servers):
    """The first run comes after the restart, and the sidecar still knows that the standby had no object."""
    main, standby = servers
    for server in servers:
        server.put_role(ROLE)
    node = f"i-0restart-{kind.name}"
    machine = Machine(tmp_path, kind, servers, tmp_path / "client.pem", node)
    machine.write_config(health=BRISK, registers=True)
    with daemon(machine.config):
        ended = run("wait", "--associated", "--all", "--timeout", "1m", "--config", machine.config)
        assert ended.returncode == 0, ended.stderr
        state = tmp_path / "state.json"
        until(lambda: "standbyserver" in json.loads(state.read_text())["without_object"])
    with daemon(machine.config):
        assert machine.run("--runlist", f"role[{ROLE}]") == 0, machine.output
        assert machine.has_run_on(main)
        key = load_key(machine.key)
        until(lambda: standby.request("GET", f"nodes/{node}", node, key).status_code == 200)


# The three tests of the original recipe.


def test_both_healthy(machine, main, standby):
    with daemon(machine.config):
        assert machine.run() == 0, machine.output
    assert [note["event"] for note in machine.notes] == ["configured", "run_start", "converge_start", "run_completed"]
    assert {note["url"] for note in machine.notes} == {main.url}
    assert machine.has_run_on(main)
    assert not machine.has_run_on(standby)
    assert f"chef-failover: using mainserver {main.url}" in machine.output
    assert "not reachable" not in machine.output


def test_main_stopped_before_the_start(machine, main, standby):
    main.kill()
    with daemon(machine.config):
        assert machine.run() == 0, machine.output
    assert {note["url"] for note in machine.notes} == {standby.url}
    assert machine.has_run_on(standby)
    assert "Server not reachable: mainserver: " in machine.output


def test_main_dies_later(machine, main, standby):
    """And the run comes at once, when the sidecar's last word is that main is well."""
    with daemon(machine.config):
        assert machine.run() == 0, machine.output
        main.kill()
        assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [main.url, standby.url], machine.output
    assert machine.has_run_on(standby)
    assert "Server not reachable: mainserver: " in machine.output


@pytest.mark.timeout(900)
@pytest.mark.parametrize("where", ["goiardi", "embedded"])
def test_all_three_ten_times_in_a_row(tmp_path, kind, request, key, where):
    """Not a second between a server's death and the run, nor between one sidecar and the next."""
    if where == "goiardi":
        machine = Machine(tmp_path, kind, request.getfixturevalue("servers"), key)
    elif kind.name != KINDS[0]:
        pytest.skip("the embedded servers have no cookbooks, which chef-client itself asks for")
    else:
        machine = Machine(tmp_path, kind, request.getfixturevalue("embedded"), key)
    main, standby = machine.servers
    for number in range(10):
        main.start()
        with daemon(machine.config):
            assert machine.run() == 0, (number, machine.output)
            main.kill()
            assert machine.run() == 0, (number, machine.output)
        (tmp_path / "state.json").unlink()
        with daemon(machine.config):
            assert machine.run() == 0, (number, machine.output)
        (tmp_path / "state.json").unlink()
    assert machine.urls("run_completed") == [main.url, standby.url, standby.url] * 10


# During a run.


def test_main_dies_during_a_run(machine, main, standby):
    """The sidecar probes nothing by itself here: the report of the failure makes it look."""
    machine.gate.touch()
    with daemon(machine.config) as sidecar:
        with machine.chef_client("--once") as process:
            machine.wait_for("converge_start", 1)
            main.kill()
            machine.gate.unlink()
            assert process.wait(END_S) == 1, machine.output
        assert machine.urls("run_failed") == [main.url]
        until(lambda: sidecar.ask("/v1/servers").body["servers"][0]["outcome"] == "refused")
        assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [standby.url], machine.output
    assert "Server not reachable: mainserver: " in machine.output


def test_a_run_keeps_its_server(machine, main, standby):
    """Also when the sidecar meanwhile prefers another."""
    main.kill()
    machine.write_config(health=BRISK, selection="{failback: immediately}")
    machine.gate.touch()
    with daemon(machine.config) as sidecar, machine.chef_client("--once") as process:
        machine.wait_for("converge_start", 1)
        main.start()
        until(lambda: sidecar.ask("/v1/server").body["name"] == "mainserver")
        machine.gate.unlink()
        assert process.wait(END_S) == 0, machine.output
    assert machine.urls("run_completed") == [standby.url], machine.output
    assert machine.has_run_on(standby)
    assert not machine.has_run_on(main)


# A daemonised chef-client.


def test_daemonised_and_main_is_stopped_between_runs(machine, main, standby):
    with daemon(machine.config), machine.chef_client("-i", 3600) as process:
        machine.wait_for("configured", 1)
        machine.run_of(process)
        main.kill()
        machine.run_of(process)
        machine.run_of(process)
    assert machine.urls("run_completed") == [main.url, standby.url, standby.url], machine.output
    assert machine.urls("configured") == [main.url, main.url, standby.url, standby.url]
    assert "Server not reachable: mainserver: " in machine.output
    assert machine.has_run_on(standby)


def test_daemonised_and_main_dies_during_a_run(machine, main, standby):
    """chef-client reads its files again only after a run that succeeded, so they cannot save it here."""
    machine.gate.touch()
    with daemon(machine.config), machine.chef_client("-i", 3600) as process:
        machine.wait_for("configured", 1)
        process.send_signal(signal.SIGUSR1)
        machine.wait_for("converge_start", 1)
        main.kill()
        machine.gate.unlink()
        machine.wait_for("run_failed", 1)
        machine.run_of(process)
    assert [(note["event"], note["url"]) for note in machine.notes] == [
        ("configured", main.url),
        ("run_start", main.url),
        ("converge_start", main.url),
        ("run_failed", main.url),
        ("run_start", standby.url),
        ("converge_start", standby.url),
        ("run_completed", standby.url),
        ("configured", standby.url),
    ]
    assert machine.has_run_on(standby)


def test_by_its_interval_alone(machine, main, standby):
    with daemon(machine.config), machine.chef_client("-i", 1) as process:
        machine.wait_for("run_completed", 1)
        main.kill()
        until(lambda: standby.url in machine.urls("run_completed"), END_S)
        assert process.poll() is None
    first = machine.urls("run_completed").index(standby.url)
    assert machine.urls("run_completed")[:first] == [main.url] * first
    assert machine.count("run_failed") <= 1


def test_one_handler_and_one_report_of_each_event(machine, main, standby):
    """However often the files are read: after each run that succeeded, and on HUP."""
    with (
        daemon(machine.write_config("sidecar.yml", socket="beyond.sock")),
        relay(machine.socket, beyond=machine.root / "beyond.sock") as between,
        machine.chef_client("-i", 3600) as process,
    ):
        machine.wait_for("configured", 1)
        machine.run_of(process)
        for reading in (3, 4, 5):
            process.send_signal(signal.SIGHUP)
            machine.wait_for("configured", reading)
        machine.run_of(process)
        machine.gate.touch()
        process.send_signal(signal.SIGUSR1)
        machine.wait_for("converge_start", 3)
        main.kill()
        machine.gate.unlink()
        machine.wait_for("run_failed", 1)
        machine.run_of(process)
    assert [(report["event"], report["server"]) for report in between.reports] == [
        ("started", "mainserver"),
        ("succeeded", "mainserver"),
        ("started", "mainserver"),
        ("succeeded", "mainserver"),
        ("started", "mainserver"),
        ("failed", "mainserver"),
        ("started", "standbyserver"),
        ("succeeded", "standbyserver"),
    ]
    ids = [report["run_id"] for report in between.reports]
    assert ids[::2] == ids[1::2]
    assert len(set(ids)) == 4
    errors = [note["error"] for note in machine.notes if note["event"] == "run_failed"]
    assert [report["error_class"] for report in between.reports if report["event"] == "failed"] == errors
    assert between.questions == machine.count("configured") + machine.count("run_start")


# Failback.


def test_failback_after_the_hold_down(machine, main, standby):
    machine.write_config(health=BRISK, selection=f"{{failback: {machine.kind.failback}}}")
    main.kill()
    with daemon(machine.config) as sidecar:
        settle(machine, "standbyserver")
        main.start()
        until(lambda: sidecar.ask("/v1/servers").body["servers"][0]["health"] == "UP")
        assert machine.run() == 0, machine.output
        assert machine.urls("run_completed") == [standby.url], machine.output
        assert not machine.has_run_on(main)
        until(lambda: sidecar.ask("/v1/server").body["name"] == "mainserver", 30)
        assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [standby.url, main.url], machine.output
    assert machine.has_run_on(main)


# Nodes that a server does not know, or knows only by an empty object.


def test_an_empty_object_that_a_run_has_left_is_filled_once_main_is_back(tmp_path, kind, servers, drawn, key):
    """Installed while main is down: the run on the standby makes an empty object, and must not end failover."""
    main, standby = servers
    node = f"i-0empty-{kind.name}"
    for server in servers:
        server.register(node, public_pem(drawn), run_list=(f"role[{ROLE}]",) if server is main else None)
        server.put_role(ROLE)
        server.save()
    machine = Machine(tmp_path, kind, servers, key, node)
    machine.write_config(health=BRISK)
    main.kill()

    def run_list():
        return standby.request("GET", f"nodes/{node}", node, drawn).json()["run_list"]

    with daemon(machine.config) as sidecar:
        assert machine.run() == 0, machine.output
        assert "mainserver may know this node and cannot be asked" in machine.output
        assert run_list() == []
        main.start()
        until(lambda: run_list() == [f"role[{ROLE}]"], 30)
        found = standby.request("GET", f"nodes/{node}", node, drawn).json()
        assert "ohai_time" in found["automatic"], "what the run has found out is still there"
        until(lambda: not sidecar.ask("/v1/servers").body["servers"][1]["lacks"], 30)
        main.kill()
        assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [standby.url] * 2, machine.output
    assert "do nothing" not in machine.output


def test_a_main_that_fails_is_no_better_than_a_standby_that_is_not_ready(tmp_path, kind, servers, drawn, key):
    """From the first run on, not only once main is DOWN; and the run there is warned of."""
    main, standby = servers
    node = f"i-0check-{kind.name}"
    for server in servers:
        server.register(node, public_pem(drawn), run_list=(f"role[{ROLE}]",) if server is main else None)
        server.put_role(ROLE)
        server.save()
    machine = Machine(tmp_path, kind, servers, key, node)
    machine.write_config(more="readiness: check")
    with daemon(machine.config) as sidecar:
        until(
            lambda: (
                sidecar.ask("/v1/servers?refresh=yes").body["servers"][1]["lacks"]
                == ["is not ready: has no object of this node"]
            )
        )
        until(lambda: sidecar.ask("/v1/servers").body["servers"][0]["readiness"] == "has an object of this node")
        main.kill()
        for _ in range(2):
            assert machine.run() == 0, machine.output
            assert "a run there will do nothing" in machine.output
        settle(machine, "standbyserver")
        assert "a run there will do nothing" in run("status", "--config", machine.config).stdout
    assert machine.urls("run_completed") == [standby.url] * 2, machine.output


@pytest.mark.parametrize("waits", [True, False], ids=["after wait", "at once"])
def test_a_new_node_of_a_slow_main_runs_there(tmp_path, kind, servers, waits):
    """Registering takes four times 0.6 s; the standby is ready long before."""
    main, standby = servers
    node = f"i-0slow-{kind.name}-{waits}".lower()
    with slowed(main, 0.6) as slow:
        machine = Machine(tmp_path, kind, (slow, standby), tmp_path / "client.pem", node)
        machine.write_config(registers=True)
        machine.config.write_text(machine.config.read_text().replace(f", client_key: {machine.key}", ""))
        with daemon(machine.config) as sidecar:
            if waits:
                ended = run("wait", "--associated", "--config", machine.config)
                assert (ended.returncode, ended.stdout.split()[:2]) == (0, ["ready:", "mainserver"]), ended.stderr
            assert machine.run() == 0, machine.output
            until(lambda: sidecar.ask("/v1/servers").body["choice"] == "mainserver")
    assert machine.urls("run_completed") == [slow.url], machine.output
    assert "not reachable" not in machine.output


def test_a_new_node_s_first_run_is_no_trouble_in_the_log(tmp_path, kind, servers):
    node = f"i-0quiet-{kind.name}"
    machine = Machine(tmp_path, kind, servers, tmp_path / "client.pem", node)
    (tmp_path / "first.json").write_text(json.dumps({"run_list": [f"role[{ROLE}]"]}))
    for server in servers:
        server.put_role(ROLE)
    machine.write_config(health=BRISK, registers=True)
    machine.config.write_text(machine.config.read_text().replace(f", client_key: {machine.key}", ""))
    main, standby = servers
    with daemon(machine.config) as sidecar:
        assert machine.run("-j", tmp_path / "first.json") == 0, machine.output
        ended = run("wait", "--associated", "--all", "--timeout", "1m", "--config", machine.config)
        assert ended.returncode == 0, ended.stderr
        key = load_key(machine.key)
        until(lambda: standby.request("GET", f"nodes/{node}", node, key).status_code == 200, 30)
        until(lambda: all(one["ready"] for one in sidecar.ask("/v1/servers").body["servers"]))
        assert machine.urls("run_completed") == [main.url]
        assert "not ready" not in sidecar.log
        assert "degraded" not in sidecar.log


def test_a_run_tells_what_it_used(tmp_path, kind, servers, drawn, key):
    """One that is asked for another run list, for this time, tells nothing."""
    node = f"i-0used-{kind.name}"
    for server in servers:
        server.register(node, public_pem(drawn), run_list=(f"role[{ROLE}]",))
        server.put_role(ROLE)
    machine = Machine(tmp_path, kind, servers, key, node)
    with (
        daemon(machine.write_config("sidecar.yml", socket="beyond.sock")) as sidecar,
        relay(machine.socket, beyond=machine.root / "beyond.sock") as between,
    ):
        assert machine.run() == 0, machine.output
        assert machine.run("-o", f"role[{ROLE}],role[{ROLE}]") == 0, machine.output
        known = json.loads((machine.root / "state.json").read_text())["used"]
        assert sidecar.process.poll() is None
    used = {"run_list": [f"role[{ROLE}]"], "environment": "_default", "cookbooks": {}}
    nothing = {"policy_name": None, "policy_group": None, "policy_revision": None}
    assert [one.get("used") for one in between.reports if one["event"] == "succeeded"] == [used | nothing, None]
    assert known == {"node": node, "server": "mainserver", "since": known["since"], **used, **nothing}


def test_after_a_restart_the_server_in_use_has_been_probed_within_seconds(machine):
    """The interval is 45 minutes; a person who looks has the others probed, too."""
    with daemon(machine.config) as sidecar:
        until(lambda: sidecar.ask("/v1/servers").body["servers"][0]["outcome"])
        until(lambda: all(one["outcome"] for one in sidecar.ask("/v1/servers?refresh=yes").body["servers"]))


def test_tags_that_chef_client_adds_are_no_difference(machine, main, standby):
    with daemon(machine.config) as sidecar:
        assert machine.run() == 0, machine.output
        assert main.request("GET", f"nodes/{NODE}", NODE, load_key(machine.key)).json()["normal"] == {"tags": []}
        sidecar.stop()
        sidecar.restart()
        for name in ("mainserver", "standbyserver"):
            sidecar.ask(f"/v1/servers/{name}/associate", method="POST", body={})  # and read what is there
        until(lambda: all(is_read(one) for one in sidecar.ask("/v1/servers?refresh=yes").body["servers"]))
        assert [one["differences"] for one in sidecar.ask("/v1/servers").body["servers"]] == [[], []]


def is_read(server):
    return server["readiness"] == "no server is known to have more than an empty object of this node"


def test_a_policy_group_that_is_missing_in_chef_zero_s_words(tmp_path, kind, embedded, key):
    """The path of what is not found has the word organizations in it. The embedded servers can say it so."""
    if kind.name != KINDS[0]:
        pytest.skip("the embedded servers have no policies to run, which chef-client itself asks for")
    main, standby = embedded
    main.state.policies["prod", "web"] = "1"
    standby.state.speaks_chef_zero = True
    machine = Machine(tmp_path, kind, embedded, key)
    text = machine.config.read_text()
    policy = "policy_name: web, policy_group: prod"
    machine.config.write_text(text.replace("organization: null", f"organization: null, {policy}"))
    with daemon(machine.config) as sidecar:
        lacks = ["is not ready: policy web is not in policy group prod"]
        until(lambda: sidecar.ask("/v1/servers?refresh=yes").body["servers"][1]["lacks"] == lacks)
        assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [main.url], machine.output


def test_a_main_that_fails_runs_while_its_probes_are_well_is_left_until_one_works(tmp_path, kind, embedded, key):
    """It may not read its node there, so chef-client gets 403 before anything else."""
    if kind.name != KINDS[0]:
        pytest.skip("the embedded servers have no cookbooks, which chef-client itself asks for")
    main, standby = embedded
    machine = Machine(tmp_path, kind, embedded, key)
    machine.write_config(health=BRISK)
    readers = main.state.acls[NODE]["read"]
    with daemon(machine.config) as sidecar:
        until(lambda: all(entry["health"] == "UP" for entry in sidecar.ask("/v1/servers").body["servers"]))
        main.state.acls[NODE]["read"] = Ace(frozenset({PIVOTAL}), frozenset())
        assert [machine.run() for _ in range(3)] == [1, 1, 0], machine.output
        assert machine.urls("run_failed") == [main.url] * 2
        assert machine.urls("run_completed") == [standby.url]
        sidecar.send(signal.SIGHUP)
        until(lambda: "reloaded" in sidecar.log)
        assert sidecar.ask("/v1/servers").body["servers"][0]["standing"] == "fails_runs"
        sidecar.stop()
        sidecar.restart()
        until(lambda: sidecar.ask("/v1/servers").body["servers"][0]["standing"] == "fails_runs")
        reason = sidecar.ask("/v1/servers").body["reason"]
        assert "the last 2 runs there failed before any cookbook ran" in reason
        assert "Net::HTTP" in run("status", "--config", machine.config).stdout
        main.state.acls[NODE]["read"] = readers
        assert run("pin", "mainserver", "--strict", "--config", machine.config).returncode == 0
        assert machine.run() == 0, machine.output
        assert run("unpin", "--config", machine.config).returncode == 0
        assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [standby.url, main.url, main.url]


@pytest.mark.parametrize("cure", ["grant", "delete"])
def test_a_client_made_anew_from_its_key_conflict_to_a_run_that_saves(tmp_path, kind, embedded, cure):
    """The node has lost its key. Its objects are those of the client that it was, as our own advice leads to."""
    if kind.name != KINDS[0]:
        pytest.skip("the embedded servers have no cookbooks, which chef-client itself asks for")
    main, standby = embedded
    machine = Machine(tmp_path, kind, embedded, tmp_path / "client.pem")
    machine.write_config(health=BRISK, registers=True)
    machine.config.write_text(machine.config.read_text().replace(f", client_key: {machine.key}", ""))

    def servers():
        return sidecar.ask("/v1/servers").body["servers"]

    def status():
        return run("status", "--config", machine.config).stdout

    def have_read_again(name):
        assert run("associate", name, "--config", machine.config).returncode == 0

    with daemon(machine.config) as sidecar:
        until(lambda: [entry["association"] for entry in servers()] == ["refused"] * 2)
        assert f"knife client delete {NODE}" in status()
        assert f"knife acl add client {NODE} nodes {NODE} update" in status()
        for server in embedded:
            server.administer("DELETE", f"clients/{NODE}")
        assert run("associate", "--wait", "--timeout", "1m", "--config", machine.config).returncode == 0
        until(lambda: [entry["may_save"] for entry in servers()] == [False] * 2)
        assert [entry["ready"] for entry in servers()] == [True] * 2, "a warning moves nobody"
        assert "cannot save" in status()
        assert "cannot save" in run("check", "--node", "--config", machine.config).stdout

        standby.administer("DELETE", f"nodes/{NODE}")
        have_read_again("standbyserver")
        until(lambda: servers()[1]["may_save"] is True)
        assert NODE in standby.state.nodes, "seeded in the new client's name"

        assert machine.run() == 1, machine.output
        assert "cannot save its object there" in machine.output
        until(lambda: sidecar.ask("/v1/server").body["name"] == "standbyserver")
        assert servers()[0]["readiness"] == "a run there could not save this node's object (HTTP 403)"
        assert machine.run() == 0, machine.output

        if cure == "grant":
            for permission in ("update", "grant"):
                rights = {permission: {"actors": ["pivotal", NODE], "groups": ["admins"]}}
                main.administer("PUT", f"nodes/{NODE}/_acl/{permission}", rights)
        else:
            main.administer("DELETE", f"nodes/{NODE}")
        have_read_again("mainserver")
        until(lambda: servers()[0]["ready"] and servers()[0]["may_save"])
        assert machine.run() == 0, machine.output
    assert machine.urls("run_failed") == [main.url]
    assert machine.urls("run_completed") == [standby.url, main.url], machine.output


def test_the_node_object_names_the_server_of_its_run(machine, main, standby):
    """In the first run after main's death the sidecar's settled choice is still main."""
    plugins = machine.root / "ohai/plugins"
    plugins.mkdir(parents=True)
    (plugins / "chef_failover.rb").write_text(machine.installed("ohai/chef_failover.rb"))
    machine.write_client_rb(f'minimal_ohai false\nohai.plugin_path << "{plugins}"\n')
    with daemon(machine.config):
        assert machine.run() == 0, machine.output
        main.kill()
        assert machine.run() == 0, machine.output
    saved = standby.request("GET", f"nodes/{NODE}", NODE, load_key(machine.key)).json()["automatic"]["chef_failover"]
    assert saved["run"] == {"server": "standbyserver", "chef_server_url": standby.url}


# A mistake in config.yml.


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(("organization: null", "organisation: acme"), id="a typo"),
        pytest.param(("organization: null", "organization: no"), id="a word that YAML reads as false"),
        pytest.param(
            ("selection:", "servers: [{name: x, url: 'https://127.0.0.1:1'}]\nselection:"), id="servers twice"
        ),
        pytest.param(("url: 'https:", "url: 'http:"), id="http"),
        pytest.param(("servers:", "servers: ["), id="no YAML"),
    ],
)
def test_a_mistake_leaves_sidecar_and_shim_where_they_were(machine, main, mistake):
    """While the sidecar goes on, after its restart, and when it is gone."""
    with daemon(machine.config) as running:
        settle(machine, "mainserver")
        machine.config.write_text(machine.config.read_text().replace(*mistake))
        ended = run("accept", "--reload", running.process.pid, "--config", machine.config)
        assert ended.returncode == 2
        assert machine.run() == 0, machine.output
        running.stop()
        running.restart()
        assert machine.run() == 0, machine.output
    assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [main.url] * 3


def test_a_first_file_with_a_mistake_and_the_node_runs_as_without_us(machine, standby):
    machine.accepted.unlink()
    machine.config.write_text(machine.config.read_text().replace("organization: null", "organisation: acme"))
    assert run("serve", "--config", machine.config).returncode == 2
    own = f'chef_server_url "{standby.url}"\nnode_name "{NODE}"\nclient_key "{machine.key}"\n'
    machine.write_client_rb(own + f'ssl_ca_file "{standby.ca_file}"\n')
    assert machine.run() == 0, machine.output
    assert {note["url"] for note in machine.notes} == {standby.url}


# What client.rb says beside us.

FETCH = r"""
unless $fetches # every evaluation would add another handler
  $fetches = true
  Chef.event_handler do
    on(:converge_start) do |*_|
      uri = URI("%(url)s")
      http = Net::HTTP.new(uri.host, uri.port, nil)
      http.use_ssl = true
      http.ca_path = Chef::Config[:ssl_ca_path]
      http.ca_file = Chef::Config[:ssl_ca_file] unless http.ca_path
      File.write("%(fetched)s", http.get("/").code)
    end
  end
end
"""
"""What a remote_file does: it trusts what Chef's TLS policy makes of these two settings."""
HASH = "printf('%08x', OpenSSL::X509::Certificate.new(File.read(ARGV[0])).subject.hash)"


@pytest.mark.parametrize("setting", ["ssl_ca_file", "ssl_ca_path"])
def test_a_run_trusts_its_server_and_what_client_rb_trusts(machine, main, standby, tmp_path, setting):
    """Each server has a CA of its own here, and an internal host has the one of client.rb."""
    with dev_servers("internal") as (internal,):
        trusted = tmp_path / "internal.pem"
        trusted.write_bytes(internal.ca_pem)
        if setting == "ssl_ca_path":
            command = [require_program("ruby", "ruby"), "-r", "openssl", "-e", HASH, trusted]
            name = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            trusted = tmp_path / "internal"
            trusted.mkdir()
            (trusted / f"{name}.0").write_bytes(internal.ca_pem)
        machine.write_client_rb(f'{setting} "{trusted}"\n')
        more = {"url": internal.url, "fetched": tmp_path / "fetched"}
        (tmp_path / "client.d/fetch.rb").write_text(FETCH % more)
        for server in (main, standby):
            with daemon(machine.config):
                assert machine.run() == 0, machine.output
            assert machine.urls("run_completed")[-1] == server.url
            assert (tmp_path / "fetched").read_text().isdigit()
            (tmp_path / "fetched").unlink()
            main.kill()


def test_a_node_name_of_client_rb_that_is_another_is_said_once(machine, main):
    machine.write_client_rb('node_name "web-9"\n')
    with daemon(machine.config):
        assert machine.run() == 0, machine.output
    assert machine.has_run_on(main)
    assert machine.output.count(f"node_name {NODE} of config.yml replaces web-9 of client.rb") == 1


def test_local_mode_is_left_alone_by_a_client_rb_that_loads_client_d(machine):
    """It does so before the command line is in the configuration."""
    load = f'Dir["{machine.root}/client.d/chef*.rb"].each {{ |path| from_file(path) }}\n'
    machine.write_client_rb(load)
    with relay(machine.socket, answer={}) as between:
        assert machine.run("-z", "-N", NODE) == 0, machine.output
    assert between.asked == []
    assert "chef-failover" not in machine.output


# Without a sidecar, and with an impostor.


def test_a_sidecar_that_hangs_is_waited_for_once(machine, main):
    with silence(machine.socket) as held_s:
        assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [main.url], machine.output
    assert machine.output.count("no usable answer from the sidecar") == 1
    assert machine.output.count("the first server of config.yml") == 1
    assert [took_s > 3 for took_s in held_s] == [True] + [False] * (len(held_s) - 1)  # 4 s, and then 0.2


@contextlib.contextmanager
def silence(path):
    """A socket that takes connections and never says a word; gives for how many seconds each was held."""
    held_s = []

    class Silent(socketserver.StreamRequestHandler):
        def handle(self):
            began = time.monotonic()
            self.rfile.read()  # until the other side hangs up
            held_s.append(time.monotonic() - began)

    with socketserver.UnixStreamServer(str(path), Silent) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield held_s
        finally:
            listening.shutdown()
            thread.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_sidecar_gone(machine, main, standby, number):
    """The last choice, which is not the first server; without it the first. A killed sidecar leaves its socket."""
    main.kill()
    with daemon(machine.config) as sidecar:
        settle(machine, "standbyserver")
        main.start()
        sidecar.stop(number)
    assert machine.socket.exists() == (number == signal.SIGKILL)
    assert machine.run() == 0, machine.output
    assert f"the last choice in {machine.root}/state.json" in machine.output
    (machine.root / "state.json").unlink()
    assert machine.run() == 0, machine.output
    assert "the first server of config.yml" in machine.output
    assert machine.urls("run_completed") == [standby.url, main.url], machine.output
    assert machine.has_run_on(standby)
    assert machine.has_run_on(main)


def test_sidecar_killed_under_a_daemonised_chef_client(machine, main, standby):
    main.kill()
    with daemon(machine.config) as sidecar, machine.chef_client("-i", 3600) as process:
        machine.wait_for("configured", 1)
        settle(machine, "standbyserver")
        sidecar.stop(signal.SIGKILL)
        machine.run_of(process)
        machine.run_of(process)
    assert machine.urls("run_completed") == [standby.url] * 2, machine.output


def test_a_foreign_host_is_refused(machine, main, standby):
    """Even one that would serve the run: the main server under a name that config.yml does not have."""
    foreign = main.url.replace("127.0.0.1", "localhost")
    lie = {"schema": 1, "name": "mainserver", "chef_server_url": foreign, "ssl_ca_file": str(main.ca_file)}
    choice = {"name": "standbyserver", "chef_server_url": standby.url, "ssl_ca_file": str(standby.ca_file)}
    choice |= {"node_name": NODE, "client_key": str(machine.key)}
    (machine.root / "state.json").write_text(json.dumps({"schema": 1, "choice": choice}))
    with relay(machine.socket, answer=lie) as impostor:
        assert machine.run() == 0, machine.output
    assert impostor.questions == 2
    assert machine.urls("run_completed") == [standby.url], machine.output
    assert f"refused {foreign}: not https, or its host or path is not in config.yml" in machine.output
    assert not machine.has_run_on(main)


# What is not ours to decide.


def test_the_command_line_wins(machine, main, standby):
    machine.write_client_rb(f'ssl_ca_file "{standby.ca_file}"\n')
    with (
        daemon(machine.write_config("sidecar.yml", socket="beyond.sock")),
        relay(machine.socket, beyond=machine.root / "beyond.sock") as between,
    ):
        assert machine.run("-S", standby.url) == 0, machine.output
        with machine.chef_client("-i", 3600, "-S", standby.url) as process:
            machine.wait_for("configured", 2)
            machine.run_of(process)
            machine.run_of(process)
        assert between.reports == []
    assert machine.urls("run_completed") == [standby.url] * 3, machine.output
    assert "the shim keeps it" not in machine.output
    assert not machine.has_run_on(main)


def test_local_mode_is_left_alone(machine, main, standby):
    with relay(machine.socket, answer={}) as between:
        assert machine.run("-z", "-N", NODE) == 0, machine.output
    assert [url.split(":")[0] for url in machine.urls("run_completed")] == ["chefzero"]
    assert between.asked == []
    assert "chef-failover" not in machine.output
    assert not machine.has_run_on(main)
    assert not machine.has_run_on(standby)


# Around it.


def test_a_node_that_no_server_knows_yet(tmp_path, kind, servers, key):
    main, standby = servers
    machine = Machine(tmp_path, kind, servers, key, node=new_node(kind.name))
    with daemon(machine.config):
        assert machine.run() == 0, machine.output
    assert machine.urls("run_completed") == [main.url], machine.output
    assert machine.has_run_on(main)
    assert not machine.has_run_on(standby)


def test_a_broken_file_in_client_d_ends_chef_client(machine):
    """With code 1 up to Chef 15, with 43 since: why the shim never raises."""
    (machine.root / "client.d/broken.rb").write_text("raise 'on purpose'\n")
    assert machine.run() in (1, 43), machine.output
    assert machine.notes == []


def test_what_the_real_chef_config_is_given(tmp_path, both, key, kind):
    """client.rb and client.d evaluated with no chef-client around them, as a test of a cookbook might do."""
    if kind.name != KINDS[0]:
        pytest.skip("has nothing to do with chef-client, and has run before")
    machine = Machine(tmp_path, kind, both, key)
    code = """
      require "chef-config/config"
      require "json"
      config = ChefConfig::Config
      [ARGV[0], *Dir["#{ARGV[1]}/chef*.rb"]].each { |path| config.from_string(File.read(path), path) }
      puts JSON.generate(%i[chef_server_url ssl_ca_file node_name client_key].map { |name| config[name] })
    """
    with daemon(machine.config):
        ran = subprocess.run(
            [require_program("ruby", "ruby"), "-e", code, tmp_path / "client.rb", tmp_path / "client.d"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == [both[0].url, str(both[0].ca_file), NODE, str(key)]
