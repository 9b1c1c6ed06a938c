"""``chef-failover retire`` as people and scripts meet it."""

import json
import os
import subprocess

import pytest

from tests.support.daemon_process import command, dev_servers
from tests.support.fleet import fill, write_credentials

PROFILES = ("--profile", "main", "--profile", "standby")


@pytest.fixture
def fleet(tmp_path):
    """Two embedded servers that know web-1 and db-1, and what runs the command; web-1 was seen a day ago."""
    with dev_servers("main", "standby") as servers:
        path = write_credentials(tmp_path, servers)
        for server in servers:
            for name, age_s in (("web-1", 86400 * 3), ("db-1", 720 if server is servers[0] else 86400 * 2)):
                server.register(name, "a key")
                fill(server, [name], age_s=age_s)

        def run(*arguments, answer=None, profiles=PROFILES):
            whole = command("retire", "--credentials", path, "--rate", "1000", *profiles, *arguments)
            if answer is None:
                return subprocess.run(whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            ours, its = os.openpty()
            os.write(ours, answer)
            try:
                return subprocess.run(whole, stdin=its, capture_output=True, text=True, timeout=60, check=False)
            finally:
                os.close(its)
                os.close(ours)

        yield (*servers, run)


def left(server):
    return sorted({*server.state.nodes, *server.state.clients})


def test_a_node_that_is_gone_is_removed_and_one_that_may_live_is_kept(fleet):
    main, standby, run = fleet
    ended = run("web-1", "db-1", "--yes")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.splitlines() == [
        "NODE   SERVER   CLIENT   NODE OBJECT  LAST SEEN",
        "web-1  main     removed  removed      3 d ago",
        "       standby  removed  removed      3 d ago",
        "db-1   main     there    there        12 min ago",
        "       standby  there    there        2 d ago",
        "",
        "db-1 is kept: seen 12 min ago on main: it may be alive",
    ]
    assert left(main) == left(standby) == ["db-1"]
    assert run("db-1", "--yes", "--force").returncode == 0
    ended = run("web-1", "db-1", "--yes", "--json")
    assert (ended.returncode, ended.stderr, left(main)) == (0, "", [])
    assert [node["result"] for node in json.loads(ended.stdout)["nodes"]] == ["gone", "gone"]


def test_a_person_is_asked_and_a_script_has_to_say_yes(fleet):
    main, _, run = fleet
    ended = run("web-1")
    assert (
        ended.returncode,
        "removal is final and needs a confirmation: without a terminal, pass --yes" in ended.stderr,
    ) == (2, True)
    ended = run("web-1", answer=b"n\n")
    assert (ended.returncode, ended.stdout, left(main)) == (1, "", ["db-1", "web-1"])
    assert "web-1  main     there   there        3 d ago" in ended.stderr
    assert "Remove web-1 from main and standby? [y/N]" in ended.stderr
    ended = run("web-1", answer=b"y\n")
    assert (ended.returncode, left(main)) == (0, ["db-1"])
    ended = run("web-1", answer=b"")
    assert (ended.returncode, ended.stderr) == (0, ""), "there is nothing to ask"


def test_a_server_that_is_down_is_told_and_the_next_call_finishes(fleet):
    main, standby, run = fleet
    standby.stop()
    ended = run("web-1", "--yes")
    assert (ended.returncode, left(main)) == (1, ["db-1", "web-1"])
    assert "       standby  ?       ?" in ended.stdout
    assert "web-1 is kept: standby: connection refused. It may be in use there" in ended.stdout
    standby.start()
    ended = run("web-1", "--yes")
    assert (ended.returncode, left(standby)) == (0, ["db-1"])


def test_a_mistake_is_told(fleet):
    ended = fleet[2]("web-1", "web/1", "--yes")
    assert (
        ended.returncode,
        ended.stdout,
        "'web/1' is not a node name; write letters, digits, _ . : and -" in ended.stderr,
    ) == (2, "", True)
    ended = fleet[2]("default-validator", "admin", "--yes")
    assert (ended.returncode, ended.stdout.count(" is kept: a validator or administrator")) == (1, 2)
