"""`check --node` and chef-client's own configuration: real files, evaluated by a real Ruby with Chef's own library."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import pytest

from chef_devserver.authority import Authority
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config import settings as config
from chef_failover.doctor import client_rb_checks, client_rb_reader
from chef_failover.doctor.client_rb_checks import compare, findings
from chef_failover.doctor.client_rb_reader import evaluate, find_ruby
from chef_failover.doctor.node import Node
from chef_failover.errors import UnseenError
from chef_failover.node.accepted import accept, path_of
from chef_failover.node.key import find
from tests.doctor.test_doctor import with_unit
from tests.project.test_docs import ROOT
from tests.support.daemon_process import until
from tests.support.parts import missing_part, require_program

MAIN = "https://chef-a.example.com/organizations/default"
STANDBY = "https://chef-b.example.com:8443/organizations/default"
SERVERS = [
    {"name": "main", "chef_server_url": MAIN, "outcome": "tls"},
    {"name": "standby", "chef_server_url": STANDBY, "outcome": "ok"},
]
PROBED = {
    "node_name": "web-1",
    "signed": True,
    "servers": SERVERS,
}
CONFIG = """
node: {{name: web-1{node}}}
servers:
  - {{name: main, url: "https://chef-a.example.com"}}
  - {{name: standby, url: "https://chef-b.example.com:8443"}}
state_dir: {root}/state
listen: {{socket: {root}/sidecar.sock}}
{more}
"""
SECRET = "Hunter2-and-more"


@pytest.fixture(autouse=True)
def no_key_of_this_machine(monkeypatch):
    """What lies in /etc/chef where the tests run is not the node's."""
    monkeypatch.setattr(client_rb_checks, "find", lambda where: find(attrs.evolve(where, adoptable=())))
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture(scope="session")
def ruby():
    found = require_program("ruby", "ruby")
    if subprocess.run([found, "-e", "require 'chef-config/config'; require 'ohai/config'"], check=False).returncode:
        missing_part("Chef's libraries are not installed (packages ruby-chef-config, ohai)")
    return found


@pytest.fixture
def node(tmp_path, ruby):
    return make_node(tmp_path)


def make_node(root, *, node="", more=""):
    """A machine with chef-client, whose files are all below ``root``, and whose Ruby is the one that is here."""
    (root / "opt/chef/bin").mkdir(parents=True, exist_ok=True)
    (root / "opt/chef/bin/chef-client").touch()
    (root / "state").mkdir(exist_ok=True)
    path = root / "config.yml"
    path.write_text(CONFIG.format(root=root, node=node, more=more))
    return Node(config.load(path), path, root=root, which=lambda name: shutil.which(name) if name == "ruby" else None)


def put(node, absolute, text, mode=0o644):
    path = node.path(absolute)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def put_shim(node):
    """What the package installs, with the paths of this machine, and what root has accepted."""
    accept(node.config_path, lambda name: name)
    text = (ROOT / "ruby_shim/client.d/chef_failover.rb").read_text()
    text = text.replace("/usr/share/chef-failover/ruby/chef_failover.rb", f"{ROOT}/ruby_shim/lib/chef_failover.rb")
    text = text.replace("/etc/chef-failover/config.yml", f"{node.config_path}")
    put(node, "/etc/chef/client.d/chef_failover.rb", text)
    put(node, f"{ROOT}/ruby_shim/lib/chef_failover.rb", "")  # for who looks below the machine's root


def read(node, client_rb, *, product="chef"):
    put(node, f"/etc/{product}/client.rb", client_rb)
    return evaluate(node, product, [MAIN, STANDBY])


def parts(node, client_rb, probed=PROBED):
    """The differences that ``client_rb`` makes: setting to words."""
    found = read(node, client_rb)
    assert not isinstance(found, str), found
    return {one.setting: one.words for one in compare(node, "chef", probed, found)}


# --- what is evaluated ----------------------------------------------------------------------------------------------


