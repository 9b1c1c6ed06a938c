"""Whoever answers on the socket in the sidecar's place."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

ODD = "a\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp\u2066\u200f\u2028\nERROR forged\r\x7f\u00e9→"
"""Text that commands a terminal, turns what follows and forges a line. Two of its characters are fine: é and →."""


@contextlib.contextmanager
def answering(path: Path, speak: Callable[[socket.socket], None]) -> Iterator[None]:
    """Somebody listens on ``path``, reads a question and calls ``speak`` with the connection, again and again."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer, contextlib.suppress(OSError):
                    peer.recv(65536)
                    speak(peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def saying(document: object, status: int = 200) -> Callable[[socket.socket], None]:
    """A ``speak`` that answers ``document`` as JSON."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.0 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return lambda peer: peer.sendall(head.encode() + body)


def made_odd(document: object) -> object:
    """``document`` with `ODD` behind all text in it, but for keys and names."""
    if isinstance(document, str):
        return document + ODD
    if isinstance(document, dict):
        return {key: value if key == "name" else made_odd(value) for key, value in document.items()}
    return [made_odd(value) for value in document] if isinstance(document, list) else document
