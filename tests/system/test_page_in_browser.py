"""The status page as people meet it: in a real Chromium, while a real failover happens."""

import datetime
import json

import pytest

from chef_failover.fleet import page
from tests.fleet.test_page import DOCUMENT
from tests.support.browser import browser
from tests.support.daemon_process import daemon, free_port, until, write_config

QUICK = "{interval: 500ms, retry_interval: 100ms, timeout: 1s, rise: 2, fall: 2}"
LOOKS = [(width, scheme) for width in ("desktop", "phone") for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


HISTORY = (
    (19.0, "standbyserver", "UP", "DOWN", "HTTP 503 Service Unavailable: in maintenance"),
    (18.5, "standbyserver", "DOWN", "UP", "answers in 12 ms"),
    (9.0, "mainserver", "UP", "DOWN", "connect timed out after 3.0 s"),
    (9.0, None, "mainserver", "standbyserver", "mainserver is DOWN: connect timed out after 3.0 s"),
    (7.5, "mainserver", "DOWN", "UP", "answers in 14 ms"),
    (7.3, None, "standbyserver", "mainserver", "first in order of preference, and UP"),
)
"""What happened how many hours ago, as a former life of the sidecar wrote it down."""


def remember(directory, history=HISTORY):
    now = datetime.datetime.now(datetime.UTC)
    transitions = [
        {
            "at": f"{now - datetime.timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}",
            "server": server,
            "from": before,
            "to": after,
            "reason": reason,
        }
        for hours, server, before, after, reason in history
    ]
    state = {"schema": 1, "choice": {"name": "mainserver"}, "transitions": transitions}
    (directory / "state.json").write_text(json.dumps(state))


@pytest.fixture
def sidecar(servers, tmp_path):
    for server in servers:
        server.start()
    remember(tmp_path)
    port = free_port()
    more = {"node": "{name: web-1}", "failback": "1h", "loopback": f"'127.0.0.1:{port}'"}
    with daemon(write_config(tmp_path, servers, health=QUICK, **more)) as started:
        started.page = f"http://127.0.0.1:{port}/"
        until(lambda: {entry["health"] for entry in started.ask("/v1/servers").body["servers"]} == {"UP"})
        yield started


def fail_over(servers, sidecar):
    servers[0].stop()
    until(lambda: sidecar.ask("/v1/servers").body["choice"] == "standbyserver")


def keeps_the_rules(chromium, name):
    """Screenshots and the verdict of axe-core, in every look."""
    for width, scheme in LOOKS:
        chromium.look(width=width, scheme=scheme)
        assert chromium.violations() == [], (width, scheme)
        assert chromium.run("return document.documentElement.scrollWidth <= window.innerWidth"), "it scrolls sideways"
        chromium.screenshot(f"{name}-{width}-{scheme}")


def test_the_page_during_a_failover_keeps_the_rules(chromium, servers, sidecar):
    chromium.look()
    chromium.open(sidecar.page)
    assert chromium.text("h1") == "chef-failover on web-1"
    assert "Using mainserver" in chromium.text("#headline")
    keeps_the_rules(chromium, "well")
    fail_over(servers, sidecar)
    until(lambda: "Using standbyserver" in chromium.text("#headline"))
    assert "mainserver is DOWN: connection refused" in chromium.text("#headline")
    keeps_the_rules(chromium, "failover")
    servers[1].stop()
    until(lambda: "Using standbyserver, degraded" in chromium.text("#headline"))
    keeps_the_rules(chromium, "all-down")


def test_the_report_on_a_fleet_keeps_the_rules(chromium, tmp_path):
    path = tmp_path / "fleet.html"
    path.write_text(page.render(DOCUMENT))
    chromium.look()
    chromium.open(path.as_uri())
    assert "3 of 4 nodes go on" in chromium.text(".headline")
    keeps_the_rules(chromium, "fleet")


def test_it_is_renewed_in_place(chromium, servers, sidecar):
    chromium.look()
    chromium.open(sidecar.page)
    chromium.run("""
        window.mine = 'never loaded again';
        window.headline = document.getElementById('headline');
        window.kept = document.querySelector('#c-servers');
        document.querySelector('footer a').focus();
    """)
    fail_over(servers, sidecar)
    until(lambda: "Using standbyserver" in chromium.text("#headline"))
    assert chromium.run("return window.mine") == "never loaded again"
    assert chromium.run("return document.getElementById('headline') === headline"), "a new node is not read out"
    assert chromium.run("return document.querySelector('#c-servers') === kept")
    assert chromium.run("return document.activeElement.textContent") == "/v1/servers"
    assert chromium.run("return document.title").startswith("Using standbyserver")
    assert chromium.text("tr.chosen th").startswith("standbyserver")


def test_updates_can_be_paused(chromium, servers, sidecar):
    chromium.look()
    chromium.open(sidecar.page)
    chromium.run("document.getElementById('pause').click()")
    assert chromium.run("return document.getElementById('pause').ariaPressed") == "true"
    before = chromium.text("#now")
    fail_over(servers, sidecar)
    chromium.run("document.dispatchEvent(new Event('visibilitychange'))")
    assert chromium.text("#now") == before
    chromium.run("document.getElementById('pause').click()")
    until(lambda: "Using standbyserver" in chromium.text("#headline"))


def test_a_sidecar_that_has_gone_is_said(chromium, sidecar):
    chromium.look()
    chromium.open(sidecar.page)
    assert chromium.text("#trouble") == ""
    sidecar.stop()
    until(lambda: "does not answer" in chromium.text("#trouble"))
    assert "Using mainserver" in chromium.text("#headline")
    assert all("/fragment - Failed to load resource" in complaint for complaint in chromium.complaints())
    assert chromium.violations() == []
    sidecar.restart()
    until(lambda: chromium.text("#trouble") == "")
    chromium.complaints()


def test_without_javascript_it_is_a_page_as_old_as_it_says(chromium, sidecar):
    chromium.look(script=False)
    try:
        chromium.open(sidecar.page)
        told = chromium.roles("heading", "link", "button")
        assert ("heading", "Servers") in told
        assert ("link", "Reload") in told
        assert not [name for role, name in told if role == "button"]
    finally:
        chromium.look()


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_a_screen_reader_is_told_what_the_eye_sees(chromium, sidecar, width):
    chromium.look(width=width)
    chromium.open(sidecar.page)
    assert [name for _, name in chromium.roles("heading")] == [
        "chef-failover on web-1",
        "Servers",
        "Are the standbys ready to take over?",
        "Associations",
        "The last day",
    ]
    tables = [name for _, name in chromium.roles("table")]
    assert len(tables) == 3
    assert all(tables)
    assert {"Server", "Health", "Why"} <= {name for _, name in chromium.roles("columnheader")}
    assert "mainserver in use" in [name for _, name in chromium.roles("rowheader")]
    lines = [name for _, name in chromium.roles("image", "img")]
    assert [name.partition(" in the last day: ")[0] for name in lines] == ["mainserver", "standbyserver"]
    assert "DOWN for 2 h" in lines[0]
    assert len(chromium.roles("status")) == 2
