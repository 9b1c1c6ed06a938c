"""What systemd is told, and that nothing waits for it."""

import contextlib
import socket

import pytest

from chef_failover.daemon.systemd import Notifier
from tests.support.strange_sidecar import ODD


@pytest.fixture
def systemd(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


@pytest.fixture
def notifier(systemd):
    return Notifier({"NOTIFY_SOCKET": systemd.getsockname()})


def test_no_text_in_a_status_becomes_another_message(systemd, notifier):
    notifier.status(f"using a: {ODD}\nMAINPID=1")
    said = systemd.recv(4096).decode()
    assert said.startswith("STATUS=using a: ")
    assert said.isprintable()


def test_a_status_does_not_wait_for_a_systemd_that_takes_nothing(systemd, notifier):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling, contextlib.suppress(BlockingIOError):
        filling.setblocking(False)
        while True:
            filling.sendto(b"x", systemd.getsockname())
    for number in range(1000):
        notifier.status(str(number))  # each would wait for ever
    assert systemd.recv(4096) == b"x"


def test_without_systemd_nothing_is_said_and_nothing_fails(tmp_path):
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).alive()
