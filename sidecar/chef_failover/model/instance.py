"""Pure: what an EC2 instance is called."""

from __future__ import annotations

import re

INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")


def is_instance_id(text: object) -> bool:
    """Whether ``text`` is such an id, as EC2 gives them."""
    return isinstance(text, str) and INSTANCE_ID.fullmatch(text) is not None
