"""One SMTP connection outwards: replies read whole, contents written without a copy of them."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.delivery.handoff import (
    Copy,
    Lost,
    Outcome,
    State,
    one_line,
)

CHUNK = 256 * 1024  # bytes given to the transport at once, so that it never buffers more
DATA, RSET = b"DATA\r\n", b"RSET\r\n"
REPLY = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*?))?\r?\Z", re.DOTALL)
REPLY_LIMIT = 64 * 1024  # bytes of one reply, all its lines
GONE_SECONDS = 30
"""After which a host that acknowledges nothing is given up."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait; the defaults are the least that RFC 5321 4.5.3.2 asks for."""

    connect: float = 30
    greeting: float = 300
    command: float = 300
    data: float = 120
    block: float = 180
    end: float = 600
    farewell: float = 2  # so that a worker ends in time
    idle: float = 30  # how long a connection without work is kept open


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply (RFC 5321 4.2): its code and the text of each line."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def text(self) -> str:
        return one_line(b" ".join(self.lines))

    @property
    def negative(self) -> bool:
        return self.code >= 400

    def outcome(self, copy: Copy) -> Outcome:
        state: State = "sent"
        if self.negative:
            state = "refused" if self.code >= 500 else "deferred"
        return Outcome(copy.id, state, self.code, self.text)


