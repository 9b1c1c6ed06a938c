import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.config import settings as config
from chef_failover.config.urls import HostPort
from chef_failover.errors import ConfigError

CONTRACT = Path(__file__).parents[1] / "contract" / "config.yml"


def problems(text):
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "c.yml")
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_is_a_valid_configuration_without_servers():
    for text in ("", "# nothing\n", "servers: []", "node:\nservers:\n"):
        parsed = config.parse(text)
        assert parsed == config.Config()
    assert parsed.health.interval == 2700.0
    assert parsed.selection.failback == 600.0
    assert parsed.listen.loopback == HostPort("127.0.0.1", 8473)


def test_the_contract_file():
    parsed = config.load(CONTRACT)
    assert [parsed.chef_server_url(server) for server in parsed.servers] == [
        "https://chef-a.example.com/organizations/default",
        "https://chef-b.example.com:8443/organizations/default",
        "https://chef-c.example.com",
    ]
    assert [parsed.priority(server) for server in parsed.servers] == [1, 2, 3]


def test_a_url_with_an_organization_stays_as_it_is():
    text = "servers: [{name: a, url: 'https://h/organizations/x/'}]"
    parsed = config.parse(text)
    assert parsed.chef_server_url(parsed.servers[0]) == "https://h/organizations/x"


@pytest.mark.parametrize(("text", "seconds"), [("immediately", 0.0), ("never", math.inf), ("5m", 300.0)])
def test_failback(text, seconds):
    assert config.parse(f"selection: {{failback: {text}}}").selection.failback == seconds


@pytest.mark.parametrize("text", ["off", '"off"', "false"])
def test_loopback_off(text):
    assert config.parse(f"listen: {{loopback: {text}}}").listen.loopback is None


@pytest.mark.parametrize("text", ["off", '"off"', "false"])
def test_readiness_off(text):
    assert config.parse(f"readiness: {text}").readiness == "off"


EVERYTHING_WRONG = """\
node:
  name: "{foo}"
  colour: red
servers:
  - name: a
    url: http://chef.example.com
    priority: one
  - name: a
    url: https://u:hunter2@chef.example.com
  - url: https://chef.example.com/
  - 5
health: {interval: 5, timeout: 0s, rise: 0, fall: true}
selection: {failback: sometimes}
listen: {loopback: "0.0.0.0:80"}
trusted_hosts: ["*"]
state_dir: var
"""


def test_every_problem_at_once_with_its_line_and_what_would_be_right():
    said = problems(EVERYTHING_WRONG)
    expected = [
        (2, "node.name", "{instance_id}, {hostname}, {fqdn}"),
        (3, "node.colour", "known keys: name, organization"),
        (6, "servers[0].url", "https://"),
        (7, "servers[0].priority", "'one' is not a whole number"),
        (8, "servers[1]", "give every server one, or none"),
        (8, "servers[1].name", "'a' is already the name of servers[0]"),
        (9, "servers[1].url", "a URL must not have a user or password"),
        (10, "servers[2]", "missing key 'name'"),
        (11, "servers[3]", "5 is not a mapping; write keys and values"),
        (12, "health.fall", "true is not a whole number"),
        (12, "health.interval", "5 is not a duration; write 500ms"),
        (12, "health.rise", "1"),
        (12, "health.timeout", "must be at least 10ms"),
        (13, "selection.failback", "write 500ms, 10s, 5m, 1h or 1d, immediately or never"),
        (14, "listen.loopback", "this machine only"),
        (15, "trusted_hosts[0]", "*.chef.example.com"),
        (16, "state_dir", "absolute path"),
    ]
    assert len(said) == len(expected)
    for line, (number, key, words) in zip(said, expected, strict=True):
        assert line.startswith(f"c.yml:{number}: {key}: "), line
        assert words in line
    assert "hunter2" not in "\n".join(said)


def test_a_node_that_registers_itself_has_no_colon_in_its_name():
    text = "node: {name: 'db:1'}\nservers: [{name: a, url: 'https://a', association: {provider: chef-server}}]"
    assert problems(text) == [
        "c.yml:1: node.name: 'db:1' has a colon, which no Chef client name may have: the node could not"
        " register; write a name without one"
    ]
    assert config.parse(text.replace("db:1", "db-1")).node.name == "db-1"
    assert config.parse(text.replace("chef-server", "none")).node.name == "db:1"
    assert len(problems("node: {name: 'db:1'}\nservers: 5")) == 1


NAME = "n" * 64
HOST = ".".join(["h" * 61] * 4)
ORGANIZATION = "o" * 255


