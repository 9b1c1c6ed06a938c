"""``chef-failover fleet`` as people and nightly jobs meet it."""

import json
import os
import subprocess
import sys

import pytest

from chef_failover.cli import fleet_tables
from tests.support.daemon_process import command, dev_servers
from tests.support.fleet import facts, fill, write_credentials


@pytest.fixture
def fleet(tmp_path):
    """Two embedded servers with profiles of their own; gives them, and what runs the command."""
    with dev_servers("main", "standby") as servers:
        write_credentials(tmp_path, servers)

        def run(*arguments, profiles=("main", "standby")):
            named = [word for profile in profiles for word in ("--profile", profile)]
            whole = command("fleet", "--credentials", tmp_path / "credentials", "--rate", "1000", *named, *arguments)
            return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)

        yield servers, run


def test_a_fleet_that_would_go_on_is_exit_0(fleet):
    (main, standby), run = fleet
    fill(main, ["web-1", "web-2"], facts())
    fill(standby, ["db-1"], facts("standbyserver"))
    ended = run()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        f"main: 2 of 2 nodes read from {main.chef_server_url}",
        f"standby: 1 of 1 nodes read from {standby.chef_server_url}",
        "",
        "SERVER IN USE  NODES",
        "mainserver     2",
        "standbyserver  1",
        "",
        "Without mainserver, 3 of 3 nodes go on.",
        "  standbyserver  3",
    ]


def test_a_node_that_would_be_left_alone_is_exit_1_with_its_reason(fleet):
    (main, _), run = fleet
    fill(main, ["web-1"], facts())
    fill(main, [f"db-{n:02}" for n in range(12)], facts(standbyserver={"association": "refused"}))
    fill(main, ["old-1"])
    ended = run(profiles=["main"])
    assert ended.returncode == 1
    alone = ended.stdout.partition("Left alone:\n")[2].splitlines()
    names = ", ".join(f"db-{n:02}" for n in range(10))
    assert alone[0].split("  ")[1:] == ["not registered on any standby", "12", f"{names} and 2 more"]
    assert alone[1].split() == ["without", "chef-failover", "1", "old-1"]
    document = json.loads(run("--json", "--query", "name:db-*", profiles=["main"]).stdout)
    assert document["nodes"] == len(document["without"]["left_alone"][0]["nodes"]) == 12
    assert run("--query", "name:web-*", profiles=["main"]).returncode == 0
    assert run("--without", "standbyserver", profiles=["main"]).returncode == 0


def test_a_server_that_is_dead_is_told_and_the_other_one_is_read(fleet):
    (main, standby), run = fleet
    fill(standby, ["web-1"], facts("standbyserver"))
    main.stop()
    ended = run()
    assert ended.returncode == 1
    assert "  not all could be read: connection refused" in ended.stdout
    assert "Without standbyserver, 1 of 1 nodes go on" in ended.stdout


def test_the_account_may_stand_on_the_command_line(fleet, tmp_path):
    (main, _), run = fleet
    fill(main, ["web-1"], facts())
    whole = ["--server", main.chef_server_url, "--client-name", "admin", "--key", tmp_path / "main.pem"]
    ended = run(*whole, profiles=[])
    assert (ended.returncode, "Without mainserver, 1 of 1 nodes go on" in ended.stdout) == (0, True)
    assert run(*whole[:2], profiles=[]).returncode == 2
    assert run(*whole).returncode == 2


def test_a_page_is_written_beside_the_table(fleet, tmp_path):
    (main, _), run = fleet
    fill(main, ["web-1"], facts())
    path = tmp_path / "fleet.html"
    ended = run("--html", path, profiles=["main"])
    assert (ended.returncode, "Without mainserver, 1 of 1 nodes go on." in path.read_text()) == (0, True)
    ended = run("--html", tmp_path / "no" / "such.html", profiles=["main"])
    assert (ended.returncode, "No such file or directory" in ended.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--profile", "prod"], 2, "has no profile 'prod'; it has: main, standby"),
        (["--without", "mainservre"], 1, "no node uses mainservre"),
        (["--rate", "0"], 2, "not in the range"),
    ],
)
def test_a_mistake_is_told(fleet, arguments, code, said):
    ended = fleet[1](*arguments)
    assert (ended.returncode, ended.stdout, said in ended.stderr) == (code, "", True), ended.stderr


def test_a_terminal_gets_a_bar_and_a_script_gets_none(fleet, tmp_path):
    (main, _), _ = fleet
    fill(main, [f"web-{n}" for n in range(300)], facts())
    whole = command("fleet", "--credentials", tmp_path / "credentials", "--profile", "main", "--rate", "1000")
    ours, its = os.openpty()
    ended = subprocess.run(whole, stdout=subprocess.PIPE, stderr=its, timeout=60, check=False)
    os.close(its)
    assert ended.returncode == 0
    assert b"reading nodes" in os.read(ours, 65536)
    os.close(ours)


def test_nothing_of_the_web_framework_or_aws_is_loaded():
    code = "import sys, chef_failover.cli.fleet; print([m for m in ('flask', 'waitress', 'boto3') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_fleet_without_nodes_is_told():
    assert "There are no nodes." in fleet_tables.report(
        {"sources": [], "nodes": 0, "using": {}, "states": [], "without": None}
    )
