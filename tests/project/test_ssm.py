"""The documents for Systems Manager: what AWS takes, and their scripts run as its agent runs them."""

import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml
from moto import mock_aws

from chef_failover.config import schema
from chef_failover.durations import parse_duration_s
from tests.support.daemon_process import daemon, until, write_config

FOLDER = Path(__file__).parents[2] / "packaging" / "ssm"
DOCUMENTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
SIZE_LIMIT = 64 * 1024
NAME = re.compile(r"(?!aws-|amazon|amzn)[A-Za-z0-9_.-]{3,128}")
TYPES = {"String", "StringList", "Integer", "Boolean", "MapList", "StringMap"}
OF_A_PARAMETER = {
    *("type", "description", "default", "allowedValues", "allowedPattern", "displayType"),
    *("minItems", "maxItems", "minChars", "maxChars"),
}
PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9]+)\s*\}\}")


def faults(name, document):
    """What AWS documents of a command document in schema 2.2, and does not hold for this one."""
    parameters, steps = document.get("parameters", {}), document.get("mainSteps", [])
    found = []

    def must(holds, what):
        found.extend([] if holds else [what])

    must(NAME.fullmatch(name), "the document's name")
    must(len(json.dumps(document)) < SIZE_LIMIT, "size")
    must(document.get("schemaVersion") == "2.2", "schemaVersion")  # a number would be 2.2 only by chance
    must(set(document) <= {"schemaVersion", "description", "parameters", "mainSteps"}, "keys")
    for key, one in parameters.items():
        must(key.isalnum() and one.get("type") in TYPES and set(one) <= OF_A_PARAMETER, f"parameter {key}")
        values = [one["default"]] if "default" in one else []
        must(all(isinstance(value, str) for value in [*values, *one.get("allowedValues", ())]), f"values of {key}")
        must(all(value in one.get("allowedValues", values) for value in values), f"default of {key}")
        must(all(re.search(one.get("allowedPattern", ""), str(value)) for value in values), f"default of {key}")
    must(steps and len({step.get("name") for step in steps}) == len(steps), "steps")
    for step in steps:
        inputs = step.get("inputs", {})
        must(set(step) <= {"action", "name", "precondition", "inputs"}, "keys of a step")
        must(step.get("action") == "aws:runShellScript" and NAME.fullmatch(step.get("name", "")), "a step")
        must(step.get("precondition") == {"StringEquals": ["platformType", "Linux"]}, "precondition")
        must(set(inputs) <= {"runCommand", "timeoutSeconds", "workingDirectory"}, "inputs")
        must(str(inputs.get("timeoutSeconds")).isdigit(), "timeoutSeconds")
        lines = inputs.get("runCommand")
        must(isinstance(lines, list) and all(isinstance(line, str) for line in lines), "runCommand")
        used = set(PLACEHOLDER.findall(json.dumps(inputs)))
        must(used == set(parameters), "parameters that are used")
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_as_aws_documents_it_and_moto_takes_it(name, aws_secret):
    assert faults(name, DOCUMENTS[name]) == []
    text = (FOLDER / f"{name}.yml").read_text()
    assert len(text) < SIZE_LIMIT
    with mock_aws():
        ssm = boto3.client("ssm", region_name="us-east-1")
        ssm.create_document(Name=name, Content=text, DocumentType="Command", DocumentFormat="YAML")
        told = ssm.describe_document(Name=name)["Document"]
    assert told["SchemaVersion"] == "2.2"
    assert {one["Name"] for one in told["Parameters"]} == set(DOCUMENTS[name]["parameters"])


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        (("schemaVersion",), 2.2, "schemaVersion"),
        (("outputs",), {}, "keys"),
        (("parameters", "Server", "type"), "string", "parameter Server"),
        (("parameters", "Server", "pattern"), "x", "parameter Server"),
        (("parameters", "For", "default"), 2, "values of For"),
        (("parameters", "For", "default"), "2 h", "default of For"),
        (("parameters", "Other"), {"type": "String"}, "parameters that are used"),
        (("mainSteps",), [], "steps"),
        (("mainSteps", 0, "action"), "aws:runScript", "a step"),
        (("mainSteps", 0, "precondition"), {}, "precondition"),
        (("mainSteps", 0, "inputs", "runCommand"), "true", "runCommand"),
        (("description",), "x" * SIZE_LIMIT, "size"),
    ],
)
def test_what_aws_would_refuse_is_found(place, value, fault):
    document = copy.deepcopy(DOCUMENTS["chef-failover-drain"])
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert fault in faults("chef-failover-drain", document)
    assert "the document's name" in faults("aws-drain", document)


def takes(name, key, value):
    """Whether Systems Manager lets ``value`` in."""
    one = DOCUMENTS[name]["parameters"][key]
    return value in one["allowedValues"] if "allowedValues" in one else bool(re.search(one["allowedPattern"], value))


