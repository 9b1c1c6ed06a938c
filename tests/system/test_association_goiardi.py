"""The whole of it on two real Chef servers: goiardi, with its own validator, and the node's own key."""

import shutil

import pytest

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.signing import load_key
from tests.support.daemon_process import daemon, run, until
from tests.support.goiardi import Goiardi

CONFIG = """
node: {{name: web-1, organization: null}}
servers:
{servers}
health: {{interval: 1s, retry_interval: 200ms, timeout: 5s, rise: 1, fall: 2}}
selection: {{failback: 2s}}
listen: {{socket: {folder}/sidecar.sock, loopback: off}}
state_dir: {folder}
"""
SERVER = """
  - name: {name}
    url: {server.url}
    ca_file: {server.ca_file}
    association: {{provider: chef-server, validator_key: 'file:{folder}/{name}/chef-validator.pem'}}
"""


@pytest.fixture
def servers(tmp_path):
    main, standby = Goiardi(tmp_path / "mainserver"), Goiardi(tmp_path / "standbyserver")
    with main, standby:
        yield main, standby


@pytest.fixture
def config_path(servers, tmp_path):
    path = tmp_path / "config.yml"
    named = zip(("mainserver", "standbyserver"), servers, strict=True)
    listed = "".join(SERVER.format(name=name, server=server, folder=tmp_path) for name, server in named)
    path.write_text(CONFIG.format(servers=listed, folder=tmp_path))
    return path


def entries(sidecar):
    return {entry["name"]: entry for entry in sidecar.ask("/v1/servers").body["servers"]}


def is_associated(sidecar):
    return all(entry["association"] == "associated" for entry in entries(sidecar).values())


def knows(server, name, key):
    """Whether ``server`` takes ``key`` for the client ``name``."""
    return server.request("GET", f"clients/{name}", name, key).status_code == 200


def test_one_down_at_boot_and_started_later(servers, config_path, tmp_path):
    main, _ = servers
    main.stop()
    with daemon(config_path) as sidecar:
        ended = run("wait", "--associated", "--timeout", "1m", "--config", config_path)
        assert ended.stdout.startswith("ready: standbyserver "), ended.stderr
        assert (tmp_path / "unassociated_servers.txt").read_text() == "mainserver\n"
        main.start()
        until(lambda: is_associated(sidecar))
        until(lambda: sidecar.ask("/v1/server").body["name"] == "mainserver")
        key = load_key(tmp_path / "client.pem")
        assert all(knows(server, "web-1", key) for server in servers)


@pytest.mark.parametrize("emptied", [["standbyserver"], ["mainserver", "standbyserver"]])
def test_who_comes_back_empty_gets_the_node_again(servers, config_path, tmp_path, emptied):
    named = dict(zip(("mainserver", "standbyserver"), servers, strict=True))
    with daemon(config_path) as sidecar:
        until(lambda: is_associated(sidecar))
        for name in emptied:
            named[name].kill()
            for file in ("data.bin", "index.bin", "chef-validator.pem", "admin.pem", "chef-webui.pem"):
                (tmp_path / name / file).unlink(missing_ok=True)
            shutil.rmtree(tmp_path / name / "files")
            (tmp_path / name / "files").mkdir()
        until(lambda: all(entries(sidecar)[name]["health"] == "DOWN" for name in emptied))
        key = load_key(tmp_path / "client.pem")
        for name in emptied:
            named[name].start()
        until(lambda: all(knows(named[name], "web-1", key) for name in emptied), 60)
        until(lambda: is_associated(sidecar))


def test_another_key_under_our_name_is_a_conflict_until_somebody_deletes_it(servers, config_path, tmp_path):
    main, _ = servers
    main.register("web-1", PrivateKey.generate().public_pem().decode())
    with daemon(config_path) as sidecar:
        until(lambda: entries(sidecar)["mainserver"]["association"] == "refused")
        until(lambda: entries(sidecar)["standbyserver"]["association"] == "associated")
        assert "key conflict" in entries(sidecar)["mainserver"]["association_detail"]
        assert sidecar.ask("/v1/server").body["name"] == "standbyserver"
        main.delete_client("web-1")
        ended = run("associate", "mainserver", "--wait", "--timeout", "1m", "--config", config_path)
        assert (ended.returncode, ended.stdout) == (0, "mainserver: associated (registered by chef-validator)\n")


