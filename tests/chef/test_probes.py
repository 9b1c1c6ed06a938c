"""Probes of embedded Chef servers with real TLS: the class of every fault, within the deadline."""

import contextlib
import datetime
import functools
import gzip
import itertools
import json
import re
import select
import socket
import socketserver
import ssl
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
import trustme
from cryptography import x509

from chef_devserver.authority import Authority, CertificateKind
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_failover.chef.https import ChefServer, Connection, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import MOST, Resolver
from chef_failover.chef.probes import (
    FAILING_STATUS_INTERVAL_S,
    HABIT_LIFETIME_S,
    STATUS_INTERVAL_S,
    STATUS_SETTLES_S,
    Prober,
)
from chef_failover.chef.signing import ChefAuth
from chef_failover.chef.trust import TrustStore
from chef_failover.decide.spread import JITTER
from chef_failover.model.model import Outcome
from chef_failover.node import offline
from tests.support.chef import NO_READ, PONG, ROOT, URL, check_signature, made_up, sent

NODE = "i-0abc"
TIMEOUT_S = 2.0
NOISE_S = 10.0
"""What a busy machine may add to a timeout."""
PATIENT_S = 30.0
"""For probes that are answered: however busy the machine, they are not about time."""
BOMB = gzip.compress(b" " * 200_000_000, 1)


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def public_pem(key):
    return key.public_pem()


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.ca_pem)
    return path


@pytest.fixture
def server(authority, public_pem):
    with DevServer("main", authority) as server:
        server.register(NODE, public_pem)
        server.put_node(NODE, run_list=["recipe[web]"])
        yield server


@pytest.fixture
def make_prober(ca_file, key):
    """A prober of ``url``, signing unless told otherwise; other settings as in Target and Prober."""

    def make(url, *, signs=True, user=NODE, key=key, timeout_s=PATIENT_S, ca_file=ca_file, trust=None, **settings):
        target = {"node_name": user, "ca_file": ca_file, "timeout_s": timeout_s}
        resolver, parts = settings.pop("resolver", Resolver()), {}
        for name, value in settings.items():
            (parts if name in ("clock", "utc_now", "chance") else target)[name] = value
        clock = {"utc_now": parts["utc_now"]} if "utc_now" in parts else {}
        signer = functools.partial(ChefAuth, user, key, **clock)
        server = ChefServer(Target(url, **target), resolver, trust or TrustStore(()))
        return Prober(server, signer=lambda: signer if signs else None, **parts)

    return make


@pytest.fixture
def probe(make_prober):
    """One probe by a new prober."""
    return lambda url, **settings: make_prober(url, **settings).probe()


def verbs(server):
    return [method for method, _, _ in server.requests]


# Every fault, without a signature and with one.

SLOW = {Fault.BLACK_HOLE, Fault.SILENT, Fault.TLS_SILENT, Fault.DRIP, Fault.DRIP_BODY}
"""The faults that take a whole timeout."""
OK = (Outcome.OK, "answers in")
EVERY = {  # the same, signed or not
    None: OK,
    Fault.REFUSE: (Outcome.REFUSED, "connection refused"),
    Fault.BLACK_HOLE: (Outcome.CONNECT_TIMEOUT, f"connect timed out after {TIMEOUT_S} s"),
    Fault.RESET: (Outcome.REFUSED, "connect"),  # during the connect or the handshake, whichever it meets
    Fault.SILENT: (Outcome.READ_TIMEOUT, f"accepted the connection, then said nothing for {TIMEOUT_S} s"),
    Fault.CERT_EXPIRED: (Outcome.TLS, "TLS: certificate has expired"),
    Fault.CERT_FOREIGN: (Outcome.TLS, "TLS: unable to get local issuer certificate"),
    Fault.CERT_WRONG_NAME: (Outcome.TLS, "TLS: IP address mismatch, certificate is not valid for '127.0.0.1'"),
    Fault.TLS_SILENT: (Outcome.READ_TIMEOUT, f"no complete answer within {TIMEOUT_S} s"),
    Fault.DRIP: (Outcome.READ_TIMEOUT, f"no complete answer within {TIMEOUT_S} s"),
    Fault.DRIP_BODY: (Outcome.READ_TIMEOUT, f"no complete answer within {TIMEOUT_S} s"),
    Fault.HUGE_HEADERS: (Outcome.NOT_CHEF, "not an HTTP answer"),
    Fault.RESET_MID_BODY: (Outcome.REFUSED, "connection c"),  # closed or cut, whichever TLS makes of it
    Fault.SERVER_ERROR: (Outcome.SERVER_ERROR, "HTTP 500 Internal Server Error"),
    Fault.HTML: (Outcome.NOT_CHEF, "HTTP 200 OK: not an answer of a Chef server"),
    Fault.EMPTY: (Outcome.NOT_CHEF, "HTTP 200 OK: empty body"),
    Fault.REDIRECT: (Outcome.NOT_CHEF, "HTTP 301 Moved Permanently: redirects, which a Chef server never does"),
    Fault.MAINTENANCE: (Outcome.MAINTENANCE, "HTTP 503 Service Unavailable: in maintenance"),
    Fault.ENDLESS_BODY: (Outcome.NOT_CHEF, "answer too large (longer than 64 KiB)"),
    Fault.STATUS_ALL_FAIL: (Outcome.SERVER_ERROR, "HTTP 500 Internal Server Error"),
    Fault.STATUS_SOME_FAIL: (Outcome.DEGRADED, "answers, but its search index fails (chef_opensearch)"),
    Fault.LICENCE: (Outcome.LICENCE, "HTTP 403 Forbidden: the server's Chef licence is not valid"),
    Fault.BACK_END_DOWN: (
        Outcome.SERVER_ERROR,
        "HTTP 404 Not Found: nginx answers, but the Chef server behind it does not",
    ),
    Fault.CLIENT_CERTIFICATE: (Outcome.TLS, "HTTP 400 Bad Request: its front end demands a client certificate"),
    Fault.CLIENT_CERTIFICATE_TLS: (Outcome.TLS, "TLS: its front end demands a client certificate"),
    Fault.BOOKSHELF_DOWN: OK,
    Fault.LICENCE_GRACE: OK,
    Fault.INDEX_DOWN: (Outcome.DEGRADED, "answers, but its search index fails (chef_opensearch)"),
    Fault.COLLECTOR_DOWN: OK,
    Fault.CLOSED: (Outcome.MAINTENANCE, "HTTP 503 Service Unavailable: in maintenance"),
}
FAULTS = {  # without a signature, with one
    **{fault: (expected, expected) for fault, expected in EVERY.items()},
    Fault.DATABASE_BUSY: (
        (Outcome.SERVER_ERROR, "HTTP 500 Internal Server Error"),
        (Outcome.BUSY, "HTTP 503 Service Unavailable: busy"),
    ),
    Fault.UNAUTHORIZED_UNKNOWN_CLIENT: (OK, (Outcome.NOT_ASSOCIATED, "HTTP 401: Failed to authenticate as 'i-0abc'")),
    Fault.UNAUTHORIZED_BAD_SIGNATURE: (OK, (Outcome.NOT_ASSOCIATED, "HTTP 401: Invalid signature for user or client")),
    Fault.UNAUTHORIZED_CLOCK: (OK, (Outcome.CLOCK_SKEW, "clock skew: this node's clock says ")),
    Fault.FORBIDDEN: (OK, (Outcome.FORBIDDEN, "HTTP 403: missing read permission")),
    Fault.WRONG_ORGANIZATION: (
        (Outcome.WRONG_ORGANIZATION, "HTTP 404: "),
        (Outcome.WRONG_ORGANIZATION, "HTTP 404: organization 'default' does not exist."),
    ),
}


