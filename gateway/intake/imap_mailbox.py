"""The mailbox that mail is taken from: what the gateway does at an IMAP server, in its own words.

RFC 3501, with IDLE (2177), MOVE (6851) and UIDPLUS (4315) where the server has them.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from imapclient.exceptions import (
    CapabilityError,
    IMAPClientAbortError,
    IMAPClientError,
    LoginError,
)

from gateway.errors import GatewayError, Unavailable, UsageError
from gateway.intake.imap_wire import COMMAND_SECONDS, Connection, Deadline
from gateway.settings import ImapSection

_MOST_PASSWORD = 4096
_MOST_WORDS = 300
_PARTING_SECONDS = 3.0


class LoginRefused(Unavailable):
    """The server does not take the user's name or password. Trying often may lock the user out."""


class NotDone(Unavailable):
    """The server says that it can't do what it was asked; the connection is good for all else."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder as it was selected. validity: UIDs mean something only together with it (RFC 3501
    2.3.1.1). count: mails in it."""

    validity: int
    count: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mail in the folder. size: bytes, as the server says."""

    uid: int
    size: int


class Mailbox:
    """An open connection, logged in. Every fault of the server or the way to it is Unavailable, and
    tells nothing of what came from the server once mail was read."""

    def __init__(self, connection: Connection, deadline: Deadline, folder: str) -> None:
        self._connection = connection
        self._deadline = deadline
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _hang_up(self._connection, self._deadline)

    @property
    def capabilities(self) -> frozenset[str]:
        with self._asking("CAPABILITY"):
            found: tuple[bytes, ...] = self._connection.capabilities()
            return frozenset(one.decode("ascii", "replace") for one in found)

    def exists(self, folder: str) -> bool:
        with self._asking("LIST"):
            return bool(self._connection.folder_exists(folder))

    def count(self, folder: str) -> int | None:
        """How many mails are in a folder that is not selected; None where there is no such."""
        if not self.exists(folder):
            return None
        with self._asking("STATUS", quoting=True):
            return int(self._connection.folder_status(folder, ["MESSAGES"])[b"MESSAGES"])

    def make(self, folder: str) -> None:
        """Make a folder where there is none."""
        if not self.exists(folder):
            with self._asking("CREATE", quoting=True):
                self._connection.create_folder(folder)

    def select(self, *, readonly: bool = False) -> Folder:
        """Look at the folder anew. readonly: no mark of any mail changes by it (EXAMINE)."""
        with self._asking("SELECT", quoting=True):
            answer = self._connection.select_folder(self._folder, readonly)
            return Folder(int(answer.get(b"UIDVALIDITY", 0)), int(answer[b"EXISTS"]))

    def waiting(self, first: int, last: int) -> list[Waiting]:
        """The mails at these places in the folder, from 1, but for those marked as deleted; in the
        order of their UIDs."""
        with self._asking("SEARCH"):
            found = self._connection.search([f"{first}:{last}", "UNDELETED"])
            uids = sorted(found)[: last - first + 1]
            sizes = self._connection.fetch(uids, ["RFC822.SIZE"])
            # One that somebody moved meanwhile has no size any more.
            return [
                Waiting(uid, int(sizes[uid][b"RFC822.SIZE"])) for uid in uids
                if b"RFC822.SIZE" in sizes.get(uid, {})
            ]  # fmt: skip

    def fetch(self, uid: int, most: int, seconds: float) -> bytes | None:
        """A mail, not marked as read; at most `most` bytes of it. None where there is none, as
        somebody else has moved it."""
        with self._asking("FETCH", seconds), self._connection.room_for(most):
            answer = self._connection.fetch([uid], [f"BODY.PEEK[]<0.{most}>"])
            data = answer.get(uid, {}).get(b"BODY[]<0>")
            return bytes(data)[:most] if isinstance(data, (bytes, bytearray)) else None

    def move(self, uid: int, folder: str) -> None:
        """Move a mail; nothing where somebody else did. Without MOVE it is copied and marked as
        deleted: never expunged with others, which somebody may have marked so unread."""
        with self._asking("MOVE"):
            if self._connection.has_capability("MOVE"):
                self._connection.move([uid], folder)
                return
            self._connection.copy([uid], folder)
            self._connection.add_flags([uid], [rb"\Deleted"], silent=True)
            if self._connection.has_capability("UIDPLUS"):
                self._connection.uid_expunge([uid])

    def put(self, folder: str, mail: bytes) -> None:
        """Lay a new mail into a folder."""
        with self._asking("APPEND"):
            self._connection.append(folder, mail)

    @property
    def tells(self) -> bool:
        """Whether the server says when mail comes (IDLE)."""
        with self._asking("CAPABILITY"):
            return bool(self._connection.has_capability("IDLE"))

    def wait(self, seconds: float) -> None:
        """Until there is something new, or for so long; only where the server tells."""
        with self._asking("IDLE", seconds + COMMAND_SECONDS):
            self._connection.wait(seconds)

    def _asking(
        self, doing: str, seconds: float = COMMAND_SECONDS, *, quoting: bool = False
    ) -> AbstractContextManager[None]:
        return _told(self._deadline, doing, seconds, quoting=quoting)


def connect(settings: ImapSection, state: Path) -> Mailbox:
    """Log in. Raises UsageError where the settings or the files that they name can't be used, and
    Unavailable."""
    password = _password(state / settings.password_file)
    context = _context(settings, state)
    implicit = context if settings.security == "tls" else None
    deadline = Deadline()
    connection = None
    try:
        with _told(deadline, "connecting", COMMAND_SECONDS, quoting=True):
            connection = Connection(settings.host, settings.port, implicit, deadline)
            if settings.security == "starttls":
                _start_tls(connection, context)
        with _told(deadline, "logging in", COMMAND_SECONDS, quoting=True, secret=password):
            if password.isascii() and settings.user.isascii():
                connection.login(settings.user, password)
            else:  # LOGIN has seven-bit strings alone (RFC 3501 9, astring)
                connection.plain_login(settings.user, password)
    except BaseException:
        _hang_up(connection, deadline)
        raise
    return Mailbox(connection, deadline, settings.folder)


def _start_tls(connection: Connection, context: ssl.SSLContext) -> None:
    if not connection.has_capability("STARTTLS"):
        raise Unavailable("IMAP server, connecting: it has no STARTTLS, so it gets no password")
    connection.starttls(context)


def _hang_up(connection: Connection | None, deadline: Deadline) -> None:
    with suppress(Exception), deadline.at_most(_PARTING_SECONDS):
        if connection is not None:
            connection.shutdown()
    deadline.close()


def _password(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise UsageError(f"imap.password_file: others may read {path}: chmod 600 {path}")
        with path.open("rb") as stream:
            password = stream.read(_MOST_PASSWORD).decode().rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"imap.password_file: can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"imap.password_file: {path} is no text in UTF-8") from None
    if not password or "\n" in password or "\r" in password:
        raise UsageError(f"imap.password_file: {path} is not one line with a password")
    return password


def _context(settings: ImapSection, state: Path) -> ssl.SSLContext:
    """Verifies the server's name and certificate."""
    file = state / settings.ca_file if settings.ca_file else None
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"imap.ca_file: can't use {file}: {error.strerror}") from None