def script(name, **values):
    """What the agent writes into a file: values go in as they are, as text."""
    document = DOCUMENTS[name]
    values = {key: one["default"] for key, one in document["parameters"].items() if "default" in one} | values
    assert all(takes(name, key, value) for key, value in values.items()), values
    (step,) = document["mainSteps"]
    return PLACEHOLDER.sub(lambda found: values[found[1]], "\n".join(step["inputs"]["runCommand"]))


STAND_IN = """#!/bin/sh
name=${0##*/}
printf %s "$name" >>"$FOLDER/told"
for one; do printf '[%s]' "$one"; done >>"$FOLDER/told"
echo >>"$FOLDER/told"
"""
"""Tells how it was called, to the letter."""
CODES = """
[ ! -s "$FOLDER/$name-ends" ] || {
  code=$(head -n 1 "$FOLDER/$name-ends")
  sed -i 1d "$FOLDER/$name-ends"
  echo "$name ends with $code"
  exit "$code"
}
"""
"""Ends with the codes of a file, one after the other."""
PROGRAMS = {
    "aws": 'for last; do :; done; cp "$FOLDER/there" "$last"',
    "chef-failover": "",
    "curl": 'while [ "$1" != --output ]; do shift; done; cp "$FOLDER/there" "$2"',
    "dnf": """
        flock --nonblock "$FOLDER/lock" echo "the lock is free" >>"$FOLDER/told"
        [ ! -e /proc/$$/fd/8 ] || echo "dnf has the lock as well" >>"$FOLDER/told"
        cp "$FOLDER/there" "$FOLDER/installed" """,
    "flock": "",
    "journalctl": "echo Why it does not start.",
    "rpm": """case $*:$3 in
        *--quiet*) exec test -s "$FOLDER/installed" ;;
        -qp*) printf 'chef-failover-%s' "$(cat "$4")" ;;
        *) cat "$FOLDER/installed" ;;
        esac""",
    "sleep": "",
    "systemctl": "",
}
SH = ["sh", "bash"]


class Node:
    """A machine of stand-ins. ``told`` is what was called; rpm and its tests are kept out of it."""

    def __init__(self, folder, shell):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        (self.bin / "sh").symlink_to(shutil.which(shell))  # which bash takes for a wish to be one
        self.there("1.2.3")

    def put(self, *names):
        for name in names or PROGRAMS.keys() - {"flock"}:
            path = self.bin / name
            path.write_text(STAND_IN + CODES + PROGRAMS[name])
            path.chmod(0o755)
        return self

    def there(self, version):
        """What the repository or the address has."""
        (self.folder / "there").write_text(version)
        return hashlib.sha256(version.encode()).hexdigest()

    def installed(self, version):
        (self.folder / "installed").write_text(version)

    def ends(self, program, *codes):
        (self.folder / f"{program}-ends").write_text("".join(f"{code}\n" for code in codes))

    def run(self, text):
        path = self.folder / "_script.sh"
        path.write_text(text)
        path.chmod(0o700)
        environ = {"PATH": f"{self.bin}:{os.environ['PATH']}", "FOLDER": str(self.folder)}
        return subprocess.run(
            [self.bin / "sh", "-c", path], env=environ, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def install(self, **values):
        values = {"Version": "1.2.3", "LockFile": str(self.folder / "lock")} | values
        return self.run(script("chef-failover-install", **values))

    @property
    def told(self):
        path = self.folder / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not line.startswith(("rpm", "sleep"))]


@pytest.fixture(params=SH)
def node(request, tmp_path):
    return Node(tmp_path, request.param)


CHECKED = ["chef-failover[check][--only-file]", "systemctl[is-enabled][--quiet][chef-failover]"]
WELL = [*CHECKED, "chef-failover[status]"]
STARTED = [*CHECKED, "systemctl[start][chef-failover]", "chef-failover[status]"]
DNF = "dnf[-y][--refresh][install][{}]"


def test_a_version_of_the_repository_is_installed_started_and_verified(node):
    node.put()
    ended = node.install()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert node.told == [DNF.format("chef-failover-1.2.3"), *STARTED]


def test_a_node_that_has_the_version_is_left_alone(node):
    node.put()
    node.installed("1.2.3")
    ended = node.install(Package="https://example.com/a.rpm")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("chef-failover 1.2.3 is installed already; nothing is changed\n")
    assert node.told == WELL


def test_it_changes_to_an_older_version_as_well(node):
    node.put()
    node.installed("2.0")
    assert node.install().returncode == 0
    assert node.told == [DNF.format("chef-failover-1.2.3"), *STARTED]


