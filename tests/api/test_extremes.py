"""What is accepted can be borne: the extremes of every field, up to every view, and back from disk."""

import copy
import datetime
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chef_failover.api import render
from chef_failover.api.app import create_app
from chef_failover.config import settings as config
from chef_failover.decide.world import apply_listed_drains, apply_probe, refresh_choice
from chef_failover.engine.sidecar import Sidecar
from chef_failover.errors import ConfigError
from chef_failover.instants import FIRST
from chef_failover.model.about import Origin
from chef_failover.model.model import Outcome, ProbeResult, Thresholds
from chef_failover.node.machine import Machine
from chef_failover.server_list import cache as list_cache
from chef_failover.server_list import listing
from chef_failover.server_list.listing import Listing, as_said
from chef_failover.state import document as state
from chef_failover.state import written
from tests.support.builders import ON

TEXTS = [
    "",
    "a",
    "A-1",
    "n" * 64,
    "n" * 65,
    "x" * 255,
    "x" * 256,
    "é",
    "\ud800",
    "\x1b[2J",
    "a\nb",
    "\u202ea",
    "{fqdn}",
    "x" * 5000,
]
NUMBERS = [0, 1, -1, 2, 100, 1000, 1001, 65535, 65536, 999_999, 2**31, 2**63, 10**400, 0.5, 1e308, -1e308, float("inf")]
LENGTHS = [
    "0s",
    "1ms",
    "10ms",
    "1s",
    "60s",
    "61s",
    "8784h",
    "8785h",
    f"{'9' * 400}h",
    "0.0000001s",
    "never",
    "immediately",
]
INSTANTS = ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00+14:00", "2026-11-22T10:00:01Z",
            "2026-11-22T12:00:00+02:00", "2999-12-31T23:59:59Z", "2999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "2026-11-22", "2026-11-22T10:00:00"]  # fmt: skip
URLS = ["https://a", "https://A:443/", "https://a:65535", "https://a:0", "https://[::1]", "https://[::]:1/x",

        "https://a/organizations/x", "https://a/organizations/", "https://a/%zz", f"https://{'h' * 64}", "https://a..b",
        f"https://{'.'.join(['h' * 61] * 4)}", f"https://a/{'p' * 980}", "HTTPS://a", "http://a",
        "https://u@a"]  # fmt: skip
PATHS = ["/", "/a", "/" + "p" * 255, "/" + "p" * 256, "/p" * 2047, "/p" * 2100, "a", "/a\0", "/\ud800", "/dev/null"]
SOURCES = [
    "file:/list",
    "s3://bucket/key",
    "ssm:/name",
    "secretsmanager:a#b",
    "file:" + "/p" * 2100,
    "ssm:" + "n" * 2048,
    "x",
]
OTHERS = [None, True, False, [], {}, ["a"], {"a": "b"}, [[]], "off", "none"]
ODD = [*TEXTS, *NUMBERS, *LENGTHS, *INSTANTS, *URLS, *PATHS, *SOURCES, *OTHERS]

SERVER = {"name": TEXTS, "url": URLS, "priority": NUMBERS, "organization": TEXTS, "ca_file": PATHS,
          "association": [{"provider": "none"},
                          {"provider": "chef-server", "validator_key": "file:/v", "validator": "v" * 255},
                          {"provider": "opsworks-cm", "region": "r" * 64, "endpoint_url": "https://e:65535"},
                          {"provider": "opsworks-cm", "region": "r", "endpoint_url": "https://e:65536"}]}  # fmt: skip
FIELDS = {
    "node": {"name": TEXTS, "organization": TEXTS, "client_key": PATHS, "policy_group": TEXTS, "policy_name": TEXTS},
    "trusted_hosts": [["*.example.com"], ["*." + "x" * 253], ["x" * 300], [], ["*"]],
    "health": {"interval": LENGTHS, "retry_interval": LENGTHS, "timeout": LENGTHS, "rise": NUMBERS, "fall": NUMBERS,
               "fresh_for": LENGTHS},
    "selection": {"failback": LENGTHS},
    "listen": {"socket": PATHS, "loopback": ["off", "127.0.0.1:0", "[::1]:65535", f"127.0.0.1:{'0' * 5000}", False, 1]},
    "readiness": ["seed", "check", "off", False],
    "parity": ["warn", "require", "off"],
    "metrics": {"textfile": PATHS},
    "discovery": {"source": SOURCES, "interval": LENGTHS, "region": TEXTS},
}  # fmt: skip


