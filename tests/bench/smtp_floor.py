"""What handing off a copy costs: our client beside Postfix's smtp-source, to the same smtp-sink.

Run `python tests/bench/smtp_floor.py [--record none|loop|thread]`. Prints copies a second and
microseconds a copy. The record does nothing, or commits the outcomes to SQLite
(synchronous=FULL), in the event loop or in a thread.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.delivery.handoff import Copy, Outcome, Record, parse

SBIN = "/usr/sbin:/usr/local/sbin"
# Size of a copy in bytes, and how many are sent.
LOADS = ((2_000, 10_000), (100_000, 2_000), (1_400_000, 200))
CONNECTIONS = (1, 4)
LINE = b"wcBMA9TqVx0mNfYkAQf+Lh0wJtq3l5HnXZbE7c2ovUy4sR8KdGmPiA1xT6gNwYe\r\n"


@contextmanager
def smtp_sink() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    with subprocess.Popen([_tool("smtp-sink"), *user, f"127.0.0.1:{port}", "100"]) as process:
        try:
            while process.poll() is None:
                with socket.socket() as trial:
                    if trial.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield port
        finally:
            process.kill()


def _tool(name: str) -> str:
    path = shutil.which(name, path=SBIN)
    if path is None:
        raise SystemExit(f"{name} is needed (Debian: apt install postfix)")
    return path


def ours(port: int, size: int, count: int, connections: int, record: Record) -> float:
    """Seconds for `count` copies that share their body, as the copies of a posting do."""
    body = LINE * (size // len(LINE))

    def copies() -> Iterator[Copy]:
        for number in range(count):
            head = b"Subject: [Waste] ...\r\nX-Copy: %d\r\n\r\n" % number
            parts = (head, body)
            yield Copy(
                number,
                f"bounce+{number}@lists.example",
                f"m{number}@customs.example",
                parts,
                len(head) + len(body),
            )

    async def main() -> float:
        handoff = parse(f"smtp://127.0.0.1:{port}", "lists.example", connections=connections)
        start = time.perf_counter()
        await handoff.deliver(copies(), record)
        seconds = time.perf_counter() - start
        await handoff.close()
        return seconds

    return asyncio.run(main())


def smtp_source(port: int, size: int, count: int, connections: int) -> float:
    """Seconds of Postfix's own load generator, connections kept open (-d)."""
    options = ["-d", "-s", str(connections), "-l", str(size), "-m", str(count)]
    addresses = ["-f", "bounce@lists.example", "-t", "m@customs.example"]
    start = time.perf_counter()
    command = [_tool("smtp-source"), *options, *addresses, f"127.0.0.1:{port}"]
    subprocess.run(command, check=True)
    return time.perf_counter() - start


async def none(outcomes: Sequence[Outcome]) -> None:
    assert all(one.state == "sent" for one in outcomes)


class Database:
    """An outbox of one table."""

    def __init__(self, directory: str) -> None:
        self._connection = sqlite3.connect(
            Path(directory) / "outbox.sqlite", isolation_level=None, check_same_thread=False
        )
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE outbox (id INTEGER PRIMARY KEY, state TEXT, reply TEXT);"
        )

    async def loop(self, outcomes: Sequence[Outcome]) -> None:
        self.thread(outcomes)

    def thread(self, outcomes: Sequence[Outcome]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?)",
            [(one.id, one.state, one.text) for one in outcomes],
        )
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", choices=("none", "loop", "thread"), default="none")
    chosen = parser.parse_args().record
    print(f"{'bytes':>9} {'connections':>11}  {'client':<12} {'copies/s':>9} {'µs/copy':>9}")
    with tempfile.TemporaryDirectory() as directory, smtp_sink() as port:
        database = Database(directory)
        records: dict[str, Record] = {
            "none": none,
            "loop": database.loop,
            "thread": database.thread,
        }
        for size, count in LOADS:
            for connections in CONNECTIONS:
                for client, seconds in (
                    ("gateway", ours(port, size, count, connections, records[chosen])),
                    ("smtp-source", smtp_source(port, size, count, connections)),
                ):
                    print(
                        f"{size:>9} {connections:>11}  {client:<12}"
                        f" {count / seconds:>9.0f} {seconds / count * 1e6:>9.0f}"
                    )
        database.close()


if __name__ == "__main__":
    main()
