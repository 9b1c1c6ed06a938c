"""Where OpenSSL is in FIPS mode there are few digests, and asking for another one raises."""

import os
import re
import subprocess
from pathlib import Path

import requests

from chef_devserver.authority import Authority
from chef_devserver.server import DevServer
from tests.support.daemon_process import daemon, free_port, until, write_config
from tests.support.parts import require_program

UNIT = Path(__file__).parents[2] / "packaging" / "chef-failover.service"

FIPS = """
import hashlib

def restrict(name):
    real = getattr(hashlib, name)
    def digest(*data, usedforsecurity=True, **more):
        if usedforsecurity:
            raise ValueError(f"no {name} in FIPS mode")
        return real(*data, usedforsecurity=False, **more)
    setattr(hashlib, name, digest)

for name in ("blake2b", "blake2s", "md5", "sha1"):
    restrict(name)
"""


def test_a_sidecar_wants_no_digest_that_fips_mode_lacks(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(FIPS)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with DevServer("mainserver", Authority(), protocols=("1.0", "1.1")) as server:
        loopback = f"127.0.0.1:{free_port()}"
        config = write_config(tmp_path, [server], node="{name: web-1}", registers=True, loopback=loopback)
        with daemon(config, PYTHONPATH=path) as sidecar:
            until(lambda: ("GET", "/organizations/default/clients/web-1", 200) in server.requests)
            for page in ("/metrics", "/"):
                assert requests.get(f"http://{loopback}{page}", timeout=10).status_code == 200
            assert sidecar.stop() == 0
        assert "FIPS" not in sidecar.log


def test_the_unit_lets_openssl_see_fips_mode_and_is_as_tight_as_before():
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), flags=re.MULTILINE))
    assert settings.get("ProcSubset", "all") == "all"
    assert not settings.keys() & {"InaccessiblePaths", "TemporaryFileSystem", "RootDirectory", "RootImage"}
    systemd_analyze = require_program("systemd-analyze", "systemd")
    subprocess.run([systemd_analyze, "security", "--offline=true", "--threshold=12", UNIT], check=True, timeout=60)
