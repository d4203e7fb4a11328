"""Handing finished copies to the mail server that takes them to the world, or into Maildirs.

Whatever the door, an outcome is recorded durably before the next copy goes through it, so a
gateway killed at any instant leaves at most one copy per connection in doubt.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from inspect import isawaitable, iscoroutinefunction
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from gateway.errors import Unavailable, UsageError

TEXT_LIMIT = 200
_NOT_SHOWN = bytes(set(range(256)) - set(range(32, 127)))

State = Literal["sent", "deferred", "refused"]


def always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Copy:
    """One subscriber's mail, ready for the wire.

    id: the outbox row. sender and recipient: envelope addresses without angle brackets, the
    sender "" for the null path (RFC 5321 4.5.5). parts: the mail's bytes in order, CRLF line ends,
    the last part ending with CRLF, and no line starting with ".", so that nothing needs
    dot-stuffing (RFC 5321 4.5.2); large parts may be shared by many copies and are not copied.
    size: bytes of all parts. token: of the posting or notice, never used for another one.
    wanted: asked again until its content goes out; once it says no, the copy is left out without an
    outcome.
    """

    id: int
    sender: str
    recipient: str
    parts: tuple[bytes, ...]
    size: int
    token: str = ""
    wanted: Callable[[], bool] = field(default=always, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.parts or not self.parts[-1].endswith(b"\r\n"):
            raise ValueError("a copy's last part ends with CRLF")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a copy.

    sent: the mail server has it. deferred: try again later. refused: never will be taken.
    code: the reply's code (RFC 5321 4.2), None if no reply decided. text: the server's words,
    one line of printable ASCII, at most 200 characters. in_doubt: deferred although the server
    may have taken it, because the connection broke between the content and its reply.
    """

    id: int
    state: State
    code: int | None
    text: str
    in_doubt: bool = False


# A plain function is called in a thread, one call at a time: more outcomes gather meanwhile.
Record = Callable[[Sequence[Outcome]], Awaitable[None]] | Callable[[Sequence[Outcome]], None]
Copies = AsyncIterable[Copy] | Iterable[Copy]
Live = Callable[[], bool]


class Handoff(Protocol):
    """A way out for finished copies; belongs to one event loop."""

    async def deliver(self, copies: Copies, record: Record, live: Live = always) -> None:
        """Hand off every copy that is wanted and give each exactly one outcome to `record`, in
        groups.

        live: asked before each copy is begun; once it says no, the rest is left alone.
        Returns when all are recorded. Raises what `record` or `copies` raised; copies without
        a recorded outcome then have to be offered again.
        """

    async def check(self) -> None:
        """Raises Lost where nothing can be handed off. Looks only where the last try failed."""

    async def close(self) -> None:
        """End the connections that are kept open between calls."""