def test_a_client_made_anew_saves_its_predecessor_s_object_where_names_are_all(servers, config_path, tmp_path):
    """From key conflict to a run's last request. goiardi goes by names and has no ``_acl``: nothing is warned of."""
    main, _ = servers
    main.register("web-1", PrivateKey.generate().public_pem().decode(), run_list=("recipe[web]",))
    with daemon(config_path) as sidecar:
        until(lambda: entries(sidecar)["mainserver"]["association"] == "refused")
        main.delete_client("web-1")
        assert run("associate", "mainserver", "--wait", "--timeout", "1m", "--config", config_path).returncode == 0
        until(lambda: entries(sidecar)["mainserver"]["readiness"] == "has an object of this node")
        assert (entries(sidecar)["mainserver"]["may_save"], entries(sidecar)["mainserver"]["lacks"]) == (None, [])
        key = load_key(tmp_path / "client.pem")
        saved = main.request("PUT", "nodes/web-1", "web-1", key, {"name": "web-1", "run_list": ["recipe[web]"]})
        assert saved.status_code == 200, saved.text
        sidecar.ask("/v1/runs", method="POST", body={"run_id": "r1", "event": "succeeded", "server": "mainserver"})
        until(lambda: entries(sidecar)["mainserver"]["may_save"] is True)


def test_the_object_in_use_is_seeded_on_the_standby_and_a_differing_one_is_left(servers, config_path, tmp_path):
    main, standby = servers
    with daemon(config_path) as sidecar:
        until(lambda: is_associated(sidecar))
        assert not entries(sidecar)["standbyserver"]["differences"]
        key = load_key(tmp_path / "client.pem")
        object_ = {"name": "web-1", "run_list": ["recipe[web]"], "normal": {"rack": "b2"}}
        main.request("POST", "nodes", "web-1", key, object_)
        sidecar.ask("/v1/runs", method="POST", body={"run_id": "r1", "event": "succeeded", "server": "mainserver"})
        until(lambda: standby.request("GET", "nodes/web-1", "web-1", key).status_code == 200, 60)
        seeded = standby.request("GET", "nodes/web-1", "web-1", key).json()
        assert (seeded["run_list"], seeded["normal"]) == (["recipe[web]"], {"rack": "b2"})
        until(lambda: entries(sidecar)["standbyserver"]["ready"])
        standby.request("PUT", "nodes/web-1", "web-1", key, {"name": "web-1", "run_list": ["recipe[other]"]})
        sidecar.ask("/v1/servers/standbyserver/associate", method="POST", body={})
        until(lambda: "run list" in entries(sidecar)["standbyserver"]["differences"])
        assert standby.request("GET", "nodes/web-1", "web-1", key).json()["run_list"] == ["recipe[other]"]
        assert "differs" in run("status", "--config", config_path).stdout


@pytest.mark.parametrize("validator", ["", ", validator: chef-validator"])
def test_check_says_that_goiardi_has_no_organizations_before_the_start(servers, config_path, validator):
    """It asks for a signature there before all else, so an unsigned question under an organization proves nothing."""
    text = config_path.read_text().replace(", organization: null", "").replace(".pem'", f".pem'{validator}")
    config_path.write_text(text)
    words = "no Chef API under /organizations/default; for a server without organizations (goiardi, Chef 11) set"
    lines = [line for line in run("check", "--node", "--config", config_path).stdout.splitlines() if words in line]
    assert [line.split("  ")[:2] for line in lines] == [
        ["!!", "mainserver"],
        ["!!", "standbyserver"],
        ["!!", "validator at mainserver"],
        ["!!", "validator at standbyserver"],
    ]
