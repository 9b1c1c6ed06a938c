"""Profiles of ~/.chef/credentials, as knife reads them."""

import os
from pathlib import Path

import pytest

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.errors import CredentialsError, KeyFileError
from chef_failover.fleet.credentials import from_options, from_profiles, from_text

KEY = PrivateKey.generate()
URL = "https://chef.example.com/organizations/acme"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "alice.pem").write_bytes(KEY.private_pem())
    path = tmp_path / "credentials"
    path.write_text(f"""
[default]
client_name     = "alice"
client_key      = "alice.pem"
chef_server_url = "{URL}/"

[standby]
node_name = "bob"
client_key = '''
{KEY.private_pem().decode()}'''
chef_server_url = "https://standby.example.com/organizations/acme"

[default.knife]
ssh_user = "root"

['odd']
client_name = "alice"
""")
    return path


def test_profiles_give_accounts(path):
    one, two = from_profiles(path, ("default", "standby"), {})
    assert (one.label, one.chef_server_url, one.user) == ("default", URL, "alice")
    assert (two.label, two.user) == ("standby", "bob")
    assert one.key.public_pem() == two.key.public_pem() == KEY.public_pem()
    assert "PRIVATE" not in repr(two)


def test_all_profiles_of_a_text_give_accounts_and_no_message_shows_a_key():
    pem = KEY.private_pem().decode()
    profile = '[{}]\nclient_name = "alice"\nclient_key = """{}"""\nchef_server_url = "{}"\n'
    text = profile.format("main", f"\n  {pem}", URL) + profile.format("standby", pem, URL)
    assert [(one.label, one.user) for one in from_text(text, "the secret")] == [("main", "alice"), ("standby", "alice")]
    with pytest.raises(CredentialsError, match="the secret has no profile"):
        from_text('client_name = "alice"', "the secret")
    with pytest.raises(CredentialsError, match="the secret: Invalid"):
        from_text("{", "the secret")
    for key in ("alice.pem", pem.replace("-----BEGIN", ""), pem[:300]):
        with pytest.raises(KeyFileError, match=r"^the secret: profile main: client_key: ") as raised:
            from_text(profile.format("main", key, URL), "the secret")
        assert key[:20] not in str(raised.value)


def test_the_usual_profile_is_that_of_the_environment_the_context_or_default(path):
    def usual(environ):
        return from_profiles(path, (), environ)[0].label

    assert usual({}) == "default"
    (path.parent / "context").write_text("standby\n")
    assert usual({}) == "standby"
    assert usual({"CHEF_PROFILE": "default"}) == "default"


def test_a_mistake_is_told_with_its_place(path):
    with pytest.raises(CredentialsError, match="has no profile 'prod'; it has: default, standby, odd"):
        from_profiles(path, ("prod",), {})
    with pytest.raises(CredentialsError, match="profile odd: client_key is missing"):
        from_profiles(path, ("odd",), {})
    (path.parent / "alice.pem").unlink()
    with pytest.raises(KeyFileError, match="alice.pem: No such file"):
        from_profiles(path, (), {})
    path.write_text("[default\n")
    with pytest.raises(CredentialsError, match=r"credentials: .*line 1"):
        from_profiles(path, (), {})
    path.unlink()
    with pytest.raises(CredentialsError, match="No such file or directory; write it, or give --server"):
        from_profiles(path, (), {})


def test_a_key_that_is_none_is_told_without_it(path):
    path.write_text(f'[default]\nclient_name="a"\nclient_key="-----BEGIN secret"\nchef_server_url="{URL}"\n')
    with pytest.raises(KeyFileError, match="profile default: client_key: ") as raised:
        from_profiles(path, (), {})
    assert "secret" not in str(raised.value)


def test_a_context_that_is_no_text_is_told(path):
    context = path.parent / "context"
    context.write_bytes(b"prod\xff")
    with pytest.raises(CredentialsError, match=r"context: .*can't decode"):
        from_profiles(path, (), {})
    context.unlink()
    os.mkfifo(context)
    with pytest.raises(CredentialsError, match="context: it is a pipe or a device, not a file"):
        from_profiles(path, (), {})


def test_a_path_in_the_home_of_no_user_is_told(path):
    path.write_text(f'[default]\nclient_name="a"\nclient_key="~no-such-user/a.pem"\nchef_server_url="{URL}"\n')
    for ask in (
        lambda: from_profiles(path, (), {}),
        lambda: from_profiles(Path("~no-such-user/credentials"), (), {}),
        lambda: from_options(URL, "alice", Path("~no-such-user/a.pem")),
    ):
        with pytest.raises(CredentialsError, match="~no-such-user/.*: Could not determine home directory"):
            ask()


def test_credentials_that_are_nested_without_end_are_told(path):
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(CredentialsError, match="credentials: "):
        from_profiles(path, (), {})


def test_the_command_line_gives_an_account_whole(path):
    account = from_options(URL, "alice", path.parent / "alice.pem")
    assert (account.label, account.chef_server_url, account.user) == (URL, URL, "alice")
    with pytest.raises(CredentialsError, match="not encrypted"):
        from_options("http://chef.example.com", "alice", path.parent / "alice.pem")
