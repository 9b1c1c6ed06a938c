import socket
import threading

import pytest

from chef_failover.chef.lookup import Address, Resolver
from chef_failover.errors import IdentityError
from chef_failover.node import identity, offline

HERE: list[Address] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]
URLS = ["https://main.example.com", "https://standby.example.org"]


def again(host, port, flags=0):
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def test_no_name_server():
    assert offline.look(URLS, Resolver(again), 1.0) == "no name server answers"


def test_a_name_that_does_not_exist_is_no_trouble_of_ours():
    def unknown(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert offline.look(URLS, Resolver(unknown), 1.0) is None


@pytest.mark.parametrize("dead", ["main.example.com", "standby.example.org"])
def test_one_dead_zone_is_no_trouble_of_ours(dead):
    released = threading.Event()

    def getaddrinfo(host, port):
        if host == dead:
            released.wait(60)
        return HERE

    assert offline.look(URLS, Resolver(getaddrinfo), 2.0) is None
    released.set()


def test_without_servers_nobody_is_offline():
    assert offline.look([], Resolver(again), 1.0) is None


def test_a_lookup_whose_thread_cannot_start_is_tried_again(monkeypatch):
    resolver = Resolver(lambda host, port: HERE)

    def full(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError):
            resolver.lookup("main.example.com", 443, 1.0)
    assert resolver.lookup("main.example.com", 443, 1.0) == HERE


def test_a_short_name_never_stands_in_for_the_full_one(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "web-1", ())])
    with pytest.raises(IdentityError, match="but this machine's name resolves to 'web-1'"):
        identity.fqdn()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "web-1.example.com", ())])
    assert identity.node_name("n-{fqdn}") == "n-web-1.example.com"
    monkeypatch.setattr(socket, "getaddrinfo", again)
    with pytest.raises(IdentityError, match="does not resolve"):
        identity.fqdn()
