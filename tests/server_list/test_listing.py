"""The fleet's list: what it may say, what of it holds on a node, and its drains."""

import datetime
import math
import tracemalloc

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.config import settings as config
from chef_failover.decide.world import apply_listed_drains, apply_order, lift, refresh_choice
from chef_failover.errors import ConfigError
from chef_failover.model.model import Health
from chef_failover.model.orders import Drain
from chef_failover.server_list.listing import Listing, as_said, effective, parse
from tests.support.builders import ON, drain, pin, server, world

OWN = config.parse(
    """
node: {name: web-1}
servers:
  - {name: own, url: "https://chef-own.example.net:8443", ca_file: /etc/pki/own.pem,
     association: {provider: chef-server, validator_key: "file:/etc/pki/own-validator.pem"}}
  - {name: odd, url: "https://odd.chef.example.com/organizations/%41"}
  - {name: plain, url: "https://plain.example.net"}
  - {name: keyless, url: "https://keyless.example.net", association: {provider: chef-server}}
  - {name: works, url: "https://works.example.net",
     association: {provider: opsworks-cm, region: x, endpoint_url: "https://works.example.org",
                   ca_file: /etc/pki/works.pem}}
trusted_hosts: ["*.chef.example.com", chef.example.org]
discovery: {source: "s3://fleet/servers.yml", region: us-east-1, endpoint_url: "https://vpce.example.com"}
"""
)


def listing(text, version="1"):
    return Listing("s3://fleet/servers.yml", text, version, ON)


def one(name="a", url="https://a.chef.example.com", more=""):
    return f'  - {{name: {name}, url: "{url}"{more}}}\n'


def listed(*entries, more=""):
    return listing("servers:\n" + "".join(entries) + more)


WORKS = "provider: opsworks-cm, region: x, endpoint_url: 'https://works.example.org'"


def association(text):
    return f", association: {{{text}}}"


@pytest.mark.parametrize(
    ("entry", "refused"),
    [
        (one(), None),
        (one(url="https://a.b.CHEF.example.com:444/organizations/x"), None),
        (one(url="https://chef.example.org"), None),
        (one(url="https://chef-own.example.net:8443"), None),
        (
            one(url="https://chef-own.example.net"),
            "host chef-own.example.net is neither in trusted_hosts nor in servers of config",
        ),
        (one(url="https://Chef-Own.example.net:8443/organizations/default/"), None),
        (
            one(url="https://chef-own.example.net:8443/organizations/x"),
            "differs from config.yml in its path",
        ),
        (
            one(url="https://chef-own.example.net:8443", more=", organization: x"),
            "/x differs from config.yml in its path",
        ),
        (one(url="https://a.chef.example.com/x/../y"), "has an ambiguous path"),
        (one(url="https://odd.chef.example.com/organizations/%41"), None),
        (one(url="https://chef.example.com"), "neither in trusted_hosts nor in servers of config.yml"),
        (one(url="https://evilchef.example.com"), "neither in trusted_hosts nor in servers of config.yml"),
        (one(url="https://a.chef.example.com.evil.org"), "neither in trusted_hosts nor in servers of config.yml"),
        (one(more=", ca_file: /etc/pki/own.pem"), None),
        (one(more=", ca_file: /etc/chef/trusted_certs/a.pem"), None),
        (one(more=", ca_file: /etc/chef/trusted_certs/../a.pem"), "ca_file /etc/chef/trusted_certs/../a.pem"),
        (one(more=", ca_file: /tmp/a.pem"), "ca_file /tmp/a.pem is neither that of a server in config.yml nor in"),
        (one(more=association("provider: chef-server")), None),
        (one(more=association("provider: chef-server, validator_key: 'ssm:/v', region: us-east-1")), None),
        (one(more=association("provider: chef-server, validator_key: 'file:/etc/chef-failover/v.pem'")), None),
        (one(more=association("provider: chef-server, validator_key: 'file:/etc/pki/own-validator.pem'")), None),
        (
            one(more=association("provider: chef-server, validator_key: 'file:/etc/chef-failover/../v'")),
            "validator_key",
        ),
        (
            one(more=association("provider: chef-server, validator_key: 'file:/etc/shadow'")),
            "validator_key file:/etc/shadow is neither in config.yml nor in",
        ),
        (one(more=association("provider: opsworks-cm, region: us-east-1")), None),
        (one(more=association("provider: opsworks-cm, region: x, endpoint_url: 'https://works.example.org'")), None),
        (one(more=association("provider: opsworks-cm, region: x, endpoint_url: 'https://vpce.example.com'")), None),
        (one(more=association("provider: opsworks-cm, region: x, endpoint_url: 'https://evil.org'")), "endpoint_url"),
        (one(more=association(f"{WORKS}, ca_file: /etc/pki/works.pem")), None),
        (
            one(more=association(f"{WORKS}, ca_file: /etc/pki/own.pem")),
            "association.ca_file /etc/pki/own.pem is not that of an endpoint in config.yml",
        ),
    ],
)
def test_what_config_yml_does_not_vouch_for_is_refused_and_the_rest_used(entry, refused):
    now = effective(OWN, [listed(entry, one("z", "https://z.chef.example.com"))])
    assert [server.name for server in now.config.servers] == (["z"] if refused else ["a", "z"])
    assert now.trouble is None
    assert all(refused in sentence and sentence.startswith("a: ") for sentence in now.refused)
    assert bool(now.refused) == bool(refused)


