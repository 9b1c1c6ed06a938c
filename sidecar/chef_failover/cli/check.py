"""Shell: the command that looks at a configuration and its servers without a daemon."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import click

from chef_failover.api import render
from chef_failover.chef import answers, node_objects, principal
from chef_failover.chef.principal import Known
from chef_failover.cli import tables
from chef_failover.cli.asking import pretty
from chef_failover.cli.options import config_option, json_option
from chef_failover.config import settings as configuration
from chef_failover.config.settings import Config, NoAssociation, Server
from chef_failover.config.source import parse_list_source
from chef_failover.decide import rights
from chef_failover.decide.readiness import why_not_ready
from chef_failover.doctor.node import Node
from chef_failover.doctor.whole import diagnose, find_old_recipe
from chef_failover.engine.assembly import readiness_policy
from chef_failover.engine.workers import chef_server_for, make_prober
from chef_failover.errors import EXIT_NO, ConfigError
from chef_failover.model.model import NodeCheck, Outcome, ProbeResult, SelectionPolicy, ServerSnapshot, Snapshot
from chef_failover.model.needs import ReadinessMode
from chef_failover.model.question import Look, Question
from chef_failover.node import accepted, offline
from chef_failover.node.key import ClientKey
from chef_failover.node.machine import Machine
from chef_failover.printable import printable_values
from chef_failover.server_list import discovery


@click.command()
@config_option
@json_option
@click.option(
    "--node",
    "with_node",
    is_flag=True,
    help="Also check this node: network, clock, key, files, shim, unit, client.rb.",
)
@click.option("--only-file", is_flag=True, help="Check only the file; ask no server.")
@click.option(
    "--list", "list_path", type=click.Path(path_type=Path), help="Take this file as the fleet's list, before nodes do."
)
def check(config_path: Path, *, as_json: bool, with_node: bool, only_file: bool, list_path: Path | None) -> None:
    """Validate config.yml and probe each server once.

    It needs no running sidecar, and finds leftovers of the OpsWorks recipe. With --node, each line starts with ok, with
    !! and what to do, or with -- for what this user or machine cannot check.
    """
    if only_file and with_node:
        raise click.UsageError("--only-file and --node exclude each other")
    config = _load(config_path, only_file=only_file)
    if list_path is not None:
        config = _with_list(config, list_path)
    if only_file:
        _look_at_files(config, config_path, has_list=list_path is not None, as_json=as_json)
        return
    machine = Machine()
    document = probe_all(config, machine)
    document["warnings"] = [*filter(None, (accepted.at_work(config_path).why_not,))]
    node = Node(config, config_path.absolute(), machine=machine)
    found = diagnose(node, document) if with_node else find_old_recipe(node)
    if with_node or found:
        document["node"] = [{"subject": one.subject, "ok": one.is_ok, "detail": one.detail or None} for one in found]
    click.echo(pretty(document) if as_json else tables.check(printable_values(document), str(config_path)))
    is_well = all(entry["ok"] is not False for entry in document.get("node", [])) and tables.is_list_well(document)
    if not is_well or any(entry["usable"] is False for entry in document["servers"]):
        sys.exit(EXIT_NO)


def _load(config_path: Path, *, only_file: bool) -> Config:
    """The configuration in the file; where it has mistakes, what is at work is said beside them."""
    try:
        return configuration.load(config_path)
    except ConfigError:
        if not only_file and accepted.read_if_there(config_path):
            click.echo(
                f"{config_path} is invalid; the sidecar and chef-client keep the former configuration:",
                err=True,
            )
        raise


def _with_list(config: Config, path: Path) -> Config:
    """``config`` of a node that fetches its list from ``path``."""
    source = parse_list_source(f"file:{path.resolve()}")
    return attrs.evolve(config, discovery=attrs.evolve(config.discovery, source=source))


def _look_at_files(config: Config, config_path: Path, *, has_list: bool, as_json: bool) -> None:
    """Say that ``config`` is valid, and how the list stands; with exit code 1 where a node would not use all of it."""
    document: dict[str, Any] = {"schema": 1}
    if has_list:
        now, standing = discovery.fetch_once(config)
        config, document["discovery"] = now.config, render.discovery(standing)
    document["servers"] = [server.name for server in config.servers]
    lines = (f"{config_path} is valid.", *tables.discovery(printable_values(document)))
    click.echo(pretty(document) if as_json else "\n".join(lines))
    if not tables.is_list_well(document):
        sys.exit(EXIT_NO)


def probe_all(config: Config, machine: Machine) -> dict[str, Any]:
    """What each server of ``config``, or of the list that it names, answers now, all asked at once.

    Where the node is registered, what a run needs there is read as well, and whether it could save its object.

    Raises:
        IdentityError: the node's name cannot be found out.
    """
    now, standing = discovery.fetch_once(config)
    config = now.config
    node_name = machine.node_name(config.node.name) if config.node.name else None
    key = ClientKey(config, node_name) if node_name else None
    signer = key.signer if key else lambda: None
    policy = readiness_policy(config)
    question = Question(policy, Look.EXISTENCE if policy.has_policy else Look.WHOLE)

    def look(server: Server) -> tuple[ProbeResult, NodeCheck | None, Known | None]:
        prober = make_prober(config, server, node_name, signer, machine)
        result, sign = prober.probe(), signer()
        chef_server = chef_server_for(config, server, node_name, machine)
        organization = config.organization(server)
        if organization and _may_have_none(result) and principal.tells_without_organization(chef_server):
            words = answers.no_api_under(organization)
            return attrs.evolve(result, outcome=Outcome.WRONG_ORGANIZATION, detail=words), None, None
        private = key.private_key() if key else None
        if private is not None and result.outcome is Outcome.NOT_ASSOCIATED:
            return result, None, principal.look(chef_server, private)
        if sign is None or policy.mode is ReadinessMode.OFF or not result.outcome.serves_node:
            return result, None, None
        return result, node_objects.check(chef_server, sign(prober.protocol), question), None

    with ThreadPoolExecutor(max_workers=max(1, len(config.servers))) as pool:
        found = list(pool.map(look, config.servers))
    urls = [server.url for server in config.servers] if any(result.never_left_node for result, _, _ in found) else []
    seen = tuple(
        ServerSnapshot(
            server.name, server.url, config.chef_server_url(server), config.priority(server), node_check=node_check
        )
        for server, (_, node_check, _) in zip(config.servers, found, strict=True)
    )
    world = Snapshot(seen, SelectionPolicy(config.selection.failback, str(node_name), policy))
    lacks = [why_not_ready(world, server) for server in seen]
    warnings = [rights.lack(world, server) for server in seen]
    return {
        "schema": 1,
        "node_name": node_name,
        "signed": signer() is not None,
        "unsigned": _why_unsigned(key),
        "offline": offline.look(urls, machine.resolver, config.health.timeout),
        "discovery": render.discovery(standing, machine.utc_now()),
        "servers": [
            {
                "name": server.name,
                "chef_server_url": config.chef_server_url(server),
                "outcome": result.outcome.value,
                **_usable(result, lack, warning, known, registers=not isinstance(server.association, NoAssociation)),
                "known": known,
            }
            for server, (result, _, known), lack, warning in zip(config.servers, found, lacks, warnings, strict=True)
        ],
    }


def _why_unsigned(key: ClientKey | None) -> str | None:
    """Why probes are not signed; None if they are."""
    if key is None:
        return "node.name is not set"
    return None if key.private_key() else key.trouble or f"{key.node_name} has no key yet"


def _may_have_none(result: ProbeResult) -> bool:
    """Whether the server answers, and that answer does not show that the organization exists there."""
    outcome = result.outcome
    is_proven = result.is_signed and outcome.serves_node
    return not is_proven and (outcome.is_alive or outcome in (Outcome.NOT_CHEF, Outcome.SERVER_ERROR))


def _usable(
    result: ProbeResult, lack: str | None, warning: str | None, known: Known | None, *, registers: bool
) -> dict[str, Any]:
    """Whether a run could work there, and why; None where it will, once the sidecar has registered the node."""
    if known is Known.NOT and registers:
        return {"detail": "does not know this node yet; the sidecar will register it", "usable": None}
    detail = "; ".join(filter(None, (result.detail, lack, warning)))
    return {"detail": detail, "usable": result.outcome.serves_node and lack is None}
