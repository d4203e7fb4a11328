"""An IMAP connection that a server can neither fill our memory through nor keep us waiting on."""

from __future__ import annotations

import imaplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import TYPE_CHECKING, cast

from imapclient import IMAPClient, SocketTimeout

if TYPE_CHECKING:
    from typing_extensions import Buffer

CONNECT_SECONDS = 30.0
COMMAND_SECONDS = 120.0
MOST_LINES = 2**20
"""Bytes of lines in an answer: what is read of them takes many times as much."""
MOST_LITERALS = 2**20
"""Bytes of literals in an answer beside the mail that was asked for."""


class TooSlow(OSError):
    """The server did not answer in time."""


class Deadline:
    """Cuts a connection when the time is over, however the server dawdles: a socket's own timeout
    starts anew with each byte. A connection that was cut is of no more use."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None

    def watch(self, connection: socket.socket) -> None:
        """This is the connection, whatever is wrapped around it."""
        self._connection = connection.dup()

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Raises TooSlow in place of whatever comes of the cut."""
        over = threading.Event()
        timer = threading.Timer(seconds, self._cut, (over,))
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception:
            if over.is_set():
                raise TooSlow(f"no answer within {seconds:g} s") from None
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _cut(self, over: threading.Event) -> None:
        over.set()
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


class _Bounded(imaplib.IMAP4):
    """imaplib's, with a limit to all that one command may be answered with.

    tls: from the first byte; None: in the clear, until STARTTLS. literals: bytes of them in the
    answer to a command from now on.
    """

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        self.literals = MOST_LITERALS
        self._left = {"lines": MOST_LINES, "literals": MOST_LITERALS}
        self._tls = tls
        self._deadline = deadline
        super().__init__(host, port, timeout=CONNECT_SECONDS)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        plain = socket.create_connection((self.host, self.port), timeout)
        self._deadline.watch(plain)
        if self._tls is None:
            return plain
        return self._tls.wrap_socket(plain, server_hostname=self.host)

    def send(self, data: Buffer) -> None:
        self._left = {"lines": MOST_LINES, "literals": self.literals}
        super().send(data)

    def read(self, size: int) -> bytes:
        """A literal; its size is what the server says (RFC 9051 4.3)."""
        self._count("literals", size)
        return super().read(size)

    def readline(self) -> bytes:
        try:
            line = super().readline()
        except self.error as error:  # too long for imaplib: what follows is in the middle of it
            raise self.abort(str(error)) from None
        self._count("lines", len(line))
        return line

    def _count(self, kind: str, size: int) -> None:
        self._left[kind] -= size
        if self._left[kind] < 0:
            raise self.abort(f"too many bytes of {kind} in an answer")

    def has_unread(self) -> bool:
        """Whether something came already that is not read yet: polling the socket won't tell."""
        self.sock.setblocking(False)
        try:
            return bool(cast(BufferedReader, self.file).peek(1))
        except OSError:  # a TLS socket's way to say that there is nothing
            return False
        finally:
            self.sock.settimeout(CONNECT_SECONDS)


class Connection(IMAPClient):  # type: ignore[misc]
    """imapclient's, over the above. tls: see there; for STARTTLS call `starttls`. Raises OSError
    and imaplib's errors."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        self._made_with = (tls, deadline)
        timeout = SocketTimeout(CONNECT_SECONDS, COMMAND_SECONDS)
        super().__init__(host, port, ssl=False, timeout=timeout)
        self._imap.debug = 0  # imapclient makes a line for its log of every line from the server

    def _create_IMAP4(self) -> _Bounded:
        return _Bounded(self.host, self.port, *self._made_with)

    @contextmanager
    def room_for(self, size: int) -> Iterator[None]:
        """Literals of so many bytes more may come while it lasts."""
        self._imap.literals = MOST_LITERALS + size
        try:
            yield
        finally:
            self._imap.literals = MOST_LITERALS

    def wait(self, seconds: float) -> None:
        """Until the server has something to tell of the folder (IDLE, RFC 2177), or so long."""
        self.idle()
        if not self._imap.has_unread():
            self.idle_check(seconds)
        self.idle_done()
