"""The rows of the table: what happens to a fleet, and what is seen of it."""

from __future__ import annotations

import functools
import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from bench.fleet.aws import Bucket
from bench.fleet.clock import Clock
from bench.fleet.fleet import Fleet
from bench.fleet.node import Settings
from bench.fleet.report import Row, ratio_of_counts
from bench.fleet.server import OURS, READINGS, ChefServer, Kind, peak
from chef_failover.config.settings import Config, DiscoverySettings, FleetSettings
from chef_failover.config.source import parse_list_source
from chef_failover.decide.spread import MADE_FOR
from chef_failover.server_list.discovery import Discovery
from chef_failover.server_list.fetch import Fetched, Trouble, Unchanged

HOUR = 3600
DAY = 24 * HOUR


@attrs.frozen
class Scale:
    """``nodes`` is the fleet that is spoken of, ``sample`` multiplies the nodes that are simulated.

    What its sidecars do has to hold for 10,000 nodes of which they are not told; a larger fleet says its size to them.
    """

    nodes: int = 10_000
    sample: float = 1.0
    seed: int = 17

    def simulated(self, nodes: int, most: float = math.inf) -> int:
        """How many nodes are simulated where ``nodes`` is the usual number, ``most`` at the most."""
        return int(min(max(8, nodes * self.sample), most))

    def fleet(self, nodes: int) -> Fleet:
        """A fleet of that usual number."""
        return Fleet(self.simulated(nodes), self.seed, self.settings)

    @property
    def settings(self) -> Settings:
        """Of the sidecars."""
        size = self.nodes if self.nodes > MADE_FOR else None
        return Settings(Config(fleet=FleetSettings(size)))


@functools.cache
def _at_rest(scale: Scale) -> tuple[Fleet, float]:
    """A fleet of three servers at rest, and how long it was looked at."""
    fleet = scale.fleet(250)
    for name in ("main", "standby", "standby-2"):
        fleet.server(name)
    fleet.populate()
    fleet.settle()
    fleet.clock.run_until(2 * HOUR)
    return fleet, 2 * HOUR


def rest(scale: Scale) -> Iterator[Row]:
    """Nothing happens."""
    fleet, end = _at_rest(scale)
    runs = fleet.requests([Kind.RUN], 0, end)
    requests = {server.name: server.requests(OURS, 0, end) / runs for server in fleet.servers}
    sizes = {
        server.name: sum(server.requests([kind], 0, end) * kind.size for kind in OURS) / (runs * Kind.RUN.size)
        for server in fleet.servers
    }
    for kind in OURS:
        each = [server.requests([kind], 0, end) / end * scale.nodes / fleet.size for server in fleet.servers]
        if any(each):
            yield Row(f"  {kind.label}, 1/s on main", each[0], None, f"on a standby {each[1]:.3g}")
    yield Row("rest: our requests on a server : those of all runs", max(requests.values()), 0.10, _each(requests))
    yield Row("rest: bytes likewise", max(sizes.values()), 0.05, _each(sizes))


def missing_policy(scale: Scale) -> Iterator[Row]:
    """Somebody deletes the policy of all nodes on a standby, and it goes on lacking it."""
    fleet = scale.fleet(80)
    for name in ("main", "standby", "standby-2"):
        fleet.server(name)
    fleet.populate()
    fleet.settle(runs=False)
    lacking, well = fleet.servers[1:]
    lacking.has_policy = False
    fleet.clock.run_until(3 * DAY)
    there, rest = (
        [server.requests(READINGS, day * DAY, (day + 1) * DAY) for day in range(3)] for server in (lacking, well)
    )
    said = ", ".join(f"{one / max(1, other):.2g}" for one, other in zip(there, rest, strict=True))
    what = "a policy is missing on a standby: readings there : in rest, on the third day"
    yield ratio_of_counts(what, there[-1], rest[-1], 1.2, f"day by day {said}")


def all_start(scale: Scale) -> Iterator[Row]:
    """All nodes start a run in one second."""
    fleet = scale.fleet(500)
    fleet.server("main")
    standby = fleet.server("standby")
    fleet.populate()
    fleet.settle(runs=False)
    begin = 600
    for node in fleet.nodes:
        fleet.clock.at(begin + fleet.rng.random(), node.run)
    fleet.clock.run_until(begin + 60)
    asked = standby.requests([Kind.QUESTION], begin, begin + 60)
    yield Row("all start a run in one second: probes for it on a standby", asked, 0, f"{fleet.size} runs")


