"""I/O: whether the chef-client that is here loads our shim, and nothing of the recipe of old beside it."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

from chef_failover import files
from chef_failover.doctor.files import user
from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import Node
from chef_failover.errors import UnseenError

_SIZE_LIMIT = 1024 * 1024
PRODUCTS = ("chef", "cinc")
FILE_NAME = "chef_failover.rb"
OLD_CHECK = "opsworks_health_check"
_CLIENT_D_DIR = re.compile(r"""^\s*client_d_dir[\s(]+["']([^"']+)["']""", re.MULTILINE)
_SHIM = re.compile(r"""["'](/[^"']+/chef_failover\.rb)["']""")
_APPLY = re.compile(r"""ChefFailover\.apply\(\s*self\s*,\s*["']([^"']+)["']""")


def checks(node: Node) -> tuple[Check, ...]:
    """For each chef-client that is here."""
    here = [product for product in PRODUCTS if client(node, product)]
    shims = [Check(f"shim of {product}-client", functools.partial(shim, node, product)) for product in here]
    return (*(shims or [Check("shim", nobody)]), *recipe_checks(node))


def recipe_checks(node: Node) -> tuple[Check, ...]:
    """For the configuration of each product."""
    return tuple(Check(f"old recipe in /etc/{one}", functools.partial(leftovers, node, one)) for one in PRODUCTS)


def nobody() -> str | None:
    """There is nothing that could load it."""
    raise UnseenError("no chef-client or cinc-client in PATH, /opt/chef/bin or /opt/cinc/bin")


def client(node: Node, product: str) -> bool:
    """Whether that product's client is installed."""
    name = f"{product}-client"
    return node.which(name) is not None or node.path(f"/opt/{product}/bin/{name}").exists()


def shim(node: Node, product: str) -> str | None:
    """The file in client.d, where this client reads it, loads the shim with this very configuration."""
    directory = Path(f"/etc/{product}/client.d")
    overridden = _CLIENT_D_DIR.search(_read(node.path(f"/etc/{product}/client.rb")) or "")
    if overridden:
        directory = Path(overridden[1])
    path = directory / FILE_NAME
    text = _read(node.path(str(path)))
    if text is None:
        why = " (client_d_dir of client.rb)" if overridden else ""
        return f"{path} does not exist{why}, so runs never fail over: reinstall the package, or make install"
    library, applied = _SHIM.search(text), _APPLY.search(text)
    if library is None or applied is None:
        return f"{path} was changed and does not load the shim: reinstall the package, or make install"
    if not node.path(library[1]).exists():
        return f"{path} loads {library[1]}, which does not exist: reinstall the package, or make install"
    if Path(applied[1]) != node.config_path:
        return f"{path} uses {applied[1]}, but this check uses {node.config_path}"
    return None


def leftovers(node: Node, product: str) -> str | None:
    """The recipe of old sets chef_server_url by a check of its own, with TLS verification off."""
    client_rb = node.path(f"/etc/{product}/client.rb")
    lines = (_read(client_rb) or "").splitlines()
    numbers = [
        number for number, line in enumerate(lines, 1) if OLD_CHECK in line and not line.lstrip().startswith("#")
    ]
    if numbers:
        return (
            f"/etc/{product}/client.rb loads {OLD_CHECK} in line {numbers[0]}: delete that line and the chef_server_url"
            f" that it computes, write the first server's URL there instead, then remove {OLD_CHECK}.rb"
        )
    if client_rb.with_name(f"{OLD_CHECK}.rb").exists():
        return f"/etc/{product}/{OLD_CHECK}.rb is no longer loaded: remove it"
    return None


def _read(path: Path) -> str | None:
    """The text; None without such a file.

    Raises:
        UnseenError: we may not read it.
    """
    try:
        return files.read(path, _SIZE_LIMIT, may_be_link=True).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnseenError(
            f"cannot read {path} ({error.strerror}); run this as root, not as {user(os.geteuid())}"
        ) from error
