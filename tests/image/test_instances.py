"""Two instances of the image that Packer has made live through what a fleet meets.

The tests are one story, in order: what the image holds, the first boot, a reboot, the main server's end. cloud-init
does on the instances what it does on EC2: it asks the metadata service for user data, and that is our example.
"""

import contextlib
import functools
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from chef_failover.chef.signing import load_key
from tests.image.metadata_service import metadata_service
from tests.support.daemon_process import until
from tests.support.goiardi import VALIDATOR
from tests.support.parts import require_program

USER_DATA = Path(__file__).parents[2] / "packaging" / "examples" / "user-data-of-ami.yml"
STATE = "/var/lib/chef-failover"
YARDSTICK = 'python3.11 -I -S -c "import inspect, json, logging, ssl, typing"'
"""Takes 0.5 s on a quiet host without KVM, where the sidecar is READY within 3 s."""


@pytest.fixture(scope="module")
def metadata(network):
    """The metadata service; each instance puts what there is of it into ``trees``."""
    with metadata_service({}) as service:
        yield service


@pytest.fixture(scope="module")
def instances(baked, new_instance, servers, metadata):
    """Two of them, booted for the first time, with our example as user data; validators' keys are added to it."""
    document = yaml.safe_load(USER_DATA.read_text())
    for name, server in zip(("main", "standby"), servers, strict=True):
        path = f"/etc/chef-failover/{name}-validator.pem"
        content = (server.ca_file.parent / f"{VALIDATOR}.pem").read_text()
        document["write_files"].append(
            {"path": path, "content": content, "owner": "root:chef-failover", "permissions": "0640"}
        )
    user_data = f"#cloud-config\n{json.dumps(document)}\n"
    first, second = (new_instance(number, baked) for number in (1, 2))
    for instance in (first, second):
        metadata.trees[instance.address] = instance.metadata(user_data)
    with first.running(), second.running():
        boot(first)
        boot(second)
        yield first, second


def boot(instance):
    """Until cloud-init has done what the user data says."""
    instance.wait_for_boot()
    said = instance.attempt("cloud-init status --wait --long; cat /var/log/cloud-init-output.log", 1200)
    assert "status: done" in said.stdout, said.stdout


def node_object(server, instance):
    """The node that ``server`` has of the instance, or None."""
    answer = server.request("GET", f"nodes/{instance.id}", "admin", load_key(server.ca_file.parent / "admin.pem"))
    return answer.json() if answer.status_code == 200 else None


def ready_s(instance):
    """Seconds from the sidecar's start to READY, by systemd's clock."""
    names = ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    shown = instance.run(f"systemctl show chef-failover -p {','.join(names)}")
    started, ready = (int(re.search(rf"{name}=(\d+)", shown)[1]) for name in names)
    return (ready - started) / 1e6


def yardstick_s(instance):
    return int(instance.run(f"s=$(date +%s%N); {YARDSTICK}; echo $(($(date +%s%N) - s))")) / 1e9


def status(instance):
    return json.loads(instance.attempt("chef-failover status --json").stdout)


def test_the_image_holds_nothing_of_the_machine_that_made_it(baked, tmp_path):
    raw = tmp_path / "image.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", baked, raw], check=True, timeout=120)

    def debugfs(request):
        program = require_program("debugfs", "e2fsprogs")
        ran = subprocess.run([program, "-R", request, raw], capture_output=True, text=True, check=True, timeout=60)
        return ran.stdout

    def listing(folder):
        return {line.split("/")[5] for line in debugfs(f"ls -p {folder}").splitlines() if line} - {".", "..", ""}

    assert debugfs("cat /etc/machine-id") == ""
    assert listing(STATE) == set()
    assert not [name for name in listing("/etc/ssh") if name.startswith("ssh_host_")]
    assert "chef-failover" not in listing("/tmp")
    assert listing("/etc/chef-failover") == {"config.yml", "main.pem", "standby.pem"}
    assert "instance" not in listing("/var/lib/cloud")


def test_each_instance_has_an_identity_of_its_own(instances, metadata):
    """By chance its key; its name by the metadata service, or on Nitro by the firmware."""
    question = "/latest/meta-data/instance-id"
    assert [(instance.address, question) in metadata.asked for instance in instances] == [True, False]
    assert [status(instance)["node_name"] for instance in instances] == [instance.id for instance in instances]
    for own in (f"sha256sum {STATE}/client.pem", "cat /etc/machine-id", "cat /etc/ssh/ssh_host_ed25519_key.pub"):
        first, second = (instance.run(own) for instance in instances)
        assert first != second, own
    assert all(instance.run(f"stat -c %U:%a {STATE}/client.pem") == "chef-failover:600" for instance in instances)


