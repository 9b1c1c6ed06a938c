"""(b) What a run waits for its server, against the 2019 recipe's health check, for each way in which main fails.

Each sample is a fresh Ruby process, since a run resolves once; the libraries that chef-client has loaded anyway are
loaded before the clock starts. Both sides take turns. The recipe looks once, when client.rb is read. The shim asks
twice, when client.d is read and at run_start, `PAUSE_S` later; what it takes is both. The sidecar is met in three
situations:

* *cached*: its results are fresh enough;
* *anew*: they are too old, so it probes the servers: from the first question on, and the second waits for the rest;
* *just died*: like anew, and the main server was UP until now, so nothing is known of its failure.

The silent server and the black hole cost the recipe a minute each, so it waits for them once, in the background.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from bench import parts, processes
from bench.figures import Figure, at_least, duration, median
from bench.servers import Fleet, fleet
from chef_devserver.faults import Fault

GROUP = "b"
ROUNDS = 15
PAUSE_S = 0.06
"""What chef-client does between the two questions takes 58 to 168 ms, measured with 14 to 18."""
FRESH_FOR = "500ms"
OLD_AFTER_S = 0.6
BLACK_HOLE_TARGET = 1000.0
_RESOLVE = str(Path(__file__).parent / "resolve.rb")
_LONG = (Fault.SILENT, Fault.BLACK_HOLE)
_CASES = {
    None: "all healthy",
    Fault.REFUSE: "main refuses",
    Fault.SILENT: "main silent",
    Fault.BLACK_HOLE: "main a black hole",
}


class Recipe:
    """The comparison; the long waits begin with the block and are over, at the latest, when `measure` ends."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._pool = self._stack.enter_context(ThreadPoolExecutor())
        self._fleets: dict[Fault | None, Fleet] = {}
        self._waits: dict[Fault, Future[float]] = {}

    def __enter__(self) -> Recipe:
        for fault in _CASES:
            self._fleets[fault] = self._stack.enter_context(fleet())
            self._fleets[fault].main.fault = fault
        self._waits = {fault: self._pool.submit(self._recipe, self._fleets[fault]) for fault in _LONG}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self) -> list[Figure]:
        """The figures; `MissingPartError` without ruby."""
        parts.require("ruby")
        ours: list[tuple[Fault | None, str, float, list[float] | None]] = []
        for fault in _CASES:
            for kind, fresh_for, rests_s in (("cached", "1h", 0.0), ("anew", FRESH_FOR, OLD_AFTER_S)):
                recipe, shim = self._known(fault, kind, fresh_for, rests_s)
                ours.append((fault, kind, median(shim), recipe))
            if fault:
                recipe, shim = self._just_died(fault)
                ours.append((fault, "just died", median(shim), recipe))
        figures = []
        for fault, kind, shim_s, recipe in ours:
            recipe_s = median(recipe) if recipe else self._waits[fault].result(150)
            limit = BLACK_HOLE_TARGET if fault is Fault.BLACK_HOLE and kind != "just died" else 1.0
            what = f"recipe : shim, {_CASES[fault]}, {kind}"
            figures.append(
                at_least(GROUP, what, duration(shim_s), duration(recipe_s), figure=recipe_s / shim_s, limit=limit)
            )
        return figures

    def _known(
        self, fault: Fault | None, kind: str, fresh_for: str, rests_s: float
    ) -> tuple[list[float] | None, list[float]]:
        """What the main server does is known to the sidecar."""
        servers = self._fleets[fault]
        config = servers.config(kind, health=f"fresh_for: {fresh_for}")
        with processes.sidecar(config) as sidecar:
            processes.until(sidecar.is_answering)
            processes.until(lambda: sidecar.health()["mainserver"] == ("DOWN" if fault else "UP"))
            return self._in_turns(servers, config, fault, rests_s)

    def _just_died(self, fault: Fault) -> tuple[list[float] | None, list[float]]:
        """The main server fails between two questions; after each it is healed, so that it never counts as DOWN."""
        if fault in _LONG:
            with fleet() as servers:
                return None, self._deaths(servers, fault, 1)[1]
        return self._deaths(self._fleets[fault], fault, ROUNDS)

    def _deaths(self, servers: Fleet, fault: Fault, rounds: int) -> tuple[list[float], list[float]]:
        config = servers.config("just-died", health=f"fresh_for: {FRESH_FOR}, fall: 1000")
        recipe, shim = [], []
        servers.main.fault = None
        with processes.sidecar(config) as sidecar:
            processes.until(sidecar.is_answering)
            for _ in range(rounds):
                servers.main.fault = None
                processes.until(lambda: sidecar.get("/v1/server").get("name") == "mainserver")
                time.sleep(OLD_AFTER_S)
                servers.main.fault = fault
                shim.append(self._shim(servers, config, fault))
                if fault not in _LONG:
                    recipe.append(self._recipe(servers))
        return recipe, shim

    def _in_turns(
        self, servers: Fleet, config: Path, fault: Fault | None, rests_s: float
    ) -> tuple[list[float] | None, list[float]]:
        recipe, shim = [], []
        for _ in range(ROUNDS):
            time.sleep(rests_s)
            shim.append(self._shim(servers, config, fault))
            if fault not in _LONG:
                recipe.append(self._recipe(servers))
        return recipe or None, shim

    def _shim(self, servers: Fleet, config: Path, fault: Fault | None) -> float:
        url, took_s = self._resolve("shim", str(processes.SHIM), str(config), str(PAUSE_S))
        expected = servers.servers[1 if fault else 0].chef_server_url
        if url != expected:
            raise RuntimeError(f"the shim resolved to {url} instead of {expected}")
        return took_s

    def _recipe(self, servers: Fleet) -> float:
        return self._resolve("recipe", *(server.url for server in servers.servers))[1]

    def _resolve(self, *arguments: str) -> tuple[str, float]:
        answer = processes.ruby_json(parts.require("ruby"), _RESOLVE, *arguments, timeout_s=150)
        return answer["url"], answer["took_s"]
