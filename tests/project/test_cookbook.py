"""The cookbook: Ruby that Chef 16 to 19 reads, properties for all of config.yml, and what its library decides.

tests/packaging runs it with a real chef-client, where there is one.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
import yaml

from chef_failover.cli.main import commands
from chef_failover.config import settings as config
from chef_failover.config.settings import AssociationSettings, Config, Node, Server
from chef_failover.decide import steering
from chef_failover.errors import ConfigError
from tests.project.test_docs import DOCS, ROOT, asked_of, spoken
from tests.support.parts import missing_part, require_program

COOKBOOK = ROOT / "packaging" / "cookbook" / "chef_failover"
RESOURCE = COOKBOOK / "resources" / "default.rb"
FILES = sorted(COOKBOOK.rglob("*.rb"))
LIBRARIES = sorted(COOKBOOK.glob("libraries/*.rb"))
KINDS = ("ruby27", "ruby30", "ruby31", "ruby32")
"""The embedded Rubies of Chef 16 to 18, as far as there are parsers; tests/packaging has a later one."""
PARSE = """
require "parser"
ARGV.shift.then { |kind| require "parser/#{kind}"; KIND = Parser.const_get(kind.capitalize) }
ARGV.each do |path|
  parser = KIND.default_parser
  parser.diagnostics.consumer = nil
  begin
    abort "#{path}: nothing in it" unless parser.parse(Parser::Source::Buffer.new(path, source: File.read(path)))
  rescue Parser::SyntaxError => e
    abort "#{path}: #{e.message}"
  end
end
"""
SERVE = """
require "json"
ARGV.each { |library| require library }
STDOUT.sync = true
STDIN.each_line do |line|
  code, given = JSON.parse(line)
  answer = begin
    [binding.tap { |here| here.local_variable_set(:given, given) }.eval(code)]
  rescue StandardError, SyntaxError => e
    "#{e.class}: #{e.message}"
  end
  puts JSON.generate(answer)
end
"""
SERVERS: list[dict[str, Any]] = [
    {"name": "mainserver", "url": "https://chef-a.example.com"},
    {
        "name": "standbyserver",
        "url": "https://chef-b.example.com",
        "association": {"provider": "chef-server", "validator_key": "ssm:/chef/b", "region": "us-east-1"},
    },
]


class Ruby:
    """Plain Ruby with the cookbook's libraries, which have no state: one process for all tests."""

    process: subprocess.Popen[str]

    def __call__(self, code, *arguments):
        """The value of ``code`` as JSON knows it; ``given`` has the arguments there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([code, arguments]) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert isinstance(answer, list), answer
        return answer[0]


ruby = Ruby()


@pytest.fixture(scope="module", autouse=True)
def interpreter():
    """Starts it, and ends it."""
    command = [require_program("ruby", "ruby"), "-w", "-e", SERVE, *map(str, LIBRARIES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ruby.process:
        yield


def written(properties):
    """The text of config.yml for these properties, or the mistakes that are told."""
    here = "ChefFailoverCookbook::"
    return ruby(
        f"begin; {here}ConfigYml.text({here}ConfigYml.config(given[0])); rescue {here}Mistakes => e; e.message; end",
        properties,
    )


# Ruby.


def test_all_files_are_looked_at():
    assert [path.relative_to(COOKBOOK).as_posix() for path in FILES] == [
        "attributes/default.rb",
        "libraries/chef_failover_cookbook.rb",
        "libraries/config_check.rb",
        "libraries/config_yml.rb",
        "metadata.rb",
        "recipes/default.rb",
        "resources/default.rb",
    ]


def parse(kind, *paths):
    command = [require_program("ruby", "ruby"), "-W0", "-e", PARSE, kind, *map(str, paths)]
    if subprocess.run([*command[:2], "-e", "require 'parser'"], capture_output=True, check=False).returncode:
        missing_part("Ruby's parsers are not installed (package ruby-parser, which rubocop brings)")
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_ruby_of(kind):
    parsed = parse(kind, *FILES)
    assert parsed.returncode == 0, parsed.stderr


def test_newer_syntax_would_be_noticed(tmp_path):
    newer = tmp_path / "newer.rb"
    newer.write_text("a = 1\nb = {a:}\n")
    assert [parse(kind, newer).returncode for kind in KINDS] == [1, 1, 0, 0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nothing_warns(path):
    command = [require_program("ruby", "ruby"), "-wc", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout.strip(), checked.stderr) == (0, "Syntax OK", "")


def test_rubocop_has_nothing_to_say():
    command = [require_program("rubocop", "rubocop"), "--config", "tests/ruby/cookbook.rubocop.yml", "--cache", "false"]
    checked = subprocess.run([*command, COOKBOOK], capture_output=True, text=True, check=False, cwd=ROOT)
    assert checked.returncode == 0, checked.stdout


# What Chef people expect, and cookstyle would say.


def test_the_metadata_are_whole():
    said = dict(re.findall(r"^(\w+) '([^']+)'", (COOKBOOK / "metadata.rb").read_text(), flags=re.MULTILINE))
    assert {"name": "chef_failover", "license": "Apache-2.0", "chef_version": ">= 16.0"}.items() <= said.items()
    assert {"maintainer", "description", "version", "supports"} <= said.keys()
    assert "depends" not in said, "no other cookbook is needed"


def test_the_resource_is_one_that_chef_16_to_19_load_alike():
    text = RESOURCE.read_text()
    for line in ("unified_mode true", "resource_name :chef_failover", "provides :chef_failover"):
        assert re.search(rf"^{line}$", text, flags=re.MULTILINE), line
    assert re.findall(r"^action :(\w+) do$", text, flags=re.MULTILINE) == ["install", "remove", "drain", "undrain"]
    assert "default_action :install" in text


@pytest.mark.parametrize(
    "passed",
    [r"\bnode\.(set|normal|force_default)\b", r"\binclude_recipe\b", r"\bchef_gem\b", r"\buse_inline_resources\b"],
)
def test_it_has_nothing_that_cookbooks_should_not_have(passed):
    assert [path.name for path in FILES if re.search(passed, path.read_text())] == []


def test_attributes_do_not_mix_with_what_nodes_report():
    """node['chef_failover'] is Ohai's: it would win, and make every node look as if it had the package."""
    for path in FILES:
        assert not re.search(r"""(default|node)\[.chef_failover.\]\[""", path.read_text()), path


