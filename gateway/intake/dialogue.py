"""One client's session in SMTP (RFC 5321) or LMTP (RFC 2033), on aiosmtpd.

aiosmtpd brings the transport, STARTTLS and the parameters of MAIL and RCPT. The command loop and
DATA are ours, so that no byte of a message reaches a log, only CRLF ends a line, and a message
is in memory once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl

from aiosmtpd.smtp import SMTP

from gateway.errors import OUR_FAULT, Malformed, Reply, TooLarge
from gateway.intake.door import Door, combine, log_fault
from gateway.intake.limits import Pace
from gateway.intake.path import split_path
from gateway.intake.wire import DataReader, Wire

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 30.0
SHUTDOWN_SECONDS = 2.0
PARTING_SECONDS = 2.0  # how long a client that was told to go may stay silent
DRAIN_FACTOR = 4  # how many times message_bytes is read, to refuse at the end of data
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors")
TOO_MUCH_DATA = Reply(421, "4.7.0", "Far more data than this server takes")
TOO_SLOW = Reply(421, "4.4.2", "Timed out waiting for you")
NO_ROOM = Reply(452, "4.3.1", "Too much mail at once, try again later")
NOT_A_COMMAND = Reply(500, "5.5.1", "Command not recognized")
NOT_UTF8 = Reply(500, "5.5.2", "Command is not UTF-8")

# RFC 2034: the status of those replies that aiosmtpd writes without one.
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
_WITHOUT_STATUS = re.compile(r"([245])\d\d (?!\1\.\d{1,3}\.\d{1,3} )")


class _Dismissed(Exception):
    """Ends a session with a last reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Dialogue(SMTP):
    """One client's session; what is public here is `door.Client` or aiosmtpd's to call."""

    greeting = "ESMTP"
    line_length_limit = 64 * 1024  # aiosmtpd's name for the stream's buffer; lines: see Limits

    def __init__(self, door: Door) -> None:
        super().__init__(
            door,
            data_size_limit=door.limits.message_bytes,
            enable_SMTPUTF8=True,
            hostname=door.hostname,
            timeout=door.limits.idle_seconds,
            loop=asyncio.get_running_loop(),
        )
        self._door = door
        self._limits = door.limits
        self._errors = 0
        self._pace = Pace()
        self._arriving: DataReader | None = None
        self.peer = ""
        del self._smtp_methods["AUTH"]  # a member is known by the signature, not by a password

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer = (transport.get_extra_info("peername") or ("",))[0]
        self._door.enter(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self._handler_coroutine is not None:
            self._handler_coroutine.add_done_callback(lambda _: self._door.leave(self))

    def eof_received(self) -> bool:
        # aiosmtpd ends the session here, but a client that has said all still waits for replies.
        self._reader.feed_eof()
        return not self._is_encrypted()

    @property
    def held(self) -> int:
        """As door.Client."""
        return 0 if self._arriving is None else self._arriving.held

    def behind(self) -> float:
        """As door.Client."""
        return self._pace.behind()

    def give_way(self) -> None:
        """As door.Client."""
        if self._arriving is not None:
            self._arriving.refuse(NO_ROOM)

    def oust(self, reply: Reply) -> None:
        """As door.Client."""
        with contextlib.suppress(RuntimeError):  # its last reply was said already
            self._writer.write(f"{reply}\r\n".encode("ascii"))
        self.abort()

    def dismiss(self, reply: Reply) -> None:
        """As door.Client."""
        self._reader.set_exception(_Dismissed(reply))

    def abort(self) -> None:
        """As door.Client."""
        self._writer.transport.abort()

    async def push(self, status: str | bytes) -> None:
        """Send a one-line reply, with its enhanced status code (RFC 2034)."""
        line = status if isinstance(status, str) else status.decode("ascii")
        if _WITHOUT_STATUS.match(line):
            line = f"{line[:3]} {ENHANCED[int(line[:3])]} {line[4:]}"
        self._errors += "500" <= line[:3] <= "504"
        await self._send(line)

    async def smtp_EHLO(self, hostname: str | None) -> None:
        """RFC 5321 4.1.1.1; LHLO of RFC 2033 comes here too."""
        if not hostname:
            await self.push("501 Your name is missing")
            return
        lines = [
            self.hostname,
            "PIPELINING",
            f"SIZE {self._limits.message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        ]
        if self._door.tls is not None and not self._is_encrypted():
            lines.append("STARTTLS")
        self._greet(hostname, extended=True)
        inner = "".join(f"250-{line}\r\n" for line in lines[:-1])
        await self._send(f"{inner}250 {lines[-1]}")

    async def smtp_HELO(self, hostname: str | None) -> None:
        """RFC 5321 4.1.1.1."""
        if not hostname:
            await self.push("501 Your name is missing")
            return
        self._greet(hostname, extended=False)
        await self._send(f"250 {self.hostname}")

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207. Once: nothing is won by TLS within TLS."""
        if self._is_encrypted():
            await self.push("503 TLS is active")
        elif arg:
            await self.push("501 STARTTLS takes no argument")
        elif self._door.tls is None:
            await self.push("454 TLS is not offered")
        else:
            await self.push("220 Ready to start TLS")
            await self._start_tls(self._door.tls)

    async def smtp_VRFY(self, arg: str | None) -> None:
        """RFC 5321 3.5.3: an answer that says nothing about who exists."""
        await self.push("252 2.5.0 Send a mail to find out")

    async def smtp_EXPN(self, arg: str | None) -> None:
        """RFC 5321 3.5.2: subscribers are nobody's business."""
        await self.push("502 5.5.1 EXPN is not offered")

    async def smtp_HELP(self, arg: str | None) -> None:
        """RFC 5321 4.1.1.8."""
        await self.push("214 2.0.0 See RFC 5321")

    async def smtp_DATA(self, arg: str | None) -> None:
        """RFC 5321 4.1.1.4: take the message, have it decided on, tell the outcome."""
        if await self.check_helo_needed():
            return
        transaction = self.envelope
        if transaction is None or not transaction.rcpt_tos:
            await self.push("503 No valid recipient yet")
            return
        if arg:
            await self.push("501 DATA takes no argument")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        try:
            async with asyncio.timeout(self._limits.data_seconds):
                data = await self._read_data()
        except TimeoutError:
            raise _Dismissed(TOO_SLOW) from None
        finally:
            self._arriving = None
        self.envelope = self._create_envelope()
        if isinstance(data, Reply):
            replies: tuple[Reply, ...] = (data,) * len(transaction.rcpt_tos)
        else:
            if self._timeout_handle is not None:
                self._timeout_handle.cancel()  # from here on the client waits, not we
            with self._pace.our_turn():
                replies = await self._door.submit(transaction, data, self.peer)
            self._reset_timeout()
        for reply in self._after_data(replies):
            await self.push(str(reply))

    def _after_data(self, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        return (combine(replies),)

    async def _read_data(self) -> bytes | Reply:
        """The message, or the refusal for the end of data."""
        reader = DataReader(self._limits.message_bytes, self._limits.line_bytes)
        self._arriving = reader
        try:
            while (rest := reader.feed(chunk := await self._wire.chunk())) is None:
                self._reset_timeout()
                self._pace.came(len(chunk))
                if reader.taken > DRAIN_FACTOR * self._limits.message_bytes:
                    raise _Dismissed(TOO_MUCH_DATA)
                if not self._door.has_room(self):
                    self.give_way()
        except Malformed as error:
            raise _Dismissed(Reply(550, "5.6.0", str(error))) from None
        self._wire.put_back(rest)
        return reader.fault or reader.message()

    def _greet(self, hostname: str, *, extended: bool) -> None:
        self.envelope = self._create_envelope()  # RFC 5321 4.1.4: it ends the transaction
        if self.session is not None:
            self.session.host_name = hostname
            self.session.extended_smtp = extended

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        # aiosmtpd parses as RFC 5322 does, with comments, white space and no brackets needed.
        return split_path(arg) or (None, None)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on; what was said before is forgotten (RFC 3207 4.2 and 6). Raises
        EOFError where nothing comes of it."""
        self._wire.discard()
        secure: asyncio.Transport | None = None
        try:
            secure = await asyncio.get_running_loop().start_tls(
                self._writer.transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError:
            log.info("no TLS with %s: handshake failed", self.peer)
        if secure is None:  # or it was aborted by us
            # asyncio's TLS layer tells nobody of a connection that ends within its handshake.
            self.abort()
            self.connection_lost(None)
            raise EOFError
        # As aiosmtpd does: asyncio has no other way before Python 3.13.
        self._reader._transport = self._writer._transport = secure  # type: ignore[attr-defined]
        self.transport = secure
        self.session, self.envelope = self._create_session(), self._create_envelope()

    def _is_encrypted(self) -> bool:
        return self._writer.transport.get_extra_info("sslcontext") is not None

    def _timeout_cb(self) -> None:
        transport = self._writer.transport
        stuck = self._reader.exception() is not None  # dismissed, yet still here
        if stuck or transport.is_closing() or transport.get_write_buffer_size():
            transport.abort()
        else:
            self.dismiss(TOO_SLOW)
            self._reset_timeout(PARTING_SECONDS)

    async def _send(self, lines: str) -> None:
        self._writer.write(lines.encode("ascii", "replace") + b"\r\n")
        await self._writer.drain()

    async def _handle_client(self) -> None:
        self._wire = Wire(self._reader)
        try:
            if self._door.tls is not None and self._door.implicit_tls:
                await self._start_tls(self._door.tls)
            await self._converse()
        except _Dismissed as dismissal:
            await self._part(dismissal.reply)
        except (EOFError, OSError):
            log.debug("%s is gone", self.peer)
        except Exception as error:  # what is left of the input may be content: obey it no more
            log_fault(error)
            await self._part(OUR_FAULT)
        finally:
            self._hang_up()

    async def _converse(self) -> None:
        """Commands and replies in their order, until QUIT or an exception ends it."""
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
            # Commands that were sent ahead come without a wait; others' are not to wait for them.
            await asyncio.sleep(0)
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

        Closing over input not yet read makes TCP take the reply back (RST), so what still comes
        is read and dropped, until the client is silent or has sent another message's worth.
        """
        with contextlib.suppress(_Dismissed, EOFError, OSError):  # TimeoutError is an OSError
            self._reset_timeout(self._limits.data_seconds)
            async with asyncio.timeout(PARTING_SECONDS):
                await self.push(str(reply))
            if self._writer.can_write_eof():
                self._writer.write_eof()
            to_drop = self._limits.message_bytes
            while to_drop > 0:
                async with asyncio.timeout(PARTING_SECONDS):
                    to_drop -= len(await self._wire.chunk())

    def _hang_up(self) -> None:
        if self.transport is not None:
            if not self.transport.is_closing():
                self.transport.close()
            self._reset_timeout(PARTING_SECONDS)  # then it is aborted


class LmtpDialogue(Dialogue):
    """One client's session in LMTP: LHLO, and a reply a recipient after DATA."""

    greeting = "LMTP"

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._smtp_methods["LHLO"] = self._smtp_methods.pop("EHLO")
        del self._smtp_methods["HELO"]  # RFC 2033 4.1: neither EHLO nor HELO may work

    def _after_data(self, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        return replies  # RFC 2033 4.2
