"""The two ends that the tests of the doors put together: a real door, and a client of raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from gateway.errors import Reply
from gateway.intake.door import Door
from gateway.intake.limits import Limits
from gateway.intake.smtp import listen
from gateway.message.envelope import Envelope

NOW = datetime(2031, 5, 4, 12, 30, tzinfo=UTC)
ACCEPTED = Reply(250, "2.0.0", "Accepted")
UNKNOWN = Reply(550, "5.1.1", "No such list here")


@dataclass
class Mailbox:
    """A reception that keeps what it is given and answers what it is told to."""

    known: tuple[str, ...] = ("topic@lists.example", "other@lists.example", "Postmaster")
    answer: Callable[[Envelope, str], Reply] = lambda envelope, recipient: ACCEPTED
    fault: Exception | None = None
    started: threading.Event = field(default_factory=threading.Event)
    finish: threading.Event | None = None
    kept: list[Envelope] = field(default_factory=list)

    async def recipient(self, address: str) -> Reply | None:
        if address.startswith("faulty"):
            raise LookupError(address)
        return None if address in self.known else UNKNOWN

    async def submit(self, envelope: Envelope) -> tuple[Reply, ...]:
        self.started.set()
        if self.finish is not None:
            await asyncio.to_thread(self.finish.wait, 20)
        if self.fault is not None:
            raise self.fault
        self.kept.append(envelope)
        return tuple(self.answer(envelope, recipient) for recipient in envelope.recipients)


class OpenDoor:
    """A door on its own thread's event loop."""

    def __init__(self, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        self.address = door.address
        self._door = door
        self._loop = loop

    def stand_still(self, seconds: float) -> None:
        """Have it take nothing for so long, and return at once."""
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    def close(self, grace: float) -> None:
        asyncio.run_coroutine_threadsafe(self._door.close(grace), self._loop).result(30)


@contextlib.contextmanager
def open_door(
    mailbox: Mailbox,
    limits: Limits | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    implicit_tls: bool = False,
    protocol: Literal["smtp", "lmtp"] = "smtp",
    host: str = "127.0.0.1",
) -> Iterator[OpenDoor]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        opening = listen(
            host,
            0,
            mailbox,
            limits or Limits(),
            hostname="gateway.example",
            tls=tls,
            implicit_tls=implicit_tls,
            protocol=protocol,
            clock=lambda: NOW,
        )
        door = OpenDoor(asyncio.run_coroutine_threadsafe(opening, loop).result(10), loop)
        try:
            yield door
        finally:
            door.close(0)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class RawClient:
    """A client that sends exactly the bytes it is given, and reads replies. source: the address
    that it has."""

    def __init__(self, door: OpenDoor, tls: ssl.SSLContext | None = None, source: str = "") -> None:
        self.socket = socket.create_connection(door.address, 20, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        if tls is not None:
            self.start_tls(tls)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(self.socket, server_hostname="gateway.example")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> str:
        """One whole reply, its lines joined by a line feed; "" once the server has closed."""
        lines: list[str] = []
        while True:
            while b"\r\n" not in self._unread:
                more = self.socket.recv(65536)
                if not more:
                    assert not self._unread
                    return ""
                self._unread += more
            line, _, self._unread = self._unread.partition(b"\r\n")
            lines.append(line.decode("ascii"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    def say(self, command: str) -> str:
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def greet(self, greeting: str = "EHLO") -> str:
        assert self.reply().startswith("220 gateway.example ")
        return self.say(f"{greeting} client.example")

    def begin_data(self, *recipients: str) -> None:
        """A transaction up to the 354."""
        assert self.say("MAIL FROM:<officer@customs.example>").startswith("250 2.1.0")
        for recipient in recipients or ("topic@lists.example",):
            assert self.say(f"RCPT TO:<{recipient}>").startswith("250 2.1.5")
        assert self.say("DATA").startswith("354 ")

    def rest(self) -> list[str]:
        """All replies up to the server's close."""
        replies = []
        while reply := self.reply():
            replies.append(reply)
        return replies
