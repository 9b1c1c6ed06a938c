"""The package as a file: what is in it, where it works, and that two builds are the same."""

import contextlib
import hashlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from chef_failover.api import client
from chef_failover.errors import SidecarUnavailableError
from tests.packaging.later import later
from tests.packaging.node import AVAILABLE, SYSTEM, call, make_stubs
from tests.packaging.packages import OLD, ROOT, WHEELHOUSE, build
from tests.support.daemon_process import dev_servers, until, write_config
from tests.support.parts import missing_part, require_program

packaged = runpy.run_path(str(ROOT / "packaging" / "pins.py"))["packaged"]  # what the package is made of

LIMIT_BYTES = 10_000_000
FORMER = "0.0.0"
"""A version of when there was a package for each architecture."""
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
TREE = "usr/lib/chef-failover"


class System:
    """A root that dnf installs into, from stubs of a distribution's packages, our package, and a former one."""

    def __init__(self, folder, release, arch, rpm):
        require_program("dnf", "dnf")
        self.root, self._folder, self._arch = folder / "root", folder, arch
        self._environ = os.environ | {"HOME": str(folder)}  # below which Debian's rpm has its database
        repository = folder / "repository"
        make_stubs(repository, (*SYSTEM, *AVAILABLE[release]), release, arch)
        make_stubs(repository, ["chef-failover"], "amzn2023", arch, version=FORMER)
        shutil.copy(rpm, repository)
        call("createrepo_c", "--quiet", repository)

    def dnf(self, *command):
        options = ["--releasever=1", f"--forcearch={self._arch}", "--nogpgcheck"]
        options += [f"--repofrompath=all,{self._folder / 'repository'}", f"--setopt=cachedir={self._folder / 'cache'}"]
        options += [f"--setopt={name}=/none" for name in ("reposdir", "pluginpath")]
        options += ["--setopt=tsflags=noscripts"]  # no shell to run them
        call("dnf", "-q", "-y", f"--installroot={self.root}", *options, *command, env=self._environ)

    def installed(self):
        """Version, release and architecture of each package."""
        query = ["rpm", f"--root={self.root}", "-qa", "--qf"]
        told = call(*query, "%{NAME} %{VERSION}-%{RELEASE}.%{ARCH}\n", env=self._environ)
        return dict(line.split() for line in told.splitlines())


@pytest.fixture(scope="session")
def unpacked(rpm, tmp_path_factory):
    """The files of the package."""
    system = System(tmp_path_factory.mktemp("unpacked"), "amzn2023", "x86_64", rpm)
    system.dnf("install", "chef-failover")
    return system.root


def query(package, *more):
    return call("rpm", "-qp", "--nosignature", *more, package)


def test_rpmlint_finds_nothing_that_has_no_reason(rpms):
    rpmlint = require_program("rpmlint", "rpmlint")
    packages = sorted(rpms.glob("*.rpm"))
    said = call(rpmlint, "-c", ROOT / "packaging" / "rpmlint.toml", *packages, ROOT / "rpm.spec")
    assert "0 errors, 0 warnings" in said, said


def test_every_filter_of_rpmlint_is_needed(rpms):
    rpmlint = require_program("rpmlint", "rpmlint")
    said = call(rpmlint, *sorted(rpms.glob("*.rpm")), ROOT / "rpm.spec", check=False)
    config = tomllib.loads((ROOT / "packaging" / "rpmlint.toml").read_text())
    assert [text for text in config["Filters"] if not re.search(text, said)] == []


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("release", AVAILABLE)
def test_one_file_is_installed_everywhere_and_follows_the_former_ones(tmp_path, rpm, release, arch):
    system = System(tmp_path, release, arch, rpm)
    system.dnf("install", f"chef-failover-{FORMER}")
    assert system.installed() == {"chef-failover": f"{FORMER}-1.amzn2023.{arch}"}
    system.dnf("upgrade", "chef-failover")
    installed = system.installed()
    assert installed.pop("chef-failover") == f"{OLD}-1.noarch"
    assert set(installed.values()) == {f"1-1.{release}.{arch}"}
    assert len(installed.keys() & {f"python{version}" for version in VERSIONS}) == 1


