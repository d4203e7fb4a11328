"""A PostgreSQL server of the tests' own, from Debian's package, on a socket in a temporary folder.

with running_server() as server:
    url = server.database("story")
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_OWNER = "postgres"


def programs() -> Path | None:
    """Where initdb and pg_ctl are; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@dataclass(frozen=True, slots=True)
class Server:
    """socket: the folder of its socket, which is how it is reached."""

    bin: Path
    socket: Path

    def database(self, name: str) -> str:
        """Make a new database: its SQLAlchemy URL."""
        _run(self.bin / "createdb", "-h", self.socket, "-U", _OWNER, name)
        return self.url(name)

    def url(self, name: str, role: str = _OWNER) -> str:
        return f"postgresql+psycopg://{role}@/{name}?host={self.socket}"


@contextmanager
def running_server() -> Iterator[Server]:
    bin_ = programs()
    if bin_ is None:
        raise AssertionError("PostgreSQL is not installed: apt-get install postgresql")
    place = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    data = place / "data"
    try:
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            shutil.chown(place, _OWNER)
        _run(bin_ / "initdb", "-D", data, "-U", _OWNER, "-A", "trust", "-E", "UTF8", "--no-locale",
             "--no-sync")  # fmt: skip
        options = f"-c listen_addresses='' -c unix_socket_directories={place} -c fsync=off"
        _run(bin_ / "pg_ctl", "-D", data, "-w", "-l", place / "log", "-o", options, "start")
        try:
            yield Server(bin_, place)
        finally:
            _run(bin_ / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run(*words: object) -> None:
    command = [str(one) for one in words]
    if os.geteuid() == 0:
        command = ["runuser", "-u", _OWNER, "--", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/tmp")
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
