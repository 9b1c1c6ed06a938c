"""`check --node`: each check on a machine made for it."""

import datetime
import grp
import json
import os
import pwd
import re
import shutil
import socket
import stat

import attrs
import pytest

from chef_devserver.authority import Authority
from chef_devserver.faults import Fault
from chef_failover.api import client
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Address, Resolver
from chef_failover.chef.principal import Known
from chef_failover.chef.trust import TrustStore
from chef_failover.cli import tables
from chef_failover.cli.check import probe_all
from chef_failover.config import settings as config
from chef_failover.config.source import KEY_STORES, parse_source
from chef_failover.doctor import files, key, shim, trust, unit, validator, visits
from chef_failover.doctor.finding import Check
from chef_failover.doctor.node import UNIT, Node
from chef_failover.doctor.whole import diagnose
from chef_failover.errors import UnseenError
from chef_failover.model.model import Outcome
from chef_failover.node import accepted
from chef_failover.node.key import find
from tests.support.daemon_process import daemon, run, write_config

IS_ROOT = os.geteuid() == 0
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(autouse=True)
def started(servers):
    for server in servers:
        server.fault = None
        server.start()


@pytest.fixture
def node(tmp_path):
    """A machine with chef-client, whose files are all below tmp_path."""
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    path = tmp_path / "config.yml"
    path.write_text(f"node: {{name: web-1}}\nstate_dir: {state_dir}\nlisten: {{socket: {tmp_path}/run/sidecar.sock}}\n")
    (tmp_path / "opt/chef/bin").mkdir(parents=True)
    (tmp_path / "opt/chef/bin/chef-client").touch()
    return Node(config.load(path), path, root=tmp_path, user="nobody-of-that-name", which=lambda _: None)


def put(node, absolute, text="", mode=0o644):
    path = node.path(absolute)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def let_in(tmp_path):
    """Let others than its owner come as far as to that directory."""
    for directory in (tmp_path, *tmp_path.parents[:-1]):
        directory.chmod(stat.S_IMODE(directory.stat().st_mode) | 0o011)


def unseen(look):
    with pytest.raises(UnseenError) as caught:
        look()
    return str(caught.value)


# --- the network ----------------------------------------------------------------------------------------------------


def visit(servers, tmp_path, *, now=None, resolver=None, trust=None, **more):
    parsed = config.load(write_config(tmp_path, servers, **more))
    utc_now = (lambda: now) if now else (lambda: datetime.datetime.now(datetime.UTC))
    return visits.visit(parsed, parsed.servers[0], resolver or Resolver(), trust or TrustStore(()), utc_now)


def said(visited):
    return [(check.subject, (found := check.run()).is_ok, found.detail) for check in visited.checks()]


def test_a_server_that_is_well_is_well_in_every_step(servers, tmp_path):
    found = said(visit(servers, tmp_path))
    assert [subject for subject, _, _ in found] == [
        *("name of mainserver", "route to mainserver", "connection to mainserver"),
        *("certificate of mainserver", "clock of mainserver"),
    ]
    assert all(is_ok for _, is_ok, _ in found), found


def test_a_name_that_does_not_resolve(servers, tmp_path):
    def nobody(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    found = said(visit(servers, tmp_path, resolver=Resolver(nobody)))
    assert found[0][1:] == (
        False,
        "127.0.0.1 has no address (Name or service not known): fix DNS, or add it to /etc/hosts",
    )
    assert [entry[1] for entry in found[1:]] == [None, None, None, None]


def test_no_route_and_nobody_who_answers(servers, tmp_path):
    nowhere: list[Address] = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 443, 0, 0))]
    found = said(visit(servers, tmp_path, resolver=Resolver(lambda *_: nowhere)))
    assert False in (found[1][1], found[2][1]), "as the host has a route or not"
    cut_off = said(attrs.evolve(visit(servers, tmp_path), route="Network is unreachable"))
    assert cut_off[1][2].startswith("no packet reaches it (Network is unreachable)")
    assert cut_off[2][1:] == (None, "the server cannot be reached")
    servers[0].stop()
    found = said(visit(servers, tmp_path))
    assert found[1][:2] == ("route to mainserver", True)
    assert found[2][0] == "connection to mainserver"
    assert found[2][2].startswith("Connection refused: check the server, its security group")
    assert found[3][1:] == (None, "the server cannot be reached")