@contextmanager
def _told(
    deadline: Deadline, doing: str, seconds: float, *, quoting: bool, secret: str = ""
) -> Iterator[None]:
    """Whatever goes wrong inside, as Unavailable. quoting: the server's words too, which are not to
    be told once it has mails to quote from. secret: what they must not have in them."""
    try:
        with deadline.at_most(seconds):
            yield
    except GatewayError:
        raise
    except Exception as error:  # imapclient fails on a hostile answer in ways of its own
        words = str(error) if quoting and _is_answer(error) else ""
        if secret and secret in words:
            words = ""
        said = "".join(char for char in words if char.isprintable())[:_MOST_WORDS]
        why = f"IMAP server, {doing}: {_reason(error)}{': ' if said else ''}{said}"
        raise _kind(error)(why) from None


def _is_answer(error: Exception) -> bool:
    """Whether the server has answered; else it broke off, as far as we are concerned."""
    broken = (error, error.__context__) if isinstance(error, LoginError) else (error,)
    is_broken = any(isinstance(one, IMAPClientAbortError) for one in broken)
    return isinstance(error, IMAPClientError) and not is_broken


def _kind(error: Exception) -> type[Unavailable]:
    if not _is_answer(error):
        return Unavailable
    return LoginRefused if isinstance(error, LoginError) else NotDone


def _reason(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not good: {error.verify_message}"
        case CapabilityError():
            return "it can't do that"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case LoginError() if _is_answer(error):
            return "user name or password are not taken"
        case IMAPClientError():
            return "it refuses" if _is_answer(error) else "it breaks off"
        case _:
            return f"its answer can't be understood ({type(error).__name__})"
