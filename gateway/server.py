"""`environet serve`: the doors in one process, each delivery worker and the web archive in one of
their own.

A worker is fed by a pipe: a byte on it says that the outbox has something new, its end says that
the server is gone, however it went, so that no worker outlives it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from gateway import dispatch
from gateway.app import App
from gateway.delivery import machine
from gateway.delivery.worker import Worker
from gateway.dispatch import Decision
from gateway.errors import GatewayError, Reply, UsageError
from gateway.intake.door import Reception
from gateway.intake.limits import Limits, client_of
from gateway.intake.smtp import Door, listen
from gateway.intake.tls import tls_context
from gateway.intake.turns import Turns
from gateway.message.envelope import Envelope
from gateway.monitoring.board import Board
from gateway.monitoring.metrics import Child
from gateway.monitoring.notify import keep_watchdog, notify
from gateway.monitoring.watching import Monitoring
from gateway.posting import directory
from gateway.posting.opening import inflation_limit
from gateway.settings import split_host_port
from gateway.store import leasing
from gateway.upkeep import rounds
from gateway.web import listening

log = logging.getLogger(__name__)

GRACE_SECONDS = 9.0
"""From the order to stop, for all that is under way at once; the rest of ten is for cleaning up."""
LONGEST_PAUSE_SECONDS = 60.0
"""Before a process is started again that dies at once, time after time."""
SOON_SECONDS = 1.0
BIG_MAIL = 2 * 2**20
"""Bytes from which mails are opened one at a time, so that memory is bounded by one of them. A mail
that is smaller and inflates to more than twice that is opened anew, as one of these."""


class Desk:
    """The decision room as the doors see it: blocking work in threads, only so much at once, and
    clients in turn."""

    def __init__(self, app: App, wake: Callable[[], None]) -> None:
        self._app = app
        self._wake = wake
        self._pool = ThreadPoolExecutor(app.config.policy.open_at_once + 2, "desk")
        self._slots = Turns(app.config.policy.open_at_once)
        self._refusal_seconds = app.config.smtp.refusal_ms / 1000
        self._big = Turns(1)

    async def recipient(self, address: str) -> Reply | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, directory.recipient, self._app, address)

    async def submit(self, envelope: Envelope) -> tuple[Reply, ...]:
        most = inflation_limit(self._app.config)
        clock = asyncio.get_running_loop().time
        began, decision = clock(), None
        if len(envelope.data) <= BIG_MAIL:
            decision = await self._run(envelope, min(2 * BIG_MAIL, most))
        if decision is None:
            async with self._big.turn(client_of(envelope.peer)):
                decision = await self._run(envelope, most)
        assert decision is not None  # noqa: S101  None is for a smaller limit alone
        if any(reply.accepted for reply in decision.replies):
            self._wake()
        if not decision.by_member and self._refusal_seconds:
            # How long it took would tell a stranger whether a mail could be decrypted, and whether
            # the key that it names is a member's, whatever the reply.
            await asyncio.sleep((began - clock()) % self._refusal_seconds)
        return decision.replies

    async def _run(self, envelope: Envelope, limit: int) -> Decision | None:
        async with self._slots.turn(client_of(envelope.peer)):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._pool, dispatch.decide, self._app, envelope, limit
            )

    def close(self) -> None:
        """Wait for the decisions under way."""
        self._pool.shutdown(cancel_futures=True)


class Processes:
    """The processes beside the doors: started, woken, started again when one dies."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._boards: dict[str, Board] = {}
        self._starts: dict[str, int] = {}

    def start(self, workers: int, web: int, listener: socket.socket | None) -> None:
        """So many delivery workers, and so many processes that take what comes to a socket."""
        for number in range(workers):
            self._start(f"worker {number}", "worker", str(number))
        if listener is not None:
            descriptor = listener.fileno()
            for number in range(web):
                self._start(f"web {number}", "web", "--socket", str(descriptor), hand=descriptor)

    def take_from_mailbox(self) -> None:
        """One more, which takes the mail that comes to a mailbox elsewhere."""
        self._start("imap", "imap", "take")

    def _start(self, name: str, *words: str, hand: int | None = None) -> None:
        board = self._boards[name] = Board.new()
        self._starts[name] = 0
        handed = (board.descriptor,) if hand is None else (board.descriptor, hand)
        words = (*words, "--board", str(board.descriptor))
        self._keepers.append(asyncio.create_task(self._keep(name, words, handed)))

    def children(self) -> list[Child]:
        """Those that there should be, as they are now."""
        running = {name: one.pid for name, one in self._processes.items() if one.returncode is None}
        return [
            Child(name, running.get(name), self._starts[name], board)
            for name, board in self._boards.items()
        ]

    def wake(self) -> None:
        for name, process in self._processes.items():
            stdin = process.stdin
            if name.startswith("worker") and stdin is not None and not stdin.is_closing():
                stdin.write(b"\n")

    async def close(self, grace: float) -> None:
        """Ask each to finish what it has in hand, and wait so many seconds; the slow are ended."""
        for keeper in self._keepers:
            keeper.cancel()
        processes = list(self._processes.values())
        for process in processes:
            if process.returncode is None:
                process.terminate()
        waiting = [asyncio.create_task(process.wait()) for process in processes]
        if waiting:
            await asyncio.wait(waiting, timeout=grace)
            for name, process in self._processes.items():
                if process.returncode is None:
                    log.warning("process %s did not end in time; it is killed", name)
                    process.kill()
            await asyncio.wait(waiting)

    async def _keep(self, name: str, words: tuple[str, ...], handed: tuple[int, ...]) -> None:
        pause = 1.0
        while True:
            started = time.monotonic()
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "gateway", "--state", str(self._state), *words,
                    stdin=asyncio.subprocess.PIPE, pass_fds=handed,
                )  # fmt: skip
            except OSError as error:
                log.error("process %s can't be started: %s", name, error.strerror)  # noqa: TRY400
            else:
                self._processes[name] = process
                self._starts[name] += 1
                status = await process.wait()
                log.error("process %s ended with status %d; starting it again", name, status)
            if time.monotonic() - started > LONGEST_PAUSE_SECONDS:
                pause = 1.0
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


