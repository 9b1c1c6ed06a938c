"""The package on a node: a real systemd as PID 1, a real dnf, real Chef servers (goiardi), Ohai and the shim."""

import contextlib
import json
import re
import shutil
import stat
import time

import pytest

from chef_failover.chef.libcrypto import PrivateKey
from tests.packaging.later import later
from tests.packaging.packages import NEW, OLD, ROOT
from tests.support.daemon_process import until
from tests.support.goiardi import Goiardi, public_pem
from tests.support.parts import missing_part

SERVICE = "chef-failover"
CONFIG = "/etc/chef-failover/config.yml"
NAMES = ("mainserver", "standbyserver")
NODE = "i-0abc"
CALM = "{interval: 1h, timeout: 2s}"
"""Nothing is probed after the first answer unless somebody asks for it."""
SHIM = (
    "config = {}; config.instance_eval(File.read('/etc/chef/client.d/chef_failover.rb')); "
    "puts config.fetch(:chef_server_url, 'untouched')"
)
LIVING: tuple[str, ...] = ("/srv", "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache")
LIVING += ("/var/lib/dnf", "/var/lib/rpm")
"""Where files come and go by themselves."""


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def both(tmp_path_factory, key):
    """Main and standby, with the node in both."""
    folder = tmp_path_factory.mktemp("goiardi")
    with Goiardi(folder / "main") as main, Goiardi(folder / "standby") as standby:
        for server in (main, standby):
            server.register(NODE, public_pem(key), run_list=("recipe[base]",))
            server.save()
        yield main, standby


@pytest.fixture
def servers(both):
    yield both
    for server in both:
        server.start()


def configure(node, servers, *, health="{interval: 1s, retry_interval: 200ms, timeout: 1s}"):
    """What an admin writes, and the node's key."""
    listed = ""
    for name, server in zip(NAMES, servers, strict=True):
        node.write(f"/etc/chef-failover/{name}.pem", server.ca_file.read_text())
        listed += f"  - {{name: {name}, url: '{server.url}', ca_file: /etc/chef-failover/{name}.pem}}\n"
    me = f"{{name: {NODE}, organization: null, client_key: /etc/chef-failover/client.pem}}"
    node.write(CONFIG, f"node: {me}\nservers:\n{listed}health: {health}\n")


def give_key(node, key):
    """The key for the sidecar, which is not root."""
    node.write("/etc/chef-failover/client.pem", key.private_pem().decode())
    node.run(f"chown {SERVICE} /etc/chef-failover/client.pem; chmod 0400 /etc/chef-failover/client.pem")


def give_chef_client(node, key, server):
    """A chef-client as it is before we come: a client.rb that names one server, and its own key."""
    stand_in = ROOT / "tests" / "ruby" / "chef_client_stand_in.rb"
    program = node.root / "usr" / "bin" / "chef-client"
    shutil.copy(stand_in, program)
    program.chmod(0o755)
    node.write("/etc/chef/client.pem", key.private_pem().decode())
    node.write("/etc/chef/ca.pem", server.ca_file.read_text())
    node.write(
        "/etc/chef/client.rb",
        f'chef_server_url "{server.url}"\nnode_name "{NODE}"\nclient_key "/etc/chef/client.pem"\n'
        'ssl_ca_file "/etc/chef/ca.pem"\n',
    )


def chef_client(node, more=""):
    """What one run prints, with its exit code."""
    return node.run(f"chef-client -c /etc/chef/client.rb --once {more}; echo code $?")


def server_in_use(node):
    """Its URL, or why there is none: ``systemctl reload`` may return before systemd has heard that it goes on."""
    return node.run("chef-failover server", check=False).strip()


def files_of(node):
    """Each file of the node, with type, mode and owner."""
    found = {}
    for path in node.root.rglob("*"):
        inside = f"/{path.relative_to(node.root)}"
        if not inside.startswith(LIVING):
            status = path.lstat()
            found[inside] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid)
    return found


