"""The manual and the completions are made of the command line and docs/, whole, and their readers like them."""

import os
import re
import shutil
import subprocess
import sys

import click
import pytest

from chef_failover.cli.main import commands
from chef_failover.config.settings import Config
from tests.project.test_docs import documented
from tests.project.test_docs import keys as keys_of
from tests.support.daemon_process import ROOT
from tests.support.parts import require_program

COMMANDS = sorted(commands())


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    made = tmp_path_factory.mktemp("share")
    environ = os.environ | {"SOURCE_DATE_EPOCH": "1795305600"}
    subprocess.run([sys.executable, ROOT / "packaging" / "manual.py", made], check=True, env=environ)
    return made


@pytest.fixture(scope="module")
def pages(share):
    return {
        number: share / "man" / f"man{number}" / name
        for number, name in ((8, "chef-failover.8"), (5, "chef-failover.yml.5"))
    }


def read(page):
    """As a reader gets it, on a screen of any width, without hyphenation or marks."""
    groff = require_program("groff", "groff-base")
    command = [groff, "-man", "-Tutf8", "-P-c", "-P-b", "-P-u", "-rLL=2000n", "-rHY=0", page]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return " ".join(text.replace("\N{HYPHEN}", "-").replace("\N{MINUS SIGN}", "-").split())


def section(text, name, following):
    return text.partition(f" {name} ")[2].partition(f" {following} ")[0]


def test_the_manual_has_every_command_with_its_help_and_its_options(pages):
    text = section(read(pages[8]), "COMMANDS", "SEE ALSO")
    for name, command in commands().items():
        own = f" {text}".partition(f" {name} [OPTIONS]")[2]
        assert own, name
        assert " ".join(command.help.split()) in own
        context = click.Context(command)
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            assert record is None or " ".join(record[1].split()) in own, (name, record)


def test_the_manual_has_every_key_with_its_default_and_its_meaning(pages):
    text = section(read(pages[5]), "KEYS", "EXAMPLES")
    told = documented()
    assert set(told) == {key for key, _ in keys_of(Config)}
    for key, default in told.items():
        own = f" {text}".partition(f" {key} ")[2]
        assert f"Default: {default.replace('`', '')}" in own, key


def test_paths_are_the_defaults_of_the_code(pages):
    text = section(read(pages[8]), "FILES", "DIAGNOSTICS")
    for path in (Config().listen.socket, Config().state_dir / "state.json", "/etc/chef-failover/config.yml"):
        assert str(path) in text


def test_markdown_leaves_no_trace(pages):
    for page in pages.values():
        assert not re.search(r"`|\*\*|\]\(|<!--|&[a-z]+;", read(page))


@pytest.mark.parametrize("number", [5, 8])
def test_groff_and_mandoc_find_no_fault(pages, number):
    groff, mandoc = require_program("groff", "groff-base"), require_program("mandoc", "mandoc")
    found = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", "-z", pages[number]], capture_output=True, text=True, check=True
    )
    assert found.stderr == ""
    lint = subprocess.run(
        [mandoc, "-Tlint", "-W", "warning", pages[number]], capture_output=True, text=True, check=False
    )
    # Debian's mandoc looks the other page up among those installed.
    assert [line for line in lint.stdout.splitlines() if "referenced manual not found" not in line] == []


def test_the_same_sources_make_the_same_pages(share, pages, tmp_path):
    environ = os.environ | {"SOURCE_DATE_EPOCH": "1795305600"}
    subprocess.run([sys.executable, ROOT / "packaging" / "manual.py", tmp_path], check=True, env=environ)
    made = [path.relative_to(share) for path in share.rglob("*") if path.is_file()]
    assert len(made) == 5
    assert all((tmp_path / path).read_bytes() == (share / path).read_bytes() for path in made)
    assert "2026-11-22" in pages[8].read_text().splitlines()[0]


# ---- completion, in the shells themselves


@pytest.fixture
def environ(tmp_path):
    """In which ``chef-failover`` is the code that is tested."""
    program = tmp_path / "chef-failover"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m chef_failover "$@"\n')
    program.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def said(environ, *command):
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stderr == ""
    return ended.stdout.split("\n")[:-1]


def test_bash_completes_commands_and_options(share, environ):
    script = share / "bash-completion" / "completions" / "chef-failover"
    bash = require_program("bash", "bash")
    complete = """
        . "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _chef_failover_completion chef-failover
        printf '%s\\n' "${COMPREPLY[@]}"
    """

    def completed(*words):
        return said(environ, bash, "-c", complete, "bash", str(script), "chef-failover", *words)

    assert completed("") == COMMANDS
    assert completed("sta") == ["status"]
    assert completed("status", "--w") == ["--watch"]
    assert "_chef_failover_completion" in said(environ, bash, "-c", f". {script}; complete -p chef-failover")[0]


def test_fish_completes_commands_with_their_help(share, environ):
    fish = require_program("fish", "fish")
    script = share / "fish" / "vendor_completions.d" / "chef-failover.fish"
    found = said(environ, fish, "--no-config", "-c", f"source {script}; complete -C 'chef-failover '")
    assert [line.partition("\t")[0] for line in found] == COMMANDS
    assert any("\tShow all servers" in line for line in found)


def test_zsh_takes_its_script_as_a_completion_of_ours(share, environ):
    zsh = require_program("zsh", "zsh")
    functions = share / "zsh" / "site-functions"
    load = f"fpath=({functions} $fpath); autoload -Uz compinit; compinit -u -D; print $_comps[chef-failover]"
    assert said(environ, zsh, "-f", "-c", load) == ["_chef-failover"]
    said(environ, zsh, "-n", str(functions / "_chef-failover"))
    asked = environ | {"COMP_WORDS": "chef-failover st", "COMP_CWORD": "1", "_CHEF_FAILOVER_COMPLETE": "zsh_complete"}
    assert said(asked, shutil.which("chef-failover", path=environ["PATH"]))[1] == "status"
