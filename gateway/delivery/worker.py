"""The delivery worker: leases copies, encrypts and hands them off, writes down what became of each.

A lease is a short transaction, so is each record of results. Between them the letter is written in
a session that only reads, and while copies are encrypted and sent no transaction is open.
Whatever dies, the lease runs out and another worker, or this one started again, goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import chain, islice

from gateway.app import App
from gateway.crypto import domain, domain_key
from gateway.crypto.encryptor import Encryptor
from gateway.delivery.copies import copies, plain_copy
from gateway.delivery.handoff import Copy, Handoff, Outcome, parse
from gateway.delivery.preparing import Preparer, Work
from gateway.delivery.watch import Watch
from gateway.errors import GatewayError, Unavailable, trace
from gateway.posting import directory
from gateway.store import clock, leasing, outbox
from gateway.store.clock import WrongClock
from gateway.store.leasing import Lease, Leased, Reader, Result
from gateway.store.outbox import Delivery
from gateway.store.parked import CERTIFICATE_FAULT
from gateway.tracing import about, current

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
SLICE_SECONDS = 1.0
"""For so long a lease goes on while others wait, or for as long as it took to encrypt."""
STOP_SECONDS = 6.0
"""For so long copies under way may go on after `stop`: a mail server may have fallen silent."""


class Worker:
    """One delivery process. `name` is its own among all workers of the gateway, and the same after
    a restart, so that what it held when it died is its again at once."""

    def __init__(
        self,
        app: App,
        name: str,
        handoff: Handoff | None = None,
        counted: Callable[[Sequence[Result]], None] | None = None,
    ) -> None:
        """counted: told what became of copies, once that is recorded."""
        self._counted = counted
        self._app = app
        self._name = name
        self._preparer = Preparer(app, name)
        self._handoff = handoff or parse(
            app.config.handoff.to,
            app.config.domain,
            connections=app.config.handoff.connections,
            base=app.state,
        )
        self._encryptor = Encryptor()
        dkim = app.config.dkim
        keys = domain_key.load(app.state, dkim.selector, dkim.sign)
        self._sign = domain.signer(app.config.domain, keys, app.clock)
        self._has_orphans = False
        self._fault = ""  # why nothing can be leased, as it was told
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._slice_ends = 0.0
        self._renewed_at = time.monotonic()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the copies under way, give back the others, and end: after STOP_SECONDS in any
        case."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop`. A fault on one lease is logged and costs that lease a delay."""
        self._release()
        renewing = asyncio.create_task(self._renew())
        delivering = asyncio.create_task(self._go_on())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((delivering, stopped), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((delivering,), timeout=STOP_SECONDS)
            if not delivering.done():
                log.warning("copies under way are given up: the worker is to end")
                delivering.cancel()
            with suppress(asyncio.CancelledError):
                await delivering
        finally:
            for task in (renewing, delivering, stopped):
                task.cancel()
            await self._handoff.close()
            self._release()

    async def _go_on(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            if not await self._step():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), IDLE_SECONDS)

    async def drain(self) -> None:
        """Deliver what is due now, then return."""
        while await self._step():
            pass

    async def _step(self) -> bool:
        """One lease. False where nothing was due, or nothing can be done for now."""
        try:
            # First: what is due is left to workers that have a way out.
            await self._handoff.check()
            if self._has_orphans:
                self._release()
                self._has_orphans = False
            lease = self._lease()
        except GatewayError as error:
            # The database may have committed a lease, and only its answer was lost.
            self._has_orphans = True
            if str(error) != self._fault:
                log.error("no work can be leased: %s", error)  # noqa: TRY400  its text says all
            self._fault = str(error)
            await asyncio.sleep(IDLE_SECONDS)
            return False
        self._fault = ""
        if lease is None:
            return False
        try:
            await self._deliver(lease)
        except WrongClock as error:
            log.error("posting %s is left to others: %s", lease.subject, error)  # noqa: TRY400
            self._has_orphans = True
        except Exception as error:
            # Another posting may do better, so this one must not stand in its way.
            said = str(error) if isinstance(error, GatewayError) else trace(error)
            log.error("posting %s was not delivered: %s", lease.subject, said)  # noqa: TRY400
            self._postpone(lease, type(error).__name__)
        return True

    def _postpone(self, lease: Lease, fault: str) -> None:
        """Whatever of a lease has no result yet is tried later, as after a temporary failure.

        Where that can't be written down either, it is given back as soon as something can.
        """
        outcomes = [Outcome(one.id, "deferred", None, fault) for one in lease.entries]
        try:
            self._record(
                [self._result(*pair) for pair in zip(outcomes, lease.entries, strict=True)]
            )
        except GatewayError:
            self._has_orphans = True

    def _lease(self) -> Lease | None:
        delivery = self._app.config.delivery
        duration = timedelta(seconds=delivery.lease_seconds)
        with self._app.database.transaction() as session:
            self._renewed_at = time.monotonic()
            return leasing.lease(session, self._name, self._app.clock(), duration, delivery.batch)

    def _release(self) -> None:
        with self._app.database.transaction() as session:
            leasing.release(session, self._name)

    async def _renew(self) -> None:
        duration = self._app.config.delivery.lease_seconds
        while True:
            await asyncio.sleep(duration / 3)
            started = time.monotonic()
            if started - self._renewed_at > duration:
                continue  # too late: it may be another's
            try:
                with self._app.database.transaction() as session:
                    leasing.renew(
                        session, self._name, self._app.clock(), timedelta(seconds=duration)
                    )
            except GatewayError as error:
                log.warning("the lease was not renewed: %s", error)
            else:
                self._renewed_at = started

    async def _deliver(self, lease: Lease) -> None:
        work = self._preparer.prepare(lease)
        with about(work.letter.token if work.letter else ""):
            await self._carry(lease, work)

    async def _carry(self, lease: Lease, work: Work) -> None:
        self._record(work.unfit)
        mail = current()
        entries = {one.id: one for one in lease.entries}
        failed: dict[int, str] = {}

        def record(outcomes: Sequence[Outcome]) -> None:
            with about(mail):  # in a thread of its own
                self._insist([self._result(one, entries[one.id]) for one in outcomes])

        watch = Watch(lease, work.reach, work.readers, self._look, self._app.clock)
        copies_ = self._copies(work, watch, failed)
        await self._handoff.deliver(copies_, record, self._holds_lease)
        self._record(list(watch.called_back.values()))
        now = self._app.clock()
        # Their certificates are to be mended.
        self._record(
            [
                Result(entry_id, Delivery.PARKED, now, f"{CERTIFICATE_FAULT}fails: {why}")
                for entry_id, why in failed.items()
            ]
        )
        if lease.notice_id is not None:
            with self._app.database.transaction() as session:
                outbox.erase_if_sent(session, lease.notice_id)
        if self._stop.is_set() or self._slice_ends == 0:
            self._release()

    def _copies(self, work: Work, watch: Watch, failed: dict[int, str]) -> Iterator[Copy]:
        """One after the other, as they are asked for: who is suspended meanwhile gets none."""

        def envelope(entry_id: int) -> tuple[str, str]:
            # RFC 3834 3: a notice has the null sender, so that nobody answers it.
            sender = "" if work.silent else directory.bounce_address(self._app, entry_id)
            return sender, work.addresses[entry_id]

        if work.letter is None:
            return
        plain = (
            plain_copy(work.letter, one, envelope, watch.wants, self._sign) for one in work.plain
        )
        encrypted = copies(
            self._encryptor,
            work.letter,
            work.recipients,
            work.carrier,
            envelope,
            failed,
            watch.wants,
            self._sign,
        )
        waiting = chain(plain, encrypted)
        begun = time.monotonic()
        first = list(islice(waiting, 1))
        # What took seconds to encrypt must not be given back before any of it went out.
        now = time.monotonic()
        self._slice_ends = now + max(SLICE_SECONDS, now - begun)
        for copy in chain(first, waiting):
            if self._stop.is_set() or self._slice_is_over(work.lease):
                return
            if copy.wanted():
                yield copy

    def _slice_is_over(self, lease: Lease) -> bool:
        """Whether the rest of a lease is to be given back, as it takes long and others wait."""
        if time.monotonic() < self._slice_ends:
            return False
        with self._app.database.reading() as session:
            over = leasing.others_wait(session, lease, self._app.clock())
        self._slice_ends = 0.0 if over else time.monotonic() + SLICE_SECONDS
        return over

    def _look(self) -> Mapping[int, Reader]:
        with self._app.database.reading() as session:
            return leasing.leased_readers(session, self._name)

    def _holds_lease(self) -> bool:
        """False where this process stood still for so long that another may have taken over."""
        held = time.monotonic() - self._renewed_at
        if held < self._app.config.delivery.lease_seconds:
            return True
        log.warning("the lease ran out; the rest is left to whoever has it now")
        # Perhaps this worker: a renewal that was on its way for long counts from when it came.
        self._has_orphans = True
        return False

    def _result(self, outcome: Outcome, entry: Leased) -> Result:
        """What an outcome means for the outbox: growing delays, and parked after some days."""
        now, delivery = self._app.clock(), self._app.config.delivery
        reason = " ".join(filter(None, (str(outcome.code or ""), outcome.text)))
        if outcome.state == "sent":
            return Result(entry.id, Delivery.SENT, now, None)
        if outcome.state == "refused":
            return Result(entry.id, Delivery.REFUSED, now, reason)
        if now - entry.queued_at >= timedelta(days=delivery.give_up_days):
            return Result(entry.id, Delivery.PARKED, now, reason)
        # RFC 5321 4.5.4.1: retries are delayed, and ever longer.
        delay = min(
            delivery.first_retry_seconds * 2 ** min(entry.attempts, 30),
            delivery.longest_retry_seconds,
        )
        return Result(entry.id, Delivery.WAITING, now, reason, now + timedelta(seconds=delay))

    def _insist(self, results: Sequence[Result]) -> None:
        """Record, again and again while the database does not serve: what the mail server answered
        is known nowhere else, and a copy without a record goes out once more. Called in a thread.
        """
        sent = [one for one in results if one.state is Delivery.SENT]
        others = [one for one in results if one.state is not Delivery.SENT]
        waiting = deque((sent, others))
        while waiting:
            try:
                self._record(waiting[0])
            except WrongClock:
                raise
            except Unavailable as error:
                if self._stop.is_set() or not self._holds_lease():
                    raise
                log.warning("what was sent can't be recorded yet: %s", error)
                time.sleep(IDLE_SECONDS)
            else:
                waiting.popleft()

    def _record(self, results: Sequence[Result]) -> None:
        """Raises WrongClock where not all is sent and this machine's clock is wrong: it is then the
        clock that takes a certificate for expired, or the time to give up for come."""
        if not results:
            return
        if any(one.state is not Delivery.SENT for one in results):
            with self._app.database.reading() as session:
                clock.check(session)
        with self._app.database.quick_transaction() as connection:
            leasing.record(connection, self._name, results)
        if self._counted is not None:
            self._counted(results)
        for one in results:
            if one.state is not Delivery.SENT:
                log.warning("outbox %d: %s, %s", one.id, one.state, one.reason)
