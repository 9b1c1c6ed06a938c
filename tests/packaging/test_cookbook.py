"""The cookbook on a node: a real chef-client, a real dnf, a real systemd.

chef-client runs in local mode, since where cookbooks come from makes no difference to what they do.
"""

import base64
import datetime
import hashlib
import json
import re
import shutil
import stat
from pathlib import Path

import pytest
import requests

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.signing import ChefAuth, load_key
from tests.packaging.later import later
from tests.packaging.node import call
from tests.packaging.packages import NEW, OLD, ROOT
from tests.support.daemon_process import dev_servers, until
from tests.support.goiardi import Goiardi, public_pem
from tests.support.parts import missing_part

COOKBOOK = ROOT / "packaging" / "cookbook" / "chef_failover"
SERVICE = "chef-failover"
CONFIG = "/etc/chef-failover/config.yml"
ACCEPTED = f"{CONFIG}.accepted.json"
DROP_IN = f"/etc/systemd/system/{SERVICE}.service.d/client-key.conf"
OWN_KEY = f"/var/lib/{SERVICE}/client.pem"
NAME = "web-1"
NAMES = ("mainserver", "standbyserver")
CLIENT_RB = """
chef_license "accept-no-persist"
cookbook_path "/srv/cookbooks"
node_path "/srv/nodes"
minimal_ohai true
"""
MANAGED_RB = """
chef_license "accept-no-persist"
chef_server_url "%s"
ssl_ca_file "/etc/chef/ca.pem"
node_name "web-1"
data_collector["server_url"] = nil
"""


FOUND = shutil.which("chef-client") or shutil.which("cinc-client")
with_chef_client = pytest.mark.skipif(  # also with CI=true; a mark, since it is looked at before packages are built
    FOUND is None, reason="neither chef-client nor cinc-client is on PATH, and no distribution packages them"
)


@pytest.fixture(scope="module")
def chef_client():
    """The folder that holds a chef-client with all it needs, and its path in there."""
    assert FOUND is not None
    program = Path(FOUND).resolve()
    folder = program.parents[1]
    if len(folder.parts) < 3 or folder == Path("/usr/local"):
        pytest.skip(f"{program} is in no folder of its own, as /opt/chef is, that could be copied to a node")
    return folder, program.relative_to(folder)


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def servers(key):
    """Main and standby, which know the node."""
    with dev_servers(*NAMES) as both:
        for server in both:
            server.register(NAME, key.public_pem())
        yield both


class Managed:
    """A node that chef-client manages already: client.rb, and the key that only root may read."""

    def __init__(self, node, chef_client, key, servers, *, ca):
        self.node = node
        self.servers = servers
        folder, program = chef_client
        shutil.copytree(folder, node.root / "opt" / folder.name, symlinks=True)
        self._command = f"/opt/{folder.name}/{program}"
        shutil.copytree(COOKBOOK, node.root / "srv/cookbooks/chef_failover")
        node.write("/srv/cookbooks/ours/metadata.rb", "name 'ours'\nversion '1.0.0'\ndepends 'chef_failover'\n")
        node.write("/srv/local.rb", CLIENT_RB)
        node.write("/etc/chef/client.pem", key.private_pem().decode())
        node.write("/etc/chef/ca.pem", ca)
        node.run("chmod 0600 /etc/chef/client.pem; mkdir -p /srv/nodes")
        node.write("/etc/os-release", 'NAME="Amazon Linux"\nID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n')

    def listed(self, **more):
        """The servers as a recipe has them."""
        return [
            {"name": name, "url": server.url, "ca_file": "/etc/chef/ca.pem", **more}
            for name, server in zip(NAMES, self.servers, strict=True)
        ]

    def converge(self, recipe, more=""):
        """What a run of this recipe prints, and its exit code."""
        self.node.write("/srv/cookbooks/ours/recipes/default.rb", recipe)
        return self._run(f"-o 'recipe[ours]' {more}")

    def converge_attributes(self, attributes, more=""):
        """The same, of the cookbook's own recipe with these attributes."""
        self.node.write("/srv/attributes.json", json.dumps({"chef_failover_cookbook": attributes}))
        return self._run(f"-o 'recipe[chef_failover]' -j /srv/attributes.json {more}")

    def _run(self, more):
        return self.run(f"-z -c /srv/local.rb -N {NAME} -l warn {more}")

    def run(self, options):
        """What a run of chef-client prints, and its exit code."""
        said = self.node.run(f"{self._command} --no-color --force-formatter {options}; echo code $?")
        return said, int(said.rsplit("code ", 1)[1])

    def succeed(self, *arguments, updates, attributes=False):
        """A run succeeds and updates that many resources."""
        said, code = (self.converge_attributes if attributes else self.converge)(*arguments)
        assert code == 0, said
        assert updates_in(said) == updates, said

    def pid(self):
        return self.node.show(SERVICE, "MainPID")