@pytest.mark.parametrize("address", ["https://example.com:8443/a/chef-failover.rpm", "s3://bucket/a/chef-failover.rpm"])
def test_a_package_is_fetched_compared_and_installed(node, address):
    node.put()
    right, wrong = node.there("1.2.3"), "0" * 64
    ended = node.install(Package=address, Sha256=right)
    assert (ended.returncode, ended.stderr) == (0, "")
    fetched, installed, *rest = node.told
    assert f"[{address}]" in fetched
    assert fetched.startswith("curl[--fail]" if address.startswith("https") else "aws[s3][cp]")
    folder = Path(re.fullmatch(re.escape(DNF).replace(r"\{\}", "(.+)"), installed)[1]).parent
    assert not folder.exists()
    assert rest == STARTED
    node.installed("1.0")
    for values, why in (
        ({"Sha256": wrong}, f"{address} has another SHA-256 than {wrong}; nothing was changed"),
        ({}, "Package needs Sha256"),
        ({"Version": "1.2.4", "Sha256": right}, f"{address} is not chef-failover-1.2.4; nothing was changed"),
    ):
        ended = node.install(Package=address, **values)
        assert (ended.returncode, ended.stderr) == (1, f"chef-failover: {why}\n")
    node.ends("curl", 22)
    node.ends("aws", 1)
    assert node.install(Package=address, Sha256=right).stderr.endswith("cannot be fetched; nothing was changed\n")
    assert (node.folder / "installed").read_text() == "1.0"


def test_it_waits_for_a_run_of_chef_client_and_lets_none_begin(node):
    node.put()
    lock, held = node.folder / "lock", node.folder / "held"
    run = ["flock", lock, "sh", "-c", f"touch {held}; sleep 1; echo a run ends >>{node.folder}/told"]
    with subprocess.Popen(run):
        until(held.exists)
        ended = node.install()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert node.told == ["a run ends", DNF.format("chef-failover-1.2.3"), *STARTED]
    assert subprocess.run(["flock", "--nonblock", lock, "true"], check=False).returncode == 0
    node.put("flock")
    node.ends("flock", 1)
    node.installed("1.0")
    ended = node.install()
    assert ended.returncode == 1
    assert ended.stderr == "chef-failover: a run of chef-client has gone on for 30 minutes; nothing was changed\n"


@pytest.mark.parametrize(
    ("program", "codes", "why"),
    [
        ("dnf", [1], "dnf cannot install chef-failover-1.2.3"),
        ("chef-failover", [2], "config.yml has mistakes: chef-failover ends with 2"),
        ("chef-failover", [0, *[1] * 30], "1.2.3 is installed, and status is not well: chef-failover ends with 1"),
        ("systemctl", [0, 1], "the service does not start: Why it does not start."),
    ],
)
def test_what_fails_is_said_and_fails_the_step(node, program, codes, why):
    node.put()
    node.ends(program, *codes)
    ended = node.install()
    assert (ended.returncode, ended.stderr) == (1, f"chef-failover: {why}\n")


def test_what_dnf_did_not_install_fails_the_step(node):
    node.put()
    node.there("1.2.2")
    assert node.install().stderr == "chef-failover: dnf has not installed chef-failover-1.2.3: 1.2.2\n"


def test_the_sidecar_is_given_a_minute(node):
    node.put()
    node.ends("chef-failover", 0, *[1] * 29)
    assert node.install().returncode == 0


def test_a_service_that_is_disabled_stays_stopped(node):
    node.put()
    node.ends("systemctl", 1)
    ended = node.install()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert node.told == [DNF.format("chef-failover-1.2.3"), *CHECKED]


GOOD = {
    "Server": "main",
    "For": "2h",
    "Reason": "kernel upgrade",
    "Version": "1.2.3",
    "Package": "https://example.com/a/b.rpm",
    "Sha256": "0" * 64,
    "LockFile": "/var/chef/lock",
}


