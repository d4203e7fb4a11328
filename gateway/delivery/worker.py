"""The delivery worker: leases copies, encrypts and hands them off, writes down what became of each.

A lease is a short transaction, so is each record of results. Between them the letter is written in
a session that only reads, and while copies are encrypted and sent no transaction is open.
Whatever dies, the lease runs out and another worker, or this one started again, goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from sqlalchemy.orm import Session, defer

from gateway.app import App
from gateway.crypto.encryptor import Encryptor, Recipient
from gateway.delivery.copies import copies, plain_copy
from gateway.delivery.handoff import Copy, Handoff, Outcome, parse
from gateway.delivery.letter import Letter
from gateway.delivery.watch import NOT_ACTIVE, Reach, Watch
from gateway.delivery.writing import notice_letter, posting_letter
from gateway.errors import GatewayError, trace
from gateway.posting import directory
from gateway.store import audience, outbox, own_key
from gateway.store import certificate as certificates
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.outbox import Delivery, Lease, Leased, Notice, Reader, Result
from gateway.store.parked import CERTIFICATE_FAULT
from gateway.store.posting import Posting

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
LETTER_AGE = timedelta(minutes=10)
"""A letter's Date must be near the time of its signature and not far from its arrival."""


@dataclass(frozen=True, slots=True)
class Work:
    """A lease with all that its copies need. recipients: whom to encrypt to; plain: ids of entries
    that get the letter as it is; letter: None where it may not go to anybody any more."""

    lease: Lease
    letter: Letter | None
    carrier: bytes
    reach: Reach
    readers: Mapping[int, Reader]
    recipients: tuple[Recipient, ...]
    plain: tuple[int, ...]
    addresses: dict[int, str]
    unfit: tuple[Result, ...]


