"""I/O: who this node is: its name, and the key that proves it."""

from __future__ import annotations

import functools
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import requests

from chef_failover.chef_api import ChefAuth, load_key
from chef_failover.errors import IdentityError, KeyFileError
from chef_failover.exchange import Signer

log = logging.getLogger(__name__)

IMDS_URL = "http://169.254.169.254"
"""EC2's instance metadata service. Only its second version is spoken: a token first, then the question."""
_IMDS_TIMEOUT_S = 1.0


def node_name(pattern: str, sources: Mapping[str, Callable[[], str]]) -> str:
    """``pattern`` with each placeholder replaced by what its source gives.

    Raises:
        IdentityError: a source that is needed gives nothing.
    """
    for placeholder, source in sources.items():
        if f"{{{placeholder}}}" in pattern:
            pattern = pattern.replace(f"{{{placeholder}}}", source())
    return pattern


def sources(imds_url: str = IMDS_URL) -> dict[str, Callable[[], str]]:
    """Where each placeholder of a node's name comes from."""
    return {
        "instance_id": functools.partial(instance_id, imds_url),
        "hostname": lambda: socket.gethostname().partition(".")[0],
        "fqdn": fqdn,
    }


def fqdn() -> str:
    """This machine's full name, as its resolver gives it.

    Raises:
        IdentityError: it gives none, for example because no name server answers yet. A short name would be another
            node, so it is not taken instead.
    """
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, flags=socket.AI_CANONNAME)
    except OSError as error:
        raise IdentityError(f"node.name needs {{fqdn}}, and this machine's name does not resolve: {error}") from error
    name = found[0][3]
    if "." not in name or name.startswith("localhost"):
        raise IdentityError(f"node.name needs {{fqdn}}, and this machine has none: its name resolves to {name!r}")
    return name


def instance_id(imds_url: str = IMDS_URL) -> str:
    """This EC2 instance's id, from IMDSv2, without a proxy.

    Raises:
        IdentityError: the metadata service does not answer, or not like one.
    """
    session = requests.Session()
    session.trust_env = False
    try:
        with session:
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
            token = session.put(f"{imds_url}/latest/api/token", headers=lifetime, timeout=_IMDS_TIMEOUT_S)
            token.raise_for_status()
            answer = session.get(
                f"{imds_url}/latest/meta-data/instance-id",
                headers={"X-aws-ec2-metadata-token": token.text},
                timeout=_IMDS_TIMEOUT_S,
            )
            answer.raise_for_status()
    except requests.RequestException as error:
        raise IdentityError(
            f"node.name needs {{instance_id}}, and the EC2 metadata service at {imds_url} does not give it"
            f" ({type(error).__name__}); on another machine write {{fqdn}} or a literal name"
        ) from error
    return answer.text.strip()


class ClientKey:
    """The node's key, read again whenever its file changes: chef-client may write it long after we started."""

    def __init__(self, path: Path, node_name: str) -> None:
        self._path = path
        self._node_name = node_name
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._signer: Signer | None = None
        self._trouble: str | None = None

    def signer(self) -> Signer | None:
        """What signs as this node, or None while there is no key that we may read."""
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._signer = self._load() if stamp else None
                self._stamp = stamp
            return self._signer

    def _look(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError as error:
            trouble = None if isinstance(error, FileNotFoundError) else error.strerror
            if trouble and trouble != self._trouble:
                log.warning("client key %s: %s; servers are probed without a signature", self._path, trouble)
            self._trouble = trouble
            return None
        self._trouble = None
        return stat.st_mtime_ns, stat.st_ino

    def _load(self) -> Signer | None:
        try:
            key = load_key(self._path)
        except KeyFileError as error:
            log.warning("%s; servers are probed without a signature", error)
            return None
        return functools.partial(ChefAuth, self._node_name, key)
