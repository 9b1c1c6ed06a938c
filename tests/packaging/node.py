"""Nodes for the tests: containers with a real systemd as PID 1, and dnf with what Amazon Linux 2023 would bring.

Neither machined nor a systemd on the host is needed. A node shares this process's network, which is a loopback that
nobody else has, so that servers started by a test are the node's, too.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.support.daemon_process import until

SYSTEM = {
    "bash": ("/bin/sh", "/bin/bash"),
    "findutils": (),
    "glibc": (),
    "openssl-libs": ("libcrypto.so.3()(64bit)",),
    "shadow-utils": ("/usr/sbin/useradd",),
    "systemd": ("/usr/bin/systemctl",),
}
"""What every system has, and what that provides: in the root of a node already, though not as RPMs."""
AVAILABLE = {
    "amzn2023": ("python3.11", "python3.12", "python3.13", "python3.14", "ruby3.2"),
    "el9": ("python3.11", "python3.12", "ruby"),
}
"""What dnf finds in the repositories of each; the ``python3`` of both is 3.9."""
ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")


def make_stubs(directory: Path, names: Iterable[str], release: str, arch: str, version: str = "1") -> None:
    """Empty packages with the names of a distribution's, and with what those provide."""
    directory.mkdir(parents=True, exist_ok=True)
    text = f"Name: stubs\nVersion: {version}\nRelease: 1.{release}\nSummary: A stub\nLicense: none\n%description\n"
    for name in names:
        provided = "".join(f"Provides: {what}\n" for what in SYSTEM.get(name, ()))
        text += f"%package -n {name}\nSummary: A stub\n{provided}%description -n {name}\n%files -n {name}\n"
    spec = directory / "stubs.spec"
    spec.write_text(text)
    rpmbuild = ["rpmbuild", "-bb", "--quiet", "--target", f"{arch}-linux", "--define", f"_rpmdir {directory}"]
    call(*rpmbuild, "--define", "_build_name_fmt %%{NAME}.rpm", "--define", f"_topdir {directory}", str(spec))
    spec.unlink()


class Node:
    """A container that is up. ``root`` is its file system, as seen from here."""

    def __init__(self, name: str, root: Path) -> None:
        self.root = root
        self._name = name
        self._groups = [Path("/sys/fs/cgroup", tree, name) for tree in ("systemd", "unified")]
        self._groups = [group for group in self._groups if group.parent.is_dir()] or [Path("/sys/fs/cgroup", name)]
        self.start()

    def start(self) -> None:
        """Boot, and wait until systemd has done what it does at boot."""
        for group in self._groups:
            group.mkdir(exist_ok=True)
        enter = "".join(f"echo $$ >{group}/cgroup.procs; " for group in self._groups)
        nspawn = (
            f"systemd-nspawn --quiet --register=no --keep-unit --machine={self._name} --directory={self.root} --boot "
            "--console=pipe --resolv-conf=off --timezone=off systemd.log_target=journal"
        )
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"{enter} exec setsid {nspawn}"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        until(self._is_booted, 60)

    def stop(self) -> None:
        """Shut down in order."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        for group in self._groups:
            for inner in sorted(group.rglob("*"), reverse=True):
                if inner.is_dir():
                    inner.rmdir()
            group.rmdir()

    def reboot(self) -> None:
        self.stop()
        self.start()

    def run(self, command: str, *, check: bool = True) -> str:
        """What a shell command prints there, both streams; it must succeed unless ``check`` is false."""
        return call(*self._entered(command), check=check)

    def popen(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self._entered(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def show(self, unit: str, name: str) -> str:
        return self.run(f"systemctl show --value -p {name} {unit}").strip()

    def dnf(self, command: str, *, check: bool = True) -> str:
        return self.run(f"dnf -y --setopt=pluginpath=/none --setopt=install_weak_deps=False {command}", check=check)

    def write(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def _entered(self, command: str) -> list[str]:
        init = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0]
        spaces = ["nsenter", "-t", init, "-m", "-u", "-i", "-p", "-C", "--"]
        return [*spaces, "/usr/bin/env", "-i", *ENVIRONMENT, "/bin/sh", "-c", command]

    def _is_booted(self) -> bool:
        assert self._process.poll() is None, self._process.stderr.read()
        with contextlib.suppress(IndexError, OSError):
            return self.run("systemctl is-system-running", check=False).strip() in ("running", "degraded")
        return False


@contextlib.contextmanager
def booted(root: Path, folder: Path, name: str):
    """A node on a layer over ``root``, which stays as it is."""
    folder.mkdir()
    layers = [folder / layer for layer in ("upper", "work", "merged")]
    for layer in layers:
        layer.mkdir()
    upper, work, merged = layers
    call("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={root},upperdir={upper},workdir={work}", str(merged))
    try:
        node = Node(name, merged)
        try:
            yield node
        finally:
            node.stop()
    finally:
        call("umount", str(merged))
        shutil.rmtree(folder, ignore_errors=True)


def call(*command: str | Path, check: bool = True, **more) -> str:
    """What ``command`` prints on both streams."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    assert done.returncode == 0 or not check, f"{' '.join(map(str, command))}: {done.stdout}"
    return str(done.stdout)