def test_it_is_installed_enabled_and_idle(installed):
    assert installed.run(f"rpm -V {SERVICE}") == ""
    assert installed.run(f"systemctl is-enabled {SERVICE}").strip() == "enabled"
    assert installed.show(SERVICE, "StatusText").strip() == "idle: no server is configured"
    assert installed.show(SERVICE, "User").strip() == SERVICE
    assert installed.run(f"stat -c '%U %a' /var/lib/{SERVICE}").split() == [SERVICE, "755"]
    assert "keeps its own" in installed.run("chef-failover status", check=False)
    assert installed.run(f'ruby -e "{SHIM}"').strip() == "untouched"
    assert "chef_devserver" not in installed.run(f"ls /usr/lib/{SERVICE}"), "the demonstration is not for nodes"
    installed.reboot()
    until(lambda: installed.show(SERVICE, "ActiveState") == "active")


def test_a_key_that_only_root_may_read_comes_as_a_credential(installed, servers, key):
    """The documented drop-in: the service stays without privileges, and chef-client keeps its own file."""
    configure(installed, servers)
    text = installed.read(CONFIG).replace(", client_key: /etc/chef-failover/client.pem", "")
    installed.write(CONFIG, text.replace("ca_file: ", "association: {provider: chef-server}, ca_file: "))
    installed.write("/etc/chef/client.pem", key.private_pem().decode())
    installed.run("chown root: /etc/chef/client.pem; chmod 0400 /etc/chef/client.pem")
    installed.run(f"systemctl restart {SERVICE}")
    log = f"journalctl -u {SERVICE} --no-pager"
    until(lambda: "LoadCredential=client.pem:/etc/chef/client.pem" in installed.run(log))  # it says what to do
    assert not (installed.root / "var/lib/chef-failover/client.pem").exists()
    drop_in = (ROOT / "packaging" / "examples" / "client-key.conf").read_text()
    installed.write(f"/etc/systemd/system/{SERVICE}.service.d/client-key.conf", drop_in)
    installed.run(f"systemctl daemon-reload && systemctl restart {SERVICE}")
    installed.run("chef-failover wait --associated --all --timeout 30s")
    assert json.loads(installed.run("chef-failover server --json"))["client_key"] is None
    assert installed.show(SERVICE, "User").strip() == SERVICE
    assert "the server knows this node by this key" in installed.run("chef-failover wait --associated --all")
    installed.run(f"mv /etc/chef/client.pem /etc/chef/away.pem; systemctl restart {SERVICE}")
    until(lambda: "LoadCredential found no file when the service started" in installed.run(log))
    until(lambda: server_in_use(installed) == servers[0].url)
    ill = installed.run("chef-failover check --node", check=False)
    assert re.search(
        r"^!!  credentials  +LoadCredential names /etc/chef/client.pem, which does not exist", ill, re.MULTILINE
    ), ill


def test_its_repository_must_be_there_and_whole(node):
    """Nothing unsigned is installed, and nothing without a Python."""
    refused = node.dnf(f"install chef-failover-{OLD} --disablerepo=amazonlinux", check=False)
    assert "nothing provides (python3.13 or python3.12 or python3.11 or python3.14)" in refused
    node.run("cd /srv/chef-failover/noarch && rm -r repodata && rpm --delsign *.rpm && createrepo_c -q .")
    node.dnf("clean all")
    assert "GPG verification" in node.dnf(f"install chef-failover-{OLD}", check=False)
    trusting = "--setopt=chef-failover.repo_gpgcheck=0"
    assert "is not signed" in node.dnf(f"install chef-failover-{OLD} {trusting}", check=False)
    assert "not installed" in node.run("rpm -q chef-failover", check=False)


