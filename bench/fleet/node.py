"""One node: the project's own decisions, driven by the simulated clock.

No other module knows how `engine` calls them. What is real: every function of `decide` that is imported here, and the
constants of `chef`, `engine` and `registration`. What stands in for the engine: when a task is due is an event of the
clock, and a conversation with a Chef server is `bench.fleet.server`.
"""

from __future__ import annotations

import datetime
import functools
import math
import random
from collections.abc import Callable, Sequence

import attrs

from bench.fleet.aws import Bucket
from bench.fleet.chef_client import Failure, Run, pause_s
from bench.fleet.clock import Clock
from bench.fleet.server import ChefServer, Kind
from chef_failover.chef.probes import STATUS_INTERVAL_S
from chef_failover.config.settings import Config
from chef_failover.decide import reading, seeding, world
from chef_failover.decide.asking import MOMENT_S, server_to_settle, servers_to_ask
from chef_failover.decide.pace import probe_from
from chef_failover.decide.registration import advance as advance_registration
from chef_failover.decide.registration import hurried, is_urgent, put_off, spans
from chef_failover.decide.selection import select_for_run
from chef_failover.decide.spread import JITTER
from chef_failover.engine.registrar import LOOK_S
from chef_failover.engine.watch import ANSWER_SLACK_S, HEAD_START_S, START_S
from chef_failover.model import run_history
from chef_failover.model.model import (
    Health,
    NodeCheck,
    Outcome,
    Pace,
    ProbeResult,
    Registration,
    RegistrationState,
    SelectionPolicy,
    ServerSnapshot,
    Snapshot,
    Thresholds,
)
from chef_failover.model.needs import Content, NodeObject, ParityMode, ReadinessMode, ReadinessPolicy
from chef_failover.model.question import Look
from chef_failover.model.registration import Answer, Event

BEGAN_ON = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
POLICY = ("webserver", "production")
OBJECT = NodeObject(policy_name=POLICY[0], policy_group=POLICY[1])
NOTHING = run_history.Used()
REVISION = "4f1c" * 16
USED = run_history.Used(policy_name=POLICY[0], policy_group=POLICY[1], policy_revision=REVISION)
_REFUSALS = {0: Outcome.REFUSED, 429: Outcome.BUSY, 503: Outcome.MAINTENANCE}


@attrs.frozen
class Settings:
    """What the configuration says, with the defaults of config.yml."""

    config: Config = Config()

    @property
    def pace(self) -> Pace:
        """Between probes."""
        return Pace(self.config.health.interval, self.config.health.retry_interval)

    @property
    def thresholds(self) -> Thresholds:
        """Rise and fall."""
        return Thresholds(self.config.health.rise, self.config.health.fall)


class _Watched:
    """What the engine's monitor, registrar and upkeep of one server remember."""

    __slots__ = (
        "asked_at",
        "began_at",
        "chance",
        "index",
        "is_awaited",
        "is_working",
        "last_at",
        "probe_at",
        "probe_chance",
        "seeded_at",
        "server",
        "status_asked_at",
        "status_due_at",
        "upkeep_at",
        "wanted_at",
        "wanted_from",
    )

    def __init__(self, index: int, server: ChefServer, rng: random.Random) -> None:
        self.index = index
        self.server = server
        self.wanted_at = self.upkeep_at = self.probe_at = math.inf
        self.last_at = self.wanted_from = self.asked_at = self.seeded_at = -math.inf
        self.status_asked_at = self.status_due_at = -math.inf
        self.began_at: float | None = None
        self.is_awaited = self.is_working = False
        self.chance, self.probe_chance = rng.random(), rng.random()


