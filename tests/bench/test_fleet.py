"""What a simulated fleet does to its servers stays within the bars; the parts of the simulation are what they say."""

import pytest

from bench.fleet.aws import Bucket
from bench.fleet.clock import Clock
from bench.fleet.report import Row, ratio_of_counts
from bench.fleet.scenarios import SCENARIOS, Scale, boot
from bench.fleet.server import ChefServer, Kind

SMALL = Scale(sample=0.2)
SLACK = 0.2
"""What so small a sample may exceed a bar by. ``make simulate`` is strict."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_small_fleet_stays_within_the_bars(scenario):
    rows = [row for row in scenario(SMALL) if row.bar is not None]
    assert rows
    assert [row for row in rows if row.figure > (1 + SLACK) * row.bar + row.chance] == []


def test_the_same_seed_gives_the_same_figures():
    first, second = ([row.figure for row in boot(Scale(sample=0.05))] for _ in range(2))
    assert first == second
    assert first != [row.figure for row in boot(Scale(sample=0.05, seed=18))]


def test_events_happen_in_the_order_of_their_instants():
    clock, seen = Clock(), []
    for instant in (3.0, 1.0, 2.0, 1.0):
        clock.at(instant, lambda at: seen.append((clock.now, at)), instant)
    clock.run_until(2.5)
    assert (clock.now, seen) == (2.5, [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)])


def test_a_bucket_lets_its_burst_through_and_then_its_rate():
    clock = Clock()
    bucket = Bucket(clock, rate=2, burst=5)
    assert [bucket.take() for _ in range(7)] == [True] * 5 + [False] * 2
    clock.run_until(1.0)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    assert (bucket.calls, bucket.taken) == (10, 7)


def test_a_server_refuses_beyond_its_backlog_and_works_for_who_has_left():
    clock = Clock()
    server = ChefServer(clock, "main", cores=Kind.RUN.cpu_s)  # a second for each request
    assert [server.ask(Kind.RUN).status for _ in range(12)] == [200] * 11 + [503]
    clock.run_until(5.0)
    assert 6 < server.ask(Kind.RUN).at - clock.now < 8
    clock.run_until(60.0)
    assert server.ask(Kind.RUN).at - clock.now < 1.1


def test_a_dead_server_refuses_and_comes_back_with_an_empty_queue():
    clock = Clock()
    server = ChefServer(clock, "main", cores=Kind.RUN.cpu_s)
    for _ in range(5):
        server.ask(Kind.RUN)
    server.stop()
    assert server.ask(Kind.PROBE).status == 0
    server.start()
    assert server.ask(Kind.PROBE).at < 1


@pytest.mark.parametrize(("count", "is_met"), [(12, True), (16, True), (80, False)])
def test_few_events_are_judged_with_what_chance_explains(count, is_met):
    assert ratio_of_counts("events", count, expected=10, bar=1.2).is_met is is_met


def test_a_row_without_a_bar_is_for_information():
    assert Row("events", 3, None).is_met is None