def outage(scale: Scale) -> Iterator[Row]:
    """Main dies for forty minutes, and comes back."""
    fleet = scale.fleet(500)
    main, standby = fleet.server("main"), fleet.server("standby")
    fleet.populate()
    fleet.settle()
    dies, back = 2 * HOUR, 2 * HOUR + 2400
    fleet.clock.at(dies, main.stop)
    fleet.clock.at(back, main.start)
    fleet.clock.run_until(back + 60)
    before = standby.requests(Kind, 0, dies) / dies * 600
    most = max(
        standby.requests(Kind, begin, begin + 600) / (before + fleet.requests([Kind.RUN], begin, begin + 600))
        for begin in range(dies, back - 600, 60)
    )
    yield Row("main dies: peak on the standby : (before + all runs of that time)", most, 1.15, "over 10 min")
    lost = sum(node.failed_runs for node in fleet.nodes) / fleet.size
    yield Row("  runs that failed, a node", lost, None, "those that main's death caught, and what followed them")
    resting = fleet.requests(READINGS, 0, dies) * 60 / dies
    read = fleet.requests(READINGS, back, back + 60)
    yield ratio_of_counts("main comes back: readings in the first minute : in rest", read, resting, 1.2)


def _moves(scale: Scale, nodes: int, downs: Sequence[tuple[float, float]], length: float = DAY) -> Fleet:
    """A fleet whose main server is down in these times."""
    fleet = scale.fleet(nodes)
    main, _ = fleet.server("main"), fleet.server("standby")
    fleet.populate()
    fleet.settle()
    for begin, end in downs:
        fleet.clock.at(begin, main.stop)
        fleet.clock.at(end, main.start)
    fleet.clock.run_until(length)
    return fleet


def regular(up_min: float, down_min: float) -> list[tuple[float, float]]:
    """A day of a server that is up and down so many minutes, again and again."""
    cycle = (up_min + down_min) * 60
    return [(begin + up_min * 60, begin + cycle) for begin in (n * cycle for n in range(int(DAY / cycle)))]


def patient(times: float) -> list[tuple[float, float]]:
    """A server that is down three minutes each time when the fleet has come back to it, if hold-downs double."""
    downs, at, hold_down = [], 1800.0, 600.0
    while at < DAY:
        downs.append((at, at + 180))
        at += 180 + times * hold_down + 2400
        hold_down = min(2 * hold_down, 4.0 * HOUR)
    return downs


def by_chance(seed: int, up_min: float, down_min: float) -> list[tuple[float, float]]:
    """Times up and down that are exponential around these minutes."""
    rng, at, downs = random.Random(seed), 0.0, []
    while at < DAY:
        begin = at + rng.expovariate(1 / (up_min * 60))
        at = begin + rng.expovariate(1 / (down_min * 60))
        downs.append((begin, at))
    return downs


def flapping(scale: Scale) -> Iterator[Row]:
    """Main goes up and down for a day."""
    for up_min, down_min in ((13, 2), (18, 2)):
        fleet = _moves(scale, 60, regular(up_min, down_min))
        what = f"main up {up_min} min, down {down_min}, for a day: moves of a node"
        yield Row(what, fleet.moves, 4, f"{fleet.most_moves} at most")
    patterns = {
        "up 30, down 5": regular(30, 5),
        "up 60, down 10": regular(60, 10),
        "up 120, down 3": regular(120, 3),
        "up 1.5 hold-downs": patient(1.5),
        "up 2 hold-downs": patient(2),
        "by chance": by_chance(scale.seed, 45, 5),
    }
    seen = {name: _moves(scale, 25, downs) for name, downs in patterns.items()}
    worst = max(seen, key=lambda name: seen[name].moves)
    most = max(fleet.most_moves for fleet in seen.values())
    said = _each({name: fleet.moves for name, fleet in seen.items()})
    yield Row("any other pattern: moves of a node", seen[worst].moves, 8, f"{most} at most; {said}")


def overloaded(scale: Scale) -> Iterator[Row]:
    """Main has 0.91 of the capacity that it needs for three hours, and the standby has just as much."""
    need = _load_of(scale, 0)
    fleet = scale.fleet(250)
    fleet.server("main", capacity=0.91 * need)
    fleet.server("standby", capacity=0.91 * need)
    fleet.populate()
    fleet.settle()
    fleet.clock.run_until(3 * HOUR)
    at_main = sum(node.snapshot.choice.name == "main" for node in fleet.nodes) / fleet.size
    failed = sum(node.failed_runs for node in fleet.nodes) / max(1, sum(node.runs for node in fleet.nodes))
    said = f"{fleet.most_moves} at most; at the end {at_main:.0%} on main; {failed:.1%} of runs failed"
    yield Row("main at 0.91 of what it needs, 3 h: moves of a node", fleet.moves, 4, said)
    yield Row("  ... part of the fleet that moves again within 10 min", fleet.most_moves_again(600), 0.5)