@pytest.fixture
def managed(chef_client, node, key, servers):
    return Managed(node, chef_client, key, servers, ca=servers[0].ca_pem.decode())


def updates_in(said):
    """How many resources a run has updated, by what it prints."""
    return int(re.search(r"(\d+)/\d+ resources updated", said)[1])


def ruby(value):
    """``value`` as a recipe has it."""
    return json.dumps(value).replace("null", "nil")


def take_repository(node):
    """The repository that the node has, as a property, and no longer on the node."""
    path = "/etc/yum.repos.d/chef-failover.repo"
    found = dict(re.findall(r"^(baseurl|gpgkey)=(.*)$", node.read(path), flags=re.MULTILINE))
    node.run(f"rm {path}")
    return f"  repository({ruby(found)})"


def install(servers, more=""):
    return f"chef_failover 'default' do\n  client_key :handed_over\n  servers({ruby(servers)})\n{more}\nend\n"


@with_chef_client
def test_a_managed_node_gets_it_keeps_it_and_loses_nothing(managed):
    node = managed.node
    wrong = [*managed.listed(), {"name": "third", "url": "http://chef-c.example.com"}]
    said, code = managed.converge(install(wrong))
    assert code != 0
    assert 'servers[2].url: "http://chef-c.example.com" is not the URL of a Chef server; write https://' in said
    assert not (node.root / "usr/bin/chef-failover").exists(), "nothing is changed before the mistake is told"

    repository = take_repository(node)
    node.run("mv /srv/chef-failover /srv/unreachable")
    said, code = managed.converge(install(managed.listed(), repository))
    assert (code != 0, "makecache" in said) == (True, True), said
    node.run("mv /srv/unreachable /srv/chef-failover")
    managed.succeed(install(managed.listed(), repository), updates=8)
    assert "repo_gpgcheck=1" in node.read("/etc/yum.repos.d/chef-failover.repo")
    assert node.show(SERVICE, "ActiveState") == "active"
    assert node.run(f"systemctl is-enabled {SERVICE}").strip() == "enabled"
    found = (node.root / CONFIG.lstrip("/")).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o644, 0)
    assert json.loads(node.read(ACCEPTED))["node_name"] == NAME
    node.run("chef-failover wait --associated --all --timeout 60s")
    assert json.loads(node.run("chef-failover server --json"))["client_key"] is None

    before = managed.pid()
    managed.succeed(install(managed.listed()), updates=0)

    # One server changes: one file, one reload.
    changed = managed.listed()
    changed[0]["association"] = {"provider": "chef-server"}
    managed.succeed(install(changed), updates=3)
    assert json.loads(node.read(ACCEPTED))["text"] == node.read(CONFIG)
    assert managed.pid() == before, "it was restarted"
    managed.succeed(install(changed), updates=0)

    # What only the command finds: the old file stays.
    said, code = managed.converge(install(changed, "  health 'interval' => 'soon'"))
    assert code != 0
    assert "'soon' is not a duration" in said
    assert "soon" not in node.read(CONFIG)

    # A reload that did not happen is made up for.
    node.write(ACCEPTED, json.dumps(json.loads(node.read(ACCEPTED)) | {"text": "servers: []\n"}))
    managed.succeed(install(changed), updates=2)
    assert json.loads(node.read(ACCEPTED))["text"] == node.read(CONFIG)

    # Another socket takes a restart.
    managed.succeed(install(changed, "  listen 'socket' => '/run/chef-failover/other.sock'"), updates=4)
    assert managed.pid() != before
    managed.succeed(install(changed), updates=4)

    managed.succeed(
        f"chef_failover 'default' do\n  action :remove\n  server 'mainserver'\n{repository}\nend\n", updates=9
    )
    assert not (node.root / "usr/bin/chef-failover").exists()
    kept = node.read("/etc/chef/client.d/chef_failover_kept.rb")
    assert f'chef_server_url "{managed.servers[0].chef_server_url}"' in kept
    assert f'node_name "{NAME}" unless node_name' in kept
    assert "client_key" not in kept, "chef-client has its own"
    managed.succeed("chef_failover 'default' do\n  action :remove\nend\n", updates=0)


