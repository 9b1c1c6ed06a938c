"""Pure: the documents of the API as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chef_failover.api.render import ready_in_a_word
from chef_failover.durations import in_words

Document = dict[str, Any]

STATUS_TRANSITIONS = 6
"""Changes that are shown."""
_SHORT = 12
"""Characters of a revision that are shown."""


def status(document: Document, *, is_accepted: bool = True) -> str:
    """The answer to "why this server?": a table, what would have to change, what is missing, and what has happened.

    ``is_accepted`` is whether chef-client goes by any configuration of ours.
    """
    if document.get("error"):
        return _without_sidecar(document, is_accepted=is_accepted)
    if not document["servers"]:
        nothing = "No server is configured; chef-client keeps its own chef_server_url."
        return "\n".join((*_warnings(document), nothing))
    rows = [("", "SERVER", "HEALTH", "ASSOCIATION", "READY", "LAST PROBE", "WHY")]
    rows += [
        (
            "*" if entry["chosen"] else "",
            entry["name"],
            _health(entry),
            _registration(entry),
            ready_in_a_word(entry),
            _last_probe(entry),
            entry["reason"],
        )
        for entry in document["servers"]
    ]
    drains = {entry["name"]: entry["drain"] for entry in document["servers"] if entry["drain"]}
    head = (*offline(document), _choice(document), *_warnings(document), *discovery(document))
    sections = [
        "\n".join((*head, *orders(document["pin"], drains))),
        table(rows),
        _section(
            "To move this node:",
            [(entry["name"], entry["to_be_used"]) for entry in document["servers"] if entry["to_be_used"]],
        ),
        _section(
            "Not ready to take over:",
            [(entry["name"], lack) for entry in document["servers"] if not _is_fit(entry) for lack in entry["lacks"]],
        ),
        _section(
            "In use or able to take over, but:",
            [(entry["name"], lack) for entry in document["servers"] if _is_fit(entry) for lack in entry["lacks"]],
        ),
        _transitions(document["transitions"]),
        "\n".join(filter(None, (_runs(document), _used(document)))),
    ]
    return "\n\n".join(filter(None, sections))


def status_of(document: Document, name: str) -> str | None:
    """All that is known of one server; None when there is none of that name."""
    entry = next((entry for entry in document["servers"] if entry["name"] == name), None)
    if entry is None:
        return None
    last_change = f" since {entry['last_change']}" if entry["last_change"] else ""
    rows = [
        ("url", entry["chef_server_url"]),
        ("health", f"{_health(entry)}{last_change}"),
        ("last probe", _last_probe(entry)),
        ("association", _association(entry)),
        ("readiness", entry["readiness"]),
        *(("differs", difference) for difference in entry["differences"]),
        *((("drained", _of_whom(entry["drain"])),) if entry["drain"] else ()),
        *((("pinned", _of_whom(document["pin"])),) if (document["pin"] or {}).get("server") == name else ()),
        ("why", entry["reason"] if entry["chosen"] else f"{entry['reason']} ({document['choice']} is in use)"),
        *((("to be used", entry["to_be_used"]),) if entry["to_be_used"] else ()),
        *(("lacks", lack) for lack in entry["lacks"]),
    ]
    mine = [step for step in document["transitions"] if name in (step["server"], *_names_in(step))]
    head = "\n".join((*offline(document), f"{name}{' is in use' if entry['chosen'] else ''}"))
    sections = [head, table([(f"  {key}", text) for key, text in rows])]
    return "\n\n".join(filter(None, (*sections, _transitions(mine))))


def standby(document: Document) -> str:
    """Whether another server could take over now, by which, or what is in the way at each."""
    name = document["standby"]
    if name is not None:
        return "\n".join((f"{name} could take over now.", *(f"  but it {lack}" for lack in document["but"])))
    rows = [(f"  {entry['name']}", "; ".join(entry["lacks"])) for entry in document["servers"]]
    return "\n".join(filter(None, (f"No other server could take over now: {document['reason']}.", table(rows))))


def offline(document: Document) -> tuple[str, ...]:
    """That this node has no network, which comes before all else that is said; nothing while it has."""
    why = document.get("offline")
    return (f"This node is offline: {why}. It cannot reach any Chef server and stays where it is.",) if why else ()


def discovery(document: Document) -> tuple[str, ...]:
    """Where the list of servers comes from, and what is wrong with it; nothing where config.yml alone has it."""
    standing = document.get("discovery")
    if not standing:
        return ()
    if standing["in_use"] == "config.yml":
        head = f"Servers: from config.yml, not from {standing['source']}"
    else:
        cached = " (cached)" if standing["in_use"] == "cache" else ""
        age = f", confirmed {in_words(standing['age_s'])} ago" if standing["age_s"] is not None else ""
        which = f"version {standing['version']} of {standing['fetched_at']}"
        head = f"Servers: from {standing['source']}{cached}, {which}{age}"
    trouble = [f"  {line}" for line in (standing["trouble"] or "").splitlines()]
    if standing.get("throttled") and standing["next_in_s"] is not None:
        trouble.append(f"  throttled: too many nodes ask; next attempt in {in_words(standing['next_in_s'])}")
    return (head, *trouble, *(f"  rejected: {sentence}" for sentence in standing["refused"]))


def is_list_well(document: Document) -> bool:
    """There is no list, or all of it is used."""
    standing = document.get("discovery")
    return not standing or not (standing["trouble"] or standing["refused"])


def _choice(document: Document) -> str:
    degraded = " (degraded)" if document["degraded"] else ""
    since = f" since {document['since']}" if "since" in document else ""
    return f"Using {document['choice']}{degraded}{since}: {document['reason']}"


def _warnings(document: Document) -> list[str]:
    return [f"Warning: {warning}" for warning in document.get("warnings", ())]


def _without_sidecar(document: Document, *, is_accepted: bool) -> str:
    """What state.json knows, which may be old, and what to do."""
    names = ", ".join(entry["name"] for entry in document["servers"]) or "none"
    since = f" since {document['since']}: {document['reason']}" if document["since"] else ""
    goes_on = "keeps using that choice" if document["choice"] else "uses the first server of config.yml, if it has one"
    if not is_accepted:
        goes_on = "keeps its own server"
    lines = [
        *_warnings(document),
        f"The sidecar is down: {document['error']}",
        f"Its last choice: {document['choice'] or 'none'}{since}. Configured servers: {names}.",
        *orders(document["pin"], document["drains"]),
        f"chef-client {goes_on}. Start the sidecar: systemctl start chef-failover",
        "If it stops again: journalctl -u chef-failover -n 20, and chef-failover check --node",
    ]
    return "\n\n".join(filter(None, ("\n".join(lines), _transitions(document["transitions"]))))


def _section(title: str, rows: Sequence[tuple[str, str]]) -> str:
    return f"{title}\n{table([(f'  {name}', text) for name, text in rows])}" if rows else ""


def _transitions(steps: Sequence[Document]) -> str:
    rows = [
        (f"  {step['at']}", step["server"] or "choice", f"{step['from']} -> {step['to']}: {step['reason']}")
        for step in steps[-STATUS_TRANSITIONS:]
    ]
    return f"Last changes:\n{table(rows)}" if rows else ""


def _names_in(step: Document) -> tuple[str, ...]:
    """The servers that a move of the choice is about."""
    return () if step["server"] else tuple(step[key].removesuffix(" (degraded)") for key in ("from", "to"))


def steered(document: Document) -> str:
    """What a drain, a pin or the end of one has led to."""
    nothing = () if document["changed"] else ("Nothing changed.",)
    choice = (_choice(document),) if document["choice"] else ()
    return "\n".join((*nothing, *orders(document["pin"], document["drains"]), *choice))


def orders(pin: Document | None, drains: Mapping[str, Document]) -> tuple[str, ...]:
    """One line for each drain, and for the pin; where both are on one server, which of them wins."""
    lines = [f"Drained: {name}, {_of_whom(drain)}" for name, drain in drains.items()]
    if pin:
        lines.append(f"Pinned{' strictly' if pin['strict'] else ''}: {pin['server']}, {_of_whom(pin)}")
        if pin["server"] in drains and pin["strict"]:
            lines.append(f"The strict pin wins over the drain: runs stay on {pin['server']} until the pin ends.")
        elif pin["server"] in drains:
            lines.append(f"The drain wins over the pin: runs use {pin['server']} only while no other server works.")
    return tuple(lines)


def _of_whom(order: Document) -> str:
    ends = f"until {order['ends']}" if order["ends"] else "until ended by a person"
    reason = f": {order['reason']}" if order["reason"] else ""
    return f"by {order['who']} since {order['created']}, {ends}{reason}"


def _runs(document: Document) -> str:
    """How chef-client's last runs went; empty before the first."""
    runs = document.get("runs") or {}
    last = runs.get("last")
    if last is None:
        return ""
    how = f" with {last['error_class']}" if last["error_class"] else ""
    how += {"start": " before it converged", "save": " when it saved the node"}.get(last["phase"], "")
    took = f", after {last['duration_s']:.0f} s" if last["duration_s"] is not None else ""
    words = (
        f"The last run {last['result']}{how} on {last['server'] or 'an unknown server'} at {last['ended_at']}{took}."
    )
    if not runs["since_success"]:
        return words
    since = (
        f" since the last success at {runs['last_success_at']}" if runs["last_success_at"] else ", and none succeeded"
    )
    return f"{words} Failed{since}: {runs['since_success']}."


