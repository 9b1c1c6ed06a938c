"""What the README says is what the code does."""

import json
import math
import re
import textwrap
from pathlib import Path
from typing import get_args

import attrs
import yaml

from chef_failover.cli.main import commands
from chef_failover.config import settings as config
from chef_failover.config.settings import ChefServerAssociation, Config, Server
from chef_failover.model.model import Outcome, Standing
from tests.project.test_imports import PACKAGE, ROOMS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
SECTIONS = {"node", "health", "selection", "listen", "metrics", "discovery", "fleet"}


def keys(cl, prefix=""):
    """Every key of the configuration, as the README writes them."""
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
    rows = re.findall(r"^\| `([a-z_.\[\]]+)` \| (.+?) \| ", README, flags=re.MULTILINE)
    return {key: default.strip("`") for key, default in rows if key != "not_chef"}


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
    assert len(parsed["README.md"]) >= 2
    assert len(parsed["opsworks-recipe.md"]) == 1


def test_the_readme_shows_every_provider():
    told = {server.association.provider for block in yaml_blocks(PAGES[0]) for server in config.parse(block).servers}
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
    told = set(re.findall(r"^\| `chef-failover ([a-z]+)", README, flags=re.MULTILINE))
    assert told == set(commands())


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


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


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


def test_never_and_immediately_are_what_the_readme_says():
    assert config.parse("selection: {failback: never}").selection.failback == math.inf
    assert config.parse("selection: {failback: immediately}").selection.failback == 0.0