def test_each_instance_is_registered_with_both_servers(instances):
    for instance in instances:
        instance.run("chef-failover wait --associated --all --timeout 4m")
        assert [server["association"] for server in status(instance)["servers"]] == ["associated"] * 2


def test_the_first_run_made_the_node_on_the_main_server(instances, servers):
    main, _ = servers
    for instance in instances:
        assert node_object(main, instance)["run_list"] == ["role[webserver]"]
        assert node_object(main, instance)["automatic"]["ohai_time"] > 0


def test_the_standby_is_given_the_node_object(instances, servers):
    """As it is on the main server, before that ends: a run on a standby without one would do nothing."""
    _, standby = servers
    log = "chef-failover status; systemctl show -P NRestarts chef-failover; journalctl -u chef-failover -o cat"
    for instance in instances:
        try:
            found = until(functools.partial(node_object, standby, instance), 300)
        except AssertionError:
            pytest.fail(instance.attempt(log).stdout)
        assert found["run_list"] == ["role[webserver]"], instance.attempt(log).stdout


def test_the_runs_that_follow_come_from_the_timer(instances, servers):
    """It would start them when it likes, in the midst of what is tested next, so it ends here."""
    main, _ = servers
    for instance in instances:
        assert instance.run("systemctl is-enabled chef-client.timer") == "enabled"
        assert instance.run("systemctl show -P Triggers chef-client.timer") == "chef-client.service"
        instance.run("systemctl disable --now chef-client.timer && systemctl start chef-client")
        assert f"the run on {main.url} succeeded" in instance.run("journalctl -b -u chef-client -o cat --no-pager")


def test_what_a_start_takes_is_told(instances, record_property):
    """Some restarts, and the very first boot: figures for people, beside a yardstick of the same minute."""
    other, instance = instances
    journal = instance.run("journalctl -b -u chef-failover -o short-monotonic --no-pager")
    up = re.search(r"\[ *([\d.]+)\].*server \w+->UP", journal)
    assert up is not None, journal
    first = ready_s(instance)
    took, beside = [], []
    with other.halted():
        for _ in range(2):
            instance.run("systemctl restart chef-failover")
            took.append(ready_s(instance))
            beside.append(yardstick_s(instance))
    record_property("first boot, beside another: from the kernel to a server that is UP, s", float(up[1]))
    record_property("first boot, beside another: start to READY, s", first)
    record_property("restarts: start to READY, s", took)
    record_property("the yardstick after each of them, s (quiet: 0.5)", beside)
    assert min(first, *took) > 0


def test_a_reboot_keeps_the_identity(instances, record_property):
    other, instance = instances
    key = instance.run(f"sha256sum {STATE}/client.pem")
    boot = instance.wait_for_boot()
    with other.halted():
        with contextlib.suppress(subprocess.TimeoutExpired):  # the network may be gone before ssh
            instance.attempt("systemctl reboot", 120)
        instance.wait_for_boot(after=boot)
        instance.run("chef-failover wait --associated --timeout 4m")
    record_property("a later boot: start to READY, s", ready_s(instance))
    assert instance.run(f"sha256sum {STATE}/client.pem") == key
    assert status(instance)["node_name"] == instance.id
    assert instance.run("systemctl is-active chef-failover") == "active"


def test_the_main_server_ends_and_the_standby_is_used(instances, servers):
    main, standby = servers
    main.stop()
    for instance in instances:
        said = instance.run("chef-client")
        assert f"the run on {standby.url} succeeded" in said
        assert "Server not reachable: mainserver: " in said
        assert node_object(standby, instance)["automatic"]["ohai_time"] > 0
        assert node_object(standby, instance)["run_list"] == ["role[webserver]"]
    main.start()


def test_the_limits_of_the_unit_hold(instances):
    """Those that a container does not enforce. What is killed is started again, and well once there is room."""
    first, _ = instances
    group = "/sys/fs/cgroup/system.slice/chef-failover.service"
    assert first.run(f"cat {group}/memory.max {group}/pids.max").split() == [str(128 * 1024**2), "96"]
    first.run("systemctl set-property --runtime chef-failover MemoryMax=20M")
    until(lambda: "killed by the OOM killer" in first.run("journalctl -b -u chef-failover -o cat --no-pager"), 300)
    first.run("systemctl set-property --runtime chef-failover MemoryMax=128M")
    until(lambda: first.attempt("chef-failover server").returncode == 0, 300)
