"""What these tests share: a disk to start from, packages, Packer. The disk comes from the Makefile."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from chef_failover import __version__
from tests.image.ec2 import REGION, moto_ec2
from tests.image.instance import Instance
from tests.image.packer import Packer
from tests.image.vpc import MAIN, STANDBY, require_own_network, vpc
from tests.support.goiardi import VALIDATOR, Goiardi
from tests.support.parts import missing_part, require_program

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "image"
NUMBERS = (1, 2, 3)


def pytest_collection_modifyitems(items):
    """A test may wait for a whole build."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(3600))


def pytest_terminal_summary(terminalreporter):
    """The figures that tests recorded."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("xfailed")]
    figures = dict(figure for report in reports for figure in report.user_properties)
    for name, figure in figures.items():
        terminalreporter.write_line(f"{name}: {figure}")


@pytest.fixture(scope="session")
def base():
    """The folder with the disk that stands in for Amazon Linux 2023."""
    if not (BUILD / "base.qcow2").exists():
        missing_part("there is no disk to start from (run `make test-image` as root, with a Debian mirror)")
    require_program("qemu-system-x86_64", "qemu-system-x86")
    return BUILD


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    require_own_network()
    with vpc(tmp_path_factory.mktemp("vpc"), NUMBERS):
        yield


@pytest.fixture(scope="session")
def servers(tmp_path_factory, network):
    """Two real Chef servers that the instances reach."""
    folder = tmp_path_factory.mktemp("goiardi")
    with Goiardi(folder / "main", MAIN) as main, Goiardi(folder / "standby", STANDBY) as standby:
        yield main, standby


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Our RPM, and one that has the stand-in as chef-client."""
    folder = tmp_path_factory.mktemp("packages")
    rpmbuild = require_program("rpmbuild", "rpm")
    wheels = ROOT / "build" / "wheelhouse"
    if not wheels.is_dir():
        missing_part("there is no wheelhouse (make wheelhouse)")
    environ = os.environ | {"PAYLOAD": "w3.zstdio"}  # a quick compression
    subprocess.run([ROOT / "packaging" / "build-rpm", wheels, folder], check=True, timeout=300, env=environ)
    stand_in = ROOT / "tests" / "ruby" / "chef_client_stand_in.rb"
    definitions = {
        "stand_in": stand_in,
        "_rpmdir": folder,
        "_topdir": folder / "work",
        "_build_name_fmt": "chef.noarch.rpm",
    }
    words = [word for name, value in definitions.items() for word in ("--define", f"{name} {value}")]
    spec = Path(__file__).parent / "chef.spec"
    subprocess.run([rpmbuild, "-bb", "--quiet", *words, spec], check=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def config(tmp_path_factory, servers):
    """The folder with config.yml for both servers, and the certificates to trust."""
    folder = tmp_path_factory.mktemp("config")
    entries = []
    for name, server in zip(("main", "standby"), servers, strict=True):
        (folder / f"{name}.pem").write_bytes(server.ca_file.read_bytes())
        key = f"file:/etc/chef-failover/{name}-validator.pem"
        association = {"provider": "chef-server", "validator": VALIDATOR, "validator_key": key}
        ca_file = f"/etc/chef-failover/{name}.pem"
        entries.append({"name": f"{name}server", "url": server.url, "ca_file": ca_file, "association": association})
    document = {
        "node": {"name": "{instance_id}", "organization": None},
        "servers": entries,
        # Without KVM, two machines on as many cores are slow; time is not what is tested here.
        "health": {"interval": "5s", "retry_interval": "500ms", "timeout": "15s"},
        "selection": {"failback": "immediately"},
    }
    (folder / "config.yml").write_text(json.dumps(document, indent=2))  # which is YAML, too
    return folder


@pytest.fixture(scope="session")
def packer(tmp_path_factory):
    return Packer(tmp_path_factory.mktemp("packer"))


@pytest.fixture(scope="session")
def provisioning(packages, config):
    """The variables of every build."""
    return {"version": __version__, "packages": packages, "config": config}


@pytest.fixture(scope="session")
def new_instance(tmp_path_factory, base, network):
    """Makes an instance of an image."""

    def make(number, image, **more):
        return Instance(number, base, image, tmp_path_factory.mktemp("instances") / str(number), **more)

    return make


@pytest.fixture(scope="session")
def ec2(tmp_path_factory, network):
    with moto_ec2(tmp_path_factory.mktemp("moto")) as client:
        yield client


@pytest.fixture(scope="session")
def baked(ec2, packer, base, provisioning, new_instance):
    """The disk of which Packer has made the image: EC2 is moto's, and the instance there a virtual machine."""
    machine = new_instance(3, base / "base.qcow2", kernel="cloud-init=disabled")
    with machine.running():
        packer.build(
            **provisioning,
            region=REGION,
            ec2_endpoint=ec2.meta.endpoint_url,
            ssh_host=machine.address,
            ssh_private_key_file=base / "key",
            output=packer.folder / "ami",
        )
        machine.power_off()
    return machine.disk
