"""AWS in a child process: what comes over, what breaks on the way, and what nobody gets to see."""

import contextlib
import functools
import importlib.metadata
import itertools
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.session import Session
from botocore.utils import get_environ_proxies

import chef_failover
from chef_devserver.authority import Authority
from chef_failover.aws import boto, presigned
from chef_failover.aws import call as aws
from chef_failover.aws import child as aws_child
from chef_failover.config import settings as config
from chef_failover.errors import AwsError
from chef_failover.files import SYSTEM_BUNDLES
from chef_failover.printable import LIMIT
from chef_failover.server_list import fetch as list_fetch
from tests.support.daemon_process import until
from tests.support.opsworks_stub import DRIP, HANG_UP, OpsworksStub

PACKAGE = Path(chef_failover.__file__).parent
PLANTED = "-----BEGIN PLANTED PARAMETER-----"
ASSOCIATE = {
    "ServerName": "mainserver",
    "NodeName": "i-0abc",
    "EngineAttributes": [
        {"Name": "CHEF_ORGANIZATION", "Value": "default"},
        {"Name": "CHEF_NODE_PUBLIC_KEY", "Value": PLANTED},
    ],
}
CALLER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import chef_failover.registration.opsworks_cm, chef_failover.registration.validator_key, chef_failover.engine.sidecar
from chef_failover.aws import call as aws
aws.call("opsworkscm", "AssociateNode", json.load(sys.stdin), region="us-east-1", endpoint_url=sys.argv[2],
         timeout_s=float(sys.argv[3]))
json.dump(sorted(sys.modules), sys.stdout)
"""


@pytest.fixture
def stub():
    with OpsworksStub() as running:
        yield running


def associate(url, **more):
    return aws.call("opsworkscm", "AssociateNode", ASSOCIATE, region="eu-west-1", endpoint_url=url, **more)


def error_of(url, **more):
    with pytest.raises(AwsError) as caught:
        associate(url, **more)
    return caught.value


def processes():
    """Of each process: its id, its parent's, its state and its group."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, group = path.read_text().rpartition(")")[2].split()[:3]
            yield int(path.parent.name), int(parent), state, int(group)


def children():
    return {pid for pid, parent, _, _ in processes() if parent == os.getpid()}


def is_running(pid):
    return any(one == pid and state != "Z" for one, _, state, _ in processes())


@contextlib.contextmanager
def in_background(*arguments, **more):
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(*arguments, **more)


def test_a_call_goes_over_the_wire_once_and_comes_back(aws_secret, stub):
    assert set(associate(stub.url)) == {"NodeAssociationStatusToken"}
    (seen,) = stub.seen
    assert seen.target == "OpsWorksCM_V2016_11_01.AssociateNode"
    assert seen.headers["content-type"] == "application/x-amz-json-1.1"
    assert (seen.parameters, seen.region) == (ASSOCIATE, "eu-west-1")
    assert not stub.nodes