class Wire(asyncio.Protocol):
    """One connection, from the greeting to QUIT. One task at a time talks through it."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.lost: Lost | None = None
        self.served = 0  # copies that the server took or refused
        self.pipelining = False
        self._timeouts = timeouts
        self._extensions: dict[bytes, bytes] = {}
        self._size_limit = 0
        self._unfinished = False  # the server holds a transaction that ended before its content
        self._transport: asyncio.Transport
        self._heard = b""
        self._lines: list[bytes] = []
        self._answers: deque[Answer] = deque()
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.use(transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            match = REPLY.match(line)
            if match is None:
                self.fail("the mail server does not speak SMTP")
                return
            self._lines.append(match[3] or b"")
            if match[2] != b"-":
                self._answers.append(Answer(int(match[1]), tuple(self._lines)))
                self._lines.clear()
        if len(self._heard) + sum(map(len, self._lines)) > REPLY_LIMIT:
            self.fail("the mail server's reply has no end")
        if self._answers:
            self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(f"the mail server closed the connection{f': {exc}' if exc else ''}")

    # Opening and closing.

    async def greet(self, hostname: str, host: str, tls: ssl.SSLContext | None) -> None:
        """Read the greeting and say EHLO, under TLS if `tls` is given; raises Lost."""
        greeting = await self._answer(self._timeouts.greeting)
        if greeting.negative:
            raise self.fail(greeting.text, greeting.code)
        await self._hello(hostname)
        if tls:
            if b"STARTTLS" not in self._extensions:
                raise self.fail("the mail server does not offer STARTTLS")
            await self._succeed(b"STARTTLS\r\n")
            if self._heard or self._answers:
                raise self.fail("the mail server went on in the clear after STARTTLS")
            loop = asyncio.get_running_loop()
            secure = await loop.start_tls(self._transport, self, tls, server_hostname=host)
            assert secure is not None  # noqa: S101 - for the type checker
            self.use(secure)
            await self._hello(hostname)  # RFC 3207 4.2: forget what was said in the clear

    def use(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=1, low=0)  # with 0, TLS would pause for ever

    async def _hello(self, hostname: str) -> None:
        self._transport.write(f"EHLO {hostname}\r\n".encode())
        answer = await self._answer(self._timeouts.command)
        if answer.code >= 500:
            # RFC 5321 3.2: a server without extensions
            await self._succeed(f"HELO {hostname}\r\n".encode())
            answer = Answer(250, ())
        if answer.negative:
            raise self.fail(answer.text, answer.code)
        offers = (line.upper().partition(b" ") for line in answer.lines[1:])
        self._extensions = {keyword.strip(): values for keyword, _, values in offers}
        self.pipelining = b"PIPELINING" in self._extensions
        limit = self._extensions.get(b"SIZE", b"").strip()
        self._size_limit = int(limit) if limit.isdigit() and len(limit) <= 20 else 0

    async def quit(self) -> None:
        """RFC 5321 4.1.1.10: say QUIT and wait for the answer, but not long."""
        try:
            self._begin()
            self._transport.write(b"QUIT\r\n")
            await self._answer(self._timeouts.farewell)
        except Lost:
            pass
        finally:
            self.abort()

    @property
    def quiet(self) -> bool:
        """The server neither went away nor said anything unasked."""
        return self.lost is None and not self._answers and not self._transport.is_closing()

    def abort(self) -> None:
        self.fail("the gateway closed the connection")

    def fail(self, text: str, code: int | None = None) -> Lost:
        """Close at once; the first reason stays."""
        if self.lost is None:
            self.lost = Lost(text, code)
            self._transport.abort()
            self._wake()
        return self.lost

    # A transaction: objection, announce, agree, finish.

    def objection(self, copy: Copy) -> Outcome | None:
        """Why this server can't be given the copy, known without asking it."""
        if 0 < self._size_limit < copy.size:
            text = f"5.3.4 {copy.size} bytes, and the mail server takes {self._size_limit}"
            return Outcome(copy.id, "refused", 552, text)
        addresses = copy.sender + copy.recipient
        if not addresses.isprintable():  # a line end would become a command
            return Outcome(copy.id, "refused", 553, "5.1.3 control character in an address")
        if not addresses.isascii() and b"SMTPUTF8" not in self._extensions:
            text = "5.6.7 the mail server does not offer SMTPUTF8, which the address needs"
            return Outcome(copy.id, "refused", 553, text)
        return None

    def announce(self, copy: Copy) -> None:
        """With pipelining, send the commands before the content; see `finish` for the others."""
        self._begin()
        if self.pipelining:
            self._transport.write(b"".join(self._commands(copy)))

    async def agree(self, copy: Copy) -> Outcome | None:
        """The server's objection to the announced copy, None if it waits for the content.

        Raises Lost; the copy is then as if never offered.
        """
        refusal: Answer | None = None
        for command in self._commands(copy):
            if not self.pipelining:
                self._transport.write(command)
            initiation = command == DATA
            timeouts = self._timeouts
            answer = await self._answer(timeouts.data if initiation else timeouts.command)
            if answer.negative:
                if command == RSET:
                    raise self.fail(f"unexpected reply: {answer.code} {answer.text}")
                refusal = refusal or answer
                if not self.pipelining:
                    break
            elif (answer.code == 354) is not initiation:
                raise self.fail(f"unexpected reply: {answer.code} {answer.text}")
        self._unfinished = False
        if refusal is None:
            return None
        if answer.code == 354:
            # RFC 2920 3.1: no recipient is left, so the server gets no content
            self._transport.write(b".\r\n")
            await self._answer(self._timeouts.end)
        else:
            self._unfinished = True
        self.served += 1
        return refusal.outcome(copy)

    async def finish(self, copy: Copy, following: Copy | None) -> Outcome:
        """Send the content, announce the following copy in the same group, hear the verdict.

        Raises Lost as long as the server can't have the whole content; from then on a broken
        connection makes the copy deferred and in doubt. `lost` tells if this was the last.
        """
        group = b"".join(self._commands(following)) if following else b""
        premature = not await self._send((*copy.parts, b".\r\n" + group))
        try:
            answer = await self._answer(self._timeouts.end)
        except Lost as lost:
            return lost.deferred(copy, in_doubt=lost.code is None)
        if not answer.negative and (premature or answer.code >= 300):
            protocol_error = self.fail(f"unexpected reply: {answer.code} {answer.text}")
            return protocol_error.deferred(copy, in_doubt=True)
        if premature:  # the rest of the content would be taken for commands
            self.fail("the mail server refused a copy before its end")
        self.served += 1
        return answer.outcome(copy)

    def _commands(self, copy: Copy) -> Iterator[bytes]:
        if self._unfinished:
            yield RSET
        size = f" SIZE={copy.size}" if b"SIZE" in self._extensions else ""  # RFC 1870 6
        utf8 = "" if (copy.sender + copy.recipient).isascii() else " SMTPUTF8"  # RFC 6531 3.4
        yield f"MAIL FROM:<{copy.sender}>{size}{utf8}\r\n".encode()
        yield f"RCPT TO:<{copy.recipient}>\r\n".encode()
        yield DATA

    # Bytes out, replies in.

    def _begin(self) -> None:
        """Raise Lost unless the next reply will be the one to the next command."""
        if self._answers and self.lost is None:
            answer = self._answers[0]
            self.fail(f"unasked reply: {answer.code} {answer.text}", answer.code)
        if self.lost:
            raise self.lost

    async def _send(self, parts: Iterable[bytes]) -> bool:
        """True when all is handed to the kernel or about to be; False if answered before that."""
        for chunk in _chunks(parts):
            while self._paused and not self._answers and not self.lost:
                await self._wait(self._timeouts.block)
            if self._answers:
                return False
            if self._transport.is_closing():
                raise self.fail("the mail server closed the connection")
            self._transport.write(chunk)
        return True

    async def _succeed(self, command: bytes) -> None:
        self._transport.write(command)
        answer = await self._answer(self._timeouts.command)
        if answer.negative:
            raise self.fail(answer.text, answer.code)

    async def _answer(self, seconds: float) -> Answer:
        """The next reply; 421 is the end of the connection (RFC 5321 3.8)."""
        while not self._answers:
            if self.lost:
                raise self.lost
            await self._wait(seconds)
        answer = self._answers.popleft()
        if answer.code == 421:
            self.fail(answer.text, answer.code)
            raise Lost(answer.text, answer.code)
        return answer

    async def _wait(self, seconds: float) -> None:
        """Until something happens: a reply, room to write, the end."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except TimeoutError:
            self.fail(f"the mail server was silent for {seconds:g} s")
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """Small parts joined, large ones in slices that copy nothing."""
    joined: list[bytes] = []
    length = 0
    for part in parts:
        if length + len(part) > CHUNK:
            yield b"".join(joined)
            joined, length = [], 0
        if len(part) > CHUNK:
            view = memoryview(part)
            for start in range(0, len(part), CHUNK):
                yield view[start : start + CHUNK]
        else:
            joined.append(part)
            length += len(part)
    yield b"".join(joined)


async def open_wire(
    host: str, port: int, hostname: str, tls: ssl.SSLContext | None, timeouts: Timeouts
) -> Wire:
    """A connection past EHLO; raises Lost with the server's reply or the system's reason."""
    loop = asyncio.get_running_loop()
    wire = Wire(timeouts)
    try:
        async with asyncio.timeout(timeouts.connect):
            transport, _ = await loop.create_connection(lambda: wire, host, port)
    except (OSError, UnicodeError) as error:  # the latter for a name that no host can have
        reason = str(error) or "timed out"
        raise Lost(f"cannot reach the mail server at {host}:{port}: {reason}") from error
    _notice_its_end(transport.get_extra_info("socket"))
    try:
        await wire.greet(hostname, host, tls)
    except OSError as error:
        raise wire.fail(f"no TLS with the mail server at {host}:{port}: {error}") from error
    except BaseException:
        wire.abort()
        raise
    return wire


def _notice_its_end(connection: socket.socket) -> None:
    """A host that is cut off says nothing, and what it was sent would be repeated for a quarter of
    an hour, while this process keeps its lease. A mail server that takes its time is not meant: its
    host acknowledges all the same."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, GONE_SECONDS // 2),
        (socket.TCP_KEEPINTVL, GONE_SECONDS // 6),
        (socket.TCP_USER_TIMEOUT, GONE_SECONDS * 1000),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
