"""Node objects by answers made up for them, on embedded servers, and on two real ones (goiardi)."""

import datetime
import json
import tracemalloc

import attrs
import pytest
import requests

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_failover import turns
from chef_failover.chef import limits, node_objects
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.signing import ChefAuth
from chef_failover.chef.trust import TrustStore
from chef_failover.decide.parity import stale
from chef_failover.decide.readiness import why_not_ready
from chef_failover.decide.seeding import differences_of, wants_seed
from chef_failover.decide.world import apply_reading
from chef_failover.model.model import NodeCheck, Outcome
from chef_failover.model.needs import Content, NodeObject, ReadinessPolicy
from chef_failover.model.question import Look, Question
from chef_failover.model.run_history import Used
from tests.support.builders import ON, bare, server
from tests.support.chef import CLOCK, URL, check_signature, made_up, sent
from tests.support.goiardi import Goiardi, public_pem

NODE = "i-0abc"
WEB = NodeObject(("recipe[web]", "role[base]"), "staging", normal='{"app":{"port":80},"tags":["a"]}')
POLICY = ReadinessPolicy(policy_group="production", policy_name="webserver")
CHEF = made_up(NODE)
NODE_URL = f"{URL}/nodes/{NODE}"
BARE = {"name": NODE, "run_list": [], "normal": {"tags": []}, "automatic": {"fqdn": "web-1"}}


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
def main(dev, tmp_path):
    (tmp_path / "ca.pem").write_bytes(dev.ca_pem)
    return ChefServer(Target(dev.chef_server_url, 5.0, tmp_path / "ca.pem", NODE), Resolver(), TrustStore(()))


# --- answers made up -------------------------------------------------------------------------------------------------


def peak_of(act):
    tracemalloc.start()
    try:
        return act(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [b"[],", b"{},", b'{"":0},', b'{"a":[[]]},', b"1000,"])
