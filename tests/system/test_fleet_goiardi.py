"""``chef-failover fleet`` and ``retire`` on two real Chef servers (goiardi), with the facts that Ohai publishes."""

import json
import subprocess
import time

import pytest

from chef_failover.chef.libcrypto import PrivateKey
from tests.support.daemon_process import command, until
from tests.support.goiardi import Goiardi, public_pem

COUNT = 300


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("goiardi")
    with Goiardi(folder / "main") as main, Goiardi(folder / "standby") as standby:
        yield main, standby


def node(name, published, age_s):
    automatic = {"ohai_time": time.time() - age_s} | ({"chef_failover": published} if published else {})
    return {"name": name, "run_list": ["recipe[web]"], "automatic": automatic}


@pytest.fixture(scope="module")
def filled(servers, contract):
    """Most nodes use the main server; every tenth has moved, every hundredth has no chef-failover."""
    moved = json.loads((contract / "facts.json").read_text()) | {"pin": None, "drains": {}}
    at_main = json.loads(json.dumps(moved))
    at_main["server"] |= {"name": "mainserver", "chef_server_url": at_main["servers"]["mainserver"]["url"]}
    for server in servers:
        for number in range(COUNT):
            is_moved = number % 10 == 1 and server is servers[1]
            published = None if number % 100 == 5 else moved if is_moved else at_main
            server.put_node(node(f"web-{number}", published, 60 if is_moved or server is servers[0] else 600))
    return servers


def fleet(folder, server, *more):
    account = ["--client-name", "admin", "--key", folder / "admin.pem", "--ca-file", server.ca_file]
    whole = command("fleet", "--server", server.url, *account, "--rate", "1000", *more)
    return subprocess.run(whole, capture_output=True, text=True, timeout=100, check=False)


def test_all_nodes_of_a_real_server_are_read(filled):
    main = filled[0]

    def document():
        ended = fleet(main.ca_file.parent, main, "--json")
        return json.loads(ended.stdout), ended

    until(lambda: document()[0]["whole"])  # goiardi indexes in the background
    found, ended = document()
    assert (found["nodes"], ended.returncode) == (COUNT, 1)
    assert found["using"] == {"mainserver": COUNT}
    assert found["without"]["go_on"] == {"standbyserver": COUNT - 3}
    assert [(group["key"], group["nodes"][0]) for group in found["without"]["left_alone"]] == [
        ("not_installed", "web-105")
    ]
    assert {group["key"]: group["count"] for group in found["states"]} == {"not_installed": 3}
    narrow = json.loads(fleet(main.ca_file.parent, main, "--json", "--query", "name:web-1*").stdout)
    assert narrow["nodes"] == 111


@pytest.fixture
def profiles(filled, tmp_path):
    """The arguments that name both servers."""
    text = ""
    for name, server in zip(("main", "standby"), filled, strict=True):
        text += f'[{name}]\nclient_name = "admin"\nclient_key = "{server.ca_file.parent}/admin.pem"\n'
        text += f'chef_server_url = "{server.url}"\n'
    (tmp_path / "credentials").write_text(text)
    (tmp_path / "trusted_certs").mkdir()
    for number, server in enumerate(filled):
        (tmp_path / "trusted_certs" / f"{number}.crt").write_bytes(server.ca_file.read_bytes())
    whole = command("fleet", "--credentials", tmp_path / "credentials", "--rate", "1000")
    return [*whole, "--profile", "main", "--profile", "standby"]


def test_what_a_standby_lacks_is_told_without_its_content(filled, profiles):
    main, standby = filled
    for server, versions, secret in ((main, ("1.2.3", "1.3.0"), "swordfish"), (standby, ("1.2.3",), "herring")):
        for version in versions:
            server.put_cookbook("web", version)
        server.put_item("users", {"id": "alice", "password": secret})
    main.put_role("base")
    main.put_item("keys", {"id": "tls", "key": "planted"})
    ended = subprocess.run([*profiles, "--parity"], capture_output=True, text=True, timeout=100, check=False)
    told = ended.stdout.partition("standby lacks, of what main has:\n")[2]
    lines = [line.split() for line in told.partition("\n\n")[0].splitlines()]
    assert lines == [
        ["cookbooks", "missing", "1", "web", "1.3.0"],
        ["roles", "missing", "1", "base"],
        ["data", "bags", "missing", "1", "keys"],
        ["data", "bag", "items", "missing", "1", "keys", "tls"],
        ["data", "bag", "items", "that", "differ", "1", "users", "alice"],
    ]
    assert "policies could not be read" in told
    assert not any(secret in ended.stdout + ended.stderr for secret in ("swordfish", "herring", "planted"))
    document = json.loads(subprocess.run([*profiles, "--parity", "--json"], stdout=subprocess.PIPE, check=False).stdout)
    server = document["parity"]["servers"][0]
    assert (server["counts"]["cookbooks"], len(server["nodes_without_client"])) == (2, COUNT)


def test_nodes_that_are_gone_are_removed_from_both_and_one_that_lives_stays(filled, profiles):
    main, standby = filled
    key = public_pem(PrivateKey.generate())
    for server in filled:
        for name in ("gone-1", "gone-2", "web-1"):
            server.register(name, key)
    main.put_node(node("gone-1", None, 86400))
    standby.put_node(node("gone-2", None, 7200))
    whole = ["retire" if word == "fleet" else word for word in profiles]

    def retire():
        names = ["gone-1", "gone-2", "web-1", "chef-webui", "--yes", "--json"]
        ended = subprocess.run(
            [*whole, *names], stdin=subprocess.DEVNULL, capture_output=True, timeout=100, check=False
        )
        assert ended.returncode == 1
        return {one["name"]: one["objection"] or one["result"] for one in json.loads(ended.stdout)["nodes"]}

    assert retire() == {"gone-1": "retired", "gone-2": "retired", "web-1": "alive", "chef-webui": "protected"}
    assert retire()["gone-1"] == "gone"
    for server in filled:
        assert {*server.names("clients")} == {"chef-validator", "chef-webui", "web-1"}
        assert {"gone-1", "gone-2", "web-1"} & {*server.names("nodes")} == {"web-1"}


def test_two_servers_are_one_fleet_and_one_may_be_dead(filled, profiles):
    def used():
        told = json.loads(
            subprocess.run([*profiles, "--json"], stdout=subprocess.PIPE, timeout=100, check=False).stdout
        )
        return told["using"].get("standbyserver"), told["whole"]

    until(lambda: used() == (30, True))
    filled[0].stop()
    assert used() == (30, False)
