"""A gateway on a disk of its own, whose processes can be met at a point and harmed there."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.faults.mail_server import MailServer
from tests.faults.points import POINTS, Point
from tests.gateway import RunningGateway, short_place

SITE = Path(__file__).parent / "site"
CONNECTIONS = 2
_DISK = "96m"
_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
SETTINGS = {
    "handoff.connections": CONNECTIONS, "delivery.first_retry_seconds": 1,
    "delivery.longest_retry_seconds": 1, "bounce.limit": 10**6,
    "policy.postings_an_hour": 10**6,
}  # fmt: skip


def has_disks() -> bool:
    """Whether a file system can be mounted: by root."""
    return os.geteuid() == 0


def has_clocks() -> bool:
    """Whether Debian's libfaketime is there."""
    return bool(_FAKETIME)


def faked_clock(file: Path) -> dict[str, str]:
    """The environment of processes whose clock a file sets, as faketime(1) has it."""
    return {
        "LD_PRELOAD": str(_FAKETIME[-1]), "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }  # fmt: skip


class Machine(RunningGateway):
    """clock: its processes' clock can be set. settings: beside SETTINGS."""

    def __init__(
        self, name: str, settings: Mapping[str, object] | None = None, *, clock: bool = False
    ) -> None:
        place = short_place(name)
        if has_disks():
            options = ["-t", "tmpfs", "-o", f"size={_DISK},mode=0700", "tmpfs", str(place)]
            subprocess.run(["mount", *options], check=True)
        self.mail_server = MailServer()
        handoff = {"handoff.to": f"smtp://127.0.0.1:{self.mail_server.port}"}
        super().__init__(place, settings={**SETTINGS, **handoff, **(settings or {})}, quick=False)
        self.expected: frozenset[str] = frozenset()  # recipients of a copy
        self.has_clock = clock and has_clocks()
        self.faults = place / "faults"
        self.faults.mkdir()
        (self.faults / "targets").write_text("\n".join({point.target for point in POINTS}))
        self.set_clock("+0")

    def close(self) -> None:
        self.stop_disk_full()
        with suppress(ProcessLookupError):
            for pid in self.agents():
                os.kill(pid, signal.SIGKILL)
        super().close()
        self.mail_server.close()
        if has_disks():
            subprocess.run(["umount", "-l", str(self.place)], check=True)
            self.place.rmdir()

    # A point: planned, reached, left.

    def plan(self, point: Point, what: str) -> None:
        for name in ("plan", "taken", "armed", "reached", "go"):
            (self.faults / name).unlink(missing_ok=True)
        new = self.faults / "plan.new"
        new.write_text(f"{point.target} {point.when} {what}")
        new.replace(self.faults / "plan")

    def reached(self, patience: float) -> int | None:
        """The id of the process that is at the point; None where none came in time."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with suppress(FileNotFoundError, ValueError):
                return int((self.faults / "reached").read_text())
            time.sleep(0.005)
        return None

    def go_on(self) -> None:
        """Let whoever is at the point, or comes there still, pass."""
        (self.faults / "plan").unlink(missing_ok=True)
        (self.faults / "armed").unlink(missing_ok=True)
        (self.faults / "go").touch()

    # Its processes.

    @property
    def is_up(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def power_off(self) -> None:
        """SIGKILL to all of it but gpg-agent, in no time; nobody has the database open then."""
        self.forget_database()
        self.kill()
        while self.others():
            time.sleep(0.01)

    def start_again_if_gone(self) -> None:
        """What a service manager does."""
        if not self.is_up:
            if self._server is not None:
                self._reap()
            self.start()

    def forget_database(self) -> None:
        """Close this process's connection while the server has one, so that it is not the last."""
        self._close_database()

    def agents(self) -> list[int]:
        home = os.fsencode(self.state / "gnupg")
        return [pid for pid, words in _processes() if words[0] == b"gpg-agent" and home in words]

    def worker(self) -> int | None:
        """The id of its one delivery worker; None while it has none."""
        return next((pid for pid, words in self._own() if b"worker" in words), None)

    def others(self) -> list[int]:
        """Ids of its processes but for gpg-agent."""
        return [pid for pid, _ in self._own()]

    def _own(self) -> list[tuple[int, list[bytes]]]:
        state = os.fsencode(self.state)
        return [one for one in _processes() if b"gateway" in one[1] and state in one[1]]

    # Its disk, memory, clock and write-ahead log.

    def fill_disk(self) -> None:
        block = bytes(2**16)
        for size in (len(block), 1):
            with (self.place / "filled").open("ab", buffering=0) as stream, suppress(OSError):
                while stream.write(block[:size]):
                    pass

    def stop_disk_full(self) -> None:
        (self.place / "filled").unlink(missing_ok=True)

    def starve_agent(self) -> None:
        """Put a new gpg-agent in the place of the one that there is, without any memory beyond
        what it has at its start: what it asks for then, it is refused (ENOMEM)."""
        for pid in self.agents():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        home = ["--homedir", str(self.state / "gnupg")]
        subprocess.run(["gpg-agent", *home, "--daemon"], capture_output=True, check=False)
        self._limit_agents(lambda pid: int(Path(f"/proc/{pid}/statm").read_text().split()[0]))

    def feed_agent(self) -> None:
        self._limit_agents(lambda _: resource.RLIM_INFINITY)

    def _limit_agents(self, pages: Callable[[int], int]) -> None:
        for pid in self.agents():
            with suppress(ProcessLookupError, FileNotFoundError, ValueError):
                most = resource.prlimit(pid, resource.RLIMIT_AS)[1]
                soft = pages(pid) * resource.getpagesize() if pages(pid) > 0 else most
                resource.prlimit(pid, resource.RLIMIT_AS, (soft, most))

    def set_clock(self, by: str) -> None:
        """by: as faketime(1) has it, such as "+1d", from what it is truly."""
        new = self.faults / "clock.new"
        new.write_text(by + "\n")
        new.replace(self.faults / "clock")

    def tear_log(self) -> None:
        """Zeros in the second half of the last valid frame of SQLite's write-ahead log, as from a
        power cut while it was written. https://www.sqlite.org/fileformat2.html#walformat"""
        file = self.state / "environet.sqlite-wal"
        data = bytearray(file.read_bytes()) if file.exists() else bytearray()
        size = 24 + int.from_bytes(data[8:12], "big")
        starts = range(32, len(data) - size + 1, size)
        valid = [at for at in starts if data[at + 8 : at + 16] == data[16:24]]
        if valid:
            data[valid[-1] + size // 2 : valid[-1] + size] = bytes(size - size // 2)
            file.write_bytes(data)

    @property
    def _environment(self) -> dict[str, str]:
        faked = faked_clock(self.faults / "clock") if self.has_clock else {}
        place = {"PYTHONPATH": str(SITE), "FAULTS_PLACE": str(self.faults)}
        return {**super()._environment, **place, **faked}


def _processes() -> list[tuple[int, list[bytes]]]:
    """(id, command line) of all that run; those that have ended and wait to be heard have none."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[0]:
                found.append((int(folder.name), words))
    return found
