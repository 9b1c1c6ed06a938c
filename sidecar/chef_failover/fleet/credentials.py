"""I/O: who asks which Chef server: the profiles of ``~/.chef/credentials``, as knife reads them.

The file is TOML with a table for each profile. ``client_name`` (or ``node_name``), ``client_key`` and
``chef_server_url`` count, the rest is knife's. A key is PEM text, or a path that is relative to the file's folder.
Without a profile the one in ``$CHEF_PROFILE`` is used, the one that the file ``context`` names, or ``default``.

Source: github.com/chef/chef chef-config/lib/chef-config/mixin/credentials.rb and workstation_config_loader.rb.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.signing import load_key
from chef_failover.config.urls import parse_server_url
from chef_failover.errors import CredentialsError, KeyFileError
from chef_failover.files import read

PATH = Path("~/.chef/credentials")
_LIMIT_BYTES = 1024 * 1024


@attrs.frozen
class Account:
    """Signs requests to one Chef server as ``user``. ``label`` is the profile, or the URL where there is none."""

    label: str
    chef_server_url: str
    user: str
    key: PrivateKey = attrs.field(repr=False)


def from_options(chef_server_url: str, user: str, key_path: Path) -> Account:
    """The account that the command line gives whole.

    Raises:
        CredentialsError: the URL is none of a Chef server, or the key's path names no user. KeyFileError: the key
            cannot be used.
    """
    return _account(chef_server_url, chef_server_url, user, load_key(expanded(key_path)))


def from_profiles(path: Path, profiles: Sequence[str], environ: Mapping[str, str]) -> list[Account]:
    """The accounts of ``profiles`` in the file at ``path``; of the usual one where none is named.

    Raises:
        CredentialsError: the file or a profile is missing or has a mistake. KeyFileError: a key cannot be used.
    """
    path = expanded(path)
    try:
        text = read(path, _LIMIT_BYTES, may_be_link=True)
    except OSError as error:
        raise CredentialsError(
            f"{path}: {error.strerror or error}; write it, or give --server, --client-name and --key"
        ) from error
    tables = _tables(text, str(path))
    profiles = profiles or (_usual(path.parent, environ),)
    return [_of_profile(str(path), tables, profile, path.parent) for profile in profiles]


def from_text(text: str, where: str) -> list[Account]:
    """The accounts of all profiles in ``text``, such a file that is not on this disk. Its keys are PEM text.

    Raises:
        CredentialsError: there is no profile, or one has a mistake. KeyFileError: a key cannot be used.
    """
    tables = _tables(text.encode(), where)
    profiles = [profile for profile, table in tables.items() if isinstance(table, Mapping)]
    if not profiles:
        raise CredentialsError(f"{where} has no profile; write one for each Chef server")
    return [_of_profile(where, tables, profile, None) for profile in profiles]


def expanded(path: Path) -> Path:
    """Return ``path`` with the home directory in place of ``~`` or ``~user``.

    Raises:
        CredentialsError: there is no such user, or no home directory.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise CredentialsError(f"{path}: {error}") from error


def _tables(text: bytes, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # the latter for a million opening brackets
        raise CredentialsError(f"{where}: {error}") from error


def _usual(folder: Path, environ: Mapping[str, str]) -> str:
    if profile := environ.get("CHEF_PROFILE"):
        return profile
    path = folder / "context"
    try:
        return read(path, _LIMIT_BYTES, may_be_link=True).decode().strip() or "default"
    except FileNotFoundError:
        return "default"
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise CredentialsError(f"{path}: {error}") from error


def _of_profile(place: str, tables: Mapping[str, Any], profile: str, folder: Path | None) -> Account:
    """``folder`` is where relative paths of keys begin; None: a key is PEM text."""
    table = tables.get(profile)
    if not isinstance(table, Mapping):
        names = ", ".join(name for name, value in tables.items() if isinstance(value, Mapping))
        raise CredentialsError(f"{place} has no profile {profile!r}; it has: {names or 'none'}")
    where = f"{place}: profile {profile}"
    user = _text(table, "node_name" if "node_name" in table else "client_name", where)
    key = _text(table, "client_key", where)
    if folder is None or "-----BEGIN" in key:  # and no message may show it as a path
        try:
            private = PrivateKey.from_pem(key.strip().encode())
        except ValueError as error:
            raise KeyFileError(f"{where}: client_key: {error}") from error
    else:
        private = load_key(folder / expanded(Path(key)))
    return _account(profile, _text(table, "chef_server_url", where), user, private)


def _account(label: str, chef_server_url: str, user: str, key: PrivateKey) -> Account:
    try:
        url = parse_server_url(chef_server_url)
    except ValueError as error:
        raise CredentialsError(f"{label}: chef_server_url: {error}") from error
    return Account(label, url, user, key)


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise CredentialsError(f"{where}: {key} is missing or not a string")
    return value
