"""I/O: to be the service's user for a moment, since only that tells what it may do: modes, groups, lists, mounts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from chef_failover.doctor.files import service_user
from chef_failover.doctor.node import Node
from chef_failover.errors import UnseenError


@contextlib.contextmanager
def as_service(node: Node) -> Iterator[None]:
    """This whole process is the service's user within the block; unchanged where there is no such user yet.

    Raises:
        UnseenError: we are neither that user nor root.
    """
    owner, uid, gid, groups = service_user(node), os.geteuid(), os.getegid(), os.getgroups()
    if owner is None or owner.pw_uid == uid:
        yield
        return
    if uid != 0:
        raise UnseenError(f"only root can check what {node.user}, the service's user, may do; run this as root")
    try:
        os.setgroups(os.getgrouplist(owner.pw_name, owner.pw_gid))
        os.setegid(owner.pw_gid)
        os.seteuid(owner.pw_uid)
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)