def some(rng, fields, oddness, most=None):
    """A mapping with some of ``fields``, each set to one of its values or, now and then, to something quite else."""
    found = {}
    for name in rng.sample(sorted(fields), rng.randint(0, most or len(fields))):
        of = fields[name]
        value = some(rng, of, oddness) if isinstance(of, dict) else rng.choice(of)
        found[name] = rng.choice(ODD) if rng.random() < oddness else value
    return found


def some_servers(rng, oddness):
    return [
        {"name": f"s{number}", "url": f"https://s{number}"} | some(rng, SERVER, oddness, most=1)
        for number in range(101 if oddness and rng.random() < 0.02 else rng.randint(1, 3))
    ]


def some_config(rng, oddness):
    return some(rng, FIELDS, oddness, most=4) | {"servers": some_servers(rng, oddness)}


def some_list(rng, oddness):
    servers = some_servers(rng, oddness)
    drains = [{"server": servers[0]["name"]} | some(rng, {"until": INSTANTS, "reason": TEXTS}, oddness)]
    return {"servers": servers, "drains": drains[: rng.randint(0, 1)]}


def broken(rng, text):
    """``text`` with a few characters lost, doubled or replaced."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        odd = rng.choice(
            ["", "[", "{", "*a", "&a", "- ", ": ", "!!int x", "\t", "'", "0x", "\n", "<<: ", "? ", "...", "\ufeff"]
        )
        text = text[:at] + odd + text[at + rng.randint(0, 2) :]
    return text


OWN = config.parse(json.dumps({"servers": [{"name": f"s{n}", "url": f"https://s{n}"} for n in range(3)],
                               "trusted_hosts": ["*.example.com"], "discovery": {"source": "file:/list"}}))  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_no_text_is_anything_but_refused_or_accepted_and_started_with(seed, tmp_path):
    """5,000 of them, over all seeds: 2,500 configurations and 2,500 lists."""
    rng = random.Random(seed)
    started = {"config": 0, "list": 0}
    for _ in range(250):
        oddness = rng.choice([0.0, 0.3])
        texts = [json.dumps(some_config(rng, oddness)), json.dumps(some_list(rng, oddness))]
        if rng.random() < 0.4:
            texts = [broken(rng, text) for text in texts]
        if is_accepted(config.parse, texts[0]):
            start_with(attrs.evolve(config.parse(texts[0]), state_dir=tmp_path / "none"))
            started["config"] += 1
        if is_accepted(listing.parse, texts[1], "file:/list", config.Config()):
            list_cache.write(tmp_path, Listing("file:/list", texts[1], "1", ON))
            started["list"] += start_with(attrs.evolve(OWN, state_dir=tmp_path))
    assert min(started.values()) > 5, started


def start_with(parsed):
    """As the daemon does before it probes; whether the list that was kept is used."""
    sidecar = Sidecar(parsed, Clocks().machine())
    json.dumps(render.servers(sidecar.snapshot, sidecar.about, now=sidecar.now(), on=sidecar.utc_now()))
    assert sidecar.faults.count == 0, sidecar.faults.last
    standing = sidecar.about.discovery
    return standing is not None and standing.origin is Origin.CACHE


def is_accepted(parse, *arguments):
    try:
        parse(*arguments)
    except ConfigError as error:
        assert error.problems
        assert len(str(error)) < 200_000
        return False
    return True


# --- the whole path -------------------------------------------------------------------------------------------------


class Clocks:
    """Both clocks of a machine; the one of the wall can be set."""

    def __init__(self):
        self.at, self.on = 1000.0, ON

    def machine(self):
        return Machine(
            clock=lambda: self.at,
            utc_now=lambda: self.on,
            rng=random.Random(1),
            node_name=lambda pattern: pattern.replace("{", "").replace("}", ""),
            instance_id=lambda _: None,
            boot_id=lambda: "b" * 32,
        )

    def go_on(self, seconds):
        self.at += seconds
        self.on += datetime.timedelta(seconds=seconds)

    def set(self, seconds):
        """As far as Linux lets a clock be set."""
        self.on = min(
            max(self.on + datetime.timedelta(seconds=seconds), FIRST), FIRST + datetime.timedelta(days=95_000)
        )


STEPS = [2, -2, 3600, -3600, 86400, -86400, 40 * 86400, -40 * 86400, 30 * 366 * 86400, -30 * 366 * 86400]
ENDS = [
    None,
    datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC),
    ON,
    ON - datetime.timedelta(days=20_000),
]
USES = [
    {"run_list": [item] * count, "environment": item, "policy_name": item, "cookbooks": {"a" * 200: "9" * 18 + ".0.0"}}
    for item in ("a", "\U0001f347" * 255, "")
    for count in (0, 10)
]
ORDERS = [
    ("/v1/servers/{}/drain", {"reason": TEXTS, "for_s": NUMBERS, "force": OTHERS, "on_behalf_of": TEXTS}),
    ("/v1/servers/{}/pin", {"reason": TEXTS, "for_s": NUMBERS, "strict": OTHERS, "on_behalf_of": TEXTS}),
    ("/v1/servers/{}/undrain", {"on_behalf_of": TEXTS}),
    ("/v1/unpin", {"on_behalf_of": TEXTS}),
    ("/v1/runs", {"run_id": TEXTS, "event": ["started", "failed", "succeeded"], "server": TEXTS, "error_class": TEXTS}),
    ("/v1/runs", {"run_id": TEXTS, "event": ["succeeded"], "used": [*USES, *OTHERS]}),
]
STATE_TEXT = (Path(__file__).parents[1] / "contract" / "state.json").read_text()


def some_state(rng):
    """The contract's file with a few of its leaves replaced by something quite else."""
    document = json.loads(STATE_TEXT)
    document["boot_id"] = "b" * 32
    for _ in range(rng.randint(0, 3)):
        part = document
        while isinstance(part, dict | list) and part:
            key = rng.choice(sorted(part)) if isinstance(part, dict) else rng.randrange(len(part))
            if not isinstance(part[key], dict | list) or not part[key] or rng.random() < 0.2:
                part[key] = copy.deepcopy(rng.choice(ODD))  # the next turn may change it
                break
            part = part[key]
    return json.dumps(document)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_what_is_accepted_is_borne_up_to_every_view(seed):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        parsed = an_accepted_config(rng, Path(directory))
        (Path(directory) / "state.json").write_text(some_state(rng))
        if parsed.discovery.source:
            list_cache.write(
                Path(directory), Listing(str(parsed.discovery.source), json.dumps(some_list(rng, 0.0)), "1", ON)
            )
        clocks = Clocks()
        sidecar = Sidecar(parsed, clocks.machine())
        client = create_app(sidecar, may_change=True).test_client()
        for _ in range(6):
            do_something(rng, sidecar, clocks, client)
            look_at_all(sidecar, client)
        come_back_from_disk(sidecar, clocks, Path(directory))


