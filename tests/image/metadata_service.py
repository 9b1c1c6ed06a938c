"""EC2's instance metadata service, its second version alone. Instances are told apart by their addresses."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "169.254.169.254"
_TOKEN, _LIFETIME = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"

Tree = Mapping[str, "str | Tree"]
"""What an instance may ask: ``{"meta-data": {"instance-id": "i-0abc"}, "user-data": "#cloud-config"}``."""


class MetadataService(ThreadingHTTPServer):
    """``trees`` has one tree for each instance's address; ``asked`` is (address, path) of each question answered."""

    daemon_threads = True

    def __init__(self, trees: Mapping[str, Tree]) -> None:
        super().__init__((ADDRESS, 80), _Answer)
        self.trees = trees
        self.tokens: set[str] = set()
        self.asked: list[tuple[str, str]] = []


@contextlib.contextmanager
def metadata_service(trees: Mapping[str, Tree]) -> Iterator[MetadataService]:
    with MetadataService(trees) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class _Answer(BaseHTTPRequestHandler):
    server: MetadataService

    def do_PUT(self) -> None:
        if self.path != "/latest/api/token" or not self.headers.get(_LIFETIME, "").isdecimal():
            return self._say(400)
        token = secrets.token_urlsafe()
        self.server.tokens.add(token)
        return self._say(200, token, {_LIFETIME: self.headers[_LIFETIME]})

    def do_GET(self) -> None:
        if self.headers.get(_TOKEN) not in self.server.tokens:
            return self._say(401)
        address = self.client_address[0]
        self.server.asked.append((address, self.path))
        found: str | Tree | None = self.server.trees.get(address, {})
        for name in self.path.split("/")[2:]:  # the first is a version: latest, or a date
            if name:
                found = found.get(name) if isinstance(found, Mapping) else None
        if found is None:
            return self._say(404)
        return self._say(200, found if isinstance(found, str) else _listing(found))

    def _say(self, status: int, text: str = "", headers: Mapping[str, str] | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: ``asked`` has it."""


def _listing(tree: Tree) -> str:
    """Folders end in a slash, except keys, which EC2 lists as ``0=name``."""
    return "\n".join(
        name if isinstance(below, str) else f"{name}=key" if "openssh-key" in below else f"{name}/"
        for name, below in tree.items()
    )
