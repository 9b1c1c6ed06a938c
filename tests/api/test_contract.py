"""The JSON files of contract/ bind the API to the Ruby shim and the Ohai plugin: what we serve has just their shape."""

import datetime
import json

import attrs
import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder

from chef_failover.api import render
from chef_failover.api.app import BODY_LIMIT, create_app
from chef_failover.config import settings as config
from chef_failover.decide.selection import select
from chef_failover.decide.world import apply_order, refresh_choice
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.about import About, ListStanding, Origin
from chef_failover.model.model import (
    Choice,
    Health,
    NodeCheck,
    Outcome,
    ProbeResult,
    Registration,
    RiseFall,
    SelectionPolicy,
    ServerSnapshot,
    Snapshot,
    Standing,
)
from chef_failover.model.needs import NodeObject
from chef_failover.model.orders import Orders
from chef_failover.model.run_history import Phase, Run, RunEvidence, RunHistory, Used
from chef_failover.state import document as state
from chef_failover.state import written
from tests.support.builders import ON, drain, pin


def on_socket(sidecar):
    """The application that the Unix socket has."""
    return create_app(sidecar, may_change=True)


@pytest.fixture
def expected(contract):
    return lambda name: json.loads((contract / name).read_text())


@pytest.fixture
def snapshot(contract):
    parsed = config.load(contract / "config.yml")
    timed_out = ProbeResult(Outcome.CONNECT_TIMEOUT, "connect timed out after 3.0 s", 98.0)
    well = ProbeResult(Outcome.OK, "answers in 21 ms", 98.8, latency_s=0.021)
    main, standby = (
        ServerSnapshot(
            name=server.name,
            url=server.url,
            chef_server_url=parsed.chef_server_url(server),
            priority=parsed.priority(server),
            ca_file=str(server.ca_file) if server.ca_file else None,
            changed_on=ON,
        )
        for server in parsed.servers[:2]
    )
    world = Snapshot(
        (
            attrs.evolve(main, liveness=RiseFall(Health.DOWN, changed_at=98.0), last_probe=timed_out),
            attrs.evolve(
                standby,
                liveness=RiseFall(Health.UP, changed_at=1.0),
                last_probe=well,
                last_alive_probe=well,
                registration=Registration(detail="registered by default-validator", identity="3f0f1e2d", on=ON),
                run_evidence=RunEvidence(1, 98.0, "Errno::ECONNREFUSED"),
            ),
        ),
        SelectionPolicy(600.0, "web-1"),
        choice=Choice("mainserver", Standing.ELIGIBLE),
        used=Used(("recipe[web::ssl]",), "production", cookbooks={"web": "1.2.3", "yum": "7.4.13"}),
        used_since=100.0,
        used_on=ON,
        used_server="mainserver",
    )
    return refresh_choice(world, now=100.0, on=ON)


FAILED_RUN = "5b3f0f4e-8a53-4d57-9d5c-0e1f0f7f3b11"
ENDED, SEVEN_S = ON - datetime.timedelta(seconds=2), datetime.timedelta(seconds=7)
HISTORY = (
    RunHistory()
    .add(Run("4a0c", "mainserver", "succeeded", None, ON.replace(hour=9, minute=30, second=12)))
    .add(Run(FAILED_RUN, "standbyserver", "failed", "Errno::ECONNREFUSED", ENDED, ENDED - SEVEN_S, 7.25, Phase.START))
)
ABOUT = About(
    "0.1.0",
    "web-1",
    "/var/lib/chef-failover/client.pem",
    "i-0123456789abcdef0",
    boot_id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    runs=HISTORY,
    discovery=ListStanding(
        "s3://fleet/chef-servers.yml",
        Origin.SOURCE,
        '"9dd4e461268c8034f5c8564e155c67a6"',
        fetched_on=ON,
        confirmed_on=ON,
        asks_on=ON + datetime.timedelta(seconds=287.5),
        refused=("old: host chef-old.example.org is neither in trusted_hosts nor in servers of config.yml",),
    ),
)
UPGRADE = {"lasts_s": 7200.0, "ends_at": 7300.0, "ends_on": ON + datetime.timedelta(hours=2), "in_use": "mainserver"}
DRAIN = drain("mainserver", reason="kernel upgrade", **UPGRADE)
PIN = pin("standbyserver", reason="drill", **UPGRADE)


ANSWER = ProbeResult(Outcome.OK, "answers in 21 ms", 98.8, latency_s=0.021)
WELL = {"liveness": RiseFall(Health.UP, changed_at=1.0), "last_probe": ANSWER, "last_alive_probe": ANSWER}


