"""The embedded Chef servers: real TLS, real signatures, every fault seen from outside."""

import contextlib
import datetime
import gc
import json
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_devserver.state import AUTOMATE, INFRA_SERVER, OLD_SERVER
from chef_devserver.wire import Channel
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.protocol import CHEF_HEADERS
from chef_failover.chef.signing import ChefAuth

NODE = "i-0abc"
CHEF = "X-Ops-Server-API-Version"
TIMEOUT_S = 1.0


def pem_of(key):
    return key.public_pem().decode()


@pytest.fixture(scope="module")
def node_key():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def other_key():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(authority.ca_pem)
    return str(path)


@pytest.fixture
def server(authority, node_key):
    with DevServer("main", authority) as server:
        server.register(NODE, pem_of(node_key))
        server.put_node(NODE, run_list=["recipe[web]"])
        yield server


@pytest.fixture
def session(ca_file):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = ca_file
        yield session


@pytest.fixture
def call(session, server, node_key):
    """A signed request as the node, below the organization's URL."""

    def call(method, path, *, user=NODE, key=node_key, protocol="1.3", api_version=None, utc_now=None, **options):
        clock = {"utc_now": utc_now} if utc_now else {}
        sign = ChefAuth(user, key, protocol, **clock)

        def auth(request):
            request = sign(request)
            if api_version is not None:  # protocols before 1.3 do not sign it
                request.headers["X-Ops-Server-API-Version"] = api_version
            return request

        options.setdefault("timeout", 5)
        return session.request(method, server.chef_server_url + path, auth=auth, **options)

    return call


def until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        pause.wait(0.005)


# What nginx answers by itself.


def test_status_needs_no_authentication(session, server):
    answer = session.get(f"{server.url}/_status", timeout=5)
    assert answer.status_code == 200
    assert answer.json()["status"] == "pong"
    assert set(answer.json()["upstreams"].values()) == {"pong"}


@pytest.mark.parametrize("path", ["/", "/organizations/default/nodes/x", "/organizations/default/_status"])
def test_without_a_chef_version_every_path_is_a_welcome_page(session, server, path):
    answer = session.get(server.url + path, timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"X-Chef-Version": "9.0.0"}, "/nodes/x", 400),
        ({"X-Chef-Version": "16.0"}, "/nodes/x", 400),
        ({"X-Chef-Version": "16.0.0", "X-Ops-UserId": "x"}, "/nowhere", 404),
    ],
)
def test_nginx_refuses(session, server, headers, path, status):
    answer = session.get(server.chef_server_url + path, headers=headers, timeout=5)
    assert answer.status_code == status
    assert "X-Ops-Server-API-Version" not in answer.headers


@pytest.mark.parametrize(("kind", "status"), [(INFRA_SERVER, 404), (OLD_SERVER, 401), (AUTOMATE, 401)])
def test_nginx_wants_a_name_and_says_so_where_its_errors_are_not_hidden(session, server, kind, status):
    server.state.kind = kind
    answer = session.get(f"{server.chef_server_url}/nodes/x", headers={"X-Chef-Version": "16.0.0"}, timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")


def test_an_organization_that_none_can_be_called_is_a_path_that_nginx_does_not_know(call, session, server, node_key):
    for organization, content in [("Acme", "text/html"), ("acme", "application/json")]:
        url = f"{server.url}/organizations/{organization}/nodes/{NODE}"
        answer = session.get(url, auth=ChefAuth(NODE, node_key), timeout=5)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, content)


# Signed requests.


@pytest.mark.parametrize("protocol", ["1.0", "1.1", "1.3"])
def test_signed_request_by_each_protocol(call, protocol):
    answer = call("GET", f"/nodes/{NODE}", protocol=protocol)
    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["run_list"]) == (NODE, ["recipe[web]"])
    assert json.loads(answer.headers["X-Ops-Server-API-Version"]) == {
        "min_version": "0",
        "max_version": "2",
        "request_version": "1",
        "response_version": "1",
    }


def test_path_is_signed_without_its_query(call):
    assert call("GET", f"/nodes/{NODE}?attributes=1").status_code == 200


