"""packaging/put-list puts no list into S3 or the Parameter Store that a node would not use whole."""

import subprocess
import sys
from pathlib import Path

import pytest

PUT_LIST = Path(__file__).parents[2] / "packaging" / "put-list"
CONFIG = """\
servers: [{name: mainserver, url: "https://chef-a.example.com"}]
trusted_hosts: ["*.chef.example.com"]
discovery: {source: "s3://fleet/chef-servers.yml", region: us-east-1}
"""
GOOD = 'servers: [{name: mainserver, url: "https://a.chef.example.com"}]\n'


@pytest.fixture
def put_list(tmp_path):
    """Runs it with a list, and returns its exit code, what it said, and what the AWS CLI was told."""
    (tmp_path / "chef-failover").write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore -m chef_failover "$@"\n')
    (tmp_path / "aws").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/told\n')
    for name in ("chef-failover", "aws"):
        (tmp_path / name).chmod(0o755)
    (tmp_path / "config.yml").write_text(CONFIG)

    def run(text, place):
        (tmp_path / "list.yml").write_text(text)
        command = [PUT_LIST, "config.yml", "list.yml", place]
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
        ran = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, check=False, timeout=60)
        told = tmp_path / "told"
        return ran.returncode, ran.stdout + ran.stderr, told.read_text().splitlines() if told.exists() else []

    return run


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("s3://fleet/chef-servers.yml", "s3 cp --only-show-errors list.yml s3://fleet/chef-servers.yml"),
        (
            "ssm:/chef/servers",
            "ssm put-parameter --name /chef/servers --value file://list.yml"
            " --type String --tier Intelligent-Tiering --overwrite",
        ),
    ],
)
def test_a_good_list_is_put_where_nodes_fetch_it(put_list, place, told):
    code, _, calls = put_list(GOOD, place)
    assert (code, calls) == (0, [told])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("servers: [}", "list.yml"),
        (GOOD.replace("a.chef.example.com", "a.example.net"), "a.example.net"),
    ],
    ids=["no YAML", "a stranger"],
)
def test_a_list_that_nodes_would_refuse_stays_where_it_is(put_list, text, said):
    code, told, calls = put_list(text, "s3://fleet/chef-servers.yml")
    assert (code, calls) == (1, [])
    assert said in told


@pytest.mark.parametrize("place", ["fleet/chef-servers.yml", "s3://fleet", "ssm:"])
def test_a_place_that_nodes_do_not_know_is_a_mistake(put_list, place):
    assert put_list(GOOD, place)[::2] == (2, [])
