"""Pure: the report on a fleet as one HTML page, for people who would rather look.

The page is whole in itself: it loads nothing, runs nothing, and its policy allows no more than its own style. Names
come from Chef servers, so all text is escaped. Bars are pictures of numbers that stand beside them.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]

_STYLE = """
:root {
  --paper: #ffffff; --ink: #1b1f24; --soft: #4d5661; --rule: #c6ccd3; --tint: #f1f4f7;
  --good: #05603a; --bad: #a1121a; --bar: #0a4fa8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e8ebee; --soft: #b3bbc4; --rule: #454d57; --tint: #1e2329;
    --good: #6bd9a3; --bad: #ff9a94; --bar: #8fc1ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { margin: 0; font-size: 1.4rem; }
h2 { margin: 2rem 0 .25rem; font-size: 1.15rem; }
header p, caption, footer { color: var(--soft); }
.headline { margin: 1rem 0; padding: .6rem .9rem; background: var(--tint); }
.headline { border-inline-start: .4rem solid var(--good); }
.headline.bad { border-color: var(--bad); }
.bad strong { color: var(--bad); }
table { width: 100%; border-collapse: collapse; }
caption { text-align: start; padding-bottom: .4rem; }
th, td { padding: .35rem .8rem .35rem 0; text-align: start; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { color: var(--soft); font-weight: normal; }
td.count { text-align: end; white-space: nowrap; }
td.bar { width: 40%; }
svg { display: block; width: 100%; height: 20px; background: var(--tint); }
rect { fill: var(--bar); }
summary:focus-visible { outline: 3px solid var(--bar); outline-offset: 2px; }
@media (max-width: 44rem) { td.bar { width: 20%; } }
"""
_POLICY = "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'"
_ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"


def render(document: Document) -> str:
    """The page for a document of `report.make` whose text was made printable."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    title = f"Fleet of {document['nodes']} nodes"
    body = "\n".join(_body(document, title))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{_text(title)}</title>
<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(digest)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{_ICON}">
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _body(document: Document, title: str) -> Iterator[str]:
    yield f"<header><h1>{_text(title)}</h1><p>As of <time>{_text(document['at'])}</time>.</p></header>\n<main>"
    without = document["without"]
    if without:
        yield _headline(without, document["nodes"])
    yield from _sources(document["sources"])
    yield from _bars("Servers in use", "SERVER", document["using"], document["nodes"])
    yield from _groups("How nodes stand", document["states"])
    if without:
        yield from _bars(f"Without {without['server']}", "GOES ON WITH", without["go_on"], document["nodes"])
        yield from _groups("Left alone", without["left_alone"])
        yield from _groups("They go on, but", without["cautions"])
    for standby in document.get("parity", {}).get("standbys", ()):
        yield from _groups(f"{standby['label']} lacks", [lack | {"nodes": lack["names"]} for lack in standby["lacks"]])
    yield "</main>\n<footer><p>Made by chef-failover fleet.</p></footer>"


def _headline(without: Document, total: int) -> str:
    alone = sum(group["count"] for group in without["left_alone"])
    kind = " bad" if alone else ""
    tail = f" <strong>{alone} would be left alone.</strong>" if alone else ""
    said = f"Without {_text(without['server'])}, {without['count']} of {total} nodes go on."
    return f'<p class="headline{kind}">{said}{tail}</p>'


def _sources(sources: Sequence[Document]) -> Iterator[str]:
    rows = []
    for source in sources:
        known = "" if source["known"] is None else f" of {source['known']}"
        lost = f"its search does not find {', '.join(source['unindexed'])}" if source["unindexed"] else ""
        missing = "; ".join(filter(None, (source["trouble"], lost)))
        rows.append((source["label"], source["chef_server_url"], f"{source['read']}{known}", missing))
    yield from _table("Read from", ("PROFILE", "SERVER", "NODES", "MISSING"), (map(_cell, row) for row in rows))


def _bars(title: str, head: str, counts: Mapping[str, int], total: int) -> Iterator[str]:
    rows = [
        (_cell(name), f'<td class="count">{count}</td>', f'<td class="bar">{_bar(count, total)}</td>')
        for name, count in counts.items()
    ]
    if rows:
        yield from _table(title, (head, "NODES", "SHARE"), rows)


def _bar(count: int, total: int) -> str:
    percent = 100 * count / max(1, total)
    label = f"{percent:.0f} percent"
    return f'<svg role="img" aria-label="{label}"><rect width="{percent:.2f}%" height="20"></rect></svg>'


def _groups(title: str, groups: Sequence[Document]) -> Iterator[str]:
    rows = [(_cell(group["title"]), f'<td class="count">{group["count"]}</td>', _names(group)) for group in groups]
    if rows:
        yield from _table(title, ("WHAT", "COUNT", "NAMES"), rows)


def _names(group: Document) -> str:
    names = _text(", ".join(group["nodes"]))
    return f"<td><details><summary>{_text(group['title'])}: names</summary>{names}</details></td>"


def _table(title: str, heads: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"<h2>{_text(title)}</h2>\n<table><thead><tr>"
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead><tbody>"
    for row in rows:
        yield f"<tr>{''.join(row)}</tr>"
    yield "</tbody></table>"


def _cell(text: str) -> str:
    return f"<td>{_text(text)}</td>"


def _text(text: str) -> str:
    return html.escape(text)
