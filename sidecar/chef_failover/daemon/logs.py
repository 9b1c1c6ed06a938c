"""Shell: log lines for journald and people, or JSON for those who ship them.

The reader of stderr may be slow, stuck or gone, and no decision waits for that. So the daemon's lines are written by a
thread of their own, behind a queue; what finds it full is dropped and counted.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import logging
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from logging.handlers import QueueHandler, QueueListener

from chef_failover.metrics.faults import Faults
from chef_failover.printable import VALUE_LIMIT, printable, visible

log = logging.getLogger(__name__)

FIELDS = ("server", "from", "to", "reason")
"""What a transition's line has beside its words; ``server`` is null when the choice has changed."""
MOST_WAITING = 1000
"""Lines in the queue."""
_MINUTE_S = 60.0
_OF_REQUESTS = ("waitress", "chef_failover.api")
"""The loggers of what happens at requests: waitress's, and Flask's."""
FLUSH_S = 0.5
"""How long the end of the process waits for lines that are not written yet."""


def to_stderr() -> None:
    """Write warnings and errors as text, and wait until they are written: for commands."""
    if sys.stderr is not None:
        handler = Stream(sys.stderr.fileno())
        handler.setFormatter(TextFormatter())
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def from_a_thread(faults: Faults) -> None:
    """Write all lines but those for debugging from a thread of its own, for which nobody waits: for the daemon.

    ``faults`` counts what only the log hears of: exceptions that waitress caught or that ended a thread, and lines that
    could not be made.
    """
    logging.getLogger("waitress").addFilter(Counted(faults))
    threading.excepthook = functools.partial(_thread_ended, faults)
    if sys.stderr is not None:
        for name in _OF_REQUESTS:
            logging.getLogger(name).addFilter(Seldom())
        handler = Lines(MOST_WAITING, Stream(sys.stderr.fileno()), faults)
        # waitress and urllib3 say nothing that an operator needs below WARNING.
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.getLogger("chef_failover").setLevel(logging.INFO)


def _thread_ended(faults: Faults, ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "?"
    faults.add(f"thread {name}", ended.exc_value)
    log.error("internal error: thread %s ended", name, exc_info=ended.exc_value)


def use(log_format: str) -> None:
    """Write ``text`` or ``json`` from now on."""
    formatter = JsonFormatter() if log_format == "json" else TextFormatter()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)


class Stream(logging.Handler):
    """Writes lines to ``descriptor``, and holds no lock meanwhile: the end of Python would wait for it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.written = 0
        """Lines that are out, or lost for want of a reader."""

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """None, as for `logging.NullHandler`."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Write it; there is no filter here, and no lock."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, however long that takes."""
        data = f"{self.format(record)}\n".encode(errors="backslashreplace")
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]
        self.written += 1


class Lines(QueueHandler):
    """Hands lines to ``stream`` through a queue of ``size``, which a thread empties."""

    def __init__(self, size: int, stream: Stream, faults: Faults) -> None:
        super().__init__(queue.Queue(size))
        self.setFormatter(TextFormatter())
        self._stream = stream
        self._faults = faults
        self._put = 0
        self._dropped = 0
        QueueListener(self.queue, stream).start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Called by `emit`, under the handler's lock, with the whole line as the record's message."""
        try:
            if self._dropped:
                words = f"{self._dropped} log lines were lost here: the log was not read fast enough"
                said = {"name": __name__, "levelname": "WARNING", "msg": words}
                self._put_nowait(self.prepare(logging.makeLogRecord(said)))
                self._dropped = 0
            self._put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Count a line that cannot be made. logging itself would write to stderr, and wait for who reads that."""
        self._faults.add(f"log line of {record.name}", sys.exception())

    def flush(self) -> None:
        """Wait for the lines that are not written yet, `FLUSH_S` at the most. `logging` calls this when Python ends."""
        ends_at = time.monotonic() + FLUSH_S
        while self._stream.written < self._put and time.monotonic() < ends_at:
            time.sleep(0.005)

    def _put_nowait(self, record: logging.LogRecord) -> None:
        self.queue.put_nowait(record)
        self._put += 1


class Counted(logging.Filter):
    """Counts the errors that waitress catches by itself, and lets all records pass."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def filter(self, record: logging.LogRecord) -> bool:
        """True."""
        if record.levelno >= logging.ERROR:
            self._faults.add("request in waitress", record.exc_info[1] if record.exc_info else None)
        return True


class Seldom(logging.Filter):
    """Lets so many records of a logger pass in a minute, for what local users can have said as often as they like.

    How many did not is told with the next one that does.
    """

    def __init__(self, most: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._began_at = -math.inf
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` passes."""
        with self._lock:
            now = self._clock()
            if now - self._began_at >= _MINUTE_S:
                left_out = self._count - self._most
                self._began_at, self._count = now, 0
                if left_out > 0:
                    record.msg = f"{record.getMessage()} ({left_out} similar lines suppressed before this one)"
                    record.args = ()
            self._count += 1
            return self._count <= self._most


class TextFormatter(logging.Formatter):
    """One line a record, whatever is in it; a traceback is indented below. journald adds the time and the unit."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines, without their end."""
        lines = [printable(f"{record.levelname} {record.getMessage()}", VALUE_LIMIT)]
        if record.exc_info:
            lines += [f"  {visible(line)}" for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)


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
