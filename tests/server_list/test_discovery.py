"""The fleet's list from a file, S3 and the Parameter Store (moto's, over HTTP), and sidecars that live by it."""

import contextlib
import datetime
import functools
import heapq
import json
import math
import random
import socket
import stat
import time
from pathlib import Path

import attrs
import pytest

from chef_failover.aws import call as aws
from chef_failover.config import settings as config
from chef_failover.config.settings import DiscoverySettings
from chef_failover.config.source import parse_list_source
from chef_failover.engine.assembly import Assembly, assemble
from chef_failover.engine.sidecar import Sidecar
from chef_failover.engine.upkeep import Upkeeps
from chef_failover.errors import AwsError, IdentityError
from chef_failover.model.about import Origin
from chef_failover.node.machine import Machine
from chef_failover.server_list import cache as list_cache
from chef_failover.server_list import fetch as list_fetch
from chef_failover.server_list.discovery import Discovery, from_cache
from chef_failover.server_list.fetch import Fetched, Trouble, Unchanged
from chef_failover.server_list.listing import Listing, effective
from tests.support.builders import ON
from tests.support.daemon_process import daemon, run, until, write_config

REGION = "us-east-1"
ASSEMBLE = "chef_failover.engine.sidecar.assemble"
CALM = "{interval: 1h, retry_interval: 1h, timeout: 2s}"


@pytest.fixture(scope="module")
def moto_server():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def moto(aws_secret, moto_server):
    """``moto(service, operation, **parameters)``."""
    import requests

    requests.post(f"{moto_server}/moto-api/reset", timeout=10)
    return lambda service, operation, **parameters: aws.call(
        service, operation, parameters, region=REGION, endpoint_url=moto_server
    )


@pytest.fixture(autouse=True)
def started(servers):
    for server in servers:
        server.fault = None
        server.start()


def listed(tmp_path, *servers, more="", registers=False):
    lines = ""
    for server in servers:
        key = tmp_path / f"{server.name}-validator.pem"
        association = f"{{provider: chef-server, validator_key: 'file:{key}'}}" if registers else "{provider: none}"
        lines += (
            f"- {{name: {server.name}, url: '{server.url}', ca_file: {tmp_path}/ca.pem, association: {association}}}\n"
        )
    return f"servers:\n{lines}{more}"


def discovery(source, more=""):
    return f"discovery: {{source: '{source}', interval: 300ms{more}}}\n"


def replace(path, text):
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def names(running):
    return [entry["name"] for entry in running.ask("/v1/servers").body["servers"]]


def standing(running):
    return running.ask("/v1/servers").body["discovery"]


# --- fetching -------------------------------------------------------------------------------------------------------


def settings(source, **more):
    return DiscoverySettings(source=parse_list_source(source), **{"region": REGION} | more)


class Counting:
    """The real call; ``replies`` has the size of what came over, or the status of the error."""

    def __init__(self, call=aws.call):
        self.replies, self.call = [], call

    def __call__(self, service, operation, parameters, **more):
        try:
            reply = self.call(service, operation, parameters, **more)
        except AwsError as error:
            self.replies.append(error.status)
            raise
        self.replies.append(len(reply.get("Body", b"")))
        return reply


@pytest.mark.parametrize("real", [aws.call, functools.partial(aws.call, signed=aws.Signed())], ids=["once", "repeated"])
def test_s3_is_asked_on_condition(moto, moto_server, real):
    moto("s3", "CreateBucket", Bucket="fleet")
    moto("s3", "PutObject", Bucket="fleet", Key="chef/servers.yml", Body="servers: é")
    call, where = Counting(real), settings("s3://fleet/chef/servers.yml", endpoint_url=moto_server)
    first = list_fetch.fetch(where, None, call)
    assert first.text == "servers: é"
    assert list_fetch.fetch(where, first.version, call) == Unchanged()
    moto("s3", "PutObject", Bucket="fleet", Key="chef/servers.yml", Body="x")
    second = list_fetch.fetch(where, first.version, call)
    assert (second.text, second.version != first.version) == ("x", True)
    assert call.replies == [11, 304, 1]