def test_head_has_the_headers_and_no_body(call):
    answer = call("HEAD", f"/nodes/{NODE}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "X-Ops-Server-API-Version" in answer.headers


def test_the_status_page_is_for_get_and_without_headers_of_chef(session, server):
    assert CHEF not in session.get(f"{server.url}/_status", timeout=5).headers
    assert session.head(f"{server.url}/_status", timeout=5).status_code == 405


def test_license_counts_nodes(session, server, node_key):
    answer = session.get(f"{server.url}/license", auth=ChefAuth(NODE, node_key), timeout=5)
    assert (answer.status_code, answer.json()["node_count"], CHEF in answer.headers) == (200, 1, True)


def test_server_api_version(call, session, server, node_key):
    url = f"{server.url}/server_api_version"
    answer = session.get(url, auth=ChefAuth(NODE, node_key), timeout=5)
    assert answer.json() == {"min_api_version": 0, "max_api_version": 2}
    assert session.get(url, headers={**CHEF_HEADERS, "X-Ops-UserId": NODE}, timeout=5).status_code == 400


def test_old_server_refuses_protocol_1_3(authority, session, node_key):
    with DevServer("old", authority, protocols=("1.0", "1.1")) as old:
        old.register(NODE, pem_of(node_key))
        url = f"{old.chef_server_url}/nodes/{NODE}"
        answer = session.get(url, auth=ChefAuth(NODE, node_key, "1.3"), timeout=5)
        assert answer.status_code == 400
        assert answer.json() == {"error": ["Unsupported authentication protocol version"]}
        assert session.get(url, auth=ChefAuth(NODE, node_key, "1.1"), timeout=5).status_code == 404


@pytest.mark.parametrize("organization", [None, "acme"])
def test_with_another_organization_or_none(authority, session, node_key, organization):
    with DevServer("other", authority, organization) as other:
        other.register(NODE, pem_of(node_key))
        other.put_node(NODE)
        answer = session.get(f"{other.chef_server_url}/nodes/{NODE}", auth=ChefAuth(NODE, node_key), timeout=5)
        assert answer.json()["name"] == NODE
        assert other.state.validator == ("acme-validator" if organization else "chef-validator")


def later(seconds):
    return lambda: datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize("off_s", [-1000, 1000])
def test_clock_is_checked_before_the_client(call, off_s):
    answer = call("GET", f"/nodes/{NODE}", user="nobody", utc_now=later(off_s))
    assert answer.status_code == 401
    assert answer.json() == {"error": ["Failed to authenticate as nobody. Synchronize the clock on your host."]}
    assert call("GET", f"/nodes/{NODE}", utc_now=later(off_s * 0.8)).status_code == 200


def test_organization_is_checked_before_the_client(session, server, other_key):
    url = f"{server.url}/organizations/acme/nodes/{NODE}"
    answer = session.get(url, auth=ChefAuth("nobody", other_key), timeout=5)
    assert (answer.status_code, answer.json()) == (404, {"error": ["organization 'acme' does not exist."]})


def test_unknown_client_and_wrong_key(call, other_key):
    unknown = call("GET", f"/nodes/{NODE}", user="nobody")
    assert unknown.status_code == 401
    assert unknown.json() == {
        "error": ["Failed to authenticate as 'nobody'. Ensure that your node_name and client key are correct."]
    }
    wrong = call("GET", f"/nodes/{NODE}", key=other_key)
    assert (wrong.status_code, wrong.json()) == (401, {"error": [f"Invalid signature for user or client '{NODE}'"]})
    assert "X-Ops-Server-API-Version" in wrong.headers


def test_body_is_part_of_the_signature(session, server, node_key):
    def tampered(request):
        request = ChefAuth(NODE, node_key)(request)
        request.prepare_body(b'{"name": "i-0abc", "run_list": ["recipe[evil]"]}', None)
        return request

    answer = session.put(f"{server.chef_server_url}/nodes/{NODE}", data=b"{}", auth=tampered, timeout=5)
    assert answer.status_code == 401
    assert server.state.nodes[NODE]["run_list"] == ["recipe[web]"]


@pytest.mark.parametrize(("version", "request_version"), [("3", "3"), ("x", "-1")])
def test_unsupported_api_version(call, version, request_version):
    answer = call("GET", f"/nodes/{NODE}", api_version=version)
    assert answer.status_code == 406
    assert answer.json()["error"] == "invalid-x-ops-server-api-version"
    header = json.loads(answer.headers["X-Ops-Server-API-Version"])
    assert (header["request_version"], header["response_version"]) == (request_version, "-1")


# Nodes.


def test_node_is_created_read_changed_and_deleted(call, node_key, server):
    server.register("web-1", pem_of(node_key))
    as_web = {"user": "web-1"}
    missing = call("GET", "/nodes/web-1", **as_web)
    assert (missing.status_code, missing.json()) == (404, {"error": ["node 'web-1' not found"]})
    created = call("POST", "/nodes", json={"name": "web-1", "run_list": ["a", "role[a]", "recipe[a]"]}, **as_web)
    uri = f"{server.chef_server_url}/nodes/web-1"
    assert (created.status_code, created.json(), created.headers["Location"]) == (201, {"uri": uri}, uri)
    assert call("GET", "/nodes/web-1", **as_web).json()["run_list"] == ["recipe[a]", "role[a]"]
    assert call("POST", "/nodes", json={"name": "web-1"}, **as_web).status_code == 409
    assert call("PUT", "/nodes/web-1", json={"run_list": ["role[b]"]}, **as_web).json()["name"] == "web-1"
    assert sorted(call("GET", "/nodes").json()) == [NODE, "web-1"]
    assert call("DELETE", "/nodes/web-1", **as_web).json()["run_list"] == ["role[b]"]
    assert call("GET", "/nodes/web-1", **as_web).status_code == 404


def test_a_colon_is_part_of_a_name_and_an_escaped_one_of_another(call, server):
    assert call("POST", "/nodes", json={"name": "web:1"}).status_code == 201
    assert call("GET", "/nodes/web:1").json()["name"] == "web:1"
    escaped = call("GET", "/nodes/web%3A1")
    assert (escaped.status_code, escaped.json()) == (404, {"error": ["node 'web%3A1' not found"]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid JSON"),
        (b"[]", "Incorrect JSON type for request body"),
        (b"{}", "Field 'name' missing"),
        (b'{"name": "a", "run_list": "role[a]"}', "Field 'run_list' is not a valid run list"),
        (b'{"name": "a", "run_list": ["role[a"]}', "Field 'run_list' is not a valid run list"),
        (b'{"name": "a", "tags": []}', "Invalid key tags in request body"),
        (b'{"name": "web 1"}', "Field 'name' invalid"),
        (b'{"name": "a", "chef_environment": "a:b"}', "Field 'chef_environment' invalid"),
        (b'{"name": "a", "normal": []}', "Field 'normal' is not a hash"),
    ],
)
def test_bad_node(call, body, message):
    answer = call("POST", "/nodes", data=body)
    assert (answer.status_code, answer.json()) == (400, {"error": [message]})


@pytest.mark.parametrize("kind", [OLD_SERVER, INFRA_SERVER, AUTOMATE])
def test_too_large_a_body(call, server, kind):
    server.state.kind = kind
    answer = call("PUT", f"/nodes/{NODE}", data=b" " * (kind.max_body + 1))
    assert (answer.status_code, answer.json()) == (413, {"error": f"JSON must be no more than {kind.max_body} bytes."})
    assert call("PUT", f"/nodes/{NODE}", data=b"{}" + b" " * (kind.max_body - 2)).status_code == 200
    assert ("X-Ops-API-Info" in answer.headers) == (kind is OLD_SERVER)


@pytest.mark.parametrize(("method", "path"), [("POST", f"/nodes/{NODE}"), ("PUT", "/nodes"), ("HEAD", "/clients")])
def test_wrong_method(call, method, path):
    answer = call(method, path, data=b"{}")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


# Clients.


@pytest.fixture
def as_validator(server):
    return {"user": server.state.validator, "key": server.validator_key}


@pytest.mark.parametrize("api_version", ["0", "1", "2"])
def test_validator_registers_a_client(call, server, as_validator, other_key, api_version):
    body = {"name": "new", "admin": False, "public_key": pem_of(other_key)}
    as_version = {"protocol": "1.1", "api_version": api_version}
    created = call("POST", "/clients", json=body, **as_version, **as_validator)
    assert created.status_code == 201
    answer = created.json()
    assert answer["uri"] == f"{server.chef_server_url}/clients/new"
    key = answer if api_version == "0" else answer["chef_key"]
    assert key["public_key"] == pem_of(other_key)
    assert "private_key" not in key
    again = call("POST", "/clients", json=body, **as_version, **as_validator)
    assert (again.status_code, again.json()) == (409, {"error": ["Client already exists"]})
    assert call("GET", "/nodes/new", user="new", key=other_key).status_code == 404


@pytest.mark.parametrize(("api_version", "asks"), [("0", {}), ("1", {"create_key": True})])
def test_server_makes_the_key(call, as_validator, api_version, asks):
    options = {"protocol": "1.1", "api_version": api_version, **as_validator}
    answer = call("POST", "/clients", json={"name": "new", **asks}, **options).json()
    pem = answer.get("chef_key", answer)["private_key"]
    key = PrivateKey.from_pem(pem.encode())
    assert call("GET", "/clients/new", user="new", key=key).json()["name"] == "new"


def test_client_without_a_key_cannot_sign(call, as_validator, node_key):
    assert "chef_key" not in call("POST", "/clients", json={"name": "new"}, **as_validator).json()
    assert call("GET", "/nodes/new", user="new").status_code == 401


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Field 'name' missing"),
        ({"name": "new", "public_key": "no key"}, "Field 'public_key' invalid"),
        (
            {"name": "new", "public_key": "KEY", "create_key": True},
            "You must specify either create_key or public_key, but not both",
        ),
    ],
)
def test_bad_client(call, as_validator, body, message):
    answer = call("POST", "/clients", json=body, **as_validator)
    assert (answer.status_code, answer.json()) == (400, {"error": [message]})


