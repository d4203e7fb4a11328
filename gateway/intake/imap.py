"""Mail from a mailbox elsewhere, for those whose mail ends there: the process that takes it, and a
look at the mailbox."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from gateway.app import App
from gateway.errors import GatewayError
from gateway.intake.imap_mailbox import LoginRefused, Mailbox, connect
from gateway.intake.imap_taking import WINDOW, Counted, Later, Taking

log = logging.getLogger(__name__)

RENEW_SECONDS = 240.0
"""After which the server is asked anew in any case: many routers forget a silent connection after
five minutes, long before IDLE has to be renewed (RFC 2177: 29 minutes)."""
_FIRST_PAUSE, _LONGEST_PAUSE, _LOGIN_PAUSE = 1.0, 300.0, 60.0


class Stopping:
    """SIGTERM ends the process at once, but for a mail that is being decided on and moved."""

    def __init__(self) -> None:
        self._asked = self._busy = False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._ask)

    def _ask(self, _: int, __: FrameType | None) -> None:
        self._asked = True
        if not self._busy:
            sys.exit(0)

    @contextmanager
    def after(self) -> Iterator[None]:
        """Let what is inside come to its end first."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
            if self._asked:
                sys.exit(0)


def run(app: App, feed: int | None = None, counted: Counted | None = None) -> None:
    """Take mail from the mailbox until SIGTERM. feed: a pipe with whose end it stops as well.
    counted: is told the code of each mail's reply.

    Only one process of a state directory does it; of several machines with one mailbox each may
    take a mail, and the rule `retry` sees to it that one does.
    """
    lock = os.open(app.state / "imap.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    stopping = Stopping()
    if feed is not None:
        threading.Thread(target=_end_with, args=(feed,), daemon=True).start()
    fcntl.flock(lock, fcntl.LOCK_EX)
    _ = app.vault
    later, pause = Later(), _FIRST_PAUSE
    while True:
        try:
            with connect(app.config.imap, app.state) as mailbox:
                _make_folders(app, mailbox)
                log.info("mailbox: connected to %s", app.config.imap.host)
                taking = Taking(app, mailbox, later, stopping.after, counted)
                while True:
                    taking.all()
                    pause = _FIRST_PAUSE
                    _wait(app, mailbox, later)
        except (GatewayError, OSError) as error:
            if isinstance(error, LoginRefused):
                pause = max(pause, _LOGIN_PAUSE)
            told = error if isinstance(error, GatewayError) else error.strerror
            log.error("mailbox: %s; next try in %d s", told, pause)  # noqa: TRY400  says it all
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _make_folders(app: App, mailbox: Mailbox) -> None:
    """Those that mails are moved to."""
    mailbox.make(app.config.imap.taken_folder)
    mailbox.make(app.config.imap.refused_folder)


def _wait(app: App, mailbox: Mailbox, later: Later) -> None:
    """Until there may be something to do."""
    seconds = min(RENEW_SECONDS, max(later.seconds(), _FIRST_PAUSE))
    if mailbox.tells:
        mailbox.wait(seconds)
    else:
        time.sleep(min(seconds, app.config.imap.poll_seconds))


def _end_with(feed: int) -> None:
    while os.read(feed, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class SeenFolder:
    """count: mails in it; None where it is not there yet."""

    name: str
    purpose: str
    count: int | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A mailbox as `imap check` found it. too_large: mails of the first that wait, up to WINDOW."""

    host: str
    user: str
    security: str
    capabilities: tuple[str, ...]
    folders: tuple[SeenFolder, ...]
    too_large: int


def look(app: App) -> Seen:
    """Log in and look, changing nothing. Raises UsageError and Unavailable."""
    settings, most = app.config.imap, app.config.smtp.message_bytes
    with connect(settings, app.state) as mailbox:
        others = ((settings.taken_folder, "taken"), (settings.refused_folder, "refused"))
        folders = [SeenFolder(name, purpose, mailbox.count(name)) for name, purpose in others]
        folder = mailbox.select(readonly=True)
        first = mailbox.waiting(1, min(folder.count, WINDOW)) if folder.count else []
        return Seen(
            host=settings.host,
            user=settings.user,
            security=settings.security,
            capabilities=tuple(sorted(mailbox.capabilities)),
            folders=(SeenFolder(settings.folder, "waiting", folder.count), *folders),
            too_large=sum(one.size > most for one in first),
        )
