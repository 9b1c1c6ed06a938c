"""EC2 as moto has it, with the images that Amazon offers; what it would start is a virtual machine of the tests."""

import contextlib
import json
import os
import subprocess
import sys

import boto3
import requests

from tests.image.packer import ENVIRONMENT
from tests.image.vpc import ROUTER
from tests.support.daemon_process import until

REGION = "us-east-1"
RELEASES = {
    "ami-0a1": ("al2023-ami-2023.8.20250101.0-kernel-6.1-x86_64", "x86_64", "2025-01-01T00:00:00Z"),
    "ami-0a2": ("al2023-ami-2023.9.20260101.0-kernel-6.1-x86_64", "x86_64", "2026-01-01T00:00:00Z"),
    "ami-0a3": ("al2023-ami-2023.9.20260101.0-kernel-6.1-arm64", "arm64", "2026-01-01T00:00:00Z"),
    "ami-0a4": ("al2023-ami-minimal-2023.9.20260601.0-kernel-6.12-x86_64", "x86_64", "2026-06-01T00:00:00Z"),
    "ami-0a5": ("amzn2-ami-hvm-2.0.20260601.0-x86_64-gp2", "x86_64", "2026-06-01T00:00:00Z"),
    "ami-0a6": ("al2023-ami-2023.9.20260102.0-kernel-6.12-x86_64", "x86_64", "2026-01-02T00:00:00Z"),
    "ami-0a7": ("al2023-ami-2023.9.20260102.0-kernel-6.12-arm64", "arm64", "2026-01-02T00:00:00Z"),
}
"""What Amazon offers: only the second is the newest full Amazon Linux 2023 with kernel 6.1 for x86_64."""


@contextlib.contextmanager
def moto_ec2(folder):
    """A client of it; it runs as a process of its own."""
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