def test_a_client_may_be_named_twice_but_not_differently(call, as_validator):
    for body, says in [
        ({"name": "a:b"}, "Invalid client name 'a:b'"),
        ({"name": "a", "clientname": "b"}, "name and clientname must match"),
    ]:
        answer = call("POST", "/clients", json=body, **as_validator)
        assert (answer.status_code, says in answer.json()["error"][0]) == (400, True)
    assert call("POST", "/clients", json={"clientname": "a", "nobody knows": 1}, **as_validator).status_code == 201


def test_what_validators_and_nodes_may_not(call, as_validator):
    for method, path, body in [
        ("PUT", f"/nodes/{NODE}", {"name": NODE}),
        ("GET", "/clients", None),
        ("GET", f"/clients/{NODE}", None),
        ("PUT", f"/clients/{NODE}", {"name": NODE}),
    ]:
        assert call(method, path, json=body, **as_validator).status_code == 403, (method, path)
    assert call("POST", "/clients", json={"name": "a"}).json() == {"error": ["missing create permission"]}
    another = call("POST", "/clients", json={"name": "a", "validator": True}, **as_validator)
    assert (another.status_code, another.content) == (403, b"")


def test_validators_read_and_create_nodes(call, as_validator):
    assert call("GET", f"/nodes/{NODE}", **as_validator).status_code == 200
    assert call("POST", "/nodes", json={"name": "made"}, **as_validator).status_code == 201
    assert call("GET", "/environments/_default", **as_validator).status_code == 200