def test_many_small_values_are_not_parsed_and_the_object_is_known_to_be_there(chef, auth, value):
    chef.get(NODE_URL, body=b'{"name":"i-0abc","normal":[' + value * (4_000_000 // len(value)) + b"0]}")
    found, peak = peak_of(lambda: node_objects.check(CHEF, auth, Question()))
    assert (found.node, found.has_node_object) == (None, True)
    assert found.trouble.startswith("answer too large (4.0 MB with too many values")
    assert peak < 25e6
    known = apply_reading(bare(server("a")), server("a"), found, on=ON).servers[0]
    empty = attrs.evolve(server("a"), node_check=NodeCheck(0.0))
    again = apply_reading(bare(empty), empty, found, on=ON).servers[0]
    assert (known.has_node_object, again.has_node_object) == (True, True)


def test_an_object_that_is_as_large_as_real_ones_is_parsed(chef, auth):
    packages = {f"package{n}": {"version": f"1.{n}.0", "release": "amzn2023", "arch": "x86_64"} for n in range(80_000)}
    body = json.dumps({**BARE, "automatic": {"packages": packages}})
    assert len(body) > 5e6
    chef.get(NODE_URL, body=body)
    found, peak = peak_of(lambda: node_objects.check(CHEF, auth, Question()))
    assert found.node is not None
    assert peak < 80e6


def test_one_large_object_is_read_at_a_time(chef, auth, monkeypatch):
    chef.get(NODE_URL, json=BARE)
    monkeypatch.setattr(node_objects, "TURN_S", 0.01)
    with turns.LARGE:
        assert "other large objects" in node_objects.check(CHEF, auth, Question()).trouble
    assert node_objects.check(CHEF, auth, Question()).node is not None


def read(server, auth):
    found = node_objects.check(server, auth, Question(look=Look.WHOLE))
    assert found.trouble == ""
    return found.node


@pytest.mark.parametrize("answered", ["create", "fill", "check"])
def test_every_request_is_signed_by_the_node(chef, auth, key, answered):
    filled = {**BARE, "chef_type": "node", "json_class": "Chef::Node", "chef_environment": "staging"}
    filled |= {"run_list": ["recipe[web]", "role[base]"], "normal": {"app": {"port": 80}, "tags": ["a"]}}
    chef.get(NODE_URL, json=BARE)
    chef.put(NODE_URL, json=filled)
    chef.post(f"{URL}/nodes", json={"uri": NODE_URL}, status=201)
    chef.get(f"{URL}/policy_groups/production", json={"policies": {"webserver": {"revision_id": "1a2b"}}})
    found, asked, body = {
        "create": lambda: (node_objects.create(CHEF, auth, WEB), ["POST"], {**filled, "automatic": {}}),
        "fill": lambda: (node_objects.fill(CHEF, auth, WEB), ["GET", "PUT"], filled),
        "check": lambda: (node_objects.check(CHEF, auth, Question(POLICY)).policy_found, ["GET", "GET", "GET"], None),
    }[answered]()
    assert found is True
    assert [call.request.method for call in chef.calls] == asked
    for call in chef.calls:
        check_signature(call.request, "1.3", NODE, key, datetime.datetime.now(datetime.UTC))
    last = chef.calls[-1].request.body
    assert (json.loads(last) | {"default": {}, "override": {}} if last else None) == (
        body and {**body, "default": {}, "override": {}}
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "HTTP 200 OK: empty body"),
        (b"<html></html>", "HTTP 200 OK: not an answer of a Chef server"),
        (b"[1]", "HTTP 200 OK: not an answer of a Chef server"),
        (b"[" * 100_000, "HTTP 200 OK: not an answer of a Chef server"),
        (b'{"name": "another"}', "HTTP 200 OK: not an answer of a Chef server"),
        (b'{"name": "i-0abc", "run_list": 5}', "has a run_list that is not a list of strings"),
        (b'{"name": "i-0abc", "normal": [1]}', "has normal attributes that are not a JSON object"),
        (b'{"name": "i-0abc", "normal": {"a": NaN}}', "has normal attributes that are not JSON"),
        (b'{"name": "i-0abc", "normal": {"a": 1e999}}', "has normal attributes that are not JSON"),
        (b'{"name": "i-0abc", "normal": {"a": ' + b"9" * 10_000 + b"}}", "not an answer of a Chef server"),
        (
            b'{"name": "i-0abc", "normal": {"a": "' + b"x" * 18_000_000 + b'"}}',
            "answer too large (longer than 16 MiB)",
        ),
        (b'{"name": "i-0abc", "normal": [' + b"[]," * 1_300_000 + b"0]}", "3.9 MB with too many values"),
    ],
    ids=lambda value: None,
)
def test_what_is_no_node_object_is_trouble_and_nothing_worse(chef, auth, body, words):
    chef.get(NODE_URL, body=body)
    found = node_objects.check(CHEF, auth, Question(POLICY))
    assert found.node is None
    assert words in found.trouble


@pytest.mark.parametrize(
    ("answered", "outcome", "words"),
    [
        ((201, b""), Outcome.NOT_CHEF, "HTTP 201 Created: empty body"),
        ((201, b"{}"), Outcome.NOT_CHEF, "HTTP 201 Created: not an answer of a Chef server"),
        ((201, b"created"), Outcome.NOT_CHEF, "HTTP 201 Created: not an answer of a Chef server"),
        ((201, b"[]"), Outcome.NOT_CHEF, "HTTP 201 Created: not an answer of a Chef server"),
        ((200, b'{"uri": ""}'), Outcome.NOT_CHEF, "HTTP 200 OK: not an answer of a Chef server"),
        ((401, json.dumps(CLOCK)), Outcome.CLOCK_SKEW, "clock skew: this node's clock says"),
        ((403, b'{"error": ["missing create permission"]}'), Outcome.FORBIDDEN, "HTTP 403: missing create permission"),
        ((413, b'{"error": ["too long"]}'), Outcome.SERVER_ERROR, "HTTP 413 Request Entity Too Large: too long"),
        ((503, b""), Outcome.MAINTENANCE, "HTTP 503 Service Unavailable: in maintenance"),
    ],
)
def test_what_was_not_created_is_said(chef, auth, answered, outcome, words):
    chef.post(f"{URL}/nodes", status=answered[0], body=answered[1])
    with pytest.raises(ProbeError, match=words) as raised:
        node_objects.create(CHEF, auth, WEB)
    assert raised.value.outcome is outcome