def test_the_sidecar_imports_no_aws_library_and_the_child_finds_a_vendored_tree(aws_secret, stub, tmp_path):
    tree = shutil.copytree(PACKAGE, tmp_path / "vendored" / "chef_failover").parent
    model = next(tree.rglob("service-2.json"))
    model.write_text(model.read_text().replace("OpsWorksCM_V2016_11_01", "OpsWorksCM_V2016_11_01.Vendored"))
    ended = subprocess.run(
        [sys.executable, "-I", "-c", CALLER, str(tree), stub.url, "20"],
        input=json.dumps(ASSOCIATE),
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert stub.seen[0].target == "OpsWorksCM_V2016_11_01.Vendored.AssociateNode"
    imported = {name.partition(".")[0] for name in json.loads(ended.stdout)}
    assert "chef_failover" in imported
    assert not imported & {"boto3", "botocore", "s3transfer", "jmespath"}


FAILURES = {
    "ThrottlingException": ("ThrottlingException", "throttled"),
    "TooManyRequestsException": ("TooManyRequestsException", "throttled"),
    (429, b"{}"): ("429", "throttled"),
    "InvalidStateException": ("InvalidStateException", "passing"),
    "ExpiredTokenException": ("ExpiredTokenException", "passing"),
    "AccessDeniedException": ("AccessDeniedException", "a person"),
    "ResourceNotFoundException": ("ResourceNotFoundException", "a person"),
    (500, b'{"__type": "InternalFailure"}'): ("InternalFailure", "passing"),
    (503, b"<html><h1>Service Unavailable"): ("503", "passing"),
    (403, b"<html>This hotel's WiFi"): ("403", "a person"),
    (200, b'["no", "object"]'): ("GarbageReply", "passing"),
    (200, b"\xff\xfe\x00"): ("GarbageReply", "passing"),
    (200, b"[" * 100_000): ("GarbageReply", "passing"),
    (400, b"[]"): ("GarbageReply", "passing"),
    (400, b'{"__type": 7}'): ("GarbageReply", "passing"),
    HANG_UP: ("Unreachable", "passing"),
}


@pytest.mark.parametrize(("fault", "expected"), FAILURES.items(), ids=lambda value: str(value)[:30])
def test_each_failure_has_its_code_and_is_met_with_no_second_try(aws_secret, stub, fault, expected):
    if isinstance(fault, str) and fault != HANG_UP:
        stub.fail(fault, "the reason")
    else:
        stub.faults.append(fault)
    error = error_of(stub.url)
    needs = "throttled" if error.is_throttled else "passing" if error.is_passing else "a person"
    assert (error.code, needs) == expected
    assert error.is_passing or not error.is_throttled
    assert len(stub.seen) == 1


def test_what_is_no_json_answers_nothing(aws_secret, stub):
    stub.faults.append((200, b"<html>Welcome"))
    assert associate(stub.url) == {}


def test_what_aws_says_at_length_is_not_passed_on(aws_secret, stub):
    stub.faults.append((200, json.dumps({"NodeAssociationStatusToken": "x" * 3_000_000}).encode()))
    with pytest.raises(AwsError, match="GarbageReply: answer longer than 2 MiB"):
        associate(stub.url)


def test_a_message_is_one_line_and_short(aws_secret, stub):
    stub.fail("ValidationException", "a\x1b[31m\n\n" + "long " * 500)
    message = error_of(stub.url).message
    assert message.startswith("a [31m long long")
    assert len(message) <= LIMIT
    assert message.isprintable()


def test_an_unreachable_endpoint(aws_secret):
    error = error_of("http://127.0.0.1:9")
    assert (error.code, error.is_passing) == ("Unreachable", True)
    assert "http://127.0.0.1:9" in error.message


def test_a_region_that_cannot_be_one_needs_a_person(aws_secret):
    with pytest.raises(AwsError) as caught:
        aws.call("opsworkscm", "AssociateNode", ASSOCIATE, region="us_east:1")
    assert (caught.value.code, caught.value.is_passing) == ("Misconfigured", False)
    assert "us_east:1" in caught.value.message


def test_parameters_that_do_not_fit_are_not_quoted(aws_secret):
    with pytest.raises(AwsError) as caught:
        aws.call("opsworkscm", "AssociateNode", {"ServerName": [PLANTED]}, region="us-east-1")
    assert str(caught.value) == "Misconfigured: ParamValidationError"


def test_no_credentials_are_told_apart(aws_secret, stub, tmp_path, monkeypatch):
    (tmp_path / "aws-credentials").write_text("")
    assert error_of(stub.url).code == "NoCredentials"
    (tmp_path / "aws-credentials").write_text("[default]\naws_access_key_id = AKIAHALF\n")
    error = error_of(stub.url)
    assert (error.code, error.is_about_credentials, error.is_passing) == ("NoCredentials", True, True)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "aws-credentials").write_text("")
    assert error_of(stub.url).code == "NoCredentials"
    assert not stub.seen


