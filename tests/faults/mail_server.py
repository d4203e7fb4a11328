"""The mail server that takes the copies, and what it may do wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tests.gateway import Handed

_T = TypeVar("_T")

MOST_BYTES = 64 * 2**20
"""Of a copy."""


class MailServer:
    """SMTP with PIPELINING on a thread of its own; keeps what it takes.

    mood: "" is well. "stalls": silent after a copy's content, which it does not keep, then gone.
    "resets": gone after a copy's content, which it keeps. Both once. deferred, refused: recipients
    who are answered 450 once, and 550 as long as they are named.
    """

    def __init__(self) -> None:
        self.handed: list[Handed] = []
        self.mood = ""
        self.deferred: set[str] = set()
        self.refused: set[str] = set()
        self.port = 0
        self.stall_seconds = 2.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.open()

    def open(self) -> None:
        """Take connections, at the same port as before."""
        starting = asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=MOST_BYTES)
        self._server = self._run(starting)
        self.port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """Refuse connections, and end those that there are."""
        self._run(self._shut())

    def close(self) -> None:
        self.shut()
        self._run(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _settle(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._talk(reader, writer)
        self._writers.discard(writer)
        writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.example\r\n")
        sender, recipients = "", list[str]()
        while line := (await reader.readline()).decode().strip():
            word, path = line[:4].upper(), line.partition("<")[2].partition(">")[0]
            answer = "250 OK"
            if word == "EHLO":
                answer = "250-sink.example\r\n250 PIPELINING"
            elif word == "MAIL":
                sender, recipients = path, []
            elif word == "RCPT":
                answer = self._of_recipient(path)
                recipients += [path] if answer.startswith("250") else []
            elif word == "DATA" and not recipients:
                answer = "554 5.5.1 no recipient"
            elif word == "DATA":
                writer.write(b"354 go on\r\n")
                data = (await reader.readuntil(b"\r\n.\r\n"))[:-3]
                if await self._is_gone(sender, recipients, data):
                    return
            writer.write(answer.encode() + b"\r\n")
            if word == "QUIT":
                return

    async def _is_gone(self, sender: str, recipients: list[str], data: bytes) -> bool:
        mood, self.mood = self.mood, ""
        if mood == "stalls":
            await asyncio.sleep(self.stall_seconds)
            return True
        self.handed += [Handed(sender, one, data) for one in recipients]
        return mood == "resets"

    def _of_recipient(self, address: str) -> str:
        if address in self.refused:
            return "550 5.1.1 nobody of that name"
        if address in self.deferred:
            self.deferred.discard(address)
            return "450 4.2.0 not now"
        return "250 OK"

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
