"""I/O: whether systemd starts the service now and at every boot."""

from __future__ import annotations

import subprocess

from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import UNIT, Node
from chef_failover.errors import UnseenError

_PATIENCE_S = 5.0


def checks(node: Node) -> tuple[Check, ...]:
    """The unit."""
    return (
        Check("unit is enabled", lambda: ask(node, "is-enabled", "enabled", f"systemctl enable {UNIT}")),
        Check(
            "unit is active", lambda: ask(node, "is-active", "active", f"systemctl start {UNIT}; journalctl -u {UNIT}")
        ),
    )


def ask(node: Node, question: str, wanted: str, remedy: str) -> str | None:
    """What systemctl answers to ``question``."""
    systemctl = node.which("systemctl")
    if systemctl is None or not node.path("/run/systemd/system").is_dir():
        raise UnseenError("systemd does not run here")
    try:
        ended = subprocess.run(  # noqa: S603 - fixed words
            [systemctl, question, UNIT], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnseenError(f"systemctl does not answer: {error}") from error
    said = (ended.stdout.strip() or ended.stderr.strip()).partition("\n")[0]
    return None if said == wanted else f"it is {said or 'unknown'}: {remedy}"
