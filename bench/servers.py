"""Embedded Chef servers on loopback, and configurations that name them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from chef_devserver.authority import Authority
from chef_devserver.server import DevServer

NAMES = ("mainserver", "standby-1", "standby-2")
NODE = "bench-node"


class Fleet:
    """Running Chef servers, in order of preference, and a directory for what belongs to them."""

    def __init__(self, servers: Sequence[DevServer], directory: Path) -> None:
        self.servers = servers
        self.main = servers[0]
        self._directory = directory

    def config(
        self, name: str, *, health: str = "", key: Path | None = None, registers: bool = False, loopback: str = "off"
    ) -> Path:
        """A configuration in a directory of its own; ``health`` is the inside of that YAML mapping.

        With ``registers`` the node registers itself with each server, by that server's own validator.
        """
        home = self._directory / name
        home.mkdir(mode=0o700)
        (home / "ca.pem").write_bytes(self.main.ca_pem)
        key_line = f", client_key: {key}" if key else ""
        servers = ""
        for server in self.servers:
            servers += f"  - name: {server.name}\n    url: {server.url}\n    ca_file: {home}/ca.pem\n"
            if registers:
                validator = home / f"{server.name}-validator.pem"
                validator.write_bytes(server.validator_key.private_pem())
                servers += f"    association: {{provider: chef-server, validator_key: 'file:{validator}'}}\n"
        path = home / "config.yml"
        path.write_text(
            f"node: {{name: {NODE}{key_line}}}\nservers:\n{servers}health: {{{health}}}\n"
            # Whoever answers first at the start would otherwise keep the node for the length of a hold-down.
            "selection: {failback: immediately}\n"
            f"listen: {{socket: {home}/sidecar.sock, loopback: {loopback}}}\nstate_dir: {home}\n"
        )
        return path


@contextlib.contextmanager
def fleet(names: Sequence[str] = NAMES) -> Iterator[Fleet]:
    """A fleet that lives as long as the block."""
    authority = Authority()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cf-bench-")))
        servers = [stack.enter_context(DevServer(name, authority)) for name in names]
        yield Fleet(servers, directory)
