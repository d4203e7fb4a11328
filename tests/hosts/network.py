"""Hosts on a network of the tests' own: Linux network namespaces around a switch in another one.

with Network() as network:
    db, gateway = network.host(), network.host()
    subprocess.run([*gateway.words, "ping", "-c1", db.address])
    gateway.cut_off(db)

Nothing of it touches this machine's own network.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Self

_NET = "10.77.0"  # within the namespaces alone
_CLONE_NEWNET = 0x40000000
_PLACE = Path("/run/netns")
_NUMBERS = count(1)


@cache
def has_networks() -> bool:
    """Whether such hosts can be made: by root, with Debian's iproute2 and nftables."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("nft")):
        return False
    name = f"environet-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    rules = ["ip", "netns", "exec", name, "nft", "add table inet cut"]
    works = subprocess.run(rules, capture_output=True, check=False).returncode == 0
    _run("ip", "netns", "del", name)
    return works


class Host:
    """address: its IPv4 address. words: what makes a command run on it."""

    def __init__(self, switch: str, number: int) -> None:
        self.address = f"{_NET}.{number}"
        self._name = f"{switch}-{number}"
        self._switch, self._port = switch, f"port{number}"
        self.words = ("ip", "netns", "exec", self._name)
        _run("ip", "netns", "add", self._name)
        _run("ip", "-n", switch, "link", "add", self._port, "type", "veth", "peer", "name", "eth0",
             "netns", self._name)  # fmt: skip
        _run("ip", "-n", switch, "link", "set", self._port, "master", "bridge", "up")
        _run("ip", "-n", self._name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("ip", "-n", self._name, "link", "set", device, "up")
        _run(*self.words, "nft", "add table inet cut; add chain inet cut input "
             "{ type filter hook input priority 0; }")  # fmt: skip

    def cut_off(self, other: Host) -> None:
        """Whatever either sends to the other vanishes, as in a network that has come apart."""
        for one, peer in ((self, other), (other, self)):
            _run(*one.words, "nft", f"add rule inet cut input ip saddr {peer.address} drop")

    def mend(self) -> None:
        """All that comes arrives again."""
        _run(*self.words, "nft", "flush chain inet cut input")

    def unplug(self) -> None:
        _run("ip", "-n", self._switch, "link", "set", self._port, "down")

    def plug_in(self) -> None:
        _run("ip", "-n", self._switch, "link", "set", self._port, "up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread opens meanwhile are the host's."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(namespace: int) -> None:
            if libc.setns(namespace, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

        with (
            Path("/proc/thread-self/ns/net").open() as own,
            (_PLACE / self._name).open() as there,
        ):
            enter(there.fileno())
            try:
                yield
            finally:
                enter(own.fileno())

    def remove(self) -> None:
        _run("ip", "netns", "del", self._name)


class Network:
    """A switch, and the hosts at it."""

    def __init__(self) -> None:
        self._switch = f"environet-{os.getpid()}-{next(_NUMBERS)}"
        self._hosts: list[Host] = []
        _run("ip", "netns", "add", self._switch)
        _run("ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", self._switch, "link", "set", "bridge", "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.remove()
        _run("ip", "netns", "del", self._switch)

    def host(self) -> Host:
        made = Host(self._switch, len(self._hosts) + 1)
        self._hosts.append(made)
        return made


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)}: {done.stderr}")