def test_hardening_holds_and_systemd_finds_no_fault(installed):
    assert installed.run(f"systemd-analyze verify {SERVICE}.service") == ""
    assert (
        installed.run(f"systemd-analyze security --threshold=12 {SERVICE}.service >/dev/null; echo $?").strip() == "0"
    )
    pid = installed.show(SERVICE, "MainPID")
    assert installed.run(f"cat /proc/{pid}/root/proc/sys/kernel/osrelease").strip()  # so it sees fips_enabled, too
    status = installed.run(f"cat /proc/{pid}/status")
    assert re.search(r"^CapBnd:\s+0+$", status, flags=re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", status, flags=re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, flags=re.MULTILINE)


def test_what_a_start_takes_is_told(installed, figure):
    """For people who compare: `bench` judges the start, beside something that runs on the same machine."""
    took, worked = [], []
    for _ in range(5):
        installed.run(f"systemctl restart {SERVICE}")
        worked.append(int(installed.show(SERVICE, "CPUUsageNSec")) / 1e9)
        began, ready = (
            int(installed.show(SERVICE, f"{name}TimestampMonotonic")) for name in ("ExecMainStart", "ActiveEnter")
        )
        took.append((ready - began) / 1e6)
    figure(f"start to READY: {min(took):.2f} to {max(took):.2f} s, of them {min(worked):.2f} s of work")
    assert min(took) > 0


def test_without_a_usable_configuration_chef_client_runs_as_before(node, servers, key):
    main, _ = servers
    give_chef_client(node, key, main)
    before = chef_client(node)
    assert before == f"stand-in: the run on {main.url} succeeded\ncode 0\n"
    node.write(CONFIG, "servers: [what is this\n")
    node.dnf(f"install chef-failover-{OLD}")  # leaves a file that is there before, as with user data
    node.run(f"systemctl start {SERVICE}", check=False)
    assert node.show(SERVICE, "ExecMainStatus") == "2"
    time.sleep(3)  # longer than RestartSec
    assert (node.show(SERVICE, "ActiveState"), node.show(SERVICE, "NRestarts")) == ("failed", "0"), "a person must look"
    broken = chef_client(node)
    assert broken.endswith(before), broken
    assert len(broken.splitlines()) - len(before.splitlines()) <= 1, "one line says so, no more"
    node.write(CONFIG, "")
    node.run(f"systemctl start {SERVICE}")
    assert chef_client(node) == before, "not configured"
    node.write(CONFIG, "servers: [what is this\n")
    node.run(f"systemctl restart {SERVICE}")
    assert chef_client(node) == before, "what was accepted before has no server"
    node.run(f"systemctl stop {SERVICE}")
    assert chef_client(node) == before, "not running"


def test_failover_on_chef_servers_with_ohai_and_a_reload(installed, servers, key):
    main, standby = servers
    configure(installed, servers)
    give_key(installed, key)
    pid = installed.show(SERVICE, "MainPID")
    installed.run(f"systemctl reload {SERVICE}")
    until(lambda: server_in_use(installed) == main.url)
    assert installed.show(SERVICE, "MainPID") == pid
    give_chef_client(installed, key, main)
    assert f"run on {main.url} succeeded" in chef_client(installed)
    main.stop()
    until(lambda: server_in_use(installed) == standby.url)
    told = chef_client(installed, "-l info")
    assert f"run on {standby.url} succeeded" in told
    facts = json.loads(installed.run("ohai -d /etc/chef/ohai/plugins chef_failover 2>/dev/null"))
    assert (facts["available"], facts["server"]["name"]) == (True, "standbyserver"), facts
    installed.write(CONFIG, "servers: {}\n")
    assert installed.run(f"systemctl reload {SERVICE} 2>/dev/null; echo $?") != "0\n"
    until(lambda: "the configuration in use stays" in installed.run(f"journalctl -u {SERVICE} -o cat"))
    assert installed.show(SERVICE, "ActiveState") == "active"
    assert f"{CONFIG}.accepted.json root root 644" in installed.run(f"stat -c '%n %U %G %a' {CONFIG}.accepted.json")
    installed.run(f"systemctl restart {SERVICE}")
    until(lambda: server_in_use(installed) == standby.url)
    assert f"run on {standby.url} succeeded" in chef_client(installed)


def test_check_looks_at_a_whole_node(installed, servers, key):
    """All well, and then each thing that may be wrong with it, found and said with what to do."""
    main, standby = servers
    configure(installed, servers)
    give_key(installed, key)
    give_chef_client(installed, key, main)
    installed.run(f"systemctl restart {SERVICE}")
    until(lambda: server_in_use(installed) == main.url)
    well = installed.run("chef-failover check --node; echo code $?")
    assert well.endswith("code 0\n"), well
    assert not re.search(r"^(!!|--)", well, flags=re.MULTILINE), well
    standby.stop()
    installed.run(f"systemctl disable --now {SERVICE}")
    installed.run("rm /etc/chef/client.d/chef_failover.rb; echo nonsense >/etc/chef-failover/client.pem")
    installed.run("chmod 0666 /etc/chef-failover/config.yml")
    installed.write("/etc/chef/client.rb", 'require_relative "opsworks_health_check"\n')
    ill = installed.run("chef-failover check --node; echo code $?")
    assert ill.endswith("code 1\n"), ill
    told = dict(re.findall(r"^!!  (.+?)  +(.+)$", ill, flags=re.MULTILINE))
    assert set(told) == {
        *("standbyserver", "connection to standbyserver", "key", "configuration", "socket", "sidecar"),
        *("shim of chef-client", "old recipe in /etc/chef", "unit is enabled", "unit is active"),
        "client.rb of chef-client",
    }
    assert "in line 1: delete that line" in told["old recipe in /etc/chef"]
    assert "client.rb line 1 raises LoadError" in told["client.rb of chef-client"]
    plain = installed.run("chef-failover check; echo code $?")
    assert re.findall(r"^!!  (.+?)  ", plain, flags=re.MULTILINE) == ["standbyserver", "old recipe in /etc/chef"]


GATE = """
Chef.event_handler do
  on(:converge_start) do |*_|
    File.write("/run/converging", "")
    sleep 0.05 while File.exist?("/run/gate")
  end
end
"""
"""So that main dies in the middle of a run; before its start, the run would go elsewhere at once."""


def test_a_failed_run_is_retried_at_once_on_the_standby(installed, servers, key):
    """The service and timer under packaging/examples."""
    main, standby = servers
    examples = "/usr/share/doc/chef-failover/examples"
    installed.run(f"cp {examples}/chef-client.service {examples}/chef-client.timer /etc/systemd/system/")
    give_chef_client(installed, key, main)
    installed.run("mkdir /etc/systemd/system/chef-client.service.d")
    installed.run(f"cp {examples}/chef-client.service.d/retry.conf /etc/systemd/system/chef-client.service.d/")
    quick = "[Service]\nRestartSec=3s\nExecStart=\nExecStart=/usr/bin/chef-client -c /etc/chef/client.rb --once\n"
    installed.write("/etc/systemd/system/chef-client.service.d/test.conf", quick)
    installed.run("systemctl daemon-reload")
    assert installed.run("systemd-analyze verify chef-client.service chef-client.timer") == ""
    configure(installed, servers, health=CALM)
    give_key(installed, key)
    installed.run(f"systemctl restart {SERVICE}")
    until(lambda: server_in_use(installed) == main.url)
    installed.write("/etc/chef/client.d/zz_gate.rb", GATE)
    installed.run("touch /run/gate")
    installed.run("systemctl start --no-block chef-client")
    until(lambda: "yes" in installed.run("test -e /run/converging && echo yes", check=False), 60)
    main.stop()
    installed.run("rm /run/gate")
    until(lambda: "succeeded" in installed.run("journalctl -u chef-client -o cat"), 30)
    runs = re.findall(r"the run on (\S+) (failed|succeeded)", installed.run("journalctl -u chef-client -o cat"))
    assert runs[0] == (main.url, "failed")
    assert runs[-1] == (standby.url, "succeeded")
    assert len(runs) == 2
    installed.run("systemctl start chef-client.timer")
    assert installed.show("chef-client.timer", "ActiveState") == "active"


def test_a_sidecar_that_hangs_is_replaced(installed):
    installed.write(
        f"/etc/systemd/system/{SERVICE}.service.d/test.conf", "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n"
    )
    installed.run(f"systemctl daemon-reload; systemctl restart {SERVICE}")
    pid = installed.show(SERVICE, "MainPID")
    installed.run(f"kill -STOP {pid}")
    until(lambda: installed.show(SERVICE, "NRestarts") == "1", 30)
    until(lambda: installed.show(SERVICE, "ActiveState") == "active", 30)
    assert installed.show(SERVICE, "MainPID") not in (pid, "0")
    assert "Watchdog timeout" in installed.run(f"journalctl -u {SERVICE} -o cat")


def give_later_python(node, version):
    """That Python of a later Debian, as the package that Amazon Linux has of it."""
    shutil.copytree(ROOT / "build" / "roots" / "later" / "usr", node.root / "srv" / "later" / "usr", symlinks=True)
    loader = "/srv/later/usr/lib64/ld-linux-x86-64.so.2 --library-path /srv/later/usr/lib/x86_64-linux-gnu"
    program = f"/usr/bin/python{version}"
    node.write("/srv/python", f'#!/bin/sh\nexec {loader} /srv/later{program} "$@"\n')
    spec = (
        f"Name: python{version}\nVersion: {version}\nRelease: 2\nSummary: A Python\nLicense: none\nBuildArch: noarch\n"
        f"%description\nOne.\n%install\ninstall -D -m 755 /srv/python %{{buildroot}}{program}\n%files\n{program}\n"
    )
    node.write("/srv/python.spec", spec)
    node.run("rpmbuild -bb --quiet --define '_rpmdir /srv' --define '_topdir /srv/work' /srv/python.spec")
    return f"/srv/noarch/python{version}-{version}-2.noarch.rpm"


def byte_code(node, tag):
    """The modules that have it for that Python."""
    pattern = f"*.cpython-{tag}.pyc"
    return {
        path.relative_to(node.root).as_posix().removesuffix(f".cpython-{tag}.pyc")
        for path in (node.root / "usr/lib/chef-failover").rglob(pattern)
    }


def compiled_at_start(node, version):
    """For each module that a start loads, whether that Python compiled it, since it found no byte-code."""
    told = node.run(f"/usr/bin/python{version} -v -I -S -B /usr/lib/chef-failover --version")
    files = re.findall(r"^# code object from '?/usr/lib/chef-failover/.+(\.pyc?)'?$", told, flags=re.MULTILINE)
    return [suffix == ".py" for suffix in files]


def test_every_python_has_byte_code(node, figure):
    """The package brings it for one; another gets it when it comes after the package, before it, or through both."""
    if later("python3.13") is None:
        missing_part("there is no root with a later Python (make test-packaging as root)")
    node.dnf(f"install chef-failover-{OLD}")
    python = give_later_python(node, "3.13")
    timed = "bash -c 'for i in 1 2 3 4 5; do chef-failover --version; done; times' | tail -1"

    def work_s():
        minutes, seconds = re.match(r"(\d+)m([\d.]+)s", node.run(timed)).groups()
        return int(minutes) * 60 + float(seconds)

    node.dnf(f"install --nogpgcheck {python}")
    shipped = byte_code(node, 311)
    assert byte_code(node, 313) == shipped != set()
    assert set(compiled_at_start(node, "3.13")) == {False}
    with_it = work_s()
    node.run("systemctl restart chef-failover")
    assert "on Python 3.13." in node.run("journalctl -u chef-failover -o cat")
    assert node.run("rpm -V chef-failover") == ""

    node.dnf("upgrade chef-failover")
    assert NEW in node.run("rpm -q chef-failover")
    assert byte_code(node, 313) == byte_code(node, 311)

    node.dnf("remove --noautoremove chef-failover")
    assert not (node.root / "usr/lib/chef-failover").exists()
    node.dnf(f"install chef-failover-{OLD}")
    assert byte_code(node, 313) == shipped

    node.run("find /usr/lib/chef-failover -name '*-313.pyc' -delete")
    assert set(compiled_at_start(node, "3.13")) == {True}
    without = work_s()
    figure(f"byte-code for a Python that has none in the package: {without / with_it:.1f} times less work to start")


def test_a_life_upgrade_under_load_downgrade_erase(node, servers, key):
    node.dnf("install python3.11 createrepo_c || true", check=False)
    before = files_of(node)
    node.dnf(f"install chef-failover-{OLD}")
    configure(node, servers)
    give_key(node, key)
    node.run(f"systemctl start {SERVICE}")
    main, standby = servers
    main.stop()
    until(lambda: server_in_use(node) == standby.url)
    since = _choice(node)
    pid = node.show(SERVICE, "MainPID")

    with _shim_in_a_loop(node) as answers:
        until(lambda: len(answers()) > 3, 30)
        node.dnf("upgrade chef-failover")
        until(lambda: node.show(SERVICE, "MainPID") not in (pid, "0"), 30)
        seen = len(answers())
        until(lambda: len(answers()) > seen + 3, 30)
    assert set(answers()) == {standby.url}, "through the whole upgrade"
    assert NEW in node.run("rpm -q chef-failover")
    assert node.show(SERVICE, "ActiveState") == "active"
    assert standby.url in node.read(CONFIG), "noreplace"
    assert _choice(node) == since

    node.dnf(f"downgrade chef-failover-{OLD}")
    until(lambda: node.show(SERVICE, "ActiveState") == "active")
    assert server_in_use(node) == standby.url
    assert _choice(node) == since
    assert node.run("rpm -V chef-failover", check=False).split() == ["S.5....T.", "c", CONFIG]

    said = node.dnf("remove --noautoremove chef-failover")
    assert "the state in /var/lib/chef-failover" in said
    assert node.run("systemctl list-unit-files 'chef-failover*' --no-legend", check=False).strip() == ""
    assert "chef-failover" not in node.run("ps -e -o user:20")
    left = {path for path, status in files_of(node).items() if before.get(path) != status}
    written = {"/etc/chef-failover", f"{CONFIG}.rpmsave", "/etc/chef-failover/client.pem"}
    written |= {f"/etc/chef-failover/{name}.pem" for name in NAMES}
    kept = {path for path in left if path.startswith("/var/lib/chef-failover")}
    accounts = {path for path in left if re.fullmatch(r"/etc/(passwd|group|shadow|gshadow)-?", path)}
    shared = {"/usr/share/man/man5", "/usr/share/man/man8"}  # those of Amazon Linux's own package "filesystem"
    assert left - kept - accounts - shared - {"/var/lib", "/etc"} == written
    assert set(before) - set(files_of(node)) == set()


def _choice(node):
    """The choice in the state that outlives the process, without what each probe changes."""
    state = json.loads(node.read("/var/lib/chef-failover/state.json"))
    return {name: state["choice"][name] for name in ("name", "since")}


@contextlib.contextmanager
def _shim_in_a_loop(node):
    """A fresh Ruby again and again, as one chef-client run after the other; gives what they used so far."""
    node.write("/srv/shim.rb", SHIM)
    log = node.root / "srv" / "answers"
    loop = node.popen("while [ ! -e /srv/stop ]; do ruby /srv/shim.rb; done >/srv/answers 2>/srv/warnings")
    try:
        yield lambda: log.read_text().split() if log.exists() else []
    finally:
        node.write("/srv/stop", "")
        loop.communicate(timeout=30)
