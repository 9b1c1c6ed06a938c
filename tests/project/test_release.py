"""`make release`, in a repository of its own, with a package that only says of which commit it is made."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parts import require_program

ROOT = Path(__file__).parents[2]
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n- A thing.\n\n## [1.0.0] - 2026-01-01\n\n- First.\n"
SOURCE = "sidecar/chef_failover/__init__.py"
MAKEFILE = """wheelhouse:
rpm:
\t@mkdir -p $(RPMS) && git rev-parse HEAD >$(RPMS)/chef-failover-$(VERSION)-1.noarch.rpm
\t@echo '{}' >$(RPMS)/chef-failover-$(VERSION)-1.noarch.cdx.json
"""
MADE = ["SHA256SUMS", "SHA256SUMS.asc", "chef-failover-1.1.0-1.noarch.cdx.json", "chef-failover-1.1.0-1.noarch.rpm"]


@pytest.fixture(scope="module")
def environ():
    """With a throw-away key, and nothing of who runs the tests."""
    gpg = require_program("gpg", "gnupg")
    require_program("rpmbuild", "rpm")
    home = Path("/tmp") / f"chef-failover-release-{os.getpid()}"  # short, as the agent's socket must be
    home.mkdir(mode=0o700)
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "GNUPGHOME": str(home), "PYTHON": sys.executable}
    environ |= {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = [gpg, "--batch", "--passphrase", "", "--quick-gen-key", "tests", "ed25519", "sign", "never"]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
    yield environ
    subprocess.run(["gpgconf", "--kill", "all"], env=environ, check=False, timeout=60)
    shutil.rmtree(home, ignore_errors=True)  # the agent removes its sockets when it likes


class Repository:
    def __init__(self, root, environ):
        self.root, self._environ = root, environ
        files = {"CHANGELOG.md": CHANGELOG, SOURCE: '"""It."""\n\n__version__ = "1.0.0"\n', "Makefile": MAKEFILE}
        files |= {".gitignore": "/dist/\n", "packaging/release": (ROOT / "packaging" / "release").read_text()}
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "Before")
        self.git("tag", "v1.0.0")

    def git(self, *command):
        options = {"cwd": self.root, "env": self._environ, "capture_output": True, "text": True}
        return subprocess.run(["git", *command], check=True, **options).stdout.strip()

    def release(self, **more):
        """What a release of 1.1.0 says, with its exit code."""
        environ = self._environ | {"VERSION": "1.1.0", "GPG_KEY": "tests", "TEST_COMMAND": "true"} | more
        command = ["/bin/sh", self.root / "packaging" / "release"]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)

    def state(self):
        """All that a release may change."""
        texts = [(self.root / name).read_text() for name in ("CHANGELOG.md", SOURCE)]
        return texts, self.git("rev-parse", "HEAD"), self.git("tag"), self.git("status", "--porcelain")

    def made(self):
        return sorted(path.name for path in (self.root / "dist").glob("*"))


@pytest.fixture
def repository(tmp_path, environ):
    return Repository(tmp_path, environ)


def test_a_release_has_all_its_parts_and_the_tag_is_that_of_the_package(repository, environ):
    ended = repository.release(TEST_COMMAND="git log -1 --format=%s >dist.log; mkdir dist; mv dist.log dist/tested")
    assert ended.returncode == 0, ended.stderr
    assert re.search(
        r"^## \[Unreleased\]\n\n## \[1\.1\.0\] - \d{4}-\d\d-\d\d\n\n### Added\n- A thing\.\n",
        (repository.root / "CHANGELOG.md").read_text(),
        flags=re.MULTILINE,
    )
    assert '__version__ = "1.1.0"' in (repository.root / SOURCE).read_text()
    dist = repository.root / "dist"
    assert (dist / "tested").read_text() == "Release 1.1.0\n", "what is tested is what is released"
    assert repository.made() == [*MADE, "tested"]
    assert (dist / MADE[3]).read_text().strip() == repository.git("rev-parse", "v1.1.0^{commit}")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    subprocess.run(["gpg", "--batch", "--verify", *MADE[1::-1]], cwd=dist, env=environ, check=True, capture_output=True)
    repository.git("tag", "--verify", "v1.1.0")
    assert repository.state()[2:] == ("v1.0.0\nv1.1.0", "")
    again = repository.release()
    assert "the tag v1.1.0 exists" in again.stderr
    assert "nothing under Unreleased" in again.stderr


def test_all_that_is_wrong_is_said_before_anything_changes(repository, tmp_path_factory):
    repository.git("switch", "--quiet", "--create", "other")
    repository.git("tag", "v0.9.0")
    (repository.root / "CHANGELOG.md").write_text(CHANGELOG.replace("- A thing.", ""))
    before, tools = repository.state(), tmp_path_factory.mktemp("tools")
    for name in ("sh", "git", "sed", "sort", "tail", "awk", "grep", "dirname", "realpath"):
        (tools / name).symlink_to(shutil.which(name))
    ended = repository.release(VERSION="0.9.0", GPG_KEY="", PATH=str(tools), PYTHON="python3.0")
    assert ended.returncode == 1
    head, *lines = ended.stderr.splitlines()
    assert head == "no release, and nothing has changed:"
    assert [line.strip() for line in lines] == [
        "rpmbuild is not installed: rpm on Debian, rpm-build elsewhere",
        "gpg is not installed: gnupg on Debian, gnupg2 elsewhere",
        "python3.0 is not installed: its byte-code goes into the package",
        "this is not the branch main",
        "the tree is dirty: commit or remove what git status shows",
        "VERSION is 0.9.0, which is not higher than the last release, 1.0.0",
        "the tag v0.9.0 exists",
        "CHANGELOG.md has nothing under Unreleased",
        "GPG_KEY is not set: it names the key to sign with, as gpg --list-secret-keys shows it",
    ]
    assert repository.state() == before


@pytest.mark.parametrize("version", ["", "1.1", "v1.1.0", "1.1.0-rc.1", "1.01.0", "1.1.0 "])
def test_a_version_is_three_numbers(repository, version):
    ended = repository.release(VERSION=version)
    assert ended.returncode == 1
    assert "it has three numbers, such as 1.2.3" in ended.stderr


def test_a_version_is_higher_by_number_and_the_first_may_be_any(repository):
    repository.git("tag", "v1.0.10")
    assert "not higher than the last release, 1.0.10" in repository.release(VERSION="1.0.9").stderr
    repository.git("tag", "--delete", "v1.0.0", "v1.0.10")
    ended = repository.release(VERSION="0.1.0")
    assert ended.returncode == 0, ended.stderr


def test_a_key_that_gpg_does_not_have_is_refused(repository):
    assert "gpg has no secret key nobody" in repository.release(GPG_KEY="nobody").stderr


@pytest.mark.parametrize("broken", ["changelog and version", "tests", "package", "checksums and signature", "tag"])
def test_a_step_that_fails_leaves_main_as_it_was(repository, broken, tmp_path_factory):
    stand_ins, more = tmp_path_factory.mktemp("bin"), {"TEST_COMMAND": "false"} if broken == "tests" else {}

    def stand_in(name, text):
        """Takes the place of a program; "$REAL" is that."""
        (stand_ins / name).write_text(f"#!/bin/sh\nREAL={shutil.which(name)}\n{text}\n")
        (stand_ins / name).chmod(0o755)

    if broken == "changelog and version":
        stand_in("git", 'case $1 in commit) "$REAL" add .; exit 1 ;; *) exec "$REAL" "$@" ;; esac')
    elif broken == "package":
        stand_in("make", '"$REAL" "$@"; exit 2')
    elif broken == "checksums and signature":
        stand_in("gpg", 'case "$*" in *--detach-sign*) exit 2 ;; *) exec "$REAL" "$@" ;; esac')
    elif broken == "tag":
        stand_in("git", 'case "$*" in "tag --sign"*) exit 1 ;; *) exec "$REAL" "$@" ;; esac')
    of_the_last = {name: repository.root / "dist" / name for name in MADE[:2]}
    (repository.root / "dist").mkdir()
    for path in of_the_last.values():
        path.write_text("of 1.0.0")
    before = repository.state()
    ended = repository.release(PATH=f"{stand_ins}:{os.environ['PATH']}", **more)
    assert ended.returncode != 0
    assert f"release 1.1.0 failed at this step: {broken}\n" in ended.stderr
    assert "main is as it was" in ended.stderr
    assert repository.state() == before
    assert repository.made() == MADE[:2]
    assert {path.read_text() for path in of_the_last.values()} == {"of 1.0.0"}


def test_a_commit_on_top_of_the_release_is_not_lost_and_not_released(repository):
    before = repository.git("rev-parse", "HEAD")
    commit = "echo more >>Makefile; git commit --quiet --all --message Mine"
    ended = repository.release(TEST_COMMAND=commit)
    assert "failed at this step: tests" in ended.stderr
    assert "main moved meanwhile" in ended.stderr
    assert repository.git("log", "--format=%s").splitlines() == ["Mine", "Release 1.1.0", "Before"]
    told = re.search(r"meanwhile: (git rebase .+) takes it back", ended.stderr)
    repository.git(*told[1].split()[1:])
    assert repository.git("log", "--format=%s").splitlines() == ["Mine", "Before"]
    assert repository.git("rev-parse", "HEAD~") == before
    assert repository.git("tag") == "v1.0.0"


def test_what_changes_while_the_tests_run_is_neither_released_nor_lost(repository):
    ended = repository.release(TEST_COMMAND="echo more >>Makefile")
    assert "failed at this step: tests" in ended.stderr
    assert "main is as it was" in ended.stderr
    assert repository.git("status", "--porcelain") == "M Makefile"
    repository.git("restore", "Makefile")
    before = repository.git("rev-parse", "HEAD")
    ended = repository.release(TEST_COMMAND="echo more >>CHANGELOG.md")
    assert f"git reset --keep {before} takes it back" in ended.stderr
    assert (repository.root / "CHANGELOG.md").read_text().endswith("more\n")
