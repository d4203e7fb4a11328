"""Data keys as they rest: each an OpenPGP message to the archive key, useless without gpg-agent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from gateway.store.database import Base


class DataKey(Base):
    __tablename__ = "data_key"

    id: Mapped[int] = mapped_column(primary_key=True)
    message: Mapped[bytes]
    created_at: Mapped[datetime]


def messages(session: Session) -> dict[int, bytes]:
    """Data key id -> OpenPGP message holding the key."""
    rows = session.execute(select(DataKey.id, DataKey.message).order_by(DataKey.id))
    return {row[0]: row[1] for row in rows}
