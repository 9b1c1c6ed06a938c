"""A whole fleet at the door of one server that throttles: the real engine with our own clock, and real sidecars."""

import contextlib
import datetime
import functools
import heapq
import itertools
import random
import threading

import pytest

from chef_devserver.messages import error_response
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.trust import TrustStore
from chef_failover.config.settings import load
from chef_failover.decide.registration import Spans, spans
from chef_failover.engine import assembly
from chef_failover.engine.live_snapshot import LiveSnapshot
from chef_failover.engine.registrar import Registrar
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Registration, RegistrationState, SelectionPolicy, Snapshot
from chef_failover.model.registration import Answer, Event
from chef_failover.node.machine import Machine
from chef_failover.registration.base import Registrant
from tests.support.builders import ON, server
from tests.support.daemon_process import dev_servers, until, write_config

KEY = PrivateKey.generate()
RATE, BURST = 5.0, 10.0


class Throttle:
    """A server that takes ``rate`` requests a second after a ``burst``, and turns back the rest."""

    repairs = True

    def __init__(self, clock, rate=RATE, burst=BURST):
        self._clock, self._rate, self._burst = clock, rate, burst
        self._tokens, self._at = burst, clock()
        self.seen, self.taken = [], []
        self._lock = threading.Lock()

    def takes(self):
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + self._rate * (now - self._at))
            self._at = now
            self.seen.append(now)
            if self._tokens < 1:
                return False
            self._tokens -= 1
            self.taken.append(now)
            return True

    def associate(self, registrant, ticket):
        if self.takes():
            return Answer(Event.CONFIRM)
        return Answer(Event.FAIL, "HTTP 429", is_throttled=True)


def test_two_hundred_nodes_all_get_in_and_nobody_starves():
    now = 0.0

    def clock():
        return now

    throttle = Throttle(clock)
    nodes = []
    for number in range(200):
        snapshot = Snapshot(
            (server("a", registration=Registration(RegistrationState.UNREGISTERED)),),
            SelectionPolicy(600.0, f"node-{number}"),
        )
        live = LiveSnapshot(snapshot, clock=clock, utc_now=lambda: ON + datetime.timedelta(seconds=now))
        registrar = Registrar(
            "a",
            live=live,
            provider=throttle,
            registrant=functools.partial(Registrant, f"node-{number}", KEY),
            write_down=lambda: None,
            look_at=lambda _: None,
            spans=spans(600.0, 200),
            clock=clock,
            utc_now=lambda: ON,
            rng=random.Random(number),
        )
        nodes.append((live, registrar))
    boots = random.Random(0)
    due = [(boots.uniform(0, 1), index) for index in range(len(nodes))]  # all within a second
    heapq.heapify(due)
    while due:
        now, index = heapq.heappop(due)
        delay_s = nodes[index][1].step()
        if delay_s != float("inf"):
            heapq.heappush(due, (now + delay_s, index))
    assert all(live.snapshot.server("a").is_registered for live, _ in nodes)
    for start in range(1, 120):  # after the burst of the boot itself
        assert sum(start <= at < start + 10 for at in throttle.seen) <= RATE * 10 + BURST
    assert max(throttle.taken) < 240
    attempts = [live.snapshot.server("a").registration.attempts for live, _ in nodes]
    assert max(attempts) <= 8


@pytest.mark.timeout(240)
def test_a_dozen_real_sidecars_at_a_server_that_throttles(tmp_path, monkeypatch):
    monkeypatch.setattr(assembly, "spans", lambda *_: Spans(throttled_s=10.0))
    throttle = Throttle(itertools.count().__next__, rate=0.6, burst=1.0)  # its clock ticks with each request
    with dev_servers("mainserver") as (main,), contextlib.ExitStack() as stack:
        honest = main._answer

        def crowded(request):
            if request.method == "POST" and not throttle.takes():
                return error_response(429, "slow down")
            return honest(request)

        main._answer = crowded
        sidecars = []
        for number in range(12):
            folder = tmp_path / str(number)
            folder.mkdir()
            health = "{interval: 2s, retry_interval: 200ms, timeout: 10s, rise: 1, fall: 3}"
            path = write_config(folder, [main], health=health, node=f"{{name: web-{number}}}", registers=True)
            (folder / "client.pem").write_bytes(KEY.private_pem())
            sidecar = Sidecar(load(path), Machine(trust=TrustStore(())))
            sidecar.start()
            stack.callback(sidecar.stop, 5.0)
            sidecars.append(sidecar)
        until(
            lambda: all(one.snapshot.server("mainserver").is_registered for one in sidecars),
            120,
        )
        assert {f"web-{number}" for number in range(12)} <= main.state.clients.keys()
        assert len(throttle.seen) > 12, "nobody was turned back"