def test_a_url_is_used_as_config_yml_spells_it():
    """The shim compares to the letter."""
    now = effective(OWN, [listed(one(url="https://Chef-Own.example.net:8443/organizations/default/"))])
    used = now.config.servers[0]
    assert now.config.chef_server_url(used) == "https://chef-own.example.net:8443/organizations/default"
    assert now.config.chef_server_url(used) in map(OWN.chef_server_url, OWN.servers)


def test_the_list_takes_the_place_of_the_servers_and_of_nothing_else():
    now = effective(OWN, [listed(one(more=", ca_file: /etc/chef/trusted_certs/a.pem"), one("own", OWN.servers[0].url))])
    assert now.config.servers[0].ca_file is None  # chef-client trusts what is there anyway
    assert as_said(now.drains) == []
    assert (now.config.discovery, now.config.node) == (OWN.discovery, OWN.node)
    assert [now.config.priority(server) for server in now.config.servers] == [1, 2]


@pytest.mark.parametrize(
    ("said", "interval_s"),
    [("", 2700.0), ("health: {}", 2700.0), ("health: {interval: 1h}", 3600.0), ("health: {interval: 10ms}", 10.0)],
)
def test_the_list_may_say_how_often_servers_are_probed(said, interval_s):
    now = effective(OWN, [listing("servers:\n" + one() + said)])
    assert now.config.health == attrs.evolve(OWN.health, interval=interval_s)


