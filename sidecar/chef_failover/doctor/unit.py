"""I/O: whether systemd starts the service now and at every boot, and what it hands over."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs

from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import UNIT, Node
from chef_failover.errors import UnseenError

CREDENTIALS_DIR = Path("/run/credentials", UNIT)
"""Where the service finds what systemd hands over."""
_PATIENCE_S = 5.0


@attrs.frozen
class Credentials:
    """What systemd hands to the service: ``loaded`` from these files, and ``instead`` of one that is missing."""

    loaded: Mapping[str, Path] = attrs.field(factory=dict)
    instead: frozenset[str] = frozenset()


def checks(node: Node) -> tuple[Check, ...]:
    """The unit."""
    return (
        Check("unit is enabled", lambda: ask(node, "is-enabled", "enabled", f"systemctl enable {UNIT}")),
        Check(
            "unit is active", lambda: ask(node, "is-active", "active", f"systemctl start {UNIT}; journalctl -u {UNIT}")
        ),
        Check("credentials", lambda: missing_credentials(node)),
    )


def ask(node: Node, question: str, wanted: str, remedy: str) -> str | None:
    """What systemctl answers to ``question``."""
    said = _systemctl(node, question).strip().partition("\n")[0]
    return None if said == wanted else f"{said or 'unknown'}: {remedy}"


def missing_credentials(node: Node) -> str | None:
    """The files of LoadCredential that are not there: without one, systemd starts nothing."""
    handed_over, said = credentials(node), []
    for name, path in handed_over.loaded.items():
        if not path.exists():
            what = "the service starts without it; restore it, then restart the service"
            if name not in handed_over.instead:
                what = (
                    "the service does not start without it (243/CREDENTIALS): restore it, and add"
                    f" SetCredential={name}:(missing), as in packaging/examples/client-key.conf"
                )
            said.append(f"LoadCredential names {path}, which does not exist: {what}")
    return "; ".join(said) or None


def credentials(node: Node) -> Credentials:
    """What the unit and its drop-ins name; nothing where systemd does not run."""
    try:
        text = _systemctl(node, "cat")
    except UnseenError:
        return Credentials()
    loaded: dict[str, Path] = {}
    instead = set()
    for line in text.splitlines():
        setting, _, value = line.strip().partition("=")
        name, _, place = value.strip().partition(":")
        if setting == "LoadCredential" and not value.strip():
            loaded.clear()
        elif setting == "LoadCredential" and place.startswith("/"):
            loaded[name] = node.path(place)
        elif setting == "SetCredential":
            instead.add(name)
    return Credentials(loaded, frozenset(instead))


def _systemctl(node: Node, question: str) -> str:
    systemctl = node.which("systemctl")
    if systemctl is None or not node.path("/run/systemd/system").is_dir():
        raise UnseenError("systemd is not running here")
    try:
        ended = subprocess.run(  # noqa: S603 - fixed words
            [systemctl, question, UNIT], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnseenError(f"systemctl does not answer: {error}") from error
    return ended.stdout or ended.stderr
