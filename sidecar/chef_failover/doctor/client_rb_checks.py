"""I/O: whether chef-client's own configuration, client.rb and client.d, goes with ours: values, keys and CAs."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chef_failover.chef import installed
from chef_failover.chef.trust import TrustStore
from chef_failover.doctor import shim, unit
from chef_failover.doctor.client_rb import ClientRb, Difference, differences
from chef_failover.doctor.client_rb_attribute import losses
from chef_failover.doctor.client_rb_reader import evaluate
from chef_failover.doctor.finding import Finding
from chef_failover.doctor.node import Node
from chef_failover.errors import KeyFileError, UnseenError
from chef_failover.model.model import Outcome
from chef_failover.node import key_file
from chef_failover.node.key import CREDENTIALS, Origin, find, places
from chef_failover.printable import printable

_PATIENCE_S = 3.0
_EXAMPLE = "packaging/examples/client-key.conf"
_DER = b"\x30"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def findings(node: Node, probed: Mapping[str, Any]) -> tuple[Finding, ...]:
    """For each chef-client that is here; ``probed`` is what `check` found."""
    here = [product for product in shim.PRODUCTS if shim.client(node, product)]
    return tuple(finding for product in here for finding in _findings(node, product, probed))


def _findings(node: Node, product: str, probed: Mapping[str, Any]) -> Iterator[Finding]:
    subject = f"client.rb of {product}-client"
    if os.geteuid() != 0:
        yield Finding(subject, None, "only root can evaluate it, as chef-client does; run this as root")
        return
    try:
        found = evaluate(node, product, [entry["chef_server_url"] for entry in probed["servers"]])
    except UnseenError as error:
        yield Finding(subject, None, str(error))
        return
    if isinstance(found, str):
        yield Finding(subject, is_ok=False, detail=found)
        return
    url = found.ours.get("chef_server_url")
    does = f"sets {printable(url)}" if url else "sets no server"
    yield Finding(subject, is_ok=True, detail=f"read by {found.reader}; the shim {does}")
    try:
        for one in compare(node, product, probed, found):
            yield Finding(f"{one.setting} of {product}-client", is_ok=False, detail=one.words)
    except OSError as error:
        yield Finding(f"files of {product}-client", None, f"{error.filename}: {error.strerror}")


def compare(node: Node, product: str, probed: Mapping[str, Any], found: ClientRb) -> Iterator[Difference]:
    """Where ``found`` and our configuration part."""
    yield from differences(node.config, probed, found, _environment_behind(node.config.listen.socket))
    if not probed["servers"]:
        return
    yield from losses(found)
    if not found.is_shim_read and shim.shim(node, product) is None:
        place = found.place("client_d_dir")
        words = f"{place} sets another client.d, without {shim.FILE_NAME}, so runs never fail over: remove it"
        yield Difference("client_d_dir", words)
    yield from _key(node, product, found)
    yield from _trust(node, product, probed, found)
    yield from _plugin(node, product, found)


def _key(node: Node, product: str, found: ClientRb) -> Iterator[Difference]:
    """Runs sign by the sidecar's key where that is configured or its own, since the shim names it; else by theirs."""
    if node.config.node.name is None:
        return
    named = found.text("client_key") if "client_key" in found.set_by else None
    theirs = Path(named) if named else node.path(f"/etc/{product}/client.pem")
    place = found.place("client_key")
    handed_over = unit.credentials(node).loaded.get(key_file.NAME)
    if node.config.node.client_key is None and handed_over is not None and _public(theirs) == _public(handed_over):
        return  # also before the first start, which makes the copy
    try:
        ours = find(places(node.config, {CREDENTIALS: str(node.path(str(unit.CREDENTIALS_DIR)))}))
    except KeyFileError:
        return  # which the check of the key says
    if ours is None or ours.origin in (Origin.CONFIGURED, Origin.OWN):
        if named and _public(theirs) not in (None, _public(ours.path) if ours else None):
            sign = f"runs and probes sign with {ours.path}" if ours else "the sidecar does not use that"
            yield Difference(
                "client_key",
                f"{place} has {theirs}, but {sign}: a server that knows this node by that key rejects another; set"
                f" node.client_key to that file, or give it to the service as {_EXAMPLE} does",
            )
    elif _public(theirs) is None:
        yield Difference(
            "client_key",
            f"runs sign with {theirs}, which is not a usable key, and probes with {ours.path}: runs may fail where"
            " probes work; put the key there, too",
        )
    elif _public(theirs) != _public(ours.path):
        yield Difference(
            "client_key",
            f"runs sign with {theirs}, and probes with another key, {ours.path}: runs may fail where probes work; give"
            f" the first one to the service as {_EXAMPLE} does",
        )


