"""What each answer of a real Chef server proves, and that nothing else passes for one."""

import datetime
import json
import string

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.chef.answers import (
    Answer,
    Finding,
    PolicyFound,
    judge_acl,
    judge_api_version,
    judge_client,
    judge_cookbooks,
    judge_environment,
    judge_listing,
    judge_named,
    judge_object,
    judge_one,
    judge_policy,
    judge_principal,
    judge_search,
    judge_status,
    key_of_principal,
    licence_notice,
    retry_after_s,
)
from chef_failover.model.model import Outcome

NODE = "i-0abc"
NOW = datetime.datetime(2026, 11, 22, 10, 0, 0, tzinfo=datetime.UTC)
JSON = {"content-type": "application/json"}
ERCHEF = JSON | {"x-ops-server-api-version": '{"min_version":"0","max_version":"2"}'}
GOIARDI = ERCHEF | {"x-goiardi": "yes"}
HTML = b"<!DOCTYPE html><html><head><title>Welcome</title></head></html>"
DEEP = b"[" * 200_000
LICENCE = {"error": "Your license has expired.", "message": "invalid-license"}
UNSIGNED_GOIARDI = {
    "error": ["Failed to authenticate as ''. Ensure that your node_name and client key are correct."],
}
NOT_CHEF = "not an answer of a Chef server"
EMPTY = (
    "HTTP 200 OK: empty body; no Chef API under /organizations/acme; for a server without organizations (goiardi, Chef"
    " 11) set organization: null"
)
MAINTENANCE = "HTTP 503 Service Unavailable: in maintenance, or refused by a proxy in front of it"
NO_CONNECTION = "HTTP 503 Service Unavailable: busy, no free database connection"
INDEX = "answers, but its search index fails ({}), so every run fails when it saves the node"


def answer(status, content=b"", headers=JSON, path=f"/organizations/acme/nodes/{NODE}"):
    return Answer(status, headers, content if isinstance(content, bytes) else json.dumps(content).encode(), path)


def said(finding):
    return (finding.outcome, finding.detail) if finding else None


def page(status, **upstreams):
    """The status page of erchef, as it stands in chef_wm_status.erl."""
    healthy = {"chef_opensearch": "pong", "chef_sql": "pong", "oc_chef_authz": "pong"}
    keygen = {"keys": 10, "max": 10, "max_workers": 2, "cur_max_workers": 2, "inflight": 0, "avail_workers": 2}
    return {"status": status, "upstreams": healthy | upstreams, "keygen": keygen, "indexing": {"mailbox_length": 0}}


# No signature: the status page, or server_api_version.

