"""A mistake in config.yml, as the people meet it who make it: with the daemon, the commands, and the service's user."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest

from tests.support.daemon_process import command, daemon, run, until, write_config
from tests.support.parts import require_program

MISTAKE = "organisation: acme\n"
SAID = "organisation: unknown key"


@pytest.fixture(autouse=True)
def started(servers):
    for server in servers:
        server.start()


@pytest.fixture
def path(servers, tmp_path):
    return write_config(tmp_path, servers, node="{name: web-1}")


def spoil(path):
    path.write_text(path.read_text() + MISTAKE)


def names(running):
    return [entry["name"] for entry in running.ask("/v1/servers").body["servers"]]


def test_it_says_what_it_accepted(path):
    ended = run("accept", "--config", path)
    assert (ended.returncode, ended.stdout) == (0, f"accepted {path}: mainserver, standbyserver\n")
    path.write_text("servers: []\n")
    assert "no server; chef-client keeps its own chef_server_url" in run("accept", "--config", path).stdout


def test_a_mistake_is_exit_2_with_its_line(path):
    spoil(path)
    ended = run("accept", "--config", path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert SAID in ended.stderr
    assert not path.with_name("config.yml.accepted.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 0),
        (["server"], 0),
        (["facts"], 0),
        (["wait", "--timeout", "20s"], 0),
        (["drain", "standbyserver"], 0),
        (["undrain", "standbyserver"], 0),
        (["pin", "mainserver"], 0),
        (["unpin"], 0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_typo_takes_no_command_away(path, arguments, code):
    with daemon(path) as running:
        until(lambda: all(one["outcome"] for one in running.ask("/v1/servers").body["servers"]))
        spoil(path)
        ended = run(*arguments, "--config", path)
        assert (ended.returncode, ended.stderr) == (code, "")


def test_status_and_check_say_that_config_yml_is_not_at_work_and_why(path):
    with daemon(path) as running:
        until(lambda: all(one["outcome"] for one in running.ask("/v1/servers").body["servers"]))
        assert "not in use" not in run("status", "--config", path).stdout
        text = path.read_text()
        path.write_text(text.replace("fall: 3", "fall: 4"))
        for ended in (run("status", "--config", path), run("check", "--config", path)):
            assert f"Warning: {path} changed and is not in use yet" in ended.stdout
        spoil(path)
        told = run("status", "--config", path).stdout
        assert f"Warning: {path} is invalid and not in use: {path}:" in told
        assert SAID in told
        assert SAID in json.loads(run("status", "--json", "--config", path).stdout)["warnings"][0]
        ended = run("check", "--config", path)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "the sidecar and chef-client keep the former configuration" in ended.stderr
        assert SAID in ended.stderr
    assert f"Warning: {path} is invalid and not in use: " in run("status", "--config", path).stdout, (
        "nor is it without a sidecar"
    )


def test_check_only_file_looks_at_the_file_alone(servers, path):
    for server in servers:
        server.stop()
    new = path.with_name("new.yml")
    new.write_text(path.read_text())
    ended = run("check", "--only-file", "--config", new)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{new} is valid.\n", "")
    document = json.loads(run("check", "--only-file", "--json", "--config", new).stdout)
    assert document == {"schema": 1, "servers": ["mainserver", "standbyserver"]}
    spoil(new)
    ended = run("check", "--only-file", "--config", new)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)
    assert run("check", "--only-file", "--node", "--config", path).returncode == 2


def test_check_looks_at_a_list_before_nodes_fetch_it(path):
    listed = path.with_name("list.yml")
    listed.write_text('servers: [{name: other, url: "https://other.example.com"}]\n')
    arguments = ("check", "--only-file", "--config", path, "--list", listed)
    ended = run(*arguments)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert f"file:{listed}" in ended.stdout
    assert "other.example.com" in ended.stdout
    path.write_text(path.read_text() + 'trusted_hosts: ["*.example.com"]\n')
    ended = run(*arguments, "--json")
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["servers"], document["discovery"]["in_use"]) == (0, ["other"], "source")


def test_a_restart_with_a_mistake_goes_on_with_what_was_accepted(path):
    with daemon(path) as running:
        spoil(path)
        running.stop()
        running.restart()
        assert names(running) == ["mainserver", "standbyserver"]
        assert "is invalid and not in use" in running.log
        assert SAID in running.log


def test_a_reload_by_the_unit_s_command_takes_a_good_file_and_fails_with_a_bad_one(path):
    with daemon(path) as running:
        text = path.read_text()
        path.write_text(text.replace("mainserver", "bigserver"))
        ended = run("accept", "--reload", running.process.pid, "--config", path)
        assert ended.returncode == 0, ended.stderr
        until(lambda: names(running) == ["bigserver", "standbyserver"])
        spoil(path)
        ended = run("accept", "--reload", running.process.pid, "--config", path)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert SAID in ended.stderr
        until(lambda: "the configuration in use stays" in running.log)
        assert SAID in running.log
        until(lambda: metric(path, "chef_failover_config_last_reload_successful") == "0.0")
        path.write_text(text.replace("sidecar.sock", "other.sock"))
        ended = run("accept", "--reload", running.process.pid, "--config", path)
        assert (ended.returncode, "listen.socket or state_dir changed: systemctl restart" in ended.stderr) == (1, True)
        assert names(running) == ["bigserver", "standbyserver"]


def test_by_hand_it_changes_nothing_beside_a_sidecar_that_would_not_hear_of_it(path):
    with daemon(path) as running:
        assert run("accept", "--config", path).returncode == 0, "which is the same as before"
        path.write_text(path.read_text().replace("mainserver", "bigserver"))
        ended = run("accept", "--config", path)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "run: systemctl reload chef-failover" in ended.stderr
        assert "bigserver" not in path.with_name("config.yml.accepted.json").read_text()
        spoil(path)
        assert run("accept", "--config", path).returncode == 2
        assert running.stop() == 0
    path.write_text(path.read_text().replace(MISTAKE, ""))
    assert "accepted" in run("accept", "--config", path).stdout


def metric(path, name):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path.with_name("sidecar.sock")))
        asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        told = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
    return next(line.split()[1] for line in told.splitlines() if line.startswith(f"{name} "))


def test_a_process_that_is_gone_is_no_trouble(path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert run("accept", "--reload", gone.pid, "--config", path).returncode == 0


def test_seal_removes_it(path):
    run("accept", "--config", path)
    path.with_name(".config.yml.accepted.json.new").touch()  # a crash in the middle
    ended = run("seal", "--config", path)
    assert ended.stdout.splitlines() == [
        f"removed {path.parent}/.config.yml.accepted.json.new",
        f"removed {path}.accepted.json",
        f"nothing to remove in {path.parent}",
    ]
    assert not path.with_name("config.yml.accepted.json").exists()


class TestTheService:
    """It may write its state, and not beside config.yml."""

    @pytest.fixture
    def etc(self, tmp_path):
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/config.yml").write_text(
            f"listen: {{socket: {tmp_path}/sidecar.sock, loopback: off}}\nstate_dir: {tmp_path}\n"
        )
        (tmp_path / "etc").chmod(0o555)
        yield tmp_path / "etc"
        (tmp_path / "etc").chmod(0o755)

    def accept(self, etc, *more):
        """As root, who may write there."""
        etc.chmod(0o755)
        ended = run("accept", "--config", etc / "config.yml", *more)
        etc.chmod(0o555)
        return ended.returncode

    @contextlib.contextmanager
    def serve(self, etc):
        """As somebody for whom modes count. They do not for root, unless it lacks the capability."""
        powerless = []
        if os.geteuid() == 0:
            powerless = [require_program("setpriv", "util-linux"), "--bounding-set=-dac_override"]
        with (etc.parent / "log").open("a") as log:
            process = subprocess.Popen([*powerless, *command("serve", "--config", etc / "config.yml")], stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def log(self, etc):
        return (etc.parent / "log").read_text()

    def test_goes_by_what_root_has_accepted(self, etc):
        assert self.accept(etc) == 0
        spoil(etc / "config.yml")
        with self.serve(etc) as process:
            until(lambda: "started with" in self.log(etc))
            assert SAID in self.log(etc)
            process.send_signal(signal.SIGHUP)
            until(lambda: "the configuration in use stays" in self.log(etc))
            good = (etc / "config.yml").read_text().replace(MISTAKE, "trusted_hosts: [chef.example.com]\n")
            (etc / "config.yml").write_text(good)
            process.send_signal(signal.SIGHUP)
            until(lambda: self.log(etc).count("the configuration in use stays") == 2)
            assert "config.yml changed and is not in use yet" in self.log(etc)
            assert self.accept(etc, "--reload", process.pid) == 0
            until(lambda: "reloaded" in self.log(etc))

    def test_ends_with_2_over_a_first_file_with_a_mistake(self, etc):
        spoil(etc / "config.yml")
        assert self.accept(etc) == 2
        with self.serve(etc) as process:
            assert process.wait(30) == 2
        assert SAID in self.log(etc)

    def test_never_accepts(self, etc):
        with self.serve(etc):
            until(lambda: "started with" in self.log(etc))
        assert "no configuration is accepted yet" in self.log(etc)
        assert [path.name for path in etc.iterdir()] == ["config.yml"]