def properties():
    """Each property with what stands in its declaration."""
    declared = re.compile(r"^property :(\w+), (.*?)(?=^property|^\n|^#|\Z)", flags=re.DOTALL | re.MULTILINE)
    found = declared.findall(RESOURCE.read_text())
    assert len(found) > 25
    return dict(found)


def test_each_property_is_described():
    assert [
        name
        for name, text in properties().items()
        if not re.search(r"description: '.+\.'$", text, flags=re.DOTALL | re.MULTILINE)
    ] == []


def test_the_table_in_the_readme_has_each_property():
    table = (COOKBOOK / "README.md").read_text().partition("## Properties")[2]
    rows = "".join(re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(properties())


def test_the_commands_that_it_runs_exist():
    text = RESOURCE.read_text()
    run = set(re.findall(r"COMMAND\}?,? '?([a-z]+)", text))
    assert run == {"check", "server", "status", "drain", "undrain"}
    known = commands()
    options = set(re.findall(r"--[a-z-]+", text)) - {"--why-run", "--repo"}
    assert options == {"--only-file", "--config", "--json", "--reason", "--for", "--force"}
    assert options <= set().union(*(asked_of(known[name]) for name in run))


# All of config.yml.


def names(cl):
    return [field.name for field in attrs.fields(cl)]


def test_every_key_of_config_yml_is_a_property():
    of_node = {"node_name" if name == "name" else name for name in names(Node)}
    assert {*of_node, *names(Config)} - {"node"} <= properties().keys()


def test_the_library_knows_the_keys_of_config_yml():
    known = ruby(
        "[ChefFailoverCookbook::ConfigYml::OF_NODE, ChefFailoverCookbook::ConfigYml::OF_FILE,"
        " *%w(SECTIONS SERVER PROVIDERS).map { |name| ChefFailoverCookbook::ConfigCheck.const_get(name) }]"
    )
    of_node, of_file, sections, server, providers = known
    assert sorted(of_node.values()) == sorted(names(Node))
    assert sorted(of_file) == sorted(set(names(Config)) - {"node"})
    fields = {field.name: field.type for field in attrs.fields(attrs.resolve_types(Config))}
    hashes = {name: sorted(names(cl)) for name, cl in fields.items() if attrs.has(cl) and name != "node"}
    assert {name: sorted(keys) for name, keys in sections.items()} == hashes
    assert sorted(server) == sorted(names(Server))
    classes = {attrs.fields(cl).provider.default: sorted(names(cl)) for cl in get_args(AssociationSettings)}
    assert {name: sorted(keys) for name, keys in providers.items()} == classes


def test_the_library_knows_the_defaults_of_places():
    socket, state_dir, lists = ruby(
        "%w(SOCKET STATE_DIR FLEETS_LIST).map { |name| ChefFailoverCookbook.const_get(name) }"
    )
    assert (Path(socket), Path(state_dir)) == (Config().listen.socket, Config().state_dir)
    assert lists == steering.FLEET


WHOLE: dict[str, Any] = {
    "node_name": "web-1",
    "organization": "acme",
    "client_key": "/etc/pki/node.pem",
    "key_bits": 3072,
    "policy_group": "production",
    "policy_name": "base",
    "servers": [
        *SERVERS,
        {"name": "old", "url": "https://chef-c.example.com:8443/organizations/x", "ca_file": "/etc/ssl/c.pem"},
        {
            "name": "aws",
            "url": "https://d.example.com",
            "association": {"provider": "opsworks-cm", "region": "eu-west-1"},
        },
        {"name": "same-host", "url": "https://chef-a.example.com", "organization": "other"},
    ],
    "trusted_hosts": ["*.chef.example.com"],
    "health": {"interval": "30m", "rise": 3, "proxy": "environment"},
    "selection": {"failback": "never"},
    "listen": {"socket": "/run/x.sock", "loopback": "off"},
    "readiness": "check",
    "parity": "off",
    "state_dir": "/srv/state",
    "metrics": {"textfile": "/srv/metrics.prom"},
    "discovery": {"source": "s3://fleet/servers.yml", "interval": "1m", "region": "us-east-1"},
    "fleet": {"nodes": 800},
    "log_format": "json",
}


def test_what_it_writes_is_what_the_sidecar_reads():
    text = written(WHOLE)
    node = {"node_name": "name"}
    expected = {key: value for key, value in WHOLE.items() if key in names(Config)}
    expected["node"] = {node.get(key, key): value for key, value in WHOLE.items() if key not in names(Config)}
    assert yaml.safe_load(text) == expected
    assert config.parse(text).servers[0].name == "mainserver"
    assert config.parse(text).listen.loopback is None
    assert set(WHOLE) >= {*names(Config), *names(Node)} - {"node", "name"}, "the example is not whole"


def test_what_is_not_set_is_left_out():
    assert yaml.safe_load(written({"node_name": "web-1"})) == {"node": {"name": "web-1"}}
    handed_over = written({"node_name": "web-1", "client_key": "handed_over"})
    assert yaml.safe_load(handed_over) == {"node": {"name": "web-1"}}


def test_without_an_organization():
    parsed = config.parse(written({"node_name": "a", "organization": False, "servers": SERVERS}))
    assert parsed.node.organization is None
    servers = [SERVERS[0] | {"organization": False}, SERVERS[1] | {"organization": None}]
    assert [
        server.organization for server in config.parse(written({"node_name": "a", "servers": servers})).servers
    ] == [None, None]


def test_symbols_and_the_hashes_of_chef_become_plain_yaml():
    """Attributes come as Chef's own kinds of hash and array, whose to_h takes no block; what is shared is no alias."""
    text = ruby(
        "class Mash < Hash; def to_h; {}; end; end; class List < Array; end; class Text < String; end;"
        "shared = Mash.new.merge!('provider' => :none);"
        "servers = List.new([:a, :b].map { |name| Mash.new.merge!(name: name, 'url' => Text.new(\"https://#{name}\"),"
        "'association' => shared) });"
        "yaml = ChefFailoverCookbook::ConfigYml;"
        "given = { node_name: 'x', servers: servers, readiness: :check, selection: { failback: :never } };"
        "yaml.text(yaml.config(given))"
    )
    assert not re.search(r"[!&*]|:\w+$", text), text
    assert config.parse(text).servers[1].name == "b"
    assert config.parse(text).readiness == "check"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no server": ({"servers": ["chef-a"]}, 'servers[0]: "chef-a" is not a server; write {'),
    "no url": ({"servers": [{"name": "a"}]}, "servers[0]: needs the key url"),
    "a key that is none": (
        {"servers": [SERVERS[0] | {"uri": "x"}]},
        "servers[0].uri: unknown key; known here: name",
    ),
    "a name": (
        {"servers": [SERVERS[0] | {"name": "main server"}]},
        'servers[0].name: "main server" is not a name',
    ),
    "http": ({"servers": [SERVERS[0] | {"url": "http://a"}]}, 'servers[0].url: "http://a" is not the URL of a Chef'),
    "a user": ({"servers": [SERVERS[0] | {"url": "https://me:hunter2@a"}]}, "servers[0].url: has a user or a password"),
    "a name twice": ({"servers": [SERVERS[0], SERVERS[0] | {"url": "https://b"}]}, "is that of servers[0] already"),
    "a URL twice": ({"servers": [SERVERS[0], SERVERS[0] | {"name": "b"}]}, "servers[1].url: "),
    "a provider": (
        {"servers": [SERVERS[0] | {"association": {"provider": "chef"}}]},
        'servers[0].association.provider: "chef" is not one of: none, chef-server, opsworks-cm',
    ),
    "a key of another provider": (
        {"servers": [SERVERS[0] | {"association": {"provider": "none", "region": "x"}}]},
        "servers[0].association.region: unknown key; known here: provider",
    ),
    "a list for a hash": ({"servers": [SERVERS[0] | {"association": ["x"]}]}, "is not a hash; write { 'provider'"),
    "no region": (
        {"servers": [SERVERS[0] | {"association": {"provider": "chef-server", "validator_key": "ssm:x"}}]},
        "servers[0].association.region: is missing; write the AWS region",
    ),
    "no region of OpsWorks": (
        {"servers": [SERVERS[0] | {"association": {"provider": "opsworks-cm"}}]},
        "servers[0].association.region: is missing",
    ),
    "a key itself": (
        {"servers": [SERVERS[0] | {"association": {"provider": "chef-server", "validator_key": "-----BEGIN hunter2"}}]},
        "servers[0].association.validator_key: is not a place; write file:/absolute/path",
    ),
    "nobody to register": (
        {"node_name": None, "servers": SERVERS},
        "servers[1].association.provider: chef-server",
    ),
    "a section": (
        {"health": {"intervall": "1m"}},
        "health.intervall: unknown key; known here: interval",
    ),
    "a section that is none": ({"listen": "off"}, 'listen: "off" is not a hash; it may have: socket, loopback'),
}


