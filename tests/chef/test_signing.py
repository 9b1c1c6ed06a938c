"""Chef's signatures, byte for byte those of Ruby's mixlib-authentication; and keys, whose errors keep them secret."""

import base64
import datetime
import json
import subprocess
import traceback

import pytest
import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chef_devserver.authentication import public_key, verify
from chef_failover.chef.signing import ChefAuth, canonical_path, canonical_request, load_key, sign
from chef_failover.errors import KeyFileError
from tests.support.chef import URL, check_signature, made_up
from tests.support.parts import missing_part, require_program

HOST = "https://chef.example.com"
PROTOCOLS = ("1.3", "1.1", "1.0")
USER = "i-0abc.example.com"
AT = datetime.datetime(2026, 11, 22, 10, 0, 9, tzinfo=datetime.UTC)
REQUESTS = [
    ("GET", "/", b""),
    ("GET", "/organizations/default/nodes/i-0abc", b""),
    ("GET", "/organizations/default/nodes/i-0abc/", b""),
    ("GET", "//organizations///default//nodes/i-0abc//", b""),
    ("GET", "/search/node?q=name:*&rows=10", b""),
    ("GET", "/nodes/web%201%2F2", b""),
    ("HEAD", "/organizations/default/nodes/i-0abc", b""),
    ("POST", "/organizations/default/clients", b'{"name": "i-0abc", "admin": false}'),
    ("POST", "/clients/?a=/b/", "h\u00e4\n".encode()),
    ("PUT", "/nodes/i-0abc", bytes(range(256)) * 40),
]
MIXLIB = r"""
require "json"
require "uri"
require "base64"
require "openssl"
begin
  require "mixlib/authentication/signedheaderauth"
rescue LoadError
  exit 9
end
signed = JSON.parse($stdin.read).map do |one|
  object = Mixlib::Authentication::SignedHeaderAuth.signing_object(
    http_method: one["method"].downcase.to_sym, path: URI.parse(one["url"]).path, body: Base64.decode64(one["body"]),
    timestamp: one["timestamp"], user_id: one["user"], proto_version: one["protocol"],
    headers: { "X-Ops-Server-API-Version" => "1" }
  )
  object.sign(OpenSSL::PKey::RSA.new(File.read(one["key"])))
end
puts JSON.generate(signed)
"""


def pem_of(key, form=serialization.PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())


@pytest.fixture(scope="module")
def key_files(tmp_path_factory):
    """The two kinds of PEM. 2048 bits leave a short last header line, of 2880 bits every line is full."""
    folder = tmp_path_factory.mktemp("keys")
    kinds = {
        "PKCS#8": (2048, serialization.PrivateFormat.PKCS8, b"BEGIN PRIVATE KEY"),
        "PKCS#1": (2880, serialization.PrivateFormat.TraditionalOpenSSL, b"BEGIN RSA PRIVATE KEY"),
    }
    files = {}
    for kind, (bits, form, begins) in kinds.items():
        pem = pem_of(rsa.generate_private_key(65537, bits), form)
        assert begins in pem
        files[kind] = folder / f"{bits}.pem"
        files[kind].write_bytes(pem)
    return files


@pytest.fixture(scope="module")
def keys(key_files):
    return {kind: load_key(path) for kind, path in key_files.items()}


CASES = [(kind, protocol, *one) for kind in ("PKCS#8", "PKCS#1") for protocol in PROTOCOLS for one in REQUESTS]


@pytest.fixture(scope="module")
def signed_by_ruby(key_files):
    """What mixlib-authentication adds to each of CASES."""
    asked = [
        {
            "key": str(key_files[kind]),
            "protocol": protocol,
            "method": method,
            "url": HOST + path,
            "body": base64.b64encode(body).decode(),
            "timestamp": AT.isoformat(),
            "user": USER,
        }
        for kind, protocol, method, path, body in CASES
    ]
    command = [require_program("ruby", "ruby"), "-e", MIXLIB]
    ran = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=60)
    if ran.returncode == 9:
        missing_part("Ruby has no mixlib-authentication (package ruby-mixlib-authentication)")
    assert ran.returncode == 0, ran.stderr
    return dict(zip(CASES, json.loads(ran.stdout), strict=True))


def signed(method, path, body, auth):
    return requests.Request(method, HOST + path, data=body or None, auth=auth).prepare()


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case[:4])))
def test_signs_as_ruby_does(signed_by_ruby, keys, case):
    kind, protocol, method, path, body = case
    ours = signed(method, path, body, ChefAuth(USER, keys[kind], protocol, utc_now=lambda: AT))
    headers = {name: value for name, value in ours.headers.items() if name.startswith("X-Ops-")}
    assert headers.pop("X-Ops-Server-API-Version") == "1"
    assert headers == signed_by_ruby[case]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "asked",
    [
        ("GET", f"nodes/{USER}", None),
        ("HEAD", "nodes/web%201%2F2", None),
        ("GET", "environments/staging/cookbooks?num_versions=1", None),
        ("POST", "clients", {"name": USER, "admin": False}),
        ("PUT", f"nodes/{USER}", {"normal": {"h\u00e4": ["\n"] * 1000}}),
    ],
)
def test_what_a_connection_sends_is_what_was_signed(chef, keys, protocol, asked):
    method, path, document = asked
    chef.add(method, f"{URL}/{path}")
    with made_up().open() as connection:
        connection.request(method, f"{URL}/{path}", ChefAuth(USER, keys["PKCS#8"], protocol, lambda: AT), document)
    request = chef.calls[0].request
    check_signature(request, protocol, USER, keys["PKCS#8"], AT)
    assert (request.method, request.url) == (method, f"{URL}/{path}")
    assert (json.loads(request.body) if request.body else None) == document
    assert request.headers.get("Content-Type") == ("application/json" if document else None)