def test_there_is_no_machine_code_in_it(rpm, unpacked):
    files = [unpacked / path.lstrip("/") for path in query(rpm, "-l").splitlines()]
    compiled = [path for path in files if path.is_file() and path.read_bytes().startswith(b"\x7fELF")]
    assert len(files) > 1000
    assert compiled == []


def test_without_rpmbuild_it_says_what_to_install(tmp_path):
    (tmp_path / "sh").symlink_to("/bin/sh")
    command = [ROOT / "packaging" / "build-rpm", WHEELHOUSE, tmp_path / "dist"]
    ran = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    wanted = "apt-get install rpm (Debian) or dnf install rpm-build (Amazon Linux, Fedora, EL)"
    assert ran.stderr == f"rpmbuild is not installed: {wanted}\n"
    assert not (tmp_path / "dist").exists()


def test_a_second_build_is_the_same_and_both_are_small(tmp_path, rpm, figure):
    """Quickly compressed, as here, they are larger than released ones."""
    again = build(tmp_path, OLD)
    digests = {hashlib.sha256(package.read_bytes()).hexdigest() for package in (again, rpm)}
    assert len(digests) == 1
    size, unpacked = again.stat().st_size, int(query(again, "--qf", "%{SIZE}"))
    figure(f"the package: {size / 1e6:.1f} MB, installed {unpacked / 1e6:.1f} MB")
    assert size < LIMIT_BYTES


def test_a_wheel_with_other_bytes_is_refused(tmp_path):
    wheels = shutil.copytree(WHEELHOUSE, tmp_path / "wheels")
    (flask,) = wheels.glob("flask-*.whl")
    flask.write_bytes(flask.read_bytes() + b"\0")
    out = [tmp_path / name for name in ("tree", "licenses", "sbom")]
    said = call(sys.executable, ROOT / "packaging" / "vendor.py", wheels, *out, check=False)
    assert said.startswith(f"vendor.py: 0 wheels in {wheels} are flask==")


def test_the_sbom_and_the_licences_are_complete(rpms, unpacked):
    sbom = json.loads((unpacked / "usr/share/chef-failover/sbom.cdx.json").read_text())
    beside = rpms / f"chef-failover-{OLD}-1.noarch.cdx.json"
    assert json.loads(beside.read_text()) == sbom
    components = {component["name"]: component for component in sbom["components"]}
    present = {info.name.split("-")[0].lower().replace("_", "-") for info in (unpacked / TREE).glob("*.dist-info")}
    assert set(components) == present == set(packaged())
    licences = {"Apache-2.0"}
    for name, pin in packaged().items():
        assert components[name]["version"] == pin.version
        assert components[name]["hashes"][0]["content"] in pin.hashes
        assert any((unpacked / "usr/share/licenses/chef-failover" / name).iterdir())
        licences |= set(re.split(r" AND | OR ", components[name]["licenses"][0]["expression"]))
    told = query(beside.with_suffix("").with_suffix(".rpm"), "--qf", "%{LICENSE}")
    assert set(told.split(" AND ")) == licences


def test_what_is_vendored_can_be_asked_for_by_name(rpm):
    told = re.findall(r"^bundled\(python3dist\((.*)\)\) = (.*)$", query(rpm, "--provides"), flags=re.MULTILINE)
    assert dict(told) == {name: pin.version for name, pin in packaged().items()}
    assert len(told) == len(packaged())


def test_the_changelog_has_the_version_and_the_day_of_the_commit(rpm):
    told = query(rpm, "--qf", "[%{CHANGELOGNAME} %{CHANGELOGTIME:day}\n]")
    day = call(
        "git", "log", "-1", "--date=format-local:%a %b %d %Y", "--format=%cd", cwd=ROOT, env=os.environ | {"TZ": "UTC"}
    )
    assert told == f"chef-failover - {OLD}-1 {day}"