@pytest.mark.parametrize(("given", "told"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_told_with_what_would_be_right(given, told):
    said = written({"node_name": "web-1"} | given)
    assert told in said
    assert "hunter2" not in said


@pytest.mark.parametrize("given", [given for given, _ in WRONG.values()], ids=WRONG.keys())
def test_what_it_refuses_the_sidecar_refuses(given):
    document = {"node": {"name": given.get("node_name", "web-1")}} | given
    document.pop("node_name", None)
    with pytest.raises(ConfigError):
        config.parse(yaml.safe_dump(document))


def test_all_mistakes_are_told_at_once():
    said = written({"node_name": "a", "servers": ["x", {"url": "http://y"}], "fleet": {"size": 1}})
    assert said.startswith("nothing was changed, because properties of chef_failover are wrong:\n")
    told = ["fleet.size", "servers[0]", "servers[1]", "servers[1].url"]
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == told


def test_what_no_yaml_has_is_refused():
    said = ruby(
        "begin; ChefFailoverCookbook::ConfigYml.config({ 'health' => { 'interval' => Object } });"
        " rescue ChefFailoverCookbook::Mistakes => e; e.message; end"
    )
    assert "health.interval: is of the class Class; write text, a number, a list or a hash" in said


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["/srv/x.rpm", None, None], []),
        (["https://a/x.rpm", None, None], []),
        ([None, None, {"baseurl": "https://a"}], []),
        ([None, None, None], []),
        (["http://a/x.rpm", None, None], ["package_checksum: is missing"]),
        (["x.rpm", None, None], ['package_source: "x.rpm" is not an RPM']),
        (
            ["/x", None, {"url": "a"}],
            ["package_source: stands with", "repository: needs the key", "repository: unknown key"],
        ),
        (
            [None, None, {"baseurl": "https://a\n[other]\nbaseurl=http://b"}],
            ["repository: a value has a line break"],
        ),
        (
            [None, None, {"baseurl": "https://a", "gpgkey": ["x", "y\r"]}],
            ["repository: a value has a line break"],
        ),
    ],
)
def test_where_the_package_comes_from(given, told):
    said = ruby("ChefFailoverCookbook.package_mistakes(*given)", *given)
    assert len(said) == len(told)
    assert all(one.startswith(start) for one, start in zip(said, told, strict=True)), said


