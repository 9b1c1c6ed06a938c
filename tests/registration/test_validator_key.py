"""The validator's key from a file, Secrets Manager and the Parameter Store: moto's, over HTTP, by the real library."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import chef_failover
from chef_failover.aws import call as aws
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config.settings import ChefServerAssociation
from chef_failover.config.source import parse_key_source
from chef_failover.errors import AwsError, KeyFileError, ValidatorKeyError
from chef_failover.registration import validator_key
from tests.support.opsworks_stub import OpsworksStub

REGION = "us-east-1"
JUNK = "PLANTED-junk-that-is-no-key"


def pem_of(key, form=serialization.PrivateFormat.TraditionalOpenSSL, encryption=None):
    encryption = encryption or serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


KEY = rsa.generate_private_key(65537, 2048)
PEM = pem_of(KEY)
EC_PEM = pem_of(ec.generate_private_key(ec.SECP256R1()))
LOCKED_PEM = pem_of(KEY, encryption=serialization.BestAvailableEncryption(b"secret"))
PUBLIC_PEM = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)


@pytest.fixture(scope="module")
def moto_url():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def store(aws_secret, moto_url):
    """``store(service, operation, **parameters)`` on moto."""

    def call(service, operation, **parameters):
        return aws.call(service, operation, parameters, region=REGION, endpoint_url=moto_url)

    return call


def read(text, *, region=REGION, endpoint_url=None, call=aws.call):
    association = ChefServerAssociation(region=region, endpoint_url=endpoint_url)
    return validator_key.read(parse_key_source(text), association, call)


def refusal(text, **more):
    with pytest.raises(ValidatorKeyError) as caught:
        read(text, **more)
    error = caught.value
    assert isinstance(error, KeyFileError)
    assert str(error).startswith(f"association.validator_key {text}: ")
    for secret in (JUNK, *PEM.splitlines()[1:-1], *EC_PEM.splitlines()[1:-1], *LOCKED_PEM.splitlines()[4:-1]):
        assert secret not in str(error)
        assert secret not in repr(error.__cause__)
    return error


def public_of(key):
    return key.public_pem().decode()


def gives(reply):
    return lambda *_, **__: reply


# Files


@pytest.mark.parametrize("form", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8])
def test_a_file(tmp_path, form):
    (tmp_path / "validator.pem").write_text(pem_of(KEY, form))
    assert public_of(read(f"file:{tmp_path}/validator.pem", region=None)) == PUBLIC_PEM


UNUSABLE = {
    "EC key": (EC_PEM, "not an RSA private key"),
    "with a passphrase": (LOCKED_PEM, "not an RSA private key"),
    "public key": (PUBLIC_PEM, "not an RSA private key"),
    "empty": ("", "is empty"),
    "white space": (" \n\n", "is empty"),
    "junk": (JUNK, "not an RSA private key"),
    "no Unicode": (f"{JUNK}\ud800", "not an RSA private key"),
    "half a key": (PEM[: len(PEM) // 2], "not an RSA private key"),
    "without line breaks": (PEM.replace("\n", " "), "not an RSA private key"),
}


@pytest.mark.parametrize(("text", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_key_in_a_file(tmp_path, text, words):
    (tmp_path / "validator.pem").write_bytes(text.encode(errors="surrogatepass"))
    error = refusal(f"file:{tmp_path}/validator.pem")
    assert words in str(error)
    assert not error.is_passing


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda pem: pem.replace(b"\n", b"\\n"), "its line breaks are written as \\n: store it with real line breaks"),
        (
            lambda pem: pem.strip().replace(b"\n", b" ") + b"\n",
            "its line breaks are missing: store it with line breaks, as in its file",
        ),
        (lambda pem: pem.replace(b"\n", b""), "its line breaks are missing"),
        (lambda pem: pem[:300], "without a passphrase"),
    ],
)
def test_line_breaks_that_were_lost_are_told_by_name(tmp_path, broken, said):
    path = tmp_path / "validator.pem"
    path.write_bytes(broken(PrivateKey.generate().private_pem()))
    with pytest.raises(ValidatorKeyError) as caught:
        read(f"file:{path}", region=None)
    assert said in str(caught.value)
    assert ("line breaks" in str(caught.value)) == ("line breaks" in said)


def test_a_file_that_cannot_be_read(tmp_path):
    error = refusal(f"file:{tmp_path}/missing.pem")
    assert (str(error).partition(": ")[2], error.is_passing) == ("cannot be read: No such file or directory", False)
    assert "Is a directory" in str(refusal(f"file:{tmp_path}"))
    assert "it is a pipe or a device" in str(refusal("file:/dev/zero"))


# Secrets Manager


def test_a_secret(store, moto_url):
    store("secretsmanager", "CreateSecret", Name="chef/validator", SecretString=PEM)
    key = read("secretsmanager:chef/validator", endpoint_url=moto_url)
    assert public_of(key) == PUBLIC_PEM
    arn = store("secretsmanager", "DescribeSecret", SecretId="chef/validator")["ARN"]
    assert public_of(read(f"secretsmanager:{arn}", endpoint_url=moto_url)) == PUBLIC_PEM


def test_a_binary_secret(store, moto_url, aws_secret):
    import boto3

    client = boto3.client("secretsmanager", region_name=REGION, endpoint_url=moto_url)
    client.create_secret(Name="binary", SecretBinary=PEM.encode())
    client.create_secret(Name="binary-json", SecretBinary=json.dumps({"key": PEM}).encode())
    client.create_secret(Name="binary-junk", SecretBinary=b"\xff\x00" + JUNK.encode())
    client.close()
    assert public_of(read("secretsmanager:binary", endpoint_url=moto_url)) == PUBLIC_PEM
    assert public_of(read("secretsmanager:binary-json#key", endpoint_url=moto_url)) == PUBLIC_PEM
    assert "not an RSA private key" in str(refusal("secretsmanager:binary-junk", endpoint_url=moto_url))
    assert "is not a JSON object" in str(refusal("secretsmanager:binary-junk#key", endpoint_url=moto_url))


def test_a_key_within_a_secret(store, moto_url):
    store("secretsmanager", "CreateSecret", Name="json", SecretString=json.dumps({"private key": PEM, "other": 7}))
    assert public_of(read("secretsmanager:json#private key", endpoint_url=moto_url)) == PUBLIC_PEM
    assert str(refusal("secretsmanager:json#missing", endpoint_url=moto_url)).endswith("has no string under 'missing'")
    assert "has no string under 'other'" in str(refusal("secretsmanager:json#other", endpoint_url=moto_url))
    assert "name the key within it" in str(refusal("secretsmanager:json", endpoint_url=moto_url))


@pytest.mark.parametrize("text", [JUNK, json.dumps([JUNK]), json.dumps(JUNK), "[" * 100_000, "7"])
def test_a_json_key_of_what_is_no_json_object(text):
    error = refusal("secretsmanager:json#key", call=gives({"SecretString": text}))
    assert str(error).endswith("is not a JSON object; remove the # and what follows it")
    assert error.__cause__ is error.__context__ is None  # a JSON error has the whole text in it


@pytest.mark.parametrize(("text", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_key_in_a_secret(text, words):
    reply = {"SecretString": json.dumps({"key": text})}
    error = refusal("secretsmanager:json#key", call=gives(reply))
    assert (words in str(error), error.is_passing) == (True, False)


def test_a_secret_that_is_not_there(store, moto_url):
    error = refusal("secretsmanager:nothing", endpoint_url=moto_url)
    assert (str(error).partition(": ")[2], error.is_passing) == (
        "does not exist in us-east-1 (ResourceNotFoundException); correct it, or association.region",
        False,
    )
    store("secretsmanager", "CreateSecret", Name="here", SecretString=PEM)
    elsewhere = refusal("secretsmanager:here", endpoint_url=moto_url, region="eu-west-1")
    assert "does not exist in eu-west-1" in str(elsewhere)


# Parameter Store


@pytest.mark.parametrize("kind", ["SecureString", "String"])
def test_a_parameter(store, moto_url, kind):
    store("ssm", "PutParameter", Name=f"/chef/{kind}", Value=PEM, Type=kind)
    assert public_of(read(f"ssm:/chef/{kind}", endpoint_url=moto_url)) == PUBLIC_PEM


def test_a_parameter_is_asked_for_decrypted(store, moto_url):
    store("ssm", "PutParameter", Name="sealed", Value=PEM, Type="SecureString")
    sealed = store("ssm", "GetParameter", Name="sealed", WithDecryption=False)["Parameter"]["Value"]
    assert sealed != PEM  # so moto gives the key only to those who ask for it so
    assert public_of(read("ssm:sealed", endpoint_url=moto_url)) == PUBLIC_PEM


def test_a_parameter_that_is_not_there(store, moto_url):
    error = refusal("ssm:/chef/nothing", endpoint_url=moto_url)
    assert ("does not exist in us-east-1" in str(error), error.is_passing) == (True, False)


# What AWS may say


@pytest.mark.parametrize(
    ("error", "words", "is_passing"),
    [
        (AwsError("AccessDeniedException", "x", 400), "may not be read .*packaging/iam/{store}.json", False),
        (AwsError("DecryptionFailure", "x", 400), "packaging/iam/{store}.json", False),
        (AwsError("InvalidRequestException", "marked for deletion", 400), "marked for deletion", False),
        (AwsError("Misconfigured", "bad region"), "bad region", False),
        (AwsError("NoCredentials", "x"), "needs AWS credentials.*packaging/iam/{store}.json", True),
        (AwsError("ThrottlingException", "x", 400), "ThrottlingException", True),
        (AwsError("InternalServiceError", "x", 500), "InternalServiceError", True),
        (AwsError("Timeout", "x"), "Timeout", True),
        (AwsError("Unreachable", "x"), "Unreachable", True),
    ],
    ids=lambda value: value.code if isinstance(value, AwsError) else None,
)
@pytest.mark.parametrize("store", ["secretsmanager", "ssm"])
def test_each_error_says_whether_it_passes(store, error, words, is_passing):
    def call(*_, **__):
        raise error

    refused = refusal(f"{store}:chef", call=call)
    assert re.search(words.format(store=store), str(refused))
    assert refused.is_passing == is_passing


@pytest.mark.parametrize("reply", [{}, {"Parameter": {}}, {"SecretString": ""}])
@pytest.mark.parametrize("store", ["secretsmanager", "ssm"])
def test_an_answer_without_a_value(store, reply):
    assert refusal(f"{store}:chef", call=gives(reply)).is_passing


def test_no_credentials_over_the_wire(store, moto_url, tmp_path):
    (tmp_path / "aws-credentials").write_text("")
    error = refusal("ssm:chef", endpoint_url=moto_url)
    assert ("NoCredentials" in str(error), error.is_passing) == (True, True)


def test_the_instance_profile_is_enough(store, moto_url, tmp_path, monkeypatch):
    store("ssm", "PutParameter", Name="by-profile", Value=PEM, Type="SecureString")
    (tmp_path / "aws-credentials").write_text("")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", moto_url)
    assert public_of(read("ssm:by-profile", endpoint_url=moto_url)) == PUBLIC_PEM


def test_an_endpoint_that_is_not_there_or_no_aws(aws_secret):
    assert refusal("ssm:chef", endpoint_url="http://127.0.0.1:9").is_passing
    with OpsworksStub() as stub:
        stub.faults += [(200, b"<html>Welcome"), (200, b"[]"), (503, b"<html>")]
        errors = [refusal("secretsmanager:chef", endpoint_url=stub.url) for _ in range(3)]
    assert all(error.is_passing for error in errors)


# Secrecy

READER = """
import json, logging, os, sys
logging.basicConfig(level="DEBUG")
sys.path.insert(0, sys.argv[1])
from chef_failover.registration import validator_key
from chef_failover.config.settings import ChefServerAssociation
from chef_failover.config.source import parse_key_source
association = ChefServerAssociation(region="us-east-1", endpoint_url=sys.argv[2])
key = validator_key.read(parse_key_source("ssm:watched"), association)
del key
print(json.dumps(sorted(sys.modules)), flush=True)
sys.stdin.read()
"""


def test_the_key_shows_nowhere_and_its_reader_has_no_aws_library(store, moto_url, tmp_path):
    store("ssm", "PutParameter", Name="watched", Value=PEM, Type="SecureString")
    before = set(tmp_path.rglob("*"))
    package = Path(chef_failover.__file__).parents[1]
    command, pipe = [sys.executable, "-I", "-c", READER, str(package), moto_url], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path) as reader:
        out = reader.stdout.readline()
        assert not Path(f"/proc/{reader.pid}/task/{reader.pid}/children").read_text()
        _, err = reader.communicate("")
    imported = {name.partition(".")[0] for name in json.loads(out)}
    assert not imported & {"boto3", "botocore", "s3transfer"}
    assert all(line not in out + err for line in PEM.splitlines()[1:-1])
    assert set(tmp_path.rglob("*")) == before
