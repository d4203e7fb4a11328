"""Who is logged in to the web archive, and who asked to be.

The web process writes here and in the ledger, and nowhere else. It writes down that somebody asked
for a login mail, whoever they are; the gateway looks whether they are a member and writes the mail.
So the answer to a stranger takes as long as that to a member.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ForeignKey, Index, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.store.database import Base
from gateway.store.member import Member

WRITTEN_BY_THE_WEB: Mapping[str, frozenset[str]] = {
    "login_request": frozenset({"INSERT", "UPDATE"}),
    "web_session": frozenset({"INSERT", "UPDATE"}),
    "ledger": frozenset({"INSERT"}),
    "ledger_head": frozenset({"UPDATE"}),
}
"""Tables that the web process may write to, and how. contrib/postgresql/web-role.sql says the same
to PostgreSQL."""


class LoginRequest(Base):
    """Somebody asked for a login mail, on the web or with the command `login`.

    address, back: what they typed and the page they came from, sealed. address_hash, client_hash:
    keyed hashes, to count by. browser_hash: of the cookie of the browser that asked; None where it
    was asked for by mail: the first browser that completes it has it then. answered_at: when the
    gateway took it up; code_hash, member_id, key_fingerprint: of the link, its owner and the
    certificate that it was encrypted to, where there is one.
    """

    __tablename__ = "login_request"
    __table_args__ = (
        Index(
            "ix_login_request_due",
            "id",
            sqlite_where=text("answered_at IS NULL"),
            postgresql_where=text("answered_at IS NULL"),
        ),
        Index("ix_login_request_address", "address_hash", "asked_at"),
        Index("ix_login_request_client", "client_hash", "asked_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    address: Mapped[bytes]
    back: Mapped[bytes]
    address_hash: Mapped[str]
    client_hash: Mapped[str]
    browser_hash: Mapped[str | None]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    code_hash: Mapped[str | None] = mapped_column(unique=True)
    member_id: Mapped[int | None] = mapped_column(ForeignKey("member.id"))
    key_fingerprint: Mapped[str | None]
    ends_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]


class WebSession(Base):
    """A login. token_hash: of its cookie. key_fingerprint: the certificate that proved it. agent:
    what the browser calls itself, sealed. last_visit: when the member was here before it, None for
    never."""

    __tablename__ = "web_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), index=True)
    key_fingerprint: Mapped[str]
    agent: Mapped[bytes]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    last_visit: Mapped[datetime | None]
    member: Mapped[Member] = relationship()


def end(session: Session, now: datetime, *, member_id: int, session_id: int | None = None) -> int:
    """End one session of a member, or all of them, and then the links of login mails that are under
    way too. How many sessions ended."""
    query = update(WebSession).where(
        WebSession.member_id == member_id, WebSession.ended_at.is_(None), WebSession.ends_at > now
    )
    if session_id is not None:
        query = query.where(WebSession.id == session_id)
    else:
        open_links = LoginRequest.member_id == member_id, LoginRequest.used_at.is_(None)
        session.execute(update(LoginRequest).where(*open_links).values(used_at=now))
    done = session.execute(query.values(ended_at=now))
    return int(getattr(done, "rowcount", 0))