class Lost(Unavailable):
    """The way out is gone; code is the reply that said so, None if there was none."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.text = one_line(text)
        self.code = code

    def deferred(self, copy: Copy, in_doubt: bool = False) -> Outcome:
        return Outcome(copy.id, "deferred", self.code, self.text, in_doubt)


def one_line(text: str | bytes) -> str:
    """Foreign text made safe for a log and a database: printable ASCII, at most 200 characters."""
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    return raw.translate(None, _NOT_SHOWN)[:TEXT_LIMIT].decode("ascii")


def parse(
    setting: str,
    hostname: str,
    *,
    connections: int = 4,
    tls: ssl.SSLContext | None = None,
    base: Path = Path("."),
) -> Handoff:
    """The way out that the setting names; nothing is opened before the first delivery.

    `smtp://HOST[:PORT]` (port 25), `smtp+starttls://HOST[:PORT]` (port 25, TLS with a verified
    certificate or nothing) or `maildir:DIR`. hostname: the gateway's own name, for EHLO and the
    names of files. connections: how many at the same time. tls: instead of the system's trust.
    base: what a relative DIR is in.
    Raises UsageError when the setting names nothing of the kind.
    """
    # The doors are built on the values above.
    from gateway.delivery.maildir import MaildirHandoff
    from gateway.delivery.smtp_client import SmtpHandoff

    if connections < 1:
        raise UsageError("delivery needs at least one connection")
    if not hostname.isascii() or not hostname.isprintable() or not hostname or " " in hostname:
        raise UsageError(f"not a host name: {hostname!r}")
    scheme, _, rest = setting.partition(":")
    if scheme == "maildir" and rest:
        return MaildirHandoff(base / rest, hostname, writers=connections)
    if scheme in ("smtp", "smtp+starttls"):
        host, port = _host_and_port(setting)
        context = (tls or ssl.create_default_context()) if scheme == "smtp+starttls" else None
        return SmtpHandoff(host, port, hostname, connections=connections, tls=context)
    raise UsageError(
        f"cannot deliver to {setting!r}: use smtp://HOST:PORT, smtp+starttls://HOST:PORT"
        " or maildir:DIR"
    )


def _host_and_port(setting: str) -> tuple[str, int]:
    try:
        url = urlsplit(setting)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise UsageError(f"cannot deliver to {setting!r}: {error}") from None
    if not host or url.path not in ("", "/") or url.query or url.fragment or url.username:
        raise UsageError(f"cannot deliver to {setting!r}: only a host and a port are expected")
    return host, 25 if port is None else port


class Supply:
    """The copies still to go, shared by several lanes; at most `ahead` are fetched early."""

    def __init__(self, copies: Copies, ahead: int, live: Live) -> None:
        self._copies = copies
        self._live = live
        self._queue: asyncio.Queue[Copy | None] = asyncio.Queue()  # None: there will be no more
        self._room = asyncio.Semaphore(ahead)
        self._feeder = asyncio.create_task(self._feed())

    async def take(self) -> Copy | None:
        """The next copy that is wanted, waiting for it; None when there are no more."""
        while (copy := await self._next()) is not None and not copy.wanted():
            pass
        return self._unless_over(copy)

    def ready(self) -> Copy | None:
        """The next copy that is wanted, if it is at hand already."""
        while (copy := self._at_hand()) is not None and not copy.wanted():
            pass
        return self._unless_over(copy)

    async def _next(self) -> Copy | None:
        copy = await self._queue.get()
        if copy is None:
            self._queue.put_nowait(None)  # for the next lane, behind what was given back
            copy = self._queue.get_nowait()
            if copy is None:
                self._queue.put_nowait(None)
        self._room.release()
        return copy

    def _at_hand(self) -> Copy | None:
        if self._queue.empty():
            return None
        copy = self._queue.get_nowait()
        if copy is None:
            self._queue.put_nowait(None)
            return None
        self._room.release()
        return copy

    def _unless_over(self, copy: Copy | None) -> Copy | None:
        if copy is None or self._live():
            return copy
        self.stop()
        return None

    def give_back(self, copy: Copy) -> None:
        """Leave a copy that was taken, and not begun, to another lane."""
        self._queue.put_nowait(copy)

    def stop(self) -> None:
        """Hand out no more."""
        self._feeder.cancel()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def close(self) -> None:
        """Raise what the source of copies raised, if it did."""
        try:
            await self._feeder
        except asyncio.CancelledError:
            if not self._feeder.cancelled():
                raise

    async def _feed(self) -> None:
        try:
            async with aclosing(_each(self._copies)) as copies:
                async for copy in copies:
                    await self._room.acquire()
                    self._queue.put_nowait(copy)
        finally:
            self._queue.put_nowait(None)


async def _each(copies: Copies) -> AsyncGenerator[Copy, None]:
    if isinstance(copies, AsyncIterable):
        async for copy in copies:
            yield copy
    else:
        for copy in copies:
            yield copy


class GroupCommit:
    """Records outcomes that come at about the same time in one call, one call at a time."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._waiting: deque[tuple[Outcome, asyncio.Future[None]]] = deque()
        self._commits: asyncio.Task[None] | None = None

    async def __call__(self, outcome: Outcome) -> None:
        """Return when the outcome is recorded; raise what recording it raised."""
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, recorded))
        if self._commits is None:
            self._commits = asyncio.create_task(self._commit())
        await recorded

    async def _commit(self) -> None:
        while self._waiting:
            group = tuple(self._waiting)
            self._waiting.clear()
            error: Exception | None = None
            try:
                await self._call([outcome for outcome, _ in group])
            except Exception as failure:
                error = failure
            for _, recorded in group:
                if recorded.done():
                    continue  # the lane was cancelled meanwhile
                if error is None:
                    recorded.set_result(None)
                else:
                    recorded.set_exception(error)
        self._commits = None

    async def _call(self, outcomes: Sequence[Outcome]) -> None:
        if iscoroutinefunction(self._record):
            await self._record(outcomes)
            return
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(None, self._record, outcomes)
        if isawaitable(result):
            await result

    async def settle(self) -> None:
        """Wait for the call under way, which can't be taken back."""
        if self._commits:
            await asyncio.wait([self._commits])


Lane = Callable[[Supply, GroupCommit], Awaitable[Lost | None]]


async def share(copies: Copies, record: Record, live: Live, lane: Lane, lanes: int) -> None:
    """Run `lanes` of `lane` over the copies; when all have lost their way, defer what is left.

    After an exception in one lane the others finish what they hold, and take no more.
    """
    supply = Supply(copies, 2 * lanes, live)
    commit = GroupCommit(record)

    async def run() -> Lost | None:
        try:
            return await lane(supply, commit)
        except BaseException:
            supply.stop()
            raise

    try:
        ends = await asyncio.gather(*(run() for _ in range(lanes)), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, Lost):
                raise end
        lost = next((end for end in ends if isinstance(end, Lost)), None)
        while lost and (copy := await supply.take()) is not None:
            rest = [copy]
            while (copy := supply.ready()) is not None:
                rest.append(copy)
            await asyncio.gather(*(commit(lost.deferred(copy)) for copy in rest))
        await supply.close()
    finally:
        supply.stop()
        await commit.settle()