@pytest.mark.parametrize("body", [b"", b'{"name": "another"}', b'{"error": ["node i-0abc not found"]}'])
def test_what_was_not_saved_is_said(chef, auth, body):
    chef.get(NODE_URL, json=BARE)
    chef.put(NODE_URL, body=body, status=404 if b"error" in body else 200)
    with pytest.raises(ProbeError):
        node_objects.fill(CHEF, auth, WEB)


@pytest.mark.parametrize("body", [{**BARE, "run_list": ["recipe[db]"]}, {"error": ["node 'i-0abc' not found"]}])
def test_only_an_object_that_does_nothing_is_filled(chef, auth, body):
    chef.get(NODE_URL, json=body, status=404 if "error" in body else 200)
    assert not node_objects.fill(CHEF, auth, WEB)
    assert sent(chef) == [("GET", f"nodes/{NODE}")]


BY_RUN_LIST = {"run_list": ["recipe[web]"]}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"[]"),
        (200, b'{"web": 1}'),
        (200, b'{"web": {"versions": 1}}'),
        (200, b'{"web": {"versions": [1]}}'),
        (200, b'{"web": {"versions": [{"version": 1}]}}'),
        (200, b'{"web": {"versions": [{"version": "1.0-beta"}]}}'),
        (200, b'{"a b": {"versions": []}}'),
        (200, json.dumps({f"c{number}": {"versions": []} for number in range(limits.COOKBOOKS + 1)})),
        (200, b"x" * 5_000_000),
        (403, b'{"error": ["missing read permission"]}'),
        (404, b'{"error": ["not found"]}'),
        (405, b""),
        (500, b""),
    ],
    ids=lambda value: None,
)
def test_a_server_that_does_not_tell_versions_is_read_all_the_same(chef, auth, status, body):
    chef.get(NODE_URL, json={"name": NODE, **BY_RUN_LIST})
    chef.get(f"{URL}/cookbooks/_latest", body=body, status=status)
    found = node_objects.check(CHEF, auth, Question(compares=True))
    assert (found.trouble, found.node.run_list, found.content.is_readable) == ("", ("recipe[web]",), False)


def test_a_cookbook_of_which_no_version_is_admitted_is_left_out(chef, auth):
    chef.get(NODE_URL, json={"name": NODE, **BY_RUN_LIST})
    chef.get(f"{URL}/cookbooks/_latest", json={"web": {"versions": []}})
    assert node_objects.check(CHEF, auth, Question(compares=True)).content.cookbooks == {}


@pytest.mark.parametrize("former", [None, True, False])
def test_a_list_of_rights_that_does_not_come_changes_nothing_and_is_no_trouble(chef, auth, former):
    chef.get(NODE_URL, json={"name": NODE, **BY_RUN_LIST})
    chef.get(f"{NODE_URL}/_acl", body=requests.ConnectionError())
    before = NodeCheck(0.0, may_save=former) if former is not None else None
    found = node_objects.check(CHEF, auth, Question(), former=before)
    assert (found.trouble, found.may_save) == ("", former)


# --- embedded servers -----------------------------------------------------------------------------------------------


def test_what_was_created_is_what_is_read(dev, main, auth):
    assert read(main, auth) is None
    assert node_objects.create(main, auth, WEB)
    assert read(main, auth) == WEB
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


def test_somebody_else_s_object_is_not_touched(dev, main, auth):
    dev.put_node(NODE, ["recipe[db]"], normal={"theirs": True})
    before = json.dumps(dev.state.nodes[NODE])
    assert not node_objects.create(main, auth, WEB)
    assert json.dumps(dev.state.nodes[NODE]) == before
    theirs = read(main, auth)
    assert WEB.differences(theirs) == (
        "run list",
        "environment: _default, not staging",
        "normal attributes: app, tags, theirs",
    )


