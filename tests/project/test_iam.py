"""The IAM policies allow exactly what the code calls."""

import json
import random
from pathlib import Path

import attrs
import pytest

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config.schema import ListSource, Name
from chef_failover.config.settings import DiscoverySettings
from chef_failover.config.source import KEY_STORES, Store, parse_key_source, parse_list_source
from chef_failover.errors import AwsError, ValidatorKeyError
from chef_failover.registration import validator_key
from chef_failover.registration.base import Registrant
from chef_failover.registration.opsworks_cm import OpsworksCm
from chef_failover.server_list import fetch as list_fetch

POLICIES = Path(__file__).parents[2] / "packaging" / "iam"
IAM_PREFIX = {"opsworkscm": "opsworks-cm"}
PLACEHOLDERS = ("REGION", "ACCOUNT", "SECRET_NAME", "PARAMETER_NAME", "KEY_ID", "BUCKET")
LISTS = {"s3": "s3://fleet/list.yml", "ssm-list": "ssm:/list"}
"""The policies for the fleet's list, and where that is kept then."""


class Recorder:
    """A call that is always denied; ``actions`` has what IAM would have been asked."""

    def __init__(self):
        self.actions = set()

    def __call__(self, service, operation, parameters, *, region, endpoint_url):
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
        provider = OpsworksCm("mainserver", region="us-east-1", call=recorder, rng=random.Random(1))
        registrant = Registrant("i-0abc", PrivateKey.generate())
        answers = [provider.associate(registrant, ticket) for ticket in (None, "ticket")]
        optional = Recorder()
        replacing = OpsworksCm("mainserver", region="us-east-1", call=optional, rng=random.Random(1))
        answers.append(replacing.associate(attrs.evolve(registrant, replaces=True), None))
        (statement,) = (one for one in statements(name) if one["Sid"].startswith("OnlyIf"))
        assert {statement["Action"]} == optional.actions
        assert all(f"packaging/iam/{name}.json" in answer.detail for answer in answers)
    elif name in LISTS:
        source = ListSource(parse_list_source(LISTS[name]))
        settings = DiscoverySettings(source=source, region=Name("us-east-1"))
        assert f"packaging/iam/{name}.json" in list_fetch.fetch(settings, None, recorder).sentence
    else:
        with pytest.raises(ValidatorKeyError, match=f"packaging/iam/{name}.json"):
            validator_key.read(parse_key_source(f"{name}:chef"), region="us-east-1", call=recorder)
    return recorder.actions


@pytest.mark.parametrize("name", ["opsworks-cm", "secretsmanager", "ssm", *LISTS])
def test_a_policy_allows_what_is_called_and_nothing_else(name):
    allowed = {
        action for one in statements(name) for action in as_list(one["Action"]) if not one["Sid"].startswith("OnlyIf")
    }
    assert allowed == called(name)


def test_every_policy_is_valid_and_one_of_these():
    assert {path.stem for path in POLICIES.iterdir()} == {"opsworks-cm", *set(KEY_STORES) - {Store.FILE}, *LISTS}
    for path in POLICIES.iterdir():
        for statement in statements(path.stem):
            assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
            assert statement["Sid"].isalnum()
            assert statement["Effect"] == "Allow"
            for arn in as_list(statement["Resource"]):
                # OpsWorks CM has no resources for these actions: IAM takes nothing but the asterisk.
                assert arn.startswith("arn:aws:") or path.stem == "opsworks-cm"
                assert any(word in json.dumps(statement) for word in PLACEHOLDERS)


@pytest.mark.parametrize("name", ["secretsmanager", "ssm", *LISTS])
def test_a_customer_managed_key_is_used_by_that_service_alone(name):
    (statement,) = (one for one in statements(name) if "kms" in str(one["Action"]))
    assert (statement["Action"], statement["Sid"]) == ("kms:Decrypt", "OnlyIfACustomerManagedKeyEncryptsIt")
    assert statement["Condition"] == {
        "StringEquals": {"kms:ViaService": f"{name.removesuffix('-list')}.REGION.amazonaws.com"}
    }
