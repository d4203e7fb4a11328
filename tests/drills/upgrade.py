"""Processes of the version before serve on PostgreSQL while mails come in; the new version's
migrations run under them, and the machines are replaced one after the other."""

from __future__ import annotations

import argparse
import os
import smtplib
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path

from sqlalchemy import select, text

from gateway.store import ledger, outbox
from gateway.store.database import Database, newest_schema
from gateway.store.outbox import OutboxEntry
from gateway.upgrading import LIVE_FROM
from tests import postgresql
from tests.faults.trial import message_id
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.hosts.machine import SlowServer, copy_state
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"
REPOSITORY = Path(__file__).parents[2]
_READERS = 12
_MAILS = 5
"""So many are accepted in each phase, at least."""
_SECONDS_A_COPY = 0.2
_PATIENCE_SECONDS = 300.0
_SETTINGS = {
    "delivery.workers": 2, "delivery.batch": 3, "handoff.connections": 1,
    "policy.postings_an_hour": 10**6,
}  # fmt: skip
_NUMBERS = count(1)
_PAST = (
    "INSERT INTO notice (token, template, body, made_at, plain, regardless, enclosed) "
    "SELECT 'past ' || n, 'digest', '', now(), false, false, '' FROM generate_series(1, :past) n",
    "INSERT INTO outbox (notice_id, member_id, state, queued_at, next_at, attempts, finished_at) "
    "SELECT id, 1, 'sent', now(), now(), 1, now() FROM notice WHERE token LIKE 'past %'",
)


def run(words: list[str]) -> bool:
    """words: --from REVISION: the version before, of this git repository; --past N copies that are
    sent already (200,000), whose table is altered."""
    parser = argparse.ArgumentParser(prog="make drill WHAT=upgrade WORDS=")
    parser.add_argument(
        "--from", dest="revision", help="the newest tag, or the last commit of 0005"
    )
    parser.add_argument("--past", type=int, default=200_000, help="copies that are sent already")
    chosen = parser.parse_args(words)
    revision = chosen.revision or _revision_before()
    if os.geteuid() != 0 or postgresql.programs() is None:
        print("Not possible here: as root, with PostgreSQL (apt-get install postgresql).")
        return False
    with ExitStack() as ends:
        program = ends.enter_context(checked_out(revision))
        server = ends.enter_context(postgresql.running_server())
        drill = Drill(server.fresh(), program, chosen.past)
        ends.callback(drill.close)
        drill.play()
    print(f"From {revision[:12]}, on PostgreSQL, {chosen.past} copies sent before:")
    print(table(drill.phases))
    for one in drill.wrong:
        print(one)
    if not drill.wrong:
        print(f"{drill.traffic.accepted} mails: no copy lost, none doubled; no line of a fault.")
    return not drill.wrong


def _revision_before() -> str:
    tags = _git("tag", "--sort=-creatordate").split()
    if tags:
        return tags[0]
    (first,) = (REPOSITORY / "db/versions").glob(f"v{int(LIVE_FROM) + 1:04}_*.py")
    added = _git("log", "--diff-filter=A", "--format=%H", "--", str(first)).split()
    return _git("rev-parse", f"{added[-1]}^").strip()


def _git(*words: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """A folder with the program of another version, as it is when it is installed."""
    archive = ["git", "-C", str(REPOSITORY), "archive", revision]
    packed = subprocess.run(archive, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="before-", dir="/tmp") as folder:
        with tarfile.open(fileobj=BytesIO(packed)) as tar:
            tar.extractall(folder, filter="data")
        for name in ("templates", "keys", "db"):
            (Path(folder) / "gateway" / name).symlink_to(f"../{name}")
        yield Path(folder)


class Machine(RunningGateway):
    """A machine of the gateway. program: the folder of the version that its next process runs."""

    def __init__(self, name: str, program: Path, settings: dict[str, object]) -> None:
        self.name, self.program = name, program
        super().__init__(short_place(name), settings={**_SETTINGS, **settings}, quick=False)
        del self._settings["smtp.refusal_ms"]  # which the version before knows nothing of

    @property
    def _command(self) -> list[str]:
        # The version before called workers by the host's name alone.
        host = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return [*host, sys.executable, "-m", "gateway", "--state", str(self.state)]

    @property
    def _environment(self) -> dict[str, str]:
        where = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(self.program)}
        return {**super()._environment, **where}


class Traffic(threading.Thread):
    """Mails that come in one after the other, each to whichever machine takes it."""

    def __init__(self, machines: Sequence[Machine], author: Officer, certificate: bytes) -> None:
        super().__init__(daemon=True)
        self._machines, self._author, self._certificate = machines, author, certificate
        self._ends = threading.Event()
        self.waits: list[float] = []
        self.refused: list[int] = []

    @property
    def accepted(self) -> int:
        return len(self.waits)

    def end(self) -> None:
        self._ends.set()
        self.join()

    def run(self) -> None:
        while not self._ends.wait(0.3):
            mail = self._author.write(
                to=[LIST], certificates=[self._certificate], subject=f"No. {next(_NUMBERS)}",
                text="x\n",
            )  # fmt: skip
            began = time.monotonic()
            while not any(self._is_taken(one, mail) for one in self._machines):
                time.sleep(0.1)
            self.waits.append(time.monotonic() - began)

    def _is_taken(self, machine: Machine, mail: bytes) -> bool:
        with suppress(OSError, smtplib.SMTPException):
            code, _ = machine.send(mail, self._author.address, [LIST])
            self.refused += [code] if code >= 500 else []
            return code == 250
        return False


