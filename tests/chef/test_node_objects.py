"""Node objects on embedded servers, where every answer can be had, and on two real ones (goiardi)."""

import datetime
import json

import attrs
import pytest

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.messages import Response, json_response
from chef_devserver.server import DevServer
from chef_failover.chef import node_objects
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.signing import ChefAuth
from chef_failover.chef.trust import TrustStore
from chef_failover.decide.parity import stale
from chef_failover.decide.readiness import why_not_ready
from chef_failover.decide.seeding import differences, differences_of, wants_seed
from chef_failover.decide.world import take
from chef_failover.model.model import Outcome
from chef_failover.model.needs import NodeObject, ReadinessPolicy
from tests.support.builders import ON, THRESHOLDS, bare, server
from tests.support.goiardi import Goiardi, public_pem

NODE = "i-0abc"
WEB = NodeObject(("recipe[web]", "role[base]"), "staging", normal='{"app":{"port":80},"tags":["a"]}')
POLICY = ReadinessPolicy(policy_group="production", policy_name="webserver")


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


@pytest.fixture
def auth(key):
    return ChefAuth(NODE, key)


@pytest.fixture
def dev(key):
    with DevServer("main", Authority()) as dev:
        dev.register(NODE, public_pem(key))
        dev.state.environments.add("staging")
        yield dev


@pytest.fixture
def exchange(dev, tmp_path):
    (tmp_path / "ca.pem").write_bytes(dev.ca_pem)
    return ChefServer(Target(dev.chef_server_url, 5.0, tmp_path / "ca.pem", NODE), Resolver(), TrustStore(()))


@pytest.fixture
def answering(dev, monkeypatch):
    """Makes the server answer everything with these bytes."""

    def answering(body, status=200):
        response = Response(status, body, (("Content-Type", "application/json"),))
        monkeypatch.setattr(dev, "_answer", lambda request: response)

    return answering


# --- embedded servers -----------------------------------------------------------------------------------------------


def test_what_was_created_is_what_is_read(dev, exchange, auth):
    assert node_objects.read(exchange, auth) is None
    assert node_objects.create(exchange, auth, NODE, WEB)
    assert node_objects.read(exchange, auth) == WEB
    assert dev.state.nodes[NODE] == {
        "name": NODE,
        "chef_type": "node",
        "json_class": "Chef::Node",
        "chef_environment": "staging",
        "run_list": ["recipe[web]", "role[base]"],
        "normal": {"app": {"port": 80}, "tags": ["a"]},
        "default": {},
        "override": {},
        "automatic": {},
    }


def test_somebody_else_s_object_is_not_touched(dev, exchange, auth):
    dev.put_node(NODE, ["recipe[db]"], normal={"theirs": True})
    before = json.dumps(dev.state.nodes[NODE])
    assert not node_objects.create(exchange, auth, NODE, WEB)
    assert json.dumps(dev.state.nodes[NODE]) == before
    theirs = node_objects.read(exchange, auth)
    assert differences(WEB, theirs) == (
        "run list",
        "environment: _default, not staging",
        "normal attributes: app, tags, theirs",
    )


def test_a_large_object(dev, exchange, auth):
    large = attrs.evolve(WEB, normal=json.dumps({"blob": "x" * 200_000}, separators=(",", ":")))
    assert node_objects.create(exchange, auth, NODE, large)
    assert node_objects.read(exchange, auth) == large


def test_one_that_is_too_large_for_the_server_is_said(exchange, auth):
    large = attrs.evolve(WEB, normal=json.dumps({"blob": "x" * 2_000_000}))
    with pytest.raises(ProbeError, match="HTTP 413 .*JSON must be no more than 2000000 bytes") as raised:
        node_objects.create(exchange, auth, NODE, large)
    assert raised.value.outcome is Outcome.SERVER_ERROR