def test_a_repository_is_signed_unless_it_is_said_not_to_be():
    def lines(keys):
        return ruby("ChefFailoverCookbook.repository(given[0])", keys).splitlines()[1:]

    head = ["[chef-failover]", "name=chef-failover"]
    assert lines({"baseurl": "https://a", "gpgkey": "https://a/KEY"}) == [
        *head,
        "gpgcheck=1",
        "repo_gpgcheck=1",
        "baseurl=https://a",
        "gpgkey=https://a/KEY",
    ]
    assert lines({"repo_gpgcheck": False, "baseurl": "x"}) == [*head, "gpgcheck=1", "repo_gpgcheck=0", "baseurl=x"]
    two = lines({"baseurl": "x", "gpgkey": ["https://a/1", "https://a/2"]})
    assert two[-1] == "gpgkey=https://a/1 https://a/2"


# What it decides.


def test_the_same_nodes_are_chosen_always_and_more_of_them_for_more_percent():
    code = '(1..1000).map { |i| given[0].map { |percent| ChefFailoverCookbook.chosen?("web-#{i}", percent) } }'
    chosen = ruby(code, [0, 0.5, 1, 5, 20, 100])
    counts = [sum(column) for column in zip(*chosen, strict=True)]
    assert (counts[0], counts[-1]) == (0, 1000)
    assert counts == [0, 5, 10, 48, 204, 1000], "a hash does not change"
    assert all(row == sorted(row) for row in chosen)


