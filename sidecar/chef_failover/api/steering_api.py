"""Shell: drains and pins over HTTP, on the Unix socket alone, whose peer the kernel names."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from typing import Any

import flask
from werkzeug.exceptions import BadRequest, Conflict, NotFound

from chef_failover.api import render
from chef_failover.api.listeners import PEER
from chef_failover.api.order_requests import OrderRequest, parse
from chef_failover.decide import world
from chef_failover.engine.sidecar import Sidecar
from chef_failover.errors import RefusedError
from chef_failover.model.model import Snapshot
from chef_failover.model.orders import Drain, Pin


def steering(sidecar: Sidecar) -> flask.Blueprint:
    """What lets people steer ``sidecar``."""
    api = flask.Blueprint("steering", __name__)

    @api.post("/v1/servers/<name>/drain")
    def drain(name: str) -> flask.typing.ResponseReturnValue:
        asked = _asked("drain")
        _expect_server(sidecar.snapshot, name)
        order = asked.drain(name, _peer(), now=sidecar.now(), on=sidecar.utc_now())
        return _steered(sidecar, world.apply_order, order, is_forced=asked.is_forced)

    @api.post("/v1/servers/<name>/pin")
    def pin(name: str) -> flask.typing.ResponseReturnValue:
        asked = _asked("pin")
        _expect_server(sidecar.snapshot, name)
        order = asked.pin(name, _peer(), now=sidecar.now(), on=sidecar.utc_now())
        return _steered(sidecar, world.apply_order, order, is_forced=False)

    @api.post("/v1/servers/<name>/undrain")
    def undrain(name: str) -> flask.typing.ResponseReturnValue:
        who = _asked("undrain").who(_peer())
        if sidecar.snapshot.orders.at((Drain, name)) is None:
            _expect_server(sidecar.snapshot, name)
        return _steered(sidecar, world.lift, (Drain, name), who=who)

    @api.post("/v1/unpin")
    def unpin() -> flask.typing.ResponseReturnValue:
        return _steered(sidecar, world.lift, Pin, who=_asked("unpin").who(_peer()))

    return api


def _asked(action: str) -> OrderRequest:
    body = flask.request.get_json(silent=True, force=True) if flask.request.get_data() else {}
    try:
        return parse(action, body)
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _peer() -> str:
    uid = flask.request.environ.get(PEER)
    if uid is None:
        return "unknown user"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _expect_server(snapshot: Snapshot, name: str) -> None:
    if snapshot.server(name) is None:
        names = ", ".join(server.name for server in snapshot.servers) or "none"
        raise NotFound(f"the configuration has no server {name!r}; it has: {names}")


def _steered(sidecar: Sidecar, change: Callable[..., Snapshot], *arguments: object, **named: object) -> dict[str, Any]:
    before = sidecar.snapshot
    try:
        after, trouble = sidecar.steer(change, *arguments, **named)
    except RefusedError as error:
        raise Conflict(str(error)) from error
    return render.steered(before, after, trouble)
