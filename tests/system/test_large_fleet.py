"""``chef-failover fleet`` on 25,000 nodes, while two of three servers die."""

import json
import subprocess
import sys
import time

from tests.support.daemon_process import command, dev_servers
from tests.support.fleet import facts, fill

COUNT = 25_000
MOST_MB = 100
MEASURED = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], check=False)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(ended.returncode)
"""
"""Tells how many KB the command took at most: a child of this process is counted with what this process had."""


def test_25_000_nodes_are_read_in_little_memory_while_two_of_three_servers_die(tmp_path):
    with dev_servers("main", "second", "third") as servers:
        text = ""
        names = [f"node-{number:05}" for number in range(COUNT)]
        for server in servers:
            (tmp_path / f"{server.name}.pem").write_bytes(server.administrator_key.private_pem())
            text += f'[{server.name}]\nclient_name = "admin"\nclient_key = "{server.name}.pem"\n'
            text += f'chef_server_url = "{server.chef_server_url}"\n'
            fill(server, names, facts(), age_s=60.0 if server is servers[0] else 600.0)
        (tmp_path / "credentials").write_text(text)
        (tmp_path / "ca.pem").write_bytes(servers[0].ca_pem)
        whole = command("fleet", "--credentials", tmp_path / "credentials", "--ca-file", tmp_path / "ca.pem")
        profiles = [word for server in servers for word in ("--profile", server.name)]
        measured = [sys.executable, "-c", MEASURED, *whole, *profiles, "--rate", "1000", "--json"]
        with subprocess.Popen(measured, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            while min(len(server.requests) for server in servers) < 10:
                time.sleep(0.05)
            for server in servers[1:]:
                server.stop()
            told, used_kb = running.communicate()
    document = json.loads(told)
    assert running.returncode == 1
    assert [source["whole"] for source in document["sources"]] == [True, False, False]
    assert all(source["trouble"] for source in document["sources"][1:])
    assert document["nodes"] == document["sources"][0]["read"] == COUNT
    assert document["without"]["go_on"] == {"standbyserver": COUNT}
    assert int(used_kb) / 1024 < MOST_MB