def test_every_fault_has_its_class():
    assert set(FAULTS) == {None, *Fault}


@pytest.mark.parametrize("signs", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name if fault else "none")
def test_fault(server, make_prober, fault, signs):
    outcome, detail = FAULTS[fault][signs]
    prober = make_prober(server.chef_server_url, signs=signs, timeout_s=TIMEOUT_S if fault in SLOW else PATIENT_S)
    server.fault = fault
    began = time.monotonic()
    result = prober.probe()
    took_s = time.monotonic() - began
    assert (result.outcome, result.detail[: len(detail)]) == (outcome, detail)
    assert not result.never_left_node
    assert result.index_fails is ((outcome is Outcome.DEGRADED) if outcome.serves_node else None)
    assert (result.licence_notice is not None) == (fault is Fault.LICENCE_GRACE)
    assert began <= result.finished_at <= began + took_s
    if fault in SLOW:
        assert TIMEOUT_S * 0.9 < took_s < TIMEOUT_S + NOISE_S
        assert result.latency_s is None
    else:
        assert took_s < PATIENT_S / 2
        assert (result.latency_s is not None) == outcome.is_alive
    server.fault = None
    assert make_prober(server.chef_server_url, signs=signs).probe().outcome is Outcome.OK


# Signed requests.


CLIENT = ("GET", f"/organizations/default/clients/{NODE}", 200)
STATUS = ("GET", "/_status", 200)


def test_the_node_s_own_client_is_all_that_is_asked_for(server, make_prober):
    prober = make_prober(server.chef_server_url)
    for _ in range(3):
        assert prober.probe().outcome is Outcome.OK
    assert list(server.requests) == [CLIENT, STATUS, CLIENT, STATUS, CLIENT]


@pytest.mark.parametrize("signs", [False, True])
def test_a_probe_moves_4_kb_at_most_however_large_the_node_s_object_is(server, authority, make_prober, signs):
    server.put_node(NODE, automatic={"a": "x" * 200_000})
    with counting(server.port) as counted:
        now = [1000.0]
        url = f"https://127.0.0.1:{counted.port}/organizations/default"
        prober = make_prober(url, signs=signs, clock=lambda: now[0])
        for pause_s, index_fails, most in ((90.0, False, 4000), (10.0, False, 4000), (10.0, None, 3500)):
            counted.moved = 0
            result = prober.probe()
            assert (result.outcome, result.index_fails) == (Outcome.OK, index_fails)
            assert 1000 < counted.moved <= most
            now[0] += pause_s


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED_UNKNOWN_CLIENT, Fault.FORBIDDEN])
def test_a_probe_that_is_turned_away_moves_5_kb_at_most(server, make_prober, fault):
    server.fault = fault
    with counting(server.port) as counted:
        prober = make_prober(f"https://127.0.0.1:{counted.port}/organizations/default")
        for _ in range(3):
            counted.moved = 0
            assert prober.probe().outcome.turns_node_away
            assert 1000 < counted.moved <= 5000


class Rsa(Authority):
    """An authority as public ones are: RSA keys of 2048 bits, and an intermediate certificate."""

    def __init__(self):
        root = trustme.CA(key_type=trustme.KeyType.RSA)
        self.ca_pem = root.cert_pem.bytes()
        self._issued = root.create_child_ca(trustme.KeyType.RSA).issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)

    def certificate(self, _kind=CertificateKind.VALID):
        chain = b"".join(one.bytes() for one in self._issued.cert_chain_pems)
        return chain, self._issued.private_key_pem.bytes()


def test_certificates_add_1_kb_each_to_what_a_probe_moves(make_prober, public_pem, tmp_path):
    authority = Rsa()
    (tmp_path / "rsa.pem").write_bytes(authority.ca_pem)
    with DevServer("main", authority) as server, counting(server.port) as counted:
        server.register(NODE, public_pem)
        url = f"https://127.0.0.1:{counted.port}/organizations/default"
        assert make_prober(url, ca_file=tmp_path / "rsa.pem").probe().outcome is Outcome.OK
        assert 4000 < counted.moved <= 6000