def test_a_large_object(dev, main, auth):
    large = attrs.evolve(WEB, normal=json.dumps({"blob": "x" * 200_000}, separators=(",", ":")))
    assert node_objects.create(main, auth, large)
    assert read(main, auth) == large


def test_one_that_is_too_large_for_the_server_is_said(main, auth):
    large = attrs.evolve(WEB, normal=json.dumps({"blob": "x" * 2_000_000}))
    with pytest.raises(ProbeError, match="HTTP 413 .*JSON must be no more than 2000000 bytes") as raised:
        node_objects.create(main, auth, large)
    assert raised.value.outcome is Outcome.SERVER_ERROR


def test_a_reading_tells_of_object_environment_and_policy(dev, main, auth):
    def check(policy=POLICY):
        return node_objects.check(main, auth, Question(policy), clock=lambda: 5.0)

    content = Content(5.0, ("webserver", "production"))
    assert check() == NodeCheck(5.0, policy_found=False, content=content, node_read_at=5.0)
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    assert check() == NodeCheck(
        5.0, policy_found=True, content=attrs.evolve(content, revision="1a2b3c4d5e"), node_read_at=5.0
    )
    dev.put_node(NODE, policy_name="db", policy_group="production")
    assert check(ReadinessPolicy()).policy_found is False
    dev.put_node(NODE, ["recipe[web]"], chef_environment="qa")
    assert check(ReadinessPolicy()).environment_found is False
    dev.state.environments.add("qa")
    assert check(ReadinessPolicy()).environment_found is True
    assert check(ReadinessPolicy(policy_group="staging", policy_name="webserver")).policy_found is False


@pytest.mark.parametrize(("creator", "may_save"), [(NODE, True), ("admin", False), (None, True)])
def test_a_reading_tells_whether_the_node_may_save_its_object(dev, main, auth, creator, may_save):
    if creator is not None:
        assert dev.administrator_key
        dev.put_node(NODE, ["recipe[web]"], created_by=creator)
    else:
        assert node_objects.check(main, auth, Question()).may_save is None
        node_objects.create(main, auth, WEB)
    assert node_objects.check(main, auth, Question()).may_save is may_save


@pytest.mark.parametrize("policy", [ReadinessPolicy(), POLICY])
def test_a_node_with_a_policy_needs_no_environment(dev, main, auth, policy):
    """chef-client writes the policy group there as its environment, which exists nowhere, and never loads it."""
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    dev.put_node(NODE, policy_name="webserver", policy_group="production", chef_environment="production")
    found = node_objects.check(main, auth, Question(policy, compares=True))
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
def test_no_object_is_told_from_no_answer(dev, main, auth, fault, outcome):
    dev.put_node(NODE, ["recipe[web]"])
    dev.fault = fault
    with pytest.raises(ProbeError) as raised:
        node_objects.create(main, auth, WEB)
    assert raised.value.outcome is outcome
    found = node_objects.check(main, auth, Question())
    assert found.node is None
    assert found.trouble == raised.value.detail


def test_a_reading_tells_the_revision_of_the_policy_without_asking_more(dev, main, auth):
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    found = node_objects.check(main, auth, Question(POLICY, compares=True), clock=lambda: 5.0).content
    assert (found.policy, found.revision, found.read_at) == (("webserver", "production"), "1a2b3c4d5e", 5.0)
    asked = [target for _, target, _ in dev.requests]
    assert len(asked) == len(set(asked)) == 2


