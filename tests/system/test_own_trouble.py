"""Trouble of this node's own, on a whole sidecar with two servers that are well: it is held against neither."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parts import missing_part

ROOT = Path(__file__).parents[2]
BEGIN = """
import os, resource, socket, subprocess, sys, threading, time
from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.trust import TrustStore
from chef_failover.config import settings as config
from chef_failover.engine.sidecar import Sidecar
from chef_failover.node.machine import Machine

folder, hosts = sys.argv[1], sys.argv[2].split(",")
authority = Authority()
servers = [DevServer(name, authority, host=host) for name, host in zip(("main", "standby"), hosts)]
for server in servers:
    server.start()
open(f"{folder}/ca.pem", "wb").write(authority.ca_pem)

def make(urls, health, **machine):
    listed = [{"name": one.name, "url": url, "ca_file": f"{folder}/ca.pem"} for one, url in zip(servers, urls)]
    text = f"{{servers: {listed}, health: {health}, state_dir: {folder}}}"
    sidecar = Sidecar(config.parse(text), Machine(trust=TrustStore(()), **machine))
    sidecar.start()
    return sidecar

def until(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "not in time"
        time.sleep(0.01)

def hear_all(times=1):
    for _ in range(times):
        sidecar.choose_for_run(0)
        asked_at = sidecar.now()  # the last probe ends after this, and none is under way then
        for one in servers:
            sidecar._look_at(one.name)
        until(lambda: all(one.last_probe and one.last_probe.finished_at > asked_at for one in sidecar.snapshot.servers))

def states():
    return [one.liveness for one in sidecar.snapshot.servers]
"""
STRICT = """
at = {one.port: host for one, host in zip(servers, hosts)}
sidecar = make([f"https://localhost:{one.port}" for one in servers],
               "{interval: 1h, retry_interval: 1h, timeout: 30s, fall: 1}",
               resolver=Resolver(lambda _, port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (at[port], port))]))
hear_all()
before = states(), sidecar.snapshot.transitions
assert sidecar.snapshot.choice.name == "main"
"""
ROUTES = """
def route(verb, kind, host):
    subprocess.run(["ip", "route", verb, kind, host, *(["dev", "lo"] if kind == "local" else []), "table", "local"],
                   check=True)

for concerned in (servers, servers[:1]):
    for one, host in zip(concerned, hosts):
        route("replace", sys.argv[3], host)
    hear_all(5)
    assert (states(), sidecar.snapshot.transitions) == before, sidecar.snapshot
    assert sidecar.snapshot.choice.name == "main"
    print(sidecar.snapshot.offline, "|", sidecar.snapshot.server("main").detail)
    for one, host in zip(concerned, hosts):
        route("replace", "local", host)
    hear_all()
    assert sidecar.snapshot.offline is None
print(sidecar.snapshot.choice.reason)
os._exit(0)
"""
FILES = """
held = []
for one in servers:
    one.stop()  # or they would be out of them, too
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
ends_at = time.monotonic() + 1
while time.monotonic() < ends_at:  # what the servers' threads give back late, too
    try:
        held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        time.sleep(0.01)
hear_all(5)
found = states(), sidecar.snapshot.transitions
said = sidecar.snapshot.choice.verdicts[0].sentence
for one in held:
    os.close(one)
for one in servers:
    one.start()
assert found == before, found
print(said)
hear_all()
print(sidecar.snapshot.choice.reason)
os._exit(0)
"""
SLOW_NAMES = """
free = threading.Event()
def slow(host, port):
    free.wait(1.5)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

sidecar = make([f"https://localhost:{one.port}" for one in servers],
               "{interval: 200ms, retry_interval: 200ms, timeout: 1s}", resolver=Resolver(slow))
until(lambda: all(one.health.name == "UP" for one in sidecar.snapshot.servers))
for _ in range(5):
    seen = [one.last_probe.finished_at for one in sidecar.snapshot.servers]
    until(lambda: all(one.last_probe.finished_at > at + 1.0 for one, at in zip(sidecar.snapshot.servers, seen)))
assert not [one for one in sidecar.snapshot.transitions if one.after == "DOWN"], sidecar.snapshot.transitions
print(sidecar.snapshot.choice.reason)
os._exit(0)
"""
BACK = """
sidecar = make([one.url for one in servers], "{interval: 1s, retry_interval: 100ms, timeout: 30s}")
until(lambda: [one.health.name for one in sidecar.snapshot.servers] == ["UP", "UP"])
servers[1].fault = Fault.REFUSE
until(lambda: not sidecar.snapshot.server("standby").last_probe.outcome.is_alive)
servers[0].fault = Fault.REFUSE
until(lambda: [one.health.name for one in sidecar.snapshot.servers] == ["DOWN", "DOWN"])
for one in servers[::-1]:
    one.fault = None
until(lambda: [one.health.name for one in sidecar.snapshot.servers] == ["UP", "UP"])
print(sidecar.snapshot.choice.reason)
chosen = [one.after.removesuffix(" (degraded)") for one in sidecar.snapshot.transitions if one.server is None]
assert {*chosen} == {"main"}, chosen
for one in servers:
    one.fault = Fault.REFUSE
until(lambda: [one.health.name for one in sidecar.snapshot.servers] == ["DOWN", "DOWN"])
servers[1].fault = None
until(lambda: sidecar.snapshot.choice.name == "standby")
os._exit(0)
"""
WELL = "first in order of preference, and UP"


def run(code, folder, hosts="127.0.0.1,127.0.0.1", *arguments, within=()):
    """The lines that ``code`` prints, run after `BEGIN` in a process of its own."""
    ran = subprocess.run(
        [*within, sys.executable, "-c", BEGIN + code, folder, hosts, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=ROOT / "sidecar",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("kind", ["unreachable", "blackhole", "prohibit"])
def test_routes_that_lead_nowhere(tmp_path, kind):
    enter = ["unshare", "--net", "--map-root-user", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        missing_part("no network namespace can be made here (unshare and ip, or the right to use them)")
    all_of_them, one_of_them, after = run(STRICT + ROUTES, tmp_path, "127.0.0.2,127.0.0.3", kind, within=enter)
    words = f"connect: this node has {'an' if kind == 'unreachable' else 'a'} {kind} route to it"
    assert (all_of_them, one_of_them) == (f"no route to any Chef server | {words}", f"None | {words}")
    assert after == WELL


def test_no_file_descriptor(tmp_path):
    meanwhile, after = run(STRICT + FILES, tmp_path)
    assert meanwhile.startswith("in use, ")
    assert meanwhile.endswith("Too many open files")
    assert after == WELL


def test_a_silent_first_name_server(tmp_path):
    assert run(SLOW_NAMES, tmp_path) == [WELL]


def test_everything_unreachable_and_back_at_once(tmp_path):
    assert run(BACK, tmp_path) == [WELL]
