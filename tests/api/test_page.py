"""The status page: what it shows of the documents, and how it is guarded. In a real browser: test_page_in_browser."""

import datetime
import html
import re
from html.parser import HTMLParser

import attrs
import flask
import pytest

from chef_failover.api import render
from chef_failover.api.app import create_app
from chef_failover.api.page import contents
from chef_failover.api.timeline import entries, lines
from chef_failover.config import settings as config
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.about import About
from chef_failover.model.model import Health, Registration, RegistrationState, Transition
from chef_failover.printable import printable
from tests.support.builders import ON, WEB, asked, holding, server, without, world
from tests.support.strange_sidecar import ODD

ABOUT = About("0.1.0", "web-1")
HOSTILE = "</bdi><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


def ago(hours):
    return ON - datetime.timedelta(hours=hours)


def page_of(app, document):
    with app.test_request_context():
        return flask.render_template("page.html", **contents(document, on=ON), nonce="x")


def shown(app, document):
    """The page of ``document`` as text without tags, one element a line."""
    text = page_of(app, document)
    found = re.sub(r"<(style|script).*?</\1>", "", text, flags=re.DOTALL)
    return [line.strip() for line in html.unescape(re.sub(r"<[^>]+>", "\n", found)).splitlines() if line.strip()]


def said(snapshot):
    return render.servers(snapshot, ABOUT, now=0.0)


def after(lines, name):
    """What stands behind ``name`` in the part on standbys."""
    part = lines[lines.index("Are the standbys ready to take over?") : lines.index("Associations")]
    return part[part.index(name) + 1 :]


@pytest.fixture
def idle(tmp_path):
    return Sidecar(config.parse(f"state_dir: {tmp_path}"))


@pytest.fixture
def app(idle):
    return create_app(idle, may_change=False)


def show(monkeypatch, snapshot):
    monkeypatch.setattr(Sidecar, "snapshot", property(lambda _: snapshot))


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