def test_files_are_read_as_chef_client_reads_them(node):
    """client.rb, then client.d by name, files alone; paths are known from then on."""
    put(node, "/etc/chef/client.d/20.rb", 'node_name "#{node_name}-20"\n')
    put(node, "/etc/chef/client.d/10.rb", 'node_name "#{node_name}-10"\nssl_ca_file File.join(config_dir, "a.pem")\n')
    put(node, "/etc/chef/client.d/30.rb.bak", "raise\n")
    put(node, "/etc/chef/client.d/40.rb/not_a_file", "raise\n")
    found = read(node, 'node_name "web"\nenvironment File.basename(config_dir)\n')
    etc = node.path("/etc/chef")
    assert found.theirs["node_name"] == "web-10-20"
    assert found.theirs["ssl_ca_file"] == f"{etc}/a.pem"
    assert found.theirs["environment"] == ".chef"
    assert found.theirs["trusted_certs_dir"] == f"{etc}/trusted_certs"
    assert found.set_by["node_name"] == f"{etc}/client.d/20.rb"
    assert found.reader.startswith("chef-config ")


def test_without_a_client_rb_client_d_counts(node):
    put(node, "/etc/chef/client.d/10.rb", 'node_name "web"\n')
    assert evaluate(node, "chef", []).theirs["node_name"] == "web"


def test_cinc_has_its_own(node):
    assert read(node, 'node_name "of-cinc"\n', product="cinc").theirs["node_name"] == "of-cinc"


def test_the_shim_is_there_and_does_not_ask_the_sidecar(node, tmp_path):
    """It sets what it knows by itself; a question would have servers probed."""
    put_shim(node)
    asked = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sidecar.sock"))
        listening.listen()
        thread = threading.Thread(target=lambda: count(listening, asked))
        thread.start()
        found = read(node, 'chef_server_url "https://elsewhere.example.net"\n')
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert found.ours["chef_server_url"] == MAIN
    assert found.theirs["chef_server_url"] == "https://elsewhere.example.net"
    assert (found.is_shim_read, asked) == (True, [])


def count(listening, asked):
    while True:
        try:
            asked.append(listening.accept()[0].close())
        except OSError:
            return


def test_what_files_print_and_read_goes_nowhere(node, capfd):
    text = 'puts "{"\nwarn "x"\n$stdout.write("y" * 1_000_000)\nSTDIN.read\nsystem("echo z; cat")\nnode_name "web-1"\n'
    assert read(node, text).theirs["node_name"] == "web-1"
    assert capfd.readouterr() == ("", "")


def test_files_see_the_environment_of_a_service(node, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://mine:3128")
    monkeypatch.setenv("RUBYOPT", "-rnot_there")
    found = read(node, 'node_name ENV.fetch("HOME") + $PROGRAM_NAME\n')
    assert found.theirs["node_name"] == "/rootchef-client"
    assert set(found.proxies.values()) == {None}


def test_what_files_leave_for_the_end_is_not_done(node, tmp_path):
    assert not isinstance(read(node, f'at_exit {{ File.write("{tmp_path}/done", "") }}\n'), str)
    assert not (tmp_path / "done").exists()


# --- what ends it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\nraise 'SECRET'\n", "client.rb line 2 raises RuntimeError, so no run starts"),
        ("x = 1\nputs 'SECRET\n", "client.rb line 2 raises SyntaxError, so no run starts"),
        ("\n\nexit 3\n", "client.rb line 3 raises SystemExit, so no run starts"),
        ("exit! 0\n", "client.rb ends the process that loads it, so no run starts"),
        ('exec "true"\n', "client.rb ends the process that loads it, so no run starts"),
        ("chef_server_url 'ftp://SECRET'\n", "client.rb line 1 raises ChefConfig::ConfigurationError, so"),
        ("require '/nowhere/SECRET'\n".replace("SECRET", "x"), "line 1 raises LoadError /nowhere/x, so no run starts"),
        ("def deep = deep\ndeep\n", "raises SystemStackError, so no run starts"),
        ("Process.kill(:KILL, $$)\n", "client.rb ends the process that loads it, so no run starts"),
    ],
)
def test_a_client_rb_that_ends_chef_client_is_one_line(node, text, words):
    put(node, "/etc/chef/client.rb", text.replace("SECRET", SECRET))
    (only,) = findings(node, PROBED)
    assert (only.subject, only.is_ok) == ("client.rb of chef-client", False)
    assert words in only.detail
    assert SECRET not in only.detail


