"""What the archive notes of each posting, beside it: small values, so that lists are made without
reading what may be 50 MB each, and what is still to be indexed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from gateway.store import search_index
from gateway.store.database import Base


class ArchiveEntry(Base):
    """attachments: how many; language: ISO 639-1 code that its words were stemmed in, "" for none;
    place: its key in the index; all None until it is indexed. indexed_at: None while it waits to
    be."""

    __tablename__ = "archive_entry"
    __table_args__ = (
        Index(
            "ix_archive_entry_due",
            "posting_id",
            sqlite_where=text("indexed_at IS NULL"),
            postgresql_where=text("indexed_at IS NULL"),
        ),
        Index("ix_archive_entry_language", "language"),
    )

    posting_id: Mapped[int] = mapped_column(ForeignKey("posting.id"), primary_key=True)
    attachments: Mapped[int | None]
    language: Mapped[str | None]
    place: Mapped[int | None] = mapped_column(BigInteger)
    indexed_at: Mapped[datetime | None]


def note(session: Session, posting_id: int) -> None:
    """A new posting: it waits to be indexed."""
    session.add(ArchiveEntry(posting_id=posting_id))
    session.flush()


def forget(session: Session, posting_id: int) -> None:
    """A posting is withdrawn: nothing finds it from now on, and what is left of it in the index's
    pages waits to be rewritten."""
    found = session.get(ArchiveEntry, posting_id, with_for_update=True)
    if found is None:
        return
    if found.place is not None:
        search_index.remove(session, search_index.POSTINGS, found.place)
    found.place = found.language = found.attachments = found.indexed_at = None
    session.flush()


def languages(session: Session) -> list[str]:
    """Those that what is indexed was stemmed in: as many looks into their index as there are."""
    found: list[str] = []
    query = select(func.min(ArchiveEntry.language))
    one = session.scalar(query)
    while one is not None:
        found.append(one)
        one = session.scalar(query.where(ArchiveEntry.language > one))
    return found
