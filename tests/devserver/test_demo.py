"""The demonstration shows what it says, and leaves nothing behind however it ends."""

import itertools
import os
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from chef_failover.api import client
from chef_failover.errors import EXIT_INTERRUPTED, SidecarUnavailableError
from tests.support.daemon_process import until

DEMO = [sys.executable, "-c", "from chef_devserver.demo import main; main()"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_however_it_ends_nothing_stays_behind(tmp_path, number):
    environ = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(DEMO, env=environ, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    with demo:
        try:
            until(lambda: next(iter(tmp_path.glob("*/sidecar.sock")), None), 30)
            path = next(tmp_path.glob("*/sidecar.sock"))
            until(lambda: is_up(path), 30)
            demo.send_signal(number)
            demo.stdout.read()
            demo.wait(60)
        finally:
            demo.kill()
    until(lambda: not is_up(path))
    assert number == signal.SIGKILL or not list(tmp_path.iterdir())


def is_up(path):
    try:
        return client.ask(path, "/livez").status == 200
    except SidecarUnavailableError:
        return False


@pytest.mark.timeout(150)
def test_it_shows_what_it_says_and_kept_it_serves_the_status_page():
    environ = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([*DEMO, "--keep"], stdout=subprocess.PIPE, text=True, env=environ) as demo:
        try:
            said = "".join(itertools.takewhile(lambda line: "curl" not in line, demo.stdout))
            assert "The very next run went to standby-b" in said
            assert "none of them failed" in said
            address = re.search(r"http://127\.0\.0\.1:\d+/", said)[0]
            with urllib.request.urlopen(address, timeout=10) as page:
                assert "mainserver" in page.read().decode()
            directory = Path(re.search(r"--config (\S+)/config\.yml", said)[1])
            assert stat.S_IMODE((directory / "client.pem").stat().st_mode) == 0o600
            main = client.ask(directory / "sidecar.sock", "/v1/servers").body["servers"][0]
            assert (main["name"], main["failures"]) == ("mainserver", 0), "a server that fails next comes back soon"
        finally:
            demo.send_signal(signal.SIGINT)
    assert demo.returncode == EXIT_INTERRUPTED
