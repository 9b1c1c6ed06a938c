"""The first boot, as packaging/examples/user-data*.yml have it: read as cloud-init reads it, and its commands run."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from chef_failover.cli.main import commands
from chef_failover.config import settings as config
from chef_failover.config.settings import ChefServerAssociation

EXAMPLES = Path(__file__).parents[2] / "packaging" / "examples"
USER_DATA = EXAMPLES / "user-data.yml"
STAND_IN = """#!/bin/sh
echo "{name} $*" >>"{folder}/told"
[ ! -s "{folder}/{name}-ends" ] || {{
  code=$(head -n 1 "{folder}/{name}-ends")
  sed -i 1d "{folder}/{name}-ends"
  exit "$code"
}}
"""
"""Tells how it was called, and ends with the codes of a file, one after the other, then with 0."""
WAIT = "chef-failover wait --associated --timeout 10m"
RUN = "chef-client -j /etc/chef/first-boot.json"
LIMIT = ["systemctl daemon-reload", "systemctl enable --now ec2-metadata"]
START = [*LIMIT, "systemctl enable chef-failover", "systemctl restart --no-block chef-failover"]
UNITS = ["systemctl cat chef-client.service", "systemctl cat chef-client.timer"]
TIMER = ["systemctl daemon-reload", "systemctl enable --now chef-client.timer"]
INSTALL = "install -m 0644 /usr/share/doc/chef-failover/examples/{} /etc/systemd/system/"
NO_FAILURES = (EXAMPLES / "chef-client.service").read_text().partition("SuccessExitStatus=")[2].split("\n")[0].split()


@pytest.fixture(scope="module")
def document():
    return yaml.safe_load(USER_DATA.read_text())


def written(document, path):
    (content,) = (file["content"] for file in document["write_files"] if file["path"] == path)
    return content


def test_cloud_init_would_take_it_for_its_own(document):
    assert USER_DATA.read_text().startswith("#cloud-config\n")
    assert set(document) == {"packages", "write_files", "runcmd"}
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


def test_only_root_and_the_sidecar_may_ask_the_metadata_service(document):
    rules = written(document, "/etc/ec2-metadata.nft")
    sysusers = (USER_DATA.parents[1] / "chef-failover.sysusers").read_text().split()
    for address in ("ip daddr 169.254.169.254", "ip6 daddr fd00:ec2::254"):
        assert f'{address} meta skuid != {{ "root", "{sysusers[1]}" }} reject\n' in rules
    unit = written(document, "/etc/systemd/system/ec2-metadata.service")
    assert "ExecStart=/usr/sbin/nft -f /etc/ec2-metadata.nft\n" in unit


def test_its_commands_exist():
    _, name, *options = shlex.split(WAIT)
    with commands()[name].make_context(name, options) as context:
        assert (context.params["associated"], context.params["timeout_s"]) == (True, 600)


def run_script(path, folder, **ends):
    """What its commands, which are stand-ins, are told, and its exit code; ``chef_client=[1]``: that fails once."""
    (script,) = yaml.safe_load(path.read_text())["runcmd"]
    for name in ("systemctl", "chef-failover", "chef-client", "sleep", "install"):
        (folder / name).write_text(STAND_IN.format(name=name, folder=folder))
        (folder / name).chmod(0o755)
    for name, codes in ends.items():
        (folder / f"{name.replace('_', '-')}-ends").write_text("".join(f"{code}\n" for code in codes))
    environ = {"PATH": f"{folder}:/usr/bin:/bin"}
    ended = subprocess.run(["/bin/sh", "-c", script], env=environ, check=False, timeout=60)
    return (folder / "told").read_text().splitlines(), ended.returncode


@pytest.mark.parametrize(
    ("ends", "told", "exit_code"),
    [
        ({}, [*START, WAIT, RUN, *UNITS, *TIMER], 0),
        ({"chef_client": [1]}, [*START, WAIT, RUN, "sleep 30", WAIT, RUN, *UNITS, *TIMER], 0),
        ({"chef_failover": [1]}, [*START, WAIT, "sleep 30", WAIT, RUN, *UNITS, *TIMER], 0),
        ({"chef_client": [1, 1, 1]}, [*START, *[WAIT, RUN, "sleep 30"] * 2, WAIT, RUN], 1),
        ({"systemctl": [1]}, START[:1], 1),
        (
            {"systemctl": [0, 0, 0, 0, 1]},
            [*START, WAIT, RUN, UNITS[0], INSTALL.format("chef-client.service"), UNITS[1], *TIMER],
            0,
        ),
    ],
    ids=str,
)
def test_its_script_runs_in_order_and_tries_again(tmp_path, ends, told, exit_code):
    assert run_script(USER_DATA, tmp_path, **ends) == (told, exit_code)


@pytest.mark.parametrize("path", [USER_DATA, EXAMPLES / "user-data-of-ami.yml"], ids=lambda path: path.name)
@pytest.mark.parametrize("code", [0, *map(int, NO_FAILURES)])
def test_what_is_no_failure_for_the_unit_is_none_at_the_first_boot(tmp_path, path, code):
    told, exit_code = run_script(path, tmp_path, chef_client=[code])
    assert [command.split()[0] for command in told if "systemctl" not in command] == ["chef-failover", "chef-client"]
    assert (told[-1], exit_code) == (TIMER[-1], 0)


@pytest.mark.parametrize("path", [USER_DATA, EXAMPLES / "user-data-of-ami.yml"], ids=lambda path: path.name)
def test_a_first_run_that_fails_for_good_starts_no_timer(tmp_path, path):
    told, exit_code = run_script(path, tmp_path, chef_client=[43, 43, 43])
    assert exit_code == 1
    assert not any("timer" in command for command in told)


def test_the_units_that_are_installed_are_examples():
    assert all((EXAMPLES / command.split()[-1]).exists() for command in UNITS)
    assert NO_FAILURES == ["35", "37", "40", "41"]
