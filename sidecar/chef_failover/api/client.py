"""I/O: questions to the sidecar, over its Unix socket or its loopback port; never through a proxy."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

import attrs

from chef_failover.config.urls import HostPort
from chef_failover.errors import SidecarUnavailableError, SocketForbiddenError


@attrs.frozen
class Reply:
    """``status`` is the HTTP status, ``body`` the JSON object that came with it."""

    status: int
    body: dict[str, Any]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(str(self._path))


def ask(
    address: Path | HostPort, target: str, *, method: str = "GET", body: object = None, timeout_s: float = 10.0
) -> Reply:
    """The sidecar's answer to ``target`` ("/v1/server").

    Raises:
        SocketForbiddenError: we may not ask there.
        SidecarUnavailableError: nobody answers on ``address``, or not like a sidecar.
    """
    if isinstance(address, Path):
        connection: http.client.HTTPConnection = _UnixConnection(address, timeout_s)
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, target, body=data, headers={"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        document = json.loads(response.read())
    except PermissionError as error:
        raise SocketForbiddenError(f"this user may not ask the sidecar on {address}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SidecarUnavailableError(f"the sidecar does not answer on {address}: {reason}") from error
    finally:
        connection.close()
    return Reply(response.status, document if isinstance(document, dict) else {})
