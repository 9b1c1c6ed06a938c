"""Pure: what one check has found."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from chef_failover.errors import UnseenError


@attrs.frozen
class Finding:
    """``is_ok`` is None for what could not be seen; ``detail`` says what to do, or why it could not."""

    subject: str
    is_ok: bool | None
    detail: str = ""


@attrs.frozen
class Check:
    """``look`` gives why it is not well, and what to do about it; None when it is."""

    subject: str
    look: Callable[[], str | None]

    def run(self) -> Finding:
        """What it finds."""
        try:
            trouble = self.look()
        except UnseenError as error:
            return Finding(self.subject, None, str(error))
        except FileNotFoundError as error:
            return Finding(self.subject, is_ok=False, detail=f"{error.filename} does not exist")
        except OSError as error:
            return Finding(self.subject, None, f"{error.filename}: {error.strerror}")
        return Finding(self.subject, is_ok=trouble is None, detail=trouble or "")
