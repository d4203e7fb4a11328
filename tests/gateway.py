"""A real gateway for tests: founded by the command line, served by its own process, fed by SMTP.

with RunningGateway(short_place("story")) as gateway:
    gateway.found()
    gateway.add_member(ana, organisation="Revenue Authority", country="KE")
    gateway.start()
    assert gateway.send(mail, ana.address, ["wildlife@environet.example"])[0] == 250
    gateway.wait_until_delivered()
    copies = gateway.copies(ana.address)
"""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote
from urllib.request import urlopen

from aiosmtpd.smtp import SMTP, Envelope
from click.testing import CliRunner
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gateway import config
from gateway.cli import main
from gateway.delivery.maildir import folder_name
from gateway.store import outbox
from gateway.store.database import Database, UtcDateTime
from gateway.store.ledger import LedgerEntry
from gateway.store.models import Base
from tests import postgresql
from tests.officers import Officer

_T = TypeVar("_T")

DOMAIN = "environet.example"
PATIENCE_SECONDS = 60.0
_DATABASE = "sqlite:///environet.sqlite"
_UNFINISHED = ("waiting", "leased")


class CommandFailed(Exception):
    """A command of `environet` ended with another status than 0; str() is what it printed."""

    def __init__(self, status: int, output: str) -> None:
        super().__init__(output)
        self.status = status


def short_place(name: str) -> Path:
    """A new directory under /tmp: gpg-agent's socket in it allows for a short path only."""
    return Path(tempfile.mkdtemp(prefix=f"{name[:12]}-", dir="/tmp"))


@dataclass(frozen=True, slots=True)
class Handed:
    """A copy as a mail server got it: envelope addresses ("" is the null sender), bytes as sent."""

    sender: str
    recipient: str
    data: bytes