def test_the_parameter_store_tells_its_version(moto, moto_server):
    def put(value):
        moto("ssm", "PutParameter", Name="/chef/servers", Value=value, Type="SecureString", Overwrite=True)

    put("servers: a")
    where = settings("ssm:/chef/servers", endpoint_url=moto_server)
    first = list_fetch.fetch(where)
    assert (first.text, first.version.partition("-")[0]) == ("servers: a", "1")
    assert list_fetch.fetch(where, first.version) == Unchanged()
    put("servers: b")
    second = list_fetch.fetch(where, first.version)
    assert (second.text, second.version.partition("-")[0]) == ("servers: b", "2")


def test_a_parameter_that_was_created_again_is_new_at_the_same_version(moto, moto_server):
    where, said = settings("ssm:/chef/servers", endpoint_url=moto_server), []
    for value in ("servers: a", "servers: b"):
        moto("ssm", "PutParameter", Name="/chef/servers", Value=value, Type="String")
        said.append(list_fetch.fetch(where, said[-1].version if said else None))
        moto("ssm", "DeleteParameter", Name="/chef/servers")
    assert [one.text for one in said] == ["servers: a", "servers: b"]
    assert [one.version.partition("-")[0] for one in said] == ["1", "1"]


def test_a_parameter_that_is_no_text_is_said():
    answer = list_fetch.fetch(settings("ssm:/a"), None, lambda *_, **__: {"Parameter": {"Value": "\ud800"}})
    assert answer == Trouble("ssm:/a: not UTF-8 text")


def test_a_file_is_as_new_as_its_times(tmp_path):
    path = tmp_path / "list.yml"
    path.write_text("servers: a")
    first = list_fetch.fetch(settings(f"file:{path}"))
    assert first.text == "servers: a"
    assert list_fetch.fetch(settings(f"file:{path}"), first.version) == Unchanged()
    replace(path, "servers: b")
    assert list_fetch.fetch(settings(f"file:{path}"), first.version).text == "servers: b"


def denied(code, status=403):
    def call(*_, **__):
        raise AwsError(code, "no", status)

    return call


@pytest.mark.parametrize(
    ("source", "call", "said", "is_passing"),
    [
        ("s3://fleet/a", denied("AccessDenied"), "allow what packaging/iam/s3.json has", False),
        ("ssm:/a", denied("AccessDeniedException"), "allow what packaging/iam/ssm-list.json has", False),
        ("s3://fleet/a", denied("NoSuchKey", 404), "s3://fleet/a: does not exist in us-east-1", False),
        ("ssm:/a", denied("ParameterNotFound", 400), "correct discovery.source or region", False),
        ("ssm:/a", denied("NoCredentials", 0), "needs AWS credentials", True),
        ("ssm:/a", denied("ThrottlingException", 400), "cannot be read in us-east-1", True),
        ("s3://fleet/a", lambda *_, **__: {}, "S3 sent no object", True),
        ("ssm:/a", lambda *_, **__: {}, "the Parameter Store sent no value", True),
        ("s3://fleet/a", lambda *_, **__: {"Body": b"\xff", "ETag": "1"}, "not UTF-8 text", False),
        ("s3://fleet/a", lambda *_, **__: {"Body": b"x" * 300_000, "ETag": "1"}, "longer than 256 KiB", False),
        ("file:/nowhere/list.yml", None, "cannot read it: No such file or directory", True),
        ("file:/dev/null", None, "not a regular file", False),
    ],
)
def test_what_cannot_be_had_is_said_with_what_to_do(source, call, said, is_passing):
    answer = list_fetch.fetch(settings(source), None, call or aws.call)
    assert isinstance(answer, Trouble)
    assert (said in answer.sentence, answer.is_passing) == (True, is_passing), answer


# --- the cache ------------------------------------------------------------------------------------------------------

LISTING = Listing("file:/list", "servers: é\r\n", "7", ON)


def test_the_cache_is_whole_or_not_there_and_of_one_source(tmp_path):
    source = parse_list_source("file:/list")
    assert list_cache.read(tmp_path, source) is None
    list_cache.write(tmp_path, LISTING)
    path = tmp_path / "discovered.yml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list_cache.read(tmp_path, source) == LISTING
    assert list_cache.read(tmp_path, parse_list_source("file:/other")) is None
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert list_cache.read(tmp_path, source) is None, size


