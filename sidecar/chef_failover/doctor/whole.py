"""Shell: every check on this node, one after another."""

from __future__ import annotations

from typing import Any

from chef_failover.doctor import client_rb_checks, files, key, shim, trust, unit, validator, visits
from chef_failover.doctor.finding import Check, Finding
from chef_failover.doctor.node import Node


def find_old_recipe(node: Node) -> tuple[Finding, ...]:
    """What the recipe of old has left in chef-client's configuration; nothing where it has not, or cannot be seen."""
    found = [check.run() for check in shim.recipe_checks(node)]
    return tuple(finding for finding in found if finding.is_ok is False)


def diagnose(node: Node, probed: dict[str, Any]) -> tuple[Finding, ...]:
    """What is well on ``node`` and what is not; ``probed`` is what `check` found there."""
    machine = node.machine
    visited = visits.visit_all(node.config, machine.resolver, machine.trust, machine.utc_now)
    checks = [Check("network", lambda: network(probed))]
    checks += [check for visit in visited for check in visit.checks()]
    checks += [*trust.checks(node), *key.checks(node, probed), *validator.checks(node, probed), *files.checks(node)]
    checks += [*shim.checks(node), *unit.checks(node)]
    first, *others = [check.run() for check in checks]
    names = [Finding("node name", is_ok=True, detail=name)] if (name := probed["node_name"]) else []
    return (first, *names, *others, *client_rb_checks.findings(node, probed))


def network(probed: dict[str, Any]) -> str | None:
    """Whether this node reaches anything at all."""
    why = probed["offline"]
    return why and f"this node is offline: {why}; check ip route, and resolvectl status or /etc/resolv.conf"