def _used(document: Document) -> str:
    """What runs use, and since when; empty until one has told."""
    used = document.get("used")
    if not used:
        return ""
    what = f"environment {used['environment']}"
    if used["policy_name"] or used["policy_revision"]:
        revision = str(used["policy_revision"])[:_SHORT]
        what = f"revision {revision} of policy {used['policy_name']} in group {used['policy_group']}"
    count = "1 cookbook" if used["cookbooks"] == 1 else f"{used['cookbooks']} cookbooks"
    return f"Runs use {what} with {count} since {used['since']}."


def check(document: Document, config_path: str) -> str:
    """The result of probing each server once."""
    marks = {True: "ok", False: "!!", None: "--"}
    rows = [("", "SERVER", "OUTCOME", "DETAIL", "URL")]
    rows += [
        (marks[entry["usable"]], entry["name"], entry["outcome"], entry["detail"], entry["chef_server_url"])
        for entry in document["servers"]
    ]
    how = f"signed as {document['node_name']}" if document["signed"] else f"unsigned: {document['unsigned']}"
    what = f"Probes are {how}." if document["servers"] else "It names no server."
    lines = (*offline(document), f"{config_path} is valid. {what}", *_warnings(document), *discovery(document))
    node = [(marks[one["ok"]], one["subject"], one["detail"] or "") for one in document.get("node", [])]
    servers = table(rows) if document["servers"] else ""
    return "\n\n".join(filter(None, ("\n".join(lines), servers, table(node))))