class Upkeep:
    """Rounds of what falls due, one after the other, in a thread; and of what somebody waits for,
    such as a login mail, and what is to be found, each second, each in one of their own."""

    def __init__(self, app: App, wake: Callable[[], None]) -> None:
        self._app = app
        self._wake = wake
        self._pool = ThreadPoolExecutor(3, "upkeep")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        kinds = (
            (rounds.TASKS, self._app.config.upkeep.every_seconds),
            (rounds.SOON, SOON_SECONDS),
            (rounds.INDEXING, SOON_SECONDS),
        )
        self._tasks = [asyncio.create_task(self._run(tasks, every)) for tasks, every in kinds]

    async def _run(self, tasks: Sequence[rounds.Task], every_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every_seconds)
            done = await loop.run_in_executor(self._pool, rounds.run_due, self._app, tasks)
            if any(done.values()):
                self._wake()

    def stop(self) -> None:
        """Begin no more rounds."""
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """Wait for the rounds under way."""
        self._pool.shutdown(cancel_futures=True)


async def serve(app: App, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. `announce` is told each door's address once it is open."""
    _no_core_dumps()
    lock = _lock(app.state / "serve.lock")
    if not _taken(lock):
        raise UsageError(f"{app.state} is being served already by another process")
    workers = Processes(app.state)
    doors: list[Door] = []
    monitoring = Monitoring(app, workers.children, lambda: doors)
    app = monitoring.app
    _ = app.vault  # now and not at the first mail: without it no mail can be taken
    machine.name(app.state)  # before its workers ask for it
    desk = Desk(app, workers.wake)
    upkeep = Upkeep(app, workers.wake)
    watchdog = asyncio.create_task(keep_watchdog())
    web: socket.socket | None = None
    try:
        await _open_doors(app, monitoring.reception(desk), announce, doors)
        if app.config.web.listen:
            # Open here, so that who comes while one of its processes starts again waits a moment.
            web = listening.listening(app.config.web.listen)
            announce(listening.described(web))
        workers.start(app.config.delivery.workers, app.config.web.processes, web)
        if app.config.imap.host:
            workers.take_from_mailbox()
        upkeep.start()
        monitoring.open(announce)
        announce("ready")
        notify("READY=1")
        await _until_signal()
        log.info("stopping")
        notify("STOPPING=1")
    finally:
        monitoring.close()
        ends_at = time.monotonic() + GRACE_SECONDS
        upkeep.stop()
        if web is not None:
            web.close()
        await asyncio.gather(
            *(door.close(GRACE_SECONDS) for door in doors), workers.close(GRACE_SECONDS)
        )
        watchdog.cancel()
        _end(app, [desk.close, upkeep.close], ends_at)


def _end(app: App, waits: Sequence[Callable[[], None]], ends_at: float) -> None:
    """Leave nothing leased, and wait for threads no longer than until then (monotonic)."""
    calls = [*waits, lambda: _release(app)]
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    ends_at = max(ends_at, time.monotonic() + 0.5)
    for thread in threads:
        thread.join(max(0.0, ends_at - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        # Python would wait for them. gpg or a query may hold one for a minute; what it has not
        # committed was not answered, or falls due again.
        log.warning("work under way did not end in time; it is given up")
        logging.shutdown()
        os._exit(0)


def _release(app: App) -> None:
    """Give back what a worker held that had to be killed. None runs any more."""
    try:
        with app.database.transaction() as session:
            for number in range(app.config.delivery.workers):
                leasing.release(session, _worker_name(app, number))
    except GatewayError as error:
        log.warning("leases are left to run out: %s", error)


async def work(app: App, number: int, board: Board | None = None) -> None:
    """One delivery process, until SIGTERM or until whoever started it is gone. board: where it
    counts."""
    _no_core_dumps()
    # A worker takes over what the one of its name before it held, so that one must have ended.
    lock = _lock(app.state / f"worker-{number}.lock")
    while not _taken(lock):  # noqa: ASYNC110  another process's lock; nothing tells of its end
        await asyncio.sleep(0.1)
    worker = Worker(app, _worker_name(app, number), counted=board.copies if board else None)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, worker.stop)

    def fed() -> None:
        if os.read(sys.stdin.fileno(), 1024):
            worker.wake()
        else:
            loop.remove_reader(sys.stdin.fileno())
            worker.stop()

    loop.add_reader(sys.stdin.fileno(), fed)
    await worker.run()


def _worker_name(app: App, number: int) -> str:
    return f"{machine.name(app.state)}/{number}"


def _lock(path: Path) -> int:
    """A descriptor to lock; the lock ends with the process, however that ends."""
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _open_doors(
    app: App, desk: Reception, announce: Callable[[str], None], doors: list[Door]
) -> None:
    """Open each door that is set, adding it to `doors`, which the caller closes in any case."""
    smtp = app.config.smtp
    tls = tls_context(app.state / smtp.certificate, app.state / smtp.key) if smtp.key else None
    limits = Limits(
        message_bytes=smtp.message_bytes,
        held_bytes=smtp.held_bytes,
        recipients=smtp.recipients,
        connections=smtp.connections,
        connections_per_client=smtp.connections_per_client,
        idle_seconds=smtp.idle_seconds,
        data_seconds=smtp.data_seconds,
        line_bytes=smtp.line_bytes,
        commands=smtp.commands,
        errors=smtp.errors,
    )
    kinds: tuple[tuple[str, str, Literal["smtp", "lmtp"], bool], ...] = (
        ("smtp", smtp.listen, "smtp", False),
        ("smtps", smtp.tls_listen, "smtp", True),
        ("lmtp", smtp.lmtp_listen, "lmtp", False),
    )
    for name, where, protocol, implicit in kinds:
        if where:
            host, port = split_host_port(where)
            try:
                door = await listen(
                    host,
                    port,
                    desk,
                    limits,
                    hostname=app.config.domain,
                    tls=tls,
                    implicit_tls=implicit,
                    protocol=protocol,
                    clock=app.clock,
                )
            except OSError as error:
                raise UsageError(f"can't listen on {where} ({name}): {error.strerror}") from None
            doors.append(door)
            announce(f"listening: {name} {door.address[0]}:{door.address[1]}")


async def _until_signal() -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    await stopped.wait()


def _no_core_dumps() -> None:
    """What this process has in memory must not be written to a disk when it dies."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
