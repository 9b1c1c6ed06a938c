"""What a sidecar knows after a restart, a reload, and under a new name of a server."""

import datetime
import math
import random

import attrs
import pytest

from chef_failover.config import settings as config
from chef_failover.decide.world import apply_order, apply_probe, apply_reading
from chef_failover.engine.runs import RunReport
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Health, NodeCheck, Outcome, ProbeResult, Registration, RegistrationState
from chef_failover.model.orders import Drain
from chef_failover.model.run_history import Used
from chef_failover.node.machine import Machine
from chef_failover.state import document as state
from chef_failover.state import written
from tests.support.builders import ON

USED = Used(("role[web]",), "production", None, None, None, {"web": "1.2.3"})

BOOT = "b" * 32
REFUSED_FOR_THE_LOAD = Registration(
    RegistrationState.FAILED,
    "HTTP 503",
    attempts=2,
    retry_at=9000.0,
    urgent_at=8000.0,
    awaited_at=5100.0,
    throttled_since=4900.0,
)


class Lives:
    """Sidecars one after another on one disk; ``at`` is the clock of the boot, ``on`` the wall's."""

    on = ON

    def __init__(self, directory, names=("main", "standby"), failback="10m"):
        self.directory, self.at, self.boot = directory, 5000.0, BOOT
        self.failback = failback
        self.sidecar = Sidecar(self.config(names), self.machine())

    def config(self, names):
        servers = ", ".join(
            f"{{name: {name}, url: 'https://{host}'}}"
            for name, host in zip(names, ("a.example", "b.example"), strict=True)
        )
        return config.parse(
            f"servers: [{servers}]\nselection: {{failback: {self.failback}}}\nstate_dir: {self.directory}\n"
            "health: {rise: 1, fall: 1}"
        )

    def machine(self):
        return Machine(
            clock=lambda: self.at,
            utc_now=lambda: self.on,
            rng=random.Random(1),
            instance_id=lambda _: None,
            boot_id=lambda: self.boot,
        )

    def restart(self, names=("main", "standby")):
        document = written.kept(self.sidecar.snapshot, self.sidecar.about, on=self.on)
        state.write(self.directory / "state.json", document)
        self.sidecar = Sidecar(self.config(names), self.machine())

    def probed(self, index, outcome):
        def take(snapshot, *, now, on):
            result = ProbeResult(outcome, outcome.value, now)
            server = snapshot.servers[index]
            return apply_probe(snapshot, server, result, offline=None, on=on)

        self.sidecar.steer(take)

    def go_on(self, seconds, *outcomes):
        self.at += seconds
        for index, outcome in enumerate(outcomes):
            self.probed(index, outcome)

    @property
    def choice(self):
        return self.sidecar.snapshot.choice.name


UP, DOWN = Outcome.OK, Outcome.REFUSED


@pytest.fixture
def lives(tmp_path):
    """Main was down, is UP again for ten seconds, and the node is on the standby."""
    found = Lives(tmp_path)
    found.go_on(1, UP, UP)
    found.go_on(60, DOWN, UP)
    found.go_on(60, UP, UP)
    assert found.choice == "standby"
    return found


def test_restarts_more_frequent_than_the_hold_down_do_not_keep_the_node_away(lives):
    for _ in range(8):
        lives.go_on(120, UP, UP)
        assert lives.choice in ("standby", "main")
        lives.restart()
    lives.go_on(1, UP, UP)
    assert lives.choice == "main"


def test_a_restart_alone_brings_nobody_back_sooner(lives):
    lives.restart()
    lives.go_on(1, UP, UP)
    assert lives.choice == "standby"
    lives.go_on(300, DOWN, UP)
    lives.restart()
    lives.go_on(590, UP, UP)
    assert lives.choice == "standby"


