"""I/O: which chef-client is installed, since Chef's and Cinc's read different directories."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import attrs


@attrs.frozen
class Client:
    """``product`` names its directory in /etc; ``openssl`` is its own OpenSSL's directory, None for the system's."""

    product: str
    openssl: Path | None = None


def client(root: Path = Path("/"), which: Callable[[str], str | None] = shutil.which) -> Client:
    """The chef-client below ``root``: a package's, Chef's before Cinc's, or else one that runs in the system's Ruby.

    /opt comes before PATH because Cinc's package has a ``chef-client``, too. From Chef 19 on the package is Habitat's.
    """
    for product in ("chef", "cinc"):
        if is_there(root / f"opt/{product}/bin/{product}-client"):
            return Client(product, root / f"opt/{product}/embedded/ssl")
    habitat = sorted(root.glob("hab/pkgs/core/cacerts/*/*/ssl"))
    if habitat and is_there(root / "hab/pkgs/chef/chef-infra-client"):
        return Client("chef", habitat[-1])
    return Client("cinc" if which("cinc-client") and not which("chef-client") else "chef")


def is_there(path: Path) -> bool:
    """Whether it exists, as far as we may know: what we may not see is not absent."""
    try:
        path.stat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True