GOOD = listed(one())
BAD = {
    "": "s3://fleet/servers.yml:1: is empty",
    " \n": "is empty",
    "servers:\n" + "".join(one(f"s{n}") for n in range(101)): "servers: names 101 servers; write at most 100",
    "servers: []": "s3://fleet/servers.yml:1: servers: names no server",
    "drains: []": "servers: names no server",
    "servers: [": "not valid YAML",
    "- a": "names no server",
    "servers:\n- {name: a, url: 'http://a'}\n- {name: a}": ":3: servers[1].name: 'a' is already the name of servers[0]",
    "servers:\n" + one() + "state_dir: /tmp": ":3: state_dir: unknown key; known keys: servers, drains, fleet, health",
    "servers:\n" + one() + "health: {interval: 5}": "health.interval: 5 is not a duration",
    "servers:\n" + one() + "health: {timeout: 9s}": "health.timeout: unknown key; known keys: interval",
    "servers:\n" + one() + "drains: [{server: b}]": "drains[0].server: 'b' is not a server of this list",
    "servers:\n" + one() + "drains: [{server: a}]": "drains: drains every server of the list; leave at least one",
    "servers:\n" + one() + one("b") + "drains: [{server: a}, {server: a}]": "drains[0] already drains 'a'",
    "servers:\n" + one() + one("b") + "drains: [{server: a, until: 2026-11-22}]": "is not a time with a zone",
    "servers:\n" + one() + one("b") + "drains: [{server: a, until: 2026-11-22T10:00:00}]": "is not a time with a zone",
    "servers:\n" + one() + one("b") + 'drains: [{server: a, reason: "x\\ny"}]': "is not one line",
    "servers:\n" + one("a", "https://a.evil.org"): "every server was rejected: a: host a.evil.org is neither",
    "a: &a [1]\nb: *a": ":2: an alias (*) is not allowed in a server list",
    "[" * 5000: ":1: more than 20 levels is not allowed in a server list",
    "servers: 2026-13-45": "not valid YAML",
    "x" * 300_000: "longer than 256 KiB",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text)[:40])
def test_a_list_of_no_use_keeps_the_last_good_one_and_then_config_yml(text):
    now = effective(OWN, [listing(text, "2"), GOOD])
    assert (now.listing, [server.name for server in now.config.servers]) == (GOOD, ["a"])
    assert BAD[text] in now.trouble
    assert effective(OWN, [listing(text)]).config == OWN
    assert effective(OWN, []).trouble is None


@pytest.mark.parametrize(
    "text", ["[" + "{}," * 87_000 + "]", "[" + "[]," * 87_000 + "]", "servers: [" + "a," * 130_000]
)
def test_a_list_of_many_small_values_is_refused_before_it_takes_memory(text):
    said, peak = traced(text)
    assert "more than 10000 keys and values" in said
    assert peak < 20e6


def test_what_is_said_of_a_list_does_not_grow_with_what_is_wrong_with_it():
    many = "servers:\n" + "".join(f"  - {{name: s{number}}}\n" for number in range(3000))
    long = f"servers: [{{name: {'x' * 200_000}, url: {'y' * 50_000}}}]\n"
    for text in (many, long):
        assert len(effective(OWN, [listing(text)]).trouble) < 15_000


def traced(text):
    tracemalloc.start()
    try:
        return effective(OWN, [listing(text)]).trouble, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_all_problems_are_told_with_their_lines():
    with pytest.raises(ConfigError) as caught:
        parse("servers:\n- {name: a, url: 'http://a'}\n- {name: b, ur: x}\ndrains: 5\n", "ssm:/list", OWN)
    assert {(problem.file, problem.line) for problem in caught.value.problems} == {("ssm:/list", n) for n in (2, 3, 4)}


def test_a_node_without_a_name_takes_no_association_from_a_list():
    nameless = config.parse("servers: [{name: a, url: 'https://a.chef.example.com'}]")
    now = effective(nameless, [listed(one(more=association("provider: chef-server")))])
    assert "registers the node by its name" in now.trouble


@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    effective(OWN, [listing(text)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("discovery: {source: 's3://fleet/a'}\nservers: [{name: a, url: 'https://a'}]", "is in AWS and needs a region"),
        ("discovery: {source: 'file:/a'}", "needs a server under servers"),
        ("discovery: {source: 'ftp:/a'}", "is not a source of a server list"),
    ],
)
def test_what_is_wrong_with_discovery_is_said(text, said):
    with pytest.raises(ConfigError, match=said):
        config.parse(text)


# --- its drains -----------------------------------------------------------------------------------------------------


def at(seconds):
    return ON + datetime.timedelta(seconds=seconds)


def followed(snapshot, *drains, now=0.0, on=None):
    return apply_listed_drains(snapshot, drains, now=now, on=on or at(now))


@pytest.fixture
def two():
    return world(server("a"), server("b"), current="a", failback_s=0.0)


