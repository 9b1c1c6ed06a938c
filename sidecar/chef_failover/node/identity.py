"""I/O: what this node is called, and which machine it is."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from chef_failover.chef.lookup import Address, Resolver
from chef_failover.errors import IdentityError, MetadataError
from chef_failover.model.instance import is_instance_id

if TYPE_CHECKING:
    from chef_failover.node.imds import Imds

DMI = Path("/sys/class/dmi/id")
"""Where Linux shows what the firmware says of the machine."""
NAME_LIMIT = 255
LOOKUP_S = 5.0
"""For the machine's full name."""
_INSTANCE_ID_PATH = "/latest/meta-data/instance-id"


def node_name(pattern: str, imds: Imds | None = None, dmi: Path = DMI) -> str:
    """``pattern`` with each placeholder replaced by what its source on this machine gives.

    Raises:
        IdentityError: a source that is needed gives nothing, or too much.
    """
    sources = {"instance_id": lambda: instance_id(imds, dmi), "hostname": hostname, "fqdn": fqdn}
    for placeholder, source in sources.items():
        if f"{{{placeholder}}}" in pattern:
            pattern = pattern.replace(f"{{{placeholder}}}", source())
    if len(pattern) > NAME_LIMIT:
        raise IdentityError(
            f"node.name has more than {NAME_LIMIT} characters on this machine; a Chef server rejects it"
        )
    return pattern


def hostname() -> str:
    """This machine's short name.

    Raises:
        IdentityError: it has no name yet.
    """
    name = socket.gethostname().partition(".")[0]
    if name in ("", "localhost"):
        raise IdentityError(f"node.name needs {{hostname}}, but this machine's host name is {name!r}")
    return name


def fqdn() -> str:
    """This machine's full name, as its resolver gives it.

    Raises:
        IdentityError: it gives none, for example because no name server answers yet. A short name would be another
            node, so it is not taken instead.
    """
    try:
        found = Resolver(_canonical).lookup(socket.gethostname(), 0, LOOKUP_S)
    except OSError as error:
        reason = f"no answer within {LOOKUP_S:.0f} s" if isinstance(error, TimeoutError) else str(error)
        raise IdentityError(f"node.name needs {{fqdn}}, but this machine's name does not resolve: {reason}") from error
    name = found[0][3]
    if "." not in name or name.startswith("localhost"):
        raise IdentityError(f"node.name needs {{fqdn}}, but this machine's name resolves to {name!r}")
    return name


def instance_id(imds: Imds | None = None, dmi: Path = DMI) -> str:
    """This EC2 instance's id: as a Nitro machine's firmware tells it, which costs nothing, else as IMDSv2 does.

    Raises:
        IdentityError: neither gives it.
    """
    tag = _firmware(dmi, "board_asset_tag")
    if _firmware(dmi, "sys_vendor") == "Amazon EC2" and is_instance_id(tag):
        return tag
    from chef_failover.node.imds import Imds  # noqa: PLC0415 - it brings an HTTP client, which Nitro machines do without

    try:
        found = (imds or Imds()).text(_INSTANCE_ID_PATH)
    except MetadataError as error:
        right = "outside EC2, write {fqdn} or a literal name"
        raise IdentityError(f"node.name needs {{instance_id}}, but {error}; {right}") from error
    if not is_instance_id(found):
        raise IdentityError(f"node.name needs {{instance_id}}, but the metadata service sent {found[:40]!r}")
    return found


def this_instance(pattern: str | None, imds: Imds | None = None, dmi: Path = DMI) -> str | None:
    """The instance that we run on, or None where this is none, or where it cannot be found out now.

    ``pattern`` is the configured node name: what it says is on EC2 is so, whatever the firmware says.
    """
    if "{instance_id}" not in (pattern or "") and not _is_ec2(dmi):
        return None
    try:
        return instance_id(imds, dmi)
    except IdentityError:
        return None


def _is_ec2(dmi: Path) -> bool:
    """Nitro machines have Amazon for a vendor, and Xen's, the older ones, a BIOS of Amazon's (as Ohai has it)."""
    return _firmware(dmi, "sys_vendor") == "Amazon EC2" or _firmware(dmi, "bios_version").endswith(".amazon")


def _firmware(dmi: Path, name: str) -> str:
    try:
        return (dmi / name).read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


def _canonical(host: str, _port: int) -> list[Address]:
    return list(socket.getaddrinfo(host, None, flags=socket.AI_CANONNAME))
