"""The first boot, as packaging/examples/user-data*.yml have it: read as cloud-init reads it, and its commands run."""

import json
import re
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
[ "$1" != show ] || echo "{shows}"
"""
"""Tells how it was called, and ends with the codes of a file, one after the other, then with 0."""
WAIT = "chef-failover wait --associated --timeout 10m"
RUN_LIST, FIRST_RUN = "/etc/chef/first-boot.json", "/etc/chef/first-run"
RUN = f"chef-client -j {RUN_LIST}"
DNF = "dnf -q -y install chef-failover-0.1.0 chef-18.7.10 nftables"
START = ["systemctl enable chef-failover", "systemctl restart --no-block chef-failover"]
INSTALL = "install -m 0644 /usr/share/doc/chef-failover/examples/{} /etc/systemd/system/"
UNITS = ["chef-client.service", "chef-client.timer"]
MISSING = [told for unit in UNITS for told in (f"systemctl show -P FragmentPath {unit}", INSTALL.format(unit))]
READY = [*START, *MISSING, "systemctl daemon-reload", "systemctl enable chef-client.timer"]
DONE = f"rm -f {FIRST_RUN}"
TIMER = "systemctl start chef-client.timer"
BOTH = pytest.mark.parametrize("path", [USER_DATA, EXAMPLES / "user-data-of-ami.yml"], ids=lambda path: path.name)
NO_FAILURES = (EXAMPLES / "chef-client.service").read_text().partition("SuccessExitStatus=")[2].split("\n")[0].split()


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


def test_its_repository_is_as_make_repo_writes_it(document):
    """But for the address. It stands where dnf finds it before anything is installed, and demands both signatures."""
    (made,) = re.findall(r"<<REPO\n(.*?)REPO\n", (EXAMPLES.parent / "make-repo").read_text(), flags=re.DOTALL)
    text = written(document, "/etc/yum.repos.d/chef-failover.repo")
    (address,) = set(re.findall(r"https://\S+?/chef-failover(?=/)", text))
    assert text == made.replace("$BASEURL", address)


def test_the_first_run_has_something_to_do(document):
    assert json.loads(written(document, "/etc/chef/first-boot.json"))["run_list"]


def test_the_limit_leaves_out_users_that_do_not_exist(tmp_path):
    """Else nft would refuse the whole file. And sshd asks as ec2-instance-connect: it must not be cut off."""
    text = (EXAMPLES / "metadata-for-root.service").read_text()
    unit = dict(re.findall(r"^(\w+)=(.*)", text, flags=re.MULTILINE))
    _, _, users = unit["Environment"].strip('"').partition("=")
    sysusers = (EXAMPLES.parent / "chef-failover.sysusers").read_text().split()
    assert users.split() == ["root", sysusers[1], "ec2-instance-connect", "cwagent"]
    (tmp_path / "getent").write_text("""#!/bin/sh
        echo "$*" >&2; echo root:x:0:0::/:/bin/sh; echo ec2-instance-connect:x:991:991::/:/bin/sh; exit 2""")
    (tmp_path / "nft").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"")
    for name in ("getent", "nft"):
        (tmp_path / name).chmod(0o755)
    command = shlex.split(unit["ExecStart"].replace("$$", "$").replace("/usr/sbin/nft", "nft"))
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "USERS": users}
    ran = subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=60)
    assert ran.stderr.split() == ["passwd", *users.split()]
    assert ran.stdout.splitlines() == ["-D", "users={ 0,991 }", "-f", "/etc/metadata-for-root.nft"]
    rules = (EXAMPLES / "metadata-for-root.nft").read_text()
    for address in ("ip daddr 169.254.169.254", "ip6 daddr fd00:ec2::254"):
        assert f"{address} meta skuid != $users reject\n" in rules


@pytest.mark.parametrize(("codes", "reached"), [([0], 4), ([1], 1)], ids=["all is well", "a file is missing"])
def test_it_limits_the_metadata_service_where_nftables_is_and_goes_on_anyway(tmp_path, codes, reached):
    (tmp_path / "nft").write_text("#!/bin/sh\n")
    (tmp_path / "nft").chmod(0o755)
    told, exit_code = run_script(USER_DATA, tmp_path, install=codes)
    limits = [
        "install -m 0644 /usr/share/doc/chef-failover/examples/metadata-for-root.nft /etc/",
        INSTALL.format("metadata-for-root.service"),
        "systemctl daemon-reload",
        "systemctl enable --now metadata-for-root",
    ]
    assert (told, exit_code) == ([DNF, *limits[:reached], *READY, WAIT, RUN, DONE, TIMER], 0)


def test_its_commands_exist():
    _, name, *options = shlex.split(WAIT)
    with commands()[name].make_context(name, options) as context:
        assert (context.params["associated"], context.params["timeout_s"]) == (True, 600)


def run_script(path, folder, shows="", **ends):
    """What its commands, which are stand-ins, are told, and its exit code; ``chef_client=[1]``: that fails once.

    ``shows`` is the file that systemctl has for each unit.
    """
    (script,) = yaml.safe_load(path.read_text())["runcmd"]
    for name in ("dnf", "systemctl", "chef-failover", "chef-client", "sleep", "install", "rm"):
        (folder / name).write_text(STAND_IN.format(name=name, folder=folder, shows=shows))
        (folder / name).chmod(0o755)
    for name, codes in ends.items():
        (folder / f"{name.replace('_', '-')}-ends").write_text("".join(f"{code}\n" for code in codes))
    environ = {"PATH": f"{folder}:/usr/bin:/bin"}
    ended = subprocess.run(["/bin/sh", "-c", script], env=environ, check=False, timeout=60)
    return (folder / "told").read_text().splitlines(), ended.returncode


@pytest.mark.parametrize(
    ("ends", "told", "exit_code"),
    [
        ({}, [DNF, *READY, WAIT, RUN, DONE, TIMER], 0),
        ({"chef_client": [1]}, [DNF, *READY, WAIT, RUN, "sleep 30", WAIT, RUN, DONE, TIMER], 0),
        ({"chef_failover": [1]}, [DNF, *READY, WAIT, "sleep 30", WAIT, RUN, DONE, TIMER], 0),
        ({"systemctl": [1]}, [DNF, *START[:1]], 1),
        ({"dnf": [1]}, [DNF, "sleep 30", DNF, *READY, WAIT, RUN, DONE, TIMER], 0),
        ({"dnf": [1, 1, 1]}, [DNF, "sleep 30", DNF, "sleep 30", DNF], 1),
        ({"systemctl": [0, 0, 0, 0, 0, 1]}, [DNF, *READY, WAIT, RUN, DONE, TIMER], 0),
    ],
    ids=str,
)
def test_its_script_runs_in_order_and_tries_again(tmp_path, ends, told, exit_code):
    assert run_script(USER_DATA, tmp_path, **ends) == (told, exit_code)


@BOTH
@pytest.mark.parametrize("code", [0, *map(int, NO_FAILURES)])
def test_what_is_no_failure_for_the_unit_is_none_at_the_first_boot(tmp_path, path, code):
    told, exit_code = run_script(path, tmp_path, chef_client=[code])
    assert (told[-4:], exit_code) == ([WAIT, RUN, DONE, TIMER], 0)


@BOTH
def test_the_timer_is_enabled_before_the_run_that_may_reboot_the_node(tmp_path, path):
    told, _ = run_script(path, tmp_path, chef_client=[35])
    assert told.index("systemctl enable chef-client.timer") < told.index(RUN) < told.index(TIMER)


@BOTH
def test_after_three_failures_the_timer_goes_on_with_the_first_run(tmp_path, path):
    """A run that fails saves no run list, so a plain run would do nothing and call it success."""
    told, exit_code = run_script(path, tmp_path, chef_client=[43, 43, 43])
    assert (told[-3:], told.count(RUN), exit_code) == ([WAIT, RUN, TIMER], 3, 1)
    assert DONE not in told
    document = yaml.safe_load(path.read_text())
    assert written(document, FIRST_RUN) == f"FIRST_RUN=-j {RUN_LIST}\n"
    assert json.loads(written(document, RUN_LIST))["run_list"]
    lines = written(document, "/etc/systemd/system/chef-client.service.d/first-run.conf").splitlines()
    (plain,) = re.findall(r"^ExecStart=.*", (EXAMPLES / "chef-client.service").read_text(), flags=re.MULTILINE)
    wanted = [f"EnvironmentFile=-{FIRST_RUN}", "ExecStart=", f"{plain} $FIRST_RUN", f"ExecStartPost=/bin/{DONE}"]
    assert lines[-4:] == wanted


@BOTH
def test_units_of_the_image_are_kept(tmp_path, path):
    """A drop-in alone is no unit, so a file of the unit itself is looked for."""
    told, exit_code = run_script(path, tmp_path, shows="/etc/systemd/system/own")
    assert not [command for command in told if command.startswith("install")]
    assert (told[-1], exit_code) == (TIMER, 0)


def test_the_units_that_are_installed_are_examples():
    assert all((EXAMPLES / unit).exists() for unit in UNITS)
    assert NO_FAILURES == ["35", "37", "41"]