@pytest.mark.parametrize("refusal", [{"json": NO_READ}, {"body": b"<html>403 Forbidden</html>"}])
def test_a_client_that_may_not_read_itself_is_proven_by_the_default_environment(chef, make_prober_of, refusal):
    """The second is a proxy that lets nothing pass but what chef-client asks for."""
    chef.get(f"{URL}/clients/{NODE}", status=403, **refusal)
    chef.get(f"{URL}/environments/_default", json={"name": "_default"})
    chef.get(f"{ROOT}/_status", json={"status": "pong", "upstreams": PONG})
    now = [1000.0]
    prober = make_prober_of(clock=lambda: now[0])
    for _ in range(3):
        result = prober.probe()
        assert (result.outcome, result.is_signed) == (Outcome.OK, True)
    client, environment = ("GET", f"clients/{NODE}"), ("GET", "environments/_default")
    status = ("GET", "/_status")
    assert sent(chef) == [client, environment, status, environment, status, environment]
    now[0] += HABIT_LIFETIME_S + 1
    prober.probe()
    assert sent(chef)[6] == client


def test_a_client_that_may_read_nothing_is_turned_away_and_asked_about_again(chef, make_prober_of):
    chef.get(f"{URL}/clients/{NODE}", json=NO_READ, status=403)
    chef.get(f"{URL}/environments/_default", json=NO_READ, status=403)
    prober = make_prober_of()
    assert {prober.probe().outcome for _ in range(2)} == {Outcome.FORBIDDEN}
    assert [path for _, path in sent(chef)] == [f"clients/{NODE}", "environments/_default"] * 2


def test_a_proxy_that_forbids_everything_is_no_chef_server(chef, make_prober_of):
    every(chef, 403, b"<html>403 Forbidden</html>", {"Content-Type": "text/html"})
    result = make_prober_of().probe()
    assert (result.outcome, result.detail) == (
        Outcome.NOT_CHEF,
        "HTTP 403 Forbidden: not an answer of a Chef server",
    )
    assert len(chef.calls) == 2


# The search index: only the status page tells.


def test_the_status_page_is_asked_twice_at_first_and_then_seldom(server, make_prober):
    now, chances = [1000.0], iter([0.5, 0.5, 0.0, 0.99])
    prober = make_prober(server.chef_server_url, clock=lambda: now[0], chance=lambda: next(chances))
    looks = []
    for _ in range(30):
        looks.append(prober.probe().index_fails)
        now[0] += 1800.0
    assert [at for at, look in enumerate(looks) if look is not None] == [0, 1, 13, 23]


def test_the_status_page_is_asked_after_a_run_that_failed_at_its_save(server, make_prober):
    now = [1000.0]
    prober = make_prober(server.chef_server_url, clock=lambda: now[0])
    looks = []
    for doubted_at in (0.0, 0.0, 0.0, 1101.0, 1101.0):
        looks.append(prober.probe(doubted_at=doubted_at).index_fails)
        now[0] += 60.0
    assert looks == [False, False, None, False, None]


@pytest.mark.parametrize(
    ("status", "headers", "pauses_s"),
    [
        (503, {"Retry-After": "3000"}, (3000, 3000)),
        (429, {}, (300, 600)),
        (403, {}, (300, 600)),
    ],
)
def test_a_front_that_refuses_the_status_page_is_asked_for_it_less(chef, make_prober_of, status, headers, pauses_s):
    chef.get(f"{URL}/clients/{NODE}", json={"name": NODE})
    chef.get(f"{ROOT}/_status", body="<html>no</html>", status=status, headers=headers)
    now = [1000.0]
    prober = make_prober_of(clock=lambda: now[0])
    asked = []
    for waits_s in (0, pauses_s[0] - 1, 1, pauses_s[1] - 1, 1):
        now[0] += waits_s
        assert prober.probe().outcome is Outcome.OK
        asked.append([path for _, path in sent(chef)].count("/_status"))
    assert asked == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("status", [429, 503])
def test_how_long_a_server_wants_to_be_left_alone_is_told(chef, make_prober_of, status):
    chef.get(f"{URL}/clients/{NODE}", status=status, headers={"Retry-After": "90"})
    assert make_prober_of().probe().retry_after_s == 90.0


def test_an_index_that_fails_or_is_back_is_looked_at_more_often_for_a_while(server, make_prober):
    now = [1000.0]
    prober = make_prober(server.chef_server_url, clock=lambda: now[0])

    def looks(probes):
        found = []
        for _ in range(probes):
            found.append(prober.probe())
            now[0] += 60.0
        return found

    looks(1)
    now[0] += 2 * STATUS_INTERVAL_S
    for fault, outcome in ((Fault.STATUS_SOME_FAIL, Outcome.DEGRADED), (None, Outcome.OK)):
        server.fault = fault
        if fault is None:
            now[0] += 2 * STATUS_INTERVAL_S
        found = looks(20)
        assert {one.outcome for one in found} == {outcome}
        assert [at for at, one in enumerate(found) if one.index_fails is not None] == [*range(8), 9, 13]
        assert {one.index_fails for one in found} == {None, fault is not None}


def test_an_index_that_has_failed_for_a_day_is_looked_at_every_half_hour(server, make_prober):
    now = [1000.0]
    prober = make_prober(server.chef_server_url, clock=lambda: now[0])
    server.fault = Fault.INDEX_DOWN
    looks = []
    for _ in range(200):
        if prober.probe().index_fails is not None:
            looks.append(now[0])
        now[0] += 600.0
    pauses = [after - before for before, after in itertools.pairwise(looks)]
    longest_s = FAILING_STATUS_INTERVAL_S * (1 + JITTER) + 600
    assert (max(pauses) <= longest_s, pauses[-1] >= FAILING_STATUS_INTERVAL_S * (1 - JITTER)) == (True, True)


def test_what_is_new_is_looked_at_as_often_as_any_threshold_wants(server, make_prober):
    """Probes that hurry come at intervals that are anything but even."""
    now = [1000.0]
    prober = make_prober(server.chef_server_url, clock=lambda: now[0])
    server.fault = Fault.INDEX_DOWN
    looks = []
    for pause_s in [2.4, 1.6] * 10:
        looks.append(prober.probe().index_fails)
        now[0] += pause_s
    assert looks == [True] * 20


def test_a_status_page_that_does_not_answer_harms_no_probe(chef, make_prober_of):
    chef.get(f"{URL}/clients/{NODE}", json={"name": NODE})
    chef.get(f"{ROOT}/_status", body=requests.ConnectionError())
    result = make_prober_of().probe()
    assert (result.outcome, result.index_fails) == (Outcome.OK, None)