def test_a_file_in_client_d_that_raises_is_named(node):
    path = put(node, "/etc/chef/client.d/10.rb", "\n\nraise 'x'\n")
    assert read(node, "").startswith(f"{path} line 3 raises RuntimeError")


def test_a_client_rb_that_hangs_is_killed_with_all_that_it_started(node, tmp_path, monkeypatch):
    monkeypatch.setattr(client_rb_reader, "PATIENCE_S", 8.0)
    pid = tmp_path / "pid"
    told = read(node, f'trap("TERM", "IGNORE")\nFile.write("{pid}", spawn("sleep", "600"))\nsleep\n')
    client_rb = node.path("/etc/chef/client.rb")
    assert told == f"{client_rb} takes more than 8 s, and every run waits for it: find out what it waits for"
    until(lambda: is_gone(pid.read_text()))


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_only_all_of_chef_has_cannot_be_seen_without_it(node):
    with pytest.raises(UnseenError, match="needs all of Chef, but only chef-config is here") as caught:
        read(node, "Chef::Log.info 'x'\n")
    assert "client.rb line 1" in str(caught.value)
    with pytest.raises(UnseenError, match="LoadError chef/handler/mine"):
        read(node, "require 'chef/handler/mine'\n")


# --- by which Ruby --------------------------------------------------------------------------------------------------


def test_which_ruby(node, tmp_path):
    """That of the client, by its place or by its first line; else the one in PATH."""
    assert find_ruby(node, "chef") == shutil.which("ruby")
    clients = {
        "#!/opt/ruby-3.4/bin/ruby3.4 --disable-gems\n": "/opt/ruby-3.4/bin/ruby3.4",
        "#!/usr/bin/env ruby\n": None,
        "#!/bin/sh\n": None,
        "": None,
    }
    for line, expected in clients.items():
        client = put(node, "/usr/bin/chef-client", line)
        with_client = attrs.evolve(node, which={"chef-client": str(client)}.get)
        assert find_ruby(with_client, "chef") == expected
    embedded = put(node, "/opt/chef/embedded/bin/ruby", "", 0o755)
    assert find_ruby(node, "chef") == str(embedded)
    assert find_ruby(node, "cinc") == shutil.which("ruby")


def test_the_client_s_own_ruby_is_the_one_that_runs(node, ruby, tmp_path):
    text = f'#!/bin/sh\ntouch {tmp_path}/was_here\nexec {ruby} "$@"\n'
    put(node, "/opt/chef/embedded/bin/ruby", text, 0o755)
    assert read(node, 'node_name "web-1"\n').theirs["node_name"] == "web-1"
    assert (tmp_path / "was_here").exists()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (None, "no Ruby found, so"),
        ('#!/bin/sh\nexec {ruby} --disable-gems "$@"\n', "no Ruby with chef-config found"),
        ("#!/nowhere\n", "embedded/bin/ruby: No such file or directory"),
        ('#!/bin/sh\necho nonsense >&"$2"\n', "no Ruby with chef-config found"),
    ],
)
def test_without_a_ruby_that_can_one_line_says_so(node, ruby, program, words):
    if program:
        put(node, "/opt/chef/embedded/bin/ruby", program.format(ruby=ruby), 0o755)
    put(node, "/etc/chef/client.rb", 'node_name "other"\n')
    (only,) = findings(attrs.evolve(node, which=lambda _: None), PROBED)
    assert only.is_ok is None
    assert words in only.detail
    assert len(only.detail.splitlines()) == 1