def server(more):
    return f"servers: [{{name: a, {more}}}]"


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        (f"servers: [{{name: {NAME}, url: 'https://h'}}]", f"servers: [{{name: {NAME}n, url: 'https://h'}}]"),
        (server(f"url: 'https://{HOST}'"), server(f"url: 'https://{HOST}.hhhhhhh'")),
        (server(f"url: 'https://{'h' * 63}'"), server(f"url: 'https://{'h' * 64}'")),
        (server("url: 'https://[::1]'"), server("url: 'https://[::1::]'")),
        (server("url: 'https://[::1]'"), server("url: 'https://[127.0.0.1]'")),
        (server("url: 'https://h:65535'"), server("url: 'https://h:65536'")),
        (server(f"url: 'https://h/{'p' * 900}'"), server(f"url: 'https://h/{'p' * 999}'")),
        (server("url: 'https://h/organizations/x//'"), server("url: 'https://h/organizations/'")),
        (server("url: 'https://h/organization'"), server("url: 'https://h/organizations'")),
        (server("url: 'https://h/organizationsx/y'"), server("url: 'https://h/organizations/x/nodes'")),
        (server("url: 'https://h', priority: -999999"), server("url: 'https://h', priority: 1000000")),
        (server("url: 'https://h', priority: 0"), server(f"url: 'https://h', priority: {'9' * 5000}")),
        (server("url: 'https://h', priority: 0xf"), server(f"url: 'https://h', priority: 0x{'f' * 5000}")),
        (f"node: {{organization: {ORGANIZATION}}}", f"node: {{organization: {ORGANIZATION}o}}"),
        (f"node: {{policy_name: {ORGANIZATION}}}", f"node: {{policy_name: {ORGANIZATION}o}}"),
        (f"node: {{name: {ORGANIZATION}}}", f"node: {{name: {ORGANIZATION}o}}"),
        ("health: {interval: 10ms}", "health: {interval: 9ms}"),
        ("health: {interval: 8784h}", "health: {interval: 8785h}"),
        ("health: {retry_interval: 1h}", f"health: {{retry_interval: {'9' * 400}h}}"),
        ("health: {timeout: 60s}", "health: {timeout: 61s}"),
        ("health: {fall: 1000}", "health: {fall: 1001}"),
        ("health: {rise: 1}", "health: {rise: 0}"),
        ("fleet: {nodes: 1}", "fleet: {nodes: 0}"),
        ("fleet: {nodes: 10000000}", "fleet: {nodes: 10000001}"),
        ("selection: {failback: 8784h}", "selection: {failback: 8785h}"),
        ("listen: {loopback: '127.0.0.1:65535'}", "listen: {loopback: '127.0.0.1:65536'}"),
        ("listen: {loopback: '127.0.0.1:0'}", f"listen: {{loopback: '127.0.0.1:{'0' * 5000}'}}"),
        ("state_dir: /var/lib/x", f"state_dir: /{'x' * 256}"),
        ("state_dir: /a/b", f"state_dir: {'/x' * 2048}"),
    ],
)
def test_everything_has_its_bounds(fits, too_much):
    config.parse(fits)
    assert len(problems(too_much)) == 1


@pytest.mark.parametrize(
    ("one", "other", "is_twice"),
    [
        ("url: 'https://h'", "url: 'https://H:443/'", True),
        ("url: 'https://h'", "url: 'https://h/organizations/default'", True),
        ("url: 'https://h', organization: x", "url: 'https://h/organizations/x'", True),
        ("url: 'https://h', organization: null", "url: 'https://h', organization: null", True),
        ("url: 'https://h'", "url: 'https://h', organization: x", False),
        ("url: 'https://h'", "url: 'https://h', organization: null", False),
        ("url: 'https://h'", "url: 'https://h:444'", False),
        ("url: 'https://h'", "url: 'https://h/x'", False),
    ],
)
def test_no_server_stands_twice_under_two_names(one, other, is_twice):
    text = f"servers: [{{name: a, {one}}}, {{name: b, {other}}}]"
    if is_twice:
        assert problems(text) == ["c.yml:1: servers[1].url: is the same server as servers[0]; list each server once"]
    else:
        assert len(config.parse(text).servers) == 2


