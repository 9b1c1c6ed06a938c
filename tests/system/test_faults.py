"""A sidecar on three embedded servers: whatever is wrong with the main one, a run goes to the standby in time."""

import datetime
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_failover.api import render
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.trust import TrustStore
from chef_failover.config import settings as config
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Health, Outcome, Standing
from chef_failover.node.machine import Machine
from tests.support.daemon_process import hear_all
from tests.support.parts import missing_part

NODE = "i-0abc"
NAMES = ("mainserver", "standby1", "standby2")
TIMEOUT_S = 4.0
PATIENT_S = 30.0
PATIENT = {"timeout": f"{PATIENT_S}s"}
"""Half of it is not missed by a busy machine."""
SLACK_S = 10.0

CLASSES = {  # the outcome of a signed probe, and what the reason says of it
    Fault.REFUSE: (Outcome.REFUSED, "connection refused"),
    Fault.BLACK_HOLE: (Outcome.CONNECT_TIMEOUT, f"connect timed out after {TIMEOUT_S} s"),
    Fault.RESET: (Outcome.REFUSED, "reset"),
    Fault.SILENT: (Outcome.READ_TIMEOUT, f"accepted the connection, then said nothing for {TIMEOUT_S} s"),
    Fault.CERT_EXPIRED: (Outcome.TLS, "TLS: certificate has expired"),
    Fault.CERT_FOREIGN: (Outcome.TLS, "TLS: unable to get local issuer certificate"),
    Fault.CERT_WRONG_NAME: (Outcome.TLS, "TLS: IP address mismatch"),
    Fault.TLS_SILENT: (Outcome.READ_TIMEOUT, f"no complete answer within {TIMEOUT_S} s"),
    Fault.DRIP: (Outcome.READ_TIMEOUT, f"no complete answer within {TIMEOUT_S} s"),
    Fault.DRIP_BODY: (Outcome.READ_TIMEOUT, f"no complete answer within {TIMEOUT_S} s"),
    Fault.ENDLESS_BODY: (Outcome.NOT_CHEF, ""),
    Fault.HUGE_HEADERS: (Outcome.NOT_CHEF, "not an HTTP answer"),
    Fault.RESET_MID_BODY: (Outcome.REFUSED, "before the answer was complete"),
    Fault.STATUS_ALL_FAIL: (Outcome.SERVER_ERROR, "HTTP 500 Internal Server Error"),
    Fault.SERVER_ERROR: (Outcome.SERVER_ERROR, "HTTP 500"),
    Fault.HTML: (Outcome.NOT_CHEF, "HTTP 200 OK: not an answer of a Chef server"),
    Fault.EMPTY: (Outcome.NOT_CHEF, "HTTP 200 OK: empty body"),
    Fault.REDIRECT: (Outcome.NOT_CHEF, "HTTP 301"),
    Fault.MAINTENANCE: (Outcome.MAINTENANCE, "HTTP 503"),
    Fault.CLOSED: (Outcome.MAINTENANCE, "HTTP 503"),
    Fault.DATABASE_BUSY: (Outcome.BUSY, "HTTP 503 Service Unavailable: busy"),
    Fault.BACK_END_DOWN: (Outcome.SERVER_ERROR, "nginx answers, but the Chef server behind it does not"),
    Fault.CLIENT_CERTIFICATE: (Outcome.TLS, "its front end demands a client certificate"),
    Fault.CLIENT_CERTIFICATE_TLS: (Outcome.TLS, "its front end demands a client certificate"),
    Fault.LICENCE: (Outcome.LICENCE, "the server's Chef licence is not valid"),
    Fault.UNAUTHORIZED_UNKNOWN_CLIENT: (Outcome.NOT_ASSOCIATED, "HTTP 401"),
    Fault.UNAUTHORIZED_BAD_SIGNATURE: (Outcome.NOT_ASSOCIATED, "HTTP 401"),
    Fault.UNAUTHORIZED_CLOCK: (Outcome.CLOCK_SKEW, "clock skew"),
    Fault.FORBIDDEN: (Outcome.FORBIDDEN, "HTTP 403"),
    Fault.WRONG_ORGANIZATION: (Outcome.WRONG_ORGANIZATION, "organization 'default' does not exist"),
}
HARMLESS = {Fault.COLLECTOR_DOWN, Fault.BOOKSHELF_DOWN, Fault.LICENCE_GRACE}
"""These take no run from a server. Without bookshelf one fails, and only that tells."""
IMPAIRING = {Fault.STATUS_SOME_FAIL, Fault.INDEX_DOWN}
"""The search index fails, and with it every run's last save."""
SLOW = (Fault.BLACK_HOLE, Fault.SILENT, Fault.TLS_SILENT, Fault.DRIP, Fault.DRIP_BODY)
"""These last until the timeout, which is therefore short. With all others it is `PATIENT`."""


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def servers(authority, key):
    started = [DevServer(name, authority) for name in NAMES]
    for server in started:
        server.register(NODE, key.public_pem())
        server.put_node(NODE, run_list=["recipe[web]"])
        server.start()
    yield started
    for server in started:
        server.close()


