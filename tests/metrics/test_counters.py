import datetime
import threading

import pytest

from chef_failover.metrics.counters import Counters, Purpose
from chef_failover.metrics.moves import CAUSES, Move, move_between
from chef_failover.metrics.series import BUCKETS_S
from chef_failover.model.model import Health, Outcome, ProbeResult, Registration, RegistrationState, Standing
from tests.support.builders import ON, bare, drain, pin, probed, server, with_failback, world


def down(snapshot, name):
    for at in range(3):
        snapshot = probed(snapshot, name, Outcome.REFUSED, float(at))
    return probed(snapshot, "other", Outcome.OK, 2.0)


MAIN, OTHER = server("main"), server("other")


def test_a_failover_and_a_failback_have_a_cause():
    before = world(MAIN, OTHER, current="main")
    failed = down(before, "main")
    assert move_between(before, failed) == (Move.FAILOVER, "down")
    back = with_failback(failed, 0.0)
    for at in (10.0, 11.0):
        back = probed(back, "main", Outcome.OK, at)
    assert back.choice.name == "main"
    assert move_between(failed, back) == (Move.FAILBACK, "preferred")
    assert move_between(back, back) is None


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (world(MAIN, drain("main"), OTHER), (Move.FAILOVER, "drained")),
        (world(MAIN, OTHER, pin("other")), (Move.FAILOVER, "pinned")),
        (world(server("another"), OTHER), (Move.FAILOVER, "removed")),
        (world(server("main", Health.DOWN), server("a"), failback_s=0.0), (Move.FAILBACK, "down")),
        (bare(MAIN), None),
    ],
)
def test_other_causes(after, told):
    assert move_between(world(MAIN, OTHER, current="main"), after) == told


def test_every_cause_that_is_shown_from_the_start_is_a_word_for_something():
    words = {standing.name.lower() for standing in Standing} | {"preferred", "pinned", "removed"}
    assert set(CAUSES) <= words


def shown(counters, metric):
    """Every sample of ``metric``, by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in counters.registry.collect()
        for sample in family.samples
        if sample.name == f"chef_failover_{metric}"
    }


def counted(counters, metric):
    """Those that are not 0."""
    return {labels: value for labels, value in shown(counters, metric).items() if value}


def test_durations_fall_into_their_buckets():
    counters = Counters()
    counters.watch(["main"])
    for duration_s in (0.0, BUCKETS_S[0], 0.011, 99.0):
        counters.probed("main", ProbeResult(Outcome.OK, "", 1.0, latency_s=duration_s))
    buckets = shown(counters, "probe_duration_seconds_bucket")
    assert list(buckets) == [("main", str(bound)) for bound in (*BUCKETS_S, "+Inf")]
    assert list(buckets.values()) == [2, *(3 for _ in BUCKETS_S[1:]), 4]
    assert shown(counters, "probe_duration_seconds_sum") == {("main",): pytest.approx(99.021)}


def test_what_is_counted():
    counters = Counters(lambda: ON)
    counters.watch(["main", "other"])
    counters.probed("main", ProbeResult(Outcome.OK, "", 1.0, latency_s=0.02))
    counters.probed("main", ProbeResult(Outcome.REFUSED, "", 1.0))
    counters.probed("gone", ProbeResult(Outcome.OK, "", 1.0, latency_s=0.02))
    before = world(MAIN, OTHER, current="main")
    counters.changed(before, down(before, "main"))
    counters.changed(before, before)
    requested, failed = Registration(RegistrationState.REQUESTED), Registration(RegistrationState.FAILED)
    counters.registered("main", failed, requested)
    counters.registered("main", requested, requested)
    counters.registered("main", requested, failed)
    counters.registered("gone", requested, failed)
    for purpose in (Purpose.PROBE, Purpose.PROBE, Purpose.READING):
        counters.requested("main", purpose)
    counters.requested("gone", Purpose.PROBE)
    counters.requested("", Purpose.LIST)
    counters.ran("main", "succeeded")
    counters.ran("whatever a report says", "failed")
    counters.ran(None, "failed")
    assert shown(counters, "probes_total") == {("main", "ok"): 1, ("main", "refused"): 1}
    assert shown(counters, "probe_duration_seconds_count") == {("main",): 1, ("other",): 0}
    assert counted(counters, "failovers_total") == {("down",): 1}
    assert counted(counters, "failbacks_total") == {}
    for move in Move:
        assert {cause for (cause,) in shown(counters, f"{move}s_total")} == set(CAUSES)
    assert shown(counters, "association_attempts_total") == {("main", "failed"): 1}
    requests = {("main", "probe"): 2, ("main", "reading"): 1, ("", "list"): 1}
    assert shown(counters, "requests_total") == requests
    assert counted(counters, "runs_total") == {("main", "succeeded"): 1, ("other", "failed"): 2}
    counters.watch(["other"])
    assert shown(counters, "requests_total") == {("", "list"): 1}


def test_servers_that_are_named_before_anything_is_counted_are_shown_at_once():
    counters = Counters()
    counters.watch(["gone", "main"])
    counters.watch(["main"])
    assert shown(counters, "runs_total") == {("main", "failed"): 0, ("main", "succeeded"): 0}


def test_reloads_are_told_apart():
    now = [ON]
    counters = Counters(lambda: now[0])
    now[0] = later = ON + datetime.timedelta(hours=1)

    def told():
        when = shown(counters, "config_last_reload_success_timestamp_seconds")
        return shown(counters, "config_last_reload_successful")[()], when[()]

    assert told() == (1, ON.timestamp())
    counters.reloaded(is_good=False)
    assert told() == (0, ON.timestamp())
    counters.reloaded(is_good=True)
    assert told() == (1, later.timestamp())


def test_neither_time_nor_reloads_make_it_grow():
    counters = Counters()
    sizes = set()
    for number in range(100):
        names = [f"main{number}", f"standby{number}"]
        counters.watch(names)
        for name in names:
            for outcome in Outcome:
                counters.probed(name, ProbeResult(outcome, "", 0.0, latency_s=0.1))
            counters.registered(name, Registration(RegistrationState.REQUESTED), Registration(RegistrationState.FAILED))
        counters.ran(f"run on {number}", "failed")
        sizes.add(sum(len(family.samples) for family in counters.registry.collect()))
    assert len(sizes) == 1


def test_a_server_that_leaves_takes_its_series_with_it():
    counters = Counters()
    counters.watch(["main", "standby"])
    for name in ("main", "standby"):
        counters.probed(name, ProbeResult(Outcome.OK, "", 0.0, latency_s=0.1))
        counters.registered(name, Registration(RegistrationState.REQUESTED), Registration(RegistrationState.FAILED))
        counters.ran(name, "failed")
    counters.ran("elsewhere", "failed")
    counters.watch(["standby"])
    servers = {sample.labels.get("server") for family in counters.registry.collect() for sample in family.samples}
    assert servers == {None, "standby", "other"}


def test_nothing_is_lost_when_many_count():
    counters = Counters()
    counters.watch(["main"])

    def count():
        for _ in range(500):
            counters.ran("main", "failed")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(counters, "runs_total") == {("main", "failed"): 4000}
