"""Clients by the thousand, each from an address of its own, that do what they should not."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Self

from tests.drills.load.ground import LIST

SENDER = "somebody@elsewhere.example"


class Talk:
    """One connection of a client that speaks SMTP. counted: every code that it is answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                 counted: Counter[str]) -> None:  # fmt: skip
        self._reader, self._writer, self._counted = reader, writer, counted

    async def reply(self) -> str:
        """The code of the next reply. Raises EOFError at the end of the connection."""
        while True:
            line = await self._reader.readline()
            if not line:
                raise EOFError
            if line[3:4] != b"-":
                code = line[:3].decode("latin-1")
                self._counted[code] += 1
                return code

    async def say(self, *lines: str) -> str:
        """All at once (RFC 2920); the code of the last one's reply."""
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        return [await self.reply() for _ in lines][-1]

    async def put(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def pause(self, seconds: float = 1.0) -> None:
        """Say nothing for so long, unless the server ends it. Raises EOFError."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.end()

    async def end(self) -> None:
        """Wait for the server to end it. Raises EOFError."""
        while True:
            await self.reply()


Act = Callable[[Talk], Awaitable[None]]
"""What a client does on each connection, after the greeting; it comes back when that is over."""


class Crowd:
    """So many clients, the nth of which does the nth of some acts, on a thread of their own.

    addresses: so many of them, in turn. again: seconds after which a client comes back whose
    connection has ended. greeted: by the server, with 220. counted: each reply; held: connections
    that are served at present; most_held: at one time.
    """

    def __init__(
        self,
        port: int,
        number: int,
        acts: tuple[Act, ...],
        *,
        addresses: int,
        again: float = 0.0,
        greeted: bool = True,
    ) -> None:
        self.counted: Counter[str] = Counter()
        self.held = self.most_held = 0
        self._port, self._number, self._acts = port, number, acts
        self._addresses, self._again, self._greeted = addresses, again, greeted
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _begin(self) -> None:
        self._tasks = [asyncio.create_task(self._live(at)) for at in range(self._number)]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _live(self, number: int) -> None:
        source = address(number % self._addresses)
        while True:
            with suppress(OSError, EOFError):
                await self._visit(source, self._acts[number % len(self._acts)])
            await asyncio.sleep(self._again)

    async def _visit(self, source: str, act: Act) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(source, 0), limit=2**20
        )
        talk, is_served = Talk(reader, writer, self.counted), False
        try:
            is_served = not self._greeted or await talk.reply() == "220"
            self.held += is_served
            self.most_held = max(self.most_held, self.held)
            if is_served:
                await act(talk)
        finally:
            self.held -= is_served
            writer.transport.abort()


def address(number: int) -> str:
    """The nth address of this machine's own network."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


# Slow ones: each waits for the server to lose its patience.


async def silent(talk: Talk) -> None:
    await talk.end()


async def after_ehlo(talk: Talk) -> None:
    await talk.say("EHLO slow.example")
    await talk.end()


async def after_recipient(talk: Talk) -> None:
    await talk.say("EHLO slow.example", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{LIST}>")
    await talk.end()


async def in_handshake(talk: Talk) -> None:
    await talk.say("EHLO slow.example", "STARTTLS")
    await talk.end()


async def noop_a_second(talk: Talk) -> None:
    while True:
        await talk.say("NOOP")
        await talk.pause()


async def byte_a_second(talk: Talk) -> None:
    await begin(talk)
    while True:
        await talk.put(b"x")
        await talk.pause()


SLOW: tuple[Act, ...] = (
    silent, after_ehlo, after_recipient, in_handshake, noop_a_second, byte_a_second,
)  # fmt: skip


# Fast ones: each goes on for as long as it may.


async def unknown_recipients(talk: Talk) -> None:
    await talk.say("EHLO flood.example", f"MAIL FROM:<{SENDER}>")
    while True:
        await talk.say(*(f"RCPT TO:<nobody{number}@environet.example>" for number in range(50)))


async def commands(talk: Talk) -> None:
    while True:
        await talk.say(*("NOOP", "RSET", "VRFY somebody", "HELP") * 50)


async def no_commands(talk: Talk) -> None:
    while True:
        await talk.say(*("EXPLODE",) * 50)


def mails(written: Sequence[bytes]) -> Act:
    """Hands in one mail after the other, of these."""

    async def act(talk: Talk) -> None:
        for mail in cycle(written):
            await begin(talk)
            await talk.put(mail + b".\r\n")
            await talk.reply()

    return act


def half(written: bytes) -> Act:
    """Hands in a mail, all but its last bytes, and then a byte a second."""

    async def act(talk: Talk) -> None:
        await begin(talk)
        await talk.put(written[:-1000])
        while True:
            await talk.pause()
            await talk.put(b"x")

    return act


async def greedy(talk: Talk) -> None:
    """Commands without end, and no reply is read."""
    while True:
        await talk.put(b"HELP\r\n" * 10_000)


async def begin(talk: Talk) -> str:
    """A transaction up to the reply to DATA, which is returned."""
    lines = ("EHLO load.example", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{LIST}>")
    return await talk.say(*lines, "DATA")
