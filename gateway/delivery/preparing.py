"""What a lease needs: the letter, whom it is encrypted to, and who can't be served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session, defer

from gateway.app import App
from gateway.crypto.encryptor import Recipient
from gateway.delivery.letter import Letter
from gateway.delivery.watch import NOT_ACTIVE, Reach
from gateway.delivery.writing import notice_letter, posting_letter
from gateway.store import audience, bounce, leasing, own_key
from gateway.store import certificate as certificates
from gateway.store.leasing import Lease, Reader, Result
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.outbox import PROBE, Delivery, Notice
from gateway.store.parked import CERTIFICATE_FAULT, DELIVERY_STOPPED
from gateway.store.posting import Posting

LETTER_AGE = timedelta(minutes=10)
"""A letter's Date must be near the time of its signature and not far from its arrival."""


@dataclass(frozen=True, slots=True)
class Work:
    """A lease with all that its copies need. recipients: whom to encrypt to; plain: ids of entries
    that get the letter as it is; letter: None where it may not go to anybody any more; silent:
    whether it has the null sender, and so can't come back."""

    lease: Lease
    letter: Letter | None
    silent: bool
    carrier: bytes
    reach: Reach
    readers: Mapping[int, Reader]
    recipients: tuple[Recipient, ...]
    plain: tuple[int, ...]
    addresses: dict[int, str]
    unfit: tuple[Result, ...]


class Preparer:
    """Of one worker. Keeps the letter that it wrote last."""

    def __init__(self, app: App, owner: str) -> None:
        """owner: of the leases."""
        self._app = app
        self._owner = owner
        self._signed: _Signed | None = None

    def prepare(self, lease: Lease) -> Work:
        """Read all that a lease needs, and sort out who can't be served."""
        now = self._app.clock()
        with self._app.database.reading() as session:
            # First: whatever changes after it is seen by the next look.
            readers = leasing.leased_readers(session, self._owner)
            addressees = certificates.addressees(session, [one.member_id for one in lease.entries])
            notice = session.get(Notice, lease.notice_id) if lease.notice_id else None
            if notice is not None and notice.certificate is not None:
                addressees = {
                    member_id: certificates.instead(one, notice.certificate)
                    for member_id, one in addressees.items()
                }
            reach = self._reach(session, lease, notice)
            stopped = bounce.held_back(session, notice, [one.member_id for one in lease.entries])
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
            elif entry.member_id in stopped:
                unfit.append(Result(entry.id, Delivery.PARKED, now, DELIVERY_STOPPED))
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
            lease, letter, notice is not None and notice.template != PROBE, carrier, reach, readers,
            tuple(recipients), tuple(plain), addresses, tuple(unfit),
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


@dataclass(frozen=True, slots=True)
class _Signed:
    """The letter last written, kept for the next batches of the same posting. of: posting, list,
    marking and key."""

    of: tuple[int, int, str, str]
    at: datetime
    letter: Letter
