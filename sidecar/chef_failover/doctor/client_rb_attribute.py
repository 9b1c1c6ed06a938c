"""Pure: what in chef-client's own configuration keeps ``node['chef_failover']`` from the servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chef_failover.doctor.client_rb import ClientRb, Difference

OUR_ATTRIBUTE = "chef_failover"
OUR_PLUGIN = "ChefFailover"
_LOST = "node['chef_failover'] is not saved on the servers, and no search finds it"


def losses(found: ClientRb) -> Iterator[Difference]:
    """Each setting that does."""
    if found.theirs.get("minimal_ohai"):
        yield Difference(
            "minimal_ohai",
            f"{found.place('minimal_ohai')} turns it on, so our Ohai plugin does not run: {_LOST}; remove it, or list"
            " unwanted plugins in ohai.disabled_plugins",
        )
    if OUR_PLUGIN in found.ohai.get("disabled_plugins", ()):
        yield Difference("ohai.disabled_plugins", f"it has :{OUR_PLUGIN}: {_LOST}; remove it")
    setting, allowed = _list(found, "automatic_attribute_whitelist", "allowed_automatic_attributes")
    if allowed is not None and not any(_path(item)[:1] == [OUR_ATTRIBUTE] for item in allowed):
        yield Difference(setting, f'{found.place(setting)} lacks {OUR_ATTRIBUTE}: {_LOST}; add "{OUR_ATTRIBUTE}"')
    setting, blocked = _list(found, "automatic_attribute_blacklist", "blocked_automatic_attributes")
    if blocked is not None and [OUR_ATTRIBUTE] in map(_path, blocked):
        yield Difference(setting, f"{found.place(setting)} has {OUR_ATTRIBUTE}: {_LOST}; remove it")


def _list(found: ClientRb, old: str, new: str) -> tuple[str, list[Any] | None]:
    """By which name it counts, and what is in it; Chef goes by the old name where both are there."""
    setting = old if found.theirs.get(old) is not None else new
    value = found.theirs.get(setting)
    if value is None:
        return setting, None
    return setting, list(value) if isinstance(value, list | dict) else [value]


def _path(item: object) -> list[str]:
    """The keys that lead to an attribute: a list of them, or "a/b"."""
    if isinstance(item, list):
        return [str(key) for key in item]
    return str(item).removeprefix("/").split("/")
