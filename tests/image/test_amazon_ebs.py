"""The source that makes the AMI, amazon-ebs, against moto's EC2: from the search for Amazon Linux 2023 to the image.

What EC2 would start is a virtual machine here, to which Packer is told to connect; the rest is as it would be.
"""

import json
import os
import subprocess
import sys

import boto3
import pytest
import requests

from chef_failover import __version__
from tests.image.packer import ENVIRONMENT
from tests.image.vpc import ROUTER
from tests.support.daemon_process import until

REGION = "us-east-1"
RELEASES = {
    "ami-0a1": ("al2023-ami-2023.8.20250101.0-kernel-6.1-x86_64", "x86_64", "2025-01-01T00:00:00Z"),
    "ami-0a2": ("al2023-ami-2023.9.20260101.0-kernel-6.12-x86_64", "x86_64", "2026-01-01T00:00:00Z"),
    "ami-0a3": ("al2023-ami-2023.9.20260101.0-kernel-6.12-arm64", "arm64", "2026-01-01T00:00:00Z"),
    "ami-0a4": ("al2023-ami-minimal-2023.9.20260601.0-kernel-6.12-x86_64", "x86_64", "2026-06-01T00:00:00Z"),
    "ami-0a5": ("amzn2-ami-hvm-2.0.20260601.0-x86_64-gp2", "x86_64", "2026-06-01T00:00:00Z"),
}
"""What Amazon offers: only the second is the newest full Amazon Linux 2023 for x86_64."""


@pytest.fixture(scope="module")
def ec2(tmp_path_factory, network):
    """A client of moto's EC2, which runs as a process of its own."""
    folder = tmp_path_factory.mktemp("moto")
    amis = folder / "amis.json"
    amis.write_text(json.dumps([release(ami, *what) for ami, what in RELEASES.items()]))
    endpoint = f"http://{ROUTER}:5000"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", ROUTER, "-p", "5000"],
            env=os.environ | {"MOTO_AMIS_PATH": str(amis)},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: answers(endpoint), 60)
        keys = {name.lower(): ENVIRONMENT[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        yield boto3.client("ec2", region_name=REGION, endpoint_url=endpoint, **keys)
    finally:
        process.terminate()
        process.wait(10)


def release(ami, name, architecture, date):
    return {
        "ami_id": ami,
        "name": name,
        "architecture": architecture,
        "creation_date": date,
        "description": name,
        "hypervisor": "xen",
        "image_location": f"amazon/{name}",
        "image_type": "machine",
        "owner_id": "137112412989",
        "platform": None,
        "public": True,
        "root_device_name": "/dev/xvda",
        "root_device_type": "ebs",
        "sriov": "simple",
        "state": "available",
        "virtualization_type": "hvm",
    }


def answers(endpoint):
    try:
        return requests.get(f"{endpoint}/moto-api/", timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def image(ec2, packer, base, provisioning, new_instance):
    """The image, as EC2 describes it."""
    with new_instance(3, base / "base.qcow2", kernel="cloud-init=disabled").running() as machine:
        packer.build(
            "amazon-ebs",
            **provisioning,
            region=REGION,
            ec2_endpoint=ec2.meta.endpoint_url,
            ssh_host=machine.address,
            ssh_private_key_file=base / "key",
            output=packer.folder / "ami",
        )
    (found,) = ec2.describe_images(Owners=["self"])["Images"]
    return found


def tags(resource):
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}


def test_the_newest_amazon_linux_2023_becomes_our_image(image):
    assert image["State"] == "available"
    assert image["Architecture"] == "x86_64"
    assert image["Name"].startswith(f"chef-failover-{__version__}-al2023-x86_64-")
    assert tags(image) == {"Name": "chef-failover", "ChefFailover": __version__, "SourceAMI": "ami-0a2"}


def test_the_manifest_names_it(image, packer):
    (build,) = json.loads((packer.folder / "ami.json").read_text())["builds"]
    assert build["artifact_id"] == f"{REGION}:{image['ImageId']}"


def test_nothing_is_left_behind(image, ec2):
    states = [
        instance["State"]["Name"]
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    ]
    assert set(states) == {"terminated"}
    assert {group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]} == {"default"}
    assert ec2.describe_key_pairs()["KeyPairs"] == []