def test_how_returns_went_is_known_in_the_next_life_and_after_a_reload(lives):
    lives.go_on(1200, UP, UP)
    assert lives.choice == "main"
    lives.go_on(60, DOWN, UP)
    learned = lives.sidecar.snapshot.servers[0].returns
    assert (learned.doublings, len(learned.failed_at)) == (1, 2)
    lives.restart()
    assert lives.sidecar.snapshot.servers[0].returns == learned
    lives.sidecar.reload(lives.config(("first", "second")))
    assert lives.sidecar.snapshot.servers[0].returns == learned
    lives.go_on(60, UP, UP)
    lives.go_on(20_000, UP, UP)
    assert lives.choice == "second"
    assert lives.sidecar.snapshot.choice.reason.endswith("since it failed twice in 24 h)")
    lives.go_on(86_400, UP, UP)
    assert lives.choice == "first"


def test_what_another_boot_knew_of_its_clock_is_not_believed(lives):
    lives.go_on(300, UP, UP)
    lives.boot = "c" * 32
    lives.restart()
    lives.go_on(500, UP, UP)
    lives.go_on(1, UP, UP)
    assert lives.choice == "standby"


def test_a_server_that_is_renamed_keeps_what_is_known_of_it(lives):
    def drain(snapshot, *, now, on):
        return apply_order(snapshot, Drain(server="main", who="alice", created_on=ON), is_forced=False, now=now, on=on)

    lives.sidecar.steer(drain)
    for change in (lambda names: lives.sidecar.reload(lives.config(names)), lives.restart):
        for names in (("first", "second"), ("second", "first"), ("main", "standby")):
            change(names)
            snapshot = lives.sidecar.snapshot
            assert snapshot.choice.name == names[1]
            assert [drain.server for drain in snapshot.orders.drains] == [names[0]]
            assert snapshot.servers[0].well_since == pytest.approx(5121.0)
            assert {entry.server for entry in snapshot.transitions} <= {*names, None}
            assert snapshot.transitions[-1].reason != "config.yml names no server"


def test_a_renamed_server_that_was_down_is_held_down_under_its_new_name(lives):
    lives.restart(("first", "second"))
    lives.go_on(1, UP, UP)
    assert lives.choice == "second"
    assert lives.sidecar.snapshot.servers[0].health is Health.UP
    lives.go_on(1000, UP, UP)
    assert lives.choice == "first"


def test_a_name_that_goes_to_another_server_takes_nothing_along(lives):
    lives.restart()
    servers = "servers: [{name: main, url: 'https://c.example'}, {name: standby, url: 'https://b.example'}]"
    lives.sidecar.reload(config.parse(f"{servers}\nstate_dir: {lives.directory}"))
    assert lives.sidecar.snapshot.servers[0].well_since is None


def test_that_a_run_has_succeeded_there_outlives_restart_reload_and_reboot(lives):
    lives.sidecar.report_run(RunReport("1", "succeeded", "standby"))
    for change in (lambda names: lives.sidecar.reload(lives.config(names)), lives.restart):
        for names in (("first", "second"), ("second", "first"), ("main", "standby")):
            change(names)
            assert [one.has_had_success for one in lives.sidecar.snapshot.servers] == [False, True]
    lives.boot = "c" * 32
    lives.restart()
    assert lives.sidecar.snapshot.server("standby").has_had_success
    servers = "servers: [{name: main, url: 'https://a.example'}, {name: standby, url: 'https://c.example'}]"
    lives.sidecar.reload(config.parse(f"{servers}\nstate_dir: {lives.directory}"))
    assert not lives.sidecar.snapshot.server("standby").has_had_success


def test_a_run_under_another_key_is_no_success_of_this_node(tmp_path):
    lives = Lives(tmp_path)
    lives.sidecar.report_run(RunReport("1", "succeeded", "main"))
    lives.restart()
    assert lives.sidecar.snapshot.server("main").has_had_success
    by_validator = "association: {provider: chef-server, validator: v, validator_key: 'file:/nowhere'}"
    servers = f"node: {{name: web-1}}\nservers: [{{name: main, url: 'https://a.example', {by_validator}}}]"
    registered = Sidecar(
        config.parse(f"{servers}\nstate_dir: {tmp_path}\nhealth: {{rise: 1, fall: 1}}"), lives.machine()
    )
    assert not registered.snapshot.server("main").has_had_success


