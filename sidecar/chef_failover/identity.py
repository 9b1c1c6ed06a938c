"""I/O: what this node is called."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Mapping

import requests

from chef_failover.errors import IdentityError

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
