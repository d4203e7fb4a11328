"""The ledger: an append-only hash chain of every decision. It has no content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from gateway.store.database import Base

GENESIS = "0" * 64


class LedgerEntry(Base):
    __tablename__ = "ledger"

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    event: Mapped[str]
    detail: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)


class LedgerHead(Base):
    """One row that a writer locks, so that entries follow one another whoever writes."""

    __tablename__ = "ledger_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    hash: Mapped[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """entries: how many were read; head: the last hash; fault: the first break, None when sound."""

    entries: int
    head: str
    fault: str | None


def start(session: Session) -> None:
    session.add(LedgerHead(id=1, sequence=0, hash=GENESIS))


def enter(session: Session, now: datetime, event: str, **detail: str | int | None) -> None:
    """Append a decision, in the caller's transaction. `detail`: ids, rules, fingerprints."""
    head = session.scalars(select(LedgerHead).with_for_update()).one()
    text = json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    entry = LedgerEntry(
        sequence=head.sequence + 1,
        at=now,
        event=event,
        detail=text,
        previous=head.hash,
        hash=_hash(head.hash, head.sequence + 1, now, event, text),
    )
    session.add(entry)
    head.sequence, head.hash = entry.sequence, entry.hash
    session.flush()


def verify(session: Session) -> Verdict:
    """Recompute the whole chain."""
    previous, count = GENESIS, 0
    # Columns and no rows of the ORM: a million entries are read in half the time.
    columns = (LedgerEntry.sequence, LedgerEntry.at, LedgerEntry.event, LedgerEntry.detail,
               LedgerEntry.previous, LedgerEntry.hash)  # fmt: skip
    query = select(*columns).order_by(LedgerEntry.sequence)
    with session.execute(query.execution_options(yield_per=1000)) as found:
        for entry in found:
            count += 1
            if entry.sequence != count:
                return Verdict(count, previous, f"entry {count} is missing")
            if entry.previous != previous or entry.hash != _hash(
                previous, entry.sequence, entry.at, entry.event, entry.detail
            ):
                return Verdict(count, previous, f"entry {count} was changed after it was written")
            previous = entry.hash
    head = session.scalars(select(LedgerHead)).one_or_none()
    if head is None or (head.sequence, head.hash) != (count, previous):
        return Verdict(count, previous, "the newest entries are missing")
    return Verdict(count, previous, None)


def entries(session: Session) -> Iterator[LedgerEntry]:
    query = select(LedgerEntry).order_by(LedgerEntry.sequence)
    yield from session.scalars(query.execution_options(yield_per=1000))


def newest(session: Session, count: int) -> list[LedgerEntry]:
    """The last entries, oldest first."""
    query = select(LedgerEntry).order_by(LedgerEntry.sequence.desc()).limit(count)
    return [*session.scalars(query)][::-1]


def newest_of(session: Session, event: str) -> LedgerEntry | None:
    """The last entry of an event. Reads back to it, and all where there is none."""
    query = select(LedgerEntry).where(LedgerEntry.event == event)
    return session.scalar(query.order_by(LedgerEntry.sequence.desc()).limit(1))


def head(session: Session) -> LedgerHead:
    return session.scalars(select(LedgerHead)).one()


def before(session: Session, sequence: int | None, count: int) -> list[LedgerEntry]:
    """The last entries before one, None: of all, newest first."""
    query = select(LedgerEntry).order_by(LedgerEntry.sequence.desc()).limit(count)
    if sequence is not None:
        query = query.where(LedgerEntry.sequence < sequence)
    return list(session.scalars(query))


def follow(newest_first: Sequence[LedgerEntry]) -> bool:
    """Whether entries are as they were written, and none between them is missing."""
    sound = all(
        one.hash == _hash(one.previous, one.sequence, one.at, one.event, one.detail)
        for one in newest_first
    )
    return sound and all(
        (later.sequence, later.previous) == (one.sequence + 1, one.hash)
        for later, one in pairwise(newest_first)
    )


def _hash(previous: str, sequence: int, at: datetime, event: str, detail: str) -> str:
    fields = (previous, str(sequence), at.isoformat(timespec="microseconds"), event, detail)
    return hashlib.sha256("\n".join(fields).encode()).hexdigest()
