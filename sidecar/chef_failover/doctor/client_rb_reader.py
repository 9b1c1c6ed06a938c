"""I/O: what chef-client's own configuration comes to: client.rb and client.d, evaluated as chef-client does it.

They are Ruby programs, so only Ruby can tell. ``client_rb_reader.rb`` beside this module evaluates them, in the Ruby of
the chef-client that is here. They may do anything, as they do for chef-client: so they get a process of their own, the
environment of a service, nothing to read, nobody who hears what they print, and a limited time.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from chef_failover.doctor.client_rb import ClientRb
from chef_failover.doctor.node import Node
from chef_failover.errors import UnseenError
from chef_failover.printable import printable

PATIENCE_S = 20.0
"""chef-client itself loads in one to five of them."""
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
"""That of a service; proxies and the like of the person who looks are not chef-client's."""
_PROGRAM = Path(__file__).with_suffix(".rb")
_LONGEST_ANSWER = 1 << 24
_SHEBANG = re.compile(rb"#!\s*(/\S*/ruby[0-9.]*)(\s|$)")


def evaluate(node: Node, product: str, urls: Sequence[str]) -> ClientRb | str:
    """The configuration of ``product``, or why no run gets past reading it; ``urls`` are asked for their proxies.

    Raises:
        UnseenError: it cannot be evaluated here.
    """
    ruby = find_ruby(node, product)
    if ruby is None:
        raise UnseenError("no Ruby found, so client.rb and client.d were not checked")
    client_rb = node.path(f"/etc/{product}/client.rb")
    with tempfile.TemporaryFile() as report:
        in_time = _run([ruby, str(_PROGRAM), str(report.fileno()), str(client_rb), *urls], report.fileno())
        return _judge(list(_documents(report)), in_time=in_time, reads=product)


def find_ruby(node: Node, product: str) -> str | None:
    """The Ruby of that product's client, else the one in PATH."""
    embedded = node.path(f"/opt/{product}/embedded/bin/ruby")
    if embedded.exists():
        return str(embedded)
    client = node.which(f"{product}-client")
    if client is not None:
        with Path(client).open("rb") as file:
            found = _SHEBANG.match(file.readline(256))
        if found is not None:
            return os.fsdecode(found[1])
    return node.which("ruby")


def _run(command: Sequence[str], descriptor: int) -> bool:
    """Whether it ended in time; if not, it and what it has started are killed."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the Ruby of root's chef-client, over root's files
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", env=_ENVIRONMENT, pass_fds=(descriptor,), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise UnseenError(f"cannot start {command[0]}: {error.strerror}") from error
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return True


def _documents(report: IO[bytes]) -> Iterator[dict[str, Any]]:
    """What was told until the end, or until it was killed in the middle of a line."""
    report.seek(0)
    for line in report.read(_LONGEST_ANSWER).splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            return
        if isinstance(document, dict):
            yield document


def _judge(told: Sequence[dict[str, Any]], *, in_time: bool, reads: str) -> ClientRb | str:
    last: dict[str, Any] = told[-1] if told else {}
    file = next((printable(str(one["reading"])) for one in reversed(told) if "reading" in one), None)
    if "settings" in last:
        return _settings(last["settings"])
    if "failed" in last and file is not None:
        return _failure(last["failed"], file)
    if not in_time and file is not None:
        return f"{file} takes more than {PATIENCE_S:.0f} s, and every run waits for it: find out what it waits for"
    if file is not None:
        return f"{file} ends the process that loads it, so no run starts: remove what does that"
    missing = f"client.rb and client.d were not checked; {reads}-client brings its own Ruby"
    raise UnseenError(f"no Ruby with chef-config found, so {missing}")


def _failure(failed: Mapping[str, Any], file: str) -> str:
    place = f"{file} line {failed['line']}" if failed["line"] else file
    what = printable(" ".join(filter(None, (failed["error"], failed["path"]))))
    if failed["is_unclear"]:
        raise UnseenError(f"{place} needs all of Chef, but only chef-config is here ({what})")
    return f"{place} raises {what}, so no run starts: correct it (chef-client shows the whole message)"


def _settings(found: Mapping[str, Any]) -> ClientRb:
    return ClientRb(
        f"{'Chef' if found['is_whole'] else 'chef-config'} {found['version']}",
        *(found[name] for name in ("theirs", "ours", "set_by", "set_late", "ohai", "proxies", "is_shim_read")),
    )
