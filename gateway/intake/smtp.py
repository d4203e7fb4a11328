"""The doors for mail: SMTP (RFC 5321) and LMTP (RFC 2033), on aiosmtpd.

aiosmtpd brings the transport, STARTTLS and the grammar of MAIL and RCPT parameters. The command
loop and DATA are ours, so that no byte of a message reaches a log, only CRLF ends a line, and a
message is in memory once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, Protocol

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, TLSSetupException
from aiosmtpd.smtp import Envelope as Transaction
from aiosmtpd.smtp import Session as ClientSession

from gateway.errors import OUR_FAULT, GatewayError, Malformed, Reply, TooLarge
from gateway.intake.limits import Limits, client_of
from gateway.intake.wire import DataReader, Wire
from gateway.message.envelope import Envelope

log = logging.getLogger(__name__)

NULL_PATH = "<>"
PARTING_SECONDS = 2.0  # how long a client that was told to go may stay silent
DRAIN_FACTOR = 4  # how many times message_bytes is read, to answer at the end of data

TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections, try again later")
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
TOO_MUCH_DATA = Reply(421, "4.3.4", "Far more data than announced")
TOO_SLOW = Reply(421, "4.4.2", "Timed out")
SHUTTING_DOWN = Reply(421, "4.3.2", "Shutting down")
NO_ROOM = Reply(452, "4.3.1", "Too much mail at once, try again later")
UTF8_UNANNOUNCED = Reply(553, "5.6.7", "Address needs the SMTPUTF8 parameter")
NO_RECIPIENT = Reply(553, "5.1.3", "The null path is no recipient")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
NOT_A_COMMAND = Reply(500, "5.5.1", "Command not recognized")
NOT_UTF8 = Reply(500, "5.5.2", "Command is not UTF-8")

# RFC 2034: what stands before the text of those replies that aiosmtpd writes without it.
ENHANCED = {
    220: "2.0.0",
    221: "2.0.0",
    250: "2.0.0",
    454: "4.7.0",
    500: "5.5.2",
    501: "5.5.4",
    503: "5.5.1",
    552: "5.3.4",
    555: "5.5.4",
}
_BARE_REPLY = re.compile(r"(\d)\d\d (?!\1\.\d{1,3}\.\d{1,3} )")

# RFC 5321 4.1.2, with RFC 6531 3.3: Path, whose source route is dropped (RFC 5321 appendix C).
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u00a0-\U0010ffff]+"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"'
_LABEL = r"[A-Za-z0-9\u00a0-\U0010ffff](?:[A-Za-z0-9\-\u00a0-\U0010ffff]*)"
_PATH = re.compile(
    rf"<(?:@[^:<>\s]+:)?"
    rf"(?P<mailbox>(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})"
    rf"@(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Za-z:.\-]+\])|[Pp][Oo][Ss][Tt][Mm][Aa][Ss][Tt][Ee][Rr]|)>"
    rf"(?P<parameters>(?: .*)?)"
)


class Reception(Protocol):
    """What stands behind a door and decides. Neither method may keep the event loop waiting."""

    async def recipient(self, address: str) -> Reply | None:
        """None for a forward path that is taken, else the refusal."""

    async def submit(self, envelope: Envelope) -> tuple[Reply, ...]:
        """Decide on a mail: one reply a recipient, in their order.

        It runs to its end even when the client is gone, and is cancelled only when the door
        closes and its time of grace is over.
        """


class _Dismissed(Exception):  # noqa: N818 - a client dismissed is no error of ours
    """Ends a session with a last reply."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Door:
    """An open port. `listen` makes it; address is the (host, port) it listens on."""

    def __init__(
        self,
        reception: Reception,
        limits: Limits,
        hostname: str,
        starttls: ssl.SSLContext | None,
        clock: Callable[[], datetime],
    ) -> None:
        self.limits = limits
        self.hostname = hostname
        self.starttls = starttls
        self._reception = reception
        self._clock = clock
        self._dialogues: set[Dialogue] = set()
        self._submissions: set[asyncio.Task[tuple[Reply, ...]]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._server: asyncio.Server | None = None
        self.address = ("", 0)

    def open(self, server: asyncio.Server) -> None:
        self._server = server
        self.address = server.sockets[0].getsockname()[:2]

    async def close(self, grace: float) -> None:
        """Stop listening and dismiss the clients; mails handed over whole get grace seconds."""
        if self._server is not None:
            self._server.close()
        for dialogue in self._dialogues:
            dialogue.dismiss(SHUTTING_DOWN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._empty.wait()
                while self._submissions:
                    await asyncio.wait(self._submissions)
        for submission in self._submissions:
            submission.cancel()
        for dialogue in self._dialogues:
            dialogue.abort()
        await self._empty.wait()
        await asyncio.gather(*self._submissions, return_exceptions=True)

    def enter(self, dialogue: Dialogue) -> None:
        self._dialogues.add(dialogue)
        self._empty.clear()

    def leave(self, dialogue: Dialogue) -> None:
        self._dialogues.discard(dialogue)
        if not self._dialogues:
            self._empty.set()

    def is_crowded_by(self, dialogue: Dialogue) -> bool:
        """Whether dialogue, already counted, is one too many."""
        client = client_of(dialogue.peer)
        same = sum(client_of(other.peer) == client for other in self._dialogues)
        total = len(self._dialogues)
        return total > self.limits.connections or same > self.limits.connections_per_client

    def is_full(self) -> bool:
        """Whether the messages in memory have reached held_bytes."""
        return sum(dialogue.held for dialogue in self._dialogues) > self.limits.held_bytes

    async def handle_MAIL(
        self, _: SMTP, session: ClientSession, transaction: Transaction, path: str, options: Any
    ) -> str:
        """aiosmtpd's hook for a MAIL command of right grammar."""
        if not path.isascii() and not transaction.smtp_utf8:
            return str(UTF8_UNANNOUNCED)
        transaction.mail_from = path
        return str(SENDER_OK)

    async def handle_RCPT(
        self, _: SMTP, session: ClientSession, transaction: Transaction, path: str, options: Any
    ) -> str:
        """aiosmtpd's hook for a RCPT command of right grammar."""
        if path == NULL_PATH:
            return str(NO_RECIPIENT)
        if not path.isascii() and not transaction.smtp_utf8:
            return str(UTF8_UNANNOUNCED)
        if len(transaction.rcpt_tos) >= self.limits.recipients:
            return str(TOO_MANY_RECIPIENTS)
        try:
            refusal = await self._reception.recipient(path)
        except Exception as error:
            _log_fault(error)
            refusal = OUR_FAULT
        if refusal is not None:
            return str(refusal)
        transaction.rcpt_tos.append(path)
        return str(RECIPIENT_OK)

    async def submit(self, transaction: Transaction, data: bytes, peer: str) -> tuple[Reply, ...]:
        """Have a mail decided on. The decision goes on when the client, who waits here, leaves."""
        sender = transaction.mail_from or ""
        envelope = Envelope(
            sender="" if sender == NULL_PATH else sender,
            recipients=tuple(transaction.rcpt_tos),
            data=data,
            peer=peer,
            received_at=self._clock(),
        )
        submission = asyncio.create_task(self._decide(envelope))
        self._submissions.add(submission)
        submission.add_done_callback(self._submissions.discard)
        return await asyncio.shield(submission)

    async def _decide(self, envelope: Envelope) -> tuple[Reply, ...]:
        try:
            replies = await self._reception.submit(envelope)
        except Exception as error:
            _log_fault(error)
            return (OUR_FAULT,) * len(envelope.recipients)
        log.info("mail of %d bytes from %s: %s", len(envelope.data), envelope.peer, replies)
        return replies


class Dialogue(SMTP):
    """One client's session. held: bytes of the message that is being taken or decided on."""

    line_length_limit = 64 * 1024  # of the stream's buffer; lines are limited by Limits
    greeting = "ESMTP"

    def __init__(self, door: Door) -> None:
        super().__init__(
            door,
            data_size_limit=door.limits.message_bytes,
            enable_SMTPUTF8=True,
            hostname=door.hostname,
            timeout=door.limits.idle_seconds,
            tls_context=door.starttls,
            loop=asyncio.get_running_loop(),
        )
        self._door = door
        self._limits = door.limits
        self._errors = 0
        self.peer = ""
        self.held = 0
        del self._smtp_methods["AUTH"]  # members are known by their signature, not by a password

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer = (transport.get_extra_info("peername") or ("",))[0]
        self._door.enter(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._door.leave(self)

    def eof_received(self) -> bool:
        # aiosmtpd drops the session here; a client that has said all still wants its replies.
        self._reader.feed_eof()
        return not self.is_encrypted

    @property
    def is_encrypted(self) -> bool:
        return self.transport is not None and bool(self.transport.get_extra_info("sslcontext"))

    def dismiss(self, reply: Reply) -> None:
        """End the session at its next read: at once if it waits for its client."""
        self._reader.set_exception(_Dismissed(reply))

    def abort(self) -> None:
        """Drop the connection with nothing said."""
        if self.transport is not None:
            self.transport.abort()

    def _timeout_cb(self) -> None:
        # A client that doesn't read its replies would keep a closing connection for ever.
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.abort()
        else:
            self.dismiss(TOO_SLOW)
            self._reset_timeout(PARTING_SECONDS)

    async def push(self, status: str | bytes) -> None:
        """Send a one-line reply with its enhanced status code (RFC 2034)."""
        line = status if isinstance(status, str) else status.decode("ascii")
        if _BARE_REPLY.match(line):
            line = f"{line[:3]} {ENHANCED[int(line[:3])]} {line[4:]}"
        self._errors += "500" <= line[:3] <= "504"
        await self._send(line)

    async def _send(self, lines: str) -> None:
        self._writer.write(lines.encode("ascii", "replace") + b"\r\n")
        await self._writer.drain()

    async def _handle_client(self) -> None:
        try:
            if self._door.is_crowded_by(self):
                await self.push(str(TOO_MANY_CONNECTIONS))
            else:
                await self._converse()
        except _Dismissed as dismissal:
            await self._part(dismissal.reply)
        except (EOFError, ConnectionError):
            log.debug("%s is gone", self.peer)
        except TLSSetupException:
            log.info("%s: TLS handshake failed", self.peer)
            # The TLS layer tells nobody of a connection lost before its handshake is done.
            self.abort()
            self.connection_lost(None)
        except Exception as error:
            _log_fault(error)
            await self._part(OUR_FAULT)
        finally:
            self._hang_up()

    async def _converse(self) -> None:
        """Commands and replies, in their order, until QUIT cancels or an exception ends it."""
        self._wire = Wire(self._reader)
        await self._send(f"220 {self.hostname} {self.greeting}")
        for _ in range(self._limits.commands):
            self._reset_timeout()
            try:
                line = await self._wire.line(self._limits.line_bytes)
            except TooLarge as error:
                await self.push(str(Reply(500, "5.5.2", str(error))))
                continue
            except Malformed as error:
                raise _Dismissed(Reply(500, "5.5.2", str(error))) from None
            if self._errors >= self._limits.errors:
                raise _Dismissed(TOO_MANY_ERRORS)
            await self._obey(line)
        raise _Dismissed(TOO_MANY_COMMANDS)

    async def _obey(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        command = self._smtp_methods.get(verb.upper().decode("latin-1"))
        if command is None:
            await self.push(str(NOT_A_COMMAND))
            return
        try:
            argument = rest.decode().strip(" ")
        except UnicodeDecodeError:
            await self.push(str(NOT_UTF8))
            return
        await command(argument or None)

    async def _part(self, reply: Reply) -> None:
        """Say a last reply and obey nothing more.

        Closing over input that was not read makes TCP take back the reply (RST), so what still
        comes is read and dropped until the client falls silent.
        """
        with contextlib.suppress(_Dismissed, EOFError, OSError, TimeoutError):
            self._reset_timeout(self._limits.data_seconds)
            await self.push(str(reply))
            if self._writer.can_write_eof():
                self._writer.write_eof()
            while True:
                async with asyncio.timeout(PARTING_SECONDS):
                    await self._reader.read(CHUNK_BYTES) or ...

    def _hang_up(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
            self._reset_timeout(PARTING_SECONDS)
