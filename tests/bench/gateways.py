"""A gateway with a crowd of subscribers for the benches: founded, served, watched from outside."""

from __future__ import annotations

import base64
import os
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gateway.app import App, utc_now
from gateway.founding import found
from gateway.store import mailing_list
from gateway.store.outbox import Delivery, OutboxEntry
from tests.bench.people import Person, enrol
from tests.officers import Officer
from tests.postgresql import Server

DOMAIN = "environet.example"
LIST = f"wildlife@{DOMAIN}"
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def founded(
    state: Path, author: Officer, people: Sequence[Person], sink: int, database: str = ""
) -> Iterator[App]:
    """Its copies go to the sink's port. database: URL of one on PostgreSQL."""
    chosen = {
        "domain": DOMAIN,
        "smtp.listen": "127.0.0.1:0",
        "web.listen": "",
        "handoff.to": f"smtp://127.0.0.1:{sink}",
        "upkeep.every_seconds": "86400",
        "policy.postings_an_hour": "100000",
        "policy.new_member_postings": "0",
    }
    chosen |= {"database.url": database} if database else {}
    app = found(state, chosen, utc_now, lambda _: None)
    try:
        enrol(app, author, people)
        yield app
    finally:
        app.keyring.close()
        app.close()


@dataclass(frozen=True, slots=True)
class Serving:
    """A running server: its port, its process id."""

    port: int
    pid: int

    def workers(self) -> list[int]:
        """Process ids."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        found_ = []
        for pid in children:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"worker" in words:
                found_.append(int(pid))
        return found_

    def cpu(self) -> float:
        """Seconds of processor time of the workers so far."""
        return sum(cpu(pid) for pid in self.workers())

    def peak(self) -> int:
        """Bytes: the most memory that one of the workers had since `forget_peak`."""
        found_ = []
        for pid in self.workers():
            status = Path(f"/proc/{pid}/status").read_text()
            found_ += [int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line]
        return max(found_, default=0) * 1024

    def forget_peak(self) -> None:
        for pid in self.workers():
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used, and its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def database_cpu(server: Server) -> float:
    """The same of a PostgreSQL server."""
    (lock,) = server.socket.glob(".s.PGSQL.*.lock")
    pid = int(lock.read_text().split()[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu(pid) + sum(cpu(int(one)) for one in children)


@contextmanager
def served(state: Path, workers: int, **settings: str) -> Iterator[Serving]:
    """settings: section_name -> value."""
    named = {f"ENVIRONET_{name.upper()}": value for name, value in settings.items()}
    environment = os.environ | {"ENVIRONET_DELIVERY_WORKERS": str(workers)} | named
    server = subprocess.Popen(
        [sys.executable, "-m", "gateway", "--state", str(state), "serve"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    port = 0
    for line in server.stdout or ():
        if line.startswith("listening: smtp "):
            port = int(line.rpartition(":")[2])
        if line.strip() == "ready":
            break
    try:
        time.sleep(2)  # the delivery processes are starting, too
        yield Serving(port, server.pid)
    finally:
        server.terminate()
        server.wait(20)


def written(app: App, author: Officer, size: int) -> bytes:
    """A mail of the author's to the list, of text that does not compress."""
    with app.database.reading() as session:
        certificate = mailing_list.get(session, "wildlife").key.certificate
    return author.write(to=[LIST], certificates=[certificate], subject="Bench", text=text(size))


def text(size: int) -> str:
    """Text that does not compress, as attachments don't."""
    return base64.encodebytes(os.urandom(size)).decode()[:size]


def sent(port: int, sender: str, mail: bytes) -> tuple[float, float]:
    """Moments, seconds since 1970: when the last byte of DATA was written, and of the 250."""
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail(sender)
        client.rcpt(LIST)
        started = time.time()
        code, reply = client.data(mail)
        accepted = time.time()
    if code != 250:
        raise SystemExit(f"refused: {code} {reply!r}")
    return started, accepted


def delivered(app: App, limit: float = 3600) -> float:
    """When the last copy was handed off, seconds since 1970; waits for it."""
    deadline = time.monotonic() + limit
    waits = select(OutboxEntry.id).where(OutboxEntry.state.in_((Delivery.WAITING, Delivery.LEASED)))
    while True:
        with app.database.reading() as session:
            if session.scalar(waits.limit(1)) is None:
                last = session.scalar(select(func.max(OutboxEntry.finished_at)))
                break
        if time.monotonic() > deadline:
            raise SystemExit("the copies are not handed off")
        time.sleep(0.05)
    assert last is not None
    return float(last.timestamp())


def copies_of(session: Session, posting_id: int) -> int:
    """How many entries of the outbox a posting has."""
    query = select(func.count()).where(OutboxEntry.posting_id == posting_id)
    return session.scalar(query) or 0


def handed_off(app: App, copies: int) -> None:
    """Wait until so many copies of the newest posting are with the mail server."""
    newest = select(func.max(OutboxEntry.posting_id)).scalar_subquery()
    query = select(func.count()).where(
        OutboxEntry.posting_id == newest, OutboxEntry.state == Delivery.SENT
    )
    while True:
        with app.database.reading() as session:
            if (session.scalar(query) or 0) >= copies:
                return
        time.sleep(0.2)


def forget_outbox(app: App) -> None:
    """Take out what waits and what is under way."""
    with app.database.transaction() as session:
        waits = OutboxEntry.state.in_((Delivery.WAITING, Delivery.LEASED))
        session.execute(delete(OutboxEntry).where(waits))
