import datetime
import threading

import attrs
import pytest

from chef_failover.metrics.counts import BUCKETS_S, CAUSES, Durations, Move, move_between
from chef_failover.metrics.tally import Tally
from chef_failover.model.model import Association, Health, Outcome, ProbeResult, Registration, Standing
from tests.support.builders import ON, bare, drain, pin, probed, server, with_failback, world

DRAINED = {"drain": drain("main")}


def down(snapshot, name):
    for at in range(3):
        snapshot = probed(snapshot, name, Outcome.REFUSED, float(at))
    return snapshot


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
        (world(attrs.evolve(MAIN, **DRAINED), OTHER), (Move.FAILOVER, "drained")),
        (world(MAIN, OTHER, pin=pin("other")), (Move.FAILOVER, "pinned")),
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


def test_durations_fall_into_their_buckets():
    durations = Durations()
    for duration_s in (0.0, BUCKETS_S[0], 0.011, 99.0):
        durations = durations.add(duration_s)
    assert durations.counts == (2, 1, *(0 for _ in BUCKETS_S[2:]), 1)
    assert durations.sum_s == pytest.approx(99.021)


def test_what_is_counted():
    tally = Tally(lambda: ON)
    tally.watch(["main", "other"])
    tally.probed("main", ProbeResult(Outcome.OK, "", 1.0, latency_s=0.02))
    tally.probed("main", ProbeResult(Outcome.REFUSED, "", 1.0))
    tally.probed("gone", ProbeResult(Outcome.OK, "", 1.0, latency_s=0.02))
    before = world(MAIN, OTHER, current="main")
    tally.changed(before, down(before, "main"))
    tally.changed(before, before)
    requested, failed = Registration(Association.REQUESTED), Registration(Association.FAILED)
    tally.registered("main", failed, requested)
    tally.registered("main", requested, requested)
    tally.registered("main", requested, failed)
    tally.registered("gone", requested, failed)
    tally.ran("main", "succeeded")
    tally.ran("whatever a report says", "failed")
    tally.ran(None, "failed")
    counts = tally.read()
    assert counts.probes == {("main", "ok"): 1, ("main", "refused"): 1}
    assert sum(counts.durations["main"].counts) == 1
    assert {key: count for key, count in counts.moves.items() if count} == {("failover", "down"): 1}
    assert len(counts.moves) == len(Move) * len(CAUSES)
    assert counts.attempts == {("main", "failed"): 1}
    assert {key: count for key, count in counts.runs.items() if count} == {
        ("main", "succeeded"): 1, ("other", "failed"): 2,
    }  # fmt: skip


def test_reloads_are_told_apart():
    now = [ON]
    tally = Tally(lambda: now[0])
    now[0] = later = ON + datetime.timedelta(hours=1)
    tally.reloaded(is_good=False)
    assert (tally.read().is_reload_good, tally.read().reloaded_on) == (False, ON)
    tally.reloaded(is_good=True)
    assert (tally.read().is_reload_good, tally.read().reloaded_on) == (True, later)


def size(counts):
    return sum(len(getattr(counts, field.name)) for field in attrs.fields(type(counts))[:5])


def test_neither_time_nor_reloads_make_it_grow():
    tally = Tally()
    sizes = set()
    for number in range(100):
        names = [f"main{number}", f"standby{number}"]
        tally.watch(names)
        for name in names:
            for outcome in Outcome:
                tally.probed(name, ProbeResult(outcome, "", 0.0, latency_s=0.1))
            tally.registered(name, Registration(Association.REQUESTED), Registration(Association.FAILED))
        tally.ran(f"run on {number}", "failed")
        sizes.add(size(tally.read()))
    assert len(sizes) == 1


def test_nothing_is_lost_when_many_count():
    tally = Tally()
    tally.watch(["main"])
    threads = [threading.Thread(target=lambda: [tally.ran("main", "failed") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.read().runs["main", "failed"] == 4000