@pytest.mark.parametrize("fault", [Fault.BACK_END_DOWN, Fault.MAINTENANCE])
def test_a_passing_fault_of_the_status_page_is_looked_behind_soon(server, make_prober, fault, monkeypatch):
    now = [1000.0]
    prober = make_prober(server.chef_server_url, clock=lambda: now[0])
    get = Connection.request

    def is_between(self, method, url, *more, **others):
        server.fault = fault if url.endswith("/_status") and now[0] == 1000.0 else None
        return get(self, method, url, *more, **others)

    monkeypatch.setattr(Connection, "request", is_between)
    assert prober.probe().index_fails is None
    now[0] += STATUS_SETTLES_S
    assert prober.probe().index_fails is False


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_whose_status_page_tells_nothing_is_not_asked_for_it_again(chef, make_prober_of, status):
    chef.get(f"{URL}/clients/{NODE}", json={"name": NODE})
    chef.get(f"{ROOT}/_status", json={"error": ["no"]}, status=status)
    prober = make_prober_of()
    assert {prober.probe().outcome for _ in range(3)} == {Outcome.OK}
    assert [path for _, path in sent(chef)].count("/_status") == 1


# A licence that has ended.


@pytest.mark.parametrize("signs", [False, True])
def test_the_grace_period_of_a_licence_is_told(chef, make_prober_of, signs):
    told = {"licenseType": "commercial", "gracePeriod": True, "warningMessage": "It ends on Monday."}
    chef.get(
        re.compile(f"{URL}/(clients|principals)/{NODE}"),
        json={"name": NODE},
        headers={"X-Ops-License": json.dumps(told)},
    )
    chef.get(f"{ROOT}/_status", json={"status": "pong", "upstreams": PONG})
    result = make_prober_of(signs=signs).probe()
    assert (result.outcome, result.licence_notice) == (Outcome.OK, "It ends on Monday.")


@pytest.fixture
def old(authority, public_pem):
    with DevServer("old", authority, protocols=("1.0", "1.1")) as server:
        server.register(NODE, public_pem)
        server.put_node(NODE)
        yield server


def test_protocol_1_1_where_1_3_is_refused_is_remembered(old, make_prober):
    now = [1000.0]
    prober = make_prober(old.chef_server_url, clock=lambda: now[0])
    statuses = []
    for _ in range(2):
        assert prober.probe().outcome is Outcome.OK
        statuses.append([(method, status) for method, _, status in old.requests])
        old.requests.clear()
    assert statuses == [[("GET", 400), ("GET", 200), ("GET", 200)], [("GET", 200), ("GET", 200)]]
    assert prober.protocol == "1.1"
    now[0] += HABIT_LIFETIME_S + 1
    prober.probe()
    assert old.requests[0][2] == 400  # 1.3 once more: it may have been upgraded


def test_a_server_that_refuses_1_1_one_day_is_asked_by_1_3_again(old, make_prober):
    prober = make_prober(old.chef_server_url)
    assert prober.probe().outcome is Outcome.OK
    old.state.protocols = frozenset({"1.3"})
    assert [prober.probe().outcome for _ in range(2)] == [Outcome.SERVER_ERROR, Outcome.OK]


def test_a_refused_client_is_no_reason_to_stay_with_1_1(server, make_prober):
    prober = make_prober(server.chef_server_url)
    server.fault = Fault.UNAUTHORIZED_UNKNOWN_CLIENT
    assert prober.probe().outcome is Outcome.NOT_ASSOCIATED
    server.fault = None
    server.state.protocols = frozenset({"1.3"})
    assert prober.probe().outcome is Outcome.OK


def test_whether_there_is_a_node_object_is_not_asked(server, probe, public_pem):
    server.register("new", public_pem)
    assert probe(server.chef_server_url, user="new").detail.startswith("answers in")


def test_a_user_of_the_node_s_name_is_no_client(chef, make_prober_of):
    chef.get(f"{URL}/clients/{NODE}", json={"error": [f"Cannot load client {NODE}"]}, status=404)
    result = make_prober_of().probe()
    assert (result.outcome, result.detail) == (Outcome.NOT_ASSOCIATED, f"HTTP 404: Cannot load client {NODE}")


def test_a_colon_in_a_name_is_sent_as_it_is(chef, key):
    chef.get(f"{URL}/clients/db:1", json={"name": "db:1"})
    chef.get(f"{ROOT}/_status", status=404)
    signer = functools.partial(ChefAuth, "db:1", key)
    assert Prober(made_up("db:1"), signer=lambda: signer).probe().outcome is Outcome.OK
    assert sent(chef)[0] == ("GET", "clients/db:1")
    check_signature(chef.calls[0].request, "1.3", "db:1", key, datetime.datetime.now(datetime.UTC))


def test_wrong_organization(server, probe):
    result = probe(f"{server.url}/organizations/acme")
    assert (result.outcome, result.detail) == (
        Outcome.WRONG_ORGANIZATION,
        "HTTP 404: organization 'acme' does not exist.",
    )


def test_wrong_key_and_unknown_client(server, probe):
    other = PrivateKey.generate()
    assert probe(server.chef_server_url, key=other).outcome is Outcome.NOT_ASSOCIATED
    assert probe(server.chef_server_url, user="nobody").outcome is Outcome.NOT_ASSOCIATED


@pytest.mark.parametrize("hours", [-3, 3])
def test_clock_skew_names_both_times(server, probe, hours):
    ours = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    result = probe(server.chef_server_url, utc_now=lambda: ours)
    assert result.outcome is Outcome.CLOCK_SKEW
    before, theirs = result.detail.split(", the server's ")
    assert before == f"clock skew: this node's clock says {ours:%Y-%m-%d %H:%M:%S} UTC"
    stated = datetime.datetime.strptime(theirs, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=datetime.UTC)
    assert abs(stated - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)


def test_without_a_name_there_is_nothing_to_sign(server, make_prober):
    assert make_prober(server.chef_server_url, user="").probe().outcome is Outcome.OK
    assert list(server.requests) == [("GET", "/_status", 200)]


