"""``chef-failover fleet`` on two real Chef servers (goiardi), with the facts that Ohai publishes."""

import json
import subprocess
import time

import pytest

from tests.support.daemon_process import command, until
from tests.support.goiardi import Goiardi

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


def test_two_servers_are_one_fleet_and_one_may_be_dead(filled, tmp_path):
    text = ""
    for name, server in zip(("main", "standby"), filled, strict=True):
        text += f'[{name}]\nclient_name = "admin"\nclient_key = "{server.ca_file.parent}/admin.pem"\n'
        text += f'chef_server_url = "{server.url}"\n'
    (tmp_path / "credentials").write_text(text)
    (tmp_path / "trusted_certs").mkdir()
    for number, server in enumerate(filled):
        (tmp_path / "trusted_certs" / f"{number}.crt").write_bytes(server.ca_file.read_bytes())
    whole = command("fleet", "--credentials", tmp_path / "credentials", "--rate", "1000", "--json")

    def used():
        named = [*whole, "--profile", "main", "--profile", "standby"]
        told = json.loads(subprocess.run(named, stdout=subprocess.PIPE, timeout=100, check=False).stdout)
        return told["using"].get("standbyserver"), told["whole"]

    until(lambda: used() == (30, True))
    filled[0].stop()
    assert used() == (30, False)
