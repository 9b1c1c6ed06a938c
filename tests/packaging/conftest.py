"""The package, a signed repository of it, and nodes to install it on. Built once for all tests."""

import itertools
import os
import shutil
from pathlib import Path

import pytest

from tests.packaging.node import AVAILABLE, SYSTEM, booted, call, make_stubs
from tests.packaging.packages import NEW, OLD, ROOT, build
from tests.support.daemon_process import until
from tests.support.parts import missing_part, require_program

_numbers = itertools.count()


_figures = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(pytestconfig):
    """Takes a sentence with a measured figure, to be told at the end."""
    return pytestconfig.stash.setdefault(_figures, []).append


def pytest_terminal_summary(terminalreporter, config):
    for sentence in config.stash.get(_figures, []):
        terminalreporter.write_line(f"measured: {sentence}")


@pytest.fixture(scope="session")
def rpms(tmp_path_factory):
    """The folder with an old and a new version."""
    directory = tmp_path_factory.mktemp("rpms")
    build(directory, OLD)
    build(directory, NEW)
    return directory


@pytest.fixture(scope="session")
def rpm(rpms):
    """The path of the old version."""
    return rpms / f"chef-failover-{OLD}-1.noarch.rpm"


@pytest.fixture(scope="session")
def gpg_home(tmp_path_factory):
    """A throw-away key, for signatures that prove nothing but that they are checked."""
    require_program("gpg", "gnupg")
    home = Path("/tmp") / f"chef-failover-gpg-{os.getpid()}"  # short, as the agent's socket must be
    home.mkdir(mode=0o700)
    environ = os.environ | {"GNUPGHOME": str(home)}
    call("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "tests", "rsa3072", "sign", "never", env=environ)
    yield home
    call("gpgconf", "--kill", "all", env=environ)
    shutil.rmtree(home, ignore_errors=True)  # the agent removes its sockets when it likes


@pytest.fixture(scope="session")
def repository(rpms, gpg_home, tmp_path_factory):
    """What `make repo` makes, with its address inside a node."""
    require_program("createrepo_c", "createrepo-c")
    directory = tmp_path_factory.mktemp("repository") / "repo"
    environ = os.environ | {"GNUPGHOME": str(gpg_home), "GPG_KEY": "tests", "BASEURL": "file:///srv/chef-failover"}
    call(ROOT / "packaging" / "make-repo", rpms, directory, env=environ)
    return directory


@pytest.fixture(scope="session")
def image(repository, tmp_path_factory):
    """A root with systemd, dnf and Ruby, which takes itself for Amazon Linux 2023."""
    require_program("systemd-nspawn", "systemd-container")
    root = ROOT / "build" / "roots" / "amd64"
    if "ALONE" not in os.environ or not root.is_dir():
        missing_part(
            "containers need root, a network of their own and a root file system (make test-packaging as root)"
        )
    layer = tmp_path_factory.mktemp("image")
    upper, work, merged = (layer / name for name in ("upper", "work", "merged"))
    for directory in (upper, work, merged):
        directory.mkdir()
    call("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={root},upperdir={upper},workdir={work}", merged)
    _dress(merged, repository)
    call("umount", merged)
    return f"{upper}:{root}"


def _dress(root, repository):
    """What the node has before anybody installs us."""
    shutil.copytree(repository, root / "srv" / "chef-failover")
    make_stubs(root / "srv" / "system", SYSTEM, "amzn2023", "x86_64")
    make_stubs(root / "srv" / "amazonlinux", AVAILABLE["amzn2023"], "amzn2023", "x86_64")
    call("createrepo_c", "--quiet", root / "srv" / "amazonlinux")
    (root / "usr" / "share" / "licenses").mkdir()  # of the package filesystem there
    repos = root / "etc" / "yum.repos.d"
    repos.mkdir(parents=True, exist_ok=True)
    shutil.copy(repository / "chef-failover.repo", repos)
    (repos / "amazonlinux.repo").write_text(
        "[amazonlinux]\nname=stubs\nbaseurl=file:///srv/amazonlinux\ngpgcheck=0\nmetadata_expire=0\n"
    )
    (root / "etc" / "dnf" / "vars").mkdir(parents=True, exist_ok=True)
    (root / "etc" / "dnf" / "vars" / "releasever").write_text("2023\n")
    (root / "etc" / "rpm").mkdir(exist_ok=True)
    (root / "etc" / "rpm" / "macros.dbpath").write_text("%_dbpath /var/lib/rpm\n")
    (root / "etc" / "hostname").write_text("node\n")
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost node\n")
    call("chroot", root, "sh", "-c", "rpm -i --nodeps /srv/system/*.rpm")


@pytest.fixture
def node(image, tmp_path):
    """A node that has just booted, without the package."""
    with booted(image, tmp_path / "node", f"cf{os.getpid()}-{next(_numbers)}") as up:
        yield up


@pytest.fixture
def installed(node):
    """A node with the old version, as `dnf install` leaves it, and the service started."""
    node.dnf(f"install chef-failover-{OLD}")
    node.run("systemctl start chef-failover")
    until(lambda: node.show("chef-failover", "ActiveState") == "active")
    return node