def test_a_name_without_an_address(servers, tmp_path):
    found = said(visit(servers, tmp_path, resolver=Resolver(lambda *_: [])))
    assert found[0][2].startswith("127.0.0.1 has no address (the host name has no address): fix DNS")


@pytest.mark.parametrize(
    ("fault", "step", "words"),
    [
        (Fault.BLACK_HOLE, 2, "no answer in time: check the server, its security group and the firewalls in between"),
        (Fault.SILENT, 2, "accepted the connection, then said nothing for 1.0 s: check the server"),
        (Fault.TLS_SILENT, 2, "no complete answer within 1.0 s: check the server"),
        (Fault.RESET, 2, "Connection reset by peer: check the server"),
        (Fault.CERT_EXPIRED, 3, "certificate has expired; valid from 20"),
        (Fault.CERT_FOREIGN, 3, "unable to get local issuer certificate: add its CA to trusted_certs"),
        (Fault.CERT_WRONG_NAME, 3, "IP address mismatch, certificate is not valid for '127.0.0.1': write a name that"),
        (Fault.HUGE_HEADERS, 4, "the server does not send its time"),
        (Fault.SERVER_ERROR, None, ""),
    ],
)
def test_each_fault_stops_the_visit_at_its_step(servers, tmp_path, fault, step, words):
    servers[0].fault = fault
    found = said(visit(servers, tmp_path, health="{timeout: 1s, interval: 5s}"))
    well = found[:step]
    assert [is_ok for _, is_ok, _ in well] == [True] * len(well)
    assert step is None or found[step][2].startswith(words), found


def test_a_certificate_that_is_not_trusted_or_ends_soon(servers, tmp_path):
    parsed = config.load(write_config(tmp_path, servers))
    (tmp_path / "ca.pem").write_bytes(Authority().ca_pem)
    strange = visits.visit(parsed, parsed.servers[0], Resolver(), TrustStore(()), lambda: NOW)
    assert (
        said(strange)[3][2].startswith("unable to get local issuer certificate: add its CA")
        or "self" in said(strange)[3][2]
    )
    assert said(strange)[4][1] is None
    well = visit(servers, tmp_path)
    assert said(attrs.evolve(well, certificate_left_s=5 * 86400.0))[3][2] == "expires in 5 d: renew it on the server"
    assert said(attrs.evolve(well, certificate_left_s=None))[3][1] is True


def test_a_certificate_that_has_ended_says_when(servers, tmp_path):
    servers[0].fault = Fault.CERT_EXPIRED
    words = said(visit(servers, tmp_path))[3][2]
    ended = datetime.datetime.fromisoformat(re.search(r" to (.+) UTC: renew", words)[1] + "+00:00")
    assert datetime.timedelta(0) < datetime.datetime.now(datetime.UTC) - ended < datetime.timedelta(days=3)
    assert words.endswith(": renew it on the server, or check this node's clock")


def test_what_to_do_depends_on_what_is_wrong_with_a_certificate():
    dates = (NOW - datetime.timedelta(days=1), NOW + datetime.timedelta(days=1))
    said = visits._distrust("certificate has expired", 10, dates, NOW)
    assert said.startswith("certificate has expired; its CA's, since its own is valid from 20")
    said = visits._distrust("certificate is not yet valid", 9, None, NOW)
    assert said == "certificate is not yet valid: renew it on the server, or check this node's clock"
    said = visits._distrust("unsuitable certificate purpose", 26, None, NOW)
    assert said == "unsuitable certificate purpose: renew it on the server"


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (-1, "60 min behind the server's, which refuses more than 15 min"),
        (2, "2 h ahead of the server's, which refuses more than 15 min"),
    ],
)
def test_a_clock_that_is_off(servers, tmp_path, hours, words):
    found = said(visit(servers, tmp_path, now=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)))
    assert words in found[4][2]
    assert found[4][1] is False


