"""docs/openapi.yml against the code, and both listeners of a real sidecar against docs/openapi.yml."""

import socket
from pathlib import Path

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from chef_failover.api.app import create_app
from chef_failover.config import settings as config
from chef_failover.engine.runs import EVENTS
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Health, Outcome, RegistrationState, Standing
from tests.support.daemon_process import daemon, dev_servers, free_port, until, write_config

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "docs" / "openapi.yml").read_text())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
"""An operation with servers of its own is only on the socket."""
READING = {name for name, operation in OPERATIONS.items() if "servers" not in operation}
CALM = "{interval: 1h, retry_interval: 1h, timeout: 2s}"
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
SAID = (status_code_conformance, content_type_conformance, response_schema_conformance)
"""No answer but a documented one. A 500 never is; a 503 of readyz is."""


# ---- the document


def routes(app):
    """METHOD /path/{parameter} of everything that Flask serves."""
    return {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


@pytest.mark.parametrize("may_change", [True, False])
def test_every_route_is_in_the_document_and_nothing_else(tmp_path, may_change):
    app = create_app(Sidecar(config.parse(f"state_dir: {tmp_path}")), may_change=may_change)
    assert routes(app) == (set(OPERATIONS) if may_change else READING)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Outcome", [outcome.value for outcome in Outcome]),
        ("Standing", [standing.name.lower() for standing in sorted(Standing)]),
        ("Health", [health.name for health in sorted(Health)]),
        ("Association", [association.value for association in RegistrationState]),
    ],
)
def test_the_words_of_the_domain_are_those_of_the_code(name, words):
    assert DOCUMENT["components"]["schemas"][name]["enum"] == words


def test_a_run_report_is_what_the_code_takes():
    assert DOCUMENT["components"]["schemas"]["RunReport"]["properties"]["event"]["enum"] == list(EVENTS)


def test_the_page_on_the_api_names_every_path():
    told = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    missing = {name for name in OPERATIONS if f"`{name.replace('{name}', 'NAME')}`" not in told}
    assert missing == set()


# ---- the listeners


class UnixConnection(HTTPConnection):
    """To the socket named by a pool, whatever the host."""

    path = ""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


class UnixAdapter(HTTPAdapter):
    """Sends all requests of a session to one Unix socket."""

    def __init__(self, path):
        connection = type("Connection", (UnixConnection,), {"path": str(path)})
        self._pool = type("Pool", (HTTPConnectionPool,), {"ConnectionCls": connection})("localhost")
        super().__init__()

    def get_connection_with_tls_context(self, *_, **__):
        return self._pool

    def close(self):
        self._pool.close()
        super().close()


class Listener:
    def __init__(self, session, base_url, operations):
        self.session, self.base_url, self.operations = session, base_url, operations


@pytest.fixture(scope="module", params=["no servers", "two servers", "all down"])
def sidecar(request, tmp_path_factory):
    port = free_port()
    directory = tmp_path_factory.mktemp("sidecar")
    with dev_servers("mainserver", "standbyserver") as servers:
        if request.param == "all down":
            for server in servers:
                server.stop()
        configured = () if request.param == "no servers" else servers
        path = write_config(directory, configured, health=CALM, loopback=f"'127.0.0.1:{port}'")
        with daemon(path) as started:
            started.port = port
            until(lambda: all(entry["outcome"] for entry in started.ask("/v1/servers?refresh=yes").body["servers"]))
            yield started
            assert started.process.poll() is None
            assert "Traceback" not in started.log


@pytest.fixture(scope="module", params=["socket", "loopback"])
def listener(request, sidecar):
    with requests.Session() as session:
        session.trust_env = False
        if request.param == "socket":
            session.mount("http://", UnixAdapter(sidecar.socket))
            yield Listener(session, "http://localhost", set(OPERATIONS))
        else:
            yield Listener(session, f"http://127.0.0.1:{sidecar.port}", READING)


@pytest.mark.parametrize("name", sorted(READING))
def test_no_undocumented_answer_to_a_question(listener, name):
    ask(listener, name)


@pytest.mark.parametrize("sidecar", ["two servers"], indirect=True)
@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - READING))
def test_no_undocumented_answer_to_a_change_and_none_on_the_loopback_port(listener, name):
    ask(listener, name)
    if name in listener.operations:
        ask(listener, name, generation_mode=GenerationMode.NEGATIVE)


def ask(listener, name, **how):
    """Put what schemathesis thinks of to one operation."""
    method, _, path = name.partition(" ")

    @EXAMPLES
    @given(case=SCHEMA[path][method].as_strategy(**how))
    def is_answered_as_documented(case):
        response = case.call(base_url=listener.base_url, session=listener.session)
        if name in listener.operations:
            case.validate_response(response, checks=SAID)
        else:
            assert response.status_code in (404, 405)
            assert response.headers["content-type"] == ["application/problem+json"]

    is_answered_as_documented()


def test_a_server_error_is_never_documented():
    assert not any("500" in operation["responses"] for operation in OPERATIONS.values())
