"""Shell: one probe of each server, without a daemon."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chef_failover.api import render
from chef_failover.config.settings import Config
from chef_failover.engine.assembly import readiness_policy
from chef_failover.engine.workers import make_prober
from chef_failover.model.needs import ReadinessMode
from chef_failover.node.key import ClientKey
from chef_failover.node.machine import Machine
from chef_failover.server_list import discovery


def check(config: Config) -> dict[str, Any]:
    """What each server of ``config``, or of the list that it names, answers now, all asked at once.

    Raises:
        IdentityError: the node's name cannot be found out.
    """
    machine = Machine()
    now, standing = discovery.fetch_once(config)
    config = now.config
    node_name = machine.node_name(config.node.name) if config.node.name else None
    signer = ClientKey(config, node_name).signer if node_name else lambda: None
    probers = [make_prober(config, server, node_name, signer, machine) for server in config.servers]
    with ThreadPoolExecutor(max_workers=max(1, len(probers))) as pool:
        results = list(pool.map(lambda prober: prober.probe(), probers))
    policy = readiness_policy(config)
    is_new_node = not any(result.reports_node_object for result in results)
    needs_node_object = policy.mode is not ReadinessMode.OFF and not policy.has_policy and not is_new_node
    return {
        "schema": 1,
        "node_name": node_name,
        "signed": signer() is not None,
        "discovery": render.discovery(standing, machine.utc_now()),
        "servers": [
            {
                "name": server.name,
                "chef_server_url": config.chef_server_url(server),
                "outcome": result.outcome.value,
                "detail": result.detail,
                "usable": result.outcome.serves_node and (result.has_node_object or not needs_node_object),
            }
            for server, result in zip(config.servers, results, strict=True)
        ],
    }
