"""Shell: the command that removes nodes that are gone from the Chef servers, from a workstation or a script."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import click

from chef_failover.cli.asking import pretty
from chef_failover.cli.options import json_option
from chef_failover.cli.servers import progress_bar, with_sessions
from chef_failover.cli.tables import table
from chef_failover.errors import EXIT_NO
from chef_failover.fleet import retirement
from chef_failover.fleet.retire import Servers, Sightings
from chef_failover.fleet.retirement import Refusal
from chef_failover.fleet.session import Session
from chef_failover.printable import printable_values

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
_PARTS = {"unknown": "?", "gone": "-"}


@click.command()
@with_sessions
@click.option("--yes", "is_agreed", is_flag=True, help="Do not ask for confirmation; for scripts.")
@click.option(
    "--force",
    "is_forced",
    is_flag=True,
    help="Also nodes that may be alive: seen within the last hour, without a run yet, or on a server that is silent.",
)
@json_option
@click.argument("nodes", nargs=-1, required=True)
def retire(
    *, sessions: Sequence[Session], nodes: Sequence[str], is_agreed: bool, is_forced: bool, as_json: bool
) -> None:
    """Remove nodes that are gone from the Chef servers.

    It removes the client and the node object of each NODE from the servers of all profiles, after it has shown what is
    there, has asked, and has looked again. A node that may live is kept, and so are validators and administrators. Exit
    code 1 if anything is left; the next call finishes what a server that was down has left.
    """
    for name in nodes:
        if not _NAME.fullmatch(name):
            raise click.UsageError(f"{name!r} is not a node name; write letters, digits, _ . : and -")
    if not is_agreed and not sys.stdin.isatty():
        raise click.UsageError("removal is final and needs a confirmation: without a terminal, pass --yes")
    with progress_bar("looking at nodes") as progress:
        seen = _look(Servers(sessions, progress), tuple(dict.fromkeys(nodes)), is_forced=is_forced)
    if seen.going and not is_agreed:
        click.echo(_text(seen.document(seen.found)), err=True)
        what = f"{len(seen.going)} nodes" if len(seen.going) > 1 else next(iter(seen.going))
        where = " and ".join(session.account.label for session in sessions)
        if not click.confirm(f"\nRemove {what} from {where}?", err=True):
            sys.exit(EXIT_NO)
        with progress_bar("looking at nodes again") as progress:  # the answer may have taken an hour
            again = _look(Servers(sessions, progress), [*seen.going], is_forced=is_forced)
        seen = _Seen({**seen.found, **again.found}, {**seen.refusals, **again.refusals}, again.going, again.on)
    with progress_bar("removing nodes") as progress:
        removed = Servers(sessions, progress).remove(seen.going)
    document = seen.document({**seen.found, **removed})
    click.echo(pretty(document) if as_json else _text(document))
    if not document["whole"]:
        sys.exit(EXIT_NO)


@attrs.frozen
class _Seen:
    found: Sightings
    refusals: Mapping[str, Refusal]
    going: Sightings
    """What is to be removed."""
    on: datetime.datetime

    def document(self, nodes: Sightings) -> dict[str, Any]:
        return retirement.document(nodes, self.refusals, self.on)


def _look(servers: Servers, names: Sequence[str], *, is_forced: bool) -> _Seen:
    on = datetime.datetime.now(datetime.UTC)
    found = servers.look(names, on)
    judged = {
        name: retirement.refusal(name, sightings, users=servers.users, on=on, is_forced=is_forced)
        for name, sightings in found.items()
    }
    refusals = {name: refused for name, refused in judged.items() if refused}
    going = {name: one for name, one in found.items() if name not in refusals and not retirement.is_gone(one)}
    return _Seen(found, refusals, going, on)


def _text(document: Mapping[str, Any]) -> str:
    """A table with a line for each node and server, and what is to be said of them."""
    printed = printable_values(document)
    rows = [("NODE", "SERVER", "CLIENT", "NODE OBJECT", "LAST SEEN")]
    said = []
    for node in printed["nodes"]:
        for place, one in enumerate(node["servers"]):
            parts = [_PARTS.get(part, part) for part in (one["client"], one["node"])]
            rows.append(("" if place else node["name"], one["label"], *parts, one["seen"] or ""))
            if one["trouble"] and node["result"] != "kept":
                said.append(f"{node['name']} is still on {one['label']}: {one['trouble']}")
        if node["reason"]:
            said.append(f"{node['name']} is kept: {node['reason']}")
    return "\n\n".join(filter(None, (table(rows), "\n".join(said))))
