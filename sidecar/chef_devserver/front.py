"""Pure: what stands before erchef: nginx, its routes, and the status page, which needs no authentication.

nginx answers 200 with a welcome page to every request without ``X-Chef-Version``, so a 2xx proves nothing by itself.

Sources: github.com/chef/chef-server src/nginx dispatch.lua and chef_http_lb_common; chef_wm_status.erl.
"""

from __future__ import annotations

import attrs

from chef_devserver.messages import Request, Response, html_response, json_response

METHODS = {
    ("nodes",): ("GET", "POST"),
    ("nodes", "NAME"): ("HEAD", "GET", "PUT"),
    ("clients",): ("GET", "POST"),
    ("clients", "NAME"): ("GET", "PUT"),
    ("principals", "NAME"): ("GET",),
    ("environments", "NAME"): ("GET",),
    ("environments", "NAME", "cookbooks"): ("GET",),
    ("cookbooks",): ("GET",),
    ("cookbooks", "_latest"): ("GET",),
    ("policy_groups", "GROUP"): ("GET",),
    ("server_api_version",): ("GET",),
}
"""What there is below the organization, and what may be done with it."""
_OLDEST_CHEF = 10


@attrs.frozen
class Route:
    """Where a path leads. ``resource`` is a key of ``METHODS``, or () for a path that no server has."""

    organization: str | None
    resource: tuple[str, ...]
    name: str
    group: str = ""
    """The policy group, where there is one."""


def answer(request: Request) -> Response | None:
    """What nginx or the status page answer; None: it is for erchef."""
    if is_status(request):
        return status()
    version = request.headers.get("x-chef-version")
    if version is None:
        return html_response(200, "Chef Infra Server")
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < _OLDEST_CHEF:
        message = f"Chef Client version {_OLDEST_CHEF} or higher required. Your version of Chef is {version}."
        return json_response(400, {"error": f"400 - Bad Request: {message}"})
    if not request.user:
        return html_response(401, "401 Authorization Required")
    if not route(request).resource:
        return not_found()
    return None


def route(request: Request) -> Route:
    """Take the path apart."""
    segments = request.segments
    organization = None
    if segments[:1] == ("organizations",) and len(segments) > 2:
        organization, segments = segments[1], segments[2:]
    name = group = ""
    match segments:
        case ("cookbooks", "_latest"):
            pass
        case ("policy_groups", group):
            segments = ("policy_groups", "GROUP")
        case (kind, name):
            segments = (kind, "NAME")
        case ("environments", name, "cookbooks"):
            segments = ("environments", "NAME", "cookbooks")
    return Route(organization, segments if segments in METHODS else (), name, group)


def not_found() -> Response:
    """404 from nginx: not Chef's JSON."""
    return html_response(404, "404 Not Found")


def is_status(request: Request) -> bool:
    """Is it the status page that is asked for?"""
    return request.segments == ("_status",)


def status(*failing: str) -> Response:
    """The status page, with these upstreams failing: 500 if there are any."""
    upstreams = dict.fromkeys(("chef_opensearch", "chef_sql", "oc_chef_authz"), "pong") | dict.fromkeys(failing, "fail")
    keygen = {"keys": 10, "max": 10, "max_workers": 2, "cur_max_workers": 2, "inflight": 0, "avail_workers": 2}
    content = {
        "status": "fail" if failing else "pong",
        "upstreams": upstreams,
        "keygen": {**keygen, "start_size": 0},
        "indexing": {"mailbox_length": 0},
    }
    return json_response(500 if failing else 200, content)