def test_a_reading_tells_of_object_environment_and_policy(dev, exchange, auth):
    def check(policy=POLICY):
        return node_objects.check(exchange, auth, policy, clock=lambda: 5.0)

    assert check() == node_objects.NodeCheck(5.0, policy_found=False)
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    assert check() == node_objects.NodeCheck(5.0, policy_found=True)
    dev.put_node(NODE, policy_name="db", policy_group="production")
    assert check(ReadinessPolicy()).policy_found is False
    dev.put_node(NODE, ["recipe[web]"], chef_environment="qa")
    assert check(ReadinessPolicy()).environment_found is False
    dev.state.environments.add("qa")
    assert check(ReadinessPolicy()).environment_found is True
    assert check(ReadinessPolicy(policy_group="a/b", policy_name="web server?")).policy_found is False


@pytest.mark.parametrize("policy", [ReadinessPolicy(), POLICY])
def test_a_node_with_a_policy_needs_no_environment(dev, exchange, auth, policy):
    """chef-client writes the policy group there as its environment, which exists nowhere, and never loads it."""
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    dev.put_node(NODE, policy_name="webserver", policy_group="production", chef_environment="production")
    found = node_objects.check(exchange, auth, policy, compares=True)
    assert (found.policy_found, found.environment_found, found.content.revision) == (True, None, "1a2b3c4d5e")
    assert not any("environments" in target for _, target, _ in dev.requests)
    snapshot = bare(server("main", node_check=found), readiness=policy)
    assert why_not_ready(snapshot, snapshot.server("main")) is None


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.REFUSE, Outcome.REFUSED),
        (Fault.MAINTENANCE, Outcome.MAINTENANCE),
        (Fault.UNAUTHORIZED_UNKNOWN_CLIENT, Outcome.NOT_ASSOCIATED),
    ],
)
def test_no_object_is_told_from_no_answer(dev, exchange, auth, fault, outcome):
    dev.put_node(NODE, ["recipe[web]"])
    dev.fault = fault
    for ask in (lambda: node_objects.read(exchange, auth), lambda: node_objects.create(exchange, auth, NODE, WEB)):
        with pytest.raises(ProbeError) as raised:
            ask()
        assert raised.value.outcome is outcome
    found = node_objects.check(exchange, auth, ReadinessPolicy())
    assert found.node is None
    assert found.trouble == raised.value.detail


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "HTTP 200 OK with an empty body"),
        (b"<html></html>", "HTTP 200 OK with something that no Chef server says"),
        (b"[1]", "HTTP 200 OK with something that no Chef server says"),
        (b"[" * 100_000, "HTTP 200 OK with something that no Chef server says"),
        (b'{"name": "another"}', "HTTP 200 OK with something that no Chef server says"),
        (b'{"name": "i-0abc", "run_list": 5}', "has a run_list that is not a list of texts"),
        (b'{"name": "i-0abc", "normal": [1]}', "has normal attributes that are not a JSON object"),
        (b'{"name": "i-0abc", "normal": {"a": NaN}}', "has normal attributes that are not JSON"),
        (b'{"name": "i-0abc", "normal": {"a": 1e999}}', "has normal attributes that are not JSON"),
        (b'{"name": "i-0abc", "normal": {"a": ' + b"9" * 10_000 + b"}}", "something that no Chef server says"),
        (b'{"name": "i-0abc", "normal": {"a": "' + b"x" * 5_000_000 + b'"}}', "an answer longer than 4 MiB"),
    ],
    ids=lambda value: None,
)
def test_what_is_no_node_object_is_trouble_and_nothing_worse(exchange, auth, answering, body, words):
    answering(body)
    found = node_objects.check(exchange, auth, POLICY)
    assert found.node is None
    assert words in found.trouble


@pytest.mark.parametrize("body", [b"", b"{}", b"created", b"[]"])
def test_a_201_that_no_chef_server_sends_created_nothing(exchange, auth, answering, body):
    answering(body, 201)
    with pytest.raises(ProbeError):
        node_objects.create(exchange, auth, NODE, WEB)