def test_a_profile_that_is_not_there_needs_a_person(aws_secret, stub, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    error = error_of(stub.url)
    assert (error.code, error.is_passing) == ("Misconfigured", False)
    assert "nobody" in error.message


def test_a_silent_endpoint_is_not_waited_for(aws_secret, stub):
    with stub.held():
        began = time.monotonic()
        error = error_of(stub.url, timeout_s=3.0)
        assert time.monotonic() - began < 30
    assert (error.code, error.is_passing) == ("Timeout", True)


def test_the_child_is_killed_at_its_deadline_and_leaves_nothing(aws_secret, stub):
    before = children()
    stub.faults.append(DRIP)
    began = time.monotonic()
    error = error_of(stub.url, timeout_s=1.0)
    assert 1.0 <= time.monotonic() - began < 30
    assert str(error) == "Timeout: no answer within 1 s"
    assert children() == before  # not even a zombie


def test_what_the_child_started_dies_with_it(aws_secret, stub, tmp_path):
    script, pid_file = tmp_path / "slow", tmp_path / "pid"
    script.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec sleep 60\n")
    script.chmod(0o755)
    (tmp_path / "aws-credentials").write_text("")
    (tmp_path / "aws-config").write_text(f"[default]\ncredential_process = {script}\n")
    for timeout_s in (3.0, 30.0):  # a busy host takes its time to come to the script
        if not pid_file.exists():
            assert error_of(stub.url, timeout_s=timeout_s).code == "Timeout"
    assert not is_running(int(pid_file.read_text()))


def test_a_child_without_a_parent_ends_by_itself(aws_secret, stub):
    stub.faults.append(DRIP)
    command = [sys.executable, "-c", CALLER, str(PACKAGE.parent), stub.url, "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        parent.stdin.write(json.dumps(ASSOCIATE).encode())
        parent.stdin.close()
        child = until(lambda: next((pid for pid, ppid, _, _ in processes() if ppid == parent.pid), None))
        until(lambda: stub.seen)
        parent.kill()
    assert is_running(child)
    until(lambda: not is_running(child))


def test_an_interrupted_call_takes_its_child_along(aws_secret, stub):
    command = [sys.executable, "-c", CALLER, str(PACKAGE.parent), stub.url, "30"]
    with stub.held(), subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        parent.stdin.write(json.dumps(ASSOCIATE).encode())
        parent.stdin.close()
        until(lambda: stub.seen)
        child = next(pid for pid, ppid, _, _ in processes() if ppid == parent.pid)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(30)
        assert not is_running(child)


def test_no_secret_stands_where_local_users_look(aws_secret, stub, tmp_path, caplog, capfd):
    caplog.set_level("DEBUG")
    before = children()
    with in_background(error_of, stub.url) as failed, stub.held():
        stub.fail("ValidationException")
        until(lambda: stub.seen)
        (child,) = children() - before
        cmdline, environ = (Path(f"/proc/{child}/{name}").read_bytes().decode() for name in ("cmdline", "environ"))
    assert cmdline.startswith(sys.executable)
    told = "".join(capfd.readouterr())
    for place in (cmdline, environ, str(failed.result()), repr(failed.result()), caplog.text, told):
        assert PLANTED not in place
        assert aws_secret not in place
        assert ASSOCIATE["NodeName"] not in place


def test_calls_are_made_one_at_a_time(aws_secret, stub):
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(associate, [stub.url] * 4))
    assert len({reply["NodeAssociationStatusToken"] for reply in replies}) == 4
    assert stub.most_at_once == 1


def test_one_that_times_out_gives_way_to_the_next(aws_secret, stub):
    stub.faults.append(DRIP)
    with in_background(error_of, stub.url, timeout_s=8.0) as first:
        until(lambda: stub.seen)
        assert associate(stub.url, timeout_s=60.0)
    assert first.result().code == "Timeout"


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (f"raise ValueError('{PLANTED}\\nPLANTED\\n')", "ValueError"),
        ("import no_such_module", "ModuleNotFoundError"),
        (f"def main(request): print('{PLANTED}')", "exit code 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
        (f"import os, sys; print('{PLANTED}', file=sys.stderr); os._exit(3)", "exit code 3"),
        ("def main(request): raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
    ids=lambda value: value[:24],
)
def test_a_child_that_breaks_tells_the_name_of_its_exception_alone(aws_secret, tmp_path, monkeypatch, broken, what):
    package = tmp_path / "chef_failover" / "aws"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "child.py").write_text(broken)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    error = error_of("http://127.0.0.1:9")
    assert str(error) == f"Broken: the AWS process failed with {what}"
    assert error.is_passing


def test_a_python_that_cannot_be_started(aws_secret, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    error = error_of("http://127.0.0.1:9")
    assert str(error) == "Broken: cannot start a process: No such file or directory"
    assert error.is_passing


def test_nothing_is_left_open(aws_secret, stub):
    def left_open():
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    associate(stub.url)
    before = left_open()
    for _ in range(3):
        associate(stub.url)
        error_of(stub.url, timeout_s=0.05)
    until(lambda: left_open() <= before)


@pytest.fixture
def configured(aws_secret, monkeypatch):
    """``configured(NAME=value)``: the environment is that, with what the child adds."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)

    def configure(root=Path("/"), **environ):
        os.environ.update(environ)
        aws_child.configure(os.environ, root)

    return configure


@pytest.mark.parametrize(
    ("environ", "by_proxy"),
    [
        ({}, True),
        ({"no_proxy": "internal.example.com"}, True),
        ({"NO_PROXY": "internal.example.com"}, True),
        ({"no_proxy": "", "NO_PROXY": "*"}, True),
        ({"no_proxy": "amazonaws.com"}, False),
        ({"NO_PROXY": "amazonaws.com"}, False),
        ({"NO_PROXY": "*"}, False),
    ],
    ids=str,
)
def test_the_metadata_service_is_asked_without_a_proxy(configured, environ, by_proxy):
    configured(http_proxy="http://proxy:3128", **environ)
    for host in ("169.254.169.254", "[fd00:ec2::254]"):
        assert get_environ_proxies(f"http://{host}/latest/api/token") == {}
    assert bool(get_environ_proxies("https://ssm.us-east-1.amazonaws.com/")) == by_proxy
    assert ("internal.example.com" in environ.values()) <= (get_environ_proxies("http://internal.example.com/") == {})


def test_the_metadata_service_is_asked_in_its_second_version():
    environ = {}
    aws_child.configure(environ)
    assert environ["AWS_EC2_METADATA_V1_DISABLED"] == "true"


@pytest.mark.parametrize(
    ("service", "region", "more", "endpoint"),
    [
        ("s3", "us-east-1", {}, "https://s3.us-east-1.amazonaws.com"),
        ("s3", "eu-west-1", {}, "https://s3.eu-west-1.amazonaws.com"),
        ("s3", "us-east-1", {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy"}, "https://s3.us-east-1.amazonaws.com"),
        ("sts", "us-east-1", {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}, "https://sts.us-east-1.amazonaws.com"),
        ("s3", "us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://s3-fips.us-east-1.amazonaws.com"),
        ("ssm", "us-east-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://ssm.us-east-1.api.aws"),
        ("ssm", "us-gov-west-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://ssm.us-gov-west-1.amazonaws.com"),
        ("secretsmanager", "cn-north-1", {}, "https://secretsmanager.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_each_region_is_asked_at_its_own_endpoint(configured, service, region, more, endpoint):
    configured(**more)
    assert boto.client(boto.session(region), service, None, 5.0).meta.endpoint_url == endpoint


@pytest.fixture
def parameter_store():
    """A Parameter Store with TLS: its URL, and the certificate of the authority that signed for it."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"Parameter": {"Value": "servers: a"}}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    authority, context = Authority(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as chain:
        chain.write(b"".join(authority.certificate()))
        chain.flush()
        context.load_cert_chain(chain.name)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever).start()
        yield f"https://127.0.0.1:{server.server_address[1]}", authority.ca_pem
        server.shutdown()


@pytest.mark.parametrize("place", [*SYSTEM_BUNDLES, None])
@pytest.mark.parametrize("named", [None, "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_aws_is_trusted_by_the_systems_bundle_or_the_one_that_is_named(
    configured, parameter_store, tmp_path, place, named
):
    url, ca_pem = parameter_store
    (tmp_path / "ca.pem").write_bytes(ca_pem)
    if place:
        bundle = tmp_path / "root" / place
        bundle.parent.mkdir(parents=True)
        bundle.write_bytes(Authority().ca_pem if named else ca_pem)
    configured(tmp_path / "root", **({named: str(tmp_path / "ca.pem")} if named else {}))
    request = {"service": "ssm", "operation": "GetParameter", "parameters": {"Name": "a"}, "region": "us-east-1"}
    answer = boto.answer(request | {"endpoint_url": url, "ca_file": None, "timeout_s": 20.0})
    if place or named:
        assert answer == {"reply": {"Parameter": {"Value": "servers: a"}}, "url": None}
    else:  # nothing but what botocore brings along
        assert "CERTIFICATE_VERIFY_FAILED" in answer["error"]["message"]


def test_an_endpoint_of_ones_own_is_trusted_by_its_ca_file_alone(aws_secret, parameter_store, tmp_path, monkeypatch):
    url, ca_pem = parameter_store
    (right, other, empty), missing = (tmp_path / f"{name}.pem" for name in ("a", "b", "c")), tmp_path / "d.pem"
    for path, content in ((right, ca_pem), (other, Authority().ca_pem), (empty, b"see the wiki")):
        path.write_bytes(content)

    def asked(ca_file):
        return aws.call("ssm", "GetParameter", {"Name": "a"}, region="us-east-1", endpoint_url=url, ca_file=ca_file)

    def refused(ca_file):
        with pytest.raises(AwsError) as caught:
            asked(ca_file)
        return str(caught.value)

    monkeypatch.setenv("AWS_CA_BUNDLE", str(other))
    assert asked(right) == {"Parameter": {"Value": "servers: a"}}
    assert "CERTIFICATE_VERIFY_FAILED" in refused(None)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(right))
    assert asked(None)
    assert "CERTIFICATE_VERIFY_FAILED" in refused(other)
    assert refused(missing) == f"Misconfigured: ca_file {missing}: No such file or directory"
    assert refused(empty).startswith(f"Misconfigured: ca_file {empty}: ")

    where = f"discovery: {{source: 'ssm:/a', region: us-east-1, endpoint_url: '{url}', ca_file: %s}}"
    listed = [config.parse(f"servers: [{{name: a, url: 'https://a'}}]\n{where % one}") for one in (right, other)]
    found, not_found = (list_fetch.fetch(one.discovery) for one in listed)
    assert found.text == "servers: a"
    assert "CERTIFICATE_VERIFY_FAILED" in not_found.sentence


class Bucket:
    """S3 with one object. ``asked`` has for each request whether it came by a URL or from boto3; ``faults`` go first.

    A fault is a status, or bytes to send as they are, and is for a request by URL.
    """

    TAG = '"1"'

    def __init__(self, directory):
        bucket = self
        self.asked, self.faults, self.body = [], [], b"servers: a"

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                is_by_url = "X-Amz-Signature=" in self.path
                bucket.asked.append("url" if is_by_url else "boto3")
                fault = bucket.faults.pop(0) if bucket.faults and is_by_url else None
                if isinstance(fault, bytes):
                    self.wfile.write(fault)
                    return
                status = fault or (304 if self.headers["If-None-Match"] == bucket.TAG else 200)
                body = bucket.body if status == 200 else b""
                self.send_response(status)
                self.send_header("ETag", bucket.TAG)
                self.send_header("Location", bucket.url)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        authority, context = Authority(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca_file, chain = directory / "bucket-ca.pem", directory / "bucket.pem"
        self.ca_file.write_bytes(authority.ca_pem)
        chain.write_bytes(b"".join(authority.certificate()))
        context.load_cert_chain(chain)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"

    def ask(self, call, version=None, key="list.yml"):
        parameters = {"Bucket": "fleet", "Key": key} | ({"IfNoneMatch": version} if version else {})
        return call("s3", "GetObject", parameters, region="us-east-1", endpoint_url=self.url, ca_file=self.ca_file)


@pytest.fixture
def bucket(aws_secret, tmp_path):
    made = Bucket(tmp_path)
    with made.server:
        threading.Thread(target=made.server.serve_forever).start()
        yield made
        made.server.shutdown()


def test_an_object_is_asked_for_again_without_boto3(bucket, tmp_path, monkeypatch):
    call = functools.partial(aws.call, signed=aws.Signed())
    assert bucket.ask(call)["Body"] == b"servers: a"
    (tmp_path / "boto3.py").write_text("raise RuntimeError")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "bucket.pem"))
    with pytest.raises(AwsError) as caught:
        bucket.ask(call, bucket.TAG)
    assert caught.value.status == 304
    bucket.body = b"servers: b"
    assert bucket.ask(call) == {"Body": b"servers: b", "ETag": bucket.TAG}
    assert bucket.asked == ["boto3", "url", "url"]
    with pytest.raises(AwsError, match="RuntimeError"):  # the URL is for that object alone
        bucket.ask(call, key="other.yml")