@dataclass(frozen=True, slots=True)
class Phase:
    """mails: accepted in it; longest: seconds that one of them waited for its 250; delivering:
    machines that held leases."""

    name: str
    seconds: float
    mails: int
    longest: float
    delivering: frozenset[str]


class Drill:
    """Two machines, the second with the web archive. wrong: what is not as it must be."""

    def __init__(self, url: str, before: Path, past: int) -> None:
        self.phases: list[Phase] = []
        self.wrong: list[str] = []
        self._ends = ExitStack()
        self._mail_server = SlowServer(_SECONDS_A_COPY)
        self._ends.callback(self._mail_server.close)
        shared: dict[str, object] = {
            "database.url": url, "handoff.to": f"smtp://127.0.0.1:{self._mail_server.port}",
        }  # fmt: skip
        web: dict[str, object] = {"web.listen": "127.0.0.1:0"}
        self.one, self.two = (
            self._ends.enter_context(Machine(name, before, settings))
            for name, settings in (("one", shared), ("two", shared | web))
        )
        self.one.found()
        officers = [
            Officer.create("sequoia", "An Officer", f"o{number}@member.example")
            for number in range(_READERS)
        ]
        for officer in officers:
            self.one.add_member(officer)
            self._ends.callback(officer.close)
        self._readers = [officer.address for officer in officers]
        self._database = Database(url, self.one.state)
        self._ends.callback(self._database.close)
        with self._database.transaction() as session:
            for statement in _PAST:
                session.execute(text(statement), {"past": past})
        self.traffic = Traffic((self.one, self.two), officers[0], self.one.certificate(LIST))

    def close(self) -> None:
        self._ends.close()

    def play(self) -> None:
        copy_state(self.one.state, self.two.state)
        for machine in (self.one, self.two):
            machine.start()
        self.traffic.start()
        self._phase("both of the version before", lambda: None, {"one", "two"})
        self.one.program = REPOSITORY
        self._phase("migrations", lambda: self.one.environet("upgrade"), {"one", "two"})
        if self._database.schema() != newest_schema():
            self.wrong.append(f"the schema is {self._database.schema()}")
        self._phase("both still", lambda: None, {"one", "two"})
        self._told_by(self.one)
        self._phase("the first replaced", lambda: self._replace(self.one), {"new one", "two"})
        self._told_by(self.two)
        self._phase("the second too", lambda: self._replace(self.two), {"new one", "new two"})
        self.traffic.end()
        self._until(lambda: not {"waiting", "leased", "parked"} & self._totals().keys())
        self._count()
        for machine in (self.one, self.two):
            self._told_by(machine)

    def _replace(self, machine: Machine) -> None:
        """By a process of this version. What the upgrade made on the first is copied to others."""
        if machine.stop() != 0:
            self.wrong.append(f"{machine.name} did not stop in good order")
        machine.program = REPOSITORY
        if machine is not self.one:
            copy_state(self.one.state, machine.state)
        machine.start()

    def _phase(self, name: str, act: Callable[[], object], wanted: set[str]) -> None:
        """act, and then go on until all of the wanted deliver and enough mails came in."""
        began, before = time.monotonic(), self.traffic.accepted
        act()
        after, seen = self.traffic.accepted, set[str]()

        def is_over() -> bool:
            seen.update(self._delivering())
            return wanted <= seen and self.traffic.accepted - after >= _MAILS

        self._until(is_over)
        waits = self.traffic.waits[before:]
        self.phases.append(
            Phase(
                name, time.monotonic() - began, len(waits), max(waits, default=0), frozenset(seen)
            )
        )

    def _delivering(self) -> set[str]:
        """Machines that hold leases, "new" before those of this version."""
        query = select(OutboxEntry.lease_owner).where(OutboxEntry.lease_owner.is_not(None))
        with self._database.reading() as session:
            owners = {str(one).rpartition("/")[0] for one in session.scalars(query)}
        return {
            f"new {one.partition('-')[0]}" if "-" in one else one for one in owners
        }  # this version adds a word to the host's name

    def _totals(self) -> dict[str, int]:
        with self._database.reading() as session:
            return outbox.totals(session)

    def _until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                self.wrong.append(f"it did not come to its end: {self._totals()}")
                return
            time.sleep(0.02)

    def _told_by(self, machine: Machine) -> None:
        """Lines of faults in its log, which begins anew then."""
        lines = machine.log_text.splitlines()
        self.wrong += [f"{machine.name}: {one}" for one in lines if " ERROR " in one]
        machine.log.unlink()

    def _count(self) -> None:
        came = [one for one in self._mail_server.handed if one.sender]
        copies = Counter((one.recipient, message_id(one)) for one in came)
        got = Counter(recipient for recipient, _ in copies)
        lost = sum(max(0, self.traffic.accepted - got[one]) for one in self._readers)
        doubled = sum(copies.values()) - len(copies)
        if lost or doubled or any(got[one] > self.traffic.accepted for one in self._readers):
            self.wrong.append(f"{lost} copies lost, {doubled} doubled, of {len(came)}")
        if self.traffic.refused:
            self.wrong.append(f"refused: {self.traffic.refused}")
        with self._database.reading() as session:
            if fault := ledger.verify(session).fault:
                self.wrong.append(f"ledger: {fault}")


def table(phases: Sequence[Phase]) -> str:
    lines = [("", "seconds", "mails", "longest wait", "delivered by")]
    lines += [
        (one.name, f"{one.seconds:.0f}", f"{one.mails}", f"{one.longest:.1f} s",
         ", ".join(sorted(one.delivering)))
        for one in phases
    ]  # fmt: skip
    widths = [max(len(line[at]) for line in lines) for at in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
