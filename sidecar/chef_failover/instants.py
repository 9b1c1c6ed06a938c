"""Pure: instants of wall time as they come from outside: a list, the state file.

All are in UTC and lie between two years that any clock of a node, and any length that may be added to it, leaves room
around. So no sum of an instant and a length, and no way to write it, can fail.
"""

from __future__ import annotations

import datetime

FIRST = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
LAST = datetime.datetime(2999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def parse_instant(value: object) -> datetime.datetime:
    """The instant in ISO 8601 text, or in what YAML has made of it.

    Raises:
        ValueError: it is none, has no zone, or lies before 1970 or after 2999.
    """
    time = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(time, datetime.datetime) or time.tzinfo is None:
        raise ValueError("not a time with a zone")
    if not FIRST <= time <= LAST:
        raise ValueError("not a time from 1970 to 2999")
    return time.astimezone(datetime.UTC)
