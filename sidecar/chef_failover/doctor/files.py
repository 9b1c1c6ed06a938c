"""I/O: who may read and change our files."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path

from chef_failover.api import client
from chef_failover.doctor import unit
from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import Node
from chef_failover.errors import SidecarUnavailableError, UnseenError
from chef_failover.node import accepted
from chef_failover.state import document as state

_HIDDEN = {
    **dict.fromkeys(("/home", "/root", "/run/user"), "ProtectHome"),
    **dict.fromkeys(("/tmp", "/var/tmp"), "PrivateTmp"),  # noqa: S108 - nothing is made there
}
"""What the unit hides from the service, and by which setting."""


def checks(node: Node) -> tuple[Check, ...]:
    """The configuration, the state and the socket."""
    listen = node.config.listen.socket
    return (
        Check("configuration", lambda: config_file(node)),
        Check("accepted", lambda: accepted.at_work(node.config_path).why_not),
        Check("state", lambda: state_file(node)),
        Check("socket", lambda: socket_file(listen)),
        Check("sidecar", lambda: answers(listen)),
    )


def config_file(node: Node) -> str | None:
    """Root believes it, so only root may change it; and the service must read it."""
    path = node.config_path.absolute()
    for one in (path, path.parent):
        found = look(one)
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            return f"users other than its owner can write {one}, which root trusts: chmod go-w {one}"
        if found.st_uid != 0:
            return f"{one} belongs to {user(found.st_uid)}, but root trusts it: chown root {one}"
    return service_can_read(node, path)


def state_file(node: Node) -> str | None:
    """Only the service may change it."""
    directory = node.config.state_dir
    path = directory / state.FILE_NAME
    try:
        found = look(directory)
    except FileNotFoundError:
        return f"{directory} does not exist: install -d -o {node.user} -g {node.user} {directory}"
    if found.st_mode & 0o022:
        return f"users other than its owner can write {directory}: chmod go-w {directory}"
    owner = service_user(node)
    if owner is not None and found.st_uid not in (owner.pw_uid, 0):
        return f"{directory} belongs to {user(found.st_uid)}, not to {node.user}: chown -R {node.user}: {directory}"
    if not os.path.lexists(path):
        is_missed = _has_something_to_keep(node.config.listen.socket)
        return f"{path} does not exist, but the sidecar has something to save: is the disk full?" if is_missed else None
    if look(path).st_mode & 0o022:
        return f"users other than its owner can write {path}: chmod 0644 {path}"
    return None


def socket_file(path: Path) -> str | None:
    """Every user who may write to it may steer, and no other user may put one there."""
    if look(path.parent).st_mode & 0o022:
        return f"users other than its owner can put a socket into {path.parent}: chmod go-w {path.parent}"
    try:
        mode = look(path).st_mode
    except FileNotFoundError:
        return f"{path} does not exist: systemctl start chef-failover"
    if not stat.S_ISSOCK(mode):
        return f"{path} is not a socket: remove it, then systemctl restart chef-failover"
    if mode & 0o007:
        return f"every user can connect to {path} and drain or pin: systemctl restart chef-failover"
    return None


def answers(path: Path) -> str | None:
    """The sidecar answers, and none of its loops hangs."""
    if path.exists() and not os.access(path, os.W_OK, effective_ids=True):
        raise UnseenError(f"{user(os.geteuid())} cannot connect to {path}; run this as root")
    try:
        reply = client.ask(path, "/livez", timeout_s=3.0)
    except SidecarUnavailableError as error:
        return f"{error}: systemctl status chef-failover, journalctl -u chef-failover -n 20"
    return None if reply.status == 200 else f"{reply.body.get('detail')}: systemctl restart chef-failover"


def as_the_service_reads(node: Node, place: str) -> tuple[Path, str | None]:
    """Where root finds what the service reads at ``place``, and why the service cannot; None if it can.

    What systemd hands over, which may not be there before the start, is found where systemd takes it from.

    Raises:
        UnseenError: we may not know.
        FileNotFoundError: there is none.
    """
    path = Path(place)
    handed_over = unit.credentials(node).loaded.get(path.name) if path.parent == unit.CREDENTIALS_DIR else None
    if handed_over is not None:
        return handed_over, None
    look(path)
    trouble = service_can_read(node, path)
    if trouble is None and not os.access(path, os.R_OK, effective_ids=True):
        raise UnseenError(f"{user(os.geteuid())} cannot read {path}; run this as root")
    return path, trouble


def service_can_read(node: Node, path: Path) -> str | None:
    """Why the service's user cannot read ``path``; None if it can.

    Root becomes that user to find out, which knows of access lists. Others go by owner, group and mode of it and of the
    folders above it.
    """
    owner = service_user(node)
    if owner is None:
        return None
    hidden = next((one for one in _HIDDEN if node.path(one) in path.parents), None)
    if hidden:
        return f"user {node.user} cannot read {path}: the unit hides {hidden} ({_HIDDEN[hidden]})"
    groups = os.getgrouplist(owner.pw_name, owner.pw_gid)
    blocker = next(
        (one for one in (path, *path.parents) if not _may(look(one), owner.pw_uid, {*groups}, 4 if one == path else 1)),
        None,
    )
    if os.geteuid() == 0:
        test = ["test", "-r", str(path)]
        if not subprocess.run(test, user=owner.pw_uid, group=owner.pw_gid, extra_groups=groups, check=False).returncode:  # noqa: S603 - fixed words
            return None
    elif blocker is None:
        return None
    if blocker is None:
        return f"user {node.user} cannot read {path}"
    found, what = look(blocker), "" if blocker == path else f"{blocker} has "
    mode = f"mode {stat.S_IMODE(found.st_mode):04o}, owner {user(found.st_uid)}"
    return f"user {node.user} cannot read {path}: {what}{mode}"


def service_user(node: Node) -> pwd.struct_passwd | None:
    """The user that the service runs as; None while there is no such user."""
    try:
        return pwd.getpwnam(node.user)
    except KeyError:
        return None


def look(path: Path) -> os.stat_result:
    """What it is, a link included.

    Raises:
        UnseenError: we may not know.
        FileNotFoundError: there is none.
    """
    try:
        return path.stat()
    except PermissionError as error:
        raise UnseenError(f"{user(os.geteuid())} cannot see {path}; run this as root") from error


def user(uid: int) -> str:
    """The name of a user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _has_something_to_keep(listen: Path) -> bool:
    """The sidecar runs, and something has changed that it remembers; an idle one writes nothing."""
    try:
        return bool(client.ask(listen, "/v1/servers", timeout_s=3.0).body.get("transitions"))
    except SidecarUnavailableError:
        return False


def _may(found: os.stat_result, uid: int, groups: set[int], bit: int) -> bool:
    if found.st_uid == uid:
        return bool(found.st_mode & bit << 6)
    if found.st_gid in groups:
        return bool(found.st_mode & bit << 3)
    return bool(found.st_mode & bit)
