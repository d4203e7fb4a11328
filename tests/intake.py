"""A mailbox in Dovecot that a gateway takes mail from, over a cable that can be cut.

with running_intake() as intake:
    intake.put(intake.mail("Customs"))
    assert intake.take() == [250]
    assert intake.delivered() == ["Customs"]
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gateway.app import App
from gateway.cli import main
from gateway.errors import Unavailable
from gateway.intake.imap_mailbox import connect
from gateway.intake.imap_taking import Later, Taking
from gateway.settings import ImapSection, SmtpSection
from tests.dovecot import PASSWORD, Dovecot, running_dovecot
from tests.gateway import DOMAIN
from tests.imap_between import Between, Moment
from tests.mail_servers import HOST, wait_until
from tests.unit.group import Group

LIST = f"wildlife@{DOMAIN}"
MAILBOX = "gate@agency.example"


@dataclass(frozen=True)
class Intake:
    """group: ana writes, and gets her own copies as ben does. settings: of the section imap,
    through the cable, in the clear. log: what processes have said."""

    group: Group
    dovecot: Dovecot
    between: Between
    settings: dict[str, Any]
    log: Path

    def app(self, **changes: Any) -> App:
        """The gateway. changes: settings of the section imap, and message_bytes of smtp."""
        most = changes.pop("message_bytes", None)
        chosen = {**self.settings, **changes}
        update: dict[str, Any] = {"imap": ImapSection(**chosen)}
        app = self.group.app
        if most is not None:
            update["smtp"] = SmtpSection(message_bytes=most)
        return replace(app, config=app.config.model_copy(update=update))

    def password_file(self, password: str) -> str:
        return str(_password_file(self.dovecot, password))

    def mail(self, subject: str, **how: object) -> bytes:
        """A posting of ana's."""
        return self.group.write("ana", "wildlife", text="Ivory.\n", subject=subject, **how)

    def put(self, *mails: bytes) -> None:
        self.dovecot.deliver(MAILBOX, *mails)

    def take(
        self, app: App | None = None, later: Later | None = None, *, make_folders: bool = True
    ) -> list[int]:
        """Take what is there, in this process, over one connection; the code of each reply."""
        app, codes = app or self.app(), list[int]()
        with connect(app.config.imap, app.state) as mailbox:
            for folder in (app.config.imap.taken_folder, app.config.imap.refused_folder):
                if make_folders:
                    mailbox.make(folder)
            Taking(app, mailbox, later or Later(), nullcontext, codes.append).all()
        return codes

    def cut(self, app: App, command: bytes, at: str) -> None:
        """Take what is there while the cable is cut at a moment, over the connection after that
        too; the moment must come."""
        self.between.moment = Moment(command, at)
        with suppress(Unavailable, OSError):
            self.take(app)
        assert self.between.moment is None, f"{command.decode()} {at}"

    def waiting(self) -> int:
        return len(self.dovecot.mails(MAILBOX))

    def is_empty(self) -> bool:
        """The same quickly; what is marked as deleted waits too."""
        return not self.dovecot.count(MAILBOX)

    def uids(self) -> list[int]:
        with self.dovecot.mailbox(MAILBOX) as client:
            client.select_folder("INBOX", readonly=True)
            return sorted(client.search())

    def folder(self, name: str) -> list[bytes]:
        return self.dovecot.mails(MAILBOX, name)

    def empty(self) -> None:
        """Nothing is in any folder any more."""
        with self.dovecot.mailbox(MAILBOX) as client:
            for _, __, name in client.list_folders():
                client.select_folder(name)
                client.delete_messages(client.search())
                client.expunge()

    def delivered(self, name: str = "ben") -> list[str]:
        """Subjects of all copies that a member gets of what is queued now, as the author wrote
        them."""
        return [one.subject.rpartition("] ")[2].partition(" (")[0]
                for one in self.group.deliver() if one.to == name]  # fmt: skip

    @contextmanager
    def process(self, **changes: Any) -> Iterator[Taker]:
        """`environet imap take`, as `serve` runs it."""
        taker = Taker(self, {**self.settings, **changes})
        try:
            yield taker
        finally:
            taker.close()

    @property
    def log_text(self) -> str:
        return self.log.read_text()


class Taker:
    """The process. settings: of the section imap."""

    def __init__(self, intake: Intake, settings: dict[str, Any]) -> None:
        # Forked by one that has imported all, as starting Python takes longer than what it does.
        kind = multiprocessing.get_context("forkserver")
        kind.set_forkserver_preload([__name__, "gateway.cli"])
        feed, self._feed = kind.Pipe(duplex=False)
        words = ["--state", str(intake.group.gateway.state), "imap", "take"]
        environment = {
            f"ENVIRONET_IMAP_{name.upper()}": str(value) for name, value in settings.items()
        }
        self._process = kind.Process(target=_run, args=(words, environment, feed, intake.log))
        self._process.start()
        feed.close()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def wait(self) -> int:
        """Until it has ended; its exit status, or less than 0: the signal that it died of."""
        self._process.join(60)
        status = self._process.exitcode
        assert status is not None, "the process has not ended"
        return status

    def leave(self) -> int:
        """What it is told when `serve` is gone; its exit status."""
        self._feed.close()
        return self.wait()

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._feed.close()


def _run(words: list[str], environment: dict[str, str], feed: Connection, log: Path) -> None:
    os.environ.update(environment)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
    sys.stdin = os.fdopen(feed.fileno())
    main(words)


@contextmanager
def running_intake() -> Iterator[Intake]:
    with ExitStack() as ends:
        dovecot = ends.enter_context(running_dovecot())
        between = ends.enter_context(Between(dovecot.imap))
        settings = {
            "host": HOST, "port": between.port, "security": "none", "user": MAILBOX,
            "password_file": str(_password_file(dovecot, PASSWORD)), "tries": 2, "poll_seconds": 1,
        }  # fmt: skip
        named = {f"imap.{name}": value for name, value in settings.items()}
        group = ends.enter_context(Group({"ana": [], "ben": []}, named))
        log = group.gateway.place / "imap-log"
        log.touch()
        yield Intake(group, dovecot, between, settings, log)


def _password_file(dovecot: Dovecot, password: str) -> Path:
    file = dovecot.place / f"password-{len(password)}"
    file.touch(0o600)
    file.write_text(f"{password}\n")
    return file


def until(intake: Intake, is_so: Callable[[], object], what: str) -> None:
    """Raises AssertionError with the processes' log."""
    try:
        wait_until(is_so, what)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{intake.log_text}") from None