@pytest.mark.parametrize("date", [None, "", "noon", "Tue, 99 Nov 2026 10:00:00 GMT"])
def test_a_server_that_does_not_tell_its_time(chef, servers, tmp_path, date):
    chef.head(f"{servers[0].url}/_status", headers={"Date": date} if date is not None else {})
    assert said(visit(servers, tmp_path))[4][1:] == (None, "the server does not send its time")


def test_a_proxy_hides_everything(servers, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    found = said(visit(servers, tmp_path, health="{proxy: environment}"))
    assert {entry[1:] for entry in found} == {(None, "not tried: the server is behind the proxy of the environment")}


# --- the key --------------------------------------------------------------------------------------------------------

ENTRY = {"name": "mainserver", "outcome": "ok", "detail": "answers in 2 ms"}


def with_servers(node, association="{provider: none}"):
    text = node.config_path.read_text()
    node.config_path.write_text(f"{text}servers: [{{name: a, url: 'https://a', association: {association}}}]\n")
    return attrs.evolve(node, config=config.load(node.config_path))


def test_no_key_is_no_trouble_where_one_will_be_made(node, monkeypatch):
    monkeypatch.setattr(key, "find", lambda where: find(attrs.evolve(where, adoptable=())))
    new = with_servers(node, "{provider: chef-server, validator_key: 'file:/x'}")
    assert unseen(lambda: key.key(new)) == "there is no key yet: the first start of the service makes one"


def test_the_key(node, tmp_path, monkeypatch):
    monkeypatch.setattr(key, "find", lambda where: find(attrs.evolve(where, adoptable=())))
    assert "there is no key; the sidecar makes none" in key.key(with_servers(node))
    path = node.config.state_dir / "client.pem"
    path.write_bytes(PrivateKey.generate(2048).private_pem())
    path.chmod(0o600)
    assert key.key(node) is None
    path.chmod(0o644)
    assert key.key(node) == f"every user can read {path} and pose as this node: chmod o-rwx {path}"
    path.chmod(0o600)
    path.write_text("-----BEGIN CERTIFICATE-----")
    assert "this is a certificate" in key.key(node)
    nameless = attrs.evolve(node, config=attrs.evolve(node.config, node=config.Node()))
    assert "node.name is not set" in unseen(lambda: key.key(nameless))


@pytest.mark.skipif(not IS_ROOT, reason="needs root to give a file away")
def test_a_key_that_the_service_may_not_read(node, tmp_path):
    let_in(tmp_path)
    path = node.config.state_dir / "client.pem"
    path.write_bytes(PrivateKey.generate(2048).private_pem())
    path.chmod(0o600)
    trouble = key.key(attrs.evolve(node, user="nobody"))
    assert trouble.startswith(f"user nobody cannot read {path}: mode 0600, owner root; give it to the service")


@pytest.mark.parametrize(
    ("outcome", "known", "words"),
    [
        ("ok", None, None),
        ("not_associated", None, "HTTP 401: chef-failover associate mainserver, or register the key"),
        ("not_associated", Known.NOT, "HTTP 401: the server does not know web-1, and its association is none: knife"),
        ("not_associated", Known.BY_ANOTHER_KEY, "HTTP 401: key conflict: another key is registered there as web-1"),
        ("not_associated", Known.BY_THIS_KEY, "HTTP 401: the server has this key, so it may have expired there: knife"),
        ("clock_skew", None, "HTTP 401"),
    ],
)
def test_whether_the_key_fits(outcome, known, words):
    entry = ENTRY | {"outcome": outcome, "known": known, "usable": outcome == "ok", "detail": "HTTP 401"}
    found = key.fits(entry, "web-1", None)
    assert found == words or found.startswith(words)


def test_whether_the_key_fits_cannot_always_be_seen():
    why = "web-1 has no key yet"
    assert unseen(lambda: key.fits(ENTRY, "web-1", why)) == f"this probe was unsigned: {why}"
    refused = ENTRY | {"outcome": "refused", "detail": "connection refused"}
    assert unseen(lambda: key.fits(refused, "web-1", None)) == "could not ask the server: connection refused"


def with_unit(node, text):
    """That machine with systemd, whose unit of ours has ``text``."""
    node.path("/run/systemd/system").mkdir(parents=True)
    put(node, "/unit", f"# /etc/systemd/system/chef-failover.service.d/x.conf\n[Service]\n{text}")
    program = put(node, "/bin/systemctl", f"#!/bin/sh\ncat {node.path('/unit')}\n", 0o755)
    return attrs.evolve(node, which=lambda _: str(program))


LOADED = "LoadCredential=\nLoadCredential=client.pem:/etc/chef/client.pem\n"


def test_a_key_that_systemd_hands_over_is_looked_at_where_systemd_takes_it_from(node):
    handed_over = with_unit(node, LOADED)
    source = put(node, "/etc/chef/client.pem", PrivateKey.generate(2048).private_pem().decode(), 0o400)
    assert key.key(handed_over) is None
    assert unit.missing_credentials(handed_over) is None
    copy = put(node, f"/run/credentials/{UNIT}/client.pem", "(missing)")
    assert key.key(handed_over).startswith(f"{source} changed since the service started: systemctl")
    copy.unlink()
    source.write_text("-----BEGIN CERTIFICATE-----")
    assert "this is a certificate" in key.key(handed_over)
    source.unlink()
    assert unseen(lambda: key.key(handed_over)) == f"{source} does not exist: see credentials"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            "",
            "the service does not start without it (243/CREDENTIALS): restore it, and add SetCredential=client.pem:(",
        ),
        (
            "SetCredential=client.pem:(missing)\n",
            "the service starts without it; restore it, then restart the service",
        ),
    ],
)
def test_a_credential_whose_file_is_missing_is_named(node, more, words):
    said = unit.missing_credentials(with_unit(node, LOADED + more))
    assert said.startswith(f"LoadCredential names {node.path('/etc/chef/client.pem')}, which does not exist: {words}")


