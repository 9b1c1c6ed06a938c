"""The documents for Systems Manager on a node: a real dnf, repository and systemd, and chef-client's own locks."""

import pytest

from tests.packaging.node import call
from tests.packaging.packages import NEW, OLD
from tests.project.test_ssm import DOCUMENTS, script
from tests.support.daemon_process import until
from tests.support.parts import require_program

LOCK = "/var/cinc/cache/cinc-client-running.pid"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_script_passes_shellcheck(name, tmp_path):
    values = {"Server": "mainserver", "Version": "1.2.3"}
    path = tmp_path / "_script.sh"
    path.write_text(script(name, **{key: values[key] for key in values.keys() & DOCUMENTS[name]["parameters"].keys()}))
    call(require_program("shellcheck", "shellcheck"), "--shell=sh", "--exclude=SC2194", path)  # a value is a word here


def test_it_installs_waits_for_a_run_upgrades_and_tells_what_fails(node):
    node.write("/etc/dnf/dnf.conf", "[main]\nplugins=0\ninstall_weak_deps=0\n")
    node.run(f"mkdir -p {LOCK.rpartition('/')[0]}")

    def step(**values):
        node.write("/srv/_script.sh", script("chef-failover-install", **values))
        node.run("chmod 0700 /srv/_script.sh")
        return "sh -c /srv/_script.sh; echo it ends with $?"

    said = node.run(step(Version=OLD))
    assert f"chef-failover {OLD} is installed now\nNo server is configured" in said
    assert said.endswith("it ends with 0\n")
    assert node.show("chef-failover", "ActiveState") == "active"
    pid = node.show("chef-failover", "MainPID")
    said = node.run(step(Version=OLD))
    assert said.startswith(f"chef-failover {OLD} is installed already; nothing is changed\nNo server is configured")
    assert node.show("chef-failover", "MainPID") == pid

    with node.popen(f"flock {LOCK} sh -c 'touch /srv/runs; until [ -e /srv/may-end ]; do sleep 0.1; done'") as run:
        until((node.root / "srv/runs").exists)
        with node.popen(step(Version=NEW)) as upgrade:
            until(lambda: "flock --timeout 1800 9" in node.run("ps -e -o args"))
            assert OLD in node.run("rpm -q chef-failover")
            (node.root / "srv/may-end").touch()
            assert upgrade.communicate(timeout=120)[0].endswith("it ends with 0\n")
        assert run.wait(60) == 0
    assert NEW in node.run("rpm -q chef-failover")
    assert node.show("chef-failover", "MainPID") not in (pid, "0")
    node.run(f"flock --nonblock {LOCK} true")

    said = node.run(step(Version="55.5"))
    assert said.endswith("chef-failover: dnf cannot install chef-failover-55.5\nit ends with 1\n")
    node.write("/etc/chef-failover/config.yml", "servers: 5\n")
    said = node.run(step(Version=OLD))
    assert "chef-failover: config.yml has mistakes: " in said
    assert said.endswith("it ends with 1\n")
    assert OLD in node.run("rpm -q chef-failover"), "dnf goes back as well"
