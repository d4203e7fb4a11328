"""Leases on the outbox: whose turn it is, what a worker holds, and what became of it.

Postings take turns: each goes on from where the queue stands, entry by entry, so that a posting to
ten thousand and one to five that comes later each get their share of the workers. An entry that
waits for its next try has no turn until that time comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, select, text, update
from sqlalchemy.orm import Session

from gateway.store import clock
from gateway.store.certificate import MemberCertificate
from gateway.store.member import Member, State
from gateway.store.outbox import IN_TURN, LATER, Delivery, OutboxEntry, head

PROMOTED = 1000
"""Entries at most that get a turn with one lease."""


@dataclass(frozen=True, slots=True)
class Leased:
    """An outbox entry as a worker needs it. attempts: failed so far."""

    id: int
    member_id: int
    attempts: int
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """Entries of one posting on one list, or one notice, that a worker has for itself. last: turn
    of the last of them."""

    posting_id: int | None
    notice_id: int | None
    list_id: int | None
    entries: tuple[Leased, ...]
    last: int = 0

    @property
    def subject(self) -> str:
        """What it is about, for a log."""
        return f"notice {self.notice_id}" if self.posting_id is None else str(self.posting_id)


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom a leased entry is for, as they are now. certificate: another value means that it was
    replaced, revoked or changed."""

    member_id: int
    state: State
    certificate: tuple[str | None, datetime | None, datetime | None, int | None]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one leased entry; `next_at` only where it goes back to waiting."""

    id: int
    state: Delivery
    at: datetime
    reason: str | None
    next_at: datetime | None = None


_LEASED_COLUMNS = (
    OutboxEntry.id,
    OutboxEntry.member_id,
    OutboxEntry.attempts,
    OutboxEntry.queued_at,
)


def lease(
    session: Session, owner: str, now: datetime, duration: timedelta, most: int
) -> Lease | None:
    """Take up to `most` due entries of the posting or notice whose turn it is.

    Each query follows an index that has only what is in the queue, so a lease costs the same
    however much waits behind it. Raises Unavailable where this machine's clock is wrong.
    """
    leased_at = clock.agreed(session, now)
    ran_out = (
        select(OutboxEntry.id)
        .where(OutboxEntry.state == Delivery.LEASED, OutboxEntry.lease_until <= leased_at)
        .with_for_update(skip_locked=True)  # its owner or another worker is at it
    )
    session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.id.in_(ran_out))
        .values(state=Delivery.WAITING, lease_owner=None, lease_until=None)
        .execution_options(synchronize_session=False)
    )
    _promote(session, now)
    subject = (OutboxEntry.posting_id, OutboxEntry.notice_id, OutboxEntry.list_id)
    waiting = (
        select(*_LEASED_COLUMNS, OutboxEntry.turn, *subject)
        # Whatever has a turn is due, also where the clock has gone back since.
        .where(text(IN_TURN), OutboxEntry.state == Delivery.WAITING)
        .order_by(OutboxEntry.turn, OutboxEntry.id)
        .with_for_update(skip_locked=True)
    )
    first = session.execute(waiting.limit(1)).first()
    if first is None:
        return None
    rows = [first]
    if first.posting_id is not None:
        same = (
            OutboxEntry.posting_id == first.posting_id,
            OutboxEntry.list_id == first.list_id,
        )
        rows = list(session.execute(waiting.where(*same).limit(most)))
    session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.id.in_([one.id for one in rows]))
        .values(state=Delivery.LEASED, lease_owner=owner, lease_until=leased_at + duration)
        .execution_options(synchronize_session=False)
    )
    entries = tuple(Leased(*row[:4]) for row in rows)
    return Lease(first.posting_id, first.notice_id, first.list_id, entries, rows[-1].turn)


def _promote(session: Session, now: datetime) -> None:
    """Give a turn to what waited for its time, those whose time came first before others."""
    due = (
        select(OutboxEntry.id)
        .where(text(LATER), OutboxEntry.next_at <= now)
        .order_by(OutboxEntry.next_at, OutboxEntry.id)
        .limit(PROMOTED)
        .with_for_update(skip_locked=True)
    )
    ids = session.scalars(due).all()
    if ids:
        start = head(session)
        turns = [{"entry": one, "new": start + at} for at, one in enumerate(ids)]
        session.connection().execute(_TURN, turns)


def others_wait(session: Session, lease: Lease, now: datetime) -> bool:
    """Whether anything else has a turn before the end of a lease."""
    waiting = (
        select(OutboxEntry.posting_id, OutboxEntry.list_id, OutboxEntry.turn)
        .where(text(IN_TURN), OutboxEntry.state == Delivery.WAITING, OutboxEntry.next_at <= now)
        .order_by(OutboxEntry.turn, OutboxEntry.id)
    )
    first = session.execute(waiting.limit(1)).first()
    if first is None or first.turn > lease.last:
        return False
    return (first.posting_id, first.list_id) != (lease.posting_id, lease.list_id)


def leased_readers(session: Session, owner: str) -> dict[int, Reader]:
    """Entry id -> its reader, of all that an owner holds."""
    held = MemberCertificate
    rows = session.execute(
        select(
            OutboxEntry.id,
            Member.id,
            Member.state,
            held.fingerprint,
            held.revoked_at,
            held.encrypts_until,
            func.length(held.stripped),
        )
        .join(Member, Member.id == OutboxEntry.member_id)
        .outerjoin(held, held.member_id == Member.id)
        .where(OutboxEntry.lease_owner == owner, OutboxEntry.state == Delivery.LEASED)
    )
    return {row[0]: Reader(row[1], row[2], tuple(row[3:])) for row in rows}


def renew(session: Session, owner: str, now: datetime, duration: timedelta) -> None:
    """Push back the end of an owner's leases."""
    until = clock.agreed(session, now) + duration
    session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.lease_owner == owner, OutboxEntry.state == Delivery.LEASED)
        .values(lease_until=until)
    )


