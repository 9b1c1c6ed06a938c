"""What can be said about scripts, templates and examples without running them."""

import fnmatch
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.image.ec2 import RELEASES
from tests.image.packer import TEMPLATE, Packer
from tests.support.parts import require_program

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "packaging" / "examples"
SCRIPTS = sorted(
    path
    for folder in ("packaging", "tests", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and re.match(rb"#!.*\b(ba)?sh\b", path.read_bytes()[:40])
)
STEPS = ["install.sh", "configure.sh", "verify.sh", "seal.sh"]
VALUES = {"version": "1.2.3", "packages": EXAMPLES, "config": EXAMPLES}


def run(*command):
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture
def packer(tmp_path):
    return Packer(tmp_path)


def test_the_scripts_are_found():
    assert {path.name for path in SCRIPTS} >= {*STEPS, "for-packer-1.6", "install-test-parts", "make-base"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script):
    run(require_program("shellcheck", "shellcheck"), script)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_packer_validate(packer, arch):
    words = [word for name, value in (VALUES | {"arch": arch}).items() for word in ("-var", f"{name}={value}")]
    packer.run("validate", *words, str(packer.template))


def test_packer_fmt(packer):
    packer.run("fmt", "-check", str(TEMPLATE))


def test_packer_needs_what_has_no_default(packer):
    with pytest.raises(AssertionError, match="Unset variable"):
        packer.run("validate", str(packer.template))


def test_an_older_packer_gets_a_copy_without_what_it_cannot_read(tmp_path):
    run(TEMPLATE / "for-packer-1.6", tmp_path)
    copy = "".join(path.read_text() for path in tmp_path.glob("*.pkr.hcl"))
    assert not re.search(r"required_plugins|imds_support|metadata_options|http_tokens", copy)
    assert (tmp_path / "scripts").is_dir()


def test_instances_take_imdsv2_alone():
    source = (TEMPLATE / "amazon-ebs.pkr.hcl").read_text()
    assert re.search(r'imds_support *= "v2.0"', source)
    assert re.search(r'http_tokens *= "required"', source)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"arch": "x86_64"}, {"ami-0a1", "ami-0a2"}),
        ({"arch": "arm64"}, {"ami-0a3"}),
        ({"arch": "x86_64", "kernel": "6.12"}, {"ami-0a6"}),
    ],
)
def test_the_base_has_the_kernel_that_is_asked_for(variables, expected):
    default = re.search(r'variable "kernel" \{[^}]*default += "(.*?)"', (TEMPLATE / "variables.pkr.hcl").read_text())[1]
    wanted = re.search(r'^ +name += "(.*?)"', (TEMPLATE / "amazon-ebs.pkr.hcl").read_text(), flags=re.MULTILINE)[1]
    values = {"${var.kernel}": variables.get("kernel", default), "${local.ec2_arch}": variables["arch"]}
    for placeholder, value in values.items():
        wanted = wanted.replace(placeholder, value)
    assert {ami for ami, (name, *_) in RELEASES.items() if fnmatch.fnmatchcase(name, wanted)} == expected


def test_the_plugin_is_pinned_at_one_with_the_fixes_of_1_8_2():
    (pinned,) = re.findall(r'version = "= (\d+)\.(\d+)\.(\d+)"', (TEMPLATE / "plugins.pkr.hcl").read_text())
    assert tuple(map(int, pinned)) >= (1, 8, 2)


@pytest.mark.parametrize("name", ["user-data.yml", "user-data-of-ami.yml"])
def test_user_data_is_valid_for_cloud_init(name):
    run(require_program("cloud-init", "cloud-init"), "schema", "--config-file", EXAMPLES / name)


def test_terraform_fmt():
    terraform = shutil.which("terraform")
    if terraform is None:  # also with CI=true: no distribution packages it
        pytest.skip("terraform is not on PATH, and no distribution packages it")
    run(terraform, "fmt", "-check", "-diff", "-recursive", ROOT / "packaging" / "terraform")


@pytest.mark.parametrize("broken", [None, "rpm", "systemctl", "seal"])
def test_image_builders_test_ends_with_what_refuses_a_registered_instance(tmp_path, broken):
    for name in ("rpm", "systemctl", "chef-failover"):
        stand_in = tmp_path / name
        stand_in.write_text(
            f'#!/bin/sh\necho "{name} $*" >>"{tmp_path}/told"\n'
            f'case "{name} $*" in "rpm -q "*) printf 1.2.3;; esac\n'
            f'case "{name} $*" in *"{broken}"*) exit 1;; esac\n'
        )
        stand_in.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VERSION": "1.2.3"}
    script = TEMPLATE / "scripts" / "test.sh"
    ended = subprocess.run(["/bin/sh", script], env=environ, check=False, timeout=30)
    assert (ended.returncode == 0) == (broken is None)
    if broken in (None, "seal"):
        told = (tmp_path / "told").read_text().splitlines()
        assert told[-2:] == ["systemctl stop chef-failover", "chef-failover seal"]


def test_image_builder_takes_the_same_steps_as_packer():
    document = yaml.safe_load((EXAMPLES / "image-builder-component.yaml").read_text())
    steps = [step for phase in document["phases"] for step in phase["steps"]]
    assert document["schemaVersion"] == 1.0
    assert [phase["name"] for phase in document["phases"]] == ["build", "validate", "test"]
    assert {step["action"] for step in steps} == {"S3Download", "ExecuteBash"}
    said = [command for step in steps if step["action"] == "ExecuteBash" for command in step["inputs"]["commands"]]
    assert re.findall(r"(\w+\.sh)", "\n".join(said)) == [*STEPS, "test.sh"]
    downloads = [one for step in steps if step["action"] == "S3Download" for one in step["inputs"]]
    assert len(downloads) == 4
    assert {one["expectedBucketOwner"] for one in downloads} == {"{{ BucketOwner }}"}
    assert re.findall(r"scripts/(\S+?)\"", (TEMPLATE / "build.pkr.hcl").read_text()) == STEPS
    parameters = {name for parameter in document["parameters"] for name in parameter}
    assert set(re.findall(r"\{\{ (\w+) \}\}", str(steps))) == parameters