# Trust.


def test_ca_file_missing_or_no_certificate(server, probe, tmp_path):
    missing = tmp_path / "missing.pem"
    result = probe(server.url, ca_file=missing)
    words = f"TLS: unable to get local issuer certificate; cannot trust {missing}: "
    assert (result.outcome, result.detail) == (Outcome.TLS, f"{words}No such file or directory")
    assert not result.is_node_trouble  # the shim leaves it away as well, and the run fails
    missing.write_text("no certificate")
    result = probe(server.url, ca_file=missing)
    assert result.outcome is Outcome.TLS
    assert result.detail.startswith(f"ca_file {missing}: ")
    assert result.detail.isprintable()


def test_unknown_authority_until_it_is_among_the_trusted_certs(server, make_prober, ca_file, tmp_path):
    folder = tmp_path / "trusted_certs"
    folder.mkdir()
    prober = make_prober(server.chef_server_url, ca_file=None, trust=TrustStore((tmp_path / "nowhere", folder)))
    assert prober.probe().outcome is Outcome.TLS
    (folder / "chef.pem").write_bytes(ca_file.read_bytes())
    assert prober.probe().outcome is Outcome.OK
    (folder / "chef.pem").unlink()
    assert prober.probe().outcome is Outcome.TLS


def test_changed_ca_file_is_noticed(server, make_prober, ca_file):
    right = ca_file.read_bytes()
    prober = make_prober(server.chef_server_url)
    for content, outcome in [
        (right, Outcome.OK),
        (Authority("another").ca_pem, Outcome.TLS),
        (right, Outcome.OK),
    ]:
        ca_file.write_bytes(content)
        assert prober.probe().outcome is outcome


def test_unchanged_trust_is_read_once(ca_file):
    trust = TrustStore(())
    assert trust.look(ca_file) is trust.look(ca_file)


# What is no Chef server, or an odd one: answers made up.


def every(chef, status, body, headers):
    """The same to whatever is asked; a HEAD has no body."""
    for method in ("GET", "HEAD"):
        chef.add(method, re.compile(".*"), status=status, body=body if method == "GET" else b"", headers=headers)


@pytest.fixture
def make_prober_of(key):
    """A prober of the server that ``chef`` answers for."""

    def make(*, signs=True, **clock):
        return Prober(made_up(NODE), signer=lambda: functools.partial(ChefAuth, NODE, key) if signs else None, **clock)

    return make


@pytest.mark.parametrize("signs", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ((200, b"{}", {}), (Outcome.NOT_CHEF, "not an answer of a Chef server")),
        ((200, b'{"status":"ok"}', {}), (Outcome.NOT_CHEF, "not an answer of a Chef server")),
        ((200, b'{"name":"another"}', {}), (Outcome.NOT_CHEF, "not an answer of a Chef server")),
        ((200, b"[" * 60_000, {}), (Outcome.NOT_CHEF, "not an answer of a Chef server")),
        ((200, b"[" * 100_000, {}), (Outcome.NOT_CHEF, "answer too large (longer than 64 KiB)")),
        ((500, b"[" * 100_000, {}), (Outcome.SERVER_ERROR, "HTTP 500 Internal Server Error")),
        ((404, b'{"error":"Not Found"}', {}), (Outcome.SERVER_ERROR, "HTTP 404 Not Found: Not Found")),
        (
            (302, b"", {"Location": f"{ROOT}/_status"}),
            (Outcome.NOT_CHEF, "HTTP 302 Found: redirects, which a Chef server never does"),
        ),
        (
            (302, b"", {"Location": "https://["}),
            (Outcome.NOT_CHEF, "HTTP 302 Found: redirects, which a Chef server never does"),
        ),
        ((302, b"", {"Location": ""}), (Outcome.NOT_CHEF, "HTTP 302 Found: redirects, which a Chef server never does")),
        ((200, b"no gzip", {"Content-Encoding": "gzip"}), (Outcome.NOT_CHEF, "not an HTTP answer")),
        ((200, BOMB, {"Content-Encoding": "gzip"}), (Outcome.NOT_CHEF, "answer too large (longer than 64 KiB)")),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_whatever_is_answered_is_an_outcome(chef, make_prober_of, answered, expected, signs):
    every(chef, *answered)
    result = make_prober_of(signs=signs).probe()
    outcome, words = expected
    assert (result.outcome, words in result.detail) == (outcome, True), result.detail
    assert {urlsplit(call.request.url).netloc for call in chef.calls} == {"chef.example.com"}


# Unsigned requests.

PRINCIPAL = ("GET", f"principals/{NODE}")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, {"principals": [{"name": NODE, "type": "client", "public_key": "…"}]}),
        (404, {"not_found": "principal", "error": f"Cannot find principal {NODE}"}),
    ],
)
def test_a_node_that_is_not_registered_asks_for_its_principal_without_a_signature(chef, make_prober_of, status, said):
    chef.get(f"{URL}/principals/{NODE}", json=said, status=status)
    chef.get(f"{ROOT}/_status", json={"status": "pong", "upstreams": PONG})
    result = make_prober_of(signs=False).probe()
    assert (result.outcome, result.is_signed) == (Outcome.OK, False)
    assert sent(chef) == [PRINCIPAL, ("GET", "/_status")]
    asked = chef.calls[0].request.headers
    assert (asked["X-Ops-Userid"], "X-Ops-Authorization-1" in asked) == (NODE, False)


def test_server_without_principals_or_status_is_asked_for_its_api_version(chef, make_prober_of):
    chef.get(f"{URL}/principals/{NODE}", body="no such page", status=404)
    chef.get(f"{ROOT}/_status", body="no such page", status=404)
    chef.get(f"{ROOT}/server_api_version", json={"min_api_version": 0, "max_api_version": 2})
    now = [1000.0]
    prober = make_prober_of(signs=False, clock=lambda: now[0])
    assert [prober.probe().outcome for _ in range(2)] == [Outcome.OK] * 2
    others = [("GET", "/_status"), ("GET", "/server_api_version")]
    now[0] += HABIT_LIFETIME_S + 1
    prober.probe()
    assert [one for one in sent(chef) if one not in others] == [PRINCIPAL, PRINCIPAL]


