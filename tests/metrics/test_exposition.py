"""What Prometheus gets: names, values, and that nothing of it grows."""

import datetime
import math
import signal
import subprocess
import sys

import attrs
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from chef_failover.api.app import create_app
from chef_failover.config import settings as config
from chef_failover.decide.spread import unit_hash
from chef_failover.engine.sidecar import Sidecar
from chef_failover.metrics import exposition as metrics
from chef_failover.metrics.counters import Counters, Purpose
from chef_failover.metrics.measured import Measured
from chef_failover.metrics.textfile import Textfile
from chef_failover.model.model import Health, NodeCheck, Outcome, ProbeResult, Registration, RegistrationState
from chef_failover.model.needs import Content, ParityMode
from chef_failover.model.run_history import Run, RunHistory, Used
from tests.support.builders import ON, WEB, server, world
from tests.support.daemon_process import daemon, dev_servers, until, write_config
from tests.support.parts import require_program

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ENDS = ON + datetime.timedelta(days=90)
HOLD_DOWN_S = round(600 * (1 + unit_hash("hold-down", "web-1", "main")), 1)


def counters(snapshot, **more):
    quiet = Measured("1.2.3", snapshot, RunHistory(), runs_under_way=0, faults=0, fingerprint=7, now=10.0)
    return Counters(lambda: ON, lambda: attrs.evolve(quiet, **more))