@pytest.mark.parametrize(
    ("environment", "path"),
    [("_default", "cookbooks/_latest"), ("staging", "environments/staging/cookbooks?num_versions=1")],
)
def test_one_request_tells_the_environment_and_the_versions_of_cookbooks(dev, main, auth, environment, path):
    dev.state.cookbooks |= {"apache2": "5.2.0", "other": "1.0"}
    dev.put_node(NODE, ["recipe[web]"], chef_environment=environment)
    found = node_objects.check(main, auth, Question(compares=True))
    assert (found.environment_found, found.content.cookbooks) == (True, {"apache2": "5.2.0", "other": "1.0"})
    asked = paths(dev)
    assert [place for place in asked if "nodes" not in place] == [path]


# What is asked, and what of it reads the object.


def paths(dev):
    return [target.partition("/organizations/default/")[2] for _, target, _ in dev.requests]


ACL = f"nodes/{NODE}/_acl"
OBJECT = f"nodes/{NODE}"
USED = Used(("recipe[web]",), "staging", cookbooks={"web": "1.0.0"})
BY_POLICY = Used((), "x", "webserver", "production", "1a2b3c4d5e")
MISSING = NodeCheck(1.0)


FROM_CHEF = {"X-Ops-Server-API-Version": '{"min_version": "0", "max_version": "1"}'}
EXISTENCE = Question(look=Look.EXISTENCE)
ARRIVAL = Question(look=Look.ARRIVAL), MISSING
VERSIONS = "environments/staging/cookbooks?num_versions=1"


@pytest.mark.parametrize(
    "case",
    [
        (True, (Question(), None), [OBJECT, ACL]),
        (False, (Question(), None), [OBJECT]),
        (True, (EXISTENCE, None), [ACL]),
        (False, (EXISTENCE, None), [ACL]),
        (True, ARRIVAL, [ACL, OBJECT]),
        (False, ARRIVAL, [ACL]),
        (True, (Question(look=Look.NOTHING), NodeCheck(1.0, WEB)), ["environments/staging"]),
        (True, (attrs.evolve(EXISTENCE, used=USED), None), [ACL, "environments/staging"]),
        (True, (attrs.evolve(EXISTENCE, used=USED, compares=True), None), [ACL, VERSIONS]),
        (True, (attrs.evolve(EXISTENCE, used=BY_POLICY), None), [ACL, "policy_groups/production"]),
        (True, (attrs.evolve(EXISTENCE, policy=POLICY), None), [ACL, "policy_groups/production"]),
        (True, (attrs.evolve(EXISTENCE, used=USED, asks_content=False), None), [ACL]),
    ],
)
def test_the_cheapest_request_that_tells_is_made(dev, main, auth, case):
    exists, (question, former), asked = case
    if exists:
        dev.put_node(NODE, ["recipe[web]"], created_by=NODE)
    found = node_objects.check(main, auth, question, former=former)
    assert (found.trouble, paths(dev)) == ("", asked)
    assert question.look is Look.NOTHING or found.has_node_object is exists


def test_an_object_that_was_read_holds_while_it_is_only_told_to_be_there(dev, main, auth):
    dev.put_node(NODE, ["recipe[db]"], created_by="admin")
    former = NodeCheck(1.0, WEB, may_save=True)
    found = node_objects.check(main, auth, Question(look=Look.EXISTENCE), former=former, clock=lambda: 9.0)
    assert (found.node, found.node_read_at, found.read_at) == (WEB, 1.0, 9.0)
    assert (found.has_node_object, found.may_save) == (True, False)
    again = node_objects.check(main, auth, Question(), former=found, clock=lambda: 12.0)
    assert (again.node.run_list, again.node_read_at) == (("recipe[db]",), 12.0)


@pytest.mark.parametrize(
    ("status", "body", "asks_on"),
    [
        (404, b'{"error": ["node \'i-0abc/_acl\' not found"]}', True),  # goiardi
        (200, b"", True),
        (404, b"<html></html>", True),
        (405, b"", True),
        (403, b"", True),
        (401, b'{"error": ["Failed to authenticate"]}', False),
        (429, b"", False),
        (500, b"", False),
        (503, b"", False),
    ],
)
def test_a_server_that_does_not_tell_rights_is_asked_on_and_one_in_trouble_is_not(chef, auth, status, body, asks_on):
    chef.get(f"{NODE_URL}/_acl", body=body, status=status)
    chef.head(NODE_URL, headers=FROM_CHEF)
    found = node_objects.check(CHEF, auth, EXISTENCE)
    assert (found.has_node_object, bool(found.trouble)) == ((True, False) if asks_on else (None, True))
    assert sent(chef)[1:] == ([("HEAD", f"nodes/{NODE}")] if asks_on else [])


