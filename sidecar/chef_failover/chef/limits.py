"""Pure: how much a Chef server may send before it is no longer read, or not believed.

A server is not ours, and a captive portal in its place even less. The number and the length of header lines are limited
by ``http.client`` (100, and 64 KiB each).
"""

from __future__ import annotations

CONNECTION_BYTES = 40 * 1024 * 1024
"""All that one connection brings: several answers, with what no other limit counts (interim answers, trailers)."""
SMALL_BYTES = 64 * 1024
"""One body of what is no object: the answer to a probe, and every error."""
OBJECT_BYTES = 16 * 1024 * 1024
"""One object. Chef servers refuse those over 2 MB by default, Automate's over 4 MB; some raise that to 16 MB."""
PARSED_BYTES = 66 * 1024 * 1024
"""What parsing one object may take, with the object: the rest of the unit's MemoryMax is the daemon's own."""
NORMAL_CHARACTERS = 4_000_000
"""The normal attributes of a node object."""
COOKBOOKS = 5000
"""Cookbooks of one server; a server with more is not compared."""
COOKBOOK_CHARACTERS = 200
VERSION_DIGITS = 18
"""Each number in a cookbook's version."""
REVISION_CHARACTERS = 255
RUN_LIST_ITEMS = 1000
"""Of one run."""
NAME_CHARACTERS = 255
"""An item of a run list; an environment, a policy or its group, as the node's run names them."""
STAY_AWAY_S = 3600.0
"""How long a server can make us stay away."""