@pytest.fixture
def make_sidecar(servers, authority, key, tmp_path):
    """A started sidecar of all servers; ``health`` overrides single settings."""
    (tmp_path / "ca.pem").write_bytes(authority.ca_pem)
    (tmp_path / "client.pem").write_bytes(key.private_pem())
    started = []

    def make(urls=None, *, health=None, **machine):
        urls = urls or [server.url for server in servers]
        listed = [
            {"name": name, "url": url, "ca_file": f"{tmp_path}/ca.pem"} for name, url in zip(NAMES, urls, strict=True)
        ]
        settings = {"interval": "1h", "retry_interval": "1h", "timeout": f"{TIMEOUT_S}s"}
        text = f"""
            node: {{name: {NODE}}}
            servers: {listed}
            health: {settings | (health or {})}
            listen: {{socket: {tmp_path}/sidecar.sock, loopback: off}}
            state_dir: {tmp_path}
        """
        machine = {"trust": TrustStore(()), "rng": _Late(), **machine}
        sidecar = Sidecar(config.parse(text), Machine(**machine))
        sidecar.start()
        started.append(sidecar)
        return sidecar

    yield make
    for server in servers:
        server.stop()
    for sidecar in started:
        assert sidecar.stop(TIMEOUT_S + 5)


class _Late(random.Random):
    """Puts the first probe as late as it can be, so that only questions cause probes."""

    def random(self):
        return 0.999


def choose(sidecar):
    """The choice for a run that starts now, and that it came in time."""
    began = time.monotonic()
    snapshot, choice = sidecar.choose_for_run(0)
    assert time.monotonic() - began < TIMEOUT_S + SLACK_S
    return snapshot, choice


def until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        pause.wait(0.005)


def is_found_to_be(fault, sidecar):
    """Whether the latest probe of the main server gave it the class of this fault."""
    found = sidecar.snapshot.server("mainserver").last_probe.outcome
    is_too_late = fault is Fault.ENDLESS_BODY and found is Outcome.READ_TIMEOUT  # on a busy machine
    return is_too_late or found is CLASSES[fault][0]


def patience(fault):
    return {} if fault in SLOW else PATIENT


def test_every_fault_is_tried():
    assert {*CLASSES, *HARMLESS, *IMPAIRING} == {*Fault}


@pytest.mark.parametrize("fault", CLASSES, ids=lambda fault: fault.name)
def test_fault_from_the_start(servers, make_sidecar, fault):
    servers[0].fault = fault
    sidecar = make_sidecar(health=patience(fault))
    began = sidecar.now()
    _, choice = choose(sidecar)
    assert (choice.name, choice.is_degraded) == ("standby1", False), choice.reason
    says = CLASSES[fault][1]
    hear_all(sidecar, began)
    assert sidecar.snapshot.choice.name == "standby1"
    assert is_found_to_be(fault, sidecar)
    assert says in sidecar.snapshot.server("mainserver").detail
    if fault not in SLOW:
        assert says in choice.reason


@pytest.mark.parametrize("fault", CLASSES, ids=lambda fault: fault.name)
def test_fault_later(servers, make_sidecar, fault):
    sidecar = make_sidecar(health=patience(fault))
    assert choose_and_hear_all(sidecar) == "mainserver"
    servers[0].fault = fault
    _, choice = choose(sidecar)
    assert (choice.name, choice.is_degraded) == ("standby1", False)
    assert choice.reason.startswith("mainserver ")
    assert choice.passed_over[0].name == "mainserver"
    # The result may come a moment after the answer, if it took the whole timeout.
    says = CLASSES[fault][1]
    until(lambda: is_found_to_be(fault, sidecar))
    assert says in sidecar.snapshot.server("mainserver").detail
    _, choice = choose(sidecar)
    assert choice.name == "standby1"
    assert says in choice.reason


