"""What the archive notes of each posting, beside it: small values, so that lists are made without
reading what may be 50 MB each, and what is still to be indexed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from gateway.store.database import Base


class ArchiveEntry(Base):
    """attachments: how many; language: ISO 639-1 code that its words were stemmed in; both None
    until it is indexed. indexed_at: None while it waits to be."""

    __tablename__ = "archive_entry"
    __table_args__ = (
        Index(
            "ix_archive_entry_due",
            "posting_id",
            sqlite_where=text("indexed_at IS NULL"),
            postgresql_where=text("indexed_at IS NULL"),
        ),
    )

    posting_id: Mapped[int] = mapped_column(ForeignKey("posting.id"), primary_key=True)
    attachments: Mapped[int | None]
    language: Mapped[str | None]
    indexed_at: Mapped[datetime | None]


def note(session: Session, posting_id: int) -> None:
    """A new posting: it waits to be indexed."""
    session.add(ArchiveEntry(posting_id=posting_id))
    session.flush()