# Who may do what.


@pytest.fixture
def as_admin(server):
    return {"user": "admin", "key": server.administrator_key}


def may_save(call, name=NODE, **user):
    answer = call("PUT", f"/nodes/{name}", json={"name": name}, **user)
    assert answer.status_code == 200 or answer.json() == {"error": ["missing update permission"]}
    return answer.status_code == 200


def may_grant(call, name=NODE, **user):
    answer = call("GET", f"/nodes/{name}/_acl", **user)
    assert answer.status_code == 200 or answer.json() == {"error": ["missing read permission"]}
    return answer.status_code == 200


@pytest.fixture
def makers(server, as_admin, as_validator, other_key):
    server.register("new", pem_of(other_key))
    return {"itself": {"user": "new", "key": other_key}, "admin": as_admin, "validator": as_validator, "other": {}}


@pytest.mark.parametrize("creator", ["itself", "admin", "validator", "other"])
def test_who_creates_a_node_object_owns_it(call, server, makers, creator):
    assert call("POST", "/nodes", json={"name": "new"}, **makers[creator]).status_code == 201
    for who, user in makers.items():
        owns = who in (creator, "admin")  # an administrator may do everything with what anybody has made
        assert (may_save(call, "new", **user), may_grant(call, "new", **user)) == (owns, owns), who
        assert call("GET", "/nodes/new", **user).status_code == 200, who


def test_an_access_control_list_names_actors_and_groups(call, as_admin):
    acl = call("GET", f"/nodes/{NODE}/_acl").json()
    assert acl["update"] == {"actors": [NODE, "pivotal"], "groups": ["admins", "users"]}
    assert acl["grant"] == {"actors": [NODE, "pivotal"], "groups": ["admins"]}
    assert acl["create"]["groups"] == acl["read"]["groups"] == ["admins", "clients", "users"]
    assert call("GET", "/nodes/nothing/_acl").json() == {"error": ["node 'nothing' not found"]}


def test_an_object_that_an_administrator_has_made_is_cured_by_a_grant_or_a_new_one(call, server, as_admin):
    server.put_node("granted", created_by="admin")
    server.put_node(NODE, created_by="admin")
    acl = {"update": {"actors": ["pivotal", NODE], "groups": ["admins", "users"]}}
    assert call("PUT", f"/nodes/{NODE}/_acl/update", json=acl).status_code == 403
    assert call("PUT", f"/nodes/{NODE}/_acl/update", json=acl, **as_admin).status_code == 200
    assert (may_save(call), may_grant(call)) == (True, False)
    assert call("DELETE", f"/nodes/{NODE}").status_code == 403
    assert call("DELETE", f"/nodes/{NODE}", **as_admin).status_code == 200
    assert call("POST", "/nodes", json={"name": NODE}).status_code == 201
    assert may_save(call) and may_grant(call)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"read": {"actors": [], "groups": []}}, "Invalid key read in request body"),
        ({}, "Field 'update' missing"),
        ({"update": {"actors": []}}, "Field 'groups' missing"),
        ({"update": {"actors": ["gone"], "groups": []}}, "The actor(s) 'gone' do not exist in this organization"),
    ],
)
def test_bad_change_of_an_access_control_list(call, body, says):
    answer = call("PUT", f"/nodes/{NODE}/_acl/update", json=body)
    assert (answer.status_code, says in answer.json()["error"][0]) == (400, True)