@with_chef_client
def test_a_node_that_was_made_with_it_keeps_name_key_and_server(managed, key, rpms):
    """The only key is in /var/lib/chef-failover, and client.rb names nothing."""
    node = managed.node
    node.run("rm /etc/chef/client.pem")
    old = rpms / f"{SERVICE}-{OLD}-1.noarch.rpm"
    new = rpms / f"{SERVICE}-{NEW}-1.noarch.rpm"
    for path in (old, new):
        shutil.copy(path, node.root / "srv" / path.name)

    def package(path, **more):
        digest = call("sha256sum", path).split()[0]
        return {"package_source": f"/srv/{path.name}", "package_checksum": digest, "servers": []} | more

    said, code = managed.converge_attributes(package(old), "--why-run")
    assert code == 0, said
    assert not (node.root / "usr/bin/chef-failover").exists(), said
    managed.succeed(package(old, percent=0), updates=0, attributes=True)
    said, code = managed.converge_attributes(package(old, package_checksum="0" * 64))
    assert (code != 0, "does not match checksum" in said) == (True, True), said
    said, code = managed.converge_attributes({"percent": 100})
    assert (code != 0, "servers is a required property" in said) == (True, True), said
    said, code = managed.converge_attributes(package(old, helth={}))
    assert (code != 0, "has no helth" in said) == (True, True), said
    managed.succeed(package(old), updates=5, attributes=True)
    managed.succeed(package(old), updates=0, attributes=True)
    assert f"{OLD}-1" in node.run(f"rpm -q {SERVICE}")
    managed.succeed(package(new), updates=3, attributes=True)
    assert f"{NEW}-1" in node.run(f"rpm -q {SERVICE}")

    node.write(f"/var/lib/{SERVICE}/client.pem", key.private_pem().decode())
    node.run(f"chown {SERVICE}: /var/lib/{SERVICE}/client.pem; chmod 0600 /var/lib/{SERVICE}/client.pem")
    with_servers = package(new, servers=managed.listed(), parity="off", organization="default")
    managed.succeed(with_servers, updates=3, attributes=True)
    node.run("chef-failover wait --associated --all --timeout 60s")

    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    ends_at, past = ((now + datetime.timedelta(hours=hours)).isoformat() for hours in (2, -1))
    drain = f"chef_failover 'mainserver' do\n  action :drain\n  server 'mainserver'\n  ends_at '{ends_at}'\nend\n"
    managed.succeed(drain, updates=2)
    status = json.loads(node.run("chef-failover status --json", check=False))
    assert status["servers"][0]["drain"]["reason"] == "ours::default"
    ends = datetime.datetime.fromisoformat(status["servers"][0]["drain"]["ends"])
    assert ends - datetime.datetime.fromisoformat(ends_at) < datetime.timedelta(minutes=1)
    managed.succeed(drain, updates=0)
    managed.succeed(drain.replace(ends_at, past), updates=0)
    undrain = drain.replace(":drain", ":undrain").replace(f"  ends_at '{ends_at}'\n", "")
    managed.succeed(undrain, updates=2)
    managed.succeed(undrain, updates=0)

    managed.succeed({"action": "remove", "server": "standbyserver"}, updates=6, attributes=True)
    assert node.run("stat -c '%U %a' /etc/chef/client.pem").split() == ["root", "600"]
    assert node.read("/etc/chef/client.pem") == key.private_pem().decode()
    assert (node.root / f"var/lib/{SERVICE}/client.pem").exists()
    code = (
        "require 'chef-config/config'; config = ChefConfig::Config; config.config_file = '/etc/chef/client.rb'; "
        "Dir['/etc/chef/client.d/*.rb'].each { |path| config.from_file(path) }; "
        "puts config.chef_server_url, config.node_name, config.client_key"
    )
    told = node.run(f'ruby -e "{code}"').split()
    assert told == [managed.servers[1].chef_server_url, NAME, "/etc/chef/client.pem"]