def test_a_clock_that_is_off_is_said(dev, exchange, key):
    def ahead():
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)

    with pytest.raises(ProbeError, match="clock skew") as raised:
        node_objects.create(exchange, ChefAuth(NODE, key, utc_now=ahead), NODE, WEB, utc_now=ahead)
    assert raised.value.outcome is Outcome.CLOCK_SKEW


def test_what_a_server_refuses_is_said(exchange, auth, monkeypatch, dev):
    refusal = json_response(403, {"error": ["missing create permission"]})
    monkeypatch.setattr(dev, "_answer", lambda request: refusal)
    with pytest.raises(ProbeError, match="HTTP 403: missing create permission"):
        node_objects.create(exchange, auth, NODE, WEB)


def test_a_reading_tells_the_revision_of_the_policy_without_asking_more(dev, exchange, auth):
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    found = node_objects.check(exchange, auth, POLICY, compares=True, clock=lambda: 5.0).content
    assert (found.policy, found.revision, found.read_at) == (("webserver", "production"), "1a2b3c4d5e", 5.0)
    asked = [target for _, target, _ in dev.requests]
    assert len(asked) == len(set(asked)) == 2
    assert node_objects.check(exchange, auth, POLICY).content is None


@pytest.mark.parametrize(
    ("environment", "path"),
    [("_default", "cookbooks/_latest"), ("staging", "environments/staging/cookbooks?num_versions=1")],
)
def test_a_reading_tells_the_versions_of_cookbooks_and_asks_seldom(dev, exchange, auth, environment, path):
    dev.state.cookbooks |= {"apache2": "5.2.0", "other": "1.0"}
    used = {"apache2": {"version": "5.1.0"}}
    dev.put_node(NODE, ["recipe[web]"], chef_environment=environment, automatic={"cookbooks": used})

    def check(now, former=None):
        return node_objects.check(exchange, auth, ReadinessPolicy(), compares=True, former=former, clock=lambda: now)

    first = check(1.0).content
    assert (first.cookbooks, first.used) == ({"apache2": "5.2.0", "other": "1.0"}, {"apache2": "5.1.0"})
    used["apache2"]["version"] = "5.2.0"
    dev.state.cookbooks["apache2"] = "5.3.0"
    again = check(100.0, node_objects.NodeCheck(1.0, content=first))
    assert again.content == attrs.evolve(first, used={"apache2": "5.2.0"})
    assert check(600.0, again).content.cookbooks["apache2"] == "5.3.0"
    asked = [target for _, target, _ in dev.requests if "cookbooks" in target]
    assert len(asked) == 2
    assert all(target.endswith(f"/{path}") for target in asked)


BY_POLICY = {"policy_name": "webserver", "policy_group": "production"}
BY_RUN_LIST = {"run_list": ["recipe[web]"]}


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize(
    "case",
    [
        (BY_POLICY, ReadinessPolicy(), "policy_groups"),
        (BY_RUN_LIST, POLICY, "policy_groups"),
        (BY_RUN_LIST, ReadinessPolicy(), "cookbooks"),
        (BY_RUN_LIST | {"chef_environment": "qa"}, ReadinessPolicy(), "cookbooks"),  # which is missing all the time
    ],
)
def test_however_often_a_node_is_read_parity_asks_every_ten_minutes_at_most(dev, exchange, auth, case, answers):
    """Give or take a fifth; by the smallest request there is, and whether it is answered or not."""
    node, needed, question = case
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    dev.put_node(NODE, **node)
    honest, broken = dev._answer, Response(500, b"", ())
    dev._answer = lambda one: honest(one) if answers or question not in one.target else broken
    snapshot, seconds = bare(server("main"), readiness=needed), 5400
    for at in range(0, seconds, 60):
        found = node_objects.check(
            exchange,
            auth,
            needed,
            compares=True,
            former=snapshot.server("main").node_check,
            clock=lambda at=float(at): at,
        )
        snapshot = take(snapshot, snapshot.server("main"), found, thresholds=THRESHOLDS, on=ON)
    asked = [target for _, target, _ in dev.requests if question in target]
    assert seconds / 900 <= len(asked) <= seconds / 480 + 1
    assert len(set(asked)) == 1