def test_what_runs_use_and_since_when_outlives_restart_reload_and_reboot(lives):
    lives.sidecar.report_run(RunReport("1", "succeeded", "standby", used=USED))
    since = lives.at
    lives.at, lives.on = since + 600.0, ON + datetime.timedelta(minutes=10)
    lives.sidecar.reload(lives.config(("first", "second")))
    for _ in range(2):
        snapshot = lives.sidecar.snapshot
        assert (snapshot.used, snapshot.used_since, snapshot.used_on) == (USED, since, ON)
        lives.restart()
    lives.boot, lives.at = "c" * 32, 30.0
    lives.restart()
    assert (lives.sidecar.snapshot.used, lives.sidecar.snapshot.used_since) == (USED, 30.0 - 600.0)
    lives.on = ON - datetime.timedelta(days=1)  # a clock that was set back: not before now
    lives.restart()
    assert (lives.sidecar.snapshot.used, lives.sidecar.snapshot.used_since) == (USED, 30.0)


def test_only_a_server_that_was_read_has_its_first_reading_spread_in_the_next_life(lives):
    def read(snapshot, *, now, on):
        return apply_reading(snapshot, snapshot.server("standby"), NodeCheck(now), on=on)

    lives.sidecar.steer(read)
    for _ in range(2):
        lives.restart()
        assert [one.was_known for one in lives.sidecar.snapshot.servers] == [False, True]
    servers = "servers: [{name: main, url: 'https://a.example'}, {name: standby, url: 'https://c.example'}]"
    lives.sidecar.reload(config.parse(f"{servers}\nstate_dir: {lives.directory}"))
    assert [one.was_known for one in lives.sidecar.snapshot.servers] == [False, False]


def test_another_node_has_used_nothing_yet(lives):
    lives.sidecar.report_run(RunReport("1", "succeeded", "standby", used=USED))
    named = attrs.evolve(lives.config(("main", "standby")), node=config.parse("node: {name: web-2}").node)
    lives.sidecar.reload(named)
    assert (lives.sidecar.snapshot.used, lives.sidecar.snapshot.used_on) == (None, None)
    lives.sidecar.report_run(RunReport("2", "succeeded", "standby", used=USED))
    lives.restart()  # under its former name
    assert lives.sidecar.snapshot.used is None


@pytest.mark.parametrize(
    ("other", "due_at"), [(RegistrationState.FAILED, 5100.0), (RegistrationState.REGISTERED, 9000.0)]
)
def test_a_person_who_waits_brings_an_urgent_registration_forward(tmp_path, other, due_at):
    def throttle(snapshot, **_):
        refused = attrs.evolve(REFUSED_FOR_THE_LOAD, urgent_at=9000.0)
        for one, association in zip(snapshot.servers, (RegistrationState.FAILED, other), strict=True):
            registration = attrs.evolve(refused, state=association)
            snapshot = snapshot.with_server(attrs.evolve(one, registration=registration))
        return snapshot

    lives = Lives(tmp_path)
    lives.sidecar.steer(throttle)
    lives.sidecar.refresh(waits=False)
    assert lives.sidecar.snapshot.server("main").registration.retry_at == due_at


@pytest.mark.parametrize(("boot", "is_kept"), [(BOOT, True), ("c" * 32, False)])
def test_a_server_that_throttles_is_left_alone_over_a_restart_but_not_over_a_boot(tmp_path, boot, is_kept):
    by_validator = "association: {provider: chef-server, validator: v, validator_key: 'file:/nowhere'}"
    servers = f"node: {{name: web-1}}\nservers: [{{name: main, url: 'https://a.example', {by_validator}}}]"
    refused = attrs.evolve(REFUSED_FOR_THE_LOAD, identity="x")

    def throttle(snapshot, **_):
        return snapshot.with_server(attrs.evolve(snapshot.servers[0], registration=refused))

    class OneServer(Lives):
        def config(self, names):
            return config.parse(f"{servers}\nstate_dir: {tmp_path}\nhealth: {{rise: 1, fall: 1}}")

    lives = OneServer(tmp_path)
    lives.sidecar.steer(throttle)
    lives.boot = boot
    lives.restart()
    found = lives.sidecar.snapshot.server("main").registration
    assert (found == refused, found.retry_at == -math.inf) == (is_kept, not is_kept)