def test_nothing_is_allowed_but_what_bears_the_nonce(app):
    answers = [app.test_client().get("/") for _ in range(2)]
    nonces = {
        re.search(r"script-src 'nonce-([\w-]{20,})'", answer.headers["Content-Security-Policy"])[1]
        for answer in answers
    }
    assert len(nonces) == 2
    for answer in answers:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert "unsafe" not in str(policy)
        assert policy.pop("script-src") == policy.pop("style-src")
        assert policy == {
            "default-src": "'none'",
            "connect-src": "'self'",
            "img-src": "data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        guarded = [attributes for tag, attributes in Tags(answer.text).found if tag in ("script", "style")]
        assert len(guarded) == 2
        assert {attributes["nonce"] for attributes in guarded} <= nonces


def test_nothing_is_loaded_from_anywhere_and_nothing_is_kept(app):
    for path in ("/", "/fragment"):
        answer = app.test_client().get(path)
        assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        for tag, attributes in Tags(answer.text).found:
            assert not any(name.startswith("on") or name == "style" for name in attributes), tag
            for name in ("src", "href", "action", "data"):
                assert re.match(r"/(?!/)|data:image/svg", attributes.get(name, "/")), (tag, attributes)


def test_only_reading_and_only_under_this_machine_s_names(app):
    client = app.test_client()
    assert client.head("/").status_code == 200
    assert client.post("/").status_code == 405
    assert client.get("/", headers={"Host": "evil.example.com"}).status_code == 421


def test_what_servers_say_is_text(app, monkeypatch):
    main = attrs.evolve(server("main"), registration=Registration(RegistrationState.FAILED, HOSTILE))
    standby = server("standby", Health.DOWN)
    standby = attrs.evolve(standby, last_probe=attrs.evolve(standby.last_probe, detail=HOSTILE))
    snapshot = world(main, standby, transitions=(Transition(ago(1), "main", "UP", "DOWN", HOSTILE),))
    show(monkeypatch, snapshot)
    for path in ("/", "/fragment"):
        text = app.test_client().get(path).text
        assert text.count("&lt;/bdi&gt;&lt;script&gt;alert(1)") >= 3
        tags = [tag for tag, _ in Tags(text).found]
        assert "img" not in tags
        assert tags.count("script") == (1 if path == "/" else 0)


def test_no_mark_in_what_is_said_turns_the_direction_of_the_page(app):
    main = attrs.evolve(server("main"), registration=Registration(RegistrationState.FAILED, ODD))
    snapshot = world(main, transitions=(Transition(ago(1), "main", "UP", "DOWN", ODD),))
    text = page_of(app, said(snapshot))
    assert text.count(printable(ODD)) >= 2
    assert all(char.isprintable() or char == "\n" for char in text)


def test_nothing_of_the_page_is_loaded_before_somebody_looks(app):
    client = app.test_client()
    client.get("/v1/servers")
    assert "jinja_env" not in vars(app)
    client.get("/")
    assert "jinja_env" in vars(app)


def test_the_fragment_is_the_part_of_the_page_that_changes(app, monkeypatch):
    show(monkeypatch, world(server("main"), server("standby")))
    client = app.test_client()
    page, fragment = client.get("/").text, client.get("/fragment").text
    assert re.search(r"<main>.*</main>", fragment, flags=re.DOTALL)[0] in page
    assert re.search(r"<title>.*</title>", fragment)[0] in page
    assert 'id="now"' in fragment


def test_who_looks_has_old_results_renewed_and_the_script_does_not_wait_for_them(app, idle, monkeypatch):
    asked = []
    monkeypatch.setattr(idle.__class__, "refresh", lambda _, *, waits=True: asked.append(waits))
    for path in ("/", "/fragment", "/v1/servers?refresh=yes", "/v1/servers"):
        assert app.test_client().get(path).status_code == 200
    assert asked == [True, False, True], "a program that asks for /v1/servers causes no probes"
    assert app.test_client().get("/v1/servers?refresh=no").status_code == 400


def test_without_servers_it_says_so(app):
    text = app.test_client().get("/").text
    assert "No server is configured" in text
    assert "There is no standby." in text


@pytest.mark.parametrize(
    ("servers", "more", "mood", "text"),
    [
        ([server("main"), server("standby")], {}, "well", "Using main"),
        ([server("main", Health.DOWN), server("standby", Health.DOWN)], {}, "degraded", "Using main, degraded"),
        ([server("main"), server("standby")], {"offline": "no route"}, "offline", "This node is offline, using main"),
        ([], {}, "idle", "No server is configured"),
    ],
)
def test_the_headline_answers_why(app, servers, more, mood, text):
    snapshot = world(*servers, current="main" if servers else None, **more)
    lines = shown(app, said(snapshot))
    assert f'id="headline" class="{mood}"' in page_of(app, said(snapshot))
    at = lines.index(text)
    reason = snapshot.choice.reason if snapshot.choice else "chef-client keeps its own chef_server_url"
    assert reason in (*lines[at + 1 : at + 5], "")


def test_each_server_says_whether_it_is_ready(app):
    lines = shown(app, said(world(server("a"), server("b", Health.DOWN))))
    assert lines[lines.index("Ready") - 1] == "Health"
    assert lines[lines.index("UP") + 1 : lines.index("UP") + 3] == ["yes", "ok, 1 s ago"]
    assert lines[lines.index("DOWN") + 1 : lines.index("DOWN") + 3] == ["no", "refused, 1 s ago"]
    lines = shown(app, said(world(holding("a"), asked("b"))))
    assert [lines[at + 1] for at, line in enumerate(lines) if line == "UP"] == ["yes", "?"]


def test_what_a_standby_lacks(app):
    refused = attrs.evolve(server("c"), registration=Registration(RegistrationState.REFUSED, "no such validator"))
    other = holding("e", attrs.evolve(WEB, run_list=("recipe[db]",)))
    servers = (holding("a"), holding("b", health=Health.DOWN), refused, without("d"), other, holding("f"))
    lines = shown(app, said(world(*servers)))
    assert after(lines, "b") == [
        *("!", "is DOWN: refused"),
        *("c", "!", "does not accept this node: registration there was refused: no such validator"),
        *("d", "!", "is not ready: has no object of this node"),
        *("e", "!", "has another object of this node: run list"),
        *("f", "✓", "ready"),
    ]


@pytest.mark.parametrize(
    ("registration", "next_attempt"),
    [
        (Registration(), "none needed"),
        (Registration(RegistrationState.UNREGISTERED), "now"),
        (Registration(RegistrationState.FAILED, "HTTP 500", attempts=3, retry_at=300.0), "in 5 min"),
    ],
)
def test_a_registration_says_when_it_is_tried_again(app, registration, next_attempt):
    lines = shown(app, said(world(attrs.evolve(server("main"), registration=registration))))
    row = lines[lines.index("Next attempt") :]
    assert row[1:6] == [
        *("main", registration.state.value, registration.detail or "\N{EN DASH}"),
        *(str(registration.attempts), next_attempt),
    ]


# ---- the last day


def day(*changes, choice="main", health="UP"):
    return {
        "choice": choice,
        "servers": [{"name": "main", "health": health}, {"name": "standby", "health": "UP"}],
        "transitions": [
            {"at": ago(hours).isoformat(), "server": subject, "from": before, "to": after, "reason": "so"}
            for hours, subject, before, after in changes
        ],
    }


def run(hours, name, result, error=None):
    """As ``GET /v1/runs`` has it."""
    times = {"started_at": None, "ended_at": ago(hours).isoformat(), "duration_s": 61.0}
    return {"run_id": f"{hours}", "server": name, "result": result, "error_class": error, **times}


def told(document):
    return {
        line.name: (
            [(span.what, round(span.start_s / 3600, 2), round(span.length_s / 3600, 2)) for span in line.health],
            [(round(span.start_s / 3600, 2), round(span.length_s / 3600, 2)) for span in line.in_use],
        )
        for line in lines(document, (), on=ON)
    }


def test_a_quiet_day_has_been_as_it_is_now():
    assert told(day()) == {"main": ([("UP", 0, 24)], [(0, 24)]), "standby": ([("UP", 0, 24)], [])}


def test_a_failover_and_its_failback():
    document = day(
        (30, "main", "UNKNOWN", "UP"),
        (10, "main", "UP", "DOWN"),
        (10, None, "main", "standby"),
        (8, "main", "DOWN", "UP"),
        (6, None, "standby", "main"),
        (5, "main", "failed", "associated"),
    )
    assert told(document) == {
        "main": ([("UP", 0, 14), ("DOWN", 14, 2), ("UP", 16, 8)], [(0, 14), (18, 6)]),
        "standby": ([("UP", 0, 24)], [(14, 4)]),
    }


def test_before_the_first_change_that_is_remembered_nothing_is_known():
    document = day((4, None, "none", "main"), (4, "main", "UNKNOWN", "UP"))
    assert told(document) == {
        "main": ([("no record", 0, 20), ("UP", 20, 4)], [(20, 4)]),
        "standby": ([("no record", 0, 20), ("UP", 20, 4)], []),
    }


def test_degraded_is_in_use_too_and_a_server_that_left_the_list_is_not_shown():
    document = day(
        (30, None, "gone", "main"), (2, None, "main", "main (degraded)"), (1, None, "main (degraded)", "main")
    )
    assert told(document)["main"][1] == [(0, 22), (22, 1), (23, 1)]
    assert set(told(document)) == {"main", "standby"}


def test_a_line_in_words():
    runs = [run(30, "main", "failed"), run(3, "main", "succeeded"), run(1, "main", "failed", "Errno::ECONNREFUSED")]
    document = day((30, "main", "UNKNOWN", "UP"), (2, "main", "UP", "DOWN"))
    main, standby = lines(document, runs, on=ON)
    assert main.in_words == "main in the last day: UP for 22 h, DOWN for 2 h, in use for 24 h, 2 runs, 1 failed"
    assert standby.in_words == "standby in the last day: UP for 24 h, never in use"
    assert [run.is_well for run in main.runs] == [True, False]


def test_the_list_has_changes_and_runs_of_the_last_day_the_latest_first():
    runs = [run(4, None, "failed"), run(3, "main", "failed", "Errno::ECONNREFUSED"), run(1, "standby", "succeeded")]
    document = day(
        (25, "main", "UNKNOWN", "UP"),
        (2, "main", "UP", "DOWN"),
        (2, None, "main", "standby"),
    )
    assert [(entry.kind, entry.subject, entry.what, entry.reason) for entry in entries(document, runs, on=ON)] == [
        ("run", "A run", "succeeded after 61 s on standby", ""),
        ("choice", "The choice", "main → standby", "so"),
        ("server", "main", "UP → DOWN", "so"),
        ("run", "A run", "failed after 61 s on main", "Errno::ECONNREFUSED"),
        ("run", "A run", "failed after 61 s", ""),
    ]


def test_a_clock_that_was_set_back_leaves_no_hole():
    ahead = day((-1, "main", "UP", "DOWN"), health="DOWN")
    assert all(span.length_s >= 0 and span.start_s >= 0 for line in lines(ahead, (), on=ON) for span in line.health)
    assert len(entries(ahead, (), on=ON)) == 1
