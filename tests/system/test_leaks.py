"""Five hundred probes of each fault leave nothing behind: no thread, no descriptor, no memory.

The embedded server runs in a process of its own, so only the probes are counted, and the second core has work.
"""

import ctypes
import functools
import gc
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer
from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.probes import Prober
from chef_failover.chef.signing import ChefAuth
from chef_failover.chef.trust import TrustStore
from tests.support.daemon_process import until

NODE = "i-0abc"
PROBES = 500
WARM_UP = 100
AT_ONCE = 20
MEMORY_MB = 20.0
"""40 kB for each probe, as a TLS connection weighs; what is seen without a leak is up to half of it."""
SLOW = {Fault.BLACK_HOLE, Fault.SILENT, Fault.TLS_SILENT, Fault.DRIP, Fault.DRIP_BODY, Fault.ENDLESS_BODY}
"""The faults that take a whole timeout, or would take long without one."""


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


def serve(pipe, public_pem):
    """The other process: says where it is, then switches to each fault that it is sent."""
    with DevServer("leaky", Authority()) as server:
        server.register(NODE, public_pem)
        server.put_node(NODE)
        pipe.send((server.chef_server_url, server.ca_pem))
        while (fault := pipe.recv()) != "end":
            server.fault = fault
            pipe.send(fault)


class Server:
    """The embedded server in the other process."""

    def __init__(self, public_pem):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, public_pem), daemon=True)
        self._process.start()
        theirs.close()
        self.url, self.ca_pem = self._pipe.recv()

    def switch_to(self, fault):
        self._pipe.send(fault)
        assert self._pipe.recv() is fault

    def close(self):
        self._pipe.send("end")
        self._process.join()
        self._pipe.close()


@pytest.fixture(scope="module")
def server(key):
    server = Server(key.public_pem())
    yield server
    server.close()


@pytest.fixture
def probers(server, key, tmp_path, fault):
    """One in five signs, which costs several requests."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(server.ca_pem)
    timeout_s = 0.03 if fault in SLOW else 5.0
    target = Target(server.url, timeout_s=timeout_s, ca_file=ca_file, node_name=NODE)
    server = ChefServer(target, Resolver(), TrustStore(()))
    signer = functools.partial(ChefAuth, NODE, key)
    return [Prober(server, signer=(lambda: signer) if number % 5 == 0 else (lambda: None)) for number in range(AT_ONCE)]


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def probe(probers, times):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for results in pool.map(lambda prober: [prober.probe() for _ in range(times // AT_ONCE)], probers):
            assert len(results) == times // AT_ONCE


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def memory():
    """Objects that the collector knows, and megabytes that the kernel does."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return len(gc.get_objects()), resident_mb()


@pytest.mark.parametrize("fault", [None, *Fault], ids=lambda fault: fault.name if fault else "none")
def test_five_hundred_probes_leave_nothing(server, probers, fault):
    server.switch_to(fault)
    probe(probers, WARM_UP)
    objects, resident = memory()
    threads, files = threading.active_count(), descriptors()
    probe(probers, PROBES)
    objects_after, resident_after = memory()
    until(lambda: threading.active_count() <= threads)  # of the resolver, which end in their own time
    assert descriptors() == files
    assert objects_after - objects < PROBES / 2
    assert resident_after - resident < MEMORY_MB