@pytest.mark.parametrize("fault", HARMLESS, ids=lambda fault: fault.name)
def test_harmless_fault(servers, make_sidecar, fault):
    servers[0].fault = fault
    sidecar = make_sidecar(health=PATIENT)
    assert {choose_and_hear_all(sidecar) for _ in range(4)} == {"mainserver"}
    main = render.servers(sidecar.snapshot, sidecar.about, now=sidecar.now())["servers"][0]
    assert (main["standing"], main["index_fails"]) == ("eligible", False)
    assert [lack for lack in main["lacks"] if "licence" in lack] == (
        ["has a Chef licence in its grace period: Your license has expired."] if fault is Fault.LICENCE_GRACE else []
    )


@pytest.mark.parametrize("fault", IMPAIRING, ids=lambda fault: fault.name)
def test_a_search_index_that_is_down(servers, make_sidecar, fault):
    servers[0].fault = fault
    sidecar = make_sidecar(health=PATIENT)
    assert choose_and_hear_all(sidecar) == "mainserver"
    until(lambda: choose_and_hear_all(sidecar) == "standby1")
    choice = sidecar.snapshot.choice
    assert (choice.name, choice.is_degraded) == ("standby1", False)
    assert choice.reason == "mainserver is impaired: its search index fails, so the last save of a run fails"
    assert sidecar.snapshot.server("mainserver").health is Health.UP
    servers[0].fault = None
    until(lambda: choose_and_hear_all(sidecar) and sidecar.snapshot.server("mainserver").index_fails is False)
    assert choose(sidecar)[1].name == "standby1"
    assert sidecar.snapshot.choice.reason.startswith("mainserver is UP again; the node returns in")


def test_where_every_search_index_is_down_the_node_stays(servers, make_sidecar):
    for server in servers:
        server.fault = Fault.INDEX_DOWN
    sidecar = make_sidecar(health=PATIENT)
    assert {choose_and_hear_all(sidecar) for _ in range(5)} == {"mainserver"}
    choice = sidecar.snapshot.choice
    assert (choice.is_degraded, choice.standing) == (True, Standing.IMPAIRED)
    servers[2].fault = None
    until(lambda: choose_and_hear_all(sidecar) == "standby2")
    assert not sidecar.snapshot.choice.is_degraded


def test_all_down(servers, make_sidecar):
    sidecar = make_sidecar()
    for server, fault in zip(servers, (Fault.REFUSE, Fault.BLACK_HOLE, Fault.HTML), strict=True):
        server.fault = fault
    _, choice = choose(sidecar)
    assert choice.is_degraded
    assert choice.reason.startswith("no server is eligible; the best of the rest: ")


def test_all_silent_from_the_start(servers, make_sidecar):
    for server in servers:
        server.fault = Fault.SILENT
    _, choice = choose(make_sidecar())
    assert (choice.name, choice.is_degraded) == ("mainserver", True)


def test_a_hundred_at_once_start_one_round(servers, make_sidecar):
    sidecar = make_sidecar(health={"fresh_for": "30s"})
    gate = threading.Barrier(100)

    def ask():
        gate.wait(60)
        return sidecar.choose_for_run(0)[1].name

    with ThreadPoolExecutor(100) as pool:
        answers = {future.result() for future in [pool.submit(ask) for _ in range(100)]}
    assert answers == {"mainserver"}
    probes = [
        [path for _, path, _ in server.requests].count(f"/organizations/default/clients/{NODE}") for server in servers
    ]
    assert probes[0] == 1
    assert max(probes) == 1, "the others are asked where the first is slow"


def test_every_server_is_asked_with_a_signature_from_the_first_probe_on(servers, make_sidecar):
    for _ in range(5):
        sidecar = make_sidecar()
        choose_and_hear_all(sidecar)
    asked = {path for server in servers for _, path, _ in server.requests}
    own = {f"/organizations/default/{kind}/{NODE}" for kind in ("clients", "nodes")}
    assert {path for path in asked if "/cookbooks" not in path} == {
        *own,
        f"/organizations/default/nodes/{NODE}/_acl",
        "/_status",
    }


def test_a_hanging_server_delays_no_other(servers, make_sidecar):
    sidecar = make_sidecar(health=PATIENT)
    for server in servers[1:]:
        server.fault = Fault.SILENT
    began = time.monotonic()
    assert sidecar.choose_for_run(0)[1].name == "mainserver"
    assert time.monotonic() - began < PATIENT_S / 2


def test_a_known_dead_server_is_not_waited_for(servers, make_sidecar):
    sidecar = make_sidecar(health={"fall": 1, **PATIENT})
    assert choose(sidecar)[1].name == "mainserver"
    servers[0].fault = Fault.REFUSE
    choose(sidecar)
    until(lambda: sidecar.snapshot.server("mainserver").health is Health.DOWN)
    until(lambda: sidecar.snapshot.choice.name == "standby1")
    servers[0].fault = Fault.SILENT
    began = time.monotonic()
    assert sidecar.choose_for_run(0)[1].name == "standby1"
    assert time.monotonic() - began < PATIENT_S / 2


