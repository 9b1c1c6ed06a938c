"""Runs a piece of code again and again in processes of its own, each killed -9 one line later than the one before.

Every line of the modules under test that is about to run is a place to die, so that each system call there has one
before and one after it. What is on disk afterwards is for the test to judge.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

_PARENT = """
import os, signal, sys
{code}
def run(left):
    def trace(frame, event, argument):
        nonlocal left
        if os.path.basename(frame.f_code.co_filename) not in {modules!r}:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    act()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(int(line))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def deaths(code: str, *modules: str) -> Iterator[int]:
    """Yields after each death; ``code`` defines ``act()``, and ``modules`` are file names such as "key_file.py".

    The last run, which nobody kills, is no death: then it is over.
    """
    command = [sys.executable, "-c", _PARENT.format(code=code, modules=modules)]
    at = 1
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:
        try:
            while (ended := _run(parent, at)) != 0:
                assert ended == -signal.SIGKILL
                yield at
                at += 1
        finally:
            parent.stdin.close()


def _run(parent, at):
    parent.stdin.write(f"{at}\n")
    return int(parent.stdout.readline())
