"""The question that client.d asks, which is answered at once, and the one that run_start asks, which waits."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chef_devserver.faults import Fault
from chef_failover.config import settings as config
from chef_failover.decide import asking
from chef_failover.decide.world import leave_alone
from chef_failover.engine import watch
from chef_failover.engine.runs import RunReport
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Health, Outcome
from tests.support.daemon_process import hear_all, until, write_config

TIMEOUT_S = 2
CALM = f"{{interval: 1h, retry_interval: 1h, timeout: {TIMEOUT_S}s}}"


@pytest.fixture
def make_sidecar(servers, tmp_path):
    """Gives a running sidecar, unless ``starts`` is false."""
    made = []

    def make(*, starts=True, health=CALM):
        made.append(Sidecar(config.load(write_config(tmp_path, servers, health=health))))
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
    hear_all(sidecar)
    while not all(server.health is Health.UP for server in sidecar.snapshot.servers):  # one was late on a busy host
        hear_all(sidecar)
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
    main, standby = (len(server.requests) for server in servers)
    began = time.monotonic()
    sidecar.choose_at_once(0)
    until(lambda: len(servers[0].requests) == main + 1)
    assert sidecar.choose_for_run(time.monotonic() - began)[1].name == "mainserver"
    assert [len(server.requests) for server in servers] == [main + 1, standby], "the standby sees none of it"


def test_after_a_failed_run_no_result_from_before_counts(make_sidecar, servers):
    """A daemon's run that follows at once tells the age of client.d, which was read before the failure."""
    sidecar = heard(make_sidecar(health=CALM.replace("}", ", fresh_for: 1h}")))
    servers[0].fault = Fault.SILENT
    assert sidecar.choose_for_run(3600)[1].name == "mainserver"
    sidecar.report_run(RunReport("a run", "failed", "mainserver"))
    assert sidecar.choose_for_run(3600)[1].name == "standbyserver"


def test_a_server_that_is_silent_has_the_next_one_probed_before_its_time_is_over(make_sidecar, servers):
    sidecar = heard(make_sidecar())
    servers[0].fault = Fault.SILENT
    assert sidecar.choose_for_run(0)[1].name == "standbyserver"
    main, standby = (sidecar.snapshot.server(server.name).last_probe for server in servers)
    assert main.outcome is Outcome.READ_TIMEOUT
    assert main.began_at < standby.began_at < main.finished_at


def test_a_better_server_that_is_down_is_probed_by_each_run_and_no_run_waits_for_it(make_sidecar, servers):
    sidecar = heard(make_sidecar())
    servers[0].fault = Fault.REFUSE
    for _ in range(3):
        sidecar.choose_for_run(0)
    assert sidecar.snapshot.server("mainserver").health is Health.DOWN
    servers[0].fault = Fault.SILENT
    began = time.monotonic()
    assert sidecar.choose_for_run(0)[1].name == "standbyserver"
    assert time.monotonic() - began < TIMEOUT_S
    assert sidecar.snapshot.server("mainserver").last_probe.outcome is Outcome.REFUSED, "probed a moment ago"


def test_a_better_server_that_is_back_is_noticed_by_the_next_run(make_sidecar, servers, monkeypatch):
    monkeypatch.setattr(asking, "MOMENT_S", 0.0)
    monkeypatch.setattr(watch, "MOMENT_S", 0.0)
    sidecar = heard(make_sidecar())
    servers[0].fault = Fault.REFUSE
    for _ in range(3):
        sidecar.choose_for_run(0)
    servers[0].fault = None
    for _ in range(2):
        began = sidecar.now()
        assert sidecar.choose_for_run(0)[1].name == "standbyserver"
        until(lambda began=began: sidecar.snapshot.server("mainserver").is_probed_since(began))
    assert sidecar.snapshot.server("mainserver").health is Health.UP


def test_a_server_that_asked_to_be_left_alone_is_left_alone_by_all(make_sidecar, servers):
    sidecar = heard(make_sidecar())
    sidecar.steer(leave_alone, "mainserver", 3600.0)
    before = len(servers[0].requests)
    assert sidecar.choose_for_run(0)[1].name == "standbyserver"
    sidecar._parts.watch.look_at("mainserver")
    sidecar._parts.watch.look_at("otherserver")
    sidecar.refresh()
    assert sidecar.choose_for_run(0)[1].name == "standbyserver"
    assert len(servers[0].requests) == before
    sidecar.associate("mainserver")
    until(lambda: len(servers[0].requests) > before)
    until(lambda: sidecar.choose_for_run(0)[1].name == "mainserver")


def probed_until_down(sidecar, name):
    for _ in range(3):
        began = sidecar.now()
        sidecar._parts.watch.look_at(name)
        until(lambda began=began: sidecar.snapshot.server(name).is_probed_since(began))
    until(lambda: sidecar.snapshot.server(name).health is Health.DOWN)


def test_when_the_server_in_use_goes_down_the_others_are_asked_and_the_node_moves(make_sidecar, servers):
    sidecar = heard(make_sidecar())
    servers[0].fault = Fault.REFUSE
    probed_until_down(sidecar, "mainserver")
    until(lambda: sidecar.snapshot.choice.name == "standbyserver")
    main, standby = sidecar.snapshot.servers
    assert standby.last_probe.finished_at >= main.liveness.changed_at


def test_when_all_servers_stop_at_once_the_node_stays_where_it_is(make_sidecar, servers):
    sidecar = heard(make_sidecar())
    for server in servers:
        server.fault = Fault.REFUSE
    probed_until_down(sidecar, "mainserver")
    until(lambda: sidecar.snapshot.server("standbyserver").last_probe.outcome is Outcome.REFUSED)
    probed_until_down(sidecar, "standbyserver")
    for server in servers:
        server.fault = None
    for _ in range(2):
        assert sidecar.choose_for_run(0)[1].name == "mainserver"
    assert sidecar.snapshot.choice.name == "mainserver"
    assert sidecar.snapshot.server("mainserver").health is Health.UP


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
        _, choice = asked.result(60)
    assert choice.name == "standbyserver"
    assert time.monotonic() - began >= TIMEOUT_S, "waited out"


def test_what_was_never_started_answers_and_stops(make_sidecar):
    _, choice = make_sidecar(starts=False).choose_for_run()
    assert choice.name == "mainserver"


def test_without_waiting_a_better_server_that_was_never_heard_of_is_waited_for(make_sidecar, servers):
    """Right after the start, when the standby happens to answer first."""
    servers[0].fault = Fault.SILENT
    sidecar = make_sidecar()
    sidecar.refresh(waits=False)
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
