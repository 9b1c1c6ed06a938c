"""The client of the socket, and whoever may answer there."""

import json
import socket
import time

import pytest

from chef_failover.api import client
from chef_failover.errors import SidecarUnavailableError
from tests.support.strange_sidecar import answering, saying

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sidecar.sock"


def test_a_question_and_its_answer(path):
    heard = []

    def speak(peer):
        saying({"schema": 1}, 202)(peer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with pytest.raises(SidecarUnavailableError, match="no complete answer within 2 s"):
            client.ask(path, "/v1/unpin", method="POST", body={"on_behalf_of": "é"}, timeout_s=2)
        peer, _ = listening.accept()
        with peer:
            heard = peer.recv(65536).decode().split("\r\n")
    path.unlink()
    assert heard[:2] == ["POST /v1/unpin HTTP/1.0", "Host: localhost"]
    assert heard[-4:-1] == ["Content-Type: application/json", f"Content-Length: {len(heard[-1])}", ""]
    assert json.loads(heard[-1]) == {"on_behalf_of": "é"}
    with answering(path, speak):
        assert client.ask(path, "/livez") == client.Reply(202, {"schema": 1})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "empty answer"),
        (b"\x00\xff" * 100, "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", "incomplete answer"),
        (HEAD + b"<html>", "Expecting value"),
        (HEAD + b"\xff\xfe\x00", "codec can't decode"),
        (HEAD + b"[" * 100_000, ""),
        (HEAD + b"[" * 21 + b"]" * 21, "more than 20 levels"),
        (HEAD + b'{"a": "' + b"x" * 2_000_000, "longer than 1024 KiB"),
    ],
    ids=["nothing", "bytes", "short", "html", "undecodable", "deep", "nested", "long"],
)
def test_what_is_no_answer_of_a_sidecar_is_said(path, answer, said):
    with (
        answering(path, lambda peer: peer.sendall(answer)),
        pytest.raises(SidecarUnavailableError, match="does not answer") as raised,
    ):
        client.ask(path, "/livez")
    assert said in str(raised.value)


def _drip(peer):
    for byte in HEAD * 10_000:
        peer.sendall(bytes([byte]))
        time.sleep(0.02)


def _pour(peer):
    while True:
        peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


@pytest.mark.parametrize(
    ("speak", "timeout_s", "said"), [(_drip, 1, "no complete answer within 1 s"), (_pour, 30, "longer than")]
)
def test_an_answer_that_never_ends_is_not_waited_for(path, speak, timeout_s, said):
    began = time.monotonic()
    with answering(path, speak), pytest.raises(SidecarUnavailableError, match=said):
        client.ask(path, "/livez", timeout_s=timeout_s)
    assert time.monotonic() - began < 60  # dripping takes an hour, and what is poured has no end


def test_a_queue_that_is_full_is_waited_for_and_not_for_ever(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            with pytest.raises(SidecarUnavailableError, match="no complete answer within"):
                client.ask(path, "/livez", timeout_s=0.2)


def test_a_path_that_no_socket_can_have_is_said(tmp_path):
    with pytest.raises(SidecarUnavailableError, match="too long"):
        client.ask(tmp_path / ("x" * 200), "/livez")
