"""Shell: what the daemon never loads, though a library would.

``requests`` loads charset_normalizer to guess the encoding of a text that does not say it. Nothing of ours has it
guess, and the tables for it are 3 MB of every node's memory and a tenth of the start. Without it ``requests`` takes
UTF-8 (``requests.compat``), and says once that there is nothing to guess with.
"""

from __future__ import annotations

import sys
import warnings


def load_no_guesser() -> None:
    """Make the import fail, before the first of ``requests``."""
    sys.modules.setdefault("charset_normalizer", None)  # type: ignore[arg-type]
    warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")
