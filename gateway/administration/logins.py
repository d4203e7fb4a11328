"""Login mails: what the web archive, or a member's command, asked for is answered here.

The web writes a row for whoever asks. Whether they are a member is looked up here, out of sight.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.message import address as addresses
from gateway.notices.notice import Manner, tell
from gateway.store import certificate as certificates
from gateway.store import ledger, member
from gateway.store.actor import actor_of
from gateway.store.member import Member, State
from gateway.store.web_session import LoginRequest, WebSession

_CODE_BYTES = 24
_KEPT = timedelta(days=30)
_MOST_AT_ONCE = 50


def ask(
    session: Session, app: App, *, address: str, client: str, browser: str | None, back: str = ""
) -> None:
    """Write down that somebody wants to log in. The same for whoever it is.

    address: as they typed it. client: where they ask from. browser: the token of their cookie, None
    where they asked by mail. back: the path to bring them to afterwards.
    """
    token = uuid.uuid4().hex
    session.add(
        LoginRequest(
            token=token,
            address=app.vault.seal(f"login/{token}/address", address.encode()),
            back=app.vault.seal(f"login/{token}/back", back.encode()),
            address_hash=address_hash(app, address),
            client_hash=client_hash(app, client),
            browser_hash=None if browser is None else browser_hash(app, browser),
            asked_at=app.clock(),
        )
    )
    session.flush()


def is_too_often(session: Session, app: App, *, address: str, client: str, now: datetime) -> bool:
    """Whether an address or a client asked for as many login mails within an hour as they may."""
    web, since = app.config.web, now - timedelta(hours=1)

    def count(column: object, value: str) -> int:
        query = select(func.count()).select_from(LoginRequest)
        return session.scalar(query.where(column == value, LoginRequest.asked_at > since)) or 0  # type: ignore[arg-type]

    return (
        count(LoginRequest.address_hash, address_hash(app, address)) >= web.logins_per_address
        or count(LoginRequest.client_hash, client_hash(app, client)) >= web.logins_per_client
    )


def answer_due(app: App) -> int:
    """Answer what was asked for and is not answered yet. How many login mails were queued."""
    with app.database.reading() as session:
        query = select(LoginRequest.id).where(LoginRequest.answered_at.is_(None))
        waiting = list(session.scalars(query.order_by(LoginRequest.id).limit(_MOST_AT_ONCE)))
    return sum(_answer(app, one) for one in waiting)


def forget(app: App) -> int:
    """Erase requests and sessions that are long over. How many."""
    before = app.clock() - _KEPT
    with app.database.reading() as session:
        old = session.scalar(select(LoginRequest.id).where(LoginRequest.asked_at < before).limit(1))
        ended = session.scalar(select(WebSession.id).where(WebSession.ends_at < before).limit(1))
    if old is None and ended is None:
        return 0
    with app.database.transaction() as session:
        done = [
            session.execute(delete(LoginRequest).where(LoginRequest.asked_at < before)),
            session.execute(delete(WebSession).where(WebSession.ends_at < before)),
        ]
    return sum(int(getattr(one, "rowcount", 0)) for one in done)


def usable(session: Session, app: App, code: str, now: datetime) -> LoginRequest | None:
    """The request whose link has this code, its row locked; None where there is none, it was used,
    or its time is over."""
    query = select(LoginRequest).where(LoginRequest.code_hash == code_hash(app, code))
    found = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if found is None or found.used_at is not None or found.ends_at is None or found.ends_at <= now:
        return None
    return found


def back(app: App, request: LoginRequest) -> str:
    return app.vault.open(f"login/{request.token}/back", request.back).decode()


def _answer(app: App, request_id: int) -> int:
    with app.database.transaction() as session:
        query = select(LoginRequest).where(
            LoginRequest.id == request_id, LoginRequest.answered_at.is_(None)
        )
        request = session.scalar(query.with_for_update(skip_locked=True))
        if request is None:
            return 0
        now = app.clock()
        request.answered_at = now
        typed = app.vault.open(f"login/{request.token}/address", request.address).decode()
        found = member.find(session, typed) if addresses.normalise(typed) else None
        if found is None or not _may_log_in(session, found, now):
            return 0
        _tell(session, app, request, found, now)
        return 1


def _may_log_in(session: Session, found: Member, now: datetime) -> bool:
    certificate = certificates.of(session, found)
    return (
        found.state is State.ACTIVE
        and certificate is not None
        and certificate.revoked_at is None
        and (certificate.serves_until is None or certificate.serves_until > now)
    )


def _tell(session: Session, app: App, request: LoginRequest, to: Member, now: datetime) -> None:
    certificate = certificates.of(session, to)
    if certificate is None:
        raise AssertionError("a login mail without a certificate")
    minutes, code = app.config.web.login_minutes, secrets.token_urlsafe(_CODE_BYTES)
    request.code_hash = code_hash(app, code)
    request.member_id, request.key_fingerprint = to.id, certificate.fingerprint
    request.ends_at = now + timedelta(minutes=minutes)
    tell(
        session, app, to, "login", Manner(),
        url=f"{app.config.archive_url}/login/{code}", minutes=minutes,
        bound=request.browser_hash is not None,
    )  # fmt: skip
    ledger.enter(session, now, "login-sent", by=actor_of(to).ledger)


def address_hash(app: App, address: str) -> str:
    return app.vault.keyed_hash("login-address", addresses.normalise(address) or address)


def client_hash(app: App, client: str) -> str:
    return app.vault.keyed_hash("login-client", client)


def browser_hash(app: App, browser: str) -> str:
    return app.vault.keyed_hash("login-browser", browser)


def code_hash(app: App, code: str) -> str:
    return app.vault.keyed_hash("login-code", code)
