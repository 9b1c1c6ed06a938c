"""A Chef server that is nothing but the answers a test makes for it; `sent` tells what it was asked."""

from chef_devserver.authentication import malformed, unauthorized
from chef_devserver.messages import Request
from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.trust import TrustStore

ROOT = "https://chef.example.com"
URL = f"{ROOT}/organizations/acme"
UNKNOWN_CLIENT = {
    "error": ["Failed to authenticate as 'i-0abc'. Ensure that your node_name and client key are correct."]
}
CLOCK = {"error": ["Failed to authenticate as i-0abc. Synchronize the clock on your host."]}
LICENCE = {"error": "Your license has expired.", "message": "invalid-license"}
NO_READ = {"error": ["missing read permission"]}
PONG = {"chef_sql": "pong", "oc_chef_authz": "pong", "chef_opensearch": "pong"}
NO_ORGANIZATION = {"error": ["organization 'acme' does not exist."]}
_TRUST = TrustStore(())


def made_up(node_name=""):
    """How to reach it; the fixture ``chef`` answers."""
    return ChefServer(Target(URL, 5.0, node_name=node_name), Resolver(), _TRUST)


def sent(chef):
    """What it was asked: method and path below the organization, or from the root."""
    asked = [(call.request.method, call.request.url) for call in chef.calls]
    return [(method, url.removeprefix(f"{URL}/").removeprefix(ROOT)) for method, url in asked]


def check_signature(request, protocol, user, key, now):
    """``request`` is signed over all that it is, as a Chef server checks it."""
    body = request.body or b""
    arrived = Request(
        request.method, request.path_url, {name.lower(): request.headers[name] for name in request.headers}, body
    )
    assert malformed(arrived, frozenset({protocol}), now) is None
    assert arrived.user == user
    assert unauthorized(arrived, key.public_pem().decode()) is None