def test_the_url_is_the_one_that_is_given():
    command = ["rpmspec", "-q", "--qf", "%{URL}"]
    assert call(*command, "--define", "url_ https://example.com/x", ROOT / "rpm.spec") == "https://example.com/x"
    assert call(*command, ROOT / "rpm.spec") == "(none)"


def test_the_package_is_started_when_it_is_built():
    spec = call("rpmspec", "-P", "--define", "buildroot /there", ROOT / "rpm.spec")
    assert "\n%check\npython3.11 -I -S -B /there/usr/lib/chef-failover --version\n" in spec


@pytest.mark.parametrize("shipped", VERSIONS)
def test_the_python3_of_a_distribution_gets_byte_code_if_it_is_taken(shipped):
    spec = call("rpmspec", "-P", "--define", f"bytecode python{shipped}", ROOT / "rpm.spec")
    body = re.search(r"^%triggerin -- python3\n(.*?)\n\n", spec, flags=re.DOTALL | re.MULTILINE)[1]
    _, guard, compiled = body.splitlines()
    code = re.fullmatch(r"/usr/bin/python3 -I -S -c 'import sys; (.*)' \|\| exit 0", guard)[1]
    assert compiled.startswith("/usr/bin/python3 -I -S -m compileall ")

    def is_compiled(minor):
        answers = []
        exec(code, {"sys": SimpleNamespace(version_info=(3, minor, 1), exit=answers.append)})
        return not answers[0]

    assert [f"3.{minor}" for minor in range(9, 16) if is_compiled(minor)] == [one for one in VERSIONS if one != shipped]


def test_the_configuration_is_the_admins(rpm):
    flags = query(rpm, "--qf", "[%{FILEFLAGS:fflags} %{FILENAMES}\n]")
    assert re.findall(r"^(\S+) (/etc/chef-failover/.*)$", flags, flags=re.MULTILINE) == [
        ("cn", "/etc/chef-failover/config.yml"),
        ("g", "/etc/chef-failover/config.yml.accepted.json"),
    ]


def test_nothing_is_required_but_what_every_system_has(rpm):
    required = {line for line in query(rpm, "--requires").splitlines() if not line.startswith(("rpmlib", "config"))}
    known = {*SYSTEM, *(what for provided in SYSTEM.values() for what in provided)}
    assert required - known == {"(python3.13 or python3.12 or python3.11 or python3.14)"}


def test_every_aws_service_that_we_call_is_there(unpacked):
    source = "".join(path.read_text() for path in (ROOT / "sidecar").rglob("*.py"))
    data = [unpacked / TREE / name for name in ("botocore/data", "chef_failover/aws/models")]
    known = {
        service.name for directory in data if directory.is_dir() for service in directory.iterdir() if service.is_dir()
    }
    called = set(re.findall(r"""(?:call|client)[(,]\s*"([a-z0-9-]+)",""", source))
    assert {"s3", "opsworkscm"} <= called <= known


