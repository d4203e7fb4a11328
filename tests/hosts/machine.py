"""One machine of several: a gateway on a host of its own, and the mail server that they share."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.faults.machine import faked_clock
from tests.faults.mail_server import MailServer
from tests.gateway import RunningGateway, short_place
from tests.hosts.network import Host

LEASE_SECONDS = 10
CONNECTIONS = 2
WORKERS = 2
PORT = 2525
_SETTINGS = {
    "delivery.lease_seconds": LEASE_SECONDS, "delivery.batch": 10,
    "handoff.connections": CONNECTIONS, "delivery.longest_retry_seconds": 2,
    "policy.postings_an_hour": 10**6, "dkim.check": "false",
}  # fmt: skip
_STAYS = ("./machine", "*.lock", "S.*")
"""What of a state directory is one machine's own: docs/postgresql.md."""


def copy_state(of: Path, to: Path) -> None:
    """What makes another machine of the same gateway, as docs/postgresql.md has it."""
    to.mkdir(mode=0o700, exist_ok=True)
    left_out = [f"--exclude={one}" for one in _STAYS]
    packing = ["tar", "-C", str(of), *left_out, "-cf", "-", "."]
    packed = subprocess.run(packing, capture_output=True, check=True)
    subprocess.run(["tar", "-C", str(to), "-xpf", "-"], input=packed.stdout, check=True)


class SlowServer(MailServer):
    """A mail server that takes its time for each copy."""

    def __init__(self, seconds_a_copy: float) -> None:
        self._seconds = seconds_a_copy
        super().__init__()

    async def _is_gone(self, sender: str, recipients: list[str], data: bytes) -> bool:
        await asyncio.sleep(self._seconds)
        return await super()._is_gone(sender, recipients, data)


class ServerOnHost(SlowServer):
    """The same on a host of its own."""

    def __init__(self, host: Host, seconds_a_copy: float) -> None:
        self._host = host
        super().__init__(seconds_a_copy)

    def open(self) -> None:
        with self._host.inside():
            listening = socket.create_server((self._host.address, PORT))
        self.port = PORT
        self._server = self._run(asyncio.start_server(self._serve, sock=listening))


class GatewayMachine(RunningGateway):
    """One machine of the gateway, on a host of its own. clock: it can be set."""

    def __init__(
        self, name: str, host: Host, settings: Mapping[str, object], *, clock: bool = False
    ) -> None:
        self.host = host
        place = short_place(name)
        doors = {"smtp.listen": f"{host.address}:{PORT}"}
        super().__init__(place, settings={**_SETTINGS, **doors, **settings}, quick=False)
        self._clock = place / "clock" if clock else None
        self.set_clock("+0")

    def is_owner(self, name: str | None) -> bool:
        """Whether one of its workers has that name."""
        word = (self.state / "machine").read_text().partition(" ")[0]
        return name is not None and name.rpartition("/")[0].endswith(f"-{word}")

    def die(self) -> None:
        """As a machine does whose power is cut."""
        self.kill()
        self.end_agent()

    def set_clock(self, by: str) -> None:
        """by: as faketime(1) has it, such as "+1h", from what it is truly."""
        if self._clock is not None:
            new = self._clock.with_suffix(".new")
            new.write_text(by + "\n")
            new.replace(self._clock)

    def web_status(self) -> int:
        """What the archive's page for logging in is answered with."""
        page = f"http://127.0.0.1:{self.web_port}/login"
        with self.host.inside(), suppress(URLError), urlopen(page, timeout=60) as answer:
            return int(answer.status)
        return 0

    def _wait_for_web(self) -> None:
        with self.host.inside():
            super()._wait_for_web()

    @property
    def _command(self) -> list[str]:
        return [*self.host.words, sys.executable, "-m", "gateway", "--state", str(self.state)]

    @property
    def _environment(self) -> dict[str, str]:
        faked = faked_clock(self._clock) if self._clock is not None else {}
        return {**super()._environment, **faked}