def an_accepted_config(rng, directory):
    """Of many odd values, those that are accepted."""
    base = [{"name": "mainserver", "url": "https://chef-a.example.com"}]
    document: dict[str, Any] = {"state_dir": str(directory), "trusted_hosts": ["*.example.com"], "servers": base}
    for name, value in some_config(rng, 0.0).items():
        tries = [{name: {key: one}} for key, one in value.items()] if isinstance(value, dict) else [{name: value}]
        if name == "servers":
            tries = [{name: [*document[name], one]} for one in value]
        for one in tries:
            more = {name: {**document.get(name, {}), **one[name]}} if isinstance(value, dict) else one
            if is_accepted(config.parse, json.dumps(document | more)):
                document |= more
    return config.parse(json.dumps(document))


def do_something(rng, sidecar, clocks, client):
    servers = sidecar.snapshot.servers
    name = rng.choice([server.name for server in servers])
    match rng.randrange(4):
        case 0:
            clocks.set(rng.choice(STEPS))
        case 1:
            clocks.go_on(abs(rng.choice(STEPS)))
        case 2:
            path, fields = rng.choice(ORDERS)
            assert client.post(path.format(name), data=json.dumps(some(rng, fields, 0.1))).status_code < 500
        case 3:
            until = rng.choice(
                [ON, ON + datetime.timedelta(days=1), datetime.datetime(2999, 12, 31, tzinfo=datetime.UTC)]
            )
            sidecar.steer(apply_listed_drains, [(name, "reason", rng.choice([None, until]))])
    probe(sidecar, name, rng.choice(list(Outcome)), rng.choice(ENDS))


