"""Probes and failover on two real Chef servers (goiardi)."""

import datetime
import threading
import time

import attrs
import pytest

from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.probes import Prober
from chef_failover.chef.signing import ChefAuth
from chef_failover.chef.trust import TrustStore
from chef_failover.config import settings as config
from chef_failover.decide.seeding import differences_of
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Health, NodeCheck, Outcome, Standing
from chef_failover.model.needs import ReadinessMode, ReadinessPolicy
from chef_failover.node.machine import Machine
from tests.support.goiardi import Goiardi, public_pem

NODE = "i-0abc"
BARE = "i-0bare"
"""A client without a node object."""
HALF = "i-0half"
"""A client with a node object on the first server only."""
TIMEOUT_S = 5.0
SLACK_S = 10.0
FAILBACK_S = 2.0


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def servers(tmp_path_factory, key):
    folder = tmp_path_factory.mktemp("goiardi")
    with Goiardi(folder / "main") as main, Goiardi(folder / "standby") as standby:
        for server in (main, standby):
            server.register(NODE, public_pem(key), run_list=("recipe[web]",))
            server.register(BARE, public_pem(key))
            server.register(HALF, public_pem(key), run_list=("recipe[web]",) if server is main else None)
            server.save()
        yield main, standby


@pytest.fixture
def main(servers):
    """The first server; a test may stop or kill it."""
    yield servers[0]
    servers[0].start()


@pytest.fixture
def probe(servers, key):
    """One probe of the first server, signed unless told otherwise."""

    def probe(organization="", *, user=NODE, key=key, protocols=None, signs=True, utc_now=None):
        clock = {"utc_now": utc_now} if utc_now else {}
        target = Target(servers[0].url + organization, timeout_s=10.0, ca_file=servers[0].ca_file, node_name=user)

        def signer(protocol):
            return ChefAuth(user, key, protocols or protocol, **clock)

        server = ChefServer(target, Resolver(), TrustStore(()))
        return Prober(server, signer=lambda: signer if signs else None, **clock).probe()

    return probe


# Probes.


def test_unsigned(probe):
    result = probe(signs=False)
    assert (result.outcome, result.is_signed) == (Outcome.OK, False)


@pytest.mark.parametrize("protocol", ["1.3", "1.1", "1.0"])
def test_signed_by_each_protocol(probe, protocol):
    result = probe(protocols=protocol)
    assert result.outcome is Outcome.OK, result.detail
    assert result.is_signed
    assert result.detail.startswith("answers in ")


def test_unknown_client(probe):
    result = probe(user="nobody")
    assert (result.outcome, result.detail) == (
        Outcome.NOT_ASSOCIATED,
        "HTTP 401: Failed to authenticate as 'nobody'. Ensure that your node_name and client key are correct.",
    )


def test_wrong_key(probe):
    result = probe(key=PrivateKey.generate())
    assert result.outcome is Outcome.NOT_ASSOCIATED
    assert result.detail.startswith("HTTP 401: ")


@pytest.mark.parametrize("hours", [-2, 2])
def test_clock_skew(probe, hours):
    ours = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    result = probe(utc_now=lambda: ours)
    assert result.outcome is Outcome.CLOCK_SKEW
    assert f"this node's clock says {ours:%Y-%m-%d %H:%M:%S} UTC, the server's " in result.detail


def test_whether_there_is_a_node_object_is_no_question_of_a_probe(probe):
    result = probe(user=BARE)
    assert (result.outcome, result.detail[:10]) == (Outcome.OK, "answers in")


def test_a_client_that_is_not_there_yet(probe):
    result = probe(user="nobody", signs=False)
    assert (result.outcome, result.detail[:10]) == (Outcome.OK, "answers in")


def test_its_200_for_a_path_that_it_does_not_know_proves_nothing(probe):
    result = probe("/organizations/default")
    assert (result.outcome, result.detail[:29]) == (Outcome.NOT_CHEF, "HTTP 200 OK: empty body; no C")


# The sidecar on both.


@pytest.fixture
def make_sidecar(servers, key, tmp_path):
    """A started sidecar; it stops with the test."""
    (tmp_path / "client.pem").write_bytes(key.private_pem())
    started = []

    def make(interval="30s", node=NODE, readiness="seed"):
        listed = [
            {"name": name, "url": server.url, "ca_file": str(server.ca_file)}
            for name, server in zip(("mainserver", "standbyserver"), servers, strict=True)
        ]
        text = f"""
            node: {{name: {node}, organization: null}}
            servers: {listed}
            health: {{interval: {interval}, retry_interval: 100ms, timeout: {TIMEOUT_S}s}}
            selection: {{failback: {FAILBACK_S}s}}
            listen: {{socket: {tmp_path}/sidecar.sock, loopback: off}}
            state_dir: {tmp_path}
            readiness: {readiness}
        """
        sidecar = Sidecar(config.parse(text), Machine(trust=TrustStore(())))
        sidecar.start()
        started.append(sidecar)
        return sidecar

    yield make
    for sidecar in started:
        assert sidecar.stop(TIMEOUT_S + 5)