def test_a_policy_that_is_missing_is_asked_for_at_each_reading(dev, exchange, auth):
    """Readiness waits for it; a node without it is read once a minute."""
    first = node_objects.check(exchange, auth, POLICY, compares=True, clock=lambda: 1.0)
    assert first.policy_found is False
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    again = node_objects.check(exchange, auth, POLICY, compares=True, former=first, clock=lambda: 61.0)
    assert (again.policy_found, again.content.revision) == (True, "1a2b3c4d5e")


@pytest.mark.parametrize(
    "answered",
    [
        (200, b""),
        (200, b"[]"),
        (200, b'{"web": 1}'),
        (200, b'{"web": {"versions": 1}}'),
        (200, b'{"web": {"versions": [1]}}'),
        (200, b'{"web": {"versions": [{"version": 1}]}}'),
        (200, b'{"web": {"versions": [{"version": "1.0-beta"}]}}'),
        (200, b'{"a b": {"versions": []}}'),
        (200, json.dumps({f"c{number}": {"versions": []} for number in range(5001)}).encode()),
        (200, b"x" * 5_000_000),
        (403, b'{"error": ["missing read permission"]}'),
        (404, b'{"error": ["not found"]}'),
        (405, b""),
        (500, b""),
    ],
    ids=lambda value: None,
)
def test_a_server_that_does_not_tell_versions_cannot_be_told_and_the_rest_is_read(
    dev, exchange, auth, monkeypatch, answered
):
    dev.put_node(NODE, ["recipe[web]"])
    honest, said = dev._answer, Response(*answered, (("Content-Type", "application/json"),))
    monkeypatch.setattr(dev, "_answer", lambda one: said if "cookbooks" in one.target else honest(one))
    found = node_objects.check(exchange, auth, ReadinessPolicy(), compares=True)
    assert (found.trouble, found.node.run_list, found.content.is_readable) == ("", ("recipe[web]",), False)


def test_a_cookbook_of_which_no_version_is_admitted_is_left_out(dev, exchange, auth, monkeypatch):
    dev.put_node(NODE, ["recipe[web]"])
    honest, listed = dev._answer, json_response(200, {"web": {"versions": []}})
    monkeypatch.setattr(dev, "_answer", lambda one: listed if "cookbooks" in one.target else honest(one))
    assert node_objects.check(exchange, auth, ReadinessPolicy(), compares=True).content.cookbooks == {}


# --- goiardi --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory, key):
    folder = tmp_path_factory.mktemp("goiardi")
    with Goiardi(folder / "main") as main, Goiardi(folder / "standby") as standby:
        yield main, standby


@pytest.fixture
def node(request, two):
    """A node of its own for each test, registered with both; what asks each in its name."""
    name, key = f"node-{abs(hash(request.node.name)) % 10**8}", PrivateKey.generate()
    exchanges = []
    for one in two:
        one.register(name, public_pem(key))
        exchanges.append(ChefServer(Target(one.url, 10.0, one.ca_file, name), Resolver(), TrustStore(())))
    return name, ChefAuth(name, key), *exchanges


def looked_at(node, policy=None, *, compares=False):
    """The world as a reading of both servers leaves it, the first one in use."""
    _, auth, *exchanges = node
    policy = policy or ReadinessPolicy()
    servers = [
        server(name, node_check=node_objects.check(exchange, auth, policy, compares=compares, clock=lambda: 1.0))
        for name, exchange in zip(("main", "standby"), exchanges, strict=True)
    ]
    return bare(*servers, current="main", readiness=policy)


