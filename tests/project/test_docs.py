"""What the pages say is what the code does."""

import json
import math
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import get_args

import attrs
import click
import pytest
import yaml

from chef_failover import errors
from chef_failover.api import render
from chef_failover.cli.main import cli, commands
from chef_failover.config import settings as config
from chef_failover.config.settings import ChefServerAssociation, Config, Server
from chef_failover.model.model import Outcome, Standing
from chef_failover.node import accepted
from chef_failover.state import document
from tests.project.test_imports import PACKAGE, ROOMS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.glob("*.md")))
"""What speaks to people who use or change it."""
LINKED = (*PAGES, *(ROOT / "bench").glob("*.md"), *(ROOT / "packaging").rglob("*.md"))
SECTIONS = {"node", "health", "selection", "listen", "metrics", "discovery", "fleet"}


def keys(cl, prefix=""):
    """Every key of the configuration, as the pages write them."""
    for field in attrs.fields(attrs.resolve_types(cl)):
        if field.name == "servers":
            yield from keys(Server, "servers[].")
        elif field.name == "association":
            section = f"{prefix}association."
            members = dict(pair for cl in get_args(field.type) for pair in keys(cl, section))
            yield from (members | {f"{section}provider": "none"}).items()
        elif field.name in SECTIONS:
            yield from keys(field.type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field.default


def documented():
    page = (DOCS / "configuration.md").read_text()
    rows = re.findall(r"^\| `([a-z_.\[\]]+)` \| (.+?) \| ", page, flags=re.MULTILINE)
    return {key: default.strip("`") for key, default in rows}


def test_every_key_is_documented_and_nothing_else():
    assert set(documented()) == {key for key, _ in keys(Config)}


def test_the_defaults_are_the_ones_documented():
    told = documented()
    for key, default in keys(Config):
        if re.fullmatch(r"[0-9]+(ms|s|m|h|d)?", told[key]) or key.startswith("listen.") or key == "state_dir":
            section, _, name = key.rpartition(".")
            text = f"{section}: {{{name}: {json.dumps(told[key])}}}" if section else f"{name}: {told[key]}"
            if told[key].isdigit():
                text = text.replace('"', "")
            assert config.parse(text) == Config(), key
        else:
            assert default in (None, attrs.NOTHING, (), "default", "none", "seed", "warn", "text", config.INHERIT), key


def yaml_blocks(page):
    blocks = re.findall(r"^( *)```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in blocks]


def test_the_yaml_in_the_pages_is_valid():
    parsed = {page.name: [config.parse(block) for block in yaml_blocks(page)] for page in PAGES}
    shown = {name for name, blocks in parsed.items() if blocks}
    assert {"README.md", "fleet-list.md", "install.md", "opsworks-recipe.md", "registration.md"} <= shown


def test_the_page_on_registration_shows_every_provider():
    (block,) = yaml_blocks(DOCS / "registration.md")
    told = {server.association.provider for server in config.parse(block).servers}
    providers = get_args(attrs.fields(attrs.resolve_types(Server)).association.type)
    assert told == {attrs.fields(provider).provider.default for provider in providers}


def test_the_sample_configuration_is_the_default_and_valid_when_uncommented():
    sample = (ROOT / "packaging" / "config.yml").read_text()
    assert config.parse(sample) == Config()
    body = sample.partition("\n\n")[2]
    uncommented = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
    parsed = config.parse(uncommented)
    assert [server.name for server in parsed.servers] == ["mainserver", "standbyserver"]
    assert (parsed.health, parsed.selection) == (Config().health, Config().selection)
    assert isinstance(parsed.servers[0].association, ChefServerAssociation)
    assert (parsed.node.key_bits, parsed.readiness) == (Config().node.key_bits, Config().readiness)
    assert yaml.safe_load(sample) is None


def test_every_command_is_documented():
    told = re.findall(r"^\| `chef-failover ([a-z]+)", (DOCS / "operating.md").read_text(), flags=re.MULTILINE)
    assert sorted(told) == sorted(commands())


def spoken(page):
    """What ``page`` has as code: blocks line by line, and what stands between backquotes."""
    text = page.read_text()
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [*(line for block in blocks for line in block.splitlines()), *re.findall(r"`([^`\n]+)`", prose)]


def asked_of(command):
    """Every option that ``command`` takes."""
    parameters = command.get_params(click.Context(command))
    return {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}


CALL = re.compile(r"(?:^(?:[#$] )?|&& |\|\| |sudo )chef-failover (\S.*?)(?:$| &&| \|| +#|[;>)'])")


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_in_the_pages_exist(page):
    takes = {name: asked_of(command) for name, command in commands().items()}
    of_any = asked_of(cli).union(*takes.values())
    for code in spoken(page):
        calls = CALL.findall(code) or ([code] if re.match(r"\w+ --\w", code) and code.split()[0] in takes else [])
        for name, *words in map(str.split, calls):
            options = {word.strip("[]").partition("=")[0] for word in words if word.strip("[]").startswith("-")}
            assert name in takes or name in asked_of(cli), code
            assert options <= takes.get(name, set()), code
        assert not re.fullmatch(r"--[a-z-]+", code) or code in of_any, code


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_keys_in_the_pages_exist(page):
    known = {key for key, _ in keys(Config)}
    known |= {key.removeprefix("servers[].") for key in known}
    said = rf"(?:(?:{'|'.join(sorted(SECTIONS))}|servers\[\]|association)\.[a-z_.]*[a-z])(?=: |$)"
    for code in spoken(page):
        if (found := re.match(said, code)) and not re.fullmatch(r".*\.(json|py|md|yml|html)", found[0]):
            assert found[0] in known, code


def test_every_outcome_and_standing_is_documented():
    api = (ROOT / "docs" / "api.md").read_text()
    assert all(f"`{outcome.value}`" in api for outcome in Outcome)
    listed = re.search(r"from worst to best: (.*)\.", api)[1]
    assert re.findall(r"`(\w+)`", listed) == [standing.name.lower() for standing in sorted(Standing)]


def test_the_design_names_every_room_from_the_top_floor_down():
    design = (ROOT / "docs" / "design.md").read_text()
    told = re.findall(r"^\| `([a-z_]+)` \|", design, flags=re.MULTILINE)
    assert told == ["chef_devserver", *(room for room in reversed(ROOMS) if (PACKAGE / room).is_dir())]


def test_the_example_answer_is_the_contract(contract):
    block = re.search(r"```json\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), flags=re.DOTALL)[1]
    assert json.loads(block) == json.loads((contract / "server.json").read_text())


def anchors(page):
    """What GitHub makes of the headings of ``page``."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            to = page.parent / path if path else page
            assert to.exists(), target
            assert not anchor or anchor in set(anchors(to)), target


def test_every_page_is_linked_from_the_readme():
    linked = {README.parent / target for target in re.findall(r"\]\(([^)#:]+)[)#]", README.read_text())}
    assert {*DOCS.iterdir(), *PAGES} - {README} <= linked


def test_the_readme_is_short_and_has_one_sentence_a_line():
    text = README.read_text()
    assert len(text.splitlines()) <= 130
    assert len(text.split()) <= 1100
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert [line for line in prose.splitlines() if re.search(r"[.!?][)*`]* +[A-Z`\[]", line)] == []


def test_the_first_configuration_has_eight_lines_and_installing_six_commands():
    (block,) = yaml_blocks(README)
    assert len(block.splitlines()) == 8
    install = README.read_text().partition("## Install it")[2].partition("```console\n")[2].partition("```")[0]
    assert len(install.splitlines()) == 6


def test_the_rooms_are_drawn_as_they_are(tmp_path):
    page = DOCS / "architecture.md"
    copy = tmp_path / page.name
    copy.write_text(page.read_text())
    subprocess.run([sys.executable, ROOT / "packaging" / "rooms.py", copy], check=True)
    assert copy.read_text() == page.read_text(), "run packaging/rooms.py"


def test_the_ways_through_the_rooms_name_modules_that_exist():
    text = (DOCS / "architecture.md").read_text()
    named = set(re.findall(r"`([a-z_]+/[a-z_]+)\.(?:py|[a-z_]+)`", text)) - {"packaging/rooms"}
    assert len(named) > 20
    assert [name for name in sorted(named) if not (PACKAGE / f"{name}.py").exists() and "tests" not in name] == []


def test_ausearch_is_asked_for_one_command_at_a_time():
    asked = [command for page in PAGES for command in re.findall(r"`(ausearch -[^`]+)`", page.read_text())]
    assert asked
    assert all(len(re.findall(r" -c ", command)) == 1 for command in asked)


def test_the_policies_in_the_pages_are_json():
    blocks = [
        json.loads(textwrap.dedent(block))
        for page in PAGES
        for block in re.findall(
            r"^ *```json\n( *\{\n +\"Version\".*?)```", page.read_text(), flags=re.DOTALL | re.MULTILINE
        )
    ]
    assert [block["Statement"][0]["Action"] for block in blocks] == ["s3:GetObject"]


RELEASE = (DOCS / "release.md").read_text()


def test_the_page_on_releases_names_the_schema_and_the_exit_codes_that_there_are():
    ruby = (ROOT / "ruby_shim" / "lib" / "chef_failover" / "document.rb").read_text()
    assert {render.SCHEMA, accepted.SCHEMA, document.SCHEMA, int(re.search(r"SCHEMA = (\d+)", ruby)[1])} == {
        int(re.search(r"^\| `schema`.* \| It is (\d+):", RELEASE, re.MULTILINE)[1])
    }
    told = {int(code) for code in re.findall(r"\d+", re.search(r"Exit codes are (.*?)\.", RELEASE)[1])}
    assert told == {0, *(code for name, code in vars(errors).items() if name.startswith("EXIT_"))}


def test_the_page_on_releases_names_paths_that_the_package_has():
    (row,) = re.findall(r"^\| paths and names \| (.*) \|$", RELEASE, re.MULTILINE)
    parts = ("rpm.spec", "packaging/chef-failover.service", "packaging/chef-failover.tmpfiles")
    package = "".join((ROOT / part).read_text() for part in parts)
    listened, state = Config().listen.socket, Config().state_dir
    paths = re.findall(r"`(/.*?)`", row)
    assert {str(listened), str(state)} <= set(paths)
    assert [path for path in paths if path not in (f"{package} {listened} {state}")] == []


def test_the_page_on_releases_has_the_steps_and_variables_of_make_release():
    script = (ROOT / "packaging" / "release").read_text()
    table = RELEASE.partition("| step | what it does |\n|---|---|\n")[2].partition("\n\n")[0]
    steps = [row.split("|")[1].strip() for row in table.splitlines()]
    assert steps == [step.strip("'") for step in re.findall(r"^step=('.*'|\w+)$", script, re.MULTILINE)]
    told = re.findall(r"^\| .* \| `([A-Z_]+)=.*` \|$", RELEASE, re.MULTILINE)
    assert sorted(told) == sorted(set(re.findall(r"\$\{([A-Z_]+)\b", script)))


def test_never_and_immediately_are_what_the_page_says():
    assert config.parse("selection: {failback: never}").selection.failback == math.inf
    assert config.parse("selection: {failback: immediately}").selection.failback == 0.0