@pytest.mark.parametrize(
    ("chef_config", "organization"),
    [
        ({"chef_server_url": "https://chef-a.example.com/organizations/acme"}, "acme"),
        ({"chef_server_url": "https://chef-a.example.com:8443/organizations/acme/"}, "acme"),
        ({"chef_server_url": "https://goiardi.example.com:4545"}, False),
        ({"chef_server_url": "chefzero://localhost:1", "local_mode": True}, "default"),
    ],
)
def test_the_organization_is_that_of_the_server_in_use(chef_config, organization):
    assert ruby("ChefFailoverCookbook.organization(given[0].transform_keys(&:to_sym))", chef_config) == organization


def test_the_drop_in_is_the_one_of_the_docs():
    def directives(text):
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    example = (ROOT / "packaging" / "examples" / "client-key.conf").read_text()
    assert directives(ruby("ChefFailoverCookbook.drop_in('/etc/chef/client.pem')")) == directives(example)


def test_a_drop_in_is_known_by_who_wrote_it(tmp_path):
    told = "ChefFailoverCookbook.drop_in?(given[0])"
    path = tmp_path / "client-key.conf"
    assert ruby(told, str(path)) is False
    path.write_text((ROOT / "packaging" / "examples" / "client-key.conf").read_text())
    assert ruby(told, str(path)) is False, "a person wrote it"
    path.write_text(ruby("ChefFailoverCookbook.drop_in('/etc/chef/client.pem')"))
    assert ruby(told, str(path)) is True


@pytest.mark.parametrize(
    ("path", "more", "is_own"),
    [
        ("/etc/chef/client.pem", {}, False),
        ("/var/lib/chef-failover/client.pem", {}, True),
        ("/var/lib/chef-failover/client.pem", {"state_dir": "/srv/new"}, True),
        ("/srv/new/client.pem", {"state_dir": "/srv/new/"}, True),
        ("/srv/new/client.pem", {}, False),
    ],
)
def test_the_services_own_key_is_not_one_to_hand_over(contract, path, more, is_own):
    accepted = json.loads((contract / "accepted.json").read_text())
    assert ruby("ChefFailoverCookbook.services_own?(*given)", path, more, accepted) is is_own
    assert ruby("ChefFailoverCookbook.services_own?(*given)", "/etc/chef/client.pem", more, {}) is False


