"""Shell: an embedded Chef server: a port, a thread for each connection, and a fault that can be switched at any time.

Switching a fault looks to clients as if the server had been restarted with it: open connections are cut, so that no
kept-alive one lives on under the old fault, and the next one meets the new. The state survives, and so does the port.
"""

from __future__ import annotations

import collections
import datetime
import errno
import functools
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from chef_devserver import chef, rights, wire
from chef_devserver.authority import Authority, CertificateKind
from chef_devserver.connections import Connections, Pause
from chef_devserver.documents import node_object
from chef_devserver.door import Door
from chef_devserver.faults import PORT, Fault, down, faulty_answer
from chef_devserver.messages import Request, Response
from chef_devserver.state import INFRA_SERVER, PIVOTAL, ChefState, Kind
from chef_failover.chef.libcrypto import PrivateKey

_REMEMBERED = 1000
"""Requests kept in ``requests``."""
_SPOILT: dict[Fault | None, CertificateKind] = {
    Fault.CERT_EXPIRED: CertificateKind.EXPIRED,
    Fault.CERT_WRONG_NAME: CertificateKind.WRONG_NAME,
}


class DevServer:
    """A Chef server on loopback. As a context manager it runs inside the block, and gives the port back after it.

    ``organization`` None leaves ``/organizations/NAME`` out of the paths, as goiardi does. ``port`` 0 takes a free one,
    which stays the same over ``stop`` and ``start``. Everything may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        authority: Authority,
        organization: str | None = "default",
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        kind: Kind = INFRA_SERVER,
        protocols: Iterable[str] = ("1.0", "1.1", "1.3"),
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self.name = name
        self.ca_pem = authority.ca_pem
        self.state = ChefState(organization, kind, protocols=frozenset(protocols))
        self.requests: collections.deque[tuple[str, str, int]] = collections.deque(maxlen=_REMEMBERED)
        self._authority = authority
        self._utc_now = utc_now
        self._door = Door(host, port)
        self.port = self._door.address[1]
        self.url = f"https://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._contexts: dict[Fault | None, ssl.SSLContext] = {}
        self._connections = Connections()
        self._switching = threading.Lock()
        self._answering = threading.Lock()
        self._running = False
        self._acceptor: threading.Thread | None = None
        self._fault: Fault | None = None

    @property
    def chef_server_url(self) -> str:
        """The URL for ``client.rb``: with the organization if there is one."""
        return f"{self.url}/organizations/{self.state.organization}" if self.state.organization else self.url

    @property
    def connections(self) -> int:
        """How many connections have ever been accepted."""
        return self._connections.total

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    @functools.cached_property
    def validator_key(self) -> PrivateKey:
        """The key of the client ``state.validator``, drawn and registered when first asked for."""
        key = PrivateKey.generate()
        self.register(self.state.validator, key.public_pem().decode())
        return key

    @functools.cached_property
    def administrator_key(self) -> PrivateKey:
        """The key of the user ``admin``, an administrator of the organization, drawn when first asked for."""
        key = PrivateKey.generate()
        with self._answering:
            self.state.add_user("admin", key.public_pem().decode())
        return key

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the server now; setting it takes effect before the assignment returns."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        with self._switching:
            before, self._fault = self._fault, fault
            if not self._running:
                return
            if {before, fault} & PORT:
                self._shut()
                self._open()
            else:
                self._connections.cut()

    def start(self) -> None:
        """Listen, unless it does already."""
        with self._switching:
            if not self._running:
                self._running = True
                self._open()

    def stop(self) -> None:
        """Refuse connections and cut those there are, as if the server had been killed. ``start`` revives it."""
        with self._switching:
            self._running = False
            self._shut()

    def close(self) -> None:
        """Stop, and give the port back."""
        self.stop()
        self._door.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def register(self, client: str, public_key_pem: str | bytes) -> None:
        """Make ``client`` known under this key, or give it a new one."""
        pem = public_key_pem.decode() if isinstance(public_key_pem, bytes) else public_key_pem
        with self._answering:
            if client in self.state.clients:
                self.state.clients[client] = pem
            else:
                self.state.add_client(client, pem)

    def put_node(
        self, name: str, run_list: Iterable[str] = (), *, created_by: str | None = None, **attributes: object
    ) -> None:
        """Store a node object with this run list; ``attributes`` are its other top-level keys.

        ``created_by`` is the client or user who has made it, and so may save it: by default the client of that name,
        and the superuser where there is none.
        """
        with self._answering:
            creator = self.state.actors().get(created_by or name, PIVOTAL)
            self.state.nodes[name] = node_object(name, {"run_list": list(run_list), **attributes})
            self.state.acls[name] = rights.of_new_node(creator)

    def _open(self) -> None:
        if self._fault is Fault.BLACK_HOLE:
            self._door.block()
        elif self._fault is not Fault.REFUSE:
            self._acceptor = threading.Thread(
                target=self._accept, args=(self._door.open(),), name=f"devserver-{self.name}", daemon=True
            )
            self._acceptor.start()

    def _shut(self) -> None:
        self._door.shut()
        if self._acceptor is not None:
            self._acceptor.join()
            self._acceptor = None
        self._connections.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.EBADF):  # shut
                    return
                raise
            self._connections.take(connection, self._servant)

    def _servant(self, pause: Pause) -> Callable[[socket.socket], None]:
        fault = self._fault
        tls = self._contexts.get(fault) or self._contexts.setdefault(fault, self._context(fault))

        def answer(request: Request) -> Response:
            return faulty_answer(fault, self.state, request, lambda: self._answer(request))

        service = wire.Service(fault=fault, tls=tls, answer=answer, log=self._log, pause=pause)
        return functools.partial(wire.serve, service=service)

    def _context(self, fault: Fault | None) -> ssl.SSLContext:
        authority = Authority("an authority that nobody trusts") if fault is Fault.CERT_FOREIGN else self._authority
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslsocket_class = wire.Channel
        with tempfile.NamedTemporaryFile() as pem:  # OpenSSL reads certificates from files only
            pem.write(b"".join(authority.certificate(_SPOILT.get(fault, CertificateKind.VALID))))
            pem.flush()
            context.load_cert_chain(pem.name)
        if fault is Fault.CLIENT_CERTIFICATE_TLS:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=authority.ca_pem.decode())
        return context

    def _answer(self, request: Request) -> Response:
        with self._answering:
            return chef.answer(self.state, request, self._utc_now(), PrivateKey.generate, down(self._fault))

    def _log(self, method: str, target: str, status: int) -> None:
        self.requests.append((method, target, status))
