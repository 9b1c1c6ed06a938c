"""The Ruby side: its syntax is that of Ruby 2.5 (Chef 14), nothing warns, and its own specs pass."""

import subprocess
from pathlib import Path

import pytest

from tests.support.parts import missing_part, require_program

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "ruby_shim"
SHIPPED = sorted([*SHIM.glob("lib/**/*.rb"), *SHIM.glob("client.d/*.rb"), *SHIM.glob("ohai/*.rb")])
DOCTOR = ROOT / "sidecar" / "chef_failover" / "doctor" / "client_rb_reader.rb"
"""Runs in the same Ruby as the shim."""
PARSE = """
require "ruby_parser"
ARGV.each do |path|
  begin
    tree = Ruby25Parser.new.parse(File.read(path), path)
  rescue StandardError, SyntaxError => e
    abort "#{path}: #{e.message}"
  end
  abort "#{path}: nothing in it" unless tree
end
"""
NEWER_THAN_25 = {
    "endless range (2.6)": "x = [1, 2, 3][1..]\n",
    "numbered parameters (2.7)": "def a(...) = b(...)\n",
    "pattern matching (2.7)": "case [1]\nin [a]\n  a\nend\n",
    "endless method (3.0)": "def a = 1\n",
    "hash shorthand (3.1)": "a = 1\nb = {a:}\n",
    "anonymous block (3.1)": "def a(&)\n  b(&)\nend\n",
}


def run(*command: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, cwd=ROOT, **options)


@pytest.fixture(scope="module")
def parser() -> list[str]:
    ruby = require_program("ruby", "ruby")
    if run(ruby, "-e", "require 'ruby_parser'; Ruby25Parser").returncode:
        missing_part("Ruby's parser for 2.5 is not installed (package ruby-ruby-parser)")
    return [ruby, "-e", PARSE]


def test_all_files_are_looked_at():
    assert [path.relative_to(SHIM).as_posix() for path in SHIPPED] == [
        "client.d/chef_failover.rb",
        "lib/chef_failover/client_config.rb",
        "lib/chef_failover/document.rb",
        "lib/chef_failover/exchange.rb",
        "lib/chef_failover/facts.rb",
        "lib/chef_failover/hooks.rb",
        "lib/chef_failover/layers.rb",
        "lib/chef_failover/run.rb",
        "lib/chef_failover/settings.rb",
        "lib/chef_failover/used.rb",
        "lib/chef_failover.rb",
        "ohai/chef_failover.rb",
    ]


@pytest.mark.parametrize("path", [*SHIPPED, DOCTOR], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_it_is_ruby_2_5(parser, path):
    parsed = run(*parser, str(path))
    assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize("source", NEWER_THAN_25.values(), ids=NEWER_THAN_25.keys())
def test_newer_syntax_would_be_noticed(parser, source, tmp_path):
    newer = tmp_path / "newer.rb"
    newer.write_text(source)
    assert run(*parser, str(newer)).returncode != 0, f"taken for Ruby 2.5: {source}"


@pytest.mark.parametrize("path", [*SHIPPED, DOCTOR], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nothing_warns(path):
    checked = run(require_program("ruby", "ruby"), "-wc", str(path))
    assert (checked.returncode, checked.stdout.strip(), checked.stderr) == (0, "Syntax OK", "")


def test_client_d_is_three_lines():
    lines = (SHIM / "client.d" / "chef_failover.rb").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) == 3


def test_the_specs_pass():
    rspec = require_program("rspec", "ruby-rspec")
    ruby = require_program("ruby", "ruby")
    if run(ruby, "-e", "require 'chef-config/config'").returncode:
        missing_part("chef-config is not installed (package ruby-chef-config)")
    specs = run(rspec, "--no-color", "ruby_shim/spec")
    assert specs.returncode == 0, f"{specs.stdout}\n{specs.stderr}"
    assert " 0 failures" in specs.stdout


def test_rubocop_has_nothing_to_say():
    rubocop = require_program("rubocop", "rubocop")
    checked = run(rubocop, "--config", "ruby_shim/.rubocop.yml", "--cache", "false", "ruby_shim", str(DOCTOR))
    assert checked.returncode == 0, checked.stdout