def worst(name, key):
    """Values that are let in and have between them every character that is, wherever it is."""
    good = GOOD[key]
    for at in range(len(good) + 1):
        for letter in map(chr, [*range(1, 0x250), 0x2018, 0x2019, 0x2028, 0xFF07]):
            for value in (good[:at] + letter + good[at:], good[:at] + letter + good[at + 1 :]):
                if takes(name, key, value):
                    yield value


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (name, key)
        for name, one in DOCUMENTS.items()
        for key, of in one["parameters"].items()
        if "allowedValues" not in of
    ],
)
def test_no_value_that_is_let_in_gets_out_of_its_quotes(name, key, tmp_path):
    """A pattern may let a line break in at the end, as Python's ``$`` does; nothing else is white but a space."""
    values = {*worst(name, key)}
    letters = set().union(*values)
    assert len(values) > 10
    assert not letters & set("'\"\\`$&|<>*?![]{}%\t\r\0")
    text = "\n".join(DOCUMENTS[name]["mainSteps"][0]["inputs"]["runCommand"])
    for quoted in re.findall(rf".?\{{\{{ {key} \}}\}}.?", text):
        assert (quoted[0], quoted[-1]) == ("'", "'")
    odd = sorted(letters - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
    chosen = [next(value for value in sorted(values) if letter in value) for letter in odd]
    assert "\n" in odd, "so it is tried, too"
    for number, value in enumerate(chosen):
        folder = tmp_path / str(number)
        folder.mkdir()
        node = Node(folder, "sh").put()
        more = {"Package": GOOD["Package"]} if key == "Sha256" else {}
        more |= {"Sha256": node.there("1.2.3")} if key == "Package" else {}
        more |= {"LockFile": str(folder / "lock")} if name == "chef-failover-install" else {}
        others = {other: GOOD[other] for other in ("Server", "Version") if other in DOCUMENTS[name]["parameters"]}
        node.run(script(name, **others | more | {key: value}))
        said = (folder / "told").read_text()
        told = {line.partition("[")[0] for line in re.split(r"\n(?!\])", said) if line} - {"the lock is free"}
        assert told <= {"chef-failover", "curl", "aws", "dnf", "rpm", "systemctl", "sleep", "flock"}, said
        if key not in ("Sha256", "LockFile"):
            assert value in said, "to the letter"
        assert {path.name for path in folder.iterdir()} <= {"bin", "there", "told", "_script.sh", "installed", "lock"}


def test_patterns_are_those_of_the_command_line():
    for name in ("chef-failover-drain", "chef-failover-undrain"):
        assert DOCUMENTS[name]["parameters"]["Server"]["allowedPattern"] == f"^{schema._SHORT_WORD.pattern}$"
    for text in ("1m", "90m", "2h", "1d", "366d"):
        assert takes("chef-failover-drain", "For", text)
        assert parse_duration_s(text)
    for text in ("", "0h", "2", "h", "2h 1m", "1e3h", "-2h", "2h;", "12345h"):
        assert not takes("chef-failover-drain", "For", text)
    for text in ("", "-x", "x" * 151, "it's", "$(id)", "a\nb", "{{ssm:a}}"):
        assert not takes("chef-failover-drain", "Reason", text)


@pytest.fixture(scope="module")
def managed(tmp_path_factory):
    """A node whose chef-failover is a real one: its configuration, and where its commands are."""
    from tests.support.daemon_process import dev_servers

    folder = tmp_path_factory.mktemp("managed")
    with dev_servers("mainserver", "standbyserver") as servers:
        path = write_config(folder, servers)
        with daemon(path) as running:
            yield running


def test_status_drain_and_undrain_with_the_real_command(managed, tmp_path):
    node = Node(tmp_path, "sh")
    program = node.bin / "chef-failover"
    ours = f'{sys.executable} -m chef_failover "$command" --config {managed.config_path}'
    program.write_text(f'#!/bin/sh\ncommand=$1\nshift\nexec {ours} "$@"\n')
    program.chmod(0o755)
    assert "Using mainserver" in node.run(script("chef-failover-status")).stdout
    assert "standbyserver" in node.run(script("chef-failover-status", Show="standby")).stdout
    drained = node.run(script("chef-failover-drain", Server="mainserver", Reason="kernel upgrade (15.10); see #7"))
    assert drained.returncode == 0, drained.stderr
    assert re.search(r"Drained: mainserver, by \S+ since .*: kernel upgrade \(15\.10\); see #7", drained.stdout)
    assert "Using standbyserver" in drained.stdout
    refused = node.run(script("chef-failover-drain", Server="standbyserver"))
    assert refused.returncode == 1
    assert refused.stderr
    assert node.run(script("chef-failover-undrain", Server="mainserver")).returncode == 0
    assert node.run(script("chef-failover-undrain", Server="other")).returncode == 1


def test_a_node_without_the_package_fails_every_step(node):
    for name in ("status", "drain", "undrain"):
        more = {} if name == "status" else {"Server": "main"}
        ended = node.run(script(f"chef-failover-{name}", **more))
        assert ended.returncode == 127
        assert "chef-failover" in ended.stderr


def test_the_readme_has_every_document_and_parameters_that_exist():
    readme = (FOLDER / "README.md").read_text()
    assert set(DOCUMENTS) <= set(re.findall(r"`(chef-failover-[a-z]+)`", readme))
    used = re.findall(r"--(?:document-)?name (chef-failover-[a-z]+)[^`]*?--parameters '?([^'\n]+)", readme)
    assert {name for name, _ in used} >= {"chef-failover-install", "chef-failover-drain", "chef-failover-undrain"}
    for name, given in used:
        for key, value in re.findall(r"([A-Z][A-Za-z0-9]*)=(?:\"([^\"]*)\"|[^,\s]+)", given):
            assert key in DOCUMENTS[name]["parameters"], (name, key)
            assert not value or takes(name, key, value)
