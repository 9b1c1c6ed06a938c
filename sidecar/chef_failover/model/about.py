"""Pure: what views may say of the node itself, and of where its list of servers comes from."""

from __future__ import annotations

import datetime
import enum

import attrs

from chef_failover.model.run_history import RunHistory


class Origin(enum.StrEnum):
    """Where the servers in use come from."""

    SOURCE = "source"
    CACHE = "cache"
    """From there in a former life; it has not been asked in this one, or not with success."""
    CONFIG = "config.yml"


@attrs.frozen
class ListStanding:
    """What views say of the list: ``trouble`` is why not the newest is in use, ``refused`` which entries are not."""

    source: str
    origin: Origin = Origin.CONFIG
    version: str | None = None
    fetched_on: datetime.datetime | None = None
    """When the version in use was first had."""
    confirmed_on: datetime.datetime | None = None
    """When the source last said that this is its newest."""
    refused: tuple[str, ...] = ()
    trouble: str | None = None
    is_throttled: bool = False
    """The source refused the last question, since too many nodes ask."""
    asks_on: datetime.datetime | None = None
    """When it is asked next; None before the first answer."""


@attrs.frozen
class About:
    """What documents may say of the node. ``client_key`` is a path; None leaves chef-client's own."""

    version: str
    node_name: str | None = None
    client_key: str | None = None
    instance_id: str | None = None
    boot_id: str | None = None
    runs: RunHistory = RunHistory()
    discovery: ListStanding | None = None
