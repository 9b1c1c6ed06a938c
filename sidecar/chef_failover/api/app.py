"""Shell: the sidecar over HTTP, as a Flask application for each listener. The views render; they decide nothing."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any

import flask
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from chef_failover import weighed_json
from chef_failover.api import page, render
from chef_failover.api.question import Question
from chef_failover.api.steering_api import steering
from chef_failover.engine.runs import parse_report
from chef_failover.engine.sidecar import Sidecar
from chef_failover.metrics.faults import Faults
from chef_failover.model.model import Choice, Health, Snapshot

BODY_LIMIT = 64 * 1024
"""Bytes of a request's body; a report of a run that tells what it used has 60 kB at the most."""
BODY_MEMORY = 8 * 1024 * 1024
"""Bytes that parsing it may take."""
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class _Json(DefaultJSONProvider):
    """Documents keep their order; what others send may be no document at all, and nested without an end."""

    sort_keys = False

    def loads(self, s: str | bytes, **_: object) -> Any:  # noqa: ANN401
        """Called by Flask for a request's body."""
        return weighed_json.loads(s.encode(errors="replace") if isinstance(s, str) else s, BODY_MEMORY)


def create_app(sidecar: Sidecar, *, may_change: bool) -> flask.Flask:
    """The API.

    Args:
        sidecar: what it shows.
        may_change: True on the Unix socket, whose file mode says who may speak. False on the loopback port, which every
            local user and every web page in a local browser can reach: there only GET and HEAD are served, and only
            under this machine's own names.
    """
    app = flask.Flask(__package__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.json = _Json(app)
    app.register_blueprint(_runs_question(sidecar, may_hurry=may_change))
    app.register_blueprint(_questions(sidecar))
    app.register_blueprint(_signs_of_life(sidecar))
    app.register_blueprint(page.make_blueprint(sidecar))
    if may_change:
        app.register_blueprint(_changes(sidecar))
        app.register_blueprint(steering(sidecar))
    else:
        app.before_request(_refuse_all_but_reading)
    app.register_error_handler(HTTPException, _problem_of)
    app.register_error_handler(Exception, functools.partial(_internal_error, sidecar.faults))
    return app


def _runs_question(sidecar: Sidecar, *, may_hurry: bool) -> flask.Blueprint:
    """``may_hurry`` False: or any local user could have every server probed as often as he likes."""
    api = flask.Blueprint("the question of a run", __name__)

    @api.get("/v1/server")
    def server() -> flask.typing.ResponseReturnValue:
        try:
            question = Question.parse(flask.request.query_string.decode("utf-8", "replace"))
        except ValueError as error:
            return _problem(400, "Invalid query", str(error))
        if not may_hurry:
            question = question.unhurried()
        snapshot, choice = _choose(sidecar, question)
        if choice is None:
            return _no_servers()
        return render.server(snapshot, choice, sidecar.about, now=sidecar.now(), on=sidecar.utc_now())

    return api


def _questions(sidecar: Sidecar) -> flask.Blueprint:
    api = flask.Blueprint("questions", __name__)

    @api.get("/v1/servers")
    def servers() -> flask.typing.ResponseReturnValue:
        """``refresh`` asks on behalf of a person; so often at the most that any local user may."""
        refresh = flask.request.args.get("refresh")
        if refresh not in (None, "yes"):
            return _problem(400, "Invalid query", f"refresh is {refresh!r}; write yes, or leave it out")
        if refresh:
            sidecar.refresh()
        return render.servers(sidecar.snapshot, sidecar.about, now=sidecar.now(), on=sidecar.utc_now())

    @api.get("/v1/facts")
    def facts() -> flask.typing.ResponseReturnValue:
        return render.facts(sidecar.snapshot, sidecar.about, now=sidecar.now())

    @api.get("/v1/runs")
    def runs() -> flask.typing.ResponseReturnValue:
        return render.runs(sidecar.runs.history, [report.run_id for report in sidecar.runs.under_way])

    @api.get("/metrics")
    def metrics() -> flask.typing.ResponseReturnValue:
        text = sidecar.counters.expose(flask.request.headers.get("Accept", ""))
        return flask.Response(text.body, content_type=text.content_type)

    return api


def _choose(sidecar: Sidecar, question: Question) -> tuple[Snapshot, Choice | None]:
    """Where a run that starts now goes. Who does not wait is answered at once, if what is known speaks for a server."""
    found = None if question.waits else sidecar.choose_at_once(question.max_age_s)
    return found or sidecar.choose_for_run(question.max_age_s, is_final=question.waits)


def _signs_of_life(sidecar: Sidecar) -> flask.Blueprint:
    api = flask.Blueprint("signs of life", __name__)

    @api.get("/livez")
    def livez() -> flask.typing.ResponseReturnValue:
        late = sidecar.late()
        if late:
            return _problem(503, "A task hangs", f"overdue: {', '.join(late)}")
        faults = sidecar.faults
        return {"schema": render.SCHEMA, "status": "ok", "faults": faults.count, "last_fault": faults.last}

    @api.get("/readyz")
    def readyz() -> flask.typing.ResponseReturnValue:
        snapshot = sidecar.snapshot
        if snapshot.choice is None:
            return _no_servers(503)
        chosen = snapshot.server(snapshot.choice.name)
        if chosen is None or (chosen.health is Health.UNKNOWN and not chosen.was_up):
            return _problem(503, "No choice yet", f"{snapshot.choice.name} has not been probed yet")
        return {"schema": render.SCHEMA, "status": "ok", "choice": chosen.name, "degraded": snapshot.choice.is_degraded}

    return api


def _changes(sidecar: Sidecar) -> flask.Blueprint:
    api = flask.Blueprint("changes", __name__)

    @api.post("/v1/runs")
    def runs() -> flask.typing.ResponseReturnValue:
        try:
            report = parse_report(flask.request.get_json(silent=True, force=True))
        except ValueError as error:
            return _problem(400, "Invalid run report", str(error))
        sidecar.report_run(report)
        return {"schema": render.SCHEMA, "status": "ok"}, 202

    @api.post("/v1/servers/<name>/associate")
    def associate(name: str) -> flask.typing.ResponseReturnValue:
        if sidecar.snapshot.server(name) is None:
            return _problem(404, "No such server", f"the configuration has no server {name!r}")
        body = flask.request.get_json(silent=True, force=True) if flask.request.content_length else {}
        replaces = body.get("replace", False) if isinstance(body, dict) else None
        if not isinstance(replaces, bool):
            return _problem(400, "Invalid request body", 'write {"replace": true}, or send no body')
        if not sidecar.associate(name, replaces=replaces):
            detail = f"servers[].association of {name} is none: the sidecar does not register the node there"
            return _problem(409, "Nothing to associate", detail)
        return {"schema": render.SCHEMA, "status": "ok"}, 202

    return api


def _refuse_all_but_reading() -> flask.typing.ResponseReturnValue | None:
    host = flask.request.host
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name.lower() not in LOOPBACK_HOSTS:
        return _problem(421, "Misdirected request", "this address answers only to localhost, 127.0.0.1 and [::1]")
    if flask.request.method not in ("GET", "HEAD"):
        raise MethodNotAllowed(["GET", "HEAD"])
    return None


def _no_servers(status: int = 404) -> flask.Response:
    return _problem(
        status,
        "No server is configured",
        "config.yml names no Chef server; chef-client keeps its own chef_server_url.",
    )


def _problem(status: int, title: str, detail: str) -> flask.Response:
    response = flask.jsonify(render.problem(status, title, detail))
    response.status_code = status
    response.content_type = "application/problem+json"
    return response


def _problem_of(error: HTTPException) -> flask.Response:
    status = error.code or 500
    response = _problem(status, HTTPStatus(status).phrase, error.description or "")
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _internal_error(faults: Faults, error: Exception) -> Any:  # noqa: ANN401
    faults.add(f"request {flask.request.endpoint}", error)
    flask.current_app.logger.error("internal error: request failed", exc_info=error)
    return _problem(500, "Internal error", "see the sidecar's log: journalctl -u chef-failover")
