"""The yardstick for memory: bare.py SOCKET URL CA_FILE. The libraries of a sidecar, and nothing of ours."""

from __future__ import annotations

import sys
import warnings

import cachetools
import flask
import waitress

warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")  # as `chef_failover.chef`
import requests  # noqa: E402


def main(socket: str, url: str, ca_file: str) -> None:
    """Ask the Chef server once, and answer on the socket for ever."""
    known = cachetools.TTLCache(8, 60)
    with requests.Session() as session:
        session.trust_env = False
        known["status"] = session.get(f"{url}/_status", verify=ca_file, timeout=10).json()
    app = flask.Flask("bare")
    app.add_url_rule("/v1/server", view_func=lambda: known.get("status", {}))
    waitress.serve(app, unix_socket=socket, _quiet=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
