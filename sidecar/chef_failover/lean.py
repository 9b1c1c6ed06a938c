"""Shell: what the program does without while it starts, and ever after.

``requests`` loads charset_normalizer to guess the encoding of a text that does not say it. Nothing of ours has it
guess, and the tables for it are 3 MB of every node's memory and a tenth of the start. Without it ``requests`` takes
UTF-8 (``requests.compat``), and says once that there is nothing to guess with.

Modules are no garbage, and looking for some among them, again and again while they load, takes another tenth.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Within, modules load quicker, and ``requests`` loads for the first time."""
    sys.modules.setdefault("charset_normalizer", None)  # type: ignore[arg-type]
    warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