def choice(snapshot):
    return snapshot.choice.name


def test_a_drain_of_the_list_holds_until_the_list_has_it_no_more(two):
    drained = followed(two, ("a", "upgrade", None))
    assert choice(drained) == "b"
    assert drained.choice.verdicts[0].sentence == "drained by the fleet's list: upgrade"
    assert followed(drained, ("a", "upgrade", None), now=5.0) == refresh_choice(drained, now=5.0, on=at(5))
    ended = followed(drained, now=9.0)
    assert (choice(ended), ended.orders.fleet_drains) == ("a", ())
    steps = [(step.server, step.after, step.reason) for step in ended.transitions if step.server]
    assert steps == [
        ("a", "drained", "by the fleet's list: upgrade"),
        ("a", "in service", "removed from the fleet's list"),
    ]


def test_a_drain_of_the_list_ends_by_itself(two):
    drained = followed(two, ("a", "", at(60)))
    assert choice(refresh_choice(drained, now=59.0, on=at(59))) == "b"
    assert choice(refresh_choice(drained, now=60.0, on=at(60))) == "a"
    assert followed(two, ("a", "", at(-1))).orders.fleet_drains == ()


def test_a_list_that_changes_the_end_and_a_clock_that_is_set_are_followed(two):
    drained = followed(two, ("a", "", at(60)))
    longer = followed(drained, ("a", "", at(600)), now=10.0)
    assert longer.orders.fleet_drains[0].ends_at == pytest.approx(600.0)
    assert longer.orders.fleet_drains[0].created_on == ON
    assert followed(drained, ("a", "", at(5)), now=10.0).orders.fleet_drains == ()
    moved = followed(refresh_choice(drained, now=10.0, on=at(40)), ("a", "", at(60)), now=10.0, on=at(40))
    assert moved.orders.fleet_drains[0].ends_at == pytest.approx(30.0)


def test_local_drains_stay_separate(two):
    both = followed(
        apply_order(two, drain("a", reason="mine"), is_forced=False, now=0.0, on=ON), ("a", "upgrade", at(60))
    )
    assert [order.who for order in both.orders] == [
        "alice",
        "the fleet's list",
    ]
    assert both.orders.drain_of("a").who == "alice"  # it has no end
    assert math.isinf(both.orders.drain_of("a").ends_at)
    undrained = lift(both, (Drain, "a"), who="alice", now=1.0, on=at(1))
    assert (undrained.orders.drains, len(undrained.orders.fleet_drains), choice(undrained)) == ((), 1, "b")
    assert lift(undrained, (Drain, "a"), who="alice", now=1.0, on=at(1)) == undrained
    struck = followed(both, now=1.0)
    assert (len(struck.orders.drains), struck.orders.fleet_drains, choice(struck)) == (1, (), "b")


def test_the_last_server_left_is_not_drained_by_mistake_and_a_pin_knows_the_list(two):
    from chef_failover.errors import RefusedError

    drained = followed(two, ("a", "upgrade", None))
    with pytest.raises(RefusedError, match="no server would be left"):
        apply_order(drained, drain("b"), is_forced=False, now=0.0, on=ON)
    with pytest.raises(RefusedError, match="a is drained by the fleet's list: upgrade"):
        apply_order(drained, pin("a"), is_forced=False, now=0.0, on=ON)


def test_a_drain_known_from_a_former_life_is_no_news(two):
    drained = followed(two, ("a", "upgrade", None))
    reborn = world(server("a"), server("b"), current="b", failback_s=0.0, transitions=drained.transitions)
    again = followed(reborn, ("a", "upgrade", None), now=3.0)
    assert len(again.orders.fleet_drains) == 1
    assert [step for step in again.transitions if step.server] == [step for step in drained.transitions if step.server]
    assert followed(two, ("nowhere", "", None)).orders.fleet_drains == ()
    assert two.servers[0].health is Health.UP
