"""EC2's instance metadata service on loopback, the second version alone, with the faults that it has in the field."""

from __future__ import annotations

import http.server
import secrets
import socket
import threading
import time

INSTANCE_ID = "i-0123456789abcdef0"
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"


class Imds:
    """Serves ``documents`` (path: text) at ``url`` while the ``with`` block lasts.

    Each attribute below may be changed at any time. ``requests`` has (method, path, headers) of all that came.
    """

    def __init__(self, instance_id=INSTANCE_ID, address="127.0.0.1", **documents):
        self.documents = {
            "/latest/meta-data/instance-id": instance_id,
            "/latest/meta-data/placement/region": "us-east-1",
            **documents,
        }
        self.requests = []
        self.is_disabled = False
        """HttpEndpoint=disabled: 403 to everything."""
        self.hop_limit_is_too_low = False
        """The token never reaches a container."""
        self.drips = False
        """A byte every 50 ms."""
        self.delay_s = 0.0
        """Before each answer."""
        self.clock = time.monotonic
        self._tokens = {}
        self._is_over = threading.Event()
        handler = type("Handler", (_Handler,), {"imds": self})
        self._host = f"[{address}]" if ":" in address else address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = type("Server", (http.server.ThreadingHTTPServer,), {"address_family": family})
        self._server = server((address, 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self):
        return f"http://{self._host}:{self._server.server_port}"

    def expire_tokens(self):
        """All tokens so far are refused, as when their time is over."""
        self._tokens.clear()

    def wait(self, seconds):
        self._is_over.wait(seconds)

    def answer(self, method, path, headers):
        """The status and the text, or None for no answer at all."""
        self.requests.append((method, path, dict(headers)))
        self.wait(self.delay_s)
        if self.is_disabled:
            return 403, ""
        if path == "/latest/api/token":
            return self._give_token(method, headers)
        if self._tokens.get(headers.get(_TOKEN), 0.0) <= self.clock():
            return 401, ""
        text = self.documents.get(path)
        return (200, text) if method == "GET" and text is not None else (404, "")

    def _give_token(self, method, headers):
        if self.hop_limit_is_too_low:
            self.wait(3600)
            return None
        ttl = headers.get(_TTL, "")
        if method != "PUT" or "X-Forwarded-For" in headers:
            return 403 if method == "PUT" else 405, ""
        if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            return 400, ""
        token = secrets.token_urlsafe(40)
        self._tokens[token] = self.clock() + int(ttl)
        return 200, token


class _Handler(http.server.BaseHTTPRequestHandler):
    imds: Imds

    def _serve(self):
        answer = self.imds.answer(self.command, self.path, self.headers)
        if answer is None:
            self.close_connection = True
            return
        status, text = answer
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        step = 1 if self.imds.drips else len(body) or 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            if self.imds.drips:
                self.imds.wait(0.05)

    do_GET = do_PUT = do_POST = _serve  # noqa: N815 - http.server's names

    def handle(self):
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # who asked did not wait

    def log_message(self, *_):
        pass