def test_nobody_but_root_evaluates_it(node, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (only,) = findings(node, PROBED)
    assert (only.is_ok, "run this as root" in only.detail) == (None, True)


# --- what it is compared with ---------------------------------------------------------------------------------------


def test_a_node_that_is_well_has_one_line(node):
    put_shim(node)
    put(node, "/etc/chef/client.rb", f'chef_server_url "{MAIN}"\nnode_name "web-1"\nssl_verify_mode :verify_peer\n')
    (only,) = findings(node, PROBED)
    assert (only.is_ok, only.subject) == (True, "client.rb of chef-client")
    assert only.detail.endswith(f"; the shim sets {MAIN}")


def test_a_shim_without_an_accepted_configuration_sets_no_server(node):
    """It reads chef_server_url all the same, and Chef keeps its default then."""
    put_shim(node)
    path_of(node.config_path).unlink()
    (only,) = findings(node, PROBED)
    assert (only.is_ok, only.detail.endswith("; the shim sets no server")) == (True, True), only.detail


def test_each_difference_is_a_line_of_its_own(node):
    put(node, "/etc/chef/client.rb", 'node_name "web-2"\nssl_verify_mode :verify_none\n')
    found = findings(node, PROBED)
    assert [(one.subject, one.is_ok) for one in found] == [
        ("client.rb of chef-client", True),
        ("node_name of chef-client", False),
        ("ssl_verify_mode of chef-client", False),
    ]


@pytest.mark.parametrize(
    ("text", "setting", "words"),
    [
        ('node_name "web-2"', "node_name", "has web-2, but config.yml has web-1: runs use web-1"),
        (
            f'chef_server_url "{MAIN.replace("default", "acme")}"',
            "organization",
            "set node.organization, or the server's, to acme",
        ),
        (
            'chef_server_url "https://chef-a.example.com"',
            "organization",
            "set node.organization, or the server's, to null",
        ),
        (
            'chef_server_url "https://CHEF-A.example.com:443/"',
            "organization",
            "set node.organization, or the server's, to null",
        ),
        (
            'chef_server_url "https://vip.example.com/organizations/acme"',
            "organization",
            "has organization acme in chef_server_url",
        ),
        ("local_mode true", "local_mode", "so runs use no server"),
        ("chef_zero.enabled true", "chef_zero.enabled", "so runs use no server"),
        ("solo_legacy_mode true", "solo_legacy_mode", "so runs use no server"),
        ("ssl_verify_mode :verify_none", "ssl_verify_mode", "set ssl_verify_mode :verify_peer"),
        ('ssl_verify_mode ":verify_none"', "ssl_verify_mode", "set ssl_verify_mode :verify_peer"),
        (
            'ssl_client_cert "/x.pem"\nssl_client_key "/x.key"',
            "ssl_client_cert",
            "sets /x.pem for runs, but probes have none",
        ),
        ('ssl_client_cert "/x.pem"', "ssl_client_cert", "without ssl_client_key, so every run fails"),
        ('ssl_client_key "/x.key"', "ssl_client_key", "without ssl_client_cert, so every run fails"),
        ('https_proxy "http://proxy:3128"', "https_proxy", "main and standby through http://proxy:3128, but probes"),
        ('https_proxy "proxy:3128"\nno_proxy "*-a.example.com"', "https_proxy", "runs reach standby through"),
        ('https_proxy "http://[::1"', "https_proxy", "client.rb sets proxies that Chef cannot use, so every run fails"),
        ('http_proxy "http://a b"', "https_proxy", "client.rb sets proxies that Chef cannot use, so every run fails"),
        ('policy_name "web"\npolicy_group "prod"', "policy_name", "but config.yml has none: readiness of standbys"),
        ('policy_name "web"\npolicy_group "prod"\nenvironment "live"', "environment", "a run with both fails"),
        (
            "minimal_ohai true",
            "minimal_ohai",
            "our Ohai plugin does not run: node['chef_failover'] is not saved on the servers",
        ),
        ("ohai.disabled_plugins = [:ChefFailover]", "ohai.disabled_plugins", "remove it"),
        ("ohai[:disabled_plugins] << :ChefFailover", "ohai.disabled_plugins", "remove it"),
        ('ohai.plugin_path = ["/opt/plugins"]', "ohai.plugin_path", "it lacks /etc/chef/ohai/plugins"),
        ('allowed_automatic_attributes ["ipaddress"]', "allowed_automatic_attributes", 'add "chef_failover"'),
        ("allowed_automatic_attributes []", "allowed_automatic_attributes", 'add "chef_failover"'),
        ('automatic_attribute_whitelist ["a/b"]', "automatic_attribute_whitelist", 'add "chef_failover"'),
        ('blocked_automatic_attributes ["chef_failover"]', "blocked_automatic_attributes", "remove it"),
        ('automatic_attribute_blacklist [["chef_failover"]]', "automatic_attribute_blacklist", "remove it"),
        ('ssl_ca_file "/nowhere.pem"', "ssl_ca_file", "which does not exist, so every run fails"),
        ('ssl_ca_path "/nowhere"', "ssl_ca_path", "which does not exist, so every run fails"),
    ],
)
def test_a_difference_says_what_it_leads_to_and_what_to_do(node, text, setting, words):
    found = parts(node, f"{text}\n")
    assert words in found[setting]
    assert found.keys() - {setting} <= {"policy_name"}, found


@pytest.mark.parametrize(
    "text",
    [
        'node_name "web-1"',
        f'chef_server_url "{STANDBY}/"',
        'chef_server_url "https://vip.example.com/organizations/default"',
        'chef_server_url "https://vip.example.com"',
        "chef_server_url",
        'chef_server_url "https://[bad"',
        "client_key nil\ntrusted_certs_dir nil\nohai.plugin_path = [nil, '/etc/chef/ohai/plugins']",
        "node_name ['a']\npolicy_name 1\nssl_ca_file []\nallowed_automatic_attributes({'chef_failover' => true})",
        "ssl_verify_mode :verify_none\nverify_api_cert true",
        'https_proxy "http://proxy:3128"\nno_proxy "*.example.com"',
        'http_proxy "http://proxy:3128"',
        'policy_name "web"',
        'policy_name "web"\npolicy_group "prod"\njson_attribs "/etc/chef/first.json"',
        'environment "live"',
        'ohai.disabled_plugins = [:Mdadm, "ChefFailover"]',
        'ohai.plugin_path << "/opt/plugins"',
        'allowed_automatic_attributes ["/chef_failover"]',
        'allowed_automatic_attributes ["chef_failover/server"]',
        'allowed_default_attributes ["a"]',
        'blocked_automatic_attributes ["chef_failover/servers", "filesystem"]',
        'config_strict_mode true\nnode_name "web-1"',
    ],
)
def test_what_makes_no_difference(node, text):
    assert parts(node, f"{text}\n") == {}


def test_where_the_configuration_has_the_same_there_is_no_difference(tmp_path, ruby):
    node = make_node(tmp_path, node=", policy_name: web, policy_group: prod", more="health: {proxy: environment}")
    text = 'policy_name "{}"\npolicy_group "prod"\nhttps_proxy "http://proxy:3128"\n'
    assert parts(node, text.format("web")) == {}
    assert (
        "config.yml has policy web of group prod: readiness of standbys"
        in parts(node, text.format("db"))["policy_name"]
    )
    found = parts(node, 'environment "live"\npolicy_name "web"\n')
    assert "config.yml sets policy web: a run with both fails" in found["environment"]
    assert "does nothing; set policy_name and policy_group there, too" in found["policy_name"]
    assert parts(node, 'json_attribs "/etc/chef/first.json"\n') == {}
    assert parts(make_node(tmp_path, more="readiness: off"), text.format("db")).keys() == {"https_proxy"}


DIRECTLY = "main and standby through http://proxy:3128, but probes go directly: one may work and the other not; set the"


@pytest.mark.parametrize(
    ("environment", "more", "way"),
    [
        ({"https_proxy": f"http://me:{SECRET}@proxy:3128"}, "", None),
        ({"https_proxy": f"http://me:{SECRET}@other:3128"}, "", "but probes go through other:3128: one may"),
        ({"HTTPS_PROXY": f"http://me:{SECRET}@proxy:3128"}, "", DIRECTLY),  # which counts for neither
        ({}, "", DIRECTLY),
        ({"https_proxy": "proxy:3128", "no_proxy": "-a.example.com"}, "", "runs reach main through http://proxy:3128,"),
        ({"https_proxy": "proxy:3128", "no_proxy": "-a.example.com"}, 'no_proxy "chef-a.example.com"', None),
        ({"https_proxy": "proxy:3128"}, 'no_proxy "-a.example.com"', "runs reach main directly, but probes go through"),
        ({"https_proxy": "http://[::1]:3128"}, "", None),  # the probes fail, and say why
    ],
)
def test_the_proxy_in_the_environment_of_the_sidecar_is_another(tmp_path, ruby, environment, more, way):
    node = make_node(tmp_path, more="health: {proxy: environment}")
    text = f'https_proxy "http://proxy:3128"\n{more}\n'
    assert parts(node, text) == {}, "nobody answers, so it cannot be seen"
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(); input()"
    command = [sys.executable, "-c", code, str(node.config.listen.socket)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sidecar:
        sidecar.stdout.readline()
        found = parts(node, text)
        sidecar.communicate(b"\n")
    assert SECRET not in str(found)
    assert way in found["https_proxy"] if way else found == {}


def test_without_servers_the_shim_touches_nothing_and_nothing_is_compared(node):
    assert parts(node, 'node_name "other"\nminimal_ohai true\n', probed=PROBED | {"servers": []}) == {}


def test_a_node_without_a_name_keeps_chef_client_s_own(tmp_path, ruby):
    node = make_node(tmp_path)
    node = attrs.evolve(node, config=attrs.evolve(node.config, node=config.Node()))
    assert parts(node, 'node_name "other"\nclient_key "/nowhere"\n', probed=PROBED | {"node_name": None}) == {}


def test_a_later_file_that_sets_the_url_is_named_even_if_it_is_the_same(node):
    put_shim(node)
    late = put(node, "/etc/chef/client.d/zz.rb", f'chef_server_url "{MAIN}"\n')
    assert parts(node, "")["chef_server_url"].startswith(f"{late} sets {MAIN} after the shim, so runs use that server")
    late.rename(late.with_name("aa.rb"))
    assert parts(node, "") == {}


def test_a_client_d_that_is_read_elsewhere_by_a_program(node):
    put_shim(node)
    (node.path("/etc/chef/other.d")).mkdir()
    found = parts(node, 'self[:client_d_dir] = "/etc/chef/" + "other.d"\n')
    assert "sets another client.d, without chef_failover.rb" in found["client_d_dir"]


def test_a_value_stays_on_its_line(node):
    (words,) = parts(node, 'node_name "a\\n\\e[31mb" + "c" * 5000\n').values()
    assert words.isprintable()
    assert len(words) < 1000


def test_no_secret_is_told(node):
    put(
        node,
        "/etc/chef/client.rb",
        f'https_proxy "http://me:{SECRET}@proxy:3128"\nchef_server_url "https://me:a@{SECRET}@chef-a.example.com"\n'
        f'client_key_contents "{SECRET}"\nvalidation_key_contents "{SECRET}"\ndata_collector.token = "{SECRET}"\n',
    )
    found = findings(node, PROBED)
    assert {one.subject.split()[0] for one in found} == {"client.rb", "https_proxy", "organization"}
    assert SECRET not in json.dumps([attrs.asdict(one) for one in found])


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys():
    return [PrivateKey.generate().private_pem().decode() for _ in range(2)]


def test_runs_that_would_sign_by_another_key(node, keys, tmp_path):
    """The sidecar's own key goes to chef-client, in the place of one that client.rb names."""
    theirs = put(node, "/etc/chef/web.pem", keys[0], 0o600)
    text = f'client_key "{theirs}"\n'
    assert f"has {theirs}, but the sidecar does not use that: a server" in parts(node, text)["client_key"]
    ours = put(node, "/state/client.pem", keys[1], 0o600)
    assert f"has {theirs}, but runs and probes sign with {ours}:" in parts(node, text)["client_key"]
    ours.write_text(keys[0])
    assert parts(node, text) == {}
    assert parts(node, 'client_key "/nowhere.pem"\n') == {}


def test_a_key_that_systemd_will_hand_over_is_that_of_runs(node, keys):
    """Before the first start there is no copy of it yet."""
    theirs = put(node, "/etc/chef/web.pem", keys[0], 0o600)
    unit = with_unit(node, "LoadCredential=client.pem:/etc/chef/web.pem\n")
    handed_over = attrs.evolve(node, which=lambda name: (unit if name == "systemctl" else node).which(name))
    assert "client_key" in parts(node, f'client_key "{theirs}"\n')
    assert parts(handed_over, f'client_key "{theirs}"\n') == {}
    put(node, "/etc/chef/client.pem", keys[1], 0o600)
    put(node, "/run/credentials/chef-failover.service/client.pem", keys[0], 0o400)
    assert "runs sign with" in parts(handed_over, "")["client_key"]


def test_probes_that_sign_by_another_key_than_runs(node, keys):
    """A credential is for the sidecar alone, and chef-client keeps its own key."""
    ours = put(node, "/run/credentials/chef-failover.service/client.pem", keys[0], 0o400)
    assert "which is not a usable key, and probes with" in parts(node, "")["client_key"]
    theirs = put(node, "/etc/chef/client.pem", keys[1], 0o600)
    assert f"runs sign with {theirs}, and probes with another key, {ours}:" in parts(node, "")["client_key"]
    other = put(node, "/etc/chef/web.pem", keys[0], 0o600)
    assert parts(node, f'client_key "{other}"\n') == {}


# --- what is trusted ------------------------------------------------------------------------------------------------


def test_a_ca_that_runs_trust_and_probes_do_not(tmp_path, ruby):
    node = make_node(tmp_path)
    ca = put(node, "/etc/chef/ca.pem", Authority().ca_pem.decode())
    text = f'ssl_ca_file "{ca}"\n'
    assert "but probes do not trust it: if main needs it, that server is DOWN" in parts(node, text)["ssl_ca_file"]
    assert parts(node, f'ssl_ca_path "{ca.parent}"\nssl_ca_file "/nowhere"\n').keys() == {"ssl_ca_path"}
    first, second = node.config.servers
    named = (first, attrs.evolve(second, ca_file=ca))
    assert parts(attrs.evolve(node, config=attrs.evolve(node.config, servers=named)), text) == {}
    well = [entry | {"outcome": "ok"} for entry in SERVERS]
    assert parts(node, text, probed=PROBED | {"servers": well}) == {}
    put(node, "/etc/chef/trusted_certs/ca.crt", ca.read_text())
    assert parts(node, text) == {}


def test_files_that_cannot_be_read_stop_nothing(node):
    """A damaged certificate is one that nobody trusts; a name that no file can have is said."""
    damaged = put(node, "/etc/chef/ca.pem", "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n")
    assert parts(node, f'ssl_ca_file "{damaged}"\n') == {}
    put(node, "/etc/chef/client.rb", 'ssl_ca_file "/" + "x" * 280\n')
    assert [(one.is_ok, one.detail[-20:]) for one in findings(node, PROBED)][1:] == [(None, ": File name too long")]


def test_the_system_s_bundle_is_trusted_by_both(node):
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    assert Path(bundle).exists(), "the package ca-certificates is not installed"
    assert parts(node, f'ssl_ca_file "{bundle}"\n') == {}


def test_certificates_of_the_client_that_probes_go_by_count_alone(node):
    """With Chef and Cinc, probes trust what Chef's client does."""
    put(node, "/opt/cinc/bin/cinc-client", "")
    only_cinc = put(node, "/etc/cinc/trusted_certs/a.pem", Authority().ca_pem.decode())
    certs = only_cinc.parent
    assert f"sets {certs}, but probes trust" in parts(node, f'trusted_certs_dir "{certs}"\n')["trusted_certs_dir"]
    found = read(node, "", product="cinc")
    said = {one.setting: one.words for one in compare(node, "cinc", PROBED, found)}["trusted_certs_dir"]
    assert said.startswith(f"cinc-client trusts {certs}, but probes trust {node.path('/etc/chef/trusted_certs')}")
    assert said.endswith("keep the same certificates in both")
    put(node, "/etc/chef/trusted_certs/b.pem", only_cinc.read_text())
    assert parts(node, f'trusted_certs_dir "{certs}"\n') == {}


def test_trusted_certificates_that_are_elsewhere(node):
    """Runs lose those that probes see, and have others; client.rb is read before its own place is known."""
    trap = 'trusted_certs_dir File.join(config_dir, "trusted_certs")\n'
    assert parts(node, trap) == {}
    kept = put(node, "/etc/chef/trusted_certs/a.pem", Authority().ca_pem.decode())
    assert f"/.chef/trusted_certs, but probes trust {kept.parent}" in parts(node, trap)["trusted_certs_dir"]
    other = put(node, "/srv/certs/a.crt", kept.read_text()).parent
    assert parts(node, f'trusted_certs_dir "{other}"\n') == {}
    put(node, "/srv/certs/b.crt", Authority().ca_pem.decode())
    assert (
        "a server may be UP for probes and fail for runs"
        in parts(node, f'trusted_certs_dir "{other}"\n')["trusted_certs_dir"]
    )
