"""AWS OpsWorks CM as it looks on the wire, on a port of its own: JSON 1.1, targets, errors, tokens, throttling, faults.

It registers a name once: what the service did with a name that another key has is not known, and here it FAILED.
"""

from __future__ import annotations

import collections
import contextlib
import json
import re
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs

TARGET = "OpsWorksCM_V2016_11_01."
SCOPE = re.compile(r"Credential=(\w+)/\d{8}/([\w-]+)/opsworks-cm/aws4_request")
PAIRS = (
    {"CHEF_AUTOMATE_ORGANIZATION", "CHEF_AUTOMATE_NODE_PUBLIC_KEY"},
    {"CHEF_ORGANIZATION", "CHEF_NODE_PUBLIC_KEY"},
)
DRIP = "drip"
HANG_UP = "hang up"


@attrs.frozen
class Seen:
    """One request; ``attributes`` are the engine's, ``region`` is that of the signature."""

    target: str
    parameters: dict
    headers: dict
    region: str
    at: float

    @property
    def operation(self):
        return self.target.rpartition(".")[2]

    @property
    def attributes(self):
        return {one["Name"]: one["Value"] for one in self.parameters.get("EngineAttributes", ())}


@attrs.define
class Registration:
    """A registration under way."""

    server: str
    node: str
    public_key: str | None  # None: it is to be removed
    polls_left: int


class ApiError(Exception):
    """Answered as the service does."""

    def __init__(self, kind, message, status=400):
        super().__init__(message)
        document = {"__type": f"com.amazonaws.opsworkscm#{kind}", "Message": message}
        self.status, self.body = status, json.dumps(document).encode()


class OpsworksStub:
    """The service. Change its attributes at any time.

    Args:
        servers: the names of the HEALTHY ones; ``unhealthy`` are added by the test.
        polls: how often a registration is IN_PROGRESS.
        pairs: the names of engine attributes that are accepted.
        rate: calls a second, after a ``burst``; None for any number.
        on_registered: called with server, node and public key once a registration succeeds.
    """

    def __init__(self, *servers, polls=1, pairs=PAIRS, rate=None, burst=10, on_registered=lambda *_: None):
        self.servers = set(servers or ("mainserver",))
        self.unhealthy = set()
        self.polls, self.pairs, self.rate, self.burst = polls, pairs, rate, burst
        self.on_registered = on_registered
        self.outcome = "SUCCESS"
        self.nodes = collections.defaultdict(dict)
        """The public key of each node, by server."""
        self.seen = []
        self.faults = collections.deque()
        """What is done instead, once each: ``(status, body)``, an ApiError, DRIP or HANG_UP."""
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()
        self._requests = {}
        self._at_once = 0
        self._tokens, self._filled_at = float(burst), time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self):
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                stub._handle(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        return self

    def __exit__(self, *_):
        self.gate.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def held(self):
        """Whatever comes meanwhile is answered at the end."""
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()

    def throttle(self, times=1):
        """Turn back the next ones."""
        self.faults.extend(ApiError("ThrottlingException", "Rate exceeded") for _ in range(times))

    def fail(self, kind, message="no", status=400, times=1):
        """Answer the next ones with that error."""
        self.faults.extend(ApiError(kind, message, status) for _ in range(times))

    def _handle(self, http):
        seen = _seen(http, http.rfile.read(int(http.headers["Content-Length"])))
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.seen.append(seen)
            fault = self.faults.popleft() if self.faults else None
        with contextlib.suppress(OSError):  # the client has gone
            self.gate.wait()
            self._respond(http, seen, fault)
        with self._lock:
            self._at_once -= 1

    def _respond(self, http, seen, fault):
        if fault == HANG_UP:
            http.close_connection = True
            return
        if fault == DRIP:
            http.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while True:
                http.wfile.write(b".")
                time.sleep(0.05)
        status, body = self._answer(seen, fault)
        http.send_response(status)
        http.send_header("Content-Type", "application/x-amz-json-1.1")
        http.send_header("Content-Length", str(len(body)))
        http.end_headers()
        http.wfile.write(body)

    def _answer(self, seen, fault):
        if isinstance(fault, tuple):
            return fault
        try:
            if fault:
                raise fault
            with self._lock:
                return 200, json.dumps(self._do(seen)).encode()
        except ApiError as error:
            return error.status, error.body

    def _do(self, seen):
        if not seen.target.startswith(TARGET) or not seen.region:
            raise ApiError("UnknownOperationException", "")
        if not self._has_token():
            raise ApiError("ThrottlingException", "Rate exceeded")
        if seen.parameters["ServerName"] not in self.servers:
            raise ApiError("ResourceNotFoundException", f"Could not find server {seen.parameters['ServerName']}")
        match seen.operation:
            case "AssociateNode":
                return {"NodeAssociationStatusToken": self._begin(seen)}
            case "DisassociateNode":
                return {"NodeAssociationStatusToken": self._begin_removal(seen)}
            case "DescribeNodeAssociationStatus":
                return {"NodeAssociationStatus": self._status(seen.parameters["NodeAssociationStatusToken"])}
        raise ApiError("UnknownOperationException", "")

    def _has_token(self):
        if self.rate is None:
            return True
        now = time.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _begin(self, seen):
        server, attributes = seen.parameters["ServerName"], seen.attributes
        if server in self.unhealthy:
            raise ApiError("InvalidStateException", f"Server {server} is in state UNDER_MAINTENANCE")
        if set(attributes) not in self.pairs:
            raise ApiError("ValidationException", f"Engine attributes {sorted(attributes)} are not valid")
        key = next(value for name, value in attributes.items() if name.endswith("KEY"))
        token = uuid.uuid4().hex
        self._requests[token] = Registration(server, seen.parameters["NodeName"], key, self.polls)
        return token

    def _begin_removal(self, seen):
        token = uuid.uuid4().hex
        parameters = seen.parameters
        self._requests[token] = Registration(parameters["ServerName"], parameters["NodeName"], None, self.polls)
        return token

    def _status(self, token):
        request = self._requests.get(token)
        if request is None:
            raise ApiError("ResourceNotFoundException", f"No recent association for token {token}")
        if request.polls_left > 0:
            request.polls_left -= 1
            return "IN_PROGRESS"
        if request.public_key is None:
            return "SUCCESS" if self.nodes[request.server].pop(request.node, None) else "FAILED"
        known = self.nodes[request.server].setdefault(request.node, request.public_key)
        if self.outcome != "SUCCESS" or known != request.public_key:
            return "FAILED"
        self.on_registered(request.server, request.node, request.public_key)
        return "SUCCESS"


def _seen(http, body):
    headers = {name.lower(): value for name, value in http.headers.items()}
    scope = SCOPE.search(headers.get("authorization", ""))
    target = headers.get("x-amz-target", "")
    return Seen(target, json.loads(body), headers, scope[2] if scope else "", time.monotonic())
