"""Pure: what stands before erchef: nginx, its routes, and the status page, which needs no authentication.

nginx answers 200 with a welcome page to every request without ``X-Chef-Version``, so a 2xx proves nothing by itself. It
asks for a client's name and looks at maintenance before it looks at the path. On a Chef Infra Server of today each
error that it makes itself, the 502 of a dead erchef among them, arrives as a 404 page.

Sources: github.com/chef/chef-server src/nginx dispatch.lua, routes.lua and chef_http_lb_common, and in the packages
nginx_chef_api_lb.conf.erb; oc_chef_wm dispatch.conf and chef_wm_status.erl; github.com/chef/automate
automate-cs-nginx.
"""

from __future__ import annotations

import re

import attrs

from chef_devserver.messages import Request, Response, html_response, json_response
from chef_devserver.state import Kind

METHODS = {
    ("nodes",): ("GET", "POST"),
    ("nodes", "NAME"): ("HEAD", "GET", "PUT", "DELETE"),
    ("nodes", "NAME", "_acl"): ("GET",),
    ("nodes", "NAME", "_acl", "PERMISSION"): ("PUT",),
    ("clients",): ("GET", "POST"),
    ("clients", "NAME"): ("GET", "PUT", "DELETE"),
    ("groups", "NAME"): ("GET",),
    ("principals", "NAME"): ("GET",),
    ("search", "NAME"): ("GET", "POST"),
    ("environments",): ("GET",),
    ("environments", "NAME"): ("GET",),
    ("environments", "NAME", "cookbooks"): ("GET",),
    ("cookbooks",): ("GET",),
    ("cookbooks", "_latest"): ("GET",),
    ("policy_groups", "GROUP"): ("GET",),
    ("server_api_version",): ("GET",),
    ("license",): ("GET",),
    ("_status",): ("GET",),
}
"""What there is below the organization, and what may be done with it."""
_OLDEST_CHEF = 10
_VERSION = re.compile(r"(\d+)\.\d+\.")
_ORGANIZATION = re.compile("[a-z0-9_-]+")


@attrs.frozen
class Route:
    """Where a path leads. ``resource`` is a key of ``METHODS``, or () for a path that no server has."""

    organization: str | None
    resource: tuple[str, ...]
    name: str
    group: str = ""
    """The policy group, where there is one."""
    permission: str = ""
    """The permission whose list is asked for, where it is one of them."""


def answer(
    kind: Kind, request: Request, down: frozenset[str] = frozenset(), *, is_closed: bool = False
) -> Response | None:
    """What nginx answers itself; None: it is for erchef. ``is_closed``: in maintenance."""
    if re.match("/bookshelf/organization-.", request.path):
        return failing(kind, 502) if "bookshelf" in down else Response(403, headers=(("Content-Type", "text/xml"),))
    page = _unfit(kind, request)
    if page is not None:
        return page
    if is_closed:
        return json_response(503, {"error": "503 - Service Unavailable"})
    where = route(request)
    is_known = where.resource and (where.organization is None or _ORGANIZATION.fullmatch(where.organization))
    return None if is_known else not_found()


def _unfit(kind: Kind, request: Request) -> Response | None:
    version = request.headers.get("x-chef-version")
    if version is None:
        return html_response(200, "Chef Infra Server")
    found = _VERSION.match(version)
    if found is None or int(found[1]) < _OLDEST_CHEF:
        message = f"Chef Client version {_OLDEST_CHEF} or higher required. Your version of Chef is {version}."
        return json_response(400, {"error": f"400 - Bad Request: {message}"})
    return None if request.user else failing(kind, 401)


def route(request: Request) -> Route:
    """Take the path apart."""
    segments = request.segments
    organization = None
    if segments[:1] == ("organizations",) and len(segments) > 2:
        organization, segments = segments[1], segments[2:]
    name = group = permission = ""
    match segments:
        case ("cookbooks", "_latest"):
            pass
        case ("policy_groups", group):
            segments = ("policy_groups", "GROUP")
        case (kind, name):
            segments = (kind, "NAME")
        case (kind, name, "_acl", ("create" | "read" | "update" | "delete" | "grant") as permission):
            segments = (kind, "NAME", "_acl", "PERMISSION")
        case (kind, name, what):
            segments = (kind, "NAME", what)
    return Route(organization, segments if segments in METHODS else (), name, group, permission)


def failing(kind: Kind, status: int) -> Response:
    """What arrives of an error that nginx makes itself, such as 401 or 502."""
    titles = {401: "401 Authorization Required", 502: "502 Bad Gateway"}
    return not_found() if kind.hides_front_errors else html_response(status, titles[status])


def not_found() -> Response:
    """404 from nginx: not Chef's JSON."""
    return html_response(404, "Chef - 404 Not Found")


def is_status(request: Request) -> bool:
    """Is it the status page that is asked for?"""
    return request.segments == ("_status",)


def not_allowed(resource: tuple[str, ...]) -> Response:
    """405: the resource has no such method."""
    return Response(405, headers=(("Allow", ", ".join(METHODS[resource])),))


def status(kind: Kind, down: frozenset[str] = frozenset()) -> Response:
    """The status page, with these upstreams failing: 500 if there are any. Nobody asks bookshelf."""
    collector = ("data_collector",) if kind.has_data_collector or "data_collector" in down else ()
    names = [*collector, kind.index, "chef_sql", "oc_chef_authz"]
    upstreams = {name: "fail" if name in down else "pong" for name in names}
    is_failing = "fail" in upstreams.values()
    keygen = {"keys": 10, "max": 10, "max_workers": 2, "cur_max_workers": 2, "inflight": 0, "avail_workers": 2}
    content = {
        "status": "fail" if is_failing else "pong",
        "upstreams": upstreams,
        "keygen": {**keygen, "start_size": 0},
        "indexing": {"mailbox_length": 0} if kind.saves_without_index else {"mode": "batch"},
    }
    return json_response(500 if is_failing else 200, content)
