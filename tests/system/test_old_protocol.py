"""A whole sidecar with servers that take signing protocols 1.0 and 1.1 alone: what probes find out, all else uses."""

from chef_devserver.authority import Authority
from chef_devserver.server import DevServer
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config import settings as config
from chef_failover.engine.sidecar import Sidecar
from tests.support.daemon_process import until, write_config

OLD = ("1.0", "1.1")


def test_the_node_s_object_is_read_and_seeded_by_the_protocol_of_the_probes(tmp_path):
    authority, key = Authority(), PrivateKey.generate()
    (tmp_path / "client.pem").write_bytes(key.private_pem())
    with (
        DevServer("mainserver", authority, protocols=OLD) as main,
        DevServer("standbyserver", authority, protocols=OLD) as standby,
    ):
        for server in (main, standby):
            server.register("web-1", key.public_pem())
        main.put_node("web-1", ["recipe[web]"])
        more = {"health": "{interval: 1s, timeout: 30s}", "node": "{name: web-1}", "more": "readiness: seed\n"}
        sidecar = Sidecar(config.load(write_config(tmp_path, (main, standby), **more)))
        sidecar.start()
        try:
            until(lambda: "web-1" in standby.state.nodes)
            assert sidecar.snapshot.server("mainserver").node_check.node.run_list == ("recipe[web]",)
        finally:
            sidecar.stop()
    assert sidecar.faults.count == 0
