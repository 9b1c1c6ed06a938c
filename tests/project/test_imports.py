"""The rooms of the house: data flows one way, and what decides is pure."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "sidecar" / "chef_failover"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
# From the ground up: a room uses only rooms before it, and what stands on the ground only what is before it there.
ROOMS = [
    *("errors", "printable", "durations", "instants", "weighed_json", "turns", "files"),
    *("model", "config", "decide", "aws", "chef", "fleet", "state", "node", "server_list", "registration", "metrics"),
    *("engine", "api", "doctor", "daemon", "cli"),
]
FORBIDDEN_IN_PURE = {
    "time", "random", "secrets", "socket", "ssl", "threading", "logging", "os", "subprocess", "requests", "urllib3",
    "flask", "waitress", "tempfile", "shutil", "asyncio", "http.client", "signal",
}  # fmt: skip
PURE_ROOMS = {"model", "decide"}


def imported(path):
    """The names of everything ``path`` imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(dotted):
    parts = dotted.split(".")
    return parts[1] if parts[0] == "chef_failover" and len(parts) > 1 and parts[1] in ROOMS else None


def own_room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def kind(path):
    return ast.get_docstring(ast.parse(path.read_text())).partition(":")[0]


def name(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_room_uses_only_rooms_below_it(path):
    own = own_room(path)
    assert own in ROOMS, "give the new room its place in ROOMS"
    above = ROOMS[ROOMS.index(own) + 1 :]
    assert not {room(dotted) for dotted in imported(path)} & {*above}


def test_there_is_no_circle_within_a_room():
    uses = {
        f"chef_failover.{'.'.join(path.relative_to(PACKAGE).with_suffix('').parts)}": set(imported(path))
        for path in MODULES
    }

    def visit(module, way):
        assert module not in way, " -> ".join((*way, module))
        for used in uses[module] & uses.keys():
            visit(used, (*way, module))

    for module in uses:
        visit(module, ())


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_the_docstring_says_which_kind_a_module_is_and_pure_ones_are_pure(path):
    assert kind(path) in ("Pure", "I/O", "Shell")
    assert kind(path) == "Pure" or own_room(path) not in PURE_ROOMS
    if kind(path) == "Pure":
        assert not set(imported(path)) & FORBIDDEN_IN_PURE


def test_pure_modules_import_only_pure_modules_of_ours():
    kinds = {f"chef_failover.{name(path)[:-3].replace('/', '.')}": kind(path) for path in MODULES}
    for path in MODULES:
        if kind(path) == "Pure":
            used = {kinds[dotted] for dotted in imported(path) if dotted in kinds and not dotted.startswith(VALUES_IN)}
            assert used <= {"Pure"}, path
            assert "chef_failover.config.settings.load" not in imported(path)


VALUES_IN = "chef_failover.config.settings"
"""All of it but `load`, which reads the file, is values and the reading of text."""


def test_the_program_knows_nothing_of_the_servers_embedded_in_its_tests():
    assert not any(dotted.startswith("chef_devserver") for path in MODULES for dotted in imported(path))


def test_wide_nets_are_cast_around_background_work_reloads_and_main_only():
    found = [
        path.relative_to(PACKAGE).name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    ]
    assert sorted(found) == ["main.py", "scheduler.py", "serve.py", "sidecar.py"]


def test_names_of_tests_can_be_read_in_one_line():
    folder = Path(__file__).parents[1]
    names = re.findall(r"def (test_\w+)", "\n".join(path.read_text() for path in folder.rglob("test_*.py")))
    assert [name for name in names if len(name) > 80] == []