# --- the validator --------------------------------------------------------------------------------------------------


@pytest.fixture
def new_node(servers, tmp_path):
    """A node that is to register itself, and where the validator's key of its first server is."""
    path = write_config(tmp_path, servers, node="{name: web-1}", registers=True)
    return Node(config.load(path), path, user="nobody"), tmp_path / f"{servers[0].name}-validator.pem"


def tried(node, outcome=Outcome.OK, *, is_signed=False, **changes):
    """What the check of its first server's validator says, with these changes of the association."""
    server = node.config.servers[0]
    association = attrs.evolve(server.association, **changes)
    entry = ENTRY | {"outcome": outcome, "detail": "as check has it"}
    return validator.validator(node, attrs.evolve(server, association=association), entry, is_signed=is_signed)


def test_a_validator_that_the_server_takes_is_well(new_node, servers):
    node = attrs.evolve(new_node[0], user="nobody-of-that-name")
    assert tried(node) is None
    probed = {"signed": False, "servers": [ENTRY, ENTRY | {"name": "standbyserver"}]}
    subjects = [check.subject for check in validator.checks(node, probed)]
    assert subjects == ["validator at mainserver", "validator at standbyserver"]
    assert "POST" not in str(servers[0].requests), "it signs once, and changes nothing"


def test_a_validator_that_is_not_taken_says_what_to_mend(new_node, servers, tmp_path):
    node = attrs.evolve(new_node[0], user="nobody-of-that-name")
    assert tried(node, validator="acme-validator").startswith(
        "HTTP 401: Failed to authenticate as 'acme-validator'. Ensure that your node_name and client key are correct.; "
        "association.validator_key is not the key of client acme-validator on this server, or the organization is"
        " wrong; if it is another client's key, set association.validator to that client's name"
    )
    path = write_config(tmp_path, servers, node="{name: web-1, organization: acme}", registers=True)
    abroad = attrs.evolve(node, config=config.load(path))
    assert "set node.organization to one that exists there" in tried(abroad, Outcome.WRONG_ORGANIZATION)
    new_node[1].write_bytes(PrivateKey.generate(2048).private_pem())
    assert "association.validator_key is not the key of client default-validator on this server" in tried(node)
    assert tried(node, Outcome.WRONG_ORGANIZATION) == "as check has it", "which is about a server without organizations"
    new_node[1].write_text("nonsense")
    assert tried(node).startswith(f"association.validator_key file:{new_node[1]}: ")
    new_node[1].unlink()
    assert Check("validator", lambda: tried(node)).run().detail == f"{new_node[1]} does not exist"