@pytest.mark.parametrize(
    ("answer", "is_read"),
    [
        ({"headers": FROM_CHEF}, False),
        ({}, True),  # a Chef server with a data collector, or no Chef server at all
        ({"headers": FROM_CHEF, "status": 404}, True),
        ({"headers": FROM_CHEF, "status": 405}, True),
        ({"headers": FROM_CHEF, "status": 500}, True),
    ],
)
@pytest.mark.parametrize("question", [EXISTENCE, attrs.evolve(EXISTENCE, look=Look.ARRIVAL)])
def test_without_rights_a_head_tells_of_the_object(chef, auth, answer, is_read, question):
    chef.get(f"{NODE_URL}/_acl", status=404, json={"error": [f"node '{NODE}/_acl' not found"]})
    chef.head(NODE_URL, **answer)
    chef.get(NODE_URL, json={"name": NODE, **BY_RUN_LIST})
    found = node_objects.check(CHEF, auth, question, former=MISSING)
    is_whole = is_read or question.look is Look.ARRIVAL
    assert (found.trouble, found.has_node_object, found.node is not None) == ("", True, is_whole)
    assert ("GET", f"nodes/{NODE}") in sent(chef) if is_whole else sent(chef)[-1] == ("HEAD", f"nodes/{NODE}")


def test_what_a_server_does_not_tell_once_is_what_it_told_before(dev, main, auth):
    dev.state.policies["production", "webserver"] = "1a2b3c4d5e"
    first = node_objects.check(main, auth, Question(POLICY), clock=lambda: 1.0)
    del dev.state.policies["production", "webserver"]
    again = node_objects.check(main, auth, Question(POLICY), former=first, clock=lambda: 9.0)
    assert (again.policy_found, again.content) == (False, first.content)
    other = attrs.evolve(first, content=attrs.evolve(first.content, policy=("db", "production")))
    assert node_objects.check(main, auth, Question(POLICY), former=other).content.revision is None


def test_a_clock_that_is_off_is_said(dev, main, key):
    def ahead():
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)

    with pytest.raises(ProbeError, match="clock skew") as raised:
        node_objects.create(main, ChefAuth(NODE, key, utc_now=ahead), WEB, utc_now=ahead)
    assert raised.value.outcome is Outcome.CLOCK_SKEW


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
    both = []
    for one in two:
        one.register(name, public_pem(key))
        both.append(ChefServer(Target(one.url, 10.0, one.ca_file, name), Resolver(), TrustStore(())))
    return ChefAuth(name, key), *both


def looked_at(node, policy=None, *, used=None):
    """The world as a reading of both servers leaves it, the first one in use, where runs have used ``used``."""
    auth, *both = node
    policy = policy or ReadinessPolicy()
    servers = [
        server(
            name,
            node_check=node_objects.check(one, auth, Question(policy, compares=used is not None), clock=lambda: 1.0),
        )
        for name, one in zip(("main", "standby"), both, strict=True)
    ]
    return bare(*servers, current="main", readiness=policy, used=used, used_server="main")


def test_the_second_gets_what_the_first_has_by_the_node_s_own_key(node):
    auth, main, standby = node
    node_objects.create(main, auth, attrs.evolve(WEB, environment="_default"))
    world = looked_at(node)
    assert why_not_ready(world, world.server("standby")) == "has no object of this node"
    assert wants_seed(world, world.server("standby"))
    assert node_objects.create(standby, auth, read(main, auth))
    world = looked_at(node)
    assert [why_not_ready(world, one) for one in world.servers] == [None, None]
    assert differences_of(world, world.server("standby")) == ()
    assert not wants_seed(world, world.server("standby"))