class Worker:
    """One delivery process. `name` is its own among all workers of the gateway, and the same after
    a restart, so that what it held when it died is its again at once."""

    def __init__(self, app: App, name: str, handoff: Handoff | None = None) -> None:
        self._app = app
        self._name = name
        self._handoff = handoff or parse(
            app.config.handoff.to,
            app.config.domain,
            connections=app.config.handoff.connections,
            base=app.state,
        )
        self._encryptor = Encryptor()
        self._signed: _Signed | None = None
        self._has_orphans = False
        self._wake = asyncio.Event()
        self._stopping = False
        self._renewed_at = time.monotonic()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the copies under way, give back the others, and end."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop`. A fault on one lease is logged and costs that lease a delay."""
        self._release()
        renewing = asyncio.create_task(self._renew())
        try:
            while not self._stopping:
                self._wake.clear()
                if not await self._step():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), IDLE_SECONDS)
        finally:
            renewing.cancel()
            await self._handoff.close()
            self._release()

    async def drain(self) -> None:
        """Deliver what is due now, then return."""
        while await self._step():
            pass

    async def _step(self) -> bool:
        """One lease. False where nothing was due, or nothing can be done for now."""
        try:
            if self._has_orphans:
                self._release()
                self._has_orphans = False
            lease = self._lease()
            if lease is None:
                return False
        except GatewayError as error:
            log.error("no work can be leased: %s", error)  # noqa: TRY400  its text says all
            await asyncio.sleep(IDLE_SECONDS)
            return False
        try:
            await self._deliver(lease)
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
            return outbox.lease(session, self._name, self._app.clock(), duration, delivery.batch)

    def _release(self) -> None:
        with self._app.database.transaction() as session:
            outbox.release(session, self._name)

    async def _renew(self) -> None:
        duration = self._app.config.delivery.lease_seconds
        while True:
            await asyncio.sleep(duration / 3)
            started = time.monotonic()
            if started - self._renewed_at > duration:
                continue  # too late: it may be another's
            try:
                until = self._app.clock() + timedelta(seconds=duration)
                with self._app.database.transaction() as session:
                    outbox.renew(session, self._name, until)
            except GatewayError as error:
                log.warning("the lease was not renewed: %s", error)
            else:
                self._renewed_at = started

    async def _deliver(self, lease: Lease) -> None:
        work = self._prepare(lease)
        self._record(work.unfit)
        entries = {one.id: one for one in lease.entries}
        failed: dict[int, str] = {}

        def record(outcomes: Sequence[Outcome]) -> None:
            self._record([self._result(one, entries[one.id]) for one in outcomes])

        watch = Watch(lease, work.reach, work.readers, self._look, self._app.clock)
        copies_ = self._copies(work, watch, failed)
        await self._handoff.deliver(copies_, record, self._holds_lease)
        self._record(list(watch.called_back.values()))
        if failed:
            self._park(failed)
        if lease.notice_id is not None:
            with self._app.database.transaction() as session:
                outbox.erase_if_sent(session, lease.notice_id)
        if self._stopping:
            self._release()

    def _copies(self, work: Work, watch: Watch, failed: dict[int, str]) -> Iterator[Copy]:
        """One after the other, as they are asked for: who is suspended meanwhile gets none."""

        def envelope(entry_id: int) -> tuple[str, str]:
            # RFC 3834 3: a notice has the null sender, so that nobody answers it.
            is_notice = work.lease.notice_id is not None
            sender = "" if is_notice else directory.bounce_address(self._app, entry_id)
            return sender, work.addresses[entry_id]

        if work.letter is None:
            return
        plain = (plain_copy(work.letter, one, envelope, watch.wants) for one in work.plain)
        encrypted = copies(
            self._encryptor,
            work.letter,
            work.recipients,
            work.carrier,
            envelope,
            failed,
            watch.wants,
        )
        for copy in chain(plain, encrypted):
            if self._stopping:
                return
            if copy.wanted():
                yield copy

    def _look(self) -> Mapping[int, Reader]:
        with self._app.database.reading() as session:
            return outbox.leased_readers(session, self._name)

    def _holds_lease(self) -> bool:
        """False where this process stood still for so long that another may have taken over."""
        held = time.monotonic() - self._renewed_at
        if held < self._app.config.delivery.lease_seconds:
            return True
        log.warning("the lease ran out; the rest is left to whoever has it now")
        return False

    def _prepare(self, lease: Lease) -> Work:
        """Read all that a lease needs, and sort out who can't be served."""
        now = self._app.clock()
        with self._app.database.reading() as session:
            # First: whatever changes after it is seen by the next look.
            readers = outbox.leased_readers(session, self._name)
            addressees = certificates.addressees(session, [one.member_id for one in lease.entries])
            notice = session.get(Notice, lease.notice_id) if lease.notice_id else None
            if notice is not None and notice.certificate is not None:
                addressees = {
                    member_id: certificates.instead(one, notice.certificate)
                    for member_id, one in addressees.items()
                }
            reach = self._reach(session, lease, notice)
            letter, carrier = self._letter(session, lease, now)
        recipients, plain, addresses, unfit = [], [], {}, []
        for entry in lease.entries:
            if entry.id not in readers:
                continue  # withdrawn in this moment
            one = addressees[entry.member_id]
            addresses[entry.id] = one.address
            if letter is None:
                unfit.append(Result(entry.id, Delivery.DROPPED, now, "the posting was withdrawn"))
            elif not reach.takes_in(entry.member_id, readers[entry.id].state):
                unfit.append(Result(entry.id, Delivery.DROPPED, now, NOT_ACTIVE))
            elif notice is not None and notice.plain:
                plain.append(entry.id)
            elif one.revoked:
                why = f"{CERTIFICATE_FAULT}is revoked"
                unfit.append(Result(entry.id, Delivery.PARKED, now, why))
            elif one.encrypts_until is not None and one.encrypts_until <= now:
                why = f"{CERTIFICATE_FAULT}has expired"
                unfit.append(Result(entry.id, Delivery.PARKED, now, why))
            else:
                recipients.append(
                    Recipient(entry.id, one.certificate, one.fingerprint, one.key_ids)
                )
        return Work(
            lease, letter, carrier, reach, readers, tuple(recipients), tuple(plain), addresses,
            tuple(unfit),
        )  # fmt: skip

    def _reach(self, session: Session, lease: Lease, notice: Notice | None) -> Reach:
        if notice is not None:
            return Reach(everybody=notice.regardless)
        posting = session.get_one(Posting, lease.posting_id, options=[defer(Posting.submission)])
        on = session.get_one(MailingList, lease.list_id)
        return Reach(beginner=audience.beginner(session, posting, on))

    def _letter(self, session: Session, lease: Lease, now: datetime) -> tuple[Letter | None, bytes]:
        """The signed letter of a lease, and our own certificate that goes with it. No letter where
        the posting was withdrawn."""
        if lease.posting_id is None or lease.list_id is None:
            notice = session.get_one(Notice, lease.notice_id)
            member = session.get_one(Member, lease.entries[0].member_id)
            keys = own_key.signing_to(own_key.signing(session, now), member)
            written = notice_letter(session, self._app, notice, member, keys, now)
            return written, keys[-1].certificate
        on = session.get_one(MailingList, lease.list_id)
        posting = session.get_one(Posting, lease.posting_id)
        if posting.withdrawn_at is not None:
            return None, b""
        kept, of = self._signed, (posting.id, on.id, posting.marking, on.key_fingerprint)
        if kept is None or kept.of != of or now - kept.at > LETTER_AGE:
            written = posting_letter(session, self._app, posting, on, now)
            kept = self._signed = _Signed(of, now, written)
        return kept.letter, on.key.certificate

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

    def _record(self, results: Sequence[Result]) -> None:
        if not results:
            return
        with self._app.database.quick_transaction() as connection:
            outbox.record(connection, self._name, results)
        for one in results:
            if one.state is not Delivery.SENT:
                log.warning("outbox %d: %s, %s", one.id, one.state, one.reason)

    def _park(self, failed: dict[int, str]) -> None:
        """Copies that could not be encrypted: their subscribers' certificates are to be mended."""
        now = self._app.clock()
        self._record(
            [
                Result(entry_id, Delivery.PARKED, now, f"{CERTIFICATE_FAULT}fails: {why}")
                for entry_id, why in failed.items()
            ]
        )


@dataclass(frozen=True, slots=True)
class _Signed:
    """The letter last written, kept for the next batches of the same posting. of: posting, list,
    marking and key."""

    of: tuple[int, int, str, str]
    at: datetime
    letter: Letter