def test_a_validator_s_key_is_missed_until_this_node_is_registered(new_node):
    node, path = new_node
    path.unlink()
    gone = f"{path} is gone and not needed: this node is registered"
    assert unseen(lambda: tried(node, is_signed=True)) == gone
    assert unseen(lambda: tried(node, Outcome.DEGRADED, is_signed=True)) == gone
    for outcome, is_signed in ((Outcome.NOT_ASSOCIATED, True), (Outcome.REFUSED, True), (Outcome.OK, False)):
        with pytest.raises(FileNotFoundError):
            tried(node, outcome, is_signed=is_signed)


def test_a_validator_cannot_be_tried_on_a_server_that_is_away(new_node, servers):
    node = attrs.evolve(new_node[0], user="nobody-of-that-name")
    words = "the key is readable; the server was not asked: as check has it"
    assert unseen(lambda: tried(node, Outcome.REFUSED)) == words
    servers[0].stop()
    assert unseen(lambda: tried(node)) == "could not ask the server: connection refused"
    servers[0].start()
    servers[0].fault = Fault.SERVER_ERROR
    assert unseen(lambda: tried(node)).startswith("could not ask the server: HTTP 500")
    servers[0].fault = Fault.EMPTY
    assert tried(node).startswith("HTTP 200 OK: empty body; no Chef API under /organizations/default; for a server")


@pytest.mark.skipif(not IS_ROOT, reason="needs root to become somebody else")
def test_a_validator_s_key_that_the_service_cannot_read(new_node, tmp_path):
    """Root can, and the sidecar would say so only after its start."""
    node, path = new_node
    elsewhere = attrs.evolve(node, root=tmp_path)  # where /tmp is not what the unit hides
    for directory in path.parents:
        if directory.stat().st_uid == 0 and directory != directory.parent:
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) | 0o011)
    path.chmod(0o600)
    assert tried(elsewhere) == (
        f"user nobody cannot read {path}: mode 0600, owner root: chgrp nobody {path}; chmod 0640 {path}"
    )
    path.chmod(0o644)
    assert tried(elsewhere) is None
    assert tried(node).startswith(f"user nobody cannot read {path}: the unit hides /tmp (PrivateTmp)")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        tried(elsewhere)


def test_a_validator_s_key_that_systemd_hands_over(new_node, tmp_path):
    node, path = new_node
    handed_over = with_unit(attrs.evolve(node, root=tmp_path), f"LoadCredential=v.pem:/{path.name}\n")
    source = parse_source(f"file:/run/credentials/{UNIT}/v.pem", KEY_STORES, "a key")
    assert tried(handed_over, validator_key=source) is None


# --- what the service may read --------------------------------------------------------------------------------------


def test_what_is_trusted(node, tmp_path):
    assert trust.trust(node) is None
    put(node, "/etc/chef/trusted_certs/ca.pem", Authority().ca_pem.decode())
    assert trust.trust(node) is None
    put(node, "/etc/chef/trusted_certs/readme.crt", "no certificate")
    assert "chef-client does not start with this trusted certificate: " in trust.trust(node)
    node.path("/etc/chef/trusted_certs/readme.crt").unlink()
    missing = attrs.evolve(with_servers(node).config.servers[0], ca_file=tmp_path / "missing.pem")
    node = attrs.evolve(node, config=attrs.evolve(node.config, servers=(missing,)))
    assert trust.trust(node) == f"cannot trust {missing.ca_file}: No such file or directory"
    missing.ca_file.write_text("no certificate")
    assert trust.trust(node).startswith(f"ca_file {missing.ca_file}: ")


