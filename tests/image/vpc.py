"""A network of our own for virtual machines, as a VPC is one: addresses by DHCP, names and metadata at link-local ones.

It is made in the network namespace that the tests run in (``make test-image`` makes that), and vanishes with it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.parts import missing_part, require_program

BRIDGE = "vpc"
ROUTER = "10.0.0.1"
DNS = "169.254.169.253"
MAIN, STANDBY = "10.0.0.11", "10.0.0.12"
"""Where the Chef servers listen."""


def instance_address(number: int) -> str:
    return f"10.0.0.{100 + number}"


def instance_mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def require_own_network() -> None:
    """A skip, unless we are root where there is no network yet, as in a namespace that has just been made."""
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    if os.geteuid() != 0 or routes:
        missing_part("not in a network namespace of our own (as root, `make test-image` runs in one)")


@contextlib.contextmanager
def vpc(folder: Path, numbers: Sequence[int]) -> Iterator[None]:
    """The network, with a place (``tapN``) for each instance number."""
    dnsmasq = require_program("dnsmasq", "dnsmasq-base")
    _ip("link", "set", "lo", "up")
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        for address in (f"{ROUTER}/24", f"{MAIN}/24", f"{STANDBY}/24", f"{DNS}/32", "169.254.169.254/32"):
            _ip("address", "add", address, "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for number in numbers:
            _ip("tuntap", "add", f"tap{number}", "mode", "tap")
            _ip("link", "set", f"tap{number}", "master", BRIDGE, "up")
        options = [
            f"--interface={BRIDGE}",
            "--bind-interfaces",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--dhcp-range=10.0.0.0,static",
            f"--dhcp-option=option:router,{ROUTER}",
            f"--dhcp-leasefile={folder}/leases",
            f"--log-facility={folder}/dnsmasq.log",
            *(f"--dhcp-host={instance_mac(number)},{instance_address(number)}" for number in numbers),
        ]
        process = subprocess.Popen([dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", *options])
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)
    finally:
        for number in numbers:
            _ip("link", "delete", f"tap{number}")
        _ip("link", "delete", BRIDGE)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=10)