class Node:
    """A node with its sidecar and its chef-client.

    Args:
        name: of the node.
        clock: the time.
        servers: in order of preference.
        priorities: of each; equal ones make equals.
        settings: of the sidecar.
        rng: chance.
        validator_key: what limits reads of the validator's key; None where it lies on the node's disk.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        servers: Sequence[ChefServer],
        *,
        priorities: Sequence[int],
        settings: Settings,
        rng: random.Random,
        validator_key: Bucket | None = None,
    ) -> None:
        self.name = name
        self.moves: list[float] = []
        """When the settled choice moved."""
        self.turned_away_at: dict[str, float] = {}
        """When each server was first found not to know this node."""
        self.runs = self.failed_runs = self.idle_runs = 0
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._validator_key = validator_key
        self._watched = [_Watched(index, server, rng) for index, server in enumerate(servers)]
        self._question: _Question | None = None
        self._begun_at = -math.inf
        self._looks_from = [-math.inf] * len(servers)
        self._spans = spans(settings.config.selection.failback, settings.config.fleet.nodes)
        policy = SelectionPolicy(
            settings.config.selection.failback,
            name,
            ReadinessPolicy(ReadinessMode(settings.config.readiness)),
            ParityMode(settings.config.parity),
            settings.thresholds,
        )
        self.snapshot = Snapshot(
            tuple(
                ServerSnapshot(one.name, f"https://{one.name}", f"https://{one.name}/organizations/default", priority)
                for one, priority in zip(servers, priorities, strict=True)
            ),
            policy,
        )

    # --- how it begins ------------------------------------------------------------------------------------------------

    def has_run_for_days(self) -> None:
        """Everything is known, and was last looked at when chance has it."""
        nobody = attrs.evolve(self.snapshot.policy, identity="")
        known = _known(self.snapshot.servers, nobody)
        known = attrs.evolve(known, policy=self.snapshot.policy, choice=None)
        self.snapshot = world.refresh_choice(known, now=self._clock.now, on=self._on)
        interval_s = self._settings.pace.interval_s
        for one in self._watched:
            probed_at = -self._rng.random() * interval_s
            read_at = -self._rng.random() * reading.DAY_S
            one.last_at = probed_at
            one.status_due_at = self._rng.random() * STATUS_INTERVAL_S
            server = self.snapshot.servers[one.index]
            probe = attrs.evolve(server.last_probe, finished_at=probed_at)
            check = attrs.evolve(server.node_check, read_at=read_at, node_read_at=read_at)
            server = attrs.evolve(server, last_probe=probe, last_alive_probe=probe, node_check=check)
            self.snapshot = self.snapshot.with_server(server)
        self._plan()
        self._look_after()

    def boots(self) -> None:
        """Nothing is known; the node registers with every server."""
        unregistered = Registration(RegistrationState.UNREGISTERED)
        for one in self._watched:
            server = attrs.evolve(self.snapshot.servers[one.index], registration=unregistered)
            self.snapshot = self.snapshot.with_server(server)
        self._begin()

    def meets(self, index: int) -> None:
        """The server of that place has just come into the fleet's list, unknown and unregistered, since that is new."""
        one = self._watched[index]
        fresh = ServerSnapshot(
            one.server.name,
            f"https://{one.server.name}",
            f"https://{one.server.name}/organizations/default",
            self.snapshot.servers[index].priority,
            registration=Registration(RegistrationState.UNREGISTERED),
        )
        self.snapshot = self.snapshot.with_server(fresh)
        one.last_at = one.status_due_at = -math.inf
        self._begin()

    def _begin(self) -> None:
        """As `engine.assembly` begins: first attempts to register are spread."""
        now = self._begun_at = self._clock.now
        self.snapshot = world.refresh_choice(self.snapshot, now=now, on=self._on)
        for one in self._watched:
            self._looks_from[one.index] = now + self._rng.random() * self._spans.boot_s
            server = self.snapshot.servers[one.index]
            if not server.is_registered:
                hurries, chance = is_urgent(self.snapshot, server.name), self._rng.random()
                registration = put_off(server.registration, self._spans, now=now, chance=chance, is_urgent=hurries)
                self.snapshot = self.snapshot.with_server(attrs.evolve(server, registration=registration))
        self._plan()
        self._look_after()

    # --- probes, as `engine.watch` and `engine.monitor` do them -------------------------------------------------------

    def _plan(self) -> None:
        for one in self._watched:
            self._plan_one(one)

    def _plan_one(self, one: _Watched) -> None:
        now, due_at = self._clock.now, self._probe_due_at(one)
        if one.began_at is None and (due_at < one.probe_at or one.probe_at < now):
            one.probe_at = max(now, due_at)
            self._clock.at(one.probe_at, self._probe, one)

    def _probe_due_at(self, one: _Watched) -> float:
        server = self.snapshot.servers[one.index]
        due_at = probe_from(
            self.snapshot, server, self._settings.pace, chance=one.probe_chance, begun_at=self._begun_at
        )
        return min(one.wanted_at, due_at)

    def _freshen(
        self, one: _Watched, wanted_from: float, within_s: float = 0.0, *, is_awaited: bool = False
    ) -> float | None:
        now = self._clock.now
        if now < self.snapshot.servers[one.index].stay_away_until:
            return None
        if wanted_from <= one.last_at:
            return now
        one.wanted_from = max(one.wanted_from, wanted_from)
        one.is_awaited |= is_awaited
        one.wanted_at = min(one.wanted_at, now + within_s)
        self._plan_one(one)
        return one.began_at if one.began_at is not None else now

    def _probe(self, one: _Watched) -> None:
        now = self._clock.now
        if one.began_at is not None or one.probe_at > now:
            return
        one.probe_at = math.inf
        if self._probe_due_at(one) > now:
            self._plan_one(one)
            return
        one.began_at = now
        is_signed = self.snapshot.servers[one.index].is_registered
        kind = Kind.QUESTION if one.is_awaited else Kind.PROBE if is_signed else Kind.UNSIGNED
        one.is_awaited = False
        reply = one.server.ask(kind)
        limit = now + self._settings.config.health.timeout
        outcome, index_fails = Outcome.OK, None
        if reply.status == 200 and is_signed and not one.server.knows(self.name):
            reply = one.server.ask(kind)  # by the older protocol, too
            outcome = Outcome.NOT_ASSOCIATED
        if reply.at > limit:
            outcome = Outcome.READ_TIMEOUT
        elif outcome is Outcome.NOT_ASSOCIATED:
            self.turned_away_at.setdefault(one.server.name, now)
        elif reply.status != 200:
            outcome = _REFUSALS[reply.status]
        elif outcome is Outcome.OK and self._is_status_due(one):
            reply = one.server.ask(Kind.STATUS)
            one.status_asked_at, index_fails = now, False
            one.status_due_at = now + STATUS_INTERVAL_S * self._rng.uniform(1 - JITTER, 1 + JITTER)
        at = min(reply.at, limit)
        result = ProbeResult(
            outcome, outcome.value, at, at - now, began_at=now, is_signed=is_signed, index_fails=index_fails
        )
        self._clock.at(at, self._probed, one, result)

    def _is_status_due(self, one: _Watched) -> bool:
        doubted_at = self.snapshot.servers[one.index].save_failed_at
        return one.status_asked_at < doubted_at or self._clock.now >= one.status_due_at

    def _probed(self, one: _Watched, result: ProbeResult) -> None:
        before, now = self.snapshot, self._clock.now
        server = before.servers[one.index]
        after = world.apply_probe(before, server, result, offline=None, on=self._on)
        one.last_at, one.began_at, one.probe_chance = result.finished_at, None, self._rng.random()
        one.wanted_at = one.last_at if one.wanted_from > one.last_at else math.inf
        self._take(after)
        wanted = server_to_settle(before, self.snapshot, one.server.name, now=now)
        if wanted is not None:
            self._freshen(self._of(wanted), now)
        self._plan()

    def _take(self, snapshot: Snapshot) -> None:
        before, self.snapshot = self.snapshot.choice, snapshot
        if before is not None and snapshot.choice is not None and before.name != snapshot.choice.name:
            self.moves.append(self._clock.now)
        self._look_after()
        if self._question is not None:
            self._question.go_on()

    # --- upkeep, as `engine.registrar` and `engine.node_upkeep` do it -------------------------------------------------

    def _look_after(self) -> None:
        """Have done what is due on each server, when it is due."""
        now = self._clock.now
        for one in self._watched:
            if not one.is_working:
                due_at = max(now, self._due_at(one))
                if due_at < one.upkeep_at or one.upkeep_at < now:
                    one.upkeep_at = due_at
                    if due_at < math.inf:
                        self._clock.at(due_at, self._upkeep, one)

    def _due_at(self, one: _Watched) -> float:
        server = self.snapshot.servers[one.index]
        return min(
            self._registration_due_at(one, server), self._reading_due_at(one, server), self._seed_due_at(one, server)
        )

    def _registration_due_at(self, one: _Watched, server: ServerSnapshot) -> float:
        if server.health is Health.DOWN and not server.is_alive:
            return math.inf
        if server.is_registered:
            return -math.inf if server.health is Health.UP and _is_denied(server) else math.inf
        registration = server.registration
        due_at = registration.retry_at
        if registration.urgent_at < due_at and is_urgent(self.snapshot, server.name):
            due_at = registration.urgent_at
        due_at = max(due_at, server.stay_away_until)
        return max(due_at, self._looks_from[one.index]) if server.health is Health.UNKNOWN else due_at

    def _reading_due_at(self, one: _Watched, server: ServerSnapshot) -> float:
        return reading.due_at(self.snapshot, server, chance=one.chance, since=self._begun_at, asked_at=one.asked_at)

    def _seed_due_at(self, one: _Watched, server: ServerSnapshot) -> float:
        is_wanted = server.node_check is not None and seeding.wants_seed(self.snapshot, server)
        if not is_wanted or seeding.reference(self.snapshot) is None:
            return math.inf
        due_at = one.seeded_at + reading.UNREADABLE_S * (1 + one.chance)
        return max(due_at, server.stay_away_until)

    def _upkeep(self, one: _Watched) -> None:
        now = self._clock.now
        if one.is_working or one.upkeep_at > now:
            return
        one.upkeep_at = math.inf
        server = self.snapshot.servers[one.index]
        if self._registration_due_at(one, server) <= now:
            if server.health is Health.UNKNOWN:
                self._looks_from[one.index] = now + LOOK_S
                self._freshen(one, now)
                self._look_after()
            elif server.is_registered:
                self._enter(one, Answer(Event.LOSE, "does not know this node"))
            else:
                self._register(one)
        elif self._reading_due_at(one, server) <= now:
            self._read(one)
        elif self._seed_due_at(one, server) <= now:
            self._seed(one)
        else:
            self._look_after()

    def _register(self, one: _Watched) -> None:
        one.is_working = True
        self._enter(one, Answer(Event.BEGIN))
        now, limit_s = self._clock.now, self._settings.config.health.timeout
        reply = one.server.ask(Kind.PROBE)  # as the node: is it known already?
        answer = Answer(Event.FAIL, "no answer", is_throttled=reply.status in (429, 503))
        if reply.status == 200 and reply.at <= now + limit_s:
            if one.server.knows(self.name):
                answer = Answer(Event.CONFIRM, "it knows this node")
            elif self._validator_key is not None and not self._validator_key.take():
                answer = Answer(Event.FAIL, "the key's store throttles", is_throttled=True)
            else:
                reply = one.server.ask(Kind.REGISTRATION)
                answer = self._answer(one, reply.status)
        self._clock.at(min(reply.at, now + 2 * limit_s), self._registered, one, answer)

    def _answer(self, one: _Watched, status: int) -> Answer:
        if status == 200:
            status = one.server.register(self.name)
        if status == 201:
            return Answer(Event.CONFIRM, "registered")
        if status in (429, 503):
            return Answer(Event.FAIL, "throttled", is_throttled=True)
        return Answer(Event.FAIL, "no answer")

    def _registered(self, one: _Watched, answer: Answer) -> None:
        one.is_working = False
        self._enter(one, answer)
        if answer.event is Event.CONFIRM:
            self._freshen(one, self._clock.now)

    def _enter(self, one: _Watched, answer: Answer) -> None:
        server = self.snapshot.servers[one.index]
        now, on = self._clock.now, self._on
        registration = advance_registration(
            server.registration,
            answer,
            now=now,
            on=on,
            chance=self._rng.random(),
            spans=self._spans,
            is_urgent=is_urgent(self.snapshot, server.name),
        )
        self._take(world.apply_registration(self.snapshot, server, registration, now=now, on=on))

    def _read(self, one: _Watched) -> None:
        """As `chef.node_objects.check` asks, on one connection."""
        now, server = self._clock.now, one.server
        known = self.snapshot.servers[one.index]
        question = reading.question(self.snapshot, known, asked_at=one.asked_at)
        is_there = server.has_object(self.name)
        looks: tuple[Kind, ...] = () if question.look is Look.NOTHING else (Kind.RIGHTS,)
        if is_there and question.look in (Look.WHOLE, Look.ARRIVAL):
            looks = (Kind.READING, Kind.RIGHTS)
        check = known.node_check or NodeCheck(-math.inf, has_node_object=None)
        if looks:
            read = NodeObject() if self.name in server.empty else OBJECT
            node = read if Kind.READING in looks else check.node if is_there else None
            read_at = now if Kind.READING in looks else check.node_read_at
            check = attrs.evolve(
                check, node=node, node_read_at=read_at, has_node_object=is_there, may_save=is_there or None
            )
        policy, environment = question.content(check.node) if question.asks_content else (None, None)
        one.is_working = True
        limit = now + self._settings.config.health.timeout
        for kind in (*looks, Kind.PARITY) if policy else looks:
            reply = server.ask(kind)
            if reply.status != 200 or reply.at > limit or not server.knows(self.name):
                at = min(reply.at, limit)
                self._clock.at(at, self._have_read, one, NodeCheck(at, trouble="no answer"))
                return
        if question.asks_content:
            content = Content(reply.at, policy, REVISION if server.has_policy else None, environment)
            policy_found = server.has_policy if policy else None
            check = attrs.evolve(check, policy_found=policy_found, content=content)
        check = attrs.evolve(check, read_at=reply.at, trouble="")
        self._clock.at(reply.at, self._have_read, one, check)

    def _have_read(self, one: _Watched, check: NodeCheck) -> None:
        one.is_working = False
        one.chance = self._rng.random()
        self._take(world.apply_reading(self.snapshot, self.snapshot.servers[one.index], check, on=self._on))

    def _seed(self, one: _Watched) -> None:
        now = one.seeded_at = self._clock.now
        reply = one.server.ask(Kind.SEED)
        if reply.status == 200 and reply.at <= now + self._settings.config.health.timeout:
            one.server.seed(self.name)
            one.asked_at = reply.at
        self._clock.at(reply.at, self._look_after)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def run(self, again: bool = True) -> None:
        """Start a run of chef-client now; with ``again`` the next one follows."""
        if self._question is None:
            self._hurry()
            self._question = _Question(self, functools.partial(self._start, again))
            self._question.go_on()

    def _hurry(self) -> None:
        """As `engine.sidecar`: a registration that the run needs is tried as soon as it may be."""
        for server in self.snapshot.servers:
            is_late = not server.is_registered and server.registration.awaited_at < server.registration.retry_at
            if is_late and is_urgent(self.snapshot, server.name):
                due, now = hurried(server.registration), self._clock.now
                self._take(world.apply_registration(self.snapshot, server, due, now=now, on=self._on))

    def _start(self, again: bool, name: str) -> None:
        self._question = None
        self.runs += 1
        one = self._of(name)
        Run(self._clock, self._rng, one.server, self.name, functools.partial(self._run_ended, one, again))

    def _run_ended(self, one: _Watched, again: bool, failure: Failure | None) -> None:
        now = self._clock.now
        is_idle = failure is None and self.name in one.server.empty
        self.failed_runs += failure is not None
        self.idle_runs += is_idle
        run = run_history.Run(
            f"{self.name}-{self.runs}",
            one.server.name,
            "failed" if failure else "succeeded",
            failure.error_class if failure else None,
            self._on,
            phase=failure.phase if failure else None,
            http_status=failure.http_status if failure else None,
            used=None if failure else NOTHING if is_idle else USED,
        )
        if reading.is_asked_by(self.snapshot.servers[one.index], run):
            one.asked_at = now
        self._take(world.apply_run(self.snapshot, run, now=now, on=self._on))
        if failure:
            self._freshen(one, now)
        if again:
            self._clock.at(now + pause_s(self._rng), self.run)

    def _of(self, name: str) -> _Watched:
        return next(one for one in self._watched if one.server.name == name)

    @property
    def _on(self) -> datetime.datetime:
        return BEGAN_ON + datetime.timedelta(seconds=self._clock.now)