def test_a_client_made_anew_does_not_own_what_the_former_one_made(call, as_admin, as_validator, other_key):
    before = call("GET", f"/nodes/{NODE}/_acl").json()
    assert call("DELETE", f"/clients/{NODE}", **as_admin).status_code == 200
    assert call("GET", f"/nodes/{NODE}").status_code == 401
    made = call("POST", "/clients", json={"name": NODE, "public_key": pem_of(other_key)}, **as_validator)
    assert made.status_code == 201
    anew = {"key": other_key}
    assert call("GET", f"/nodes/{NODE}", **anew).status_code == 200
    assert (may_save(call, **anew), may_grant(call, **anew)) == (False, False)
    after = call("GET", f"/nodes/{NODE}/_acl", **as_admin).json()
    assert (before["update"]["actors"], after["update"]["actors"]) == ([NODE, "pivotal"], ["pivotal"])


def test_a_client_with_another_key_is_the_same_client(call, as_admin, other_key):
    body = {"name": NODE, "public_key": pem_of(other_key)}
    options = {"protocol": "1.1", "api_version": "0", **as_admin}
    assert call("PUT", f"/clients/{NODE}", json=body, **options).status_code == 200
    assert call("GET", f"/nodes/{NODE}").status_code == 401
    assert may_save(call, key=other_key)


def test_a_client_may_delete_itself(call):
    assert call("DELETE", f"/clients/{NODE}").json()["name"] == NODE
    assert call("GET", f"/clients/{NODE}").status_code == 401


def test_a_client_reads_itself_and_nobody_else(call, as_validator, node_key, server):
    itself = call("GET", f"/clients/{NODE}")
    kind = {"orgname": "default", "json_class": "Chef::ApiClient", "chef_type": "client"}
    assert itself.json() == {"name": NODE, "clientname": NODE, "validator": False, **kind}
    assert len(itself.content) < 250
    oldest = call("GET", f"/clients/{NODE}", protocol="1.1", api_version="0").json()
    assert oldest == {"public_key": pem_of(node_key), **itself.json()}
    validator = server.state.validator
    for user, name, status in [(NODE, validator, 403), (NODE, "nobody", 404), (validator, validator, 403)]:
        signs = as_validator if user == validator else {}
        assert call("GET", f"/clients/{name}", **signs).status_code == status, (user, name)


@pytest.fixture
def principal(session, server):
    def principal(name, organization="default", **more):
        headers = {**CHEF_HEADERS, "X-Ops-UserId": "anybody", **more}
        url = f"{server.url}/organizations/{organization}/principals/{name}"
        return session.get(url, headers=headers, timeout=5)

    return principal


def test_principals_are_public(principal, node_key):
    known = principal(NODE)
    assert CHEF in known.headers
    (found,) = known.json()["principals"]
    assert len(found.pop("authz_id")) == 32
    assert found == {"name": NODE, "public_key": pem_of(node_key), "type": "client", "org_member": True}
    assert principal(NODE, **{CHEF: "0"}).json()["name"] == NODE


def test_principals_that_are_not_there(principal):
    unknown, elsewhere = principal("nobody"), principal(NODE, organization="acme")
    for answer, kind, name in [(unknown, "principal", "nobody"), (elsewhere, "org", "acme")]:
        assert (answer.status_code, CHEF in answer.headers) == (404, True)
        assert answer.json() == {"not_found": kind, "error": f"Cannot find {kind} {name}"}


# Where there is a data collector.


def test_a_head_that_succeeds_crashes_the_report_to_a_data_collector(call, server):
    server.state.kind = AUTOMATE
    answer = call("HEAD", f"/nodes/{NODE}")
    assert (answer.status_code, CHEF in answer.headers, server.state.crashed_reports) == (200, False, 1)
    for method, path in [("HEAD", "/nodes/nothing"), ("GET", f"/nodes/{NODE}"), ("GET", f"/clients/{NODE}")]:
        assert CHEF in call(method, path).headers, path
    assert server.state.crashed_reports == 1


# Faults, from outside.