def probe(sidecar, name, outcome, expires_on=None):
    """One result, which must count whatever the world has become; and the wall clock has its say."""
    result = ProbeResult(outcome, "x", sidecar.now(), 0.01, certificate_expires_on=expires_on, is_signed=True)

    def take(snapshot, *, now, on):
        server = snapshot.server(name)
        one = attrs.evolve(snapshot.policy, thresholds=Thresholds(1, 1))
        snapshot = attrs.evolve(snapshot, policy=one)
        return refresh_choice(apply_probe(snapshot, server, result, offline=None, on=on), now=now, on=on)

    sidecar.steer(take)
    assert sidecar.snapshot.server(name).last_probe is result


def look_at_all(sidecar, client):
    for path in ("/v1/servers", "/v1/facts", "/v1/runs", "/livez", "/readyz"):
        answer = client.get(path)
        assert answer.status_code in (200, 503), path
        json.loads(answer.text, parse_constant=pytest.fail)
    for path in ("/metrics", "/", "/fragment"):
        assert client.get(path).status_code == 200, path
    snapshot = sidecar.snapshot
    json.dumps(render.server(snapshot, snapshot.choice, sidecar.about, now=sidecar.now(), on=sidecar.utc_now()))


def come_back_from_disk(sidecar, clocks, directory):
    """What is written is read again: the choice, and every order that a person gave."""
    snapshot, path = sidecar.snapshot, directory / "again.json"
    state.write(path, written.kept(snapshot, sidecar.about, on=clocks.on))
    found = state.read(path, clocks.on, at=clocks.at, boot_id="b" * 32)
    assert not [said for said in found.problems if "the clock was set back" not in said]
    assert found.choice == snapshot.choice.name
    assert {drain.server for drain in found.orders.drains} == {drain.server for drain in snapshot.orders.drains}
    assert (found.orders.pin and found.orders.pin.server) == snapshot.pinned


def test_a_drain_that_ends_in_a_thousand_years_and_a_clock_that_is_set():
    text = "servers: [{name: a, url: 'https://a'}, {name: b, url: 'https://b'}]\ndrains: [{server: a, until: %s}]"
    with pytest.raises(ConfigError, match="from 1970 to 2999"):
        listing.parse(text % "9999-12-31T23:59:59Z", "file:/list", config.Config())
    drains = listing.parse(text % "2999-12-31T23:59:59Z", "file:/list", config.Config()).drains
    with tempfile.TemporaryDirectory() as directory:
        clocks = Clocks()
        sidecar = Sidecar(config.parse(f"{text.partition('drains')[0]}state_dir: {directory}"), clocks.machine())
        for seconds in (2, 3, *STEPS):
            sidecar.steer(apply_listed_drains, as_said(drains))
            clocks.set(seconds)
            probe(sidecar, "b", Outcome.OK)
            assert sidecar.snapshot.choice.name == "b"


def test_facts_of_many_servers_stay_small_and_say_what_is_left_out(tmp_path):
    servers = [{"name": f"s{n}", "url": f"https://s{n}/{'p' * 500}"} for n in range(100)]
    sidecar = Sidecar(config.parse(json.dumps({"servers": servers, "state_dir": str(tmp_path)})), Clocks().machine())
    for server in servers[:90]:
        sidecar.steer(apply_listed_drains, [(server["name"], "r" * 200, None)])
        probe(sidecar, server["name"], Outcome.NOT_CHEF)
    found = create_app(sidecar, may_change=False).test_client().get("/v1/facts")
    assert len(json.dumps(found.json)) <= render.FACTS_BYTES
    assert found.json["server"]["name"] in [server["name"] for server in servers]
    shown = len(found.json["servers"])
    assert 10 < shown < 100
    assert found.json["omitted"] >= 100 - shown


DEEP = [
    b"[" * 60_000,
    b'{"a":' * 9000,
    b'{"reason": ' + b"9" * 50_000 + b"}",
    b"\xff\xfe",
    b"[" + b"{}," * 20_000 + b"1]",
]


@pytest.mark.parametrize("body", DEEP, ids=range(len(DEEP)))
def test_no_body_of_a_request_is_a_fault_of_ours(tmp_path, body):
    parsed = config.parse(f"servers: [{{name: a, url: 'https://a'}}]\nstate_dir: {tmp_path}")
    client = create_app(Sidecar(parsed, Clocks().machine()), may_change=True).test_client()
    for path in ("/v1/runs", "/v1/servers/a/drain", "/v1/servers/a/associate", "/v1/unpin"):
        assert client.post(path, data=body).status_code == 400
