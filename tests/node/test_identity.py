"""What this node is called, which machine it is, and EC2's metadata service with its faults."""

import socket
import time

import pytest

from chef_failover.errors import IdentityError, MetadataError
from chef_failover.node import identity
from chef_failover.node import imds as metadata
from chef_failover.node.imds import Imds
from tests.support import imds

PATH = "/latest/meta-data/instance-id"


@pytest.fixture
def service():
    with imds.Imds() as started:
        yield started


@pytest.fixture
def quick(monkeypatch):
    """Nobody waits for long."""
    monkeypatch.setattr(metadata, "REQUEST_S", 0.2)
    monkeypatch.setattr(metadata, "QUESTION_S", 0.5)


def firmware(directory, **files):
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


def refused(url):
    with pytest.raises(MetadataError) as refusal:
        Imds(url).text(PATH)
    return str(refusal.value)


# --- the metadata service


def test_a_token_first_then_the_question(service):
    assert Imds(service.url).text(PATH) == imds.INSTANCE_ID
    (put, token_path, lifetime), (get, path, headers) = service.requests
    assert (put, token_path, get, path) == ("PUT", "/latest/api/token", "GET", PATH)
    assert lifetime["X-aws-ec2-metadata-token-ttl-seconds"] == "60"
    assert headers["X-aws-ec2-metadata-token"]