def held_down(scale: Scale) -> Iterator[Row]:
    """The fleet's outage drives a standby over its capacity; then main is back, and nothing needs the standby."""
    ours = _load_of(scale, 1)
    for rest_load in (0.58, 0.68):
        # Others' load fills up what it has in rest; the runs alone would then bring it to 1.2.
        capacity = max(1 / (1.2 - rest_load), ours / rest_load)
        fleet = scale.fleet(250)
        main = fleet.server("main", capacity=100)
        standby = fleet.server("standby", capacity=capacity, other=rest_load * capacity - ours)
        fleet.populate()
        fleet.settle()
        dies, back = HOUR, HOUR + 2700
        fleet.clock.at(dies, main.stop)
        fleet.clock.at(back, main.start)
        end = back + 2 * HOUR
        fleet.clock.run_until(end)
        before = standby.load(600, dies)
        kept_busy, at_rest = (
            [load(standby, back + 60 * minute) for minute in range(0, 111, 10)] for load in (_whole_load, _load_by_us)
        )
        late = [10 * (place + 1) for place, load in enumerate(at_rest) if load > before + 0.1 * (1 - before)]
        said = ", ".join(f"{kept_busy[minute // 10]:.2f} after {minute} min" for minute in (0, 10, 20, 40, 60, 110))
        said = f"load with runs {before:.2f} before, {standby.load(back - 900, back):.2f} in the outage, {said}"
        what = f"a standby at {rest_load} that the outage overloads: min until only runs keep it busy"
        yield Row(what, max(late, default=0), 20, said)


def _whole_load(server: ChefServer, begin: float) -> float:
    return server.load(begin, begin + 600)


def _load_by_us(server: ChefServer, begin: float) -> float:
    """Its load in these ten minutes without the runs of the fleet, whether it took a request in or not."""
    asked_s = sum(server.requests([kind], begin, begin + 600) * kind.cpu_s for kind in OURS)
    return (server.other + asked_s / 600) / server.cores


def restored(scale: Scale) -> Iterator[Row]:
    """A server comes back restored from nothing: all nodes register, and have their objects made, once more."""
    for index, name in enumerate(("main", "standby")):
        fleet = scale.fleet(400)
        fleet.server("main"), fleet.server("standby")
        fleet.populate()
        fleet.settle()
        server, at = fleet.servers[index], 2 * HOUR
        fleet.clock.at(at, server.forget)
        fleet.clock.run_until(at)
        resting = fleet.servers[0].requests(Kind, 0, at) / at
        fleet.clock.run_until(at + 2 * HOUR)
        most = server.peak(Kind, at, at + 2 * HOUR, 120)
        yield Row(f"{name} restored empty: peak of requests : main's in rest", most / resting, 3, "over 2 min")
        took = [
            server.seeded_at.get(node.name, math.inf) - node.turned_away_at.get(server.name, at) for node in fleet.nodes
        ]
        all_done_at = max(server.seeded_at.get(node.name, math.inf) for node in fleet.nodes)
        said = f"the last node {(all_done_at - at) / 60:.0f} min after the server was back, when its turn had come"
        yield Row("  ... done, after a node was first turned away, min", max(took) / 60, 30, said)
        idle = sum(node.idle_runs for node in fleet.nodes)
        by = f"by {fleet.size} nodes in 2 h"
        yield Row("  ... runs that did nothing, for want of the node's object", idle, 0, by)


def registrations(scale: Scale) -> Iterator[Row]:
    """A fleet boots in one second, and five registrations a second are allowed."""
    for nodes, unknown_bar in ((1_000, 2.0), (10_000, 5.0), (100_000, 10.0)):
        for known, bar in ((None, unknown_bar), (nodes, 2.0)):
            config = Config(fleet=FleetSettings(known))
            fleet = Fleet(scale.simulated(500, most=nodes), scale.seed, Settings(config))
            # The burst does not shrink: chance gathers as many arrivals whatever the time they take.
            bucket = Bucket(fleet.clock, 5 * fleet.size / nodes, 10)
            main = fleet.server("main", registrations=bucket)
            main.clients, main.objects = set(), set()
            fleet.populate()
            for node in fleet.nodes:
                fleet.clock.at(fleet.rng.random(), node.boots)
            ideal_s = nodes / 5
            while len(main.clients) < fleet.size and fleet.clock.now < 20 * ideal_s:
                fleet.clock.run_until(fleet.clock.now + ideal_s / 100)
            what = f"5 registrations a second, {nodes:,} nodes{', known' if known else ''}: calls made : taken"
            yield Row(what, bucket.calls / bucket.taken, bar, chance=0.05 * bar)
            yield Row("  ... time : ideal", fleet.clock.now / ideal_s, 1.5, chance=0.05)


