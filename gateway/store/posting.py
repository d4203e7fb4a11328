"""Postings and their threads. What an author wrote is sealed; in the clear stand ids and times."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, func, select
from sqlalchemy.orm import (
    Mapped,
    Session,
    defer,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)

from gateway.errors import UsageError
from gateway.store.database import Base
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member

_LABEL = re.compile(
    r"(?:(?P<letter>[A-Z][A-Z0-9]{0,9}?)\s?[-‐-―]?\s?)?(?P<number>[0-9]{1,9})",
    re.IGNORECASE | re.ASCII,
)


class Placement(StrEnum):
    """What became of a posting on one list."""

    ACCEPTED = "accepted"
    HELD = "held"
    REJECTED = "rejected"
    DISCARDED = "discarded"


class Standing(StrEnum):
    """What an author was when they signed: desks hear members who may not post."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"
    """By the very mail that it signs, which is heard nowhere; the revocation counts."""
    UNVERIFIED = "unverified"
    """Nobody that we know: the mail is of an imported archive."""


class Thread(Base):
    __tablename__ = "thread"

    id: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]


class Posting(Base):
    """A verified submission of a member. `token` names it in Message-IDs and seals its content."""

    __tablename__ = "posting"
    __table_args__ = (Index("ix_posting_rate", "author_id", "received_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    thread_id: Mapped[int] = mapped_column(ForeignKey("thread.id"), index=True)
    references: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(index=True)
    signed_at: Mapped[datetime]
    key_fingerprint: Mapped[str]
    marking: Mapped[str]
    standing: Mapped[Standing] = mapped_column(default=Standing.ACTIVE)
    urgent: Mapped[bool] = mapped_column(default=False)
    withdrawn_at: Mapped[datetime | None]
    submission: Mapped[bytes]
    details: Mapped[bytes]
    certificate: Mapped[bytes]
    author: Mapped[Member] = relationship()
    placements: Mapped[list[PostingList]] = relationship(
        order_by="PostingList.position", cascade="all, delete-orphan", back_populates="posting"
    )

    def message_id(self, domain: str) -> str:
        return f"<{self.token}@{domain}>"

    def on(self, list_id: int) -> bool:
        return any(one.list_id == list_id for one in self.placements)

    @property
    def ancestors(self) -> tuple[str, ...]:
        """Tokens of the postings it answers, oldest first."""
        return tuple(self.references.split())

    @property
    def label(self) -> str:
        """ "B-1234": the letter of the first list and the posting's number."""
        return f"{self.placements[0].mailing_list.topic_letter}-{self.id}"


class PostingList(Base):
    """A posting on one list. A cross-posting has several, and each decides for itself."""

    __tablename__ = "posting_list"
    __table_args__ = (Index("ix_posting_list_newest", "list_id", "posting_id"),)

    posting_id: Mapped[int] = mapped_column(ForeignKey("posting.id"), primary_key=True)
    list_id: Mapped[int] = mapped_column(
        ForeignKey("mailing_list.id"), primary_key=True, index=True
    )
    position: Mapped[int]
    placement: Mapped[Placement]
    rule: Mapped[str]
    posting: Mapped[Posting] = relationship(back_populates="placements")
    mailing_list: Mapped[MailingList] = relationship(lazy="joined")


class Seen(Base):
    """Keyed hashes of what identifies a submission: its signatures and its Message-IDs.

    Kept for good: a captured mail is as new to its readers after a year as after an hour.
    """

    __tablename__ = "seen"

    hash: Mapped[str] = mapped_column(primary_key=True)
    posting_id: Mapped[int] = mapped_column(ForeignKey("posting.id"), index=True)


def seen(session: Session, hashes: Sequence[str]) -> Posting | None:
    """The posting that was taken with one of these hashes, if any."""
    return session.scalar(
        select(Posting)
        .join(Seen, Seen.posting_id == Posting.id)
        .where(Seen.hash.in_(hashes))
        .order_by(Posting.id)
        .limit(1)
    )


def remember(session: Session, posting: Posting, hashes: Sequence[str]) -> None:
    """Know a posting again by these hashes; one that an earlier posting has stays that one's."""
    known = set(session.scalars(select(Seen.hash).where(Seen.hash.in_(hashes))))
    session.add_all(
        Seen(hash=one, posting_id=posting.id) for one in dict.fromkeys(hashes) if one not in known
    )
    session.flush()


def parent(
    session: Session, tokens: Sequence[str], hashes: Sequence[str], lists: Sequence[int]
) -> Posting | None:
    """The nearest posting on one of `lists` that a mail answers.

    tokens and hashes: nearest first, from In-Reply-To and References; our own Message-IDs by token,
    the authors' own by keyed hash. Another list's thread can't be entered by naming it.
    """
    query = select(Posting).join(PostingList).where(PostingList.list_id.in_(lists))
    by_token = {one.token: one for one in session.scalars(query.where(Posting.token.in_(tokens)))}
    for token in tokens:
        if token in by_token:
            return by_token[token]
    rows = session.execute(
        query.join(Seen, Seen.posting_id == Posting.id)
        .where(Seen.hash.in_(hashes))
        .add_columns(Seen.hash)
    )
    by_hash = {row[1]: row[0] for row in rows}
    return next((by_hash[one] for one in hashes if one in by_hash), None)


def ancestors_on(
    session: Session, posting: Posting, list_id: int, markings: Collection[str]
) -> list[Posting]:
    """What a posting answers on a list, of some markings, nearest first; without the mails
    themselves, each of which may be large."""
    query = (
        select(Posting)
        .join(PostingList)
        .where(
            Posting.token.in_(posting.ancestors),
            PostingList.list_id == list_id,
            PostingList.placement == Placement.ACCEPTED,
            Posting.marking.in_(markings),
        )
        .order_by(Posting.id.desc())
        .options(defer(Posting.submission))
    )
    return list(session.scalars(query))


def thread_for(session: Session, answered: Posting | None, now: datetime) -> int:
    """Id of the thread of the answered posting, or of a new one."""
    if answered is not None:
        return answered.thread_id
    thread = Thread(started_at=now)
    session.add(thread)
    session.flush()
    return thread.id


def labels_in_thread(session: Session, thread_id: int, before: int | None = None) -> set[str]:
    """The markings of a thread's accepted postings. before: only of those with a lower id."""
    query = select(Posting.marking).join(PostingList).where(
        Posting.thread_id == thread_id, PostingList.placement == Placement.ACCEPTED
    )  # fmt: skip
    if before is not None:
        query = query.where(Posting.id < before)
    return set(session.scalars(query.distinct()))


def is_token(session: Session, token: str) -> bool:
    """Whether a posting has it."""
    return session.scalar(select(Posting.id).where(Posting.token == token)) is not None


def count_since(session: Session, author_id: int, since: datetime) -> int:
    query = select(func.count()).where(Posting.author_id == author_id, Posting.received_at > since)
    return session.scalar(query) or 0


def has_accepted(session: Session, author_id: int, list_id: int, count: int) -> bool:
    """Whether a list has accepted at least `count` postings of an author."""
    some = (
        select(PostingList.posting_id)
        .join(Posting)
        .where(
            Posting.author_id == author_id,
            PostingList.list_id == list_id,
            PostingList.placement == Placement.ACCEPTED,
        )
        .limit(count)
    )
    return session.scalar(select(func.count()).select_from(some.subquery())) == count


def get(session: Session, label: str) -> Posting:
    """By "B-1234", as people type it ("b1234", "1234"). Raises UsageError."""
    typed = _LABEL.fullmatch(label.strip())
    found = session.get(Posting, int(typed["number"])) if typed else None
    if typed is None or found is None:
        raise no_such_posting(label)
    letter = typed["letter"]
    if letter and letter.upper() != found.placements[0].mailing_list.topic_letter:
        raise no_such_posting(label)
    return found


def without_content(session: Session, ids: Collection[int]) -> dict[int, Posting]:
    """Postings by id, without what may be 50 MB each: what a list shows of them."""
    query = (
        select(Posting)
        .where(Posting.id.in_(ids))
        .options(defer(Posting.submission), defer(Posting.certificate))
        .options(joinedload(Posting.author), selectinload(Posting.placements))
    )
    return {one.id: one for one in session.scalars(query)}


def no_such_posting(label: str) -> UsageError:
    """Said of what there is not and of what is not theirs to know alike."""
    return UsageError("there is no posting '%(label)s'", label=label)
