"""`make repo`: what it needs, with which keys it signs, and in which order it publishes. A tiny package stands in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.parts import require_program

ROOT = Path(__file__).parents[2]
MAKE_REPO = ROOT / "packaging" / "make-repo"
SPEC = """Name: tiny
Version: 1
Release: 1
Summary: A stand-in
License: Apache-2.0
BuildArch: noarch
%description
A stand-in.
%files
"""
KEYS = {"RSA": "rsa3072", "Ed25519": "ed25519", "ECDSA": "nistp256", "DSA": "dsa2048"}
NEEDED = ("rpmsign", "createrepo_c", "gpg", "aws")


def build(folder, spec):
    """The folder with a package of this spec."""
    rpmbuild = require_program("rpmbuild", "rpm")
    (folder / "tiny.spec").write_text(spec)
    subprocess.run(
        [
            rpmbuild,
            "-bb",
            "--quiet",
            "--define",
            f"_topdir {folder}/build",
            "--define",
            f"_rpmdir {folder}",
            "tiny.spec",
        ],
        cwd=folder,
        check=True,
        timeout=60,
    )
    return folder / "noarch"


@pytest.fixture(scope="module")
def rpms(tmp_path_factory):
    return build(tmp_path_factory.mktemp("rpms"), SPEC)


@pytest.fixture(scope="module")
def gpg_home():
    """A throw-away key of each kind, with the kind as its name."""
    gpg = require_program("gpg", "gnupg")
    home = Path("/tmp") / f"chef-failover-keys-{os.getpid()}"  # short, as the agent's socket must be
    home.mkdir(mode=0o700)
    environ = os.environ | {"GNUPGHOME": str(home)}
    for name, kind in KEYS.items():
        command = [gpg, "--batch", "--passphrase", "", "--quick-gen-key", name, kind, "sign", "never"]
        subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
    yield home
    subprocess.run(["gpgconf", "--kill", "all"], env=environ, check=False, timeout=60)
    shutil.rmtree(home, ignore_errors=True)  # the agent removes its sockets when it likes


def make_repo(rpms, directory, gpg_home, key="RSA", **environ):
    for name, package in (("rpmsign", "rpm"), ("createrepo_c", "createrepo-c")):
        require_program(name, package)
    environ = os.environ | {"GNUPGHOME": str(gpg_home), "GPG_KEY": key} | environ
    return subprocess.run(
        [MAKE_REPO, rpms, directory], env=environ, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("key", ["ECDSA", "DSA"])
def test_a_key_whose_signatures_rpm_4_16_does_not_take_is_refused(rpms, gpg_home, tmp_path, key):
    ended = make_repo(rpms, tmp_path / "repo", gpg_home, key)
    assert ended.returncode == 1
    assert "take RSA or Ed25519" in ended.stderr
    assert not (tmp_path / "repo").exists()


def test_nodes_that_look_in_the_folder_of_their_architecture_find_the_package(rpms, gpg_home, tmp_path):
    former = tmp_path / "repo" / "x86_64"
    former.mkdir(parents=True)
    ended = make_repo(rpms, tmp_path / "repo", gpg_home)
    assert ended.returncode == 0, ended.stderr
    found = {path.relative_to(tmp_path / "repo").as_posix() for path in (tmp_path / "repo").rglob("*.[ra][ps][mc]")}
    assert found == {
        f"{folder}/{name}"
        for folder in ("x86_64", "noarch")
        for name in ("tiny-1-1.noarch.rpm", "repodata/repomd.xml.asc")
    }
    assert "baseurl=file:///" in (text := (tmp_path / "repo" / "chef-failover.repo").read_text())
    assert "/noarch\n" in text


def test_a_package_that_is_published_keeps_its_bytes_unless_it_is_another(rpms, gpg_home, tmp_path):
    """Nodes have its checksum in the metadata that they keep for a while, and each signature has its time."""
    published = tmp_path / "repo" / "noarch" / "tiny-1-1.noarch.rpm"
    assert make_repo(rpms, tmp_path / "repo", gpg_home).returncode == 0
    before, inode = published.read_bytes(), published.stat().st_ino
    assert make_repo(rpms, tmp_path / "repo", gpg_home, "Ed25519").returncode == 0
    assert (published.read_bytes(), published.stat().st_ino) == (before, inode)
    shutil.copy(build(tmp_path, SPEC.replace("A stand-in.", "Another.")) / published.name, tmp_path)
    assert make_repo(tmp_path, tmp_path / "repo", gpg_home).returncode == 0
    assert published.read_bytes() != before
    assert [path.name for path in published.parent.glob("tiny*")] == [published.name]


@pytest.mark.parametrize("key", ["RSA", "Ed25519"])
def test_packages_and_metadata_are_signed_with_the_key_that_is_named(rpms, gpg_home, tmp_path, key):
    ended = make_repo(rpms, tmp_path / "repo", gpg_home, key, BASEURL="https://example.com")
    assert ended.returncode == 0, ended.stderr
    signature = tmp_path / "repo" / "noarch" / "repodata" / "repomd.xml.asc"
    command = ["gpg", "--batch", "--verify", signature, signature.with_suffix("")]
    verified = subprocess.run(
        command, env=os.environ | {"GNUPGHOME": str(gpg_home)}, capture_output=True, text=True, check=True, timeout=60
    )
    assert f'Good signature from "{key}"' in verified.stderr
    query = ["rpm", "-qp", "--nosignature", "--qf", "%{RSAHEADER:pgpsig}%{DSAHEADER:pgpsig}", *rpms.glob("*.rpm")]
    published = [*query[:-1], *(tmp_path / "repo" / "noarch").glob("*.rpm")]
    before, after = (
        subprocess.run(one, capture_output=True, text=True, check=True).stdout for one in (query, published)
    )
    assert before == "(none)(none)"
    assert {"RSA": "RSA/", "Ed25519": "EdDSA/"}[key] in after


def test_what_is_not_installed_is_listed(rpms, tmp_path):
    for name in ("sh", "realpath"):
        (tmp_path / name).symlink_to(shutil.which(name))
    environ = {"PATH": str(tmp_path), "GPG_KEY": "RSA", "PUBLISH": "s3://bucket/folder"}
    ended = subprocess.run(
        [MAKE_REPO, rpms, tmp_path / "repo"], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    head, *lines = ended.stderr.splitlines()
    assert head == "make repo needs what is not installed:"
    assert tuple(line.split(":")[0].strip() for line in lines) == NEEDED


def test_packages_are_published_before_the_metadata_that_names_them(rpms, gpg_home, tmp_path):
    """The stand-in for aws uploads as `aws s3 sync` says it does: what no --exclude matches and is not there yet."""
    bucket, aws = tmp_path / "bucket", tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(
        '#!/bin/sh\nset -eu\n[ "$1 $2 $4" = "s3 sync s3://bucket/folder" ]\ncd "$3"\nexclude=${7:-}\n'
        'find . -type f | sed "s,^./,," | while read -r path; do\n  case $path in $exclude) continue ;; esac\n'
        f'  [ -e "{bucket}/$path" ] || {{ echo "$path" >>"{tmp_path}/order"; install -D "$path" "{bucket}/$path"; }}\n'
        "done\n"
    )
    aws.chmod(0o755)
    environ = {"PATH": f"{aws.parent}:{os.environ['PATH']}", "PUBLISH": "s3://bucket/folder"}
    ended = make_repo(rpms, tmp_path / "repo", gpg_home, **environ)
    assert ended.returncode == 0, ended.stderr
    order = (tmp_path / "order").read_text().splitlines()
    assert len(order) == sum(path.is_file() for path in (tmp_path / "repo").rglob("*"))
    kinds = ["package" if "repodata" not in path else "index" if "repomd.xml" in path else "metadata" for path in order]
    assert kinds == sorted(kinds, key=["package", "metadata", "index"].index)
    assert {*kinds} == {"package", "metadata", "index"}
