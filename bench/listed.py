"""Where a fleet keeps its list: what S3 says to one question, over TLS, by a server on loopback that counts."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from chef_devserver.authority import Authority
from chef_failover.files import SYSTEM_BUNDLES

_TAG = '"1"'


class List:
    """The list at ``url``, and how often it was asked for; ``ca_file`` has what a node trusts, and its authority."""

    def __init__(self, text: str, directory: Path) -> None:
        authority, chain = Authority(), directory / "chain.pem"
        chain.write_bytes(b"".join(authority.certificate()))
        self.ca_file = directory / "s3-ca.pem"
        system = next((path for name in SYSTEM_BUNDLES if (path := Path("/", name)).is_file()), None)
        self.ca_file.write_bytes((system.read_bytes() if system else b"") + authority.ca_pem)
        self.asked = 0
        self._body = text.encode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def served(self) -> Iterator[List]:
        """It answers within the block."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kept.asked += 1
                is_known = self.headers["If-None-Match"] == _TAG
                body = b"" if is_known else kept._body
                self.send_response(304 if is_known else 200)
                self.send_header("ETag", _TAG)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