def key_reads(scale: Scale) -> Iterator[Row]:
    """A server joins the list of 100,000 nodes, which find its validator's key in the Parameter Store."""
    fleet = scale.fleet(1000)
    factor = fleet.size / 100_000
    bucket = Bucket(fleet.clock, 40 * factor, 40)
    fleet.server("main")
    joined = fleet.server("standby")
    fleet.populate(validator_key=bucket)
    fleet.settle(runs=False)
    joined.clients, joined.objects = set(), set()
    for node in fleet.nodes:
        fleet.clock.at(60 + 10 * fleet.rng.random(), node.meets, 1)
    fleet.clock.run_until(2 * HOUR)
    said = f"{bucket.calls / max(1, bucket.taken):.2f} asked : taken; {len(joined.clients) / fleet.size:.0%} in 2 h"
    what = "40 reads of a key a second, 100,000 nodes: peak asked over a minute, 1/s"
    chance = 2.33 * math.sqrt(250 * 60 * factor) / (60 * factor)
    yield Row(what, peak(bucket.asked, 60) / factor, 250, said, chance)


def list_reads(scale: Scale) -> Iterator[Row]:
    """100,000 nodes ask the Parameter Store for their list every five minutes; it allows 40 a second."""
    logging.getLogger("chef_failover.server_list").setLevel(logging.CRITICAL)
    clock, rng = Clock(), random.Random(scale.seed)
    nodes = scale.simulated(600)
    factor = nodes / 100_000
    bucket = Bucket(clock, 40 * factor, 40)
    settings = DiscoverySettings(source=parse_list_source("ssm:/fleet"), region="eu-central-1")
    config = Config(discovery=settings, state_dir=Path("/nonexistent"))

    def fetch(_: object, version: str | None) -> Fetched | Trouble | Unchanged:
        if version is None:
            return Fetched("servers: [{name: main, url: 'https://main.example.com'}]", "1")
        return Unchanged() if bucket.take() else Trouble("throttled", is_passing=True, is_throttled=True)

    def step(one: Discovery) -> None:
        clock.at(clock.now + one.step(), step, one)

    for _ in range(nodes):
        one = Discovery(config, lambda _: None, fetch=fetch, rng=rng)
        one.step()  # each has had the list
        clock.at(rng.random() * settings.interval, step, one)
    clock.run_until(2 * HOUR)
    made = sum(n for second, n in bucket.asked.items() if second >= HOUR) / HOUR / factor
    wanted = 100_000 / settings.interval
    yield Row("40 reads of the list a second, 100,000 nodes: made : wanted", made / wanted, 1.0, f"{made:.0f}/s made")


def boot(scale: Scale) -> Iterator[Row]:
    """2,000 instances boot in one second."""
    fleet = Fleet(scale.simulated(2_000, most=2_000), scale.seed, scale.settings)
    factor = fleet.size / 2_000
    for name in ("main", "standby", "standby-2"):
        server = fleet.server(name)
        server.clients, server.objects = set(), set()
    fleet.populate()
    for node in fleet.nodes:
        fleet.clock.at(fleet.rng.random(), node.boots)
    main = fleet.servers[0]
    done_at = math.inf
    for second in range(1, 61):
        fleet.clock.run_until(second)
        if len(main.clients) == fleet.size:
            done_at = min(done_at, second)
    peaks = [server.peak(OURS, 0, 60, 1) / factor for server in fleet.servers]
    yield Row("2,000 boot in one second: peak of our requests on main, 1/s", peaks[0], 2000)
    yield Row("  ... on a standby, 1/s", max(peaks[1:]), 100)
    yield Row("  ... all registered on main after s", done_at, 60)


def _load_of(scale: Scale, index: int) -> float:
    """What a server has to do in rest, as a multiple of what the runs alone need."""
    fleet, end = _at_rest(scale)
    server = fleet.servers[index]
    return server.load(0, end) * server.cores / fleet.need


def _each(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {figure:.3g}" for name, figure in figures.items())


SCENARIOS: tuple[Callable[[Scale], Iterator[Row]], ...] = (
    rest,
    missing_policy,
    all_start,
    outage,
    flapping,
    overloaded,
    held_down,
    restored,
    registrations,
    key_reads,
    list_reads,
    boot,
)