UNSIGNED = [  # what every unsigned question has in common
    (answer(401, UNSIGNED_GOIARDI), Outcome.OK, ""),
    (answer(400, {"error": ["missing required authentication header(s) 'X-Ops-UserId'"]}), Outcome.OK, ""),
    (answer(401, HTML, {}), Outcome.NOT_CHEF, f"HTTP 401 Unauthorized: {NOT_CHEF}"),
    (answer(401, {"message": "log in"}), Outcome.NOT_CHEF, f"HTTP 401 Unauthorized: {NOT_CHEF}"),
    (answer(200, HTML, {}), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
    (answer(200, b"", GOIARDI), Outcome.NOT_CHEF, EMPTY),
    (answer(200, {}), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
    (answer(200, b'["pong"]'), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
    (answer(200, DEEP), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
    (answer(200, b"\xff\xfe{"), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
    (answer(200, b"", path=f"/nodes/{NODE}"), Outcome.NOT_CHEF, "HTTP 200 OK: empty body"),
    (answer(204), Outcome.NOT_CHEF, "HTTP 204 No Content: empty body"),
    (
        answer(301, b"", {"location": "https://elsewhere.example.com/"}),
        Outcome.NOT_CHEF,
        "HTTP 301 Moved Permanently: redirects, which a Chef server never does",
    ),
    (answer(403, LICENCE), Outcome.LICENCE, "HTTP 403 Forbidden: the server's Chef licence is not valid"),
    (answer(403, {"error": "no"}), Outcome.SERVER_ERROR, "HTTP 403 Forbidden: no"),
    (
        answer(406, {"error": "invalid-x-ops-server-api-version", "min_version": 0, "max_version": 2}),
        Outcome.SERVER_ERROR,
        "HTTP 406 Not Acceptable: invalid-x-ops-server-api-version",
    ),
    (answer(500, {"error": ["internal"]}), Outcome.SERVER_ERROR, "HTTP 500 Internal Server Error"),
    (answer(502, HTML, {}), Outcome.SERVER_ERROR, "HTTP 502 Bad Gateway"),
    (answer(599), Outcome.SERVER_ERROR, "HTTP 599"),
    (answer(503, HTML, {}), Outcome.MAINTENANCE, MAINTENANCE),
    (answer(503, {"error": "503"}), Outcome.MAINTENANCE, MAINTENANCE),
    (answer(503, {"error": ["x"]}, ERCHEF), Outcome.BUSY, NO_CONNECTION),
    (answer(429), Outcome.BUSY, "HTTP 429 Too Many Requests: busy"),
    (
        answer(400, b"<html><head><title>400 No required SSL certificate was sent</title></head></html>", {}),
        Outcome.TLS,
        "HTTP 400 Bad Request: its front end demands a client certificate, and the sidecar has none",
    ),
]

STATUS = [
    (answer(200, page("pong")), Outcome.OK, ""),
    (answer(200, page("pong", chef_elasticsearch="pong", data_collector="pong")), Outcome.OK, ""),
    (answer(200, {"status": "pong"}), Outcome.OK, ""),
    (answer(500, page("fail", chef_opensearch="fail")), Outcome.DEGRADED, INDEX.format("chef_opensearch")),
    (
        answer(500, page("fail", data_collector="fail", chef_solr="fail")),
        Outcome.DEGRADED,
        INDEX.format("chef_solr"),
    ),
    (
        answer(500, page("fail", data_collector="fail")),
        Outcome.OK,
        "answers; its status page reports data_collector, which no run needs",
    ),
    (answer(200, page("pong", chef_solr="fail")), Outcome.DEGRADED, INDEX.format("chef_solr")),
    (answer(500, page("fail")), Outcome.DEGRADED, "answers, but its status page reports a failure"),
    (answer(500, page("fail", chef_sql="fail")), Outcome.SERVER_ERROR, "its status page reports failures: chef_sql"),
    (
        answer(500, page("fail", oc_chef_authz="fail")),
        Outcome.SERVER_ERROR,
        "its status page reports failures: oc_chef_authz",
    ),
    (answer(500, {"upstreams": {}}), Outcome.SERVER_ERROR, "its status page reports failures: unnamed"),
    (
        answer(500, page("fail", **{"a\nb\x1b[2J": "fail"})),
        Outcome.DEGRADED,
        INDEX.format("a b [2J"),
    ),
    (answer(500, {"upstreams": ["chef_sql"]}), Outcome.SERVER_ERROR, "HTTP 500 Internal Server Error"),
    (answer(503, page("fail")), Outcome.MAINTENANCE, MAINTENANCE),
    (answer(200, {"status": "fail"}), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
]


@pytest.mark.parametrize(("given_answer", "outcome", "detail"), STATUS + UNSIGNED)
def test_status(given_answer, outcome, detail):
    assert said(judge_status(given_answer)) == (outcome, detail)


@pytest.mark.parametrize(
    ("status", "upstreams", "fails"),
    [
        (200, {}, False),
        (500, {"chef_opensearch": "fail"}, True),
        (500, {"chef_elasticsearch": "fail", "chef_sql": "fail"}, True),
        (500, {"chef_sql": "fail"}, False),
        (500, {"data_collector": "fail"}, False),
        (500, {}, False),
    ],
)
def test_status_tells_whether_the_index_fails(status, upstreams, fails):
    assert judge_status(answer(status, page("pong", **upstreams))).index_fails is fails


def test_what_has_no_upstreams_does_not_tell_of_the_index():
    assert judge_status(answer(200, {"status": "pong"})).index_fails is None
    assert judge_status(answer(401, UNSIGNED_GOIARDI)).index_fails is None


@pytest.mark.parametrize("content", [b"", HTML, {"error": ["No such path"]}])
def test_no_status_page(content):
    assert judge_status(answer(404, content)) is None


@pytest.mark.parametrize(
    ("given_answer", "outcome", "detail"),
    [
        (answer(200, {"min_api_version": 0, "max_api_version": 2}), Outcome.OK, ""),
        (answer(404, HTML, {}), Outcome.NOT_CHEF, f"HTTP 404 Not Found: {NOT_CHEF}"),
        (answer(404, {"error": "Not Found"}), Outcome.SERVER_ERROR, "HTTP 404 Not Found: Not Found"),
        *UNSIGNED,
    ],
)
def test_api_version(given_answer, outcome, detail):
    assert said(judge_api_version(given_answer)) == (outcome, detail)


def test_a_long_list_of_upstreams_is_cut():
    detail = judge_status(answer(500, page("fail", **{"x" * 5000: "fail"}))).detail
    assert 300 <= len(detail) < 400


# The principal, unsigned; the client, and the default environment, signed.

NO_PRINCIPAL = {"not_found": "principal", "error": f"Cannot find principal {NODE}"}
"""As in chef_wm_named_principal.erl."""
NO_ORG = {"not_found": "org", "error": "Cannot find org acme"}
NOT_FOUND_PAGE = b"<!DOCTYPE html>\n<html><head><title>Chef - 404 Not Found</title></head></html>"
NO_READ = {"error": ["missing read permission"]}
STRANGE = (Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}")
BEHIND = "HTTP 404 Not Found: nginx answers, but the Chef server behind it does not"
UPPER = "HTTP 404: invalid organization name 'Acme': use lower-case letters"


def of(kind, status, content=b"", *, name=NODE, organization="acme", headers=JSON):
    return answer(status, content, headers, path=f"/organizations/{organization}/{kind}/{name}")


@pytest.mark.parametrize(
    ("given_answer", "expected"),
    [
        (of("principals", 200, {"principals": [{"name": NODE, "type": "client"}]}), (Outcome.OK, "")),
        (of("principals", 200, {"name": NODE}), (Outcome.OK, "")),
        (of("principals", 200, {"principals": [{"name": "another"}]}), STRANGE),
        (of("principals", 200, {"principals": 3}), STRANGE),
        (of("principals", 404, NO_PRINCIPAL), (Outcome.OK, "")),
        (of("principals", 404, {"error": [f"Neither a client nor a user named '{NODE}' found."]}), (Outcome.OK, "")),
        (of("principals", 404, NO_ORG), (Outcome.WRONG_ORGANIZATION, "HTTP 404: Cannot find org acme")),
        (
            of("principals", 404, NO_ORG | {"error": "Cannot find org acme"}, name="org"),
            (Outcome.WRONG_ORGANIZATION, "HTTP 404: Cannot find org acme"),
        ),
        (
            of("principals", 404, {"error": ["organization 'acme' does not exist."]}),
            (Outcome.WRONG_ORGANIZATION, "HTTP 404: organization 'acme' does not exist."),
        ),
        (of("principals", 404, NOT_FOUND_PAGE, organization="Acme"), (Outcome.WRONG_ORGANIZATION, UPPER)),
        (of("principals", 404, NOT_FOUND_PAGE), None),
        (of("principals", 404, HTML), None),
        (answer(404, HTML, path=f"/principals/{NODE}"), None),
        (of("principals", 404, {"error": "Not Found"}), None),
    ],
)
def test_principal(given_answer, expected):
    assert said(judge_principal(given_answer, given_answer.path.rpartition("/")[2])) == expected


@pytest.mark.parametrize(("given_answer", "outcome", "detail"), UNSIGNED)
def test_whatever_else_is_said_to_the_question_for_the_principal(given_answer, outcome, detail):
    assert said(judge_principal(given_answer, NODE)) == (outcome, detail)


@pytest.mark.parametrize(
    ("given_answer", "outcome", "detail"),
    [
        (of("clients", 200, {"name": NODE, "clientname": NODE, "validator": False}), Outcome.OK, ""),
        (of("clients", 200, {"name": "another"}), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
        (of("clients", 200, b"", headers=GOIARDI), Outcome.NOT_CHEF, EMPTY),
        (
            of("clients", 404, {"error": [f"Cannot load client {NODE}"]}),
            Outcome.NOT_ASSOCIATED,
            f"HTTP 404: Cannot load client {NODE}",
        ),
        (
            of("clients", 404, {"error": ["organization 'acme' does not exist."]}),
            Outcome.WRONG_ORGANIZATION,
            "HTTP 404: organization 'acme' does not exist.",
        ),
        (of("clients", 403, NO_READ), Outcome.FORBIDDEN, "HTTP 403: missing read permission"),
        (of("clients", 404, NOT_FOUND_PAGE), Outcome.SERVER_ERROR, BEHIND),
        (of("clients", 404, NOT_FOUND_PAGE, organization="Acme"), Outcome.WRONG_ORGANIZATION, UPPER),
        (answer(404, NOT_FOUND_PAGE, path=f"/clients/{NODE}"), Outcome.SERVER_ERROR, BEHIND),
        (of("clients", 404, HTML), Outcome.NOT_CHEF, f"HTTP 404 Not Found: {NOT_CHEF}"),
        (of("clients", 502, NOT_FOUND_PAGE), Outcome.SERVER_ERROR, "HTTP 502 Bad Gateway"),
    ],
)
def test_client(given_answer, outcome, detail):
    assert said(judge_client(given_answer, NODE, NOW)) == (outcome, detail)


@pytest.mark.parametrize(
    ("given_answer", "outcome"),
    [
        (of("environments", 200, {"name": "_default"}, name="_default"), Outcome.OK),
        (of("environments", 200, {"name": "another"}, name="_default"), Outcome.NOT_CHEF),
        (of("environments", 401, {"error": ["Invalid signature"]}, name="_default"), Outcome.NOT_ASSOCIATED),
        (of("environments", 403, NO_READ, name="_default"), Outcome.FORBIDDEN),
    ],
)
def test_default_environment(given_answer, outcome):
    assert judge_environment(given_answer, "_default", NODE, NOW).outcome is outcome


@pytest.mark.parametrize(
    ("status", "header", "notice"),
    [
        (200, '{"gracePeriod": true, "warningMessage": "It ends\\non Monday."}', "It ends on Monday."),
        (404, '{"gracePeriod": true, "warningMessage": "It ends."}', "It ends."),
        (200, '{"gracePeriod": true}', "no end date given"),
        (200, '{"gracePeriod": true, "warningMessage": 3}', "no end date given"),
        (200, '{"gracePeriod": "true", "warningMessage": "It ends."}', None),
        (200, '{"gracePeriod": false, "warningMessage": "It is over."}', None),
        (403, '{"gracePeriod": true, "warningMessage": "It ends."}', None),
        (200, "[]", None),
        (200, "[" * 100_000, None),
        (200, "yes", None),
    ],
)
def test_the_grace_period_of_a_licence(status, header, notice):
    assert licence_notice(answer(status, {}, {"x-ops-license": header})) == notice


def test_no_licence_is_no_notice():
    assert licence_notice(answer(200, {})) is None


# GET of the node object.

UNKNOWN_CLIENT = f"Failed to authenticate as '{NODE}'. Ensure that your node_name and client key are correct."
WRONG_KEY = f"Invalid signature for user or client '{NODE}'"
NO_ORGANIZATION = "organization 'acme' does not exist."

NODES = [
    (answer(200, {"name": NODE, "run_list": []}), Outcome.OK, ""),
    (answer(200, {"name": "another"}), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
    (answer(200, {"name": None}), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
    (answer(200, b"", GOIARDI), Outcome.NOT_CHEF, EMPTY),
    (answer(200, HTML), Outcome.NOT_CHEF, f"HTTP 200 OK: {NOT_CHEF}"),
    (answer(401, {"error": [UNKNOWN_CLIENT]}), Outcome.NOT_ASSOCIATED, f"HTTP 401: {UNKNOWN_CLIENT}"),
    (answer(401, {"error": [WRONG_KEY]}), Outcome.NOT_ASSOCIATED, f"HTTP 401: {WRONG_KEY}"),
    (
        answer(401, {"error": ["crypto/rsa: verification error"]}, GOIARDI),
        Outcome.NOT_ASSOCIATED,
        "HTTP 401: crypto/rsa: verification error",
    ),
    (answer(401, HTML), Outcome.NOT_CHEF, f"HTTP 401 Unauthorized: {NOT_CHEF}"),
    (answer(401, {"error": {"a": 1}}), Outcome.NOT_ASSOCIATED, "HTTP 401: no reason given"),
    (answer(401, {"error": []}), Outcome.NOT_ASSOCIATED, "HTTP 401: no reason given"),
    (answer(401, {"error": "a\nb\ud800\x07c"}), Outcome.NOT_ASSOCIATED, "HTTP 401: a b c"),
    (answer(401, {"error": "x" * 999}), Outcome.NOT_ASSOCIATED, "HTTP 401: " + "x" * 300),
    (
        answer(403, {"error": ["missing read permission"]}),
        Outcome.FORBIDDEN,
        "HTTP 403: missing read permission",
    ),
    (answer(403, LICENCE), Outcome.LICENCE, "HTTP 403 Forbidden: the server's Chef licence is not valid"),
    (answer(403, HTML), Outcome.NOT_CHEF, f"HTTP 403 Forbidden: {NOT_CHEF}"),
    (answer(404, {"error": [NO_ORGANIZATION]}), Outcome.WRONG_ORGANIZATION, f"HTTP 404: {NO_ORGANIZATION}"),
    (answer(404, HTML), Outcome.NOT_CHEF, f"HTTP 404 Not Found: {NOT_CHEF}"),
    # A proxy in front of something else: not one word of the node.
    (answer(404, {"error": "Not Found"}), Outcome.SERVER_ERROR, "HTTP 404 Not Found: Not Found"),
    (
        answer(400, {"error": ["Unsupported authentication protocol version"]}),
        Outcome.SERVER_ERROR,
        "HTTP 400 Bad Request: Unsupported authentication protocol version",
    ),
    (answer(409, {"error": "busy"}), Outcome.SERVER_ERROR, "HTTP 409 Conflict: busy"),
    (answer(500, {"error": ["internal service error"]}), Outcome.SERVER_ERROR, "HTTP 500 Internal Server Error"),
    (
        answer(302, {"error": "x"}),
        Outcome.NOT_CHEF,
        "HTTP 302 Found: redirects, which a Chef server never does",
    ),
    (answer(503, {"error": "x"}), Outcome.MAINTENANCE, MAINTENANCE),
    (answer(503, {"error": "x"}, ERCHEF), Outcome.BUSY, NO_CONNECTION),
]


@pytest.mark.parametrize(("given_answer", "outcome", "detail"), NODES)
def test_node(given_answer, outcome, detail):
    finding = judge_one(given_answer, NODE, NODE, NOW)
    assert said(finding) == (outcome, detail)
    assert finding.has_node_object


def test_node_not_there():
    finding = judge_one(answer(404, {"error": [f"node '{NODE}' not found"]}), NODE, NODE, NOW)
    assert finding == Finding(Outcome.OK, f"answers, but has no node object {NODE}", has_node_object=False)


@pytest.mark.parametrize(
    ("name", "status", "text", "outcome"),
    [
        ("organization-db", 404, "node 'organization-db' not found", Outcome.OK),
        ("organization-db", 404, NO_ORGANIZATION, Outcome.WRONG_ORGANIZATION),
        ("o", 404, NO_ORGANIZATION, Outcome.WRONG_ORGANIZATION),
        # As the organization is called, too: what kind of thing is missing tells.
        ("acme", 404, NO_ORGANIZATION, Outcome.WRONG_ORGANIZATION),
        ("acme", 404, "node 'acme' not found", Outcome.OK),
        ("acme", 404, "Node 'acme' not found", Outcome.OK),
        ("exist", 404, NO_ORGANIZATION, Outcome.WRONG_ORGANIZATION),
        ("organization", 404, NO_ORGANIZATION, Outcome.WRONG_ORGANIZATION),
        ("web", 404, "node 'web-2' not found", Outcome.SERVER_ERROR),
        ("web", 404, "Object not found: https://chef/organizations/acme/nodes/web", Outcome.OK),
        ("web.acme.com", 404, "node 'web.acme.com' not found", Outcome.OK),
        ("clockwork", 401, "Invalid signature for user or client 'clockwork'", Outcome.NOT_ASSOCIATED),
        ("clockwork", 401, "Failed to authenticate as clockwork. Synchronize the clock.", Outcome.CLOCK_SKEW),
    ],
)
def test_the_name_of_a_node_is_no_hint(name, status, text, outcome):
    given_answer = answer(status, {"error": [text]}, path=f"/organizations/acme/nodes/{name}")
    assert judge_one(given_answer, name, name, NOW).outcome is outcome


@pytest.mark.parametrize(
    ("date", "outcome"),
    [
        ("Sun, 22 Nov 2026 09:40:00 GMT", Outcome.CLOCK_SKEW),
        ("Sun, 22 Nov 2026 10:14:00 GMT", Outcome.NOT_ASSOCIATED),
        ("yesterday", Outcome.NOT_ASSOCIATED),
    ],
)
def test_clocks_that_are_apart_are_seen_whatever_the_words(date, outcome):
    assert judge_one(answer(401, {"error": ["no"]}, {"date": date}), NODE, NODE, NOW).outcome is outcome


@pytest.mark.parametrize(
    "text",
    [
        f"Failed to authenticate as {NODE}. Synchronize the clock on your host.",
        "Authentication failed. Please check your system's clock.",
    ],
)
@pytest.mark.parametrize(
    ("headers", "theirs"),
    [
        ({"date": "Sun, 22 Nov 2026 08:30:00 GMT"}, ", the server's 2026-11-22 08:30:00 UTC"),
        ({"date": "Sun, 22 Nov 2026 08:30:00 +0200"}, ", the server's 2026-11-22 06:30:00 UTC"),
        ({"date": "yesterday"}, "; the server refuses it"),
        ({"date": "Fri, 31 Dec 9999 23:59:59 -2300"}, "; the server refuses it"),
        ({}, "; the server refuses it"),
    ],
)
def test_both_clocks_are_named(text, headers, theirs):
    finding = judge_one(answer(401, {"error": [text]}, headers), NODE, NODE, NOW)
    assert said(finding) == (
        Outcome.CLOCK_SKEW,
        f"clock skew: this node's clock says 2026-11-22 10:00:00 UTC{theirs}",
    )


# Garbage.

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_CHEFFY = st.fixed_dictionaries(
    {},
    optional={
        "error": _JSON,
        "message": st.sampled_from(["invalid-license", 1]),
        "name": st.sampled_from([NODE, "x", None]),
        "status": st.sampled_from(["pong", "fail", []]),
        "upstreams": _JSON | st.dictionaries(st.sampled_from(["chef_sql", "oc_chef_authz", ""]), _JSON),
        "min_api_version": _JSON,
        "principals": _JSON | st.just([{"name": NODE}]),
        "not_found": _JSON | st.sampled_from(["org", "principal"]),
    },
)
_BODIES = (
    st.binary()
    | _JSON.map(lambda value: json.dumps(value).encode())
    | _CHEFFY.map(lambda value: json.dumps(value).encode())
)
_DATES = st.text(max_size=30) | st.text(alphabet=string.digits + " :+-,JanMonGT", max_size=40)
_LICENCES = st.fixed_dictionaries({"gracePeriod": _JSON | st.just(True)}, optional={"warningMessage": _JSON})
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "date": _DATES,
        "content-type": st.text() | st.just("application/json"),
        "x-ops-license": st.text() | _LICENCES.map(json.dumps),
    },
)
ANSWERS = st.builds(
    Answer, st.integers(0, 999) | st.sampled_from([200, 401, 403, 404, 500]), _HEADERS | st.just(ERCHEF), _BODIES
)


def judged(odd):
    """By every judge."""
    return [
        judge_status(odd),
        judge_api_version(odd),
        judge_principal(odd, NODE),
        judge_client(odd, NODE, NOW),
        judge_environment(odd, "_default", NODE, NOW),
        judge_one(odd, NODE, NODE, NOW),
    ]


@given(ANSWERS)
def test_no_answer_is_too_odd_to_be_judged(odd):
    assert all(finding.detail.isprintable() for finding in judged(odd) if finding)
    notice = licence_notice(odd)
    assert notice is None or notice.isprintable()


@given(st.binary(), st.integers(200, 599))
def test_no_body_without_its_words_is_a_success(body, status):
    """Random bytes never spell Chef's JSON, so no judge may be content with them."""
    odd = Answer(status, {"content-type": "text/html"}, b"<" + body)
    for finding in judged(odd):
        assert finding is None or not finding.outcome.is_alive


@given(st.binary(max_size=20).map(lambda seed: {"date": seed.decode("latin-1")}))
def test_no_date_is_too_odd(headers):
    skewed = answer(401, {"error": ["check your clock"]}, headers)
    assert judge_one(skewed, NODE, NODE, NOW).outcome is Outcome.CLOCK_SKEW


@pytest.mark.parametrize(
    ("given_answer", "is_there"),
    [
        (answer(200, {"name": "staging", "chef_type": "environment"}), True),
        (answer(200, {"name": "another"}), None),
        (answer(200), None),  # goiardi 0.11, to a path that it does not know
        (answer(404, {"error": ["Cannot load environment staging"]}), False),
        (answer(404, {"error": ["Object not found: https://chef/organizations/x/environments/staging"]}), False),
        (answer(404, {"error": ["Cannot load environment staging-2"]}), None),
        (answer(404, {"error": ["Not found"]}), None),
        (answer(404, {"error": ["organization 'staging' does not exist."]}), None),
        (answer(404, {"message": "no such page"}), None),
        (answer(404), None),
        (answer(403, {"error": ["missing read permission"]}), None),
        (answer(500, {"error": ["staging"]}), None),
    ],
)
def test_whether_an_environment_is_there(given_answer, is_there):
    asked = attrs.evolve(given_answer, path="/organizations/staging/environments/staging")
    assert judge_named(asked, "staging") is is_there


def group(**policies):
    return {"uri": "https://chef/policy_groups/production", "policies": policies}


@pytest.mark.parametrize(
    ("given_answer", "found"),
    [
        (answer(200, group(webserver={"revision_id": "1a2b"}, db={"revision_id": "3"})), PolicyFound(True, "1a2b")),
        (answer(200, group(db={"revision_id": "3"})), PolicyFound(False)),
        (answer(200, group()), PolicyFound(False)),
        (answer(404, {"error": ["policy_group 'production' not found"]}), PolicyFound(False)),
        (  # chef-zero
            answer(
                404,
                {"error": ["Object not found: https://chef/organizations/default/policy_groups/production/policies"]},
            ),
            PolicyFound(False),
        ),
        (answer(200, group(webserver="1a2b")), PolicyFound()),
        (answer(200, group(webserver={})), PolicyFound()),
        (answer(200, group(webserver={"revision_id": 5})), PolicyFound()),
        (answer(200, group(webserver={"revision_id": ""})), PolicyFound()),
        (answer(200, group(webserver={"revision_id": "1\n2"})), PolicyFound()),
        (answer(200, group(webserver={"revision_id": "x" * 256})), PolicyFound()),
        (answer(200, {"policies": ["webserver"]}), PolicyFound()),
        (answer(200, {"uri": "production"}), PolicyFound()),
        (answer(200), PolicyFound()),  # goiardi 0.11 knows no policies
        (answer(200, b"[" * 100_000), PolicyFound()),
        (answer(404, {"error": ["organization 'production' does not exist."]}), PolicyFound()),
        (answer(404, {"error": ["Not found"]}), PolicyFound()),
        (answer(403, {"error": ["missing read permission"]}), PolicyFound()),
        (answer(500, group(webserver={"revision_id": "1a2b"})), PolicyFound()),
    ],
    ids=lambda value: None,
)
def test_what_a_policy_group_says_of_a_policy(given_answer, found):
    asked = attrs.evolve(given_answer, path="/organizations/production/policy_groups/production")
    assert judge_policy(asked, "production", "webserver") == found


@pytest.mark.parametrize(
    ("content", "versions"),
    [
        ({"web": "https://chef/cookbooks/web/1.10.0", "x_y-z": "/x/0.1"}, {"web": "1.10.0", "x_y-z": "0.1"}),
        (
            {"web": {"versions": [{"version": "1.2.0"}, {"version": "1.1.0"}]}, "old": {"versions": []}},
            {"web": "1.2.0"},
        ),
        ({}, {}),
        ({"web": ""}, None),
        ({"web": "https://chef/cookbooks/web/latest"}, None),
        ({"web": "https://chef/cookbooks/web/"}, None),
        ({"a b": "https://chef/cookbooks/a b/1.0.0"}, None),
        ({"web": {"versions": [{"version": ""}]}}, None),
        ({"web": {"versions": [{}]}}, None),
        ({"web": {"versions": ["1.0.0"]}}, None),
        ({"web": {"versions": 1}}, None),
        ({"web": {}}, None),
        ({"web": None}, None),
        ({f"c{number}": "/1.0.0" for number in range(5001)}, None),
    ],
    ids=lambda value: None,
)
def test_which_versions_of_cookbooks_there_are(content, versions):
    assert judge_cookbooks(answer(200, content)) == versions
    assert judge_cookbooks(answer(403, content)) is None


REFUSED = answer(403, {"error": ["missing read permission"]})


@pytest.mark.parametrize(
    ("judge", "given_answer", "outcome"),
    [
        (judge_search, answer(200, {"total": 2, "start": 0, "rows": [{}]}), Outcome.OK),
        (judge_search, answer(200, {"total": 0, "rows": []}), Outcome.OK),
        (judge_search, answer(200, {"total": -1, "rows": []}), Outcome.NOT_CHEF),
        (judge_search, answer(200, {"total": "2", "rows": []}), Outcome.NOT_CHEF),
        (judge_search, answer(200, {"total": 2, "rows": {}}), Outcome.NOT_CHEF),
        (judge_search, answer(200, HTML), Outcome.NOT_CHEF),
        (judge_search, REFUSED, Outcome.FORBIDDEN),
        (judge_listing, answer(200, {"web-1": "https://chef.example.com/nodes/web-1"}), Outcome.OK),
        (judge_listing, answer(200, {}), Outcome.OK),
        (judge_listing, answer(200, {"web-1": {}}), Outcome.NOT_CHEF),
        (judge_listing, answer(200), Outcome.NOT_CHEF),
        (judge_listing, answer(500, {"error": ["internal service error"]}), Outcome.SERVER_ERROR),
        (judge_object, answer(200, {}), Outcome.OK),
        (judge_object, answer(200), Outcome.NOT_CHEF),
        (judge_object, answer(200, b"[]"), Outcome.NOT_CHEF),
        (judge_object, REFUSED, Outcome.FORBIDDEN),
    ],
)
def test_what_a_report_on_all_nodes_is_answered(judge, given_answer, outcome):
    assert judge(given_answer, "alice", NOW).outcome is outcome


ACL = {"actors": ["pivotal", NODE], "groups": ["admins"]}


@pytest.mark.parametrize(
    ("given_answer", "told"),
    [
        (answer(200, {"update": ACL, "grant": ACL}), (True, True)),
        (answer(200, {"update": ACL | {"actors": ["pivotal"]}, "grant": ACL}), (True, None)),
        (answer(200, {"update": {"groups": []}, "grant": ACL}), (True, None)),
        (answer(403, {"error": ["missing read permission"]}), (True, False)),
        (answer(404, {"error": [f"node '{NODE}' not found"]}), (False, None)),
        (answer(403, LICENCE), (None, None)),
        (answer(403, b"<html></html>"), (None, None)),
        (answer(401, {"error": ["Invalid signature"]}), (None, None)),
        (answer(404, {"error": ["node 'i-0abc/_acl' not found"]}), (None, None)),
        (answer(405, b""), (None, None)),
        (answer(501, b""), (None, None)),
        (answer(200, b""), (None, None)),
        (answer(200, {"update": []}), (None, None)),
        (answer(200, b"[1]"), (None, None)),
    ],
)
def test_what_the_list_of_rights_says_of_saving(given_answer, told):
    assert judge_acl(given_answer, NODE) == told


PEM = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize(
    ("told", "key"),
    [
        (answer(200, {"principals": [{"name": "web-1", "type": "client", "public_key": PEM}]}), PEM),
        (answer(200, {"name": "web-1", "type": "client", "public_key": PEM}), PEM),
        (answer(200, {"name": "web-1", "type": "client", "public_key": PEM.replace("PUBLIC", "RSA PUBLIC")}), None),
        (answer(200, {"name": "web-1", "type": "client"}), None),
        (answer(200, {"principals": [{"name": "web-1", "type": "user", "public_key": PEM}]}), ""),
        (answer(200, {"principals": "none"}), ""),
        (answer(200), None),
        (answer(404, {"not_found": "principal", "error": "Cannot find principal web-1"}), ""),
        (answer(404, {"not_found": "org", "error": "Cannot find org web-1"}), None),
        (answer(500, {"error": ["internal"]}), None),
    ],
)
def test_the_key_by_which_a_server_knows_a_client(told, key):
    assert key_of_principal(told, "web-1") == key


DATE = "Sun, 22 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "expected_s"),
    [
        (503, {"retry-after": "120"}, 120.0),
        (429, {"retry-after": " 120 "}, 120.0),
        (429, {"retry-after": "9" * 400}, 3600.0),
        (200, {"retry-after": "120"}, 0.0),
        (500, {"retry-after": "120"}, 0.0),
        (503, {}, 0.0),
        (503, {"retry-after": "1.5"}, 0.0),
        (503, {"retry-after": "Sun, 22 Nov 2026 10:02:00 GMT", "date": DATE}, 120.0),
        (503, {"retry-after": "Sun, 22 Nov 2026 09:58:00 GMT", "date": DATE}, 0.0),
        (503, {"retry-after": "Sun, 22 Nov 2099 10:00:00 GMT", "date": DATE}, 3600.0),
        (503, {"retry-after": "Sun, 22 Nov 2026 10:02:00 GMT"}, 0.0),
        (503, {"retry-after": "Sun, 99 Nov 2026 10:02:00 GMT", "date": DATE}, 0.0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(status, headers, expected_s):
    assert retry_after_s(answer(status, headers=headers)) == expected_s


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_word_of_a_server_keeps_this_node_away_for_longer_than_an_hour(asked, date):
    assert 0 <= retry_after_s(answer(503, headers={"retry-after": asked, "date": date})) <= 3600
