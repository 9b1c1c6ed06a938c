"""``chef-failover retire`` as people and scripts meet it."""

import json
import os
import re
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
            try:
                with subprocess.Popen(
                    whole, stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                ) as process:
                    asked = read_until(process.stderr, "[y/N]")
                    os.write(ours, answer() if callable(answer) else answer)
                    out, more = process.communicate(timeout=60)
                return subprocess.CompletedProcess(whole, process.returncode, out, asked + more)
            finally:
                os.close(its)
                os.close(ours)

        yield (*servers, run)


def read_until(stream, ending):
    """What the stream says up to that, or up to its end."""
    read = ""
    while not read.endswith(ending) and (one := stream.read(1)):
        read += one
    return read


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


def test_a_node_that_has_run_while_the_question_stood_is_kept(fleet):
    main, _, run = fleet

    def run_there():
        fill(main, ["web-1"], age_s=60)
        return b"y\n"

    ended = run("web-1", answer=run_there)
    assert (ended.returncode, left(main)) == (1, ["db-1", "web-1"])
    assert re.search(r"^web-1 is kept: seen 6\d s ago on main: it may be alive$", ended.stdout, re.MULTILINE)


def test_a_node_without_the_time_of_a_run_takes_force(fleet):
    main, _, run = fleet
    main.put_node("web-1")
    ended = run("web-1", "--yes")
    assert (ended.returncode, left(main)) == (1, ["db-1", "web-1"])
    assert "web-1 is kept: main knows no time of a run: it may be in its first one" in ended.stdout
    assert run("web-1", "--yes", "--force").returncode == 0


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