def test_one_failed_probe_moves_a_run_and_not_the_settled_choice(servers, make_sidecar):
    sidecar = make_sidecar()
    choose(sidecar)
    servers[0].fault = Fault.SERVER_ERROR
    snapshot, choice = choose(sidecar)
    assert choice.name == "standby1"
    assert snapshot.server("mainserver").liveness.streak == 1
    assert snapshot.choice.name == sidecar.snapshot.choice.name == "mainserver"
    assert not [one for one in sidecar.snapshot.transitions if one.server is None and one.after != "mainserver"]
    servers[0].fault = None
    assert choose(sidecar)[1].name == "mainserver"  # without a hold-down


@pytest.mark.parametrize("hours", [-30, 30])
def test_the_wall_clock_decides_nothing(servers, make_sidecar, hours):
    jump = [datetime.timedelta()]
    sidecar = make_sidecar(utc_now=lambda: datetime.datetime.now(datetime.UTC) + jump[0])
    choose_and_hear_all(sidecar)
    before = sidecar.snapshot
    jump[0] = datetime.timedelta(hours=hours)
    assert choose(sidecar)[1].name == "mainserver"
    assert sidecar.snapshot.choice.name == "mainserver"
    assert [server.health for server in sidecar.snapshot.servers] == [server.health for server in before.servers]
    servers[0].fault = Fault.SERVER_ERROR
    assert choose(sidecar)[1].name == "standby1"
    assert sidecar.snapshot.choice.name == "mainserver"
    servers[0].fault = None
    assert choose(sidecar)[1].name == "mainserver"


# No network of our own.


class NameService:
    """Finds everything on loopback, or nothing at all."""

    def __init__(self):
        self.answers = True

    def __call__(self, host, port):
        if not self.answers:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]


def choose_and_hear_all(sidecar):
    """Where a run goes, told when every server has been probed since it asked."""
    asked_at = sidecar.now()
    name = choose(sidecar)[1].name
    hear_all(sidecar, asked_at)
    return name


def test_no_name_server(servers, make_sidecar):
    names = NameService()
    sidecar = make_sidecar(
        [f"https://localhost:{server.port}" for server in servers],
        resolver=Resolver(names),
        health={"fall": 1, **PATIENT},
    )
    choose_and_hear_all(sidecar)
    before = sidecar.snapshot
    names.answers = False
    for _ in range(5):
        assert choose_and_hear_all(sidecar) == "mainserver"
    offline = sidecar.snapshot
    assert offline.offline == "no name server answers"
    assert [server.liveness for server in offline.servers] == [server.liveness for server in before.servers]
    assert offline.choice.name == "mainserver"
    assert offline.transitions == before.transitions
    names.answers = True
    assert choose(sidecar)[1].name == "mainserver"
    assert sidecar.snapshot.offline is None


CUT_OFF = """
import subprocess, sys, threading, time
from chef_failover.config import settings as config
from chef_failover.engine.sidecar import Sidecar
sidecar = Sidecar(config.parse(sys.stdin.read()))
sidecar.start()
limit = time.monotonic() + 20
while sidecar.snapshot.offline is None and time.monotonic() < limit:
    sidecar.choose_for_run(0)
for _ in range(5):
    _, choice = sidecar.choose_for_run(0)
print(sidecar.snapshot.offline)
print(choice.name, [server.health.name for server in sidecar.snapshot.servers], len(sidecar.snapshot.transitions))
"""


def test_no_route(tmp_path):
    """In a network namespace without an interface."""
    text = f"""
        servers: [{{name: mainserver, url: 'https://192.0.2.1'}}, {{name: standby1, url: 'https://192.0.2.2'}}]
        health: {{interval: 1h, retry_interval: 1h, timeout: 1s, fall: 1}}
        state_dir: {tmp_path}
    """
    enter = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        missing_part("no network namespace can be made here (unshare, package util-linux, or the right to use it)")
    ran = subprocess.run(
        [*enter, sys.executable, "-c", CUT_OFF],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2] / "sidecar",
    )
    assert ran.returncode == 0, ran.stderr
    offline, choice = ran.stdout.splitlines()
    assert offline == "no route to any Chef server"
    assert choice == "mainserver ['UNKNOWN', 'UNKNOWN'] 1"
