"""Packer makes the AMI against moto's EC2: from the search for Amazon Linux 2023 to the image."""

import json

import pytest

from chef_failover import __version__
from tests.image.ec2 import REGION


@pytest.fixture(scope="module")
def image(baked, ec2):
    """The image, as EC2 describes it."""
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