def samples(counted, accept=""):
    text = metrics.expose(counted.registry, accept).body.decode()
    families = parse_openmetrics(text) if accept else parse(text)
    return {
        (one.name, *(f"{key}={value}" for key, value in sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


@pytest.fixture
def full():
    """Something in every metric."""
    proof = ProbeResult(Outcome.OK, "", 8.0, 0.03, certificate_expires_on=ENDS)
    main = server("main", Health.DOWN, at=9.5, last_alive_probe=proof)
    other = server("other", at=8.0, registration=Registration(RegistrationState.FAILED), last_alive_probe=proof)
    third = server("third", Health.UNKNOWN)
    history = (
        RunHistory().add(Run("0", "main", "succeeded", None, ON)).add(Run("1", "main", "failed", "E", ON, ON, 3.5))
    )
    snapshot = world(main, other, third, current="other")
    counted = counters(snapshot, history=history, runs_under_way=1, faults=2)
    counted.watch(["main", "other", "third"])
    counted.probed("main", ProbeResult(Outcome.REFUSED, "", 9.5))
    counted.probed("other", proof)
    before = world(server("main"), other, third, current="main")
    after = world(main, server("other", at=8.0, last_alive_probe=proof), third, current="main")
    counted.changed(before, after)
    counted.registered("other", Registration(RegistrationState.REQUESTED), Registration(RegistrationState.FAILED))
    counted.requested("other", Purpose.PROBE)
    counted.ran("main", "failed")
    return counted


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_what_is_shown(full, accept):
    found = samples(full, accept)
    expected = {
        ("chef_failover_build_info", "version=1.2.3"): 1,
        ("chef_failover_server_up", "server=main"): 0,
        ("chef_failover_server_up", "server=other"): 1,
        ("chef_failover_server_chosen", "server=other"): 1,
        ("chef_failover_server_chosen", "server=main"): 0,
        ("chef_failover_server_eligible", "server=main"): 0,
        ("chef_failover_server_outcome", "outcome=refused", "server=main"): 1,
        ("chef_failover_server_association", "server=other", "state=failed"): 1,
        ("chef_failover_server_ready", "server=other"): 1,
        ("chef_failover_server_hold_down_seconds", "server=main"): HOLD_DOWN_S,
        ("chef_failover_server_certificate_expiry_timestamp_seconds", "server=main"): ENDS.timestamp(),
        ("chef_failover_server_probe_age_seconds", "server=main"): 0.5,
        ("chef_failover_probes_total", "outcome=refused", "server=main"): 1,
        ("chef_failover_probe_duration_seconds_count", "server=other"): 1,
        ("chef_failover_probe_duration_seconds_count", "server=main"): 0,
        ("chef_failover_probe_duration_seconds_bucket", "le=0.025", "server=other"): 0,
        ("chef_failover_probe_duration_seconds_bucket", "le=0.05", "server=other"): 1,
        ("chef_failover_probe_duration_seconds_bucket", "le=+Inf", "server=other"): 1,
        ("chef_failover_association_attempts_total", "result=failed", "server=other"): 1,
        ("chef_failover_requests_total", "purpose=probe", "server=other"): 1,
        ("chef_failover_degraded",): 1,
        ("chef_failover_offline",): 0,
        ("chef_failover_choice_timestamp_seconds",): ON.timestamp(),
        ("chef_failover_failovers_total", "reason=down"): 1,
        ("chef_failover_failbacks_total", "reason=preferred"): 0,
        ("chef_failover_runs_total", "result=failed", "server=main"): 1,
        ("chef_failover_runs_total", "result=succeeded", "server=main"): 0,
        ("chef_failover_runs_under_way",): 1,
        ("chef_failover_runs_since_success",): 1,
        ("chef_failover_last_run_timestamp_seconds",): ON.timestamp(),
        ("chef_failover_last_run_success_timestamp_seconds",): ON.timestamp(),
        ("chef_failover_last_run_duration_seconds",): 3.5,
        ("chef_failover_faults_total",): 2,
        ("chef_failover_config_hash",): 7,
        ("chef_failover_config_last_reload_successful",): 1,
        ("chef_failover_config_last_reload_success_timestamp_seconds",): ON.timestamp(),
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("chef_failover_server_up", "server=third") not in found
    assert not any(name == "chef_failover_server_stale" for name, *_ in found)  # nothing was compared
    assert {name for name, *_ in found} <= {name for name, *_ in expected} | {
        "chef_failover_probe_duration_seconds_sum"
    }


def test_a_stale_server_could_take_over_all_the_same():
    def one(name, revision):
        return server(name, node_check=NodeCheck(0.0, WEB, content=Content(0.0, ("web", "prod"), revision)))

    servers = one("a", None), one("b", "old"), one("c", "new")
    used = {"used": Used((), "x", "web", "prod", "new"), "used_server": "a"}
    given = world(*servers, current="a", parity=ParityMode.REQUIRE, **used)
    found = samples(counters(attrs.evolve(given, servers=(*given.servers, server("d")))))
    shown = {key[1]: value for key, value in found.items() if key[0] == "chef_failover_server_stale"}
    assert shown == {"server=b": 1, "server=c": 0}
    assert found["chef_failover_server_eligible", "server=b"] == 1
    assert not any(math.isnan(value) for value in found.values())


def test_nothing_is_shown_that_nobody_knows_yet():
    found = samples(counters(world()))
    assert found["chef_failover_degraded",] == 0
    assert not any(name.startswith(("chef_failover_server", "chef_failover_last_run")) for name, *_ in found)


def test_a_node_that_has_not_probed_yet_is_not_called_degraded():
    assert samples(counters(world(server("main", Health.UNKNOWN))))["chef_failover_degraded",] == 0


def test_promtool_finds_nothing_to_complain_of(full):
    promtool = require_program("promtool", "prometheus")
    text = metrics.expose(full.registry).body
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.fixture
def http(tmp_path):
    def make(may_change):
        return create_app(Sidecar(config.parse(f"state_dir: {tmp_path}")), may_change=may_change).test_client()

    return make


@pytest.mark.parametrize("may_change", [True, False])
def test_both_listeners_serve_them_in_the_form_that_is_asked_for(http, may_change):
    client = http(may_change)
    plain = client.get("/metrics", base_url="http://localhost")
    assert (plain.status_code, plain.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "chef_failover_build_info" in plain.text
    opened = client.get("/metrics", base_url="http://localhost", headers={"Accept": OPENMETRICS})
    assert opened.content_type.startswith("application/openmetrics-text")
    assert opened.text.endswith("# EOF\n")
    assert client.head("/metrics", base_url="http://localhost").status_code == 200


def series(text):
    return {(one.name, *sorted(one.labels.items())) for family in parse(text) for one in family.samples}


def test_a_failover_is_seen_and_reloads_leave_nothing_behind(tmp_path):
    file = tmp_path / "chef_failover.prom"
    more = f"metrics: {{textfile: {file}}}\nlog_format: json\n"
    with dev_servers("mainserver", "standbyserver") as servers:
        path = write_config(tmp_path, servers, more=more)
        with daemon(path) as running:
            until(
                lambda: (
                    file.exists()
                    and file.read_text().count("server_up{") == 2
                    and 'server_up{server="mainserver"} 1.0' in file.read_text()
                )
            )
            running.ask("/v1/runs", method="POST", body={"run_id": "1", "event": "failed", "server": "mainserver"})
            until(lambda: 'runs_total{result="failed",server="mainserver"} 1.0' in file.read_text())
            servers[0].stop()
            until(lambda: 'failovers_total{reason="down"} 1.0' in file.read_text())
            before = series(file.read_text())
            for _ in range(3):
                count = running.log.count("reloaded")
                running.send(signal.SIGHUP)
                until(lambda count=count: running.log.count("reloaded") > count)
            until(lambda: series(file.read_text()) == before)
            path.write_text("nonsense: 1\n")
            running.send(signal.SIGHUP)
            until(lambda: "stays" in running.log)
            until(lambda: "last_reload_successful 0.0" in file.read_text())
            write_config(tmp_path, servers[1:])
            running.send(signal.SIGHUP)
            until(lambda: not file.exists())
            assert '"server": "mainserver", "from": "UP", "to": "DOWN"' in running.log
            until(lambda: running.log.splitlines()[-1].startswith("INFO reloaded"))


def test_the_file_is_written_on_change_and_every_so_often_and_trouble_is_said_once(tmp_path, caplog):
    count = [0]

    def text():
        count[0] += 1
        return b"x %d\n" % count[0]

    path = tmp_path / "a" / "x.prom"
    textfile = Textfile(text)
    assert textfile.step() == math.inf
    textfile.use(path)
    assert [textfile.step() for _ in range(3)] == [60.0] * 3
    assert caplog.text.count(f"cannot write metrics.textfile {path}: No such file or directory") == 1
    path.parent.mkdir()
    textfile.step()
    first = path.read_bytes()
    textfile.step()
    assert path.read_bytes() != first
    assert path.stat().st_mode & 0o777 == 0o644
    textfile.use(None)
    assert textfile.step() == math.inf
    assert not path.exists()


def test_the_library_is_not_loaded_before_somebody_asks(tmp_path):
    code = "import sys, chef_failover.cli.look, chef_failover.daemon.serve; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