def progress(document: Document, *, must_be_associated: bool, with_all: bool = False) -> tuple[bool, tuple[str, ...]]:
    """Whether the node has a server that works, and how far it is: one line, or with all servers one for each."""
    if document.get("error"):
        return False, (f"waiting for the sidecar: {document['error']}",)
    if document["offline"]:
        return False, (f"waiting: this node is offline: {document['offline']}",)
    chosen = next((entry for entry in document["servers"] if entry["chosen"]), None)
    if chosen is None:
        return False, ("waiting: no server is configured",)
    is_done, line = _progress_of(document, chosen, must_be_associated=must_be_associated)
    if not with_all:
        return is_done, (line,)
    return all(map(_is_associated, document["servers"])), associations(document)


def hoped_for(document: Document) -> str | None:
    """A server before the one in use that was not heard of yet, or where this node is just being registered."""
    for entry in document["servers"]:
        if entry["chosen"]:
            return None
        is_begun = entry["health"] == "UP" and entry["association"] in ("unassociated", "requested")
        if entry["health"] == "UNKNOWN" or is_begun:
            return str(entry["name"])
    return None


def associations(document: Document) -> tuple[str, ...]:
    """One line for each server: how the node's registration there stands."""
    return tuple(f"{entry['name']}: {_association(entry)}" for entry in document["servers"])


def _progress_of(document: Document, chosen: Document, *, must_be_associated: bool) -> tuple[bool, str]:
    if chosen["outcome"] is None:
        return False, f"waiting for the first probe of {chosen['name']}"
    if must_be_associated and not _is_associated(chosen):
        return False, f"waiting: {chosen['name']} is {chosen['health']}, and this node is {_association(chosen)}"
    if document["degraded"]:
        return False, f"waiting: {document['reason']}"
    return True, f"ready: {chosen['name']} {chosen['chef_server_url']}"


def _is_fit(entry: Document) -> bool:
    """It is in use or could be, so what it lacks is a warning."""
    return bool(entry["chosen"]) or (entry["standing"] == "eligible" and ready_in_a_word(entry) not in ("no", "?"))


def _registration(entry: Document) -> str:
    """How it stands in a word. An attempt that failed is not why a server that is DOWN does not know the node."""
    is_waiting = entry["association"] == "failed" and entry["health"] == "DOWN"
    return "unassociated" if is_waiting else str(entry["association"])


def _is_associated(entry: Document) -> bool:
    return bool(entry["association"] == "associated")


def _association(entry: Document) -> str:
    said = f" ({entry['association_detail']})" if entry["association_detail"] else ""
    if _is_associated(entry):
        return f"associated{said}"
    again_s = entry["association_retry_in_s"]
    if entry["health"] != "DOWN" and entry["association"] == "unassociated" and again_s:
        return f"unassociated{said}, registers in {in_words(again_s)}"
    if entry["health"] != "UP":
        return f"{_registration(entry)}; waits until the server is UP"
    again = f", next attempt in {in_words(again_s)}" if again_s else ""
    who = "; needs manual action" if entry["association"] == "refused" else ""
    return f"{entry['association']}{said}{again}{who}"


def _health(entry: Document) -> str:
    return f"{entry['health']}, impaired" if entry["index_fails"] else str(entry["health"])


def _last_probe(entry: Document) -> str:
    if entry["outcome"] is None:
        return "none yet"
    return f"{entry['outcome']}, {in_words(entry['age_s'])} ago"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """The rows with their columns aligned; the first is the head. Nothing for no rows."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