def release(session: Session, owner: str) -> int:
    """Give back all that an owner holds, each in its turn: at its start after a crash, at its end,
    and where others wait. How many."""
    result = session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.lease_owner == owner, OutboxEntry.state == Delivery.LEASED)
        .values(state=Delivery.WAITING, lease_owner=None, lease_until=None)
    )
    return int(getattr(result, "rowcount", 0))


_OUTBOX = OutboxEntry.__table__
_TURN = (
    update(_OUTBOX)  # type: ignore[arg-type]
    .where(OutboxEntry.id == bindparam("entry"))
    .values(turn=bindparam("new"))
)
_RESULT = (
    update(_OUTBOX)  # type: ignore[arg-type]
    .where(
        OutboxEntry.id == bindparam("entry"),
        # Somebody else's by now: their result counts, not this late one.
        OutboxEntry.lease_owner == bindparam("owner"),
    )
    .values(turn=None, attempts=OutboxEntry.attempts + 1, lease_owner=None, lease_until=None)
)
_SENT = _RESULT.values(state=Delivery.SENT, finished_at=bindparam("at"), reason=None)
_OTHERWISE = _RESULT.values(
    state=bindparam("new_state"),
    next_at=func.coalesce(
        bindparam("new_next_at", type_=OutboxEntry.next_at.type), OutboxEntry.next_at
    ),
    finished_at=bindparam("at"),
    reason=bindparam("why"),
)


def record(connection: Connection, owner: str, results: Sequence[Result]) -> None:
    """Write down what became of leased entries. Run for every few copies, so without a session."""
    sent = [one for one in results if one.state is Delivery.SENT]
    others = [one for one in results if one.state is not Delivery.SENT]
    if sent:
        connection.execute(_SENT, [{"entry": one.id, "owner": owner, "at": one.at} for one in sent])
    if others:
        connection.execute(
            _OTHERWISE,
            [
                {
                    "entry": one.id,
                    "owner": owner,
                    "new_state": one.state,
                    "new_next_at": one.next_at,
                    "at": None if one.state is Delivery.WAITING else one.at,
                    "why": one.reason,
                }
                for one in others
            ],
        )