def test_text_is_signed_as_its_bytes(keys):
    auth = ChefAuth(USER, keys["PKCS#8"], utc_now=lambda: AT)
    as_text, as_bytes = (signed("POST", "/x", body, auth).headers for body in ("h\u00e4", "h\u00e4".encode()))
    assert as_text["X-Ops-Content-Hash"] == as_bytes["X-Ops-Content-Hash"]


@pytest.mark.parametrize(("kind", "lengths"), [("PKCS#8", [60] * 5 + [44]), ("PKCS#1", [60] * 8)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_signature_is_cut_into_lines_of_60(keys, kind, lengths, protocol):
    headers = signed("GET", "/x", b"", ChefAuth(USER, keys[kind], protocol)).headers
    lines = [headers.get(f"X-Ops-Authorization-{number}") for number in range(1, len(lengths) + 1)]
    assert [len(line) for line in lines] == lengths
    assert f"X-Ops-Authorization-{len(lengths) + 1}" not in headers
    base64.b64decode("".join(lines), validate=True)


def test_request_is_one_of_chefs(keys):
    headers = signed("GET", "/x", b"", ChefAuth(USER, keys["PKCS#8"])).headers
    assert int(headers["X-Chef-Version"].partition(".")[0]) >= 10  # or nginx answers with a welcome page
    assert headers["Accept"] == "application/json"
    sent = datetime.datetime.strptime(headers["X-Ops-Timestamp"], "%Y-%m-%dT%H:%M:%S%z")
    assert abs(datetime.datetime.now(datetime.UTC) - sent) < datetime.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("path", "canonical"),
    [("/", "/"), ("//", "/"), ("/a/", "/a"), ("//a//b//", "/a/b"), ("/a?b=//c/", "/a"), ("/a/?b", "/a")],
)
def test_canonical_path(path, canonical):
    assert canonical_path(path) == canonical


def canonical(protocol, **changes):
    parts = {"method": "get", "path": "/nodes/a", "body_hash": "hash", "timestamp": "2026-11-22T10:00:00Z"}
    return canonical_request(protocol, **{**parts, "user": "a", "api_version": "1", **changes})


@pytest.fixture(scope="module")
def publics(keys):
    """The public halves, for the library that embedded servers check signatures with."""
    return {kind: public_key(key.public_pem().decode()) for kind, key in keys.items()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_verify_accepts_what_sign_gives_and_nothing_else(keys, publics, protocol):
    signature = sign(keys["PKCS#8"], protocol, canonical(protocol))
    verify(publics["PKCS#8"], protocol, signature, canonical(protocol))
    for change in ({"path": "/nodes/b"}, {"user": "b"}, {"method": "put"}, {"body_hash": ""}, {"timestamp": "now"}):
        with pytest.raises(InvalidSignature):
            verify(publics["PKCS#8"], protocol, signature, canonical(protocol, **change))
    with pytest.raises(InvalidSignature):
        verify(publics["PKCS#1"], protocol, signature, canonical(protocol))


def test_protocols_do_not_pass_for_each_other(keys, publics):
    key, public = keys["PKCS#8"], publics["PKCS#8"]
    same = canonical("1.1")
    with pytest.raises(InvalidSignature):
        verify(public, "1.1", sign(key, "1.3", same), same)
    with pytest.raises(InvalidSignature):
        verify(public, "1.3", sign(key, "1.1", same), same)


# Keys.


@pytest.fixture(scope="module")
def unusable(key_files):
    """What may stand in a key file and is no key for us."""
    whole = key_files["PKCS#8"].read_bytes()
    key = serialization.load_pem_private_key(whole, None)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    openssl = [require_program("openssl", "openssl"), "ecparam", "-name", "secp112r1", "-genkey", "-noout"]
    return {
        "empty": b"",
        "text": b"the key is in the vault\n",
        "binary": bytes(range(256)),
        "cut short": whole[: len(whole) // 2],
        "damaged": whole.replace(whole.splitlines()[3], b"?" * 64),
        "with a passphrase": pem_of(key, encryption=serialization.BestAvailableEncryption(b"secret")),
        "public": key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "DER": der,
        "EC": pem_of(ec.generate_private_key(ec.SECP256R1())),
        "EC on an odd curve": subprocess.run(openssl, capture_output=True, check=True).stdout,
    }


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "text",
        "binary",
        "cut short",
        "damaged",
        "with a passphrase",
        "public",
        "DER",
        "EC",
        "EC on an odd curve",
    ],
)
def test_unusable_key_is_named_and_not_shown(unusable, tmp_path, kind):
    path = tmp_path / "client.pem"
    path.write_bytes(unusable[kind])
    with pytest.raises(KeyFileError) as caught:
        load_key(path)
    says = "not an RSA private key in PEM format without a passphrase"
    assert str(caught.value) == f"client key {path}: {says}"
    told = "".join(traceback.format_exception(caught.value))
    lines = [line for line in unusable[kind].decode("latin-1").splitlines() if len(line) > 20 and "---" not in line]
    assert not [line for line in lines if line in told]


def test_missing_key_file(tmp_path):
    with pytest.raises(KeyFileError, match="client.pem: No such file or directory"):
        load_key(tmp_path / "client.pem")
    with pytest.raises(KeyFileError, match="Is a directory"):
        load_key(tmp_path)