@pytest.mark.parametrize(
    ("service", "operation"), [("s3", "ListBuckets"), ("ssm", "DescribeParameters"), ("secretsmanager", "ListSecrets")]
)
def test_the_package_calls_aws(service, operation, unpacked):
    """By what is left of botocore in it, in a process of its own, as the sidecar does."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        tree = unpacked / TREE
        asked = f"'{service}', '{operation}', {{}}, region='us-east-1', endpoint_url='http://127.0.0.1:{port}'"
        code = f"import sys; sys.path[0:0] = ['{tree}']; from chef_failover.aws.call import call; print(call({asked}))"
        secrets = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}
        said = call(find_python("3.11"), "-I", "-S", "-B", "-c", code, env=os.environ | secrets)
    finally:
        server.stop()
    assert said.startswith("{"), said


def test_all_scripts_pass_shellcheck(rpm, tmp_path):
    shellcheck = require_program("shellcheck", "shellcheck")
    tracked = [ROOT / name for name in call("git", "ls-files", cwd=ROOT).splitlines()]
    scripts = [path for path in tracked if path.is_file() and re.match(rb"#!\S*[/ ](ba)?sh\b", path.read_bytes()[:40])]
    assert len(scripts) > 5
    scriptlets = tmp_path / "scriptlets"
    scriptlets.write_text(re.sub(r"^\w+ scriptlet \(.*", "", query(rpm, "--scripts"), flags=re.MULTILINE))
    call(shellcheck, *scripts)
    call(shellcheck, "--shell=sh", scriptlets)


def test_the_units_are_tight_without_running(unpacked):
    systemd_analyze = require_program("systemd-analyze", "systemd")
    unit = unpacked / "usr/lib/systemd/system/chef-failover.service"
    call(systemd_analyze, "security", "--offline=true", "--threshold=12", unit)


@pytest.mark.parametrize("shipped", VERSIONS)
def test_each_python_gets_byte_code_but_the_one_that_has_it(shipped):
    spec = call("rpmspec", "-P", "--define", f"bytecode python{shipped}", ROOT / "rpm.spec")
    made = re.findall(r"^%triggerin -- python(\S+)\n/usr/bin/python\1 -I -S -m compileall ", spec, flags=re.MULTILINE)
    assert made == [version for version in VERSIONS if version != shipped]
    kept = f"! -name '*.cpython-{shipped.replace('.', '')}.pyc' -delete"
    assert [line.endswith(kept) for line in spec.splitlines() if "-delete" in line] == [True, True]


@pytest.mark.parametrize("python", ["python3", "/usr/bin/python", "python3.13t"])
def test_a_python_that_does_not_say_its_version_is_refused(python):
    said = call("rpmspec", "-P", "--define", f"bytecode {python}", ROOT / "rpm.spec", check=False)
    assert "bytecode is to be python3.N" in said


@pytest.mark.parametrize("version", VERSIONS)
def test_it_serves_on(version, unpacked, tmp_path):
    python = find_python(version)
    command = [python] if python else later(f"python{version}")
    if command is None:  # also with CI=true: not every version is to be had everywhere
        pytest.skip(f"there is no CPython {version} here")
    serves(command, unpacked, tmp_path)
    if python is None:
        assert f" on Python {version}." in (tmp_path / "log").read_text()


def test_it_serves_on_aarch64(unpacked, tmp_path):
    qemu = require_program("qemu-aarch64-static", "qemu-user-static")
    root = ROOT / "build" / "roots" / "arm64"
    if not root.is_dir():
        missing_part("there is no arm64 root (make test-packaging)")
    serves([qemu, "-L", root, root / "usr/bin/python3.11"], unpacked, tmp_path)


def serves(python, root, folder):
    """The tree under ``root`` imports everything, and its sidecar gives one answer."""
    python = [*map(str, python), "-I", "-S", "-B"]
    modules = "boto3, flask, yaml, cattrs, chef_failover.chef.libcrypto as own"
    call(*python, "-c", f"import sys; sys.path[0:0] = ['{root / TREE}']; import {modules}; own.PrivateKey.generate()")
    with dev_servers("mainserver", "standbyserver") as servers:
        config = write_config(folder, servers)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([*python, root / TREE, "serve", "--config", config], stderr=log)
        try:
            answer = until(lambda: _answer(process, folder), 60)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert answer["chef_server_url"] in [f"{server.url}/organizations/default" for server in servers]
    assert " on Python 3." in (folder / "log").read_text()


def _answer(process, folder):
    assert process.poll() is None, (folder / "log").read_text()
    with contextlib.suppress(SidecarUnavailableError):
        reply = client.ask(folder / "sidecar.sock", "/v1/server", timeout_s=30)
        return reply.body if reply.status == 200 and not reply.body["degraded"] else None


def find_python(version):
    """An interpreter of this version: on PATH, or where its managers put it."""
    homes = [
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
        Path.home() / ".local/share/uv/python",
    ]
    managed = [path for home in homes for path in sorted(home.glob(f"*{version}.*/bin/python{version}"))]
    named = [Path(directory) / f"python{version}" for directory in os.environ["PATH"].split(":")]
    return next((python for python in [*named, *managed] if python.is_file() and _is(python, version)), None)


def _is(python, version):
    return call(python, "-I", "-c", "import sys; print(sys.version)", check=False).startswith(f"{version}.")