NGINX_PAGE = b"<!DOCTYPE html><html><head><title>Chef - 404 Not Found</title></head></html>"


@pytest.mark.parametrize("signs", [False, True])
def test_nginx_alone_is_no_stranger_and_no_server(chef, make_prober_of, signs):
    every(chef, 404, NGINX_PAGE, {"Content-Type": "text/html"})
    result = make_prober_of(signs=signs).probe()
    assert (result.outcome, result.detail) == (
        Outcome.SERVER_ERROR,
        "HTTP 404 Not Found: nginx answers, but the Chef server behind it does not",
    )


def test_nginx_alone_tells_nothing_of_the_paths_behind_it(chef, make_prober_of):
    chef.get(f"{URL}/principals/{NODE}", body=NGINX_PAGE, status=404)
    chef.get(f"{ROOT}/_status", json={"status": "pong", "upstreams": PONG})
    prober = make_prober_of(signs=False)
    assert prober.probe().outcome is Outcome.OK
    assert PRINCIPAL in sent(chef)
    before = len(chef.calls)
    prober.probe()
    assert sent(chef)[before] == PRINCIPAL


@pytest.mark.parametrize("signs", [False, True])
def test_an_organization_whose_name_cannot_be_one(chef, key, signs):
    every(chef, 404, NGINX_PAGE, {"Content-Type": "text/html"})
    server = ChefServer(Target(f"{ROOT}/organizations/Acme", 5.0, node_name=NODE), Resolver(), TrustStore(()))
    result = Prober(server, signer=lambda: functools.partial(ChefAuth, NODE, key) if signs else None).probe()
    assert (result.outcome, result.detail) == (
        Outcome.WRONG_ORGANIZATION,
        "HTTP 404: invalid organization name 'Acme': use lower-case letters",
    )


def test_every_request_is_one_of_chefs(chef, make_prober_of, key):
    every(chef, 404, b"{}", {})
    make_prober_of(signs=False).probe()
    make_prober_of().probe()
    assert len(chef.calls) == 4
    check_signature(chef.calls[3].request, "1.3", NODE, key, datetime.datetime.now(datetime.UTC))
    for headers in [call.request.headers for call in chef.calls]:
        assert int(headers["X-Chef-Version"].partition(".")[0]) >= 10
        assert headers["User-Agent"].startswith("chef-failover/")
        assert headers["Accept-Encoding"] == "identity"


# What is no Chef server: bytes.


class RawServer:
    """TLS, and then to each request ``answer``: bytes, or pieces of them."""

    def __init__(self, authority, answer):
        self._pieces = [answer] if isinstance(answer, bytes) else answer
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(b"".join(authority.certificate()))
            pem.flush()
            self._tls.load_cert_chain(pem.name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self):
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), raw:
                raw.settimeout(5)
                with self._tls.wrap_socket(raw, server_side=True) as channel:
                    self._answer(channel)

    def _answer(self, channel):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = channel.recv(65536)
            if not piece:
                return
            head += piece
        for piece in self._pieces:
            channel.sendall(piece)


def http(body, status="200 OK", headers="Content-Type: application/json\r\n"):
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


@pytest.mark.parametrize("signs", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (http(b"", "302 Found", "Location: \xff\xfe\r\n"), Outcome.NOT_CHEF),
        (http(b"", "200 OK", "Content-Length: 7\r\n"), Outcome.NOT_CHEF),
        (http(b"", "200 OK", "Set-Cookie: \xff=;;;expires=never\r\n"), Outcome.NOT_CHEF),
        (http(b"", "999 \xff"), Outcome.SERVER_ERROR),
        (http(b"", "-1 x"), Outcome.NOT_CHEF),
        (http(b"", "99999999999999999999 x"), Outcome.NOT_CHEF),
        (http(b"", "200 OK", "no colon at all\r\n"), Outcome.NOT_CHEF),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n", (Outcome.NOT_CHEF, Outcome.REFUSED)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", Outcome.REFUSED),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Outcome.NOT_CHEF),
        (b"\0" * 100, Outcome.NOT_CHEF),
        (b"HTTP/1.1 " + b"2" * 70_000 + b"\r\n\r\n", Outcome.NOT_CHEF),
        (b"", Outcome.REFUSED),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_whatever_bytes_are_sent_are_an_outcome(authority, probe, raw, outcome, signs):
    with RawServer(authority, raw) as server:
        result = probe(server.url, signs=signs)
    assert result.outcome in (outcome if isinstance(outcome, tuple) else (outcome,)), result.detail
    assert result.detail.isprintable()


def test_a_redirect_without_an_end_is_not_read(authority, probe):
    endless = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 30_000_000
    with RawServer(authority, endless) as server:
        result = probe(server.url, signs=False)
    said = "HTTP 302 Found: redirects, which a Chef server never does"
    assert (result.outcome, result.detail) == (Outcome.NOT_CHEF, said)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"", b"HTTP/1.1 100 " + b"x" * 10_000 + b"\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n", b"X-Interim: x\r\n"),
        (CHUNKED, b"0"),
        (CHUNKED + b"0\r\n", b"X-Trailer: x\r\n"),
    ],
    ids=["interim answers", "headers of one", "chunk's length", "trailers"],
)
def test_what_no_other_limit_counts_ends_all_the_same(authority, probe, begins, goes_on):
    with RawServer(authority, flood(begins, goes_on)) as server:
        result = probe(server.url, signs=False)
    assert result.outcome is Outcome.NOT_CHEF, result.detail