def test_a_foreign_object_stays_as_it_is_and_its_differences_are_said(node):
    auth, main, standby = node
    theirs = NodeObject(("recipe[db]",), normal='{"app":{"port":81}}')
    node_objects.create(main, auth, attrs.evolve(WEB, environment="_default"))
    node_objects.create(standby, auth, theirs)
    world = looked_at(node)
    assert differences_of(world, world.server("standby")) == ("run list", "normal attributes: app, tags")
    assert not wants_seed(world, world.server("standby"))
    assert not node_objects.create(standby, auth, WEB)
    assert read(standby, auth) == theirs


def test_an_object_that_chef_client_made_there_is_not_ready(node):
    auth, main, standby = node
    node_objects.create(main, auth, attrs.evolve(WEB, environment="_default"))
    node_objects.create(standby, auth, NodeObject())
    world = looked_at(node)
    assert why_not_ready(world, world.server("standby")) == "its object of this node has an empty run list"
    assert not wants_seed(world, world.server("standby"))


def test_a_node_that_nobody_has_seen_is_new(node):
    world = looked_at(node)
    assert [why_not_ready(world, one) for one in world.servers] == [None, None]


def test_an_environment_that_does_not_exist_is_said(node):
    auth, main, _ = node
    node_objects.create(main, auth, WEB)
    world = looked_at(node)
    assert why_not_ready(world, world.server("main")) == (
        "environment staging, where its object puts this node, does not exist there"
    )


def test_whether_a_policy_exists_cannot_be_told_there(node):
    auth, main, _ = node
    world = looked_at(node, POLICY)
    assert [one.node_check.trouble for one in world.servers] == ["", ""]
    assert [why_not_ready(world, one) for one in world.servers] == [None, None]
    with pytest.raises(ProbeError, match="Invalid key policy_"):  # goiardi 0.11 knows no policies at all
        node_objects.create(main, auth, attrs.evolve(WEB, policy_name="web", policy_group="prod"))


def test_a_large_object_on_a_real_server(node):
    auth, main, _ = node
    large = NodeObject(("recipe[web]",), normal=json.dumps({"blob": "x" * 200_000}, separators=(",", ":")))
    assert node_objects.create(main, auth, large)
    assert read(main, auth) == large


def test_older_cookbooks_on_a_real_server(node, two):
    auth, main, standby = node
    for one in (main, standby):
        node_objects.create(one, auth, NodeObject(("recipe[web]", "recipe[web::ssl]")))
    used = Used(("recipe[web]", "recipe[web::ssl]"), cookbooks={"web": "1.2.0"})
    two[0].put_cookbook("web", "1.2.0")
    said = []
    for versions in ([], ["1.0.0"], ["1.0.0", "1.2.0"]):
        for version in versions:
            two[1].put_cookbook("web", version)
        world = looked_at(node, used=used)
        said.append(stale(world, world.server("standby"), now=1.0))
    assert said == [
        "1 cookbook is older: web missing there, runs use 1.2.0",
        "1 cookbook is older: web 1.0.0 there, runs use 1.2.0",
        None,
    ]


def test_a_policy_that_a_real_server_does_not_tell_of_is_not_compared(node):
    world = looked_at(node, POLICY, used=BY_POLICY)
    assert [one.node_check.content.is_readable for one in world.servers] == [False, False]
    assert stale(world, world.server("standby"), now=1.0) is None


def test_a_real_server_without_rights_tells_of_an_object_without_its_being_read(node):
    auth, main, _ = node
    urls = []
    counted = attrs.evolve(main, count=urls.append)
    for is_there in (False, True):
        urls.clear()
        found = node_objects.check(counted, auth, EXISTENCE)
        assert (found.has_node_object, found.node, found.may_save, found.trouble) == (is_there, None, None, "")
        assert len(urls) == (2 if is_there else 3)
        node_objects.create(main, auth, attrs.evolve(WEB, environment="_default"))