# --- one step at a time ---------------------------------------------------------------------------------------------


class Source:
    """Answers with what is put into ``answer``; ``asked`` has the versions that were known."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def __call__(self, _, version):
        self.asked.append(version)
        return self.answer


TEXT = "servers: [{name: a, url: 'https://a.example.com'}]"
OWN = "servers: [{name: own, url: 'https://a.example.com'}]\n" + discovery("file:/list")


FIVE_MINUTES = OWN.replace("300ms", "5m")


def make(tmp_path, answer, go_on=lambda _: None, own=OWN, seed=1):
    source = Source(answer)
    parsed = config.parse(f"{own}state_dir: {tmp_path}")
    clock = iter(range(10_000))
    made = Discovery(
        parsed,
        go_on,
        fetch=source,
        utc_now=lambda: ON + datetime.timedelta(seconds=next(clock)),
        rng=random.Random(seed),
    )
    return made, source


def test_good_bad_and_good_again(tmp_path, caplog):
    went_on = []
    made, source = make(tmp_path, Fetched(TEXT, "1"), went_on.append)
    assert made.standing.origin is Origin.CONFIG
    made.step()
    assert (made.standing.origin, made.standing.version, made.standing.trouble) == (Origin.SOURCE, "1", None)
    for _ in range(3):
        source.answer = Fetched("servers: []", "2") if source.asked[-1] != "2" else Unchanged()
        made.step()
        assert "names no server" in made.standing.trouble
        assert made.standing.version == "1"
    confirmed_on = made.standing.confirmed_on
    source.answer = Trouble("file:/list: cannot be read", is_passing=True)
    made.step()
    made.step()
    assert made.standing.trouble == "file:/list: cannot be read"
    assert made.standing.confirmed_on == confirmed_on
    source.answer = Fetched(TEXT + " # mended", "3")
    made.step()
    assert (made.standing.version, made.standing.trouble) == ("3", None)
    assert source.asked == [None, "1", "2", "2", "2", "2", "2"]
    assert [server.name for server in went_on[-1].config.servers] == ["a"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]  # once for each reason
    assert list_cache.read(tmp_path, parse_list_source("file:/list")).version == "3"


def test_a_reload_takes_what_is_known_by_the_new_trust_and_asks_at_once(tmp_path):
    text = "servers: [{name: b, url: 'https://b.example.com'}]"
    made, _ = make(tmp_path, Fetched(text, "1"))
    made.step()
    assert (
        "every server was rejected: b: host b.example.com is neither in trusted_hosts nor in servers of config.yml"
        in made.standing.trouble
    )
    trusting = config.parse(f"{OWN}state_dir: {tmp_path}\ntrusted_hosts: ['*.example.com']")
    now = made.effective_for(trusting)
    assert [server.name for server in now.config.servers] == ["b"]
    made.use(trusting, now)
    made.stop()
    assert made.standing.trouble is None
    elsewhere = attrs.evolve(trusting, discovery=settings("file:/other"))
    now = made.effective_for(elsewhere)
    assert now.config == elsewhere
    made.use(elsewhere, now)
    assert (made.standing.source, made.standing.origin) == ("file:/other", Origin.CONFIG)
    without = attrs.evolve(trusting, discovery=DiscoverySettings())
    made.use(without, made.effective_for(without))
    assert (made.standing, made.step()) == (None, math.inf)


def test_what_cannot_take_over_is_tried_again(tmp_path):
    went_on = []

    def go_on(now):
        went_on.append(now)
        if len(went_on) == 1:
            raise IdentityError("no name")

    made, source = make(tmp_path, Fetched(TEXT, "1"), go_on)
    made.step()
    assert "the server list does not work: no name" in made.standing.trouble
    assert not (tmp_path / "discovered.yml").exists()
    source.answer = Unchanged()
    made.step()
    assert (made.standing.trouble, len(went_on)) == (None, 2)
    assert (tmp_path / "discovered.yml").exists()


def test_the_pace_is_spread_and_trouble_that_passes_is_looked_at_sooner(tmp_path):
    made, source = make(tmp_path, Unchanged(), own=FIVE_MINUTES)
    delays = [made.step() for _ in range(200)]
    assert 240 <= min(delays) < 250
    assert 350 < max(delays) <= 360
    source.answer = Trouble("x", is_passing=True)
    assert [round(made.step() / 15 / 2**n) for n in range(4)] == [1, 1, 1, 1]
    assert 240 <= [made.step() for _ in range(10)][-1] <= 360
    source.answer = Trouble("x")
    assert 240 <= made.step() <= 360


def test_a_throttled_list_is_asked_for_ever_less_often_and_status_says_when(tmp_path):
    made, source = make(tmp_path, Fetched(TEXT, "1"), own=FIVE_MINUTES)
    made.step()
    source.answer = Trouble("ssm: slow down", is_passing=True, is_throttled=True)
    delays = [made.step() for _ in range(8)]
    assert min(delays) >= 300
    assert all(delay <= 300 + 300 * 2.0 ** (number + 1) for number, delay in enumerate(delays))
    assert (max(delays) > 4 * 300, made.standing.is_throttled) == (True, True)
    assert (made.standing.asks_on - ON).total_seconds() > 300
    source.answer = Unchanged()
    assert 240 <= made.step() <= 360
    assert not made.standing.is_throttled


def test_a_fleet_that_wants_more_than_it_may_asks_for_less_than_it_wants(tmp_path):
    """200 nodes, which want 0.67 questions a second; 0.08 are allowed."""
    fleet = [make(tmp_path, Fetched(TEXT, "1"), own=FIVE_MINUTES, seed=seed) for seed in range(200)]
    for made, _ in fleet:
        made.step()
    spread = random.Random(3)
    due = [(300 * spread.random(), number) for number in range(len(fleet))]
    heapq.heapify(due)
    tokens, at, asked = 1.0, 0.0, 0
    while (now := due[0][0]) < 6 * 3600:
        number = heapq.heappop(due)[1]
        tokens, at, asked = min(1.0, tokens + 0.08 * (now - at)), now, asked + (now > 3 * 3600)
        is_taken = tokens >= 1
        tokens -= is_taken
        made, source = fleet[number]
        source.answer = Unchanged() if is_taken else Trouble("slow down", is_passing=True, is_throttled=True)
        heapq.heappush(due, (now + made.step(), number))
    assert asked / (3 * 3600) < 0.5 * len(fleet) / 300


def test_nodes_that_never_had_their_list_get_it_in_minutes_where_it_is_throttled(tmp_path):
    """2,000 boot in one second where 40 answers a second are given; here a tenth of both."""
    fleet = [make(tmp_path / str(seed), None, own=FIVE_MINUTES, seed=seed) for seed in range(200)]
    due = [(made.first_delay_s(), number) for number, (made, _) in enumerate(fleet)]
    heapq.heapify(due)
    tokens, at, waits = 4.0, 0.0, []
    while due:
        now, number = heapq.heappop(due)
        tokens, at = min(4.0, tokens + 4.0 * (now - at)), now
        is_taken = tokens >= 1
        tokens -= is_taken
        made, source = fleet[number]
        source.answer = Fetched(TEXT, "1") if is_taken else Trouble("slow down", is_passing=True, is_throttled=True)
        delay_s = made.step()
        if is_taken:
            waits.append(now)
        else:
            heapq.heappush(due, (now + delay_s, number))
    assert (waits[len(waits) // 2] <= 60, waits[-1] <= 240) == (True, True), (waits[len(waits) // 2], waits[-1])


@pytest.mark.parametrize(
    ("source", "nodes", "interval_s"),
    [
        ("ssm:/list", 5_000, 300),
        ("ssm:/list", 50_000, 1500),
        ("ssm:/list", 10_000_000, 3600),
        ("s3://fleet/list.yml", 10_000_000, 300),
        ("file:/list", 10_000_000, 300),
    ],
)
def test_the_interval_at_the_parameter_store_grows_up_to_an_hour(tmp_path, source, nodes, interval_s):
    region = "" if source.startswith("file:") else ", region: us-east-1"
    own = OWN.replace(discovery("file:/list"), discovery(source, region)).replace("300ms", "5m")
    made, _ = make(tmp_path, Fetched(f"{TEXT}\nfleet: {{nodes: {nodes}}}", "1"), own=own)
    assert 0.8 * interval_s <= made.step() <= 1.2 * interval_s


def test_the_list_knows_the_size_of_the_fleet_best(tmp_path):
    parsed = config.parse(f"{FIVE_MINUTES}state_dir: {tmp_path}\nfleet: {{nodes: 20000}}")
    found = [Listing("file:/list", text, "1", ON) for text in (f"{TEXT}\nfleet: {{nodes: 50000}}", TEXT)]
    assert [effective(parsed, [one]).config.fleet.nodes for one in found] == [50_000, 20_000]


def test_a_cache_that_cannot_be_written_is_said_and_the_list_used(tmp_path, caplog):
    made, _ = make(tmp_path, Fetched(TEXT, "1"))
    (tmp_path / "discovered.yml").mkdir()
    made.step()
    assert made.standing.origin is Origin.SOURCE
    assert "cannot cache the server list" in caplog.text


# --- sidecars -------------------------------------------------------------------------------------------------------


def test_a_list_takes_over_and_a_bad_or_empty_one_does_not(servers, tmp_path):
    path, source = write_config(tmp_path, servers[:1], failback="immediately"), tmp_path / "list.yml"
    path.write_text(path.read_text() + discovery(f"file:{source}") + "trusted_hosts: [localhost, 127.0.0.1]\n")
    with daemon(path) as running:
        until(lambda: "No such file" in (standing(running)["trouble"] or ""))
        assert names(running) == ["mainserver"]
        assert standing(running)["in_use"] == "config.yml"
        replace(source, listed(tmp_path, servers[1], servers[0]))
        until(lambda: names(running) == ["standbyserver", "mainserver"])
        until(lambda: running.ask("/v1/server").body["name"] == "standbyserver")
        for text, said in (("", "is empty"), ("servers: [{name: x}]", "list.yml:1: servers[0]: missing key 'url'")):
            replace(source, text)
            until(lambda said=said: said in (standing(running)["trouble"] or ""))
            assert names(running) == ["standbyserver", "mainserver"]
        stranger = "- {name: stranger, url: 'https://chef.evil.example'}\n"
        replace(source, listed(tmp_path, *servers, more=stranger))
        until(lambda: standing(running)["refused"])
        assert names(running) == ["mainserver", "standbyserver"]
        told = run("status", "--config", path).stdout
        assert f"Servers: from file:{source}, version " in told
        assert (
            "rejected: stranger: host chef.evil.example is neither in trusted_hosts nor in servers of config.yml"
            in told
        )
        checked = run("check", "--config", path)
        assert (checked.returncode, "rejected: stranger" in checked.stdout) == (1, True), checked.stdout
        replace(source, listed(tmp_path, *servers))
        until(lambda: not standing(running)["refused"])
        assert run("check", "--config", path).returncode == 0
        time.sleep(1)
        assert running.log.count("is empty") == 1
        assert running.log.count("No such file") == 1
        assert "Traceback" not in running.log


def kept(tmp_path):
    """A configuration whose list was kept."""
    list_cache.write(tmp_path, attrs.evolve(LISTING, text=TEXT))
    return config.parse(f"{OWN}state_dir: {tmp_path}\nnode: {{name: web-1}}")


@pytest.mark.parametrize("where", ["assemble", "Upkeeps.make"])
def test_a_kept_list_that_cannot_be_started_with_is_dropped_and_said(tmp_path, monkeypatch, caplog, where):
    parsed = kept(tmp_path)

    def break_with(effective, *arguments, **more):
        if any(server.name == "a" for server in effective.servers):
            if where == "assemble":
                raise MemoryError
            found = assemble(effective, *arguments, **more)
            monkeypatch.setattr(found.upkeeps, "_make", lambda: 1 / 0)
            return found
        return assemble(effective, *arguments, **more)

    monkeypatch.setattr(ASSEMBLE, break_with)
    sidecar = Sidecar(parsed)
    sidecar.start()
    sidecar.stop()
    assert [server.name for server in sidecar.snapshot.servers] == ["own"]
    assert "and was dropped" in caplog.text
    assert "the cached server list did not work" in sidecar.about.discovery.trouble
    assert not (tmp_path / "discovered.yml").exists()


def test_without_a_kept_list_what_breaks_a_start_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(ASSEMBLE, lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Sidecar(config.parse(f"{OWN}state_dir: {tmp_path}"))


@pytest.mark.parametrize("where", ["assemble", "upkeeps"])
def test_nothing_is_stopped_before_its_successor_stands(tmp_path, monkeypatch, where):
    sidecar = Sidecar(config.parse(f"servers: [{{name: a, url: 'https://a'}}]\nstate_dir: {tmp_path}"))
    stopped = []
    monkeypatch.setattr(Assembly, "stop", lambda _: stopped.append("all"))
    monkeypatch.setattr(Upkeeps, "stop", lambda _: stopped.append("upkeep"))
    if where == "assemble":
        monkeypatch.setattr(ASSEMBLE, lambda *_, **__: 1 / 0)
    else:
        monkeypatch.setattr(Upkeeps, "make", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sidecar.reload(config.parse(f"servers: [{{name: b, url: 'https://b'}}]\nstate_dir: {tmp_path}"))
    assert stopped == []
    assert [server.name for server in sidecar.snapshot.servers] == ["a"]


def test_the_cache_is_used_at_a_start_while_the_source_is_dead(servers, tmp_path):
    path, source = write_config(tmp_path, servers[:1], failback="immediately"), tmp_path / "list.yml"
    path.write_text(path.read_text() + discovery(f"file:{source}") + "trusted_hosts: [localhost, 127.0.0.1]\n")
    source.write_text(listed(tmp_path, servers[1]))
    with daemon(path) as running:
        until(lambda: running.ask("/v1/server").body["name"] == "standbyserver")
        until((tmp_path / "discovered.yml").exists)
        running.stop()
        source.unlink()
        assert [server.name for server in from_cache(config.load(path)).config.servers] == ["standbyserver"]
        assert run("server", "--config", path).stdout.strip() == servers[1].chef_server_url
        running.restart()
        assert names(running) == ["standbyserver"]
        until(lambda: standing(running)["trouble"])
        assert standing(running)["in_use"] == "cache"
        assert " (cached), version " in run("status", "--config", path).stdout
        source.write_text(listed(tmp_path, *servers))
        until(lambda: names(running) == ["mainserver", "standbyserver"])
        until(lambda: standing(running)["in_use"] == "source")


def test_drains_of_the_list_hold_on_the_node_and_are_ended_there(servers, tmp_path):
    path, source = write_config(tmp_path, servers, failback="immediately"), tmp_path / "list.yml"
    path.write_text(path.read_text() + discovery(f"file:{source}"))
    drains = "drains: [{server: mainserver, reason: kernel upgrade}]\n"
    source.write_text(listed(tmp_path, *servers, more=drains))
    with daemon(path) as running:
        until(lambda: running.ask("/v1/server").body["name"] == "standbyserver")
        drain = running.ask("/v1/servers").body["servers"][0]["drain"]
        assert (drain["who"], drain["reason"], drain["ends"]) == ("the fleet's list", "kernel upgrade", None)
        assert "Nothing changed." in run("undrain", "mainserver", "--config", path).stdout
        running.restart() if running.stop() == 0 else None
        assert running.ask("/v1/server").body["name"] == "standbyserver"
        replace(source, listed(tmp_path, *servers))
        until(lambda: running.ask("/v1/server").body["name"] == "mainserver")
        assert running.log.count("mainserver in service->drained by the fleet's list: kernel upgrade") == 1
        until(lambda: "mainserver drained->in service removed from the fleet's list" in running.log)
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
        replace(source, listed(tmp_path, *servers, more=f"drains: [{{server: mainserver, until: {soon.isoformat()}}}]"))
        until(lambda: running.ask("/v1/server").body["name"] == "standbyserver")
        until(lambda: running.ask("/v1/server").body["name"] == "mainserver")


def test_a_server_that_leaves_and_returns_is_not_registered_with_again(servers, tmp_path):
    path, source = write_config(tmp_path, servers, node="{name: leaver}", registers=True), tmp_path / "list.yml"
    path.write_text(path.read_text() + discovery(f"file:{source}"))
    source.write_text(listed(tmp_path, *servers, registers=True))

    def associated(running):
        return [entry["association"] for entry in running.ask("/v1/servers").body["servers"]]

    def posts():
        return [one for one in servers[1].requests if one[0] == "POST" and "/clients" in one[1]]

    with daemon(path) as running:
        assert run("wait", "--associated", "--all", "--timeout", "20s", "--config", path).returncode == 0
        count = len(posts())
        assert count >= 1
        replace(source, listed(tmp_path, servers[0], registers=True))
        until(lambda: names(running) == ["mainserver"])

        def kept():
            return json.loads((tmp_path / "state.json").read_text())["associations"]

        until(lambda: kept()["standbyserver"]["association"] == "associated")
        assert running.stop() == 0
        running.restart()
        assert names(running) == ["mainserver"]
        replace(source, listed(tmp_path, *servers, registers=True))
        until(lambda: len(names(running)) == 2)
        assert associated(running)[1] == "associated"
        until(lambda: running.ask("/v1/servers").body["servers"][1]["outcome"] == "ok")
        assert len(posts()) == count


@contextlib.contextmanager
def black_hole():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_source_that_hangs_delays_neither_the_start_nor_a_choice_nor_a_reload(servers, tmp_path, aws_secret):
    path = write_config(tmp_path, servers)
    with black_hole() as url:
        own = path.read_text()
        path.write_text(own + discovery("s3://fleet/list.yml", f", region: {REGION}, endpoint_url: '{url}'"))
        begun = time.monotonic()
        with daemon(path) as running:
            assert running.ask("/v1/server").body["name"] == "mainserver"
            assert time.monotonic() - begun < 20
            until(lambda: any("chef_failover.aws" in one for one in commands_of(running.process.pid)))
            took = []
            for _ in range(20):
                begun = time.monotonic()
                assert running.ask("/v1/server").body["name"] == "mainserver"
                took.append(time.monotonic() - begun)
            assert sorted(took)[10] < 3
            count = running.log.count("reloaded")
            running.send(1)
            until(lambda: running.log.count("reloaded") > count)
            begun = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - begun < 20


def commands_of(parent):
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[1] == str(parent):
                yield (path.parent / "cmdline").read_text()


def test_a_whole_sidecar_on_s3(servers, tmp_path, moto, moto_server):
    moto("s3", "CreateBucket", Bucket="fleet")
    moto("s3", "PutObject", Bucket="fleet", Key="list.yml", Body=listed(tmp_path, *servers))
    path = write_config(tmp_path, servers[:1])
    more = f", region: {REGION}, endpoint_url: '{moto_server}'"
    path.write_text(
        path.read_text() + discovery("s3://fleet/list.yml", more) + "trusted_hosts: [localhost, 127.0.0.1]\n"
    )
    with daemon(path) as running:
        until(lambda: names(running) == ["mainserver", "standbyserver"])
        until(lambda: standing(running)["fetched_at"])  # told an instant after its servers are in use
        fetched_at = standing(running)["fetched_at"]
        moto("s3", "PutObject", Bucket="fleet", Key="list.yml", Body="")
        until(lambda: "is empty" in (standing(running)["trouble"] or ""))
        moto("s3", "DeleteObject", Bucket="fleet", Key="list.yml")
        until(lambda: "does not exist" in (standing(running)["trouble"] or ""))
        assert (names(running), standing(running)["fetched_at"]) == (["mainserver", "standbyserver"], fetched_at)


def test_a_sidecar_without_a_list_has_nothing_to_say_of_it(servers, tmp_path):
    sidecar = Sidecar(config.load(write_config(tmp_path, servers, health=CALM)), Machine())
    sidecar.start()
    assert sidecar.about.discovery is None
    assert sidecar.stop(5)
