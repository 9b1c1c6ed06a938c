"""Careful reads and whole writes, where others may have laid something in their way."""

import os
import socket
import stat

import pytest

from chef_failover import files


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2048)
    assert files.read(path, 2048) == b"x" * 2048
    with pytest.raises(OSError, match="longer than 1 KiB"):
        files.read(path, 1024)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="longer than 1 KiB"):
        files.read(path, 1024)


def pipe(path):
    os.mkfifo(path)


def bound(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize(
    ("lay", "said"),
    [
        (lambda path: None, "No such file"),
        (pipe, "a pipe or a device"),
        (lambda path: path.mkdir(), "Is a directory"),
        (bound, "No such device or address"),
        (lambda path: path.symlink_to("/dev/zero"), "a symbolic link"),
        (lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"),
        (lambda path: path.symlink_to(path), "a symbolic link"),
    ],
    ids=["nothing", "pipe", "directory", "socket", "endless", "elsewhere", "circle"],
)
def test_what_lies_in_the_place_of_a_file_is_told_and_not_read(tmp_path, lay, said):
    path = tmp_path / "file"
    lay(path)
    with pytest.raises(OSError, match=r".") as raised:
        files.read(path, 1024)
    assert said in raised.value.strerror


def test_where_only_root_lays_links_they_are_followed_but_to_nothing_endless(tmp_path):
    (tmp_path / "real").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert files.read(tmp_path / "link", 1024, may_be_link=True) == b"text"
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="a pipe or a device"):
        files.read(tmp_path / "zero", 1024, may_be_link=True)


@pytest.mark.parametrize(
    "lay",
    [pipe, lambda path: path.symlink_to(path.with_name("victim")), lambda path: path.write_text("of a crash")],
    ids=["pipe", "link", "file"],
)
def test_nothing_laid_where_a_new_content_is_written_is_written_to(tmp_path, lay):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    lay(tmp_path / ".file.new")
    files.replace(tmp_path / "file", b"new")
    assert ((tmp_path / "file").read_text(), victim.read_text()) == ("new", "precious")
    found = (tmp_path / "file").lstat()
    assert (stat.S_ISREG(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o644)