def choose(sidecar):
    """The choice for a run that starts now, and that it came in time."""
    began = time.monotonic()
    _, choice = sidecar.choose_for_run(0)
    assert time.monotonic() - began < TIMEOUT_S + SLACK_S
    return choice


def until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        pause.wait(0.02)


def test_both_healthy(make_sidecar):
    choice = choose(make_sidecar())
    assert (choice.name, choice.is_degraded) == ("mainserver", False)


def test_main_down_before_the_start(main, make_sidecar):
    main.stop()
    choice = choose(make_sidecar())
    assert (choice.name, choice.is_degraded) == ("standbyserver", False)
    assert choice.reason == "mainserver is DOWN: connection refused"


def test_main_killed_later_and_back(main, make_sidecar):
    sidecar = make_sidecar(interval="200ms")
    assert choose(sidecar).name == "mainserver"

    main.kill()
    choice = choose(sidecar)
    assert choice.name == "standbyserver"
    assert "connection refused" in choice.reason
    until(lambda: sidecar.snapshot.server("mainserver").health is Health.DOWN)
    until(lambda: sidecar.snapshot.choice.name == "standbyserver")

    main.start()
    until(lambda: sidecar.snapshot.server("mainserver").health is Health.UP)
    up_at = sidecar.snapshot.server("mainserver").liveness.changed_at
    assert choose(sidecar).name == "standbyserver"
    until(lambda: "returns in" in sidecar.snapshot.choice.reason)
    until(lambda: sidecar.snapshot.choice.name == "mainserver")
    assert sidecar.now() - up_at >= FAILBACK_S
    assert choose(sidecar).name == "mainserver"


def test_a_standby_without_the_node_object_is_a_last_resort(main, make_sidecar):
    sidecar = make_sidecar(interval="200ms", node=HALF, readiness="check")
    assert choose(sidecar).name == "mainserver"
    until(lambda: all(one.node_check for one in sidecar.snapshot.servers))
    verdict = next(one for one in sidecar.snapshot.choice.verdicts if one.name == "standbyserver")
    assert (verdict.standing, verdict.sentence) == (Standing.NOT_READY, "has no object of this node")
    main.kill()
    until(lambda: sidecar.snapshot.choice.name == "standbyserver")
    choice = choose(sidecar)
    assert (choice.name, choice.is_degraded) == ("standbyserver", True)
    assert choice.reason.endswith("standbyserver is not ready: has no object of this node")


def test_a_last_resort_is_seeded_from_what_was_read_of_the_server_that_died(main, make_sidecar):
    sidecar = make_sidecar(interval="200ms", node=HALF, readiness="check")
    until(lambda: all(one.node_check for one in sidecar.snapshot.servers))
    main.kill()
    until(lambda: sidecar.snapshot.choice.name == "standbyserver")
    fleet, policy = sidecar._parts.live, sidecar.snapshot.policy
    seeds = attrs.evolve(policy, readiness=ReadinessPolicy(ReadinessMode.SEED))
    fleet._snapshot = attrs.evolve(fleet.snapshot, policy=seeds)
    sidecar._parts.upkeeps.wake()
    until(lambda: not sidecar.snapshot.choice.is_degraded)
    standby = sidecar.snapshot.server("standbyserver")
    assert (standby.node_check.node.run_list, differences_of(sidecar.snapshot, standby)) == (("recipe[web]",), ())


def test_what_was_found_is_forgotten_when_a_reload_looks_for_something_else(make_sidecar):
    sidecar = make_sidecar(interval="200ms", node=BARE)
    choose(sidecar)
    sidecar._parts.live.take("mainserver", NodeCheck(sidecar.now(), policy_found=False))
    assert sidecar.snapshot.server("mainserver").node_check is not None
    config = sidecar.config
    sidecar.reload(attrs.evolve(config, node=attrs.evolve(config.node, key_bits=3072)))
    assert sidecar.snapshot.server("mainserver").node_check is not None
    sidecar.reload(attrs.evolve(config, readiness="check"))
    assert sidecar.snapshot.server("mainserver").node_check is None
