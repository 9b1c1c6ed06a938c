"""The node's object on one server, step by step, with a clock of our own."""

import random

from chef_failover.chef.deadline import ProbeError
from chef_failover.decide.world import leave_alone
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.engine.node_upkeep import NodeUpkeep
from chef_failover.model.model import NodeCheck, Outcome, SelectionPolicy, Snapshot
from chef_failover.model.needs import NodeObject
from chef_failover.model.question import Look
from chef_failover.model.run_history import RunEvidence
from tests.support.builders import ON, asked

WEB = NodeObject(("recipe[web]",))


READ = NodeCheck(99.0, WEB)


class World:
    """Server "a" is in use and has the object; the one called ``name`` is looked after."""

    def __init__(self, create, *, found=None, trouble="", name="b", source=READ, is_missing=False):
        self.now = 100.0
        self.created, self.filled, self.read, self.asked = 0, 0, 0, []
        self._create, self._found, self._trouble = create, found, trouble
        worked = RunEvidence(has_succeeded=True)
        servers = (
            asked("a", at=99.0, node_check=source, run_evidence=worked, had_useful_node_object=True),
            asked("b", at=99.0, lacked_object_at=99.0, node_check=NodeCheck(99.0) if is_missing else None),
        )
        snapshot = Snapshot(servers, SelectionPolicy(600.0, "web-1"))
        self.live = LiveSnapshot(snapshot, clock=lambda: self.now, utc_now=lambda: ON)
        self.care = NodeUpkeep(
            name,
            live=self.live,
            check=self.check,
            create=self.create,
            fill=self.fill,
            clock=lambda: self.now,
            rng=random.Random(3),
        )

    def check(self, question):
        self.read += 1
        self.asked.append(question.look)
        return NodeCheck(self.now, self._found, trouble=self._trouble)

    def create(self, node):
        self.created += 1
        if isinstance(self._create, Exception):
            raise self._create
        return self._create

    def fill(self, node):
        self.filled += 1
        return self.create(node)

    def run(self, seconds):
        end = self.now + seconds
        while self.now < end:
            delay_s = self.care.step()
            self.now += max(0.02, min(delay_s, 5.0))


def test_what_is_created_and_never_found_is_not_created_again_and_again():
    """A replica that is behind, or a damaged index: 201 or 409, and then 404."""
    for answer in (True, False):
        world = World(answer)
        world.run(600.0)
        assert 2 <= world.created <= 11
        assert world.read <= 40


def test_what_cannot_be_created_is_said_and_tried_once_in_a_while():
    world = World(ProbeError(Outcome.FORBIDDEN, "HTTP 403: missing create permission"))
    world.run(600.0)
    assert 2 <= world.created <= 11
    assert "cannot create it there: HTTP 403" in world.live.snapshot.server("b").node_check.trouble


def test_what_a_run_has_left_empty_is_filled_once_in_a_while():
    """A reading has found that there was none before."""
    world = World(True, found=NodeObject())
    world.run(600.0)
    assert 2 <= world.filled == world.created <= 11


def test_what_cannot_be_filled_is_said():
    world = World(ProbeError(Outcome.FORBIDDEN, "HTTP 403: missing update permission"), found=NodeObject())
    world.run(10.0)
    assert "cannot fill it there: HTTP 403" in world.live.snapshot.server("b").node_check.trouble


def test_an_empty_object_with_attributes_is_somebody_s_and_not_filled():
    world = World(True, found=NodeObject(normal='{"app":{"port":80}}'))
    world.run(600.0)
    assert (world.filled, world.created) == (0, 0)


def test_what_is_as_it_should_be_is_read_once_a_day_and_not_whole():
    world = World(True, found=WEB)
    world.run(4 * 86_400.0)
    assert 4 <= world.read <= 6
    assert world.asked == [Look.WHOLE] + [Look.EXISTENCE] * (world.read - 1)
    world.care.ask()
    before = world.read
    world.run(1.0)
    assert world.read == before + 1


def test_a_server_that_cannot_be_read_is_asked_less_and_less():
    world = World(True, trouble="HTTP 503")
    world.run(86_400.0)
    assert 5 <= world.read <= 20


def test_what_another_server_is_to_be_given_is_read_once():
    """The server in use is not read in rest; "b" has lost the object."""
    world = World(True, found=WEB, name="a", source=None, is_missing=True)
    world.run(86_400.0)
    assert world.asked == [Look.WHOLE]


def test_without_a_key_nothing_is_read():
    world = World(True)
    world.care._check = lambda question: None
    assert world.care.step() == float("inf")


def test_a_server_that_asked_to_be_left_alone_is_neither_read_nor_given_anything():
    world = World(create=True, is_missing=True)
    world.live.steer(leave_alone, "b", 600.0)
    assert world.care.step() >= 600.0
    assert (world.read, world.created) == (0, 0)
    world.now += 600.0
    world.care.step()
    assert world.read + world.created == 1