def test_what_was_accepted_is_read(contract, tmp_path):
    read = "ChefFailoverCookbook.accepted(given[0])"
    assert ruby(read, str(contract / "accepted.json"))["socket"] == "/run/chef-failover/sidecar.sock"
    assert ruby(read, str(tmp_path / "none")) == {}
    (tmp_path / "half").write_text('{"schema"')
    assert ruby(read, str(tmp_path / "half")) == {}


@pytest.mark.parametrize(
    ("more", "is_moved"),
    [
        ({}, False),
        ({"listen": {"loopback": "off"}}, False),
        ({"listen": {"socket": "/run/x"}}, True),
        ({"state_dir": "/srv/x"}, True),
    ],
)
def test_new_places_take_a_restart(contract, more, is_moved):
    accepted = json.loads((contract / "accepted.json").read_text())
    assert ruby("ChefFailoverCookbook.moved?(*given)", accepted, more) is is_moved
    assert ruby("ChefFailoverCookbook.moved?(*given)", {}, more) is False


def test_a_drain_that_stands_is_left_alone(contract):
    servers = json.loads((contract / "servers.json").read_text())["servers"]
    drain = next(server["drain"] for server in servers if server["drain"])
    code = "ChefFailoverCookbook.drained?(given[0], given[1], given[2] && Time.iso8601(given[2]))"
    reason, ends = drain["reason"], drain["ends"]
    assert ruby(code, drain, reason, None) is True
    assert ruby(code, drain, reason, ends) is True
    assert ruby(code, drain, reason, "2026-11-22T12:30:00Z") is False
    assert ruby(code, drain, "another", None) is False
    assert ruby(code, drain | {"ends": None}, reason, ends) is False
    assert ruby(code, drain | {"who": steering.FLEET}, "another", None) is True
    assert ruby(code, None, reason, None) is False


# What a node keeps.

KEPT = "kept = ChefFailoverCookbook::Kept.new(given[0], given[1], '/etc/chef', given[2]); "


@pytest.fixture
def used(contract):
    """What the sidecar answers, and what root has accepted."""
    return [json.loads((contract / name).read_text()) for name in ("server.json", "accepted.json")]


def test_a_node_keeps_its_only_key_and_what_it_trusts(used):
    code = KEPT + "%i(key_from key_to ca_from ca_to).map { |name| kept.public_send(name) }"
    assert ruby(code, *used, None) == [
        "/var/lib/chef-failover/client.pem",
        "/etc/chef/client.pem",
        "/etc/chef/trusted_certs/chef-b.pem",
        "/etc/chef/trusted_certs/chef-failover-chef-b.pem",
    ]
    handed_over = used[0] | {"client_key": None, "ssl_ca_file": None}
    assert ruby(code, handed_over, used[1], None) == [None, "/etc/chef/client.pem", None, None]
    elsewhere = used[0] | {"client_key": "/etc/pki/node.pem"}
    assert ruby(code, elsewhere, used[1], None)[0] is None


