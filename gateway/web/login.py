"""Logging in and out: a form, a mail, a button."""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.administration import logins
from gateway.app import App
from gateway.message import address as addresses
from gateway.store import ledger
from gateway.store.actor import actor_of
from gateway.store.member import Member, State
from gateway.web import rendering, sessions

BROWSER_COOKIE = "__Host-login"
_BROWSER_BYTES = 24
_LONGEST_BACK = 500
_LONGEST_CODE = 64


def ask_form(request: Request) -> Response:
    """The form that asks for an address."""
    app: App = request.app.state.gateway
    return _page(request, "login", back=safe_back(app, request.query_params.get("back", "")))


async def form_of(request: Request) -> dict[str, str]:
    """A small form's fields; a file in it counts for nothing."""
    fields = await request.form(max_files=0, max_fields=10)
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def ask(request: Request, form: dict[str, str]) -> Response:
    """Take an address down. What is answered depends on nobody's being a member."""
    app: App = request.app.state.gateway
    now = app.clock()
    address, back = form.get("address", "").strip(), safe_back(app, form.get("back", ""))
    if addresses.normalise(address) is None:
        return _page(request, "login", 400, back=back, fault=True, address=address)
    client = client_of(request)
    browser = request.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(_BROWSER_BYTES)
    with app.database.transaction() as session:
        too_often = logins.is_too_often(session, app, address=address, client=client, now=now)
        if not too_often:
            logins.ask(session, app, address=address, client=client, browser=browser, back=back)
    if too_often:
        return _page(request, "login-too-often", 429)
    response = _page(request, "login-asked", minutes=app.config.web.login_minutes)
    seconds = app.config.web.login_minutes * 60
    sessions.set_cookie(response, BROWSER_COOKIE, browser, seconds, lax=True)
    return response


def confirm_form(request: Request) -> Response:
    """The page behind a login mail's link: a button, so that whoever only looks at links, as some
    mail servers do, does not spend it. It says the same of every code."""
    code = request.path_params["code"]
    here = BROWSER_COOKIE in request.cookies
    return _page(request, "login-confirm", code=code, here=here)


def confirm(request: Request) -> Response:
    """Complete a login: once, in time, and in the browser that asked."""
    app: App = request.app.state.gateway
    now, code = app.clock(), request.path_params["code"][:_LONGEST_CODE]
    browser = request.cookies.get(BROWSER_COOKIE, "")
    with app.database.transaction() as session:
        found = logins.usable(session, app, code, now)
        member = None if found is None else session.get(Member, found.member_id)
        if (
            found is None
            or member is None
            or found.key_fingerprint is None
            or (found.browser_hash is not None and not hmac.compare_digest(
                found.browser_hash, logins.browser_hash(app, browser)))
            or member.state is not State.ACTIVE
            or not sessions.serves(session, member, found.key_fingerprint, now)
        ):  # fmt: skip
            return _page(request, "login-failed", 403)
        found.used_at = now
        _, token = sessions.start(session, app, member.id, found.key_fingerprint, request, now)
        ledger.enter(session, now, "logged-in", by=actor_of(member).ledger)
        back = logins.back(app, found)
    response = RedirectResponse(back or "/", 303)
    seconds = app.config.web.session_hours * 3600
    sessions.set_cookie(response, sessions.COOKIE, token, seconds, lax=False)
    response.delete_cookie(BROWSER_COOKIE, path="/", secure=True, httponly=True)
    return response


def log_out(request: Request, form: dict[str, str]) -> Response:
    """End this session, one of one's own, or every one."""
    app: App = request.app.state.gateway
    now = app.clock()
    with app.database.transaction() as session:
        login = sessions.current(session, app, request, now)
        if login is not None:
            which = form.get("which", "this")
            number = login.id if which == "this" else int(which) if which.isdecimal() else None
            count = sessions.end(session, now, member_id=login.member_id, session_id=number)
            ledger.enter(
                session, now, "logged-out", by=actor_of(login.member).ledger, sessions=count
            )
            if number not in (None, login.id):
                return RedirectResponse("/profile", 303)
    response = _page(request, "logged-out")
    response.delete_cookie(sessions.COOKIE, path="/", secure=True, httponly=True)
    return response


def safe_back(app: App, path: str) -> str:
    """A path of this site, and nothing that a browser could take for another site's."""
    fine = (
        path.startswith("/")
        and not path.startswith(("//", "/\\", "/login", "/logout"))
        and len(path) <= _LONGEST_BACK
        and path.isascii()
        and path.isprintable()
        and "\\" not in path
    )
    return path if fine else ""


def client_of(request: Request) -> str:
    return request.client.host if request.client else ""


def is_own(request: Request, app: App) -> bool:
    """Whether a form was sent from a page of this site: a browser says so of every POST."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or origin in (app.config.archive_url, "null") or _is_host(request, origin)


def _is_host(request: Request, origin: str) -> bool:
    return origin.partition("://")[2] == request.headers.get("host", "")


def _page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    app: App = request.app.state.gateway
    spoken = rendering.negotiated(request.headers.get("accept-language", ""))
    known = {"back": "", "fault": False, "address": "", **values}
    return rendering.page(app, spoken, template, status, **known)