def test_what_a_url_does_not_give_boto3_asks_for_at_once_and_signs_another(bucket):
    call, short, endless = (
        functools.partial(aws.call, signed=aws.Signed()),
        b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.0 200 OK\r\n\r\na",
    )
    bucket.ask(call)
    for fault in (400, 403, 307, b"", short, endless):
        bucket.faults.append(fault)
        assert bucket.ask(call)["Body"] == b"servers: a"
        assert bucket.asked[-2:] == ["url", "boto3"], fault
    assert bucket.ask(call)["Body"] == b"servers: a"
    assert bucket.asked[-2:] == ["boto3", "url"]


@pytest.mark.parametrize(
    ("status", "body", "code", "is_throttled"),
    [
        (503, b"<Error><Code>SlowDown</Code></Error>", "SlowDown", True),
        (503, b"<html>", "503", False),
        (500, b"", "500", False),
        (429, b"", "429", True),
    ],
)
def test_what_the_service_refuses_is_not_asked_for_twice(bucket, status, body, code, is_throttled):
    call = functools.partial(aws.call, signed=aws.Signed())
    bucket.ask(call)
    bucket.faults.append(b"HTTP/1.0 %d No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
    with pytest.raises(AwsError) as caught:
        bucket.ask(call)
    assert (caught.value.code, caught.value.is_throttled, caught.value.is_passing) == (code, is_throttled, True)
    assert bucket.ask(call)["Body"] == b"servers: a"
    assert bucket.asked == ["boto3", "url", "url"]


def test_a_url_trusts_what_boto3_trusts_and_says_nothing_of_itself(bucket):
    call = functools.partial(aws.call, signed=aws.Signed())
    bucket.ask(call)
    bucket.ca_file.write_bytes(Authority().ca_pem)
    for _ in range(2):
        with pytest.raises(AwsError) as caught:
            bucket.ask(call)
        assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
        assert "X-Amz" not in str(caught.value)
    assert bucket.asked == ["boto3"]


@pytest.mark.parametrize("named", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", None])
def test_a_url_trusts_the_systems_bundle_or_the_one_that_is_named(configured, bucket, tmp_path, named):
    system = tmp_path / "root" / SYSTEM_BUNDLES[0]
    system.parent.mkdir(parents=True)
    system.write_bytes(Authority().ca_pem if named else bucket.ca_file.read_bytes())
    configured(tmp_path / "root", **({named: str(bucket.ca_file)} if named else {}))
    request = {"url": f"{bucket.url}/fleet/list.yml", "parameters": {}, "ca_file": None, "timeout_s": 20.0}
    assert presigned.answer(request)["reply"] == {"Body": bucket.body, "ETag": bucket.TAG}


def test_a_url_is_asked_by_the_proxy_of_the_environment(configured):
    request = {"url": "http://fleet.example.com/list.yml", "parameters": {}, "ca_file": None, "timeout_s": 20.0}
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as proxy:
        seen = []
        proxy.RequestHandlerClass = type(
            "Proxy", (BaseHTTPRequestHandler,), {"do_GET": lambda self: seen.append(self.path)}
        )
        threading.Thread(target=proxy.serve_forever).start()
        configured(http_proxy=f"http://127.0.0.1:{proxy.server_address[1]}")
        assert presigned.answer(request) is None
        proxy.shutdown()
    assert seen == [request["url"]]


class _SeenError(Exception):
    pass


@pytest.mark.parametrize("name", ["fleet", "fleet.example.com"])
@pytest.mark.parametrize(
    ("region", "endpoint_url", "more"),
    [
        ("us-east-1", None, {}),
        ("eu-central-1", None, {}),
        ("cn-north-1", None, {}),
        ("us-gov-west-1", None, {"AWS_USE_FIPS_ENDPOINT": "true"}),
        ("eu-west-1", None, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        ("eu-west-1", "https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        ("eu-west-1", "https://127.0.0.1:9", {"AWS_USE_FIPS_ENDPOINT": "true"}),
    ],
)
def test_a_url_goes_where_boto3_asks(configured, name, region, endpoint_url, more):
    configured(**more)
    asked = []

    def see(request, **_):
        asked.append(request.url)
        raise _SeenError

    parameters = {"Bucket": name, "Key": "chef/l ö.yml", "IfNoneMatch": Bucket.TAG}
    request = {"parameters": parameters, "endpoint_url": endpoint_url}
    session = boto.session(region)
    client = boto.client(session, "s3", endpoint_url, 5.0)
    client.meta.events.register("before-send.s3", see)
    with pytest.raises(_SeenError):
        client.get_object(**parameters)
    url, _, query = boto.sign(session, client, request).partition("?")
    assert asked == [url]
    assert "X-Amz-SignedHeaders=host&" in query
    assert f"X-Amz-Expires={presigned.SIGNED_FOR_S}" in query


def test_the_page_on_networks_names_what_is_asked_and_settings_that_exist():
    page = (PACKAGE.parents[1] / "docs" / "networks.md").read_text()
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    called = set(re.findall(r"""call\(\s*"([a-z0-9-]+)",""", source)) - {"opsworkscm"}  # has an address of its own
    assert {"s3", "ssm", "secretsmanager"} <= called <= set(re.findall(r"com\.amazonaws\.REGION\.([a-z0-9]+)`", page))
    known = {name for _, name, *_ in Session.SESSION_VARIABLES.values() if isinstance(name, str)}
    told = set(re.findall(r"AWS_[A-Z0-9_]+", page))
    assert told
    assert told <= known


def test_the_model_is_part_of_the_package():
    import tomllib

    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())
    globs = project["tool"]["setuptools"]["package-data"]["chef_failover"]
    shipped = set(itertools.chain.from_iterable(PACKAGE.glob(one) for one in globs))
    assert {path for path in PACKAGE.rglob("*") if path.suffix == ".json"} <= shipped
    assert importlib.metadata.version("boto3")