def test_what_an_endpoint_of_aws_is_trusted_by(node, tmp_path):
    assert [one.subject for one in trust.checks(node)] == ["CA files can be read"]
    path = tmp_path / "endpoint.pem"
    own = config.parse(f"discovery: {{endpoint_url: 'https://e', ca_file: {path}}}").discovery
    node = attrs.evolve(node, config=attrs.evolve(node.config, discovery=own))

    def found():
        return trust.checks(node)[1].run()

    assert (found().subject, found().is_ok) == ("CA files for AWS can be read", False)
    assert found().detail == f"{path} does not exist"
    path.write_text("see the wiki")
    assert found().detail.startswith(f"ca_file {path}: ")
    path.write_bytes(Authority().ca_pem)
    assert found().is_ok
    path.chmod(0o600)
    let_in(tmp_path)
    node = attrs.evolve(node, user="nobody", root=tmp_path)
    said = f"user nobody cannot read {path}: mode 0600, owner root"
    assert found().detail == f"{said}: chgrp nobody {path}; chmod 0640 {path}"


@pytest.mark.skipif(not IS_ROOT, reason="needs root to be somebody else")
def test_what_the_service_may_not_read_is_found_by_root(node, tmp_path):
    let_in(tmp_path)
    put(node, "/etc/chef/trusted_certs/ca.pem", Authority().ca_pem.decode())
    node.path("/etc/chef").chmod(0o700)
    node = attrs.evolve(node, user="nobody")
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    certs = node.path("/etc/chef/trusted_certs")
    said = f"chef-client trusts {certs}, but the sidecar cannot read it (Permission denied): chgrp {group} "
    assert trust.trust(node) == f"{said}{certs.parent} && chmod g+x {certs.parent}"
    assert os.geteuid() == 0
    node.path("/etc/chef").chmod(0o750)
    shutil.chown(certs.parent, group=group)
    assert trust.trust(node) is None
    certs.chmod(0o640)
    assert trust.trust(node) == f"{said}{certs} && chmod g+rx {certs}"


@pytest.mark.skipif(not IS_ROOT, reason="needs root to be somebody else")
def test_a_key_of_chef_client_that_the_service_cannot_even_see(node, tmp_path, monkeypatch):
    place = put(node, "/etc/chef/client.pem")
    monkeypatch.setattr(key, "find", lambda where: find(attrs.evolve(where, adoptable=(place,))))
    place.unlink()
    place.parent.chmod(0o700)
    let_in(tmp_path)
    trouble = key.key(attrs.evolve(node, user="nobody"))
    assert trouble.startswith(f"cannot tell whether {place} exists: Permission denied; chgrp chef-failover ")


def test_only_root_and_the_service_can_tell_what_the_service_may_read(node, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "run this as root" in unseen(lambda: trust.trust(attrs.evolve(node, user="nobody")))


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not IS_ROOT, reason="the configuration must be root's")
def test_the_configuration_is_root_s_alone(node):
    node.config_path.parent.chmod(0o755)
    assert files.config_file(node) is None
    node.config_path.chmod(0o664)
    assert files.config_file(node).endswith(f"chmod go-w {node.config_path}")
    node.config_path.chmod(0o644)
    os.chown(node.config_path, 65534, 65534)
    assert files.config_file(node).endswith(f"chown root {node.config_path}")
    os.chown(node.config_path, 0, 0)
    node.config_path.chmod(0o600)
    said = files.config_file(attrs.evolve(node, user="nobody"))
    assert said == f"user nobody cannot read {node.config_path.absolute()}: mode 0600, owner root"


def test_the_state(node):
    assert files.state_file(node) is None, "an idle sidecar writes nothing, and one that never ran"
    path = node.config.state_dir / "state.json"
    path.write_text("{}")
    path.chmod(0o644)
    assert files.state_file(node) is None
    path.chmod(0o666)
    assert files.state_file(node).endswith(f"chmod 0644 {path}")
    node.config.state_dir.chmod(0o777)
    assert files.state_file(node).endswith(f"chmod go-w {node.config.state_dir}")
    path.unlink()
    node.config.state_dir.rmdir()
    made = f"install -d -o {node.user} -g {node.user} {node.config.state_dir}"
    assert files.state_file(node) == f"{node.config.state_dir} does not exist: {made}"


def test_a_state_that_cannot_be_written(node, monkeypatch):
    monkeypatch.setattr(client, "ask", lambda *_, **__: client.Reply(200, {"transitions": [{"server": None}]}))
    assert files.state_file(node).endswith("but the sidecar has something to save: is the disk full?")


