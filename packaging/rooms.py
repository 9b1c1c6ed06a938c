"""Draws the rooms of sidecar/chef_failover and who uses whom, from their imports: ``rooms.py [PAGE]``.

PAGE, docs/architecture.md by default, gets the drawing in place of its first Mermaid block. An arrow leads from a room
to one that it uses. Arrows that follow from others are left out, as are the modules on the ground, which all may use.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sidecar" / "chef_failover"
PAGE = ROOT / "docs" / "architecture.md"
BLOCK = re.compile(r"```mermaid\n.*?```\n", flags=re.DOTALL)


def main() -> None:
    """Write the drawing into the page."""
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    page.write_text(BLOCK.sub(drawing(), page.read_text(encoding="utf-8"), count=1), encoding="utf-8")


def drawing() -> str:
    """A Mermaid block with every room and the arrows that do not follow from others."""
    uses = rooms()
    arrows = [f"  {room} --> {used}" for room in sorted(uses) for used in sorted(direct(room, uses))]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```", ""])


def rooms() -> dict[str, set[str]]:
    """Every room by its name, with those that its modules import."""
    names = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    return {
        name: {used for path in (PACKAGE / name).rglob("*.py") for used in _imported(path)} & names - {name}
        for name in names
    }


def direct(room: str, uses: Mapping[str, set[str]]) -> set[str]:
    """The rooms that ``room`` uses and that none of the others it uses leads to."""
    return {used for used in uses[room] if not any(used in _reach(other, uses) for other in uses[room])}


def _reach(room: str, uses: Mapping[str, set[str]]) -> set[str]:
    return uses[room].union(*(_reach(used, uses) for used in uses[room]))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "chef_failover":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("chef_failover."):
            yield node.module.split(".")[1]


if __name__ == "__main__":
    main()
