"""The demonstration shows what it says, and leaves nothing behind however it ends."""

import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from chef_failover.api import client
from chef_failover.errors import SidecarUnavailableError
from tests.support.daemon_process import until

DEMO = [sys.executable, "-c", "from chef_devserver.demo import main; main()"]


def test_it_shows_what_it_says():
    ended = subprocess.run(DEMO, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "The very next run went to standby-b" in ended.stdout
    assert "none of them failed" in ended.stdout


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
            demo.wait(20)
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
def test_kept_it_serves_the_status_page_and_says_where():
    with subprocess.Popen(
        [*DEMO[:2], "import sys; sys.argv[1:] = ['--keep']; from chef_devserver.demo import main; main()"],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"},
    ) as demo:
        try:
            address = next(found[0] for line in demo.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
            with urllib.request.urlopen(address, timeout=10) as page:
                assert "mainserver" in page.read().decode()
        finally:
            demo.send_signal(signal.SIGINT)