class _Question:
    """Where a run goes that starts now, as `engine.watch.Watch.choose_for_run` finds out."""

    def __init__(self, node: Node, on_end: Callable[[str], None]) -> None:
        self._node = node
        self._on_end = on_end
        self._came_at = node._clock.now
        self._runs_from = self._came_at - node._settings.config.health.fresh_for
        self._asked: dict[str, float] = {}

    def go_on(self) -> None:
        """The world has changed, or time has passed."""
        node = self._node
        if node._question is not self:
            return
        now, health = node._clock.now, node._settings.config.health
        asking = servers_to_ask(node.snapshot, now=now, runs_from=self._runs_from, asked=self._asked)
        for one in node._watched:
            if one.server.name in asking.awaited:
                since = node._freshen(one, self._runs_from, is_awaited=True)
                self._asked.setdefault(one.server.name, now if since is None else since)
            elif one.server.name in asking.for_later:
                node._freshen(one, now - MOMENT_S, HEAD_START_S, is_awaited=True)
        last_asked_at = max([self._came_at, *self._asked.values()])
        limit = min(last_asked_at, self._came_at + START_S) + health.timeout + ANSWER_SLACK_S
        if not asking.awaited or now >= limit:
            choice = asking.choice or select_for_run(node.snapshot, now=now, runs_from=self._runs_from)
            node._question = None
            self._on_end(choice.name)
        else:
            node._clock.at(min(limit, asking.again_at), self.go_on)


