"""Shared by all tests."""

import logging
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any host", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any host")  # how long an example takes is the host's affair

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as behind `&` in a script: what we start must not inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup():
    """Each test finds logging as in a new process, whatever one before it or a library has done with loggers."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    for name in [name for name in logging.Logger.manager.loggerDict if name.partition(".")[0] == "chef_failover"]:
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.disabled, logger.propagate = False, True
        logger.filters.clear()


@pytest.fixture(scope="session")
def contract():
    """The folder with the JSON that binds the API to the Ruby side."""
    return Path(__file__).parent / "contract"


@pytest.fixture(scope="module")
def servers():
    """Two embedded Chef servers, main and standby, running; whoever switches a fault on switches it off again."""
    from tests.support.daemon_process import dev_servers

    with dev_servers("mainserver", "standbyserver") as started:
        yield started


@pytest.fixture
def chef():
    """A Chef server of `tests.support.chef`, without answers so far: no request leaves this process."""
    import responses

    with responses.RequestsMock(assert_all_requests_are_fired=False) as answers:
        yield answers


@pytest.fixture
def aws_secret(monkeypatch, tmp_path):
    """AWS credentials in a file, and nothing else of AWS around; gives the secret in it."""
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    secret = "planted/AWS+secret0123456789abcdefghijkl"
    path = tmp_path / "aws-credentials"
    path.write_text(f"[default]\naws_access_key_id = AKIAPLANTED0000000\naws_secret_access_key = {secret}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    return secret


@pytest.fixture
def nobody(tmp_path):
    """The test runs as somebody without rights, whose ``tmp_path`` is."""
    if os.geteuid():
        yield
        return
    for directory in tmp_path.parents:
        if directory.stat().st_uid == 0 and directory != directory.parent:
            directory.chmod(directory.stat().st_mode | 0o011)
    os.chown(tmp_path, 65534, 65534)
    os.setegid(65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)
    os.setegid(0)