def test_the_second_gets_what_the_first_has_by_the_node_s_own_key(node):
    name, auth, main, standby = node
    node_objects.create(main, auth, name, attrs.evolve(WEB, environment="_default"))
    world = looked_at(node)
    assert why_not_ready(world, world.server("standby")) == "has no object of this node"
    assert wants_seed(world, world.server("standby"))
    assert node_objects.create(standby, auth, name, node_objects.read(main, auth))
    world = looked_at(node)
    assert [why_not_ready(world, one) for one in world.servers] == [None, None]
    assert differences_of(world, world.server("standby")) == ()
    assert not wants_seed(world, world.server("standby"))


def test_a_foreign_object_stays_as_it_is_and_its_differences_are_said(node):
    name, auth, main, standby = node
    theirs = NodeObject(("recipe[db]",), normal='{"app":{"port":81}}')
    node_objects.create(main, auth, name, attrs.evolve(WEB, environment="_default"))
    node_objects.create(standby, auth, name, theirs)
    world = looked_at(node)
    assert differences_of(world, world.server("standby")) == ("run list", "normal attributes: app, tags")
    assert not wants_seed(world, world.server("standby"))
    assert not node_objects.create(standby, auth, name, WEB)
    assert node_objects.read(standby, auth) == theirs


def test_an_object_that_chef_client_made_there_is_not_ready(node):
    name, auth, main, standby = node
    node_objects.create(main, auth, name, attrs.evolve(WEB, environment="_default"))
    node_objects.create(standby, auth, name, NodeObject())
    world = looked_at(node)
    assert why_not_ready(world, world.server("standby")) == "its object of this node has an empty run list"
    assert not wants_seed(world, world.server("standby"))


def test_a_node_that_nobody_has_seen_is_new(node):
    world = looked_at(node)
    assert [why_not_ready(world, one) for one in world.servers] == [None, None]


def test_an_environment_that_does_not_exist_is_said(node):
    name, auth, main, _ = node
    node_objects.create(main, auth, name, WEB)
    world = looked_at(node)
    assert why_not_ready(world, world.server("main")) == (
        "environment staging, where its object puts this node, does not exist there"
    )


def test_whether_a_policy_exists_cannot_be_told_there(node):
    name, auth, main, _ = node
    world = looked_at(node, POLICY)
    assert [one.node_check.trouble for one in world.servers] == ["", ""]
    assert [why_not_ready(world, one) for one in world.servers] == [None, None]
    with pytest.raises(ProbeError, match="Invalid key policy_"):  # goiardi 0.11 knows no policies at all
        node_objects.create(main, auth, name, attrs.evolve(WEB, policy_name="web", policy_group="prod"))


def test_a_large_object_on_a_real_server(node):
    name, auth, main, _ = node
    large = NodeObject(("recipe[web]",), normal=json.dumps({"blob": "x" * 200_000}, separators=(",", ":")))
    assert node_objects.create(main, auth, name, large)
    assert node_objects.read(main, auth) == large


def test_older_cookbooks_on_a_real_server(node, two):
    name, auth, main, standby = node
    for exchange in (main, standby):
        node_objects.create(exchange, auth, name, NodeObject(("recipe[web]", "recipe[web::ssl]")))
    two[0].put_cookbook("web", "1.0.0")
    two[0].put_cookbook("web", "1.2.0")
    world = looked_at(node, compares=True)
    assert stale(world, world.server("standby"), now=1.0) == "1 cookbook is older: web missing there, 1.2.0 on main"
    two[1].put_cookbook("web", "1.0.0")
    world = looked_at(node, compares=True)
    assert stale(world, world.server("standby"), now=1.0) == "1 cookbook is older: web 1.0.0 there, 1.2.0 on main"
    two[1].put_cookbook("web", "1.2.0")
    world = looked_at(node, compares=True)
    assert stale(world, world.server("standby"), now=1.0) is None


def test_a_policy_that_a_real_server_does_not_tell_of_is_not_compared(node):
    world = looked_at(node, POLICY, compares=True)
    assert [one.node_check.content.is_readable for one in world.servers] == [False, False]
    assert stale(world, world.server("standby"), now=1.0) is None
