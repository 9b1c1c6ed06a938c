"""A sidecar that is killed (-9) at the Nth thing its association does to the world: run as a process by the tests.

Arguments: configuration, N. It prints ``associated`` and ends by itself if it comes so far, killed by nobody.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

EVENTS = {"open", "os.rename", "os.link", "os.remove", "socket.connect"}


def main(config_path, kill_at):
    from chef_failover.config import settings as config
    from chef_failover.engine.sidecar import Sidecar

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
    limit = time.monotonic() + 20
    while any(not server.is_registered for server in sidecar.snapshot.servers):
        assert time.monotonic() < limit, sidecar.snapshot
        time.sleep(0.005)
    sidecar.stop(1.0)
    sys.stdout.write("associated\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