ANSWERS = {  # fault: status of the node object, of the status page, and what the former says
    None: (200, 200, NODE),
    Fault.STATUS_ALL_FAIL: (500, 500, "internal service error"),
    Fault.STATUS_SOME_FAIL: (200, 500, NODE),
    Fault.INDEX_DOWN: (200, 500, NODE),
    Fault.COLLECTOR_DOWN: (200, 500, NODE),
    Fault.BOOKSHELF_DOWN: (200, 200, NODE),
    Fault.DATABASE_BUSY: (503, 500, "Please contact support."),
    Fault.SERVER_ERROR: (500, 500, "internal service error"),
    Fault.HTML: (200, 200, "<html>"),
    Fault.EMPTY: (200, 200, ""),
    Fault.REDIRECT: (301, 301, ""),
    Fault.MAINTENANCE: (503, 503, "<html>"),
    Fault.CLOSED: (503, 200, "503 - Service Unavailable"),
    Fault.BACK_END_DOWN: (404, 404, "<html>"),
    Fault.CLIENT_CERTIFICATE: (400, 400, "<html>"),
    Fault.LICENCE: (403, 200, "invalid-license"),
    Fault.LICENCE_GRACE: (200, 200, NODE),
    Fault.UNAUTHORIZED_UNKNOWN_CLIENT: (401, 200, "Ensure that your node_name and client key are correct."),
    Fault.UNAUTHORIZED_BAD_SIGNATURE: (401, 200, f"Invalid signature for user or client '{NODE}'"),
    Fault.UNAUTHORIZED_CLOCK: (401, 200, "Synchronize the clock on your host."),
    Fault.FORBIDDEN: (403, 200, "missing read permission"),
    Fault.WRONG_ORGANIZATION: (404, 200, "organization 'default' does not exist."),
}
NOT_CHEF = {
    Fault.SERVER_ERROR,
    Fault.HTML,
    Fault.EMPTY,
    Fault.REDIRECT,
    Fault.MAINTENANCE,
    Fault.CLOSED,
    Fault.BACK_END_DOWN,
    Fault.CLIENT_CERTIFICATE,
}
TLS_ERRORS = {
    Fault.CERT_EXPIRED: "certificate has expired",
    Fault.CERT_FOREIGN: "unable to get local issuer certificate",
    Fault.CERT_WRONG_NAME: "IP address mismatch",
}
ERRORS: dict[Fault, tuple[Any, str]] = {
    Fault.REFUSE: (requests.ConnectionError, "Connection refused"),
    Fault.BLACK_HOLE: (requests.ConnectTimeout, "timed out"),
    Fault.SILENT: (requests.Timeout, "timed out"),
    Fault.TLS_SILENT: (requests.ReadTimeout, "timed out"),
    Fault.HUGE_HEADERS: (requests.ConnectionError, "100 headers"),
    Fault.CLIENT_CERTIFICATE_TLS: (requests.ConnectionError, "certificate required"),
    Fault.RESET_MID_BODY: (
        (requests.ConnectionError, requests.exceptions.ChunkedEncodingError),
        "reset|IncompleteRead",
    ),
}
ENDLESS = (Fault.DRIP, Fault.DRIP_BODY, Fault.ENDLESS_BODY)


def test_every_fault_is_observed():
    assert {*ANSWERS, *TLS_ERRORS, *ERRORS, *ENDLESS, Fault.RESET} == {None, *Fault}


@pytest.mark.parametrize("fault", ANSWERS)
def test_wrong_answers(call, session, server, fault):
    node_status, page_status, says = ANSWERS[fault]
    server.fault = fault
    node = call("GET", f"/nodes/{NODE}", allow_redirects=False)
    page = session.get(f"{server.url}/_status", timeout=5, allow_redirects=False)
    assert (node.status_code, page.status_code) == (node_status, page_status)
    assert says in node.text
    assert (CHEF in node.headers) == (fault not in NOT_CHEF)
    assert list(server.requests)[-2:] == [
        ("GET", f"/organizations/default/nodes/{NODE}", node_status),
        ("GET", "/_status", page_status),
    ]


def test_details_of_wrong_answers(call, session, server):
    for fault, is_grace in [(Fault.LICENCE, False), (Fault.LICENCE_GRACE, True)]:
        server.fault = fault
        assert json.loads(call("GET", f"/nodes/{NODE}").headers["X-Ops-License"])["gracePeriod"] is is_grace
        assert "X-Ops-License" not in session.get(f"{server.url}/_status", timeout=5).headers
    server.fault = Fault.REDIRECT
    answer = session.get(f"{server.url}/a?b", allow_redirects=False, timeout=5)
    assert answer.headers["Location"] == "https://elsewhere.example.com/a?b"
    server.fault = Fault.STATUS_SOME_FAIL
    page = session.get(f"{server.url}/_status", timeout=5).json()
    assert page["upstreams"] == {"chef_opensearch": "fail", "chef_sql": "pong", "oc_chef_authz": "pong"}
    server.fault = Fault.STATUS_ALL_FAIL
    page = session.get(f"{server.url}/_status", timeout=5).json()
    assert (page["status"], set(page["upstreams"].values())) == ("fail", {"fail"})


WRITES = [
    ("PUT", f"/nodes/{NODE}", {"name": NODE}),
    ("POST", "/nodes", {"name": "new"}),
    ("POST", "/nodes", {"name": NODE}),
    ("POST", "/clients", {"name": "new"}),
    ("PUT", f"/clients/{NODE}", {"name": NODE}),
]


