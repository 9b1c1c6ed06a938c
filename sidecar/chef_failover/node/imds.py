"""I/O: EC2's instance metadata service, its second version alone: a token first, then the question.

It is on this very machine, so it is asked without a name server, a proxy or redirects, and its answers come in
milliseconds or not at all. What it refuses is said with the setting that changes it, since nothing here can.

Source: docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from chef_failover.chef.deadline import Deadline, ProbeError, connect
from chef_failover.chef.lookup import Address
from chef_failover.errors import MetadataError
from chef_failover.model.model import Outcome

URLS = ("http://169.254.169.254", "http://[fd00:ec2::254]")
"""The second one is for a subnet without IPv4; AWS turns it on for an instance that asks for it."""
REQUEST_S = 1.5
"""For one request, from the connection to the last byte."""
QUESTION_S = 4.0
"""For a question with its token, and the same once more if the token is refused."""
_TOKEN = "/latest/api/token"  # noqa: S105 - where tokens come from
_LIFETIME = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
_SIZE_LIMIT = 16 * 1024
_SETTINGS = "aws ec2 modify-instance-metadata-options"


class Imds:
    """Asks the metadata service at the first of ``urls`` that takes a connection: an address, and a port if need be."""

    def __init__(self, *urls: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._urls = urls or URLS
        self._url = self._urls[0]
        self._clock = clock
        self._token: str | None = None

    def text(self, path: str) -> str:
        """What it says to ``path``, such as ``/latest/meta-data/instance-id``.

        Raises:
            MetadataError: it does not answer within `QUESTION_S`, or not with that.
        """
        deadline = Deadline(QUESTION_S, self._clock)
        for _ in range(2):
            if self._token is None:
                self._token = self._accepted(_TOKEN, *self._ask("PUT", _TOKEN, _LIFETIME, deadline))
            status, body = self._ask("GET", path, {"X-aws-ec2-metadata-token": self._token}, deadline)
            if status != 401:
                return self._accepted(path, status, body)
            self._token = None  # it has expired, or the machine slept
        raise MetadataError(f"the EC2 metadata service at {self._url} rejects its own new token (HTTP 401)")

    def _accepted(self, path: str, status: int, body: str) -> str:
        if status == 403:
            raise MetadataError(
                f"the EC2 metadata service at {self._url} is disabled for this instance (HTTP 403);"
                f" {_SETTINGS} --http-endpoint enabled enables it"
            )
        if status != 200 or not body.isprintable() or not body:
            raise MetadataError(f"the EC2 metadata service at {self._url} has no {path} (HTTP {status})")
        return body

    def _ask(self, method: str, path: str, headers: Mapping[str, str], deadline: Deadline) -> tuple[int, str]:
        timeout_s = min(REQUEST_S, deadline.left_s())
        places = [(parts.hostname, parts.port or 80) for parts in map(urlsplit, self._urls)]
        try:
            found: list[Address] = [
                address
                for host, port in places
                for address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            ]
            with connect(found, Deadline(timeout_s, self._clock)) as sock:
                connection = http.client.HTTPConnection(*sock.getpeername()[:2])
                connection.sock = sock
                connection.request(method, path, headers=dict(headers))
                with connection.getresponse() as response:
                    return response.status, response.read(_SIZE_LIMIT).decode(errors="replace").strip()
        except (ProbeError, OSError, http.client.HTTPException) as error:
            raise MetadataError(self._in_vain(path, error)) from error

    def _in_vain(self, path: str, error: Exception) -> str:
        who = f"the EC2 metadata service at {self._url}"
        if not isinstance(error, ProbeError):
            return f"{who} sent an invalid answer ({type(error).__name__})"
        if error.outcome is Outcome.READ_TIMEOUT and path == _TOKEN:
            return (
                f"{who} accepts the token request but sends no answer ({error.detail}). In a container"
                f" the hop limit is too low; {_SETTINGS} --http-put-response-hop-limit 2 raises it"
            )
        return f"{who} does not answer: {error.detail}"
