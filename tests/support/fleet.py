"""Nodes as a Chef server has them, with what the Ohai plugin publishes."""

import time

WELL = {
    "health": "UP", "outcome": "ok", "association": "associated", "ready": True, "may_save": True,
    "standing": "eligible", "stale": False, "has_object": True, "certificate_ends": None,
}  # fmt: skip


def facts(uses="mainserver", **servers):
    """``node['chef_failover']`` of a node that uses that server; ``servers`` has changes to the standbys."""
    listed = {"mainserver": {}, "standbyserver": {}} | servers
    return {
        "available": True,
        "version": "0.1.0",
        "server": {"name": uses, "chef_server_url": f"https://{uses}.example.com", "degraded": False},
        "pin": None,
        "drains": {},
        "servers": {
            name: WELL | {"url": f"https://{name}.example.com", "priority": place} | changes
            for place, (name, changes) in enumerate(listed.items())
        },
    }


def automatic(published=None, *, age_s=60.0):
    """A node's automatic attributes, saved that long ago."""
    own = {} if published is None else {"chef_failover": published}
    return {"ohai_time": time.time() - age_s, **own}


def fill(server, names, published=None, *, age_s=60.0):
    """Store these nodes on an embedded server, all with the same attributes."""
    attributes = automatic(published, age_s=age_s)
    for name in names:
        server.put_node(name, ["recipe[web]"], automatic=attributes)


def write_credentials(folder, servers):
    """A credentials file in ``folder`` with a profile for each embedded server, and the certificate beside it."""
    text = ""
    for server in servers:
        (folder / f"{server.name}.pem").write_bytes(server.administrator_key.private_pem())
        text += f'[{server.name}]\nclient_name = "admin"\nclient_key = "{server.name}.pem"\n'
        text += f'chef_server_url = "{server.chef_server_url}"\n'
    (folder / "credentials").write_text(text)
    (folder / "trusted_certs").mkdir()
    (folder / "trusted_certs" / "ca.crt").write_bytes(servers[0].ca_pem)
    return folder / "credentials"
