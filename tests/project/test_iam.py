"""The IAM policies allow exactly what the code calls."""

import fnmatch
import json
import random
import re
from pathlib import Path

import attrs
import boto3
import pytest
from moto import mock_aws

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config.settings import ChefServerAssociation, DiscoverySettings, OpsworksAssociation, parse
from chef_failover.config.source import KEY_STORES, Store, parse_key_source, parse_list_source, parse_source
from chef_failover.errors import AwsError, ValidatorKeyError
from chef_failover.registration import validator_key
from chef_failover.registration.base import Registrant
from chef_failover.registration.opsworks_cm import OpsworksCm
from chef_failover.server_list import fetch as list_fetch
from tests.project.test_docs import PAGES, yaml_blocks

POLICIES = Path(__file__).parents[2] / "packaging" / "iam"
IAM_PREFIX = {"opsworkscm": "opsworks-cm"}
README = (POLICIES / "README.md").read_text()
PLACEHOLDERS = {
    name
    for row in re.findall(r"^\| (`[A-Z_`, ]+`) \|", README, flags=re.MULTILINE)
    for name in re.findall("[A-Z_]+", row)
}
EXAMPLES = re.findall(r"^\| `(\S+)` \| \[\S+\]\((\S+)\.json\) \| `(\S+)` \|$", README, flags=re.MULTILINE)
"""Of the README: a source as config.yml has it, its policy, and the ARN that is filled in."""
ACCOUNT = "123456789012"
KEYS = set(KEY_STORES) - {Store.FILE}
RUN_COMMAND = POLICIES.parent / "ssm"
LISTS = {"s3": "s3://fleet/list.yml", "ssm-list": "ssm:/list"}
"""The policies for the fleet's list, and where that is kept then."""


class Recorder:
    """A call that is always denied; ``actions`` has what IAM would have been asked."""

    def __init__(self):
        self.actions = set()

    def __call__(self, service, operation, parameters, *, region, endpoint_url, ca_file=None):
        self.actions.add(f"{IAM_PREFIX.get(service, service)}:{operation}")
        raise AwsError("AccessDeniedException", "denied", 400)


def as_list(value):
    return value if isinstance(value, list) else [value]


def statements(name):
    policy = json.loads((POLICIES / f"{name}.json").read_text())
    assert set(policy) == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    return policy["Statement"]


def called(name):
    recorder = Recorder()
    if name == "opsworks-cm":
        association = OpsworksAssociation("us-east-1")
        provider = OpsworksCm(association, server_name="mainserver", call=recorder, rng=random.Random(1))
        registrant = Registrant("i-0abc", PrivateKey.generate())
        answers = [provider.associate(registrant, ticket) for ticket in (None, "ticket")]
        optional = Recorder()
        replacing = OpsworksCm(association, server_name="mainserver", call=optional, rng=random.Random(1))
        answers.append(replacing.associate(attrs.evolve(registrant, replaces=True), None))
        (statement,) = (one for one in statements(name) if one["Sid"].startswith("OnlyIf"))
        assert {statement["Action"]} == optional.actions
        assert all(f"packaging/iam/{name}.json" in answer.detail for answer in answers)
    elif name in LISTS:
        source = parse_list_source(LISTS[name])
        settings = DiscoverySettings(source=source, region="us-east-1")
        assert f"packaging/iam/{name}.json" in list_fetch.fetch(settings, None, recorder).sentence
    else:
        with pytest.raises(ValidatorKeyError, match=f"packaging/iam/{name}.json"):
            validator_key.read(parse_key_source(f"{name}:chef"), ChefServerAssociation(region="us-east-1"), recorder)
    return recorder.actions


@pytest.mark.parametrize("name", ["opsworks-cm", "secretsmanager", "ssm", *LISTS])
def test_a_policy_allows_what_is_called_and_nothing_else(name):
    allowed = {
        action for one in statements(name) for action in as_list(one["Action"]) if not one["Sid"].startswith("OnlyIf")
    }
    assert allowed == called(name)


def test_every_policy_is_valid_and_one_of_these():
    others = {"opsworks-cm", "image-builder", "ssm-run-command"}
    assert {path.stem for path in POLICIES.glob("*.json")} == {*others, *KEYS, *LISTS}
    for path in POLICIES.glob("*.json"):
        for statement in statements(path.stem):
            assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
            assert statement["Sid"].isalnum()
            assert statement["Effect"] == "Allow"
            # OpsWorks CM, and what only looks at commands, have no resources: IAM takes nothing but the asterisk.
            is_bare = path.stem == "opsworks-cm" or statement["Sid"] == "SeeWhatCameOfIt"
            for arn in as_list(statement["Resource"]):
                assert arn.startswith("arn:PARTITION:") or is_bare
                assert is_bare or any(word in json.dumps(statement) for word in PLACEHOLDERS)