class Sink:
    """A mail server that keeps what it is handed: aiosmtpd on a thread of its own. room: for so
    many mails; it does not answer to the others while there is none."""

    def __init__(self) -> None:
        self.room = math.inf
        self.handed: list[Handed] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._run(self._open())
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def handle_DATA(self, _: SMTP, __: Any, envelope: Envelope) -> str:
        """aiosmtpd's hook for a whole message."""
        while len(self.handed) >= self.room:  # noqa: ASYNC110  another thread makes room
            await asyncio.sleep(0.01)
        data = envelope.original_content or b""
        sender = "" if envelope.mail_from in (None, "<>") else str(envelope.mail_from)
        self.handed += [Handed(sender, one, data) for one in envelope.rcpt_tos]
        return "250 2.0.0 Kept"

    def close(self) -> None:
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: SMTP(self, hostname="sink.example", loop=loop), "127.0.0.1", 0
        )

    async def _shut(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


class RunningGateway:
    """One gateway with its state, its readers' mailboxes, its log and its temporary directory under
    `place`; `close` ends every process of it and removes `place`.

    settings: "section.name" -> value, for every command, the server and its workers.
    sink: hand copies to an SMTP server in this process, and not into Maildirs.
    quick: run commands in this process, which spares each a start of Python; the server is always a
    process of its own.
    """

    def __init__(
        self,
        place: Path,
        domain: str = DOMAIN,
        settings: Mapping[str, object] | None = None,
        *,
        sink: bool = False,
        quick: bool = True,
    ) -> None:
        self.quick = quick
        self.place = place
        self.domain = domain
        self.state = place / "state"
        self.mailboxes = place / "mail"
        self.log = place / "log"
        self.temporary = place / "tmp"
        self.temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sink = Sink() if sink else None
        self.port = self.web_port = self.monitoring_port = 0
        handoff = f"smtp://127.0.0.1:{self.sink.port}" if self.sink else f"maildir:{self.mailboxes}"
        self._settings = {
            "smtp.listen": "127.0.0.1:0", "smtp.refusal_ms": 0, "web.listen": "",
            "web.processes": 1, "handoff.to": handoff, "delivery.workers": 1,
            # Nothing falls due behind a test's back: `environet upkeep` does it when it is asked.
            "delivery.first_retry_seconds": 1, "upkeep.every_seconds": 86400, **(settings or {}),
        }  # fmt: skip
        self._server: subprocess.Popen[str] | None = None
        self._database: Database | None = None
        self._own_database = ""  # URL of the one on PostgreSQL that was made for it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def found(self) -> None:
        """`environet init`."""
        chosen = ["--database", self._fresh_database()] if self._has_postgresql else []
        self.environet("init", "--domain", self.domain, *chosen)

    def found_as(self, template: RunningGateway) -> None:
        """Be what another gateway is, which must not be running: quicker than founding one."""
        template.end_agent()
        shutil.copytree(template.state, self.state, ignore=shutil.ignore_patterns("S.*", "*.lock"))
        if template._own_database:
            template._close_database()
            self._own_database = postgresql.shared_server().copy_of(template._own_database)
            file = self.state / config.FILE
            old, new = template._own_database, self._own_database
            file.write_text(file.read_text().replace(old, new))

    def restore(self, backup: Path, key: Path | None, *words: str) -> dict[str, Any]:
        """`environet restore`, and what it says. key: the secret key; None for one in ~/.gnupg."""
        chosen = ["--database", self._fresh_database()] if self._has_postgresql else []
        chosen += ["--key", str(key)] if key else []
        said = self.environet("restore", str(backup), "--json", *chosen, *words)
        found: dict[str, Any] = json.loads(said)
        return found

    def lose(self) -> None:
        """The disk is gone, with all of the gateway that was killed."""
        self.end_agent()
        self._close_database()
        if self._own_database:
            postgresql.shared_server().drop(self._own_database)
        shutil.rmtree(self.state)

    @property
    def _has_postgresql(self) -> bool:
        return postgresql.is_chosen() and "database.url" not in self._settings

    def _fresh_database(self) -> str:
        self._own_database = postgresql.shared_server().fresh()
        return self._own_database

    def add_member(
        self,
        officer: Officer,
        *,
        organisation: str = "Inspectorate",
        country: str = "KE",
        kind: str = "agency",
        tick_off: str = "",
        roles: Sequence[str] = (),
        languages: Sequence[str] = (),
        delivery: str = "",
        own_copies: bool = True,
        certificate: bytes | None = None,
    ) -> str:
        """`environet member add`, and what it prints."""
        file = self.place / "certificate.asc"
        file.write_bytes(certificate or officer.certificate)
        chosen = [word for role in roles for word in ("--role", role)]
        chosen += [word for one in languages for word in ("--language", one)]
        chosen += ["--tick-off", tick_off] if tick_off else []
        chosen += ["--delivery", delivery] if delivery else []
        chosen += [] if own_copies else ["--no-own-copies"]
        return self.environet(
            "member", "add", officer.address, "--name", officer.name,
            "--organisation", organisation, "--country", country, "--kind", kind,
            "--certificate", str(file), *chosen,
        )  # fmt: skip

    def import_members(self, rows: Iterable[Mapping[str, str]], certificates: Path) -> None:
        """`environet member import`: many at once. rows: its columns by name."""
        file = self.place / "members.csv"
        listed = list(rows)
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(listed[0]))
            writer.writeheader()
            writer.writerows(listed)
        self.environet("member", "import", str(file), "--certificates", str(certificates))

    def start(self) -> None:
        """`environet serve`; returns once it is ready, the web archive too where it has one."""
        with self.log.open("a") as log:
            self._server = subprocess.Popen(
                [*self._command, "serve"], stdout=subprocess.PIPE, stderr=log, text=True,
                env=self._environment,
            )  # fmt: skip
        ready = False
        for line in self._server.stdout or ():
            if line.startswith("listening: smtp "):
                self.port = int(line.rpartition(":")[2])
            if line.startswith("listening: web "):
                self.web_port = int(line.rpartition(":")[2])
            if line.startswith("listening: monitoring "):
                self.monitoring_port = int(line.rpartition(":")[2])
            ready = ready or line.strip() == "ready"
            if ready and (self.web_port or not self._settings["web.listen"]):
                self._wait_for_web()
                return
        raise AssertionError(f"the server did not start:\n{self.log.read_text()}")

    def _wait_for_web(self) -> None:
        """Until a process of the web archive takes what comes to its socket."""
        if self.web_port:
            with urlopen(f"http://127.0.0.1:{self.web_port}/robots.txt", timeout=60) as answer:
                answer.read()

    def send(self, mail: bytes, sender: str, recipients: Sequence[str]) -> tuple[int, str]:
        """Hand a mail in by SMTP: (code, text) of the reply that decided, the first refusal or
        the one to the data. text begins with the enhanced status."""
        with smtplib.SMTP("127.0.0.1", self.port, "client.example", timeout=120) as client:
            client.ehlo()
            code, text = client.mail(sender)
            for recipient in recipients:
                if code == 250:
                    code, text = client.rcpt(recipient)
            if code == 250:
                code, text = client.data(mail)
            return code, text.decode("ascii")

    def ask(self, recipient: str, sender: str = "somebody@elsewhere.example") -> tuple[int, str]:
        """What RCPT is answered."""
        with smtplib.SMTP("127.0.0.1", self.port, "client.example", timeout=30) as client:
            client.ehlo()
            client.mail(sender)
            code, text = client.rcpt(recipient)
            return code, text.decode("ascii")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session of the gateway's database, for a look at what it has written."""
        if self._database is None:
            url = str(self._settings.get("database.url", self._own_database or _DATABASE))
            self._database = Database(url, self.state)
        with self._database.reading() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction on the gateway's database, for what no command does yet."""
        with self.reading():
            pass
        assert self._database is not None
        with self._database.transaction() as session:
            yield session

    def dump(self) -> bytes:
        """All octets that the database has: SQLite's files, or what pg_dump writes."""
        if self._own_database:
            return postgresql.shared_server().dump(self._own_database)
        # By another process: one that closes a SQLite file loses its locks on it.
        files = self.state.glob("environet.sqlite*")
        return subprocess.run(["cat", *files], capture_output=True, check=True).stdout

    def pass_time(self, by: timedelta) -> None:
        """As if that much time had gone by: each moment in the database, but for the ledger's,
        whose chain would break, is that much earlier. What keys say of themselves stays."""
        with self.writing() as session:
            for table in Base.metadata.sorted_tables:
                moments = [one for one in table.columns if isinstance(one.type, UtcDateTime)]
                if table is LedgerEntry.__table__ or not moments:
                    continue
                for row in session.execute(select(table)).mappings().all():
                    earlier = {one: row[one] - by for one in moments if row[one] is not None}
                    same = [key == row[key] for key in table.primary_key]
                    if earlier:
                        session.execute(update(table).where(*same).values(earlier))

    def totals(self) -> dict[str, int]:
        """How many copies are in which state."""
        with self.reading() as session:
            return outbox.totals(session)

    def wait_until_delivered(self, patience: float = PATIENCE_SECONDS) -> None:
        """Until no copy waits: each is sent, or parked, refused or dropped. patience: seconds."""
        deadline = time.monotonic() + patience
        while any(self.totals().get(state) for state in _UNFINISHED):
            if time.monotonic() > deadline:
                raise AssertionError(f"still not delivered: {self.totals()}\n{self.log_text}")
            time.sleep(0.02)

    def copies(self, address: str) -> list[bytes]:
        """All that was handed off to an address, oldest first, as on the wire."""
        if self.sink is not None:
            return [one.data for one in self.sink.handed if one.recipient == address]
        folder = self.mailboxes / folder_name(address) / "new"
        files = sorted(folder.glob("*"), key=lambda file: int(file.name.partition(".")[0]))
        return [file.read_bytes().replace(b"\n", b"\r\n") for file in files]

    def recipients(self) -> set[str]:
        """All addresses that anything was handed off to."""
        if self.sink is not None:
            return {one.recipient for one in self.sink.handed}
        return {unquote(folder.name) for folder in self.mailboxes.glob("*")}

    def environet(self, *words: str) -> str:
        """What a command prints. Raises CommandFailed."""
        if self.quick:
            return self._in_process(*words)
        done = subprocess.run(
            [*self._command, *words], capture_output=True, text=True, check=False,
            env=self._environment, timeout=120,
        )  # fmt: skip
        if done.returncode != 0:
            raise CommandFailed(done.returncode, done.stdout + done.stderr)
        return done.stdout

    def _in_process(self, *words: str) -> str:
        umask = os.umask(0o077)  # as the command sets it
        try:
            done = CliRunner().invoke(
                main, ["--state", str(self.state), *words], env=self._environment
            )
        finally:
            os.umask(umask)
        if done.exit_code != 0:
            raise CommandFailed(done.exit_code, done.output)
        return done.stdout

    def certificate(self, address: str) -> bytes:
        """The armored certificate of one of the gateway's addresses, or of a member."""
        return self.environet("key", "export", address).encode()

    def lists(self) -> list[dict[str, Any]]:
        """What `environet list show` tells."""
        found: list[dict[str, Any]] = json.loads(self.environet("list", "show", "--json"))
        return found

    @property
    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def peak_memory(self) -> int:
        """The most bytes that the server process has had in memory so far (VmHWM)."""
        assert self._server is not None
        status = Path(f"/proc/{self._server.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def stop(self) -> int:
        """SIGTERM; the server's exit status. Workers have ended by then."""
        assert self._server is not None
        self._server.send_signal(signal.SIGTERM)
        return self._reap()

    def kill(self) -> None:
        """SIGKILL to the server and to its workers, as a power cut would."""
        assert self._server is not None
        for pid in (self._server.pid, *_children(self._server.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reap()

    def workers(self) -> list[int]:
        """Process ids of the delivery workers."""
        assert self._server is not None
        return _children(self._server.pid)

    def kill_process(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def end_agent(self) -> None:
        """End the gpg-agent of this state; gpg starts another one when it needs one."""
        home = str(self.state / "gnupg")
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True)

    def close(self) -> None:
        if self._server is not None:
            self.kill()
        self._close_database()
        if self._own_database:
            postgresql.shared_server().drop(self._own_database)
        if self.sink is not None:
            self.sink.close()
        self.end_agent()
        shutil.rmtree(self.place, ignore_errors=True)

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "gateway", "--state", str(self.state)]

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: v for name, v in os.environ.items() if not name.startswith("ENVIRONET_")}
        chosen = {
            "ENVIRONET_" + name.upper().replace(".", "_"): str(value)
            for name, value in self._settings.items()
        }
        # Whatever a program writes, it writes where `close` removes it and tests can search it.
        return {**kept, **chosen, "TMPDIR": str(self.temporary), "HOME": str(self.temporary)}

    def _reap(self) -> int:
        server, self._server = self._server, None
        assert server is not None
        try:
            return server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            return server.wait()
        finally:
            if server.stdout is not None:
                server.stdout.close()


def _children(pid: int) -> list[int]:
    """Ids of the processes that a process has started and that are its own still."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for file in files for word in file.read_text().split()]