def test_no_proxy_has_a_say(service, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert Imds(service.url).text(PATH) == imds.INSTANCE_ID


def test_where_there_is_no_ipv4_the_address_of_ipv6_is_asked(service, monkeypatch):
    assert metadata.URLS == ("http://169.254.169.254", "http://[fd00:ec2::254]")
    with imds.Imds(address="::1") as by_ipv6, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setattr(metadata, "URLS", (dead, by_ipv6.url))
        assert Imds().text(PATH) == imds.INSTANCE_ID
        assert by_ipv6.requests[0][2]["Host"] == by_ipv6.url.removeprefix("http://")
        monkeypatch.setattr(metadata, "URLS", (service.url, by_ipv6.url))
        before = len(by_ipv6.requests)
        assert Imds().text(PATH) == imds.INSTANCE_ID
        assert len(by_ipv6.requests) == before  # IPv4 first


def test_a_token_is_used_again_and_an_expired_one_replaced_once(service):
    now = 0.0
    service.clock = lambda: now
    asked = Imds(service.url)
    asked.text(PATH)
    asked.text(PATH)
    assert [method for method, _, _ in service.requests] == ["PUT", "GET", "GET"]
    now = 61.0
    assert asked.text(PATH) == imds.INSTANCE_ID
    assert [method for method, _, _ in service.requests[3:]] == ["GET", "PUT", "GET"]
    service.expire_tokens()
    assert asked.text(PATH) == imds.INSTANCE_ID


def test_a_service_that_refuses_its_own_tokens_is_asked_twice_and_no_more(service):
    service._give_token = lambda method, headers: (200, "worthless")
    assert "rejects its own new token (HTTP 401)" in refused(service.url)
    assert [method for method, _, _ in service.requests] == ["PUT", "GET", "PUT", "GET"]


def test_turned_off_is_said_with_what_turns_it_on(service):
    service.is_disabled = True
    assert "is disabled for this instance (HTTP 403)" in refused(service.url)
    assert "--http-endpoint enabled" in refused(service.url)


def test_a_token_that_never_comes_is_told_as_the_hop_limit(service, quick):
    service.hop_limit_is_too_low = True
    begun = time.monotonic()
    said = refused(service.url)
    assert time.monotonic() - begun < 10
    assert "In a container the hop limit is too low" in said
    assert "--http-put-response-hop-limit 2" in said


def test_nobody_there_is_another_thing():
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert refused(url) == f"the EC2 metadata service at {url} does not answer: connection refused"


@pytest.mark.parametrize("fault", [{"delay_s": 30.0}, {"drips": True}])
def test_however_slow_it_is_the_end_comes_in_time(service, quick, fault):
    for name, value in fault.items():
        setattr(service, name, value)
    begun = time.monotonic()
    assert "sends no answer" in refused(service.url)
    assert time.monotonic() - begun < 10


def test_slow_but_in_time_is_fine(service):
    service.delay_s = 0.2
    assert Imds(service.url).text(PATH) == imds.INSTANCE_ID


def test_something_else_that_answers_there(service):
    del service.documents[PATH]
    assert refused(service.url).endswith(f"has no {PATH} (HTTP 404)")
    service.documents[PATH] = ""
    assert refused(service.url).endswith(f"has no {PATH} (HTTP 200)")
    service.documents[PATH] = "a\nb"
    assert refused(service.url).endswith(f"has no {PATH} (HTTP 200)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def rubbish():
            taken, _ = server.accept()
            with taken:
                taken.recv(4096)
                taken.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=rubbish)
        thread.start()
        assert "sent an invalid answer (BadStatusLine)" in refused(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_a_token_is_in_no_message(service):
    asked = Imds(service.url)
    asked.text(PATH)
    token = service.requests[-1][2]["X-aws-ec2-metadata-token"]
    service._give_token = lambda method, headers: (500, token)
    service.expire_tokens()
    with pytest.raises(MetadataError) as refusal:
        asked.text(PATH)
    assert token not in str(refusal.value)


# --- names


def test_placeholders_are_filled_in_from_their_sources_and_only_when_needed(service, tmp_path, monkeypatch):
    machine = Imds(service.url), tmp_path
    assert identity.node_name("web-1", *machine) == "web-1"
    assert service.requests == []
    assert identity.node_name("web-{instance_id}", *machine) == f"web-{imds.INSTANCE_ID}"
    monkeypatch.setattr(socket, "gethostname", lambda: "web-7.example.com")
    assert identity.node_name("{hostname}", *machine) == "web-7"


@pytest.mark.parametrize("name", ["", "localhost", "localhost.localdomain"])
def test_localhost_is_no_name(monkeypatch, name):
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    with pytest.raises(IdentityError, match="needs {hostname}, but this machine's host name is "):
        identity.hostname()


def test_a_name_server_that_is_silent_does_not_hold_up_the_start(monkeypatch):
    import threading

    over = threading.Event()
    monkeypatch.setattr(identity, "LOOKUP_S", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60) and [])
    begun = time.monotonic()
    with pytest.raises(IdentityError, match="does not resolve: no answer within 0 s"):
        identity.fqdn()
    over.set()
    assert time.monotonic() - begun < 50


def test_what_cannot_be_filled_in_names_the_key_and_what_would_be_right(service, tmp_path):
    service.is_disabled = True
    with pytest.raises(IdentityError) as refusal:
        identity.node_name("{instance_id}", Imds(service.url), tmp_path)
    assert str(refusal.value).startswith("node.name needs {instance_id}, but the EC2 metadata service at http://127")
    assert str(refusal.value).endswith("outside EC2, write {fqdn} or a literal name")


@pytest.mark.parametrize("odd", ["<html>", "i-", "i-0123", "../../etc", "ami-0123456789abcdef0"])
def test_an_id_that_is_none_is_not_believed(service, tmp_path, odd):
    service.documents[PATH] = odd
    with pytest.raises(IdentityError):
        identity.instance_id(Imds(service.url), tmp_path)


# --- which machine this is

NITRO = {"sys_vendor": "Amazon EC2\n", "board_asset_tag": "i-0aaaaaaaaaaaaaaaa\n"}
XEN = {"sys_vendor": "Xen\n", "bios_version": "4.11.amazon\n", "board_asset_tag": "\n"}
ELSEWHERE = {"sys_vendor": "Dell Inc.\n", "board_asset_tag": "i-0aaaaaaaaaaaaaaaa\n"}


@pytest.mark.parametrize(
    ("files", "pattern", "found"),
    [
        (NITRO, None, ("i-0aaaaaaaaaaaaaaaa", 0)),
        (NITRO, "{instance_id}", ("i-0aaaaaaaaaaaaaaaa", 0)),
        (NITRO | {"board_asset_tag": "Not Specified\n"}, "web-1", (imds.INSTANCE_ID, 2)),
        (XEN, "web-1", (imds.INSTANCE_ID, 2)),
        (ELSEWHERE, "web-1", (None, 0)),
        (ELSEWHERE, "{instance_id}", (imds.INSTANCE_ID, 2)),
        ({}, None, (None, 0)),
        ({}, "{fqdn}", (None, 0)),
        ({}, "x-{instance_id}", (imds.INSTANCE_ID, 2)),
    ],
)
def test_the_instance_that_we_run_on(service, tmp_path, files, pattern, found):
    dmi = firmware(tmp_path, **files)
    assert (identity.this_instance(pattern, Imds(service.url), dmi), len(service.requests)) == found


def test_an_instance_that_cannot_be_found_out_now_is_none(service, tmp_path):
    service.is_disabled = True
    assert identity.this_instance("web-1", Imds(service.url), firmware(tmp_path, **XEN)) is None


def test_firmware_that_is_no_text(service, tmp_path):
    (tmp_path / "sys_vendor").write_bytes(b"\xff\xfe")
    (tmp_path / "board_asset_tag").mkdir()
    assert identity.this_instance(None, Imds(service.url), tmp_path) is None