def client_config(text, client_rb):
    """Server, name and key of the real ChefConfig, by this client.rb and then this file of client.d."""
    code = (
        "require 'chef-config/config'; config = ChefConfig::Config; config.reset; "
        "given.first(2).each { |text| config.from_string(text, 'client') }; "
        "[config.chef_server_url, config.node_name, config.client_key]"
    )
    probe = [require_program("ruby", "ruby"), "-e", "require 'chef-config/config'"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        missing_part("chef-config is not installed (package ruby-chef-config)")
    return ruby(f"$VERBOSE = nil; {code}", client_rb, text)


def test_without_the_shim_chef_client_is_what_it_was_with_it(used):
    text = ruby(KEPT + "kept.client_rb", *used, None)
    url = used[0]["chef_server_url"]
    assert client_config(text, "") == [url, "web-1", "/etc/chef/client.pem"]
    assert client_config(text, "chef_license 'accept'; chef_server_url; node_name") == [
        url,
        "web-1",
        "/etc/chef/client.pem",
    ]
    assert client_config("", "")[1] is None, "without the file nothing would be known"


def test_client_rb_counts_where_it_says_something(used, tmp_path):
    text = ruby(KEPT + "kept.client_rb", *used, None)
    (tmp_path / "own.pem").touch()
    client_rb = f"chef_server_url 'https://old'; node_name 'old'; client_key '{tmp_path}/own.pem'"
    assert client_config(text, client_rb) == ["https://old", "old", f"{tmp_path}/own.pem"]


def test_the_server_to_keep_may_be_named(used):
    text = ruby(KEPT + "kept.client_rb", *used, "mainserver")
    assert "https://chef-a.example.com/organizations/default" in text
    said = ruby("begin; " + KEPT + " rescue RuntimeError => e; e.message; end", *used, "nil")
    assert said == 'server: config.yml has no "nil"; it has: mainserver, standbyserver, oldserver'


def test_a_sidecar_that_does_not_answer_keeps_nothing_from_being_known(used):
    """What the command prints then is the last choice, and neither name nor key."""
    last_resort = {key: used[0][key] for key in ("schema", "name", "chef_server_url", "degraded", "reason")}
    said = ruby("begin; " + KEPT + " rescue RuntimeError => e; e.message; end", last_resort, used[1], None)
    assert said.startswith("the sidecar does not answer")


def test_another_key_is_not_overwritten(used, tmp_path):
    for name in ("state/client.pem", "etc/client.pem"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    answer = used[0] | {"client_key": f"{tmp_path}/state/client.pem"}
    accepted = used[1] | {"state_file": f"{tmp_path}/state/state.json"}
    code = KEPT.replace("/etc/chef", f"{tmp_path}/etc") + "kept.check_place_of_key"
    said = ruby(f"begin; {code}; rescue RuntimeError => e; e.message; end", answer, accepted, None)
    assert "is another key than" in said
    (tmp_path / "etc/client.pem").write_text("state/client.pem")
    assert ruby(code, answer, accepted, None) is None


# What its pages show.


def blocks(page):
    return re.findall(r"^```ruby\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


EXAMPLE = """
class Attributes < Hash
  def self.new; super { |all, key| all[key] = Attributes.new }; end
end
class Recipe
  def initialize(known); @known = known; @set = {}; @default = Attributes.new; end
  attr_reader :set, :default
  def node; Struct.new(:name).new("web-17"); end
  def name(*) = nil
  def run_list(*) = nil
  def cookbook(*) = nil
  def file(*) = nil
  def chef_failover(_name, &block); @inside = true; instance_eval(&block); end
  def method_missing(name, *values)
    raise "no property #{name}" unless @inside && (@known + %w(action)).include?(name.to_s)
    @set[name.to_s] = values.first
  end
  def respond_to_missing?(*) = true
end
"""


@pytest.mark.parametrize("page", [COOKBOOK / "README.md", DOCS / "rollout.md"], ids=lambda page: page.stem)
def test_the_recipes_in_the_pages_make_a_valid_config_yml(page):
    shown = blocks(page)
    assert shown
    with_servers = 0
    for block in shown:
        code = "recipe = Recipe.new(given[0]); recipe.instance_eval(given[1]);"
        code += "[recipe.set, recipe.default['chef_failover_cookbook']]"
        said, attributes = ruby(f"{EXAMPLE}; $VERBOSE = nil; {code}", sorted(properties()), block)
        unknown = attributes.keys() - properties().keys() - {"percent", "action"}
        assert not unknown
        keys = {key: value for key, value in (said | attributes).items() if key in {*WHOLE}}
        with_servers += len(config.parse(written({"node_name": "web-17"} | keys)).servers) == 2
    assert with_servers >= 2


def test_the_attributes_that_rollout_names_are_those_of_the_recipe():
    text = "".join(path.read_text() for path in (COOKBOOK / "recipes/default.rb", COOKBOOK / "attributes/default.rb"))
    for name in ("percent", "action"):
        assert f"'{name}'" in text
        assert f"`{name}`" in (DOCS / "rollout.md").read_text()
    assert "chef_failover::default" in spoken(DOCS / "rollout.md")