def _is_denied(server: ServerSnapshot) -> bool:
    last = server.last_probe
    if last is None or not last.is_signed or last.finished_at <= server.registration.retry_at:
        return False
    return last.outcome is Outcome.NOT_ASSOCIATED and server.access.health is Health.DOWN


@functools.cache
def _known(servers: tuple[ServerSnapshot, ...], policy: SelectionPolicy) -> Snapshot:
    """The world in which each server was found well, and read, days ago, and runs have succeeded on the first."""
    snapshot, at = Snapshot(servers, policy), -3 * 86400.0
    for index in range(len(servers)):
        result = ProbeResult(Outcome.OK, "ok", at, 0.01, began_at=at, is_signed=True, index_fails=False)
        server = snapshot.servers[index]
        snapshot = world.apply_probe(snapshot, server, result, offline=None, on=BEGAN_ON)
        content = Content(at, POLICY, REVISION)
        check = NodeCheck(at, OBJECT, policy_found=True, content=content, may_save=True)
        snapshot = world.apply_reading(snapshot, snapshot.servers[index], check, on=BEGAN_ON)
    run = run_history.Run("before", servers[0].name, "succeeded", None, BEGAN_ON, used=USED)
    return attrs.evolve(world.apply_run(snapshot, run, now=at, on=BEGAN_ON), transitions=())