def test_a_number_that_python_reads_and_does_not_write_is_a_problem():
    for place in ("discovery: {source: %s}", "? %s\n: x", "servers: %s", "log_format: %s"):
        assert "a number with too many digits" in problems(place % f"0x{'f' * 5000}")[0]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("discovery: {source: 'ssm:/a', region: x, %s}\nservers: [{name: a, url: 'https://a'}]", "discovery.ca_file"),
        (server("url: 'https://a', association: {provider: chef-server, %s}"), "servers[0].association.ca_file"),
    ],
)
def test_a_ca_file_is_for_an_endpoint_that_is_named(text, key):
    text = "node: {name: a}\n" + text
    config.parse(text % "endpoint_url: 'https://e', ca_file: /a.pem")
    config.parse(text % "ca_file: null")
    (said,) = problems(text % "ca_file: /a.pem")
    assert said.startswith(f"c.yml:2: {key}: is for the endpoint at endpoint_url alone; ")
    assert "an absolute path" in problems(text % "endpoint_url: 'https://e', ca_file: a.pem")[0]


def test_a_place_that_is_none_for_a_list_or_a_key_is_one_problem_and_needs_no_region():
    (said,) = problems("discovery: {source: 'secretsmanager:a'}\nservers: [{name: a, url: 'https://a'}]")
    assert "is not a source of a server list" in said
    association = "association: {provider: chef-server, validator_key: 's3://fleet/a'}"
    (said,) = problems("node: {name: a}\n" + server(f"url: 'https://a', {association}"))
    assert "not a source of a key" in said


def test_more_servers_than_a_node_can_watch_are_refused_with_their_number():
    text = "servers:\n" + "".join(f"  - {{name: s{n}, url: 'https://s{n}'}}\n" for n in range(101))
    assert problems(text) == ["c.yml:1: servers: names 101 servers; write at most 100"]
    assert len(config.parse(text.rpartition("  -")[0]).servers) == 100


@pytest.mark.parametrize(
    "text",
    [
        "servers: [{name: {instance_id}, url: https://a}]",
        "node: {name: 2026-02-30}",
        "node: {name: 0x_}",
        "node: {name: !!int zz}",
        "node: {name: !!timestamp zz}",
        "node: {name: !!bool zz}",
        "node: {key_bits: " + "9" * 5000 + "}",
        "node: " + "[" * 3000,
    ],
)
def test_whatever_yaml_makes_of_it_is_a_problem_and_no_surprise(text):
    with pytest.raises(ConfigError):
        config.parse(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [", "c.yml:1: not valid YAML"),
        ("x: 1\n\tb: 2", "c.yml:2: not valid YAML"),
        ("node: !!python/object:os.x {}", "c.yml:1: not valid YAML"),
        ("--- 1\n--- 2", "c.yml:2: not valid YAML"),
        ("- a", "c.yml:1: ['a'] is not a mapping"),
        ("health: {}\nhealth: {}", "c.yml:2: health: duplicate key"),
        ("servers: {}", "c.yml:1: servers: {} is not a list"),
        ("node: {name: 5}", "c.yml:1: node.name: 5 is not a string"),
        ("node: {client_key: ~/x}", "c.yml:1: node.client_key: '~/x' is not an absolute path"),
        (
            "servers: [{name: a, url: https://h, association: {provider: magic}}]",
            "c.yml:1: servers[0].association: provider",
        ),
        ("listen: {loopback: '127.0.0.1:http'}", "c.yml:1: listen.loopback"),
        ("listen: {socket: /}", "c.yml:1: listen.socket: '/' is not a socket's path; write /DIRECTORY/"),
        (f"listen: {{socket: /{'d' * 103}/s.s}}", "c.yml:1: listen.socket: '/ddd"),
        ("selection: {failback: 367d}", "c.yml:1: selection.failback: '367d' is longer than 366 days"),
        ("listen: {loopback: 8473}", "c.yml:1: listen.loopback: 8473 is not an address"),
        ("servers: [{name: a, url: 'https://h:99999'}]", "c.yml:1: servers[0].url"),
        ("servers: [{name: a, url: 'https://h/?x=1'}]", "c.yml:1: servers[0].url"),
        ("servers: [{name: a, url: 5}]", "c.yml:1: servers[0].url: 5 is not a URL"),
        ("node: &n {name: *n}", "c.yml:1:"),
    ],
)
def test_one_wrong_thing(text, line):
    assert any(problem.startswith(line) for problem in problems(text)), problems(text)


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(ConfigError, match=re.escape("config.yml: cannot read it: No such file")):
        config.load(tmp_path / "config.yml")
    (tmp_path / "config.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load(tmp_path / "config.yml")


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["node", "servers", "health", "name", "url", "timeout", "listen", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_like)
def test_whatever_stands_in_the_file_is_a_configuration_or_a_list_of_problems(value):
    import json

    try:
        config.parse(json.dumps(value))
    except ConfigError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
