"""A virtual machine made of an image, without KVM, that takes itself for an EC2 instance."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.image.metadata_service import Tree
from tests.image.vpc import instance_address, instance_mac
from tests.support.parts import require_program

BOOT_S = 1200.0
STOP_S = 300.0
ANSWER_S = 300.0
"""For one command. On a host with ten times more to do than processors, a login takes half a minute."""
LOGIN_S = 60
KERNEL = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off no_timer_check"
"""On a busy host, a timer that is emulated may fail the check."""
CPU = "Nehalem"
"""The least that Amazon Linux 2023 runs on (x86-64-v2). Wider vectors, as in ``max``, are quick in silicon only."""


class Instance:
    """``base`` is the folder with kernel, initrd and ssh key; ``image`` its disk, which stays as it is.

    ``kernel`` is more for the kernel's command line. Those with even numbers are Nitro's: their firmware has their id.
    """

    def __init__(self, number: int, base: Path, image: Path, folder: Path, kernel: str = "") -> None:
        self.number = number
        self.id = f"i-0{number:016x}"
        self.address = instance_address(number)
        self._base = base
        self._folder = folder
        self._kernel = f"{KERNEL} {kernel}"
        folder.mkdir()
        self.disk = folder / "disk.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(self.disk)]
        subprocess.run(create, check=True, timeout=60)
        self._process: subprocess.Popen[bytes] | None = None

    def metadata(self, user_data: str) -> Tree:
        """What the metadata service has of it."""
        mac = instance_mac(self.number)
        interface = {"device-number": "0", "interface-id": "eni-1", "mac": mac, "local-ipv4s": self.address}
        return {
            "meta-data": {
                "ami-id": "ami-1",
                "instance-id": self.id,
                "instance-type": "t3.small",
                "local-hostname": self.hostname,
                "local-ipv4": self.address,
                "mac": mac,
                "network": {"interfaces": {"macs": {mac: interface}}},
                "placement": {"availability-zone": "us-east-1a", "region": "us-east-1"},
                "public-keys": {"0": {"openssh-key": (self._base / "key.pub").read_text()}},
            },
            "user-data": user_data,
            "dynamic": {"instance-identity": {"document": '{"region": "us-east-1"}'}},
        }

    @property
    def hostname(self) -> str:
        return f"ip-{self.address.replace('.', '-')}"

    @property
    def console(self) -> str:
        return (self._folder / "console").read_text(errors="replace")

    @contextlib.contextmanager
    def running(self) -> Iterator[Instance]:
        uuid = f"ec2{self.number:05x}-0000-0000-0000-000000000000"  # how cloud-init knows that this is EC2
        command = [
            require_program("qemu-system-x86_64", "qemu-system-x86"),
            *("-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", CPU, "-smp", "2", "-m", "1024"),
            *("-nodefaults", "-display", "none", "-serial", f"file:{self._folder}/console"),
            *("-monitor", f"unix:{self._folder}/monitor,server=on,wait=off"),
            *("-uuid", uuid, "-smbios", f"type=1,manufacturer=Amazon EC2,product=t3.small,serial={uuid}"),
            *(("-smbios", f"type=2,manufacturer=Amazon EC2,asset={self.id}") if self.number % 2 == 0 else ()),
            *("-kernel", f"{self._base}/vmlinuz", "-initrd", f"{self._base}/initrd.img", "-append", self._kernel),
            *("-drive", f"if=none,id=d,file={self.disk},cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=d", "-device", "virtio-rng-pci"),
            *("-netdev", f"tap,id=n,ifname=tap{self.number},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n,mac={instance_mac(self.number)},romfile="),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            yield self
        finally:
            self._process.kill()
            self._process.wait(30)

    @contextlib.contextmanager
    def halted(self) -> Iterator[None]:
        """It takes no processor within, and goes on afterwards."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def power_off(self) -> None:
        """As EC2 stops an instance: by the power button. Its disk is whole afterwards."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(f"{self._folder}/monitor")
            monitor.sendall(b"system_powerdown\n")
            assert self._process is not None
            self._process.wait(STOP_S)

    def run(self, command: str) -> str:
        """What a shell command prints there, run as root; an error if it fails."""
        ran = self.attempt(command)
        assert ran.returncode == 0, f"{self.id}: {command}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout.strip()

    def attempt(self, command: str, timeout_s: float = ANSWER_S) -> subprocess.CompletedProcess[str]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        options.append(f"ConnectTimeout={LOGIN_S}")
        ssh = ["ssh", "-i", str(self._base / "key"), *(word for option in options for word in ("-o", option))]
        remote = ["sudo", "sh", "-c", f"'{command}'"]
        return subprocess.run(
            [*ssh, f"ec2-user@{self.address}", *remote],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def wait_for_boot(self, *, after: str = "") -> str:
        """The id of the boot that is going on, once ssh answers; another than ``after``."""
        limit = time.monotonic() + BOOT_S
        while True:
            assert self._process is not None
            assert self._process.poll() is None, self.console
            with contextlib.suppress(subprocess.TimeoutExpired):
                ran = self.attempt("cat /proc/sys/kernel/random/boot_id", LOGIN_S)
                if ran.returncode == 0 and ran.stdout != after:
                    return ran.stdout
            assert time.monotonic() < limit, self.console
            time.sleep(0.5)