def shape(document):
    """Keys and types, all the way down."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    if isinstance(document, list):
        return [shape(value) for value in document[:1]]
    return type(document).__name__


def test_the_answer_is_the_contract_to_the_letter(snapshot, expected):
    choice = select(snapshot, now=100.0, runs_from=90.0)
    assert render.server(snapshot, choice, ABOUT, now=100.0, on=ON) == expected("server.json")


def test_the_facts_have_the_shape_of_the_contract(snapshot, expected):
    rendered = render.facts(attrs.evolve(snapshot, orders=Orders((DRAIN, PIN))), ABOUT, now=100.0)
    assert shape(rendered) == shape(expected("facts.json"))
    for key in ("server", "pin", "drains", "runs"):
        assert rendered[key] == expected("facts.json")[key]


def test_what_an_order_leads_to_is_the_contract_to_the_letter(snapshot, expected):
    well = attrs.evolve(snapshot, servers=tuple(attrs.evolve(one, **WELL) for one in snapshot.servers))
    after = apply_order(refresh_choice(well, now=100.0, on=ON), DRAIN, is_forced=False, now=100.0, on=ON)
    assert render.steered(well, after, None) == expected("steered.json")


def test_the_servers_are_the_contract_to_the_letter(snapshot, expected):
    main, standby = snapshot.servers
    wanted = NodeObject(("recipe[web]",), "production", normal='{"app":{"port":80}}')
    upgrade = attrs.evolve(DRAIN, server="standbyserver")
    standby = attrs.evolve(standby, node_check=NodeCheck(95.0, attrs.evolve(wanted, normal="{}")))
    main = attrs.evolve(
        main,
        liveness=RiseFall(Health.UP, changed_at=-900.0),
        last_probe=standby.last_probe,
        last_alive_probe=standby.last_probe,
        node_check=NodeCheck(95.0, wanted),
    )
    parts = {"servers": (main, standby), "orders": Orders((upgrade,))}
    world = attrs.evolve(snapshot, **parts, choice=None, transitions=snapshot.transitions[:1])
    rendered = render.servers(refresh_choice(world, now=100.0, on=ON), ABOUT, now=100.0, on=ON)
    assert rendered == expected("servers.json")


def test_the_state_has_the_shape_of_the_contract(snapshot, expected):
    steered = attrs.evolve(snapshot, orders=Orders((DRAIN, PIN)))
    rendered = json.loads(json.dumps({"schema": 1, **written.kept(steered, ABOUT, on=ON)}))
    wanted = expected("state.json")
    assert rendered["choice"] == wanted["choice"]
    assert rendered.keys() == wanted.keys()
    assert [rendered[key] for key in ("boot_id", "drains", "pin")] == [
        wanted[key] for key in ("boot_id", "drains", "pin")
    ]
    assert rendered["servers"].keys() == wanted["servers"].keys()
    assert shape(rendered["associations"]) == shape(wanted["associations"])
    assert shape(rendered["runs"]) == shape(wanted["runs"])
    assert [rendered[key] for key in ("run_evidence", "used")] == [wanted[key] for key in ("run_evidence", "used")]
    assert wanted["servers"]["mainserver"].keys() <= rendered["servers"]["mainserver"].keys()
    assert [shape(entry) for entry in wanted["transitions"][1:]] == [shape(entry) for entry in rendered["transitions"]]


@pytest.fixture
def idle(tmp_path):
    return Sidecar(config.parse(f"state_dir: {tmp_path}"))


@pytest.fixture
def http(idle) -> FlaskClient:
    return create_app(idle, may_change=True).test_client()


def test_no_server_configured_is_the_contract_to_the_letter(http, expected):
    answer = http.get("/v1/server")
    assert (answer.status_code, answer.json) == (404, expected("no_servers.json"))
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("name", ["run_started.json", "run_succeeded.json", "run_failed.json"])
def test_the_shim_s_reports_are_taken(http, expected, name):
    assert http.post("/v1/runs", json=expected(name)).status_code == 202


def test_what_a_run_used_is_shown_in_brief(http, expected):
    assert http.get("/v1/servers").json["used"] is None
    http.post("/v1/runs", json=expected("run_succeeded.json"))
    shown = http.get("/v1/servers").json["used"]
    wanted = expected("servers.json")["used"]
    assert {**shown, "since": wanted["since"]} == wanted


def test_the_longest_report_of_what_a_run_used_is_kept_and_read_again(http, idle, expected, tmp_path):
    report = expected("run_succeeded.json")
    report["used"]["run_list"] = [f"role[{number}]" + "\U0001f347" * 14 for number in range(900)]
    body = json.dumps(report, ensure_ascii=False).encode()
    assert 0.9 * BODY_LIMIT < len(body) <= BODY_LIMIT
    assert http.post("/v1/runs", data=body).status_code == 202
    document = written.kept(idle.snapshot, idle.about, on=ON)
    state.write(tmp_path / state.FILE_NAME, document)
    assert (tmp_path / state.FILE_NAME).stat().st_size < 0.3 * state.SIZE_LIMIT
    remembered = state.read(tmp_path / state.FILE_NAME, ON)
    assert list(remembered.use.used.run_list) == report["used"]["run_list"]


def test_a_run_is_under_way_until_its_end_is_reported(http, idle, expected):
    http.post("/v1/runs", json=expected("run_started.json"))
    assert [run.server for run in idle.runs.under_way] == ["standbyserver"]
    assert http.get("/v1/runs").json["under_way"] == [expected("run_started.json")["run_id"]]
    http.post("/v1/runs", json=expected("run_failed.json"))
    assert idle.runs.under_way == ()


def test_the_last_runs_have_the_shape_of_the_contract(http, expected):
    wanted = {"schema": 1, **expected("state.json")["runs"], "under_way": []}
    for name in ("run_started.json", "run_failed.json"):
        http.post("/v1/runs", json=expected(name))
    answer = http.get("/v1/runs").json
    assert shape(answer["last"][0]) == shape(wanted["last"][1])
    assert (answer.keys(), answer["since_success"], answer["last_success_at"]) == (wanted.keys(), 1, None)
    assert http.get("/v1/facts").json["runs"] == http.get("/v1/servers").json["runs"]
    assert http.get("/v1/facts").json["runs"]["last"] == answer["last"][0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ("{}", "run_id must be text of 1 to 200 characters; event must be one of started, succeeded, failed"),
        ('{"run_id": "1", "event": "failed", "server": 5}', "server must be null or text"),
        ('{"run_id": "a\\nb", "event": "failed"}', "run_id"),
        ('{"run_id": "1", "event": "failed", "phase": "end"}', "phase must be null or one of start, converge, save"),
        ('{"run_id": "1", "event": "failed", "http_status": 600}', "http_status must be null or a number"),
        ('{"run_id": "1", "event": "failed", "http_status": true}', "http_status must be null or a number"),
        ('{"run_id": "1", "event": "succeeded", "used": 5}', "used must be null or a JSON object"),
        ('{"run_id": "", "event": "succeeded", "used": {}}', "200 characters; used.run_list must be a list of at most"),
    ],
)
def test_a_report_that_is_none_is_refused_with_all_that_is_wrong(http, body, words):
    answer = http.post("/v1/runs", data=body)
    assert answer.status_code == 400
    assert words in answer.json["detail"]


def test_errors_are_problem_details(http):
    for answer, status in ((http.get("/nothing"), 404), (http.delete("/v1/server"), 405)):
        assert (answer.status_code, answer.json["status"], answer.json["schema"]) == (status, status, 1)
        assert answer.content_type == "application/problem+json"
    assert http.post("/v1/runs", data="x" * 100_000).status_code == 413


def test_a_fault_of_ours_is_a_500_that_tells_nothing(idle, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret detail")

    app = create_app(idle, may_change=False)
    app.logger.disabled = True
    monkeypatch.setattr(idle, "choose_for_run", broken)
    answer = app.test_client().get("/v1/server")
    assert (answer.status_code, answer.json["title"]) == (500, "Internal error")
    assert "secret" not in answer.text
    assert app.test_client().get("/livez").json["faults"] == 1
    assert idle.faults.last == "request the question of a run.server: RuntimeError"


def test_the_socket_gives_the_very_answers_of_flask(tmp_path, idle):
    from tests.support.daemon_process import dev_servers, hear_all, write_config

    def get(app, target, method="GET"):
        said = {}
        environ = EnvironBuilder(path=target, method=method).get_environ()
        body = b"".join(app(environ, lambda status, headers: said.update(status=status, headers=dict(headers))))
        document = json.loads(body) if body else {}
        document.pop("age_s", None)
        return said["status"], said["headers"]["Content-Type"], document

    with dev_servers("mainserver", "standbyserver") as servers:
        calm = "{interval: 1h, retry_interval: 1h, timeout: 2s}"
        sidecar = Sidecar(config.load(write_config(tmp_path, servers, health=calm)))
        sidecar.start()
        hear_all(sidecar)
        flask, socket = (
            create_app(sidecar, may_change=True),
            on_socket(sidecar),
        )
        for target, method in (("/v1/server", "GET"), ("/v1/server", "HEAD"), ("/v1/server", "PUT"), ("/livez", "GET")):
            assert get(socket, target, method) == get(flask, target, method)
        assert get(socket, "/v1/server")[2]["name"] == "mainserver"
        assert sidecar.stop(5)
    assert get(on_socket(idle), "/v1/server")[0] == "404 NOT FOUND"
