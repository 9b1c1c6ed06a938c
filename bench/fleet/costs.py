"""What one request costs goiardi in CPU: ``python -m bench.fleet.costs``. The simulation's costs come from here.

goiardi is a Chef server in Go, which runs on one node without a database. An Erlang Chef server needs more for each
request, for runs and for probes alike; what the simulation needs is how they compare.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "sidecar")]

from bench import processes  # noqa: E402
from chef_failover.chef.libcrypto import PrivateKey  # noqa: E402
from chef_failover.chef.signing import ChefAuth, load_key  # noqa: E402
from tests.support.goiardi import VALIDATOR, Goiardi  # noqa: E402

NODE = "bench-node"
TIMES = 300
OBJECT_BYTES = 150_000


def main() -> None:
    """Print milliseconds of CPU for one request of each kind."""
    with tempfile.TemporaryDirectory(prefix="cf-bench-") as folder, Goiardi(Path(folder) / "goiardi") as goiardi:
        key = PrivateKey.generate()
        public = key.public_pem().decode()
        goiardi.register(NODE, public, ("recipe[web]",))
        node = goiardi.request("GET", f"nodes/{NODE}", NODE, key).json()
        node["automatic"] = {f"attribute-{number}": "v" * 100 for number in range(OBJECT_BYTES // 120)}
        goiardi.request("PUT", f"nodes/{NODE}", NODE, key, node).raise_for_status()
        auth, validator = ChefAuth(NODE, key), ChefAuth(VALIDATOR, load_key(goiardi.validator_pem))

        def ask(session: requests.Session, method: str, path: str, auth: ChefAuth | None, body: object = None) -> None:
            url = f"{goiardi.url}/{path}"
            answer = session.request(method, url, json=body, auth=auth, verify=str(goiardi.ca_file), timeout=30)
            assert answer.status_code in (200, 201, 401), (method, path, answer.status_code)

        def alone(method: str, path: str, auth: ChefAuth | None) -> Callable[[int], None]:
            def once(_: int) -> None:
                with _session() as session:
                    ask(session, method, path, auth)

            return once

        with _session() as kept:
            costs: dict[str, Callable[[int], None]] = {
                "signed probe": alone("GET", f"clients/{NODE}", auth),
                "unsigned probe": alone("GET", f"principals/{NODE}", None),
                "refusal": alone("GET", f"clients/{NODE}", None),
                f"reading of {len(json.dumps(node)) // 1000} kB": alone("GET", f"nodes/{NODE}", auth),
                "small request of a run": lambda _: ask(kept, "GET", f"clients/{NODE}", auth),
                "node object, read by a run": lambda _: ask(kept, "GET", f"nodes/{NODE}", auth),
                "node object, saved by a run": lambda _: ask(kept, "PUT", f"nodes/{NODE}", auth, node),
                "registration": lambda number: ask(
                    kept, "POST", "clients", validator, {"name": f"client-{number}", "public_key": public}
                ),
                "seeding": lambda number: ask(kept, "POST", "nodes", auth, {"name": f"node-{number}", "run_list": []}),
            }
            for what, once in costs.items():
                before_s = processes.cpu_s(goiardi.pid)
                for number in range(TIMES):
                    once(number)
                print(f"{what:30} {(processes.cpu_s(goiardi.pid) - before_s) / TIMES * 1000:6.2f} ms")


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


if __name__ == "__main__":
    main()