@pytest.mark.parametrize(("kind", "fails"), [(INFRA_SERVER, True), (AUTOMATE, True), (OLD_SERVER, False)])
def test_nothing_is_saved_without_the_index(call, server, as_admin, kind, fails):
    server.state.kind = kind
    server.fault = Fault.INDEX_DOWN
    nodes = dict(server.state.nodes)
    for method, path, body in WRITES:
        answer = call(method, path, json=body, **as_admin)
        assert ((answer.status_code, answer.json()) == (500, {"error": ["internal service error"]})) == fails
        assert CHEF in answer.headers
    assert (server.state.nodes == nodes) == fails
    assert call("GET", f"/nodes/{NODE}/_acl").status_code == 200
    assert call("PUT", "/nodes/nothing", json={"name": "nothing"}).status_code == 404
    assert call("DELETE", f"/nodes/{NODE}", **as_admin).status_code == 200


def test_a_data_collector_that_is_down_harms_nothing(call, session, server, as_admin):
    server.state.kind = AUTOMATE
    server.fault = Fault.COLLECTOR_DOWN
    assert [call(*one[:2], json=one[2], **as_admin).status_code for one in WRITES] == [200, 201, 409, 201, 200]
    page = session.get(f"{server.url}/_status", timeout=5).json()
    assert page["upstreams"] == {
        "data_collector": "fail",
        "chef_opensearch": "pong",
        "chef_sql": "pong",
        "oc_chef_authz": "pong",
    }


def test_bookshelf_is_missed_by_who_fetches_a_file(session, server):
    url = f"{server.url}/bookshelf/organization-1/checksum-2"
    assert session.get(url, timeout=5).status_code == 403
    server.fault = Fault.BOOKSHELF_DOWN
    assert session.get(url, timeout=5).status_code == 404


def test_without_a_database_connection_principals_fail_otherwise(call, principal, server):
    server.fault = Fault.DATABASE_BUSY
    for answer in (principal(NODE), call("GET", f"/nodes/{NODE}/_acl")):
        assert (answer.status_code, CHEF in answer.headers) == (500, True)
    assert call("GET", f"/clients/{NODE}").status_code == 503


@pytest.mark.parametrize(("kind", "status"), [(INFRA_SERVER, 404), (AUTOMATE, 502)])
def test_nginx_before_a_dead_server(call, session, server, kind, status):
    server.state.kind = kind
    server.fault = Fault.BACK_END_DOWN
    for answer in (call("GET", f"/clients/{NODE}"), session.get(f"{server.url}/_status", timeout=5)):
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")
    assert session.get(server.url, timeout=5).status_code == 200


def test_principals_pass_by_no_maintenance_and_no_licence(principal, server):
    for fault, status in [(Fault.CLOSED, 503), (Fault.LICENCE, 403), (Fault.LICENCE_GRACE, 200)]:
        server.fault = fault
        answer = principal(NODE)
        assert (answer.status_code, "X-Ops-License" in answer.headers) == (status, fault is not Fault.CLOSED)


@pytest.mark.parametrize("fault", TLS_ERRORS)
def test_bad_certificates(call, server, fault):
    server.fault = fault
    with pytest.raises(requests.exceptions.SSLError, match=TLS_ERRORS[fault]):
        call("GET", f"/nodes/{NODE}")
    server.fault = None
    assert call("GET", f"/nodes/{NODE}").status_code == 200


@pytest.mark.parametrize("fault", ERRORS)
def test_broken_connections_and_recovery_on_the_same_port(call, server, fault):
    kind, says = ERRORS[fault]
    assert call("GET", f"/nodes/{NODE}").status_code == 200
    server.fault = fault
    for _ in range(2):
        with pytest.raises(kind, match=says):
            call("GET", f"/nodes/{NODE}", timeout=TIMEOUT_S)
    server.fault = None
    assert call("GET", f"/nodes/{NODE}").status_code == 200


def test_reset_on_accept(call, server):
    # Not by requests: Python's own ssl module leaks a descriptor when a server resets before the handshake begins.
    server.fault = Fault.RESET
    with socket.create_connection(("127.0.0.1", server.port), 5) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    server.fault = None
    assert call("GET", f"/nodes/{NODE}").status_code == 200


@pytest.mark.parametrize("fault", ENDLESS)
def test_answers_without_an_end(server, ca_file, fault):
    server.fault = fault
    with connect(server, ca_file) as channel:
        channel.sendall(b"GET /_status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        pieces = [channel.recv(65536) for _ in range(4)]
        server.fault = None  # ends it at once
        while channel.recv(1 << 20):
            pass
    received = b"".join(pieces)
    if fault is Fault.DRIP:
        assert b"\r\n\r\n" not in received
        assert received.endswith(b"xx")
    elif fault is Fault.DRIP_BODY:
        assert received.endswith(b"\r\n\r\n   ")
    else:
        assert len(received) > 0x4000


def test_black_hole_swallows_every_client(server):
    server.fault = Fault.BLACK_HOLE
    with_timeout = [socket.socket() for _ in range(20)]
    try:
        for client in with_timeout:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", server.port))
        with_timeout[-1].settimeout(TIMEOUT_S)
        with pytest.raises(TimeoutError), socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S):
            pass
        for client in with_timeout:
            with pytest.raises(OSError, match="not connected"):
                client.getpeername()
    finally:
        for client in with_timeout:
            client.close()


