"""The Library: documents and their versions. What an author handed in is sealed; in the clear stand
ids, times, and what documents are browsed by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.errors import UsageError
from gateway.store.database import Base
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member

INDEX = "document_index"
"""The blind search index of documents; keys are ids of versions."""
# "L-12", "l 12", and "L-12/2" for a version.
_LABEL = re.compile(
    r"L\s?[-‐-―]?\s?([0-9]{1,9})(?:\s?[/.]\s?([0-9]{1,6}))?", re.IGNORECASE | re.ASCII
)


class Category(StrEnum):
    """What a document is for."""

    TRAINING = "training"
    GUIDE = "identification guide"
    MANUAL = "manual"
    ALERT = "alert"
    """Shown on the front page until its day."""
    PRACTICE = "best practice"
    BACKGROUND = "background"
    LEGAL = "legal text"


class Status(StrEnum):
    """What a librarian made of a version."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"


class Document(Base):
    """What versions are of. It is called "L-12"."""

    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    versions: Mapped[list[Version]] = relationship(
        order_by="Version.number", back_populates="document"
    )

    @property
    def label(self) -> str:
        return f"L-{self.id}"


class Version(Base):
    """One handing in of a document: a verified mail of a member.

    token names it where its content is sealed. language: ISO 639-1 code. size: bytes of its files
    together. until: of an alert, the moment at which it ends. decided_by: as others are shown who
    decided. form: title, description and names of files. submission, details, certificate: the
    evidence, as of a posting. indexed_at: None while it waits to be searched.
    """

    __tablename__ = "document_version"
    __table_args__ = (
        UniqueConstraint("document_id", "number"),
        Index(
            "ix_document_version_due",
            "id",
            sqlite_where=text("indexed_at IS NULL"),
            postgresql_where=text("indexed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("document.id"))
    number: Mapped[int]
    token: Mapped[str] = mapped_column(unique=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    received_at: Mapped[datetime]
    signed_at: Mapped[datetime]
    key_fingerprint: Mapped[str]
    category: Mapped[Category]
    language: Mapped[str]
    marking: Mapped[str]
    files: Mapped[int]
    size: Mapped[int]
    until: Mapped[datetime | None]
    status: Mapped[Status] = mapped_column(default=Status.WAITING, index=True)
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    withdrawn_at: Mapped[datetime | None]
    indexed_at: Mapped[datetime | None]
    form: Mapped[bytes]
    submission: Mapped[bytes] = mapped_column(deferred=True)
    details: Mapped[bytes] = mapped_column(deferred=True)
    certificate: Mapped[bytes] = mapped_column(deferred=True)
    document: Mapped[Document] = relationship(back_populates="versions")
    author: Mapped[Member] = relationship()
    topics: Mapped[list[MailingList]] = relationship(
        secondary="document_topic", order_by="MailingList.id"
    )

    @property
    def label(self) -> str:
        """ "L-12", or "L-12/2" for what is not the first version."""
        return f"L-{self.document_id}" + (f"/{self.number}" if self.number > 1 else "")

    @property
    def exact(self) -> str:
        """ "L-12/1": for commands that take "L-12" for the newest version, or for all."""
        return f"L-{self.document_id}/{self.number}"

    @property
    def last_day(self) -> datetime | None:
        """Of an alert: noon, UTC, of the last day on which it is shown, which is of that day in
        almost every time zone."""
        return None if self.until is None else self.until - timedelta(hours=12)


class DocumentTopic(Base):
    """A topic that a version is about."""

    __tablename__ = "document_topic"

    version_id: Mapped[int] = mapped_column(ForeignKey("document_version.id"), primary_key=True)
    list_id: Mapped[int] = mapped_column(
        ForeignKey("mailing_list.id"), primary_key=True, index=True
    )


class DocumentMail(Base):
    """A keyed hash of an act of signing what was handed in. Kept for good, as a posting's is."""

    __tablename__ = "document_mail"
    __table_args__ = (Index("ix_document_mail_rate", "member_id", "at"),)

    hash: Mapped[str] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    at: Mapped[datetime]


def typed_label(label: str) -> tuple[int, int | None] | None:
    """(document, version) of "L-12" or "L-12/2" as people type it; None where it is none."""
    typed = _LABEL.fullmatch(label.strip())
    if typed is None:
        return None
    return int(typed[1]), int(typed[2]) if typed[2] else None


def no_such_document(label: str) -> UsageError:
    """Said of what there is not and of what is not theirs to know alike."""
    return UsageError("there is no document '%(label)s'", label=label)


def next_number(session: Session, document: Document) -> int:
    """The number of its next version; the document's row is locked until the end."""
    session.refresh(document, with_for_update=True)
    query = select(func.max(Version.number)).where(Version.document_id == document.id)
    return (session.scalar(query) or 0) + 1


def locked(session: Session, version_id: int) -> Version:
    """A version as it is now, its row locked."""
    return session.get_one(
        Version, version_id, with_for_update={"of": Version}, populate_existing=True
    )


def is_known(session: Session, hashes: Sequence[str]) -> bool:
    query = select(DocumentMail.hash).where(DocumentMail.hash.in_(hashes)).limit(1)
    return session.scalar(query) is not None


def remember(session: Session, hashes: Sequence[str], member_id: int, now: datetime) -> None:
    session.add_all(
        DocumentMail(hash=one, member_id=member_id, at=now) for one in dict.fromkeys(hashes)
    )
    session.flush()


def count_since(session: Session, member_id: int, since: datetime) -> int:
    """Mails to the Library of a member."""
    query = select(func.count(func.distinct(DocumentMail.at))).where(
        DocumentMail.member_id == member_id, DocumentMail.at > since
    )
    return session.scalar(query) or 0
