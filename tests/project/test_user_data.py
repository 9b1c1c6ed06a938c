"""The first boot, as packaging/examples/user-data.yml has it: read as cloud-init reads it, and its commands run."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from chef_failover.cli.main import commands
from chef_failover.config import settings as config
from chef_failover.config.settings import ChefServerAssociation

USER_DATA = Path(__file__).parents[2] / "packaging" / "examples" / "user-data.yml"
STAND_IN = """#!/bin/sh
echo "{name} $*" >>"{told}"
[ ! -e "{failures}-{name}" ] || {{ rm "{failures}-{name}"; exit 1; }}
"""
"""Tells how it was called, and fails once where a file asks for it."""
WAIT = "chef-failover wait --associated --timeout 10m"
RUN = "chef-client -j /etc/chef/first-boot.json"
START = ["systemctl enable chef-failover", "systemctl restart --no-block chef-failover"]


@pytest.fixture(scope="module")
def document():
    return yaml.safe_load(USER_DATA.read_text())


def written(document, path):
    (content,) = (file["content"] for file in document["write_files"] if file["path"] == path)
    return content


def test_cloud_init_would_take_it_for_its_own(document):
    assert USER_DATA.read_text().startswith("#cloud-config\n")
    assert set(document) == {"write_files", "runcmd"}
    assert len(USER_DATA.read_bytes()) < 16384  # what EC2 takes
    for file in document["write_files"]:
        assert set(file) == {"path", "permissions", "content"}
        assert isinstance(file["permissions"], str)  # a number would be decimal


def test_its_configuration_is_valid_and_registers_the_node_everywhere(document):
    parsed = config.parse(written(document, "/etc/chef-failover/config.yml"))
    assert parsed.node.name == "{instance_id}"
    assert len(parsed.servers) == 2
    assert all(isinstance(server.association, ChefServerAssociation) for server in parsed.servers)


def test_the_first_run_has_something_to_do(document):
    assert json.loads(written(document, "/etc/chef/first-boot.json"))["run_list"]


def test_its_commands_exist():
    _, name, *options = shlex.split(WAIT)
    with commands()[name].make_context(name, options) as context:
        assert (context.params["associated"], context.params["timeout_s"]) == (True, 600)


@pytest.mark.parametrize(
    ("fails_once", "told", "exit_code"),
    [
        ((), [*START, WAIT, RUN], 0),
        (("chef-client",), [*START, WAIT, RUN, "sleep 30", WAIT, RUN], 0),
        (("chef-failover",), [*START, WAIT, "sleep 30", WAIT, RUN], 0),
        (("systemctl",), START[:1], 1),
    ],
)
def test_its_script_runs_in_order_and_tries_again(document, tmp_path, fails_once, told, exit_code):
    (script,) = document["runcmd"]
    names = {"told": tmp_path / "told", "failures": tmp_path / "fails"}
    for name in ("systemctl", "chef-failover", "chef-client", "sleep"):
        (tmp_path / name).write_text(STAND_IN.format(name=name, **names))
        (tmp_path / name).chmod(0o755)
    for name in fails_once:
        (tmp_path / f"fails-{name}").touch()
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    ended = subprocess.run(["/bin/sh", "-c", script], env=environ, check=False, timeout=60)
    assert ((tmp_path / "told").read_text().splitlines(), ended.returncode) == (told, exit_code)