@pytest.mark.skipif(not IS_ROOT, reason="needs root to give a file away")
def test_a_state_of_somebody_else(node):
    os.chown(node.config.state_dir, 1, 1)
    assert "not to nobody: chown -R nobody:" in files.state_file(attrs.evolve(node, user="nobody"))


def test_the_socket(node):
    path = node.config.listen.socket
    assert Check("socket", lambda: files.socket_file(path)).run().is_ok is False
    path.parent.mkdir()
    path.parent.chmod(0o755)
    assert files.socket_file(path) == f"{path} does not exist: systemctl start chef-failover"
    path.touch()
    assert "is not a socket" in files.socket_file(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o660)
        assert files.socket_file(path) is None
        path.chmod(0o666)
        assert "every user can connect to" in files.socket_file(path)
    path.parent.chmod(0o777)
    assert "chmod go-w" in files.socket_file(path)
    assert "the sidecar does not answer" in files.answers(path)


# --- the shim -------------------------------------------------------------------------------------------------------

LIBRARY = "/usr/share/chef-failover/ruby/chef_failover.rb"


def stub(node, library=LIBRARY, path=None):
    return (
        f'shim = "{library}"\nrequire shim if File.readable?(shim)\n'
        f'::ChefFailover.apply(self, "{path or node.config_path}") if defined?(::ChefFailover.apply)\n'
    )


def test_the_shim_is_where_chef_client_reads_it_and_loads_what_is_here(node):
    assert "client.d/chef_failover.rb does not exist, so runs never fail over" in shim.shim(node, "chef")
    put(node, "/etc/chef/client.d/chef_failover.rb", "# emptied")
    assert "does not load the shim" in shim.shim(node, "chef")
    put(node, "/etc/chef/client.d/chef_failover.rb", stub(node))
    assert f"/etc/chef/client.d/chef_failover.rb loads {LIBRARY}, which does not exist:" in shim.shim(node, "chef")
    put(node, LIBRARY)
    assert shim.shim(node, "chef") is None
    put(node, "/etc/chef/client.d/chef_failover.rb", stub(node, path="/opt/cf/config.yml"))
    assert "uses /opt/cf/config.yml, but this check uses " in shim.shim(node, "chef")


def test_the_shim_as_it_is_installed_is_understood(node):
    from tests.project.test_docs import ROOT

    text = (ROOT / "ruby_shim" / "client.d" / "chef_failover.rb").read_text()
    put(node, "/etc/chef/client.d/chef_failover.rb", text)
    put(node, LIBRARY)
    assert "uses /etc/chef-failover/config.yml, but this check uses " in shim.shim(node, "chef")


def test_a_client_d_that_is_elsewhere(node):
    put(node, "/etc/chef/client.d/chef_failover.rb", stub(node))
    put(node, LIBRARY)
    put(node, "/etc/chef/client.rb", "# client_d_dir '/nowhere'\nclient_d_dir  '/etc/chef/other.d'\n")
    assert "/etc/chef/other.d/chef_failover.rb does not exist (client_d_dir of client.rb), so runs" in shim.shim(
        node, "chef"
    )
    put(node, "/etc/chef/other.d/chef_failover.rb", stub(node))
    assert shim.shim(node, "chef") is None


def test_which_clients_are_here(node):
    assert shim.checks(node)[0].subject == "shim of chef-client"
    none = attrs.evolve(node, root=node.path("/empty"))
    assert shim.checks(none)[0].run().is_ok is None
    both = attrs.evolve(node, which=lambda name: f"/usr/bin/{name}")
    assert [check.subject for check in shim.checks(both)][:2] == ["shim of chef-client", "shim of cinc-client"]


def test_leftovers_of_the_recipe(node):
    assert shim.leftovers(node, "chef") is None
    put(node, "/etc/chef/opsworks_health_check.rb")
    assert shim.leftovers(node, "chef") == "/etc/chef/opsworks_health_check.rb is no longer loaded: remove it"
    put(node, "/etc/chef/client.rb", 'log_level :info\nrequire_relative "opsworks_health_check"\n')
    assert "client.rb loads opsworks_health_check in line 2: delete that line" in shim.leftovers(node, "chef")
    put(node, "/etc/chef/client.rb", '# require_relative "opsworks_health_check"\n')
    assert "is no longer loaded" in shim.leftovers(node, "chef")


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
def test_a_client_rb_that_we_may_not_read(node):
    put(node, "/etc/chef/client.rb", mode=0)
    assert "run this as root" in unseen(lambda: shim.leftovers(node, "chef"))


