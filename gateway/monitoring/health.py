"""Whether a server that runs does its work: a few quick checks, for whoever asks often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from sqlalchemy import update

from gateway.app import App
from gateway.errors import GatewayError
from gateway.monitoring.finding import Check, Finding, fault, ok, run, warning
from gateway.monitoring.metrics import LOOK_SECONDS, Child
from gateway.monitoring.of_database import late
from gateway.monitoring.of_network import greeting
from gateway.monitoring.sampling import Queue
from gateway.store import own_key
from gateway.store.ledger import LedgerHead
from gateway.store.mailing_list import Purpose

SECONDS: Final = 5.0
_AGENT_SECONDS: Final = 30.0
_SAMPLE: Final = b"Signed to see whether gpg-agent serves.\n"
NAMES: Final = ("doors", "database", "agent", "workers", "web", "imap", "queue")
"""docs/operating.md has an entry for each."""


class Health:
    """One server's. Asked by any thread.

    doors: the addresses as bound, with whether TLS comes first. queue: None where the database does
    not serve. seconds: for all checks together. every: seconds for which an answer is good.
    """

    def __init__(
        self,
        app: App,
        doors: Callable[[], Sequence[tuple[str, int, bool]]],
        children: Callable[[], Sequence[Child]],
        queue: Callable[[], Queue | None],
        seconds: float = SECONDS,
        every: float = LOOK_SECONDS,
    ) -> None:
        self._app, self._doors, self._children, self._queue = app, doors, children, queue
        self._seconds, self._every = seconds, every
        kinds: dict[str, Check] = {
            "doors": self._of_doors,
            "database": self._of_database,
            "agent": self._of_agent,
            "workers": partial(self._of_processes, "worker"),
            "web": partial(self._of_processes, "web"),
            "imap": partial(self._of_processes, "imap"),
            "queue": self._of_queue,
        }
        self._checks: dict[str, Check] = {
            name: partial(_one_at_a_time, kinds[name], threading.Lock()) for name in NAMES
        }
        self._lock = threading.Lock()
        self._asked_at = self._signed_at = float("-inf")
        self._findings: list[Finding] = []

    def findings(self) -> list[Finding]:
        """As they were a moment ago at most. One question is answered after the other."""
        with self._lock:
            if time.monotonic() - self._asked_at >= self._every:
                self._findings = run(self._checks, self._seconds)
                self._asked_at = time.monotonic()
            return self._findings

    def _of_doors(self) -> Iterator[Finding]:
        open_ = self._doors()
        for host, port, implicit in open_:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            said = greeting(where, implicit=implicit)
            if not said.startswith("220"):
                yield warning(f"{port} says {said[:3]}", "see who fills it: ss -tn")
        yield ok(f"{len(open_)} open")

    def _of_database(self) -> Iterator[Finding]:
        with self._app.database.quick_transaction() as connection:
            # There and back in one transaction: nothing changes, and it is written all the same,
            # which fails on a full disk. SQLite leaves out what is as it was.
            for step in (1, -1):
                connection.execute(update(LedgerHead).values(sequence=LedgerHead.sequence + step))
        yield ok("writes")

    def _of_agent(self) -> Iterator[Finding]:
        if time.monotonic() - self._signed_at < _AGENT_SECONDS:
            yield ok("signed lately")
            return
        with self._app.database.reading() as session:
            keys = own_key.in_use(session)
        command = next(one.fingerprint for one in keys if one.purpose is Purpose.COMMAND)
        try:
            self._app.keyring.sign(_SAMPLE, command)
        except GatewayError as error:
            yield fault(f"does not sign: {error}", "gpgconf --homedir STATE/gnupg --kill all")
            return
        self._signed_at = time.monotonic()
        yield ok("signs")

    def _of_processes(self, kind: str) -> Iterator[Finding]:
        own = [one for one in self._children() if one.name.startswith(kind)]
        gone = [one.name for one in own if one.pid is None]
        if gone:
            yield fault(f"{', '.join(gone)} not running", "see the log for why it ends")
        else:
            yield ok(f"{len(own)} running")

    def _of_queue(self) -> Iterator[Finding]:
        found = self._queue()
        if found is None:
            yield fault("can't be read", "see the check 'database'")
            return
        yield from late(found)
        yield ok("read")


def _one_at_a_time(check: Check, lock: threading.Lock) -> Iterable[Finding]:
    """A check that hangs is not begun again, so that its threads don't pile up."""
    if not lock.acquire(blocking=False):
        return [fault("no answer since it was last asked", "find out what it waits for")]
    try:
        return list(check())
    finally:
        lock.release()