@pytest.mark.parametrize("name", ["secretsmanager", "ssm", "image-builder", *LISTS])
def test_a_customer_managed_key_is_used_by_that_service_alone(name):
    (statement,) = (one for one in statements(name) if "kms" in str(one["Action"]))
    assert (statement["Action"], statement["Sid"]) == ("kms:Decrypt", "OnlyIfACustomerManagedKeyEncryptsIt")
    service = {"image-builder": "s3", "ssm-list": "ssm"}.get(name, name)
    via = f"{service}.REGION.amazonaws.com"
    condition = {"kms:ViaService": [via, f"{via}.cn"]}
    if service == "ssm":  # or AWS's policy for Session Manager would read every parameter under this key
        condition["kms:EncryptionContext:PARAMETER_ARN"] = as_list(statements(name)[0]["Resource"])
    assert statement["Condition"] == {"StringEquals": condition}


def test_a_build_reads_its_folder_and_no_validator_s_key():
    allowed = {one["Action"]: one["Resource"] for one in statements("image-builder")}
    assert set(allowed) == {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}
    assert allowed["s3:GetObject"] == "arn:PARTITION:s3:::BUCKET/FOLDER/*"


def test_an_operator_runs_all_documents_but_the_one_that_installs_on_nodes_of_a_ring():
    documents, nodes, results = statements("ssm-run-command")
    assert documents["Action"] == nodes["Action"] == "ssm:SendCommand"
    named = {arn.partition(":document/")[2] for arn in documents["Resource"]}
    assert named == {path.stem for path in RUN_COMMAND.glob("*.yml")} - {"chef-failover-install"}
    assert nodes["Resource"] == "arn:PARTITION:ec2:REGION:ACCOUNT:instance/*"
    (tag,) = nodes["Condition"]["StringLike"]
    key = tag.removeprefix("ssm:resourceTag/")
    assert f"Key=tag:{key}," in (RUN_COMMAND / "README.md").read_text()
    assert all(action.startswith(("ssm:Get", "ssm:List")) for action in results["Action"])


def filled(policy, text, partition="aws"):
    """The resources of ``policy``, with its placeholders replaced as its README says for the source ``text``."""
    source = (parse_list_source if policy in LISTS else parse_key_source)(text)
    values = {
        "PARTITION": partition,
        "REGION": "us-east-1",
        "ACCOUNT": ACCOUNT,
        "BUCKET": source.place,
        "OBJECT_KEY": source.part or "",
        "SECRET_NAME": source.place,
        "PARAMETER_WITHOUT_LEADING_SLASH": source.place.removeprefix("/"),
        "KEY_ID": "1234abcd-12ab-34cd-56ef-1234567890ab",
        "FOLDER": "",
    }
    assert set(values) == PLACEHOLDERS
    said = json.dumps(statements(policy))
    for name in sorted(values, key=len, reverse=True):
        said = said.replace(name, values[name])
    return [arn for one in json.loads(said) for arn in as_list(one["Resource"])]


def arn_of(text):
    """What AWS, in moto's words, calls what is kept where ``text`` says."""
    source = parse_source(text, set(Store), "it")
    name, region = source.place, {"region_name": "us-east-1"}
    if source.store is Store.S3:
        return f"arn:aws:s3:::{name}/{source.part}"  # nothing in S3's API tells it
    if source.store is Store.SECRETS_MANAGER:
        return boto3.client("secretsmanager", **region).create_secret(Name=name, SecretString="x")["ARN"]
    ssm = boto3.client("ssm", **region)
    ssm.put_parameter(Name=name, Value="x", Type="SecureString")
    return ssm.get_parameter(Name=name)["Parameter"]["ARN"]


def sources_of_the_pages():
    """What the examples of the pages have, each with its policy."""
    for block in (block for page in PAGES for block in yaml_blocks(page)):
        parsed = parse(block)
        keys = [getattr(server.association, "validator_key", None) for server in parsed.servers]
        yield from ((str(key), key.store.value) for key in keys if key and key.store is not Store.FILE)
        if (where := parsed.discovery.source) and where.store is not Store.FILE:
            yield str(where), "s3" if where.store is Store.S3 else "ssm-list"


@pytest.mark.parametrize(("text", "policy"), sorted({*sources_of_the_pages(), *(one[:2] for one in EXAMPLES)}))
def test_a_policy_that_is_filled_in_matches_what_config_yml_names(text, policy, aws_secret):
    with mock_aws():
        arn = arn_of(text)
    first, *keys = filled(policy, text)
    assert fnmatch.fnmatchcase(arn, first)
    assert not any("//" in one or re.search("[A-Z]{3}", one) for one in (first, *keys))


def test_the_examples_are_what_comes_of_filling_in():
    assert {policy for _, policy, _ in EXAMPLES} == {"secretsmanager", "ssm", *LISTS}
    for text, policy, arn in EXAMPLES:
        assert filled(policy, text)[0] == arn


def test_a_policy_serves_every_partition():
    for text, policy, arn in EXAMPLES:
        for partition in ("aws-us-gov", "aws-cn"):
            assert filled(policy, text, partition)[0] == arn.replace("arn:aws:", f"arn:{partition}:")