def test_what_is_accepted_is_looked_at(node):
    look = next(check.look for check in files.checks(node) if check.subject == "accepted")
    assert "no configuration is accepted yet" in look()
    accepted.accept(node.config_path)
    assert look() is None
    node.config_path.write_text("organisation: acme\n")
    assert "is invalid and not in use" in look()


# --- systemd --------------------------------------------------------------------------------------------------------


def test_the_unit(node, tmp_path):
    assert unseen(unit.checks(node)[0].look) == "systemd is not running here"
    node.path("/run/systemd/system").mkdir(parents=True)
    assert unseen(unit.checks(node)[0].look) == "systemd is not running here"
    program = put(node, "/bin/systemctl", '#!/bin/sh\n[ "$1" = is-enabled ] && echo enabled || echo failed\n', 0o755)
    with_systemd = attrs.evolve(node, which=lambda _: str(program))
    enabled, active, _ = unit.checks(with_systemd)
    assert enabled.look() is None
    assert active.look().startswith("failed: systemctl start chef-failover.service")
    put(node, "/bin/systemctl", "", 0o755)
    assert active.run().is_ok in (None, False)


# --- all of it ------------------------------------------------------------------------------------------------------


def test_the_command_says_what_to_do_and_is_a_no(servers, tmp_path):
    path = write_config(tmp_path, servers)
    ended = run("check", "--node", "--config", path)
    assert ended.returncode == 1, ended.stderr
    lines = ended.stdout.splitlines()
    assert any(line.startswith("ok  clock of mainserver") for line in lines)
    assert any(line.startswith("--  key ") and "node.name is not set" in line for line in lines)
    assert any(line.startswith("!!  socket") and "systemctl start chef-failover" in line for line in lines)
    document = json.loads(run("check", "--node", "--json", "--config", path).stdout)
    assert {entry["ok"] for entry in document["node"]} == {True, False, None}
    with daemon(path):
        lines = run("check", "--node", "--config", path).stdout.splitlines()
    assert any(line == "ok  sidecar" for line in lines)
    assert any(line == "ok  socket" for line in lines)


def test_that_the_node_is_offline_is_said_first(node, monkeypatch):
    def nobody(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    nowhere = with_servers(node)
    probed = probe_all(attrs.evolve(nowhere.config, node=config.Node()), nowhere.machine)
    said = tables.check(probed, "config.yml")
    assert said.startswith("This node is offline: no name server answers.")
    found = diagnose(nowhere, probed)
    assert (found[0].subject, found[0].is_ok) == ("network", False)
    assert found[0].detail.startswith("this node is offline: no name server answers; check ip route")


@pytest.mark.skipif(not IS_ROOT, reason="needs root to become somebody else")
def test_without_privileges_it_says_what_it_could_not_see(servers, tmp_path, monkeypatch):
    parsed = config.load(write_config(tmp_path, servers, node="{name: web-1}"))
    locked = tmp_path / "locked"
    locked.mkdir()
    secret = locked / "client.pem"
    secret.write_bytes(PrivateKey.generate(2048).private_pem())
    secret.chmod(0o600)
    parsed = attrs.evolve(parsed, node=attrs.evolve(parsed.node, client_key=secret))
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and directory != directory.parent:
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) | 0o011)
    why = "node.client_key: Permission denied"
    probed = {"signed": False, "unsigned": why, "offline": None, "node_name": "web-1", "servers": [ENTRY]}
    os.seteuid(65534)
    try:
        found = diagnose(Node(parsed, tmp_path / "config.yml", root=tmp_path), probed)
    finally:
        os.seteuid(0)
    by_subject = {one.subject: one for one in found}
    assert by_subject["key"].is_ok is None
    assert "run this as root" in by_subject["key"].detail