def _public(path: Path) -> bytes | None:
    try:
        return key_file.read(path).public_pem()
    except KeyFileError:
        return None


def _trust(node: Node, product: str, probed: Mapping[str, Any], found: ClientRb) -> Iterator[Difference]:
    """Runs and probes trust the same CAs, as far as servers need them."""
    own = node.path(f"/etc/{product}/trusted_certs")
    probed_by = node.path(f"/etc/{installed.client(node.root, node.which).product}/trusted_certs")
    directory = Path(found.text("trusted_certs_dir") or own)
    bundle = set(TrustStore(()).read(None).context.get_ca_certs(binary_form=True))
    bundle = bundle.union(*(_certificates(server.ca_file) for server in node.config.servers if server.ca_file))
    probes = bundle | _in_directory(probed_by)
    runs = _in_directory(directory)
    if directory.resolve() != probed_by.resolve() and (runs - probes or probes - bundle - runs):
        is_set = "trusted_certs_dir" in found.set_by
        does = f"{found.place('trusted_certs_dir')} sets" if is_set else f"{product}-client trusts"
        is_enough = is_set and own == probed_by
        remedy = f"remove it, and keep the certificates in {own}" if is_enough else "keep the same certificates in both"
        yield Difference(
            "trusted_certs_dir",
            f"{does} {directory}, but probes trust {probed_by}: a server may be UP for probes and fail for runs, or the"
            f" reverse; {remedy}",
        )
    setting = "ssl_ca_path" if found.text("ssl_ca_path") else "ssl_ca_file"
    named = found.text(setting)
    if named is None:
        return
    path = Path(named)
    if not path.exists():
        words = f"{found.place(setting)} sets {path}, which does not exist, so every run fails: remove it"
        yield Difference(setting, words)
        return
    extra = (_certificates(path) if path.is_file() else _union(path.iterdir())) - probes
    alive = {entry["name"] for entry in probed["servers"] if Outcome(entry["outcome"]).is_alive}
    needy = [server.name for server in node.config.servers if not server.ca_file and server.name not in alive]
    if extra and needy:
        yield Difference(
            setting,
            f"{found.place(setting)} sets {path} for runs, but probes do not trust it: if {' or '.join(needy)} needs"
            " it, that server is DOWN for probes although runs work; set its ca_file to that file",
        )


def _in_directory(directory: Path) -> set[bytes]:
    """What chef-client would find in a trusted_certs_dir."""
    files = [path for pattern in ("*.pem", "*.crt") for path in directory.glob(pattern) if path.name[0] != "."]
    return _union(files)


def _union(files: Iterable[Path]) -> set[bytes]:
    return set[bytes]().union(*map(_certificates, files))


def _certificates(path: Path) -> set[bytes]:
    """Every certificate in a file, in DER; none where there is no such file."""
    try:
        content = path.read_bytes()
    except OSError:
        return set()
    blocks = _CERTIFICATE.findall(content.decode("latin-1"))
    if not blocks and content[:1] == _DER:
        return {content}
    found = set()
    for block in blocks:
        with contextlib.suppress(ValueError):  # damaged, and so nobody trusts it
            found.add(ssl.PEM_cert_to_DER_cert(block))
    return found


def _environment_behind(path: Path) -> dict[str, str] | None:
    """That of the process that listens on a socket; None where there is none, or it may not be seen."""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(_PATIENCE_S)
            asking.connect(str(path))
            pid, _, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        content = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    pairs = (pair.partition("=") for pair in content.split("\0"))
    return {name: value for name, _, value in pairs}


def _plugin(node: Node, product: str, found: ClientRb) -> Iterator[Difference]:
    paths = [path for path in found.ohai.get("plugin_path", ()) if isinstance(path, str)]
    usual = f"/etc/{product}/ohai/plugins"
    if paths and usual not in paths and not any(node.path(path).joinpath(shim.FILE_NAME).is_file() for path in paths):
        yield Difference(
            "ohai.plugin_path",
            f"it lacks {usual}, and no other directory has {shim.FILE_NAME}: node['chef_failover'] is not saved on the"
            " servers; add that directory",
        )
