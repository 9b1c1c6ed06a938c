"""Runs a piece of code again and again in a process of its own, killed -9 one line later each time.

Every line of the modules under test that is about to run is a place to die, so that each system call there is followed
and preceded by one. What is on disk afterwards is for the test to judge.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_CHILD = """
import os, signal, sys
sys.path.insert(0, {tests!r})
left = int(sys.argv[1])
{code}
def trace(frame, event, argument):
    global left
    if os.path.basename(frame.f_code.co_filename) not in {modules!r}:
        return None
    if event == "line":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace
sys.settrace(trace)
act()
"""


def deaths(code: str, *modules: str) -> Iterator[int]:
    """Yields after each death; ``code`` defines ``act()``, and ``modules`` are file names such as "key_file.py".

    The last run, which nobody kills, is no death: then it is over.
    """
    program = _CHILD.format(code=code, modules=modules, tests=str(Path(__file__).parent))
    at = 1
    while True:
        command = [sys.executable, "-c", program, str(at)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
        if ended.returncode == 0:
            return
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        yield at
        at += 1
