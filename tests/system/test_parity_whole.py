"""Whole sidecars and embedded servers that hold different policies."""

import datetime

import attrs
import pytest

from chef_failover.api.render import servers
from chef_failover.chef import used
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config import settings as config
from chef_failover.engine.runs import RunReport
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.about import About
from chef_failover.model.run_history import Used
from chef_failover.state import document as state
from chef_failover.state import words
from tests.support.daemon_process import dev_servers, until, write_config

HEALTH = "{interval: 1s, retry_interval: 200ms, timeout: 5s}"
OLD, NEW = "4d5e6f7a8b", "1a2b3c4d5e"
POLICY = "{name: web-1, policy_name: webserver, policy_group: production}"
RUN_LIST = "{name: web-1}"
WORDS = {
    POLICY: "policy webserver is at 4d5e6f7 there; runs use 1a2b3c4",
    RUN_LIST: "1 cookbook is older: web 1.9.0 there, runs use 2.0.0",
}
USED = {
    POLICY: Used((), "production", "webserver", "production", NEW),
    RUN_LIST: Used(("recipe[web]",), cookbooks={"web": "2.0.0"}),
}


@pytest.fixture
def three(tmp_path):
    key = PrivateKey.generate()
    (tmp_path / "client.pem").write_bytes(key.private_pem())
    with dev_servers("mainserver", "near", "far") as three:
        for one, revision in zip(three, (NEW, OLD, NEW), strict=True):
            one.register("web-1", key.public_pem())
            one.put_node("web-1", ["recipe[web]"])
            one.state.policies["production", "webserver"] = revision
            one.state.cookbooks["web"] = "2.0.0" if revision is NEW else "1.9.0"
        yield three


def started(tmp_path, three, *, node, **more):
    """A sidecar, an hour after runs on the main server began to use what is new."""
    since = words.utc(datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1))
    kept = {"node": "web-1", "server": "mainserver", "since": since, **used.write(USED[node])}
    state.write(tmp_path / "state.json", {"used": kept})
    path = write_config(tmp_path, three, health=HEALTH, failback="immediately", node=node, **more)
    sidecar = Sidecar(config.load(path))
    sidecar.start()
    until(lambda: all(one.node_check and not one.node_check.trouble for one in sidecar.snapshot.servers))
    return sidecar


def shown(sidecar):
    now = max((one.last_probe.finished_at for one in sidecar.snapshot.servers if one.last_probe), default=0.0)
    return {
        entry["name"]: (entry["stale"], entry["parity"])
        for entry in servers(sidecar.snapshot, About("1"), now=now)["servers"]
    }


@pytest.mark.parametrize("node", [POLICY, RUN_LIST])
@pytest.mark.parametrize(("parity", "goes_to"), [("require", "far"), ("warn", "near"), ("off", "near")])
def test_when_the_main_server_dies(tmp_path, three, node, parity, goes_to):
    sidecar = started(tmp_path, three, node=node, more=f"parity: {parity}\n")
    is_off = parity == "off"
    try:
        until(lambda: sidecar.snapshot.choice.name == "mainserver")
        assert shown(sidecar)["near"] == ((False, "not compared: parity is off") if is_off else (True, WORDS[node]))
        assert not shown(sidecar)["far"][0]
        three[0].stop()
        until(lambda: sidecar.snapshot.choice.name == goes_to)
        if parity == "require":
            # The next probe already compares with the server that is in use now; the move itself is remembered.
            moves = [step.reason for step in sidecar.snapshot.transitions if step.after == "far"]
            assert f"near is stale: {WORDS[node]}" in moves[-1]
    finally:
        sidecar.stop(1.0)
    assert any("cookbooks" in target for _, target, _ in three[1].requests) == (node != POLICY and not is_off)


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_neither_a_reload_nor_a_restart_moves_the_node_to_a_stale_standby(tmp_path, three, how):
    sidecar = started(tmp_path, three, node=POLICY, more="parity: require\n")
    try:
        until(lambda: sidecar.snapshot.choice.name == "mainserver")
        until(lambda: shown(sidecar)["near"][0])
        three[0].stop()
        until(lambda: sidecar.snapshot.choice.name == "far")
        moves = len(sidecar.snapshot.transitions)
        if how == "reload":
            sidecar.reload(sidecar.config)
        else:
            sidecar.stop(2.0)
            sidecar = Sidecar(sidecar.config)
            sidecar.start()
        until(lambda: shown(sidecar)["near"][0])
        assert not [step for step in sidecar.snapshot.transitions[moves:] if step.server is None]
        assert sidecar.snapshot.choice.name == "far"
    finally:
        sidecar.stop(1.0)


def test_once_a_run_there_has_succeeded_the_main_server_is_not_stale_for_it(tmp_path, three):
    sidecar = started(tmp_path, three, node=POLICY, more="parity: require\n")
    try:
        until(lambda: shown(sidecar)["near"][0])
        three[2].stop()
        three[0].stop()
        until(lambda: sidecar.snapshot.choice.name == "near")
        old = attrs.evolve(USED[POLICY], policy_revision=OLD)
        sidecar.report_run(RunReport("1", "succeeded", "near", used=old))
        assert sidecar.snapshot.used_server == "near"
    finally:
        sidecar.stop(2.0)
    again = Sidecar(sidecar.config)
    assert (again.snapshot.choice.name, again.snapshot.used_server) == ("near", "near")
    said = "not compared: it is preferred to near, where the last runs were"
    assert shown(again)["mainserver"] == (False, said)
