"""Login mails: what the web archive, or a member's command, asked for is answered here.

The web writes a row for whoever asks. Whether they are a member is looked up here, out of sight.
"""

from __future__ import annotations

import ipaddress
import secrets
import uuid
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import UsageError
from gateway.message import address as addresses
from gateway.notices.notice import Manner, tell
from gateway.store import certificate as certificates
from gateway.store import ledger, member
from gateway.store.actor import Actor, actor_of
from gateway.store.certificate import MemberCertificate
from gateway.store.member import Member, State
from gateway.store.web_session import LoginRequest, WebSession, end

_CODE_BYTES = 24
_KEPT = timedelta(days=30)
_MOST_AT_ONCE = 50
_ONE_SITE = 64
"""Bits of an IPv6 address that a provider gives to one customer (RFC 6177): all that follows is
theirs to choose."""


def ask(
    session: Session, app: App, *, address: str, client: str, browser: str, back: str = ""
) -> None:
    """Write down that somebody wants to log in. The same for whoever it is.

    address: as they typed it. client: where they ask from. browser: the token of their cookie.
    back: the path to bring them to afterwards.
    """
    made = _request(app, address, back)
    made.address_hash, made.client_hash = address_hash(app, address), client_hash(app, client)
    made.browser_hash = browser_hash(app, browser)
    session.add(made)
    session.flush()


def link_for(session: Session, app: App, to: Member) -> str:
    """The URL of a login link that a member asked for in a signed mail, good in any one browser.
    Raises UsageError where they have no certificate that serves."""
    now = app.clock()
    held = good_certificate(session, to, now)
    if held is None:
        raise UsageError("your certificate does not serve any more")
    made = _request(app, to.address, "")
    made.answered_at = now
    session.add(made)
    return _fill(session, app, made, to, held, now)


def log_out_everywhere(session: Session, app: App, of: Member, by: Actor) -> int:
    """End a member's sessions and the links that are on their way. How many sessions ended."""
    now = app.clock()
    count = end(session, now, member_id=of.id)
    ledger.enter(session, now, "logged-out", member=of.id, sessions=count, by=by.ledger)
    return count


def is_too_often(session: Session, app: App, *, address: str, client: str, now: datetime) -> bool:
    """Whether an address or a client asked for as many login mails within an hour as they may."""
    web = app.config.web

    def count(same: ColumnElement[bool]) -> int:
        recent = LoginRequest.asked_at > now - timedelta(hours=1)
        query = select(func.count()).select_from(LoginRequest).where(same, recent)
        return session.scalar(query) or 0

    of_address = count(LoginRequest.address_hash == address_hash(app, address))
    of_client = count(LoginRequest.client_hash == client_hash(app, client))
    return of_address >= web.logins_per_address or of_client >= web.logins_per_client


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


def good_certificate(session: Session, of: Member, now: datetime) -> MemberCertificate | None:
    """The certificate that proves who an active member is; None where they have none that serves,
    or are not active."""
    held = certificates.of(session, of)
    good = (
        of.state is State.ACTIVE
        and held is not None
        and held.revoked_at is None
        and (held.serves_until is None or held.serves_until > now)
    )
    return held if good else None


def _request(app: App, address: str, back: str) -> LoginRequest:
    """A row that counts for no address and no client yet."""
    token = uuid.uuid4().hex
    return LoginRequest(
        token=token,
        address=app.vault.seal(f"login/{token}/address", address.encode()),
        back=app.vault.seal(f"login/{token}/back", back.encode()),
        address_hash="",
        client_hash="",
        asked_at=app.clock(),
    )


def _answer(app: App, request_id: int) -> int:
    with app.database.transaction() as session:
        query = select(LoginRequest).where(
            LoginRequest.id == request_id, LoginRequest.answered_at.is_(None)
        )
        # Another machine may be at it.
        request = session.scalar(query.with_for_update(skip_locked=True))
        if request is None:
            return 0
        now = app.clock()
        request.answered_at = now
        minutes = app.config.web.login_minutes
        if request.asked_at <= now - timedelta(minutes=minutes):
            return 0  # the gateway stood still; whoever asked has asked again
        typed = app.vault.open(f"login/{request.token}/address", request.address).decode()
        to = member.find(session, typed) if addresses.normalise(typed) else None
        held = None if to is None else good_certificate(session, to, now)
        if to is None or held is None:
            return 0
        url = _fill(session, app, request, to, held, now)
        tell(session, app, to, "login", Manner(), url=url, minutes=minutes)
        return 1


def _fill(
    session: Session,
    app: App,
    request: LoginRequest,
    to: Member,
    held: MemberCertificate,
    now: datetime,
) -> str:
    """Give a request its link; the link's URL."""
    code = secrets.token_urlsafe(_CODE_BYTES)
    request.code_hash = code_hash(app, code)
    request.member_id, request.key_fingerprint = to.id, held.fingerprint
    request.ends_at = now + timedelta(minutes=app.config.web.login_minutes)
    session.flush()
    ledger.enter(session, now, "login-sent", by=actor_of(to).ledger)
    return f"{app.config.archive_url}/login/{code}"


def address_hash(app: App, address: str) -> str:
    return app.vault.keyed_hash("login-address", addresses.normalise(address) or address)


def client_hash(app: App, client: str) -> str:
    """Of where somebody asks from: an IPv4 address, or a customer's IPv6 network."""
    try:
        where = ipaddress.ip_address(client)
    except ValueError:
        return app.vault.keyed_hash("login-client", client)
    if isinstance(where, ipaddress.IPv6Address) and where.ipv4_mapped is not None:
        where = where.ipv4_mapped
    if isinstance(where, ipaddress.IPv6Address):
        client = str(ipaddress.IPv6Network((int(where), _ONE_SITE), strict=False))
    else:
        client = str(where)
    return app.vault.keyed_hash("login-client", client)


def browser_hash(app: App, browser: str) -> str:
    return app.vault.keyed_hash("login-browser", browser)


def code_hash(app: App, code: str) -> str:
    return app.vault.keyed_hash("login-code", code)
