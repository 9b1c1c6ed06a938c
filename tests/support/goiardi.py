"""A real goiardi (a Chef server in Go) on loopback, with TLS and authentication on."""

import contextlib
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote

import requests
import trustme

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.signing import ChefAuth, load_key
from tests.support.daemon_process import free_port
from tests.support.parts import require_program

READY_S = 60.0
VALIDATOR = "chef-validator"


class Goiardi:
    """One server below ``folder``, which it takes for itself, on an address of this machine.

    It starts as a context manager, and ends after the block.

    ``ca_file`` is what to trust. The port stays the same over ``stop``, ``kill`` and ``start``. Clients and nodes stay,
    too, but those made since the last ``save`` or ``stop`` do not survive a ``kill``.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self._program = require_program("goiardi", "goiardi")
        self._folder = folder
        self._address = address
        self._folder.mkdir()
        (folder / "files").mkdir()
        self.ca_file = folder / "ca.pem"
        self._issue_certificate()
        self.port = free_port(address)
        self.url = f"https://{address}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Goiardi":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, unless it runs already, and wait until it answers."""
        if self._process is not None:
            return
        options = {
            "ipaddress": self._address,
            "hostname": self._address,
            "port": self.port,
            "conf-root": self._folder,
            "ssl-cert": "server.pem",
            "ssl-key": "server.key",
            "local-filestore-dir": self._folder / "files",
            "data-file": self._folder / "data.bin",
            "index-file": self._folder / "index.bin",
            "log-file": self._folder / "log",
        }
        command = [self._program, "--use-auth", "--use-ssl", *(f"--{name}={value}" for name, value in options.items())]
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End it in order: it saves its data."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self._end(kill=True)

    def save(self) -> None:
        """Write clients and nodes down, which goiardi does when it ends in order."""
        self.stop()
        self.start()

    def register(self, name: str, public_key: str, run_list: tuple[str, ...] | None = None) -> None:
        """Register the client ``name``; with a run list, also its node object, made by the administrator."""
        client = {"name": name, "admin": False, "public_key": public_key}
        self._post("clients", client, VALIDATOR)
        if run_list is not None:
            self._post("nodes", {"name": name, "run_list": list(run_list)}, "admin")

    def put_cookbook(self, name: str, version: str) -> None:
        """A cookbook without files, as the administrator."""
        content = {
            "name": f"{name}-{version}",
            "cookbook_name": name,
            "version": version,
            "json_class": "Chef::CookbookVersion",
            "chef_type": "cookbook_version",
            "frozen?": False,
            "metadata": {"name": name, "version": version},
        }
        path = f"cookbooks/{name}/{version}"
        self.request("PUT", path, "admin", self._key("admin"), content).raise_for_status()

    def put_node(self, node: dict[str, object]) -> None:
        """A node object that is not there yet, as the administrator."""
        self._post("nodes", node, "admin")

    def put_item(self, bag: str, item: dict[str, object]) -> None:
        """An item that is not there yet, in a data bag that may be, as the administrator."""
        if bag not in self.request("GET", "data", "admin", self._key("admin")).json():
            self._post("data", {"name": bag}, "admin")
        self._post(f"data/{bag}", item, "admin")

    def put_role(self, name: str) -> None:
        """A role that does nothing, as the administrator, unless it is there."""
        role = {"name": name, "json_class": "Chef::Role", "chef_type": "role", "run_list": [], "env_run_lists": {}}
        answer = self.request("POST", "roles", "admin", self._key("admin"), role)
        if answer.status_code != 409:
            answer.raise_for_status()

    def delete_client(self, name: str) -> None:
        """As the administrator."""
        self.request("DELETE", f"clients/{name}", "admin", self._key("admin")).raise_for_status()

    def names(self, kind: str) -> list[str]:
        """The names of all objects of this kind, as the administrator."""
        return list(self.request("GET", kind, "admin", self._key("admin")).json())

    def search(self, query: str) -> list[object]:
        """The nodes that the search finds, as the administrator."""
        path = f"search/node?q={quote(query)}"
        rows: list[object] = self.request("GET", path, "admin", self._key("admin")).json()["rows"]
        return rows

    def request(self, method: str, path: str, user: str, key: PrivateKey, content: object = None) -> requests.Response:
        """One request, signed as ``user``."""
        with requests.Session() as session:
            session.trust_env = False
            url, auth = f"{self.url}/{path}", ChefAuth(user, key)
            return session.request(method, url, json=content, auth=auth, verify=str(self.ca_file), timeout=10)

    def _post(self, path: str, content: dict[str, object], user: str) -> None:
        self.request("POST", path, user, self._key(user), content).raise_for_status()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def validator_pem(self) -> Path:
        """The key of the client that may create clients."""
        return self._folder / f"{VALIDATOR}.pem"

    def _key(self, user: str) -> PrivateKey:
        return load_key(self._folder / f"{user}.pem")

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill() if kill else process.terminate()
            process.wait(READY_S)

    def _issue_certificate(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", self._address)
        authority.cert_pem.write_to_path(self.ca_file)
        certificate.private_key_pem.write_to_path(self._folder / "server.key")
        certificate.cert_chain_pems[0].write_to_path(self._folder / "server.pem")

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + READY_S
        pause = threading.Event()
        with requests.Session() as session:
            session.trust_env = False
            while True:
                with contextlib.suppress(requests.ConnectionError):
                    session.get(f"{self.url}/_status", verify=str(self.ca_file), timeout=5)
                    return
                said = (self._folder / "output").read_text()
                assert self._process is not None
                assert self._process.poll() is None, f"goiardi ended: {said}"
                assert time.monotonic() < deadline, f"goiardi does not answer: {said}"
                pause.wait(0.02)


def public_pem(key: PrivateKey) -> str:
    """The public half of a private key, as servers take it."""
    return key.public_pem().decode()
