"""The report on a fleet as one HTML page."""

import base64
import hashlib
import html.parser
import re
from typing import Any

import pytest

from chef_failover.fleet import page

DOCUMENT: dict[str, Any] = {
    "at": "2026-11-22T10:00:00Z",
    "nodes": 4,
    "sources": [
        {
            "label": "main",
            "chef_server_url": "https://a",
            "read": 3,
            "known": 4,
            "unindexed": ["lost"],
            "trouble": None,
        },
        {"label": "b", "chef_server_url": "https://b", "read": 0, "known": None, "unindexed": [], "trouble": "refused"},
    ],
    "using": {"mainserver": 3, "<b>": 1},
    "states": [{"key": "degraded", "title": "degraded", "count": 1, "nodes": ["<script>alert(1)</script>"]}],
    "without": {
        "server": "mainserver",
        "go_on": {"<b>": 1, "standbyserver": 2},
        "count": 3,
        "left_alone": [{"key": "down", "title": "every standby is down", "count": 1, "nodes": ["db-1"]}],
        "cautions": [],
    },
}


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.opened, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_in_itself_and_runs_nothing():
    text = page.render(DOCUMENT)
    tags = Tags(text)
    assert tags.open == []
    assert not {tag for tag, _ in tags.opened} & {"script", "img", "iframe", "form", "b"}
    assert not re.search(r'(?:src|href)="(?!data:)|url\(|@import', text)
    assert not any(key.startswith("on") or key == "style" for _, attrs in tags.opened for key in attrs)
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text


def test_the_page_says_what_the_report_says():
    text = page.render(DOCUMENT)
    for said in (
        "Without mainserver, 3 of 4 nodes go on.",
        "<strong>1 would be left alone.</strong>",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "its search does not find lost",
        "<td>refused</td>",
        'aria-label="75 percent"',
        "every standby is down",
    ):
        assert said in text, said


def test_a_source_with_trouble_names_what_its_search_does_not_find_too():
    source = DOCUMENT["sources"][0] | {"trouble": "a row has no name"}
    assert "<td>a row has no name; its search does not find lost</td>" in page.render(DOCUMENT | {"sources": [source]})


def test_what_a_standby_lacks_is_on_the_page_too():
    lacks = [{"title": "roles missing", "count": 1, "names": ["base"]}]
    text = page.render(DOCUMENT | {"parity": {"standbys": [{"label": "b", "lacks": lacks}]}})
    assert "<h2>b lacks</h2>" in text
    assert "roles missing: names</summary>base</details>" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"without": None, "using": {}, "states": [], "nodes": 0}, "Fleet of 0 nodes"),
        ({"without": DOCUMENT["without"] | {"left_alone": []}}, '<p class="headline">Without'),
    ],
)
def test_what_is_not_there_is_left_out(more, said):
    text = page.render(DOCUMENT | more)
    assert said in text
    assert "left alone" not in text.lower()
