"""Sidecars that are killed (-9) at the Nth thing their registration does to the world: run as a process by the tests.

Each line of stdin is N and the path of a configuration. A child lives that life, and stdout gets its exit code: 0 when
all servers know the node, and nothing has killed it. The modules are loaded once, before the first child.
"""

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from chef_failover.config import settings as config
from chef_failover.engine import workers  # noqa: F401 -- a daemon loads it late; here it is there before all children
from chef_failover.engine.sidecar import Sidecar
from chef_failover.metrics import exposition  # noqa: F401 -- as well

EVENTS = {"open", "os.rename", "os.link", "os.remove", "socket.connect"}


def live(kill_at, config_path):
    count = 0

    def watch(event, _):
        nonlocal count
        if event in EVENTS and threading.current_thread().name.startswith("upkeep"):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sidecar = Sidecar(config.load(Path(config_path)))
    sidecar.start()
    sidecar.choose_for_run()
    limit = time.monotonic() + 30
    while any(not server.is_registered for server in sidecar.snapshot.servers):
        assert time.monotonic() < limit, sidecar.snapshot
        time.sleep(0.005)
    sidecar.stop(1.0)


def main():
    for line in sys.stdin:
        kill_at, config_path = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if child == 0:
            try:
                live(int(kill_at), config_path)
            except BaseException:  # noqa: BLE001 -- said, and the child ends here whatever it was
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