# The port, the connections, the threads.


def connect(server, ca_file):
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return secure(server.port, context, 5.0)


def secure(port, context, timeout_s):
    raw = socket.create_connection(("127.0.0.1", port), timeout_s)
    try:
        return context.wrap_socket(raw, server_hostname="localhost")
    except BaseException:
        raw.close()
        raise


def test_stop_and_start_on_the_same_port_with_the_same_state(call, server):
    assert call("GET", f"/nodes/{NODE}").status_code == 200
    port = server.port
    for _ in range(3):
        server.stop()
        assert server.open_connections == 0
        with pytest.raises(requests.ConnectionError, match="Connection refused"):
            call("GET", f"/nodes/{NODE}")
        server.start()
        server.start()
        assert server.port == port
        assert call("GET", f"/nodes/{NODE}").status_code == 200


def test_stop_cuts_a_request_under_way(server, ca_file):
    server.fault = Fault.TLS_SILENT
    with connect(server, ca_file) as channel:
        channel.sendall(b"GET /_status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: server.open_connections == 1)
        began = time.monotonic()
        server.stop()
        assert channel.recv(1) == b""
        assert time.monotonic() - began < 10


def test_a_fault_set_while_stopped_waits_for_the_start(call, server):
    server.stop()
    server.fault = Fault.MAINTENANCE
    server.start()
    assert call("GET", f"/nodes/{NODE}").status_code == 503


def test_kept_alive_connection_is_used_again(call, server):
    for _ in range(5):
        assert call("GET", f"/nodes/{NODE}").status_code == 200
    assert server.connections == 1


def test_fixed_port(authority):
    with DevServer("first", authority) as first:
        port = first.port
        with pytest.raises(OSError, match="in use"), DevServer("second", authority, port=port):
            pass
    with DevServer("second", authority, port=port) as second:
        assert second.url == f"https://127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["localhost", "::1"])
def test_other_hosts(authority, session, host):
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with DevServer("other", authority, host=host) as other:
        assert session.get(f"{other.url}/_status", timeout=5).status_code == 200


def test_nonsense_ends_one_connection_only(call, server, ca_file):
    with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while plain.recv(4096):
                pass
    for nonsense in (b"\0\0\0\r\n\r\n", b"PUT /x HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n"):
        with connect(server, ca_file) as channel:
            channel.sendall(nonsense)
            channel.recv(65536)
    assert call("GET", f"/nodes/{NODE}").status_code == 200


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("fault", [None, *Fault], ids=lambda fault: fault.name if fault else "none")
def test_nothing_leaks(authority, fault):
    gc.collect()  # what earlier tests left
    threads, files = threading.active_count(), descriptors()
    lenient = ssl.create_default_context(cadata=authority.ca_pem.decode())
    lenient.check_hostname = False
    lenient.verify_mode = ssl.CERT_NONE
    lenient.sslsocket_class = Channel  # or our own side would leak now and then
    with DevServer("leaky", authority) as server:
        server.fault = fault
        for number in range(100):
            visit(server.port, lenient, rudely=number % 2 == 0)
        until(lambda: server.open_connections == 0)
    assert (threading.active_count(), descriptors()) == (threads, files)


def visit(port, context, *, rudely):
    with socket.socket() as raw:
        raw.settimeout(0.005)  # never waits: a busy machine makes some visits end early, which is fine here
        try:
            raw.connect(("127.0.0.1", port))
            with context.wrap_socket(raw) as channel:
                channel.sendall(b"GET /_status HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if rudely:
                    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    channel.recv(65536)
        except OSError:
            pass


def test_serves_many_at_once_while_the_fault_changes(authority):
    context = ssl.create_default_context(cadata=authority.ca_pem.decode())
    context.sslsocket_class = Channel
    over = threading.Event()
    with DevServer("busy", authority) as server:

        def knock():
            while not over.is_set():
                try:
                    with secure(server.port, context, TIMEOUT_S) as channel:
                        channel.sendall(b"GET /_status HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        channel.recv(65536)
                except OSError:
                    pass

        clients = [threading.Thread(target=knock) for _ in range(4)]
        for client in clients:
            client.start()
        for fault in [*Fault, None]:
            server.fault = fault
        over.set()
        for client in clients:
            client.join()
        until(lambda: server.open_connections == 0)
        with secure(server.port, context, TIMEOUT_S) as channel:
            channel.sendall(b"GET /_status HTTP/1.0\r\n\r\n")
            assert channel.recv(65536).startswith(b"HTTP/1.1 200")
