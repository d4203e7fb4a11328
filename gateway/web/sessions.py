"""Sessions: a cookie that only its browser has, and what ends one."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload
from starlette.requests import Request
from starlette.responses import Response

from gateway.administration import logins
from gateway.app import App
from gateway.store.member import Member
from gateway.store.web_session import WebSession

COOKIE = "__Host-session"
_TOKEN_BYTES = 32
_LONGEST_AGENT = 300
_STALE = timedelta(minutes=5)


def current(session: Session, app: App, request: Request, now: datetime) -> WebSession | None:
    """The login that a request's cookie stands for, where it holds: not ended, its member active
    and the certificate that proved it theirs still, not revoked and not expired."""
    token = request.cookies.get(COOKIE, "")
    if not token:
        return None
    found = session.scalar(
        select(WebSession)
        .where(WebSession.token_hash == token_hash(app, token))
        .options(joinedload(WebSession.member))
    )
    if found is None or found.ended_at is not None or found.ends_at <= now:
        return None
    return found if proves(session, found.member, found.key_fingerprint, now) else None


def proves(session: Session, member: Member, fingerprint: str | None, now: datetime) -> bool:
    """Whether a certificate is an active member's still, and good."""
    held = logins.good_certificate(session, member, now)
    return held is not None and held.fingerprint == fingerprint


def start(
    session: Session,
    app: App,
    member_id: int,
    fingerprint: str | None,
    request: Request,
    now: datetime,
) -> str:
    """A new session; the token for its cookie, which is nowhere else."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    last = session.scalar(
        select(func.max(WebSession.seen_at)).where(WebSession.member_id == member_id)
    )
    hashed = token_hash(app, token)
    agent = request.headers.get("user-agent", "")[:_LONGEST_AGENT]
    session.add(
        WebSession(
            token_hash=hashed,
            member_id=member_id,
            key_fingerprint=fingerprint,
            agent=app.vault.seal(f"web-session/{hashed}/agent", agent.encode()),
            started_at=now,
            seen_at=now,
            ends_at=now + timedelta(hours=app.config.web.session_hours),
            last_visit=last,
        )
    )
    session.flush()
    return token


def agent(app: App, one: WebSession) -> str:
    """What the browser of a session called itself."""
    opened = app.vault.open(f"web-session/{one.token_hash}/agent", one.agent)
    return opened.decode("utf-8", "replace")


def of_member(session: Session, member_id: int, now: datetime) -> list[WebSession]:
    """Those that are under way, the newest first."""
    query = select(WebSession).where(
        WebSession.member_id == member_id, WebSession.ended_at.is_(None), WebSession.ends_at > now
    )
    return list(session.scalars(query.order_by(WebSession.started_at.desc())))


def is_stale(one: WebSession, now: datetime) -> bool:
    """Whether it is time to write down again that they were here."""
    return now - one.seen_at >= _STALE


def seen(session: Session, session_id: int, now: datetime) -> None:
    session.execute(update(WebSession).where(WebSession.id == session_id).values(seen_at=now))


def set_cookie(response: Response, name: str, value: str, seconds: int, *, lax: bool) -> None:
    """lax: sent with a link followed from another site too, as a login mail's may be."""
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=True, httponly=True,
        samesite="lax" if lax else "strict",
    )  # fmt: skip


def delete_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="strict")


def token_hash(app: App, token: str) -> str:
    return app.vault.keyed_hash("web-session", token)
