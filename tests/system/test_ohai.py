"""The real Ohai loads the plugin from a directory, with a sidecar and without one."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chef_failover.node import accepted
from tests.support.parts import require_program

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "tests" / "contract"
FACTS = json.loads((CONTRACT / "facts.json").read_text())
STATE = json.loads((CONTRACT / "state.json").read_text())


class Installation:
    """The plugin installed under a directory of its own, as the comment in it says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plugins = root / "plugins"
        self.plugins.mkdir()
        shutil.copytree(ROOT / "ruby_shim/lib", root / "ruby")
        plugin = (ROOT / "ruby_shim/ohai/chef_failover.rb").read_text()
        for shipped, here in {
            "/usr/share/chef-failover": root,
            "/etc/chef-failover/config.yml": root / "config.yml",
        }.items():
            assert plugin.count(f'= "{shipped}') == 1
            plugin = plugin.replace(f'= "{shipped}', f'= "{here}')
        (self.plugins / "chef_failover.rb").write_text(plugin)
        (root / "config.yml").write_text(
            f"listen: {{socket: {self.socket}}}\nstate_dir: {root}\nservers: [{{name: a, url: 'https://a.example.com'}}]\n"
        )
        accepted.accept(root / "config.yml")

    @property
    def socket(self) -> Path:
        return self.root / "sidecar.sock"

    def ohai(self) -> tuple[dict, float]:
        """What Ohai says of us, and how long our plugin took, measured inside Ohai."""
        command = [require_program("ohai", "ohai"), "-d", str(self.plugins), "-l", "trace", "chef_failover"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert ran.returncode == 0, ran.stderr
        took = re.search(r"Plugin ChefFailover took ([0-9.]+) seconds", ran.stderr)
        assert took, ran.stderr
        return json.loads(ran.stdout), float(took[1])


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def listener(installation: Installation) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(installation.socket))
        server.listen()
        yield server


def answer(listener: socket.socket, document: dict, requests: list[bytes]) -> None:
    peer, _ = listener.accept()
    with peer:
        requests.append(peer.recv(4096))
        body = json.dumps(document).encode()
        peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_the_facts_of_the_sidecar(installation, listener):
    requests: list[bytes] = []
    serving = threading.Thread(target=answer, args=(listener, FACTS, requests), daemon=True)
    serving.start()
    facts, took_s = installation.ohai()
    serving.join(30)
    assert facts == {key: value for key, value in FACTS.items() if key != "schema"}
    assert requests[0].startswith(b"GET /v1/facts HTTP/1.0\r\n")
    assert took_s < 10


def test_what_the_state_knows_when_the_sidecar_is_down(installation):
    (installation.root / "state.json").write_text(json.dumps(STATE))
    facts, took_s = installation.ohai()
    assert facts == {
        "available": False,
        **{key: FACTS[key] for key in ("server", "pin", "drains")},
        "servers": STATE["servers"],
    }
    assert took_s < 10


def test_a_sidecar_that_never_speaks_costs_less_than_a_second(installation, listener):
    (installation.root / "state.json").write_text(json.dumps(STATE))
    facts, took_s = installation.ohai()
    assert facts["server"]["name"] == "standbyserver"
    assert 0.5 < took_s < 10  # the budget is 0.8 s; the rest is a busy machine's


def test_nothing_is_known(installation):
    assert installation.ohai()[0] == {"available": False}


@pytest.mark.parametrize("gone", ["config.yml.accepted.json", "ruby/chef_failover.rb", "ruby/chef_failover/facts.rb"])
def test_a_half_removed_package(installation, gone):
    (installation.root / gone).unlink()
    started = time.monotonic()
    assert installation.ohai()[0] == {"available": False}
    assert time.monotonic() - started < 60
