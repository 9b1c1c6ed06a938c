"""Shell: log lines for journald and people, or JSON for those who ship them."""

from __future__ import annotations

import datetime
import json
import logging
import sys

TEXT = "%(levelname)s %(message)s"
"""journald adds the time and the unit."""
FIELDS = ("server", "from", "to", "reason")
"""What a transition's line has beside its words; ``server`` is null when the choice has changed."""


def to_stderr(level: int) -> None:
    """Write what is of ``level`` or above, as text."""
    # waitress and urllib3 say nothing that an operator needs below WARNING.
    logging.basicConfig(level=logging.WARNING, format=TEXT, stream=sys.stderr)
    logging.getLogger("chef_failover").setLevel(level)


def use(log_format: str) -> None:
    """Write ``text`` or ``json`` from now on."""
    formatter = JsonFormatter() if log_format == "json" else logging.Formatter(TEXT)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a traceback is text in it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        document = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)