def upload(server, key):
    """Bring the cookbook to a Chef server, as knife does."""
    files = {path.relative_to(COOKBOOK): path.read_bytes() for path in COOKBOOK.glob("*/*.rb")}
    sums = {path: hashlib.md5(data, usedforsecurity=False) for path, data in files.items()}
    content = {"checksums": {one.hexdigest(): None for one in sums.values()}}
    sandbox = server.request("POST", "sandboxes", "admin", key, content).json()
    for path, data in files.items():
        url = sandbox["checksums"][sums[path].hexdigest()]["url"]
        headers = {
            "Content-MD5": base64.b64encode(sums[path].digest()).decode(),
            "Content-Type": "application/x-binary",
        }
        with requests.Session() as session:
            session.trust_env = False
            put = session.put(
                url, data=data, headers=headers, auth=ChefAuth("admin", key), verify=str(server.ca_file), timeout=10
            )
        assert put.ok, put.text
    done = server.request("PUT", f"sandboxes/{sandbox['sandbox_id']}", "admin", key, {"is_completed": True})
    assert done.ok, done.text
    parts = {
        part: [
            {"name": path.name, "path": str(path), "checksum": sums[path].hexdigest(), "specificity": "default"}
            for path in files
            if path.parts[0] == part
        ]
        for part in ("attributes", "libraries", "recipes", "resources")
    }
    cookbook = {
        "name": "chef_failover-1.0.0",
        "cookbook_name": "chef_failover",
        "version": "1.0.0",
        "json_class": "Chef::CookbookVersion",
        "chef_type": "cookbook_version",
        "frozen?": False,
        "metadata": {"name": "chef_failover", "version": "1.0.0"},
        **parts,
    }
    answer = server.request("PUT", "cookbooks/chef_failover/1.0.0", "admin", key, cookbook)
    assert answer.ok, answer.text


@with_chef_client
def test_the_run_that_installs_it_ends_as_it_began_and_the_next_fails_over(chef_client, node, key, tmp_path):
    """With real Chef servers: they serve the cookbook, and the shim is there from the second run on."""
    with Goiardi(tmp_path / "main") as main, Goiardi(tmp_path / "standby") as standby:
        managed = Managed(node, chef_client, key, (), ca=main.ca_file.read_text() + standby.ca_file.read_text())
        for server in (main, standby):
            server.register(NAME, public_pem(key))
            upload(server, load_key(server.validator_pem.with_name("admin.pem")))
            server.save()
        settings = {
            "client_key": "handed_over",
            "servers": [
                {"name": name, "url": server.url, "ca_file": "/etc/chef/ca.pem"}
                for name, server in zip(NAMES, (main, standby), strict=True)
            ],
        }
        attributes = {"chef_failover_cookbook": settings}
        main.put_node({"name": NAME, "run_list": ["recipe[chef_failover]"], "normal": attributes})
        node.write("/etc/chef/client.rb", MANAGED_RB % main.url)
        said, code = managed.run("-c /etc/chef/client.rb -l info")
        assert (code, "using mainserver" in said) == (0, False), said
        node.run("chef-failover wait --associated --all --timeout 60s")
        said, code = managed.run("-c /etc/chef/client.rb -l info")
        assert (code, "using mainserver" in said) == (0, True), said
        assert updates_in(said) == 0, said
        until(lambda: "standbyserver could take over" in node.run("chef-failover status --standby", check=False))
        main.kill()
        said, code = managed.run("-c /etc/chef/client.rb -l info")
        assert (code, "using standbyserver" in said) == (0, True), said
        assert updates_in(said) == 0, said

        # As a former cookbook left a node whose only key is the service's own.
        node.run(
            f"mv /etc/chef/client.pem {OWN_KEY}; chown {SERVICE}: {OWN_KEY}; sed -i 's,/etc/chef/client.pem,{OWN_KEY},'"
            f" {DROP_IN}; systemctl daemon-reload; systemctl restart {SERVICE}"
        )
        for updates in (4, 0):
            said, code = managed.run("-c /etc/chef/client.rb -l info")
            assert (code, "using standbyserver" in said) == (0, True), said
            assert updates_in(said) == updates, said
            assert not (node.root / DROP_IN.lstrip("/")).exists()


def test_it_is_ruby_of_a_later_kind():
    ruby = later("ruby")
    if ruby is None:
        missing_part("there is no root with a later Ruby (make test-packaging as root)")
    for path in sorted(COOKBOOK.rglob("*.rb")):
        said = call(*ruby, "-wc", "-e", path.read_text())
        assert said.strip() == "Syntax OK", (path, said)
