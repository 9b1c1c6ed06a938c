"""A machine made from another's disk does not go on as that other."""

import datetime
import json
import os

import pytest

from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.config import settings as config
from chef_failover.engine.sidecar import Sidecar
from chef_failover.node import clone, key_file
from chef_failover.node.machine import Machine
from chef_failover.state import document as state
from tests.support.crash import deaths
from tests.support.daemon_process import until

NOW = datetime.datetime(2026, 11, 22, 12, 0, tzinfo=datetime.UTC)
A, B, C = (f"i-{letter * 17}" for letter in "abc")


@pytest.fixture(scope="module")
def key():
    return PrivateKey.generate()


def of(directory, instance_id, **more):
    state.write(directory / "state.json", {"instance_id": instance_id, **more})
    return (directory / "state.json").read_bytes()


def files(directory):
    paths = (path for path in directory.iterdir() if path.name != key_file.LOCK_NAME)
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize(("recorded", "now"), [(A, A), (None, B), (A, None), (None, None), ("../../x", B), (5, B)])
def test_nothing_is_set_aside_on_the_same_machine_or_in_doubt(tmp_path, key, recorded, now):
    of(tmp_path, recorded)
    key_file.create(tmp_path, key)
    before = files(tmp_path)
    assert clone.set_aside(tmp_path, now, NOW) is None
    assert files(tmp_path) == before


def test_nothing_is_set_aside_where_there_is_nothing(tmp_path):
    assert clone.set_aside(tmp_path, A, NOW) is None
    assert clone.set_aside(tmp_path / "gone", A, NOW) is None
    (tmp_path / "state.json").write_text("{")
    assert clone.set_aside(tmp_path, A, NOW) is None
    assert files(tmp_path) == {"state.json": b"{"}


def test_state_and_our_key_are_kept_under_the_name_of_their_instance(tmp_path, key):
    written = of(tmp_path, A)
    key_file.create(tmp_path, key)
    said = clone.set_aside(tmp_path, B, NOW)
    kept = f"client.pem.of-{A}, client.pub.of-{A}, state.json.of-{A}"
    assert said == f"this is {B}, cloned from {A}: starting fresh; set aside in {tmp_path}: {kept}"
    assert "\n" not in said
    assert files(tmp_path) == {
        f"client.pem.of-{A}": key.private_pem(),
        f"client.pub.of-{A}": key.public_pem(),
        f"state.json.of-{A}": written,
    }
    assert (tmp_path / f"client.pem.of-{A}").stat().st_mode & 0o777 == 0o600


def test_a_key_that_somebody_else_put_there_stays(tmp_path, key):
    of(tmp_path, A)
    (tmp_path / "client.pem").write_bytes(key.private_pem())
    clone.set_aside(tmp_path, B, NOW)
    assert sorted(files(tmp_path)) == ["client.pem", f"state.json.of-{A}"]
    of(tmp_path, A)
    (tmp_path / "client.pub").write_bytes(PrivateKey.generate().public_pem())  # of one that we made before it
    clone.set_aside(tmp_path, B, NOW)
    assert (tmp_path / "client.pem").read_bytes() == key.private_pem()


def test_a_clone_of_a_clone_and_the_same_again_overwrite_nothing(tmp_path):
    keys = []
    for former, now in ((A, B), (B, C), (C, A), (A, B), (B, A), (A, B)):
        of(tmp_path, former)
        keys.append(PrivateKey.generate())
        key_file.create(tmp_path, keys[-1])
        assert clone.set_aside(tmp_path, now, NOW)
        assert clone.set_aside(tmp_path, now, NOW) is None
    kept = files(tmp_path)
    assert sorted(name for name in kept if name.startswith("client.pem")) == [
        *(f"client.pem.of-{A}", f"client.pem.of-{A}.2", f"client.pem.of-{A}.3"),
        *(f"client.pem.of-{B}", f"client.pem.of-{B}.2", f"client.pem.of-{C}"),
    ]
    assert {kept[name] for name in kept if name.startswith("client.pem")} == {key.private_pem() for key in keys}
    assert len(kept) == 18


WALK = """
import datetime
from pathlib import Path
from chef_failover.node import clone
def act():
    clone.set_aside(Path({directory!r}), {instance!r}, datetime.datetime.now(datetime.UTC))
"""


def test_kill_9_at_every_step_is_resumed(tmp_path, key):
    seen = set()
    of(tmp_path, A)
    key_file.create(tmp_path, key)
    for step in deaths(WALK.format(directory=str(tmp_path), instance=B), "clone.py"):
        left = files(tmp_path)
        seen.add(tuple(sorted(left)))
        assert [left[name] for name in left if name.startswith("client.pem")] == [key.private_pem()], step
        assert sum(name.startswith("state.json") for name in left) == 1, step
        clone.set_aside(tmp_path, B, NOW)
        after = files(tmp_path)
        assert after.keys() - {"client.pub", f"client.pub.of-{A}"} == {f"client.pem.of-{A}", f"state.json.of-{A}"}, step
        for path in tmp_path.iterdir():
            path.unlink()
        of(tmp_path, A)
        key_file.create(tmp_path, key)
    assert len(seen) == 4  # nothing moved, the key, its public half, all


def test_what_cannot_be_set_aside_is_said_and_tried_again(tmp_path, key, monkeypatch):
    of(tmp_path, A)
    key_file.create(tmp_path, key)
    before = files(tmp_path)

    def refuse(source, target):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        said = clone.set_aside(tmp_path, B, NOW)
    assert said.endswith("cannot be set aside (Read-only file system); this node continues as i-aaaaaaaaaaaaaaaaa")
    assert files(tmp_path) == before
    assert "starting fresh" in clone.set_aside(tmp_path, B, NOW)


# --- in a sidecar


def a_sidecar(directory, instance_id, asked=None):
    def instance(pattern):
        if asked is not None:
            asked.append(pattern)
        return instance_id

    return Sidecar(config.parse(f"state_dir: {directory}\nnode: {{name: web-1}}"), Machine(instance_id=instance))


def recorded(directory):
    return state.peek(directory / "state.json", NOW).instance_id


def test_a_new_sidecar_writes_down_at_once_where_it_runs(tmp_path):
    asked = []
    sidecar = a_sidecar(tmp_path, A, asked)
    sidecar.start()
    until(lambda: recorded(tmp_path) == A)
    sidecar.stop()
    assert asked == ["web-1"]


def test_one_that_runs_elsewhere_begins_anew_and_says_so_once(tmp_path, key, caplog):
    of(tmp_path, A, choice=None)
    key_file.create(tmp_path, key)
    sidecar = a_sidecar(tmp_path, B)
    sidecar.start()
    until(lambda: recorded(tmp_path) == B)
    sidecar.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.text.count("starting fresh") == 1
    assert (tmp_path / f"client.pem.of-{A}").read_bytes() == key.private_pem()
    assert sidecar.about.client_key is None


@pytest.mark.parametrize("now", [None, A])
def test_what_is_recorded_stays_when_it_cannot_be_found_out(tmp_path, now):
    of(tmp_path, A)
    sidecar = a_sidecar(tmp_path, now)
    sidecar._save()
    assert json.loads((tmp_path / "state.json").read_text())["instance_id"] == A


def test_what_could_not_be_set_aside_goes_on_being_the_others(tmp_path, monkeypatch):
    of(tmp_path, A)
    with monkeypatch.context() as patched:
        patched.setattr(clone, "_move", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        sidecar = a_sidecar(tmp_path, B)
    sidecar._save()
    assert recorded(tmp_path) == A
