"""The certificates that are trusted, as files that come, go, change and may not be read; for the rest see the zoo."""

import logging

import pytest

from chef_devserver.authority import Authority
from chef_failover.chef import installed
from chef_failover.chef.trust import TrustStore


@pytest.fixture(scope="module")
def ca_pem():
    return Authority().ca_pem


@pytest.fixture
def certs(tmp_path):
    folder = tmp_path / "trusted_certs"
    folder.mkdir()
    return folder


def subjects(trust):
    return len(trust.context.get_ca_certs())


@pytest.mark.usefixtures("nobody")
def test_a_chmod_counts_as_a_change(tmp_path, ca_pem):
    folder = tmp_path / "trusted_certs"
    folder.mkdir()
    place = folder / "ca.pem"
    place.write_bytes(ca_pem)
    store = TrustStore((folder,), root=tmp_path)
    whole = store.read(None)
    assert whole.forbidden == ()
    for closed, mode in [(place, 0o644), (folder, 0o755), (tmp_path, 0o755)]:
        closed.chmod(0)
        try:
            less = store.read(None)
        finally:
            closed.chmod(mode)
        assert subjects(less) < subjects(whole)
        assert str(folder) in less.forbidden[-1]
        again = store.read(None)
        assert (again.forbidden, subjects(again)) == ((), subjects(whole))


@pytest.mark.usefixtures("nobody")
def test_what_may_not_be_read_is_said_once_with_what_to_do(tmp_path, ca_pem, caplog):
    folder = tmp_path / "chef/trusted_certs"
    folder.mkdir(parents=True)
    (folder / "ca.pem").write_bytes(ca_pem)
    store = TrustStore((folder,), root=tmp_path)
    folder.parent.chmod(0)
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                store.look(None)
                store.look(tmp_path / "missing.pem")
    finally:
        folder.parent.chmod(0o755)
    missing, closed = sorted(caplog.messages)
    assert closed.startswith(f"chef-client trusts {folder}, but the sidecar cannot read it (Permission denied): chgrp ")
    assert closed.endswith(f" {folder.parent} && chmod g+x {folder.parent}")
    assert missing == f"cannot trust {tmp_path}/missing.pem: No such file or directory"


@pytest.mark.usefixtures("nobody")
def test_certificates_that_may_not_be_read_are_said_in_one_sentence(certs, ca_pem):
    places = [certs / name for name in ("a.crt", "b.pem", "c.pem")]
    for place in places:
        place.write_bytes(ca_pem)
        place.chmod(0)
    (said,) = TrustStore((certs,), root=certs).read(None).forbidden
    assert said.startswith(f"chef-client trusts {places[0]} and 2 more, but the sidecar cannot read them (Permission ")
    assert said.endswith(f" && chmod g+r {' '.join(map(str, places))}")


@pytest.mark.usefixtures("nobody")
def test_a_group_without_a_name_has_its_number(tmp_path, ca_pem, monkeypatch):
    place = tmp_path / "ca.pem"
    place.write_bytes(ca_pem)
    place.chmod(0)
    monkeypatch.setattr("os.getegid", lambda: 4242424)
    words = TrustStore((), root=tmp_path).read(place).forbidden
    assert words[0].endswith(f": chgrp 4242424 {place} && chmod g+r {place}")


def test_a_certificate_that_comes_and_goes(certs, ca_pem):
    store = TrustStore((certs.parent / "nowhere", certs))
    without = store.read(None)
    assert store.read(None) is without
    (certs / "ca.pem").write_bytes(ca_pem)
    assert subjects(store.read(None)) == subjects(without) + 1
    (certs / "ca.pem").unlink()
    assert store.read(None) is without


@pytest.mark.parametrize(
    ("files", "commands", "product", "openssl"),
    [
        ([], [], "chef", None),
        ([], ["cinc-client"], "cinc", None),
        ([], ["chef-client"], "chef", None),
        ([], ["chef-client", "cinc-client"], "chef", None),
        (["opt/chef/bin/chef-client"], [], "chef", "opt/chef/embedded/ssl"),
        (["opt/cinc/bin/cinc-client"], ["cinc-client", "chef-client"], "cinc", "opt/cinc/embedded/ssl"),
        (["opt/cinc/bin/cinc-client", "opt/chef/bin/chef-client"], [], "chef", "opt/chef/embedded/ssl"),
        (["opt/chef/embedded/ssl/cert.pem"], ["cinc-client"], "cinc", None),
        (
            [f"hab/pkgs/core/cacerts/{of}/1/ssl/cert.pem" for of in ("2024.03.11", "2025.12.02")]
            + ["hab/pkgs/chef/chef-infra-client/19.1.164/1/bin/chef-client"],
            ["chef-client"],
            "chef",
            "hab/pkgs/core/cacerts/2025.12.02/1/ssl",
        ),
        (["hab/pkgs/core/cacerts/2024.03.11/1/ssl/cert.pem"], ["cinc-client"], "cinc", None),
    ],
)
def test_whose_client_is_installed(tmp_path, files, commands, product, openssl):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = installed.client(tmp_path, lambda name: f"/usr/bin/{name}" if name in commands else None)
    assert found == installed.Client(product, tmp_path / openssl if openssl else None)
