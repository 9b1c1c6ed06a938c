"""The question that client.d asks, which is answered at once, and the one that run_start asks, which waits."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chef_devserver.faults import Fault
from chef_failover.config import settings as config
from chef_failover.engine import watch
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Health, Outcome
from tests.support.daemon_process import until, write_config

TIMEOUT_S = 2
CALM = f"{{interval: 1h, retry_interval: 1h, timeout: {TIMEOUT_S}s}}"


@pytest.fixture
def make_sidecar(servers, tmp_path):
    """Gives a running sidecar, unless ``starts`` is false."""
    made = []

    def make(*, starts=True):
        made.append(Sidecar(config.load(write_config(tmp_path, servers, health=CALM))))
        if starts:
            made[-1].start()
        return made[-1]

    yield make
    for server in servers:
        server.fault = None
    for sidecar in made:
        assert sidecar.stop(5)


def heard(sidecar):
    """A sidecar that has heard of all its servers."""
    sidecar.choose_for_run()
    until(lambda: all(server.health is Health.UP for server in sidecar.snapshot.servers))
    return sidecar


def test_without_waiting_the_latest_results_count_and_probes_begin(make_sidecar, servers):
    sidecar = heard(make_sidecar())
    servers[0].fault = Fault.SILENT
    began = time.monotonic()
    _, choice = sidecar.choose_at_once(0)
    assert choice.name == "mainserver"
    assert time.monotonic() - began < TIMEOUT_S
    until(lambda: sidecar.snapshot.server("mainserver").last_probe.outcome is Outcome.READ_TIMEOUT)
    _, choice = sidecar.choose_at_once(0)
    assert [choice.name, choice.passed_over[0].name] == ["standbyserver", "mainserver"]


def test_the_question_that_follows_finds_the_probe_of_the_first_and_causes_none(make_sidecar, servers):
    sidecar = heard(make_sidecar())
    before = [len(server.requests) for server in servers]
    began = time.monotonic()
    sidecar.choose_at_once(0)
    until(lambda: [len(server.requests) for server in servers] == [count + 1 for count in before])
    assert sidecar.choose_for_run(time.monotonic() - began)[1].name == "mainserver"
    assert [len(server.requests) for server in servers] == [count + 1 for count in before]


def test_no_result_from_before_the_run_counts(make_sidecar, servers):
    sidecar = heard(make_sidecar())
    servers[0].fault = Fault.REFUSE
    assert sidecar.choose_for_run()[1].name == "mainserver", "fresh_for is a second"
    assert sidecar.choose_for_run(0)[1].name == "standbyserver"


def test_without_waiting_there_is_no_answer_before_any_server_was_heard(make_sidecar, servers):
    for server in servers:
        server.fault = Fault.SILENT
    assert make_sidecar().choose_at_once() is None


def test_a_run_that_asks_before_probing_begins_has_a_whole_probe_s_time(make_sidecar, servers, monkeypatch):
    """The daemon answers while it still loads what probes."""
    monkeypatch.setattr(watch, "START_S", 60)
    servers[0].fault = Fault.SILENT
    sidecar = make_sidecar(starts=False)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(sidecar.choose_for_run)
        time.sleep(2 * watch.ANSWER_SLACK_S)
        sidecar.start()
        began = time.monotonic()
        _, choice = asked.result(20)
    assert choice.name == "standbyserver"
    assert time.monotonic() - began >= TIMEOUT_S, "waited out"


def test_what_was_never_started_answers_and_stops(make_sidecar):
    _, choice = make_sidecar(starts=False).choose_for_run()
    assert choice.name == "mainserver"


def test_without_waiting_a_better_server_that_was_never_heard_of_is_waited_for(make_sidecar, servers):
    """Right after the start, when the standby happens to answer first."""
    servers[0].fault = Fault.SILENT
    sidecar = make_sidecar()
    sidecar.choose_at_once()  # has both probed
    until(lambda: sidecar.snapshot.server("standbyserver").health is Health.UP)
    assert sidecar.choose_at_once() is None
    until(lambda: sidecar.snapshot.server("mainserver").last_probe)
    _, choice = sidecar.choose_at_once()
    assert choice.name == "standbyserver"


def test_a_person_who_looks_has_old_results_renewed_and_waits_for_them(make_sidecar, servers, monkeypatch):
    sidecar = heard(make_sidecar())
    servers[0].fault = Fault.REFUSE
    before = [len(server.requests) for server in servers]
    sidecar.refresh()
    assert sidecar.snapshot.server("mainserver").last_probe.outcome is Outcome.OK
    assert [len(server.requests) for server in servers] == before, "nothing is older than ten seconds"
    monkeypatch.setattr(watch, "LOOK_S", 0.0)
    sidecar.refresh()
    assert sidecar.snapshot.server("mainserver").last_probe.outcome is Outcome.REFUSED
    assert len(servers[1].requests) > before[1]


def test_a_look_waits_for_a_silent_server_no_longer_than_a_probe_takes(make_sidecar, servers):
    servers[0].fault = Fault.SILENT
    sidecar = make_sidecar()
    sidecar.refresh()
    assert sidecar.snapshot.server("standbyserver").health is Health.UP
    until(lambda: sidecar.snapshot.server("mainserver").health is Health.DOWN)  # a busy host may be late


def test_what_was_never_started_is_looked_at_as_it_is(make_sidecar):
    sidecar = make_sidecar(starts=False)
    sidecar.refresh()
    assert {server.health for server in sidecar.snapshot.servers} == {Health.UNKNOWN}
