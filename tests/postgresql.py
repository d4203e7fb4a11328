"""A PostgreSQL server of the tests' own, from Debian's package, on a socket in a temporary folder.

with running_server() as server:
    url = server.database("story")

with running_server(host.address, host.words) as server:  # on another host, by TCP too
    url = server.over_network(server.database("story"))

ENVIRONET_TEST_DATABASE=postgresql gives every gateway of the tests a database of its own there.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

_OWNER = "postgres"
_NUMBERS = count(1)


def is_chosen() -> bool:
    """Whether the tests are to run on PostgreSQL: ENVIRONET_TEST_DATABASE=postgresql."""
    return os.environ.get("ENVIRONET_TEST_DATABASE") == "postgresql"


of_sqlite = pytest.mark.skipif(is_chosen(), reason="is about a database of SQLite's")
"""Marks a test of what PostgreSQL does not have: the file, its PRAGMAs, its authorizer."""


def programs() -> Path | None:
    """Where initdb and pg_ctl are; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@dataclass(frozen=True, slots=True)
class Server:
    """socket: the folder of its socket, which is how it is reached. address: an IPv4 address at
    which it listens too. within: words before each command, which run it on another host. durable:
    whether it waits for the disk; what tests leave behind is thrown away anyhow."""

    bin: Path
    socket: Path
    address: str = ""
    within: tuple[str, ...] = ()
    durable: bool = False

    def start(self) -> None:
        options = f"-c listen_addresses='{self.address}' -c unix_socket_directories={self.socket}"
        options += f" -c fsync={'on' if self.durable else 'off'} -c max_connections=300"
        self._run("pg_ctl", "-w", "-l", self.socket / "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        main = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for pid in (main, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(Path(f"/proc/{pid}").exists() for pid in (main, *children)):
            time.sleep(0.02)

    def found(self) -> None:
        self._run("initdb", "-U", _OWNER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        if self.address:
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")

    @property
    def _data(self) -> Path:
        return self.socket / "data"

    def _run(self, program: str, *words: object) -> None:
        command = [str(self.bin / program), "-D", str(self._data), *map(str, words)]
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            command = ["runuser", "-u", _OWNER, "--", *command]
        command = [*self.within, *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/tmp")
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")

    def database(self, name: str) -> str:
        """Make a new database: its SQLAlchemy URL."""
        self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def fresh(self) -> str:
        """A new database with a name of its own: its SQLAlchemy URL."""
        return self.database(f"fresh_{next(_NUMBERS)}")

    def copy_of(self, url: str) -> str:
        """A new database with all that is in another, which nobody may be connected to."""
        name = f"fresh_{next(_NUMBERS)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {name_in(url)}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Whoever is connected to it is cut off."""
        self._execute(f"DROP DATABASE IF EXISTS {name_in(url)} WITH (FORCE)")

    def dump(self, url: str) -> bytes:
        """All of a database as SQL, which has a blob's octets in hexadecimal digits."""
        words = [str(self.bin / "pg_dump"), "-h", str(self.socket), "-U", _OWNER, name_in(url)]
        return subprocess.run(words, capture_output=True, check=True).stdout

    def url(self, name: str, role: str = _OWNER) -> str:
        return f"postgresql+psycopg://{role}@/{name}?host={self.socket}"

    def over_network(self, url: str) -> str:
        """The URL with which another host reaches the same database."""
        return f"postgresql+psycopg://{_OWNER}@{self.address}/{name_in(url)}"

    def _execute(self, statement: str) -> None:
        where = f"host={self.socket} user={_OWNER} dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement.encode())


def name_in(url: str) -> str:
    """The name of the database in one of the URLs above."""
    return make_url(url).database or ""


@cache
def shared_server() -> Server:
    """One for all gateways of this process, which ends with it."""
    ends = ExitStack()
    server = ends.enter_context(running_server())
    atexit.register(ends.close)
    return server


@contextmanager
def running_server(
    address: str = "", within: Sequence[str] = (), *, durable: bool = False
) -> Iterator[Server]:
    bin_ = programs()
    if bin_ is None:
        raise AssertionError("PostgreSQL is not installed: apt-get install postgresql")
    place = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    server = Server(bin_, place, address, tuple(within), durable)
    try:
        if os.geteuid() == 0:
            shutil.chown(place, _OWNER)
        server.found()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)
