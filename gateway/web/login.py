"""Logging in and out: a form, a mail, a button."""

from __future__ import annotations

import hmac
import re
import secrets

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.administration import logins
from gateway.app import App
from gateway.message import address as addresses
from gateway.store import ledger
from gateway.store.actor import actor_of
from gateway.store.member import Member
from gateway.store.web_session import LoginRequest, WebSession, end
from gateway.web import sessions
from gateway.web.faults import plain_page
from gateway.web.forms import Form
from gateway.web.numbers import number_in

BROWSER_COOKIE = "__Host-login"
_BROWSER_BYTES = 24
_BROWSER = re.compile(r"[A-Za-z0-9_-]{32}")
_LONGEST_ADDRESS = 254
_LONGEST_BACK = 1000


def ask_form(request: Request) -> Response:
    """The form that asks for an address."""
    return _form(request, back=safe_back(request.query_params.get("back", "")))


def ask(request: Request, form: Form) -> Response:
    """Take an address down. What is answered depends on nobody's being a member."""
    app: App = request.app.state.gateway
    now = app.clock()
    address, back = form.get("address", "").strip(), safe_back(form.get("back", ""))
    if len(address) > _LONGEST_ADDRESS or addresses.normalise(address) is None:
        return _form(request, 400, back=back, fault=True, address=address)
    client = request.client.host if request.client else ""
    # The same for each mail that a browser asks for, so that it may open any of them.
    kept = _BROWSER.fullmatch(request.cookies.get(BROWSER_COOKIE, ""))
    browser = kept[0] if kept else secrets.token_urlsafe(_BROWSER_BYTES)
    with app.database.transaction() as session:
        too_often = logins.is_too_often(session, app, address=address, client=client, now=now)
        if not too_often:
            logins.ask(session, app, address=address, client=client, browser=browser, back=back)
    if too_often:
        return plain_page(request, "login-too-often", 429)
    minutes = app.config.web.login_minutes
    response = plain_page(request, "login-asked", minutes=minutes)
    sessions.set_cookie(response, BROWSER_COOKIE, browser, minutes * 60, lax=True)
    return response


def confirm_form(request: Request) -> Response:
    """The page behind a login mail's link: a button, so that whoever only looks at links, as some
    mail servers do, does not spend it. It says the same of every code."""
    here = BROWSER_COOKIE in request.cookies
    return plain_page(request, "login-confirm", code=request.path_params["code"], here=here)


def confirm(request: Request, _: Form) -> Response:
    """Complete a login: once, in time, and in the browser that asked."""
    app: App = request.app.state.gateway
    now = app.clock()
    with app.database.transaction() as session:
        found = logins.usable(session, app, request.path_params["code"], now)
        member = None if found is None else session.get(Member, found.member_id)
        if (
            found is None
            or member is None
            or not _is_browser_that_asked(app, request, found)
            or not sessions.proves(session, member, found.key_fingerprint, now)
        ):
            return plain_page(request, "login-failed", 403)
        found.used_at = now
        earlier = sessions.current(session, app, request, now)
        if earlier is not None:
            end(session, now, member_id=earlier.member_id, session_id=earlier.id)
        token = sessions.start(session, app, member.id, found.key_fingerprint, request, now)
        ledger.enter(session, now, "logged-in", by=actor_of(member).ledger)
        back = logins.back(app, found)
    response = RedirectResponse(back or "/", 303)
    seconds = app.config.web.session_hours * 3600
    sessions.set_cookie(response, sessions.COOKIE, token, seconds, lax=False)
    sessions.delete_cookie(response, BROWSER_COOKIE)
    return response


def to_buttons(_: Request) -> Response:
    """Whoever types the address of logging out is brought to the buttons for it."""
    return RedirectResponse("/profile", 303)


def log_out(request: Request, form: Form) -> Response:
    """End this session ("this"), one of one's own by its number, or every one ("all")."""
    app: App = request.app.state.gateway
    now, which = app.clock(), form.get("which", "this")
    with app.database.transaction() as session:
        login = sessions.current(session, app, request, now)
        if login is not None and which == "all":
            logins.log_out_everywhere(session, app, login.member, actor_of(login.member))
        elif login is not None:
            number = login.id if which == "this" else _number(which)
            _end_one(session, app, login, number)
            if number != login.id:
                return RedirectResponse("/profile", 303)
    response = plain_page(request, "logged-out")
    sessions.delete_cookie(response, sessions.COOKIE)
    return response


def safe_back(path: str) -> str:
    """A path of this site, and nothing that a browser could take for another site's; else ""."""
    fine = (
        path.startswith("/")
        and not path.startswith(("//", "/login", "/logout"))
        and len(path) <= _LONGEST_BACK
        and path.isascii()
        and path.isprintable()
        and "\\" not in path
    )
    return path if fine else ""


def _is_browser_that_asked(app: App, request: Request, found: LoginRequest) -> bool:
    """Any browser, where the link was asked for by mail."""
    if found.browser_hash is None:
        return True
    here = logins.browser_hash(app, request.cookies.get(BROWSER_COOKIE, ""))
    return hmac.compare_digest(found.browser_hash, here)


def _end_one(session: Session, app: App, login: WebSession, number: int) -> None:
    now, by = app.clock(), actor_of(login.member).ledger
    count = end(session, now, member_id=login.member_id, session_id=number)
    if count:
        ledger.enter(session, now, "logged-out", member=login.member_id, sessions=count, by=by)


def _number(text: str) -> int:
    """A session's number. Raises HTTPException where it is none."""
    number = number_in(text)
    if number is None:
        raise HTTPException(400)
    return number


def _form(
    request: Request, status: int = 200, *, back: str, fault: bool = False, address: str = ""
) -> Response:
    return plain_page(request, "login", status, back=back, fault=fault, address=address)
