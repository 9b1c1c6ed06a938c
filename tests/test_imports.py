"""One-way data flow, and pure modules that are pure."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sidecar" / "chef_failover"
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the inside out: a module imports only what stands before it. Whoever adds a module finds its place.
ORDER = [
    *("errors", "printable", "orders", "needs", "model", "durations", "health"),
    *("seeding", "readiness", "reading", "parity", "steering"),
    *("reasons", "selection", "prospects", "world", "run_history", "counts"),
    *("urls", "key_source", "list_address", "yaml_lines", "schema", "config", "fleet_list"),
    *(
        "answers",
        "chef_protocol",
        "libcrypto",
        "chef_api",
        "lookup",
        "deadline",
        "https",
        "trust",
        "exchange",
        "probes",
        "key_file",
        "node_key",
        "node_document",
        "node_objects",
        "imds",
        "identity",
        "aws_child",
        "aws",
        "list_fetch",
        "offline",
    ),
    *("tally", "fleet", "monitor", "watch", "runs", "association", "node_care", "caretaker"),
    *("boot", "surroundings", "workers"),
    *("render", "state", "clone", "keeper", "assembly", "metrics", "textfile"),
    *("list_cache", "discovery", "sidecar", "logs"),
    *("timeline", "overview", "page", "front"),
    *("listeners", "order_requests", "steering_api", "api", "systemd", "lean", "daemon"),
    *("client", "last_resort", "tables", "progress", "check", "diagnosis", "seal", "devserver", "demo", "cli", "entry"),
]
FORBIDDEN_IN_PURE = {
    "time", "random", "secrets", "socket", "ssl", "threading", "logging", "os", "subprocess", "requests", "urllib3",
    "flask", "waitress", "tempfile", "shutil", "asyncio", "http.client", "signal",
}  # fmt: skip
VALUES_IN = {"config"}
"""All of it but `load`, which reads the file, is values and the reading of text."""
RANDOM_AS_ARGUMENT = {"health"}
"""These take a random.Random; the module is imported for its type."""


def imported(path):
    """The names of everything ``path`` imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(dotted):
    parts = dotted.split(".")
    return parts[1] if parts[0] == "chef_failover" and len(parts) > 1 and parts[1] in ORDER else None


def own_layer(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_data_flows_one_way(path):
    name = own_layer(path)
    if name in ("__init__", "__main__"):
        return
    assert name in ORDER, "give the new module its place in ORDER"
    used = {layer(dotted) for dotted in imported(path)} - {None, name}
    assert all(ORDER.index(other) < ORDER.index(name) for other in used), used


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_docstring_says_which_kind_a_module_is_and_pure_ones_are_pure(path):
    name = own_layer(path)
    if path.name in ("__init__.py", "__main__.py"):
        return
    kind = ast.get_docstring(ast.parse(path.read_text())).partition(":")[0]
    assert kind in ("Pure", "I/O", "Shell")
    if kind == "Pure":
        allowed = {"random"} if name in RANDOM_AS_ARGUMENT else set()
        assert set(imported(path)) & FORBIDDEN_IN_PURE <= allowed


def test_pure_modules_import_only_pure_modules_of_ours():
    kinds = {own_layer(path): ast.get_docstring(ast.parse(path.read_text())).partition(":")[0]
             for path in MODULES if path.parent == PACKAGE}  # fmt: skip
    for path in MODULES:
        if path.parent == PACKAGE and kinds[own_layer(path)] == "Pure":
            used = {layer(dotted) for dotted in imported(path)} - {None}
            assert all(kinds.get(other, "Pure") == "Pure" for other in used - VALUES_IN), (path.name, used)
            names = set(imported(path))
            assert "chef_failover.config" not in names or {"chef_failover.config.load", "chef_failover"}.isdisjoint(
                names
            )


def test_wide_nets_are_cast_around_background_loops_and_main_only():
    found = [
        path.relative_to(PACKAGE).name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    ]
    assert sorted(found) == ["caretaker.py", "daemon.py", "discovery.py", "entry.py", "listeners.py", "monitor.py"]