def test_bytes_that_are_always_there_do_not_outlast_the_deadline(authority, probe):
    """No read has to wait, so no wait times out."""
    with RawServer(authority, flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n")) as server:
        began = time.monotonic()
        result = probe(server.url, signs=False, timeout_s=TIMEOUT_S)
        took_s = time.monotonic() - began
    assert result.outcome is Outcome.READ_TIMEOUT, result.detail
    assert took_s < TIMEOUT_S + NOISE_S


def flood(begins, goes_on):
    return itertools.chain([begins], itertools.repeat(goes_on * (1_000_000 // len(goes_on))))


def test_a_slow_handshake_does_not_outlast_the_deadline(probe):
    """TLS bytes one by one: each of them on time, all of them late."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def drip():
            channel, _ = listener.accept()
            with channel, contextlib.suppress(OSError):
                channel.recv(1)
                channel.sendall(b"\x16\x03\x03\x40\x00")
                while not over.wait(0.05):
                    channel.sendall(b"\x02")

        dripping = threading.Thread(target=drip)
        dripping.start()
        began = time.monotonic()
        result = probe(f"https://127.0.0.1:{listener.getsockname()[1]}", timeout_s=TIMEOUT_S)
        took_s = time.monotonic() - began
        over.set()
        dripping.join()
    assert result.outcome in (Outcome.READ_TIMEOUT, Outcome.TLS)
    assert took_s < TIMEOUT_S + NOISE_S


class Counted:
    """A relay that counts the bytes both ways."""

    port = moved = 0


@contextlib.contextmanager
def counting(port):
    counted = Counted()

    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                counted.moved += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.create_connection(("127.0.0.1", port)) as onward:
                back = threading.Thread(target=pump, args=(onward, self.request), daemon=True)
                back.start()
                pump(self.request, onward)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as relay:
        relay.daemon_threads = True
        counted.port = relay.server_address[1]
        threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield counted
        relay.shutdown()


# Proxies.


class Proxy:
    """A tiny HTTP proxy that knows CONNECT, or refuses it."""

    def __init__(self, answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
        self.asked = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                self._tunnel(client)

    def _tunnel(self, client):
        client.settimeout(5)
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        verb, target, _ = head.split(b" ", 2)
        self.asked.append((verb.decode(), target.decode()))
        client.sendall(self._answer)
        if b"200" not in self._answer:
            return
        host, port = target.decode().split(":")
        with socket.create_connection((host, int(port)), 5) as server:
            ends = {client: server, server: client}
            while True:
                for ready in select.select(list(ends), [], [], 5)[0]:
                    piece = ready.recv(65536)
                    if not piece:
                        return
                    ends[ready].sendall(piece)


@pytest.fixture
def proxy_environment(monkeypatch):
    """Names a proxy in the environment, and nothing else does."""

    def set_to(url):
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv("https_proxy", url)

    return set_to


def test_environment_proxy_is_ignored(server, probe, proxy_environment):
    with Proxy() as proxy:
        proxy_environment(proxy.url)
        assert probe(server.chef_server_url).outcome is Outcome.OK
    assert proxy.asked == []


@pytest.mark.parametrize("signs", [False, True])
def test_environment_proxy_is_used_when_configured(server, probe, proxy_environment, signs):
    with Proxy() as proxy:
        proxy_environment(proxy.url)
        assert probe(server.chef_server_url, signs=signs, uses_environment_proxy=True).outcome is Outcome.OK
    assert proxy.asked == [("CONNECT", f"127.0.0.1:{server.port}")]


def test_no_proxy_is_heeded(server, probe, proxy_environment, monkeypatch):
    with Proxy() as proxy:
        proxy_environment(proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert probe(server.chef_server_url, uses_environment_proxy=True).outcome is Outcome.OK
    assert proxy.asked == []


def test_tls_through_a_proxy_is_verified(server, probe, proxy_environment):
    server.fault = Fault.CERT_FOREIGN
    with Proxy() as proxy:
        proxy_environment(proxy.url)
        assert probe(server.chef_server_url, uses_environment_proxy=True).outcome is Outcome.TLS


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b""])
def test_proxy_that_refuses_or_hangs_up(server, probe, proxy_environment, answer):
    with Proxy(answer) as proxy:
        proxy_environment(proxy.url)
        result = probe(server.chef_server_url, uses_environment_proxy=True)
    assert (result.outcome, result.detail) == (Outcome.REFUSED, "the proxy cannot connect to the server")


def test_proxy_that_is_not_there(server, probe, proxy_environment):
    with Proxy() as proxy:
        proxy_environment(proxy.url)
    result = probe(server.chef_server_url, uses_environment_proxy=True)
    assert result.outcome is Outcome.REFUSED


def test_proxy_that_never_speaks(server, probe, proxy_environment):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy_environment(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        result = probe(server.chef_server_url, uses_environment_proxy=True, timeout_s=TIMEOUT_S)
    assert result.outcome is Outcome.READ_TIMEOUT
    assert time.monotonic() - began < TIMEOUT_S + NOISE_S


# Names and addresses.


def tcp(host, port):
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


class Lookups:
    """A name service which answers when it is let to."""

    def __init__(self, addresses=(), *, blocks=False):
        self.asked = []
        self.go_on = threading.Event()
        self._addresses = addresses
        if not blocks:
            self.go_on.set()

    def __call__(self, host, port):
        self.asked.append((host, port))
        self.go_on.wait(30)
        if isinstance(self._addresses, OSError):
            raise self._addresses
        return list(self._addresses)


def test_name_server_that_hangs(probe):
    lookups = Lookups(blocks=True)
    began = time.monotonic()
    result = probe("https://localhost:9", timeout_s=TIMEOUT_S, resolver=Resolver(lookups))
    took_s = time.monotonic() - began
    lookups.go_on.set()
    assert (result.outcome, result.detail) == (
        Outcome.DNS,
        f"no name server answered for localhost within {TIMEOUT_S} s",
    )
    assert result.never_left_node
    assert took_s < TIMEOUT_S + NOISE_S


@pytest.mark.parametrize(
    ("error", "is_ours"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
    ],
)
def test_name_that_is_not_found(probe, error, is_ours):
    result = probe("https://chef.example.com", resolver=Resolver(Lookups(error)))
    assert (result.outcome, result.detail) == (Outcome.DNS, f"name lookup of chef.example.com: {error.strerror}")
    assert result.never_left_node is is_ours


def test_name_without_an_address(probe):
    result = probe("https://chef.example.com", resolver=Resolver(Lookups()))
    assert (result.outcome, result.detail) == (Outcome.DNS, "the host name has no address")


@pytest.mark.parametrize("host", ["a" * 64 + ".example.com", "a..example.com"])
def test_name_that_cannot_be_one(probe, host):
    assert probe(f"https://{host}").outcome in (Outcome.DNS, Outcome.NOT_CHEF)


def test_urllib3_still_lets_us_look_up_and_connect(server, probe):
    """``_new_conn`` and ``_dns_host``, which has the final dot that ``host`` has lost, are its private names."""
    lookups = Lookups([tcp("127.0.0.1", server.port)])
    result = probe("https://localhost.:9/organizations/default", resolver=Resolver(lookups))
    assert (result.outcome, lookups.asked) == (Outcome.OK, [("localhost.", 9)])


def test_one_lookup_serves_all_who_ask_meanwhile():
    lookups = Lookups([tcp("127.0.0.1", 443)], blocks=True)
    resolver = Resolver(lookups)
    with ThreadPoolExecutor(20) as pool:
        asking = [pool.submit(resolver.lookup, "a", 443, 10.0) for _ in range(20)]
        until(lambda: lookups.asked)
        assert len(live("lookup a")) == 1
        lookups.go_on.set()
        answers = [one.result() for one in asking]
    assert answers == [[tcp("127.0.0.1", 443)]] * 20


def live(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        pause.wait(0.005)


def test_lookups_of_many_names_are_bounded_and_beyond_them_no_server_is_blamed(probe):
    lookups = Lookups([tcp("127.0.0.1", 443)], blocks=True)
    resolver = Resolver(lookups)
    under_way = [resolver.begin(f"chef-{number}.example.com", 443) for number in range(MOST)]
    result = probe("https://one-more.example.com", resolver=resolver)
    assert (result.outcome, result.never_left_node) == (Outcome.DNS, True)
    assert result.detail == f"name lookup of one-more.example.com: {MOST} other name lookups are in progress"
    lookups.go_on.set()
    assert all(future.result(10) for future in under_way)
    until(lambda: resolver.begin("one-more.example.com", 443).exception(10) is None)


def test_lookups_that_hang_do_not_pile_up(make_prober):
    lookups = Lookups([], blocks=True)
    resolver = Resolver(lookups)
    prober = make_prober("https://localhost:9", timeout_s=0.02, resolver=resolver)
    for _ in range(20):
        assert prober.probe().outcome is Outcome.DNS
    assert len(lookups.asked) == len(live("lookup localhost")) == 1
    lookups.go_on.set()
    until(lambda: not live("lookup localhost"))


def test_second_address_when_the_first_is_dead(authority, server, probe):
    with DevServer("dead", authority) as dead:
        addresses = [tcp("127.0.0.1", dead.port), tcp("127.0.0.1", server.port)]
        url = f"https://localhost:{server.port}/organizations/default"
        for fault in (Fault.REFUSE, Fault.BLACK_HOLE):
            dead.fault = fault
            result = probe(url, timeout_s=4 * TIMEOUT_S, resolver=Resolver(Lookups(addresses)))
            assert result.outcome is Outcome.OK, result.detail


def test_all_addresses_dead_within_one_deadline(authority, probe):
    with DevServer("dead", authority) as dead:
        dead.fault = Fault.BLACK_HOLE
        began = time.monotonic()
        lookups = Lookups([tcp("127.0.0.1", dead.port)] * 3)
        result = probe("https://localhost:9", timeout_s=TIMEOUT_S, resolver=Resolver(lookups))
        took_s = time.monotonic() - began
    assert (result.outcome, result.detail) == (Outcome.CONNECT_TIMEOUT, f"connect timed out after {TIMEOUT_S} s")
    assert took_s < TIMEOUT_S + NOISE_S


NO_FAMILY = (socket.AF_APPLETALK, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 443))
"""What the name service gives for a server with IPv6 to a kernel without."""


def test_address_of_a_family_that_this_node_has_not(server, probe):
    addresses = Lookups([NO_FAMILY, tcp("127.0.0.1", server.port)])
    url = f"https://localhost:{server.port}/organizations/default"
    assert probe(url, resolver=Resolver(addresses)).outcome is Outcome.OK
    result = probe(url, resolver=Resolver(Lookups([NO_FAMILY])))
    assert (result.outcome, result.never_left_node) == (Outcome.REFUSED, True)
    assert result.detail == "connect: Address family not supported by protocol"


def test_what_the_server_did_is_told_before_what_this_node_lacks(authority, probe):
    with DevServer("dead", authority) as dead:
        dead.fault = Fault.REFUSE
        addresses = Lookups([NO_FAMILY, tcp("127.0.0.1", dead.port), NO_FAMILY])
        result = probe("https://localhost:9", resolver=Resolver(addresses))
    assert (result.outcome, result.detail, result.never_left_node) == (Outcome.REFUSED, "connection refused", False)


def test_a_look_at_ourselves():
    def look(*addresses):
        return offline.look(["https://chef.example.com"], Resolver(Lookups(addresses)), 1.0)

    assert look(tcp("127.0.0.1", 9)) is None
    assert look(NO_FAMILY) == "no route to any Chef server"
    assert look(NO_FAMILY, tcp("127.0.0.1", 9)) is None
    assert offline.look([], Resolver(), 1.0) is None


def test_ipv6(authority, ca_file, probe):
    try:
        server = DevServer("six", authority, host="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with server:
        assert probe(server.url, signs=False).outcome is Outcome.OK


# What a probe learns by the way.


@pytest.mark.parametrize("signs", [True, False])
def test_a_probe_learns_when_the_server_s_certificate_ends(server, probe, signs):
    def shown():
        return x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", server.port)).encode())

    assert probe(server.chef_server_url, signs=signs).certificate_expires_on == shown().not_valid_after_utc
    server.fault = Fault.SERVER_ERROR
    assert probe(server.chef_server_url, signs=signs).certificate_expires_on == shown().not_valid_after_utc
    server.fault = Fault.CERT_EXPIRED
    assert probe(server.chef_server_url, signs=signs).certificate_expires_on is None
