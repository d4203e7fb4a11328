"""The web archive as an ASGI application: its routes, and what happens when something goes wrong.

docs/urls.md lists the addresses; a test holds the list to the routes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.app import App
from gateway.errors import Unavailable, trace
from gateway.resources import style_sheet
from gateway.web import front, login, rendering, threads
from gateway.web.protection import Protection

log = logging.getLogger(__name__)

_A_YEAR = 31_536_000
Form = dict[str, str]


def site(app: App) -> Starlette:
    """The archive of a gateway; its App is opened for the web."""
    made = Starlette(
        routes=ROUTES,
        middleware=[Middleware(Protection, secure=app.config.archive_url.startswith("https:"))],
        exception_handlers={HTTPException: _http_fault, Exception: _our_fault},
    )
    made.state.gateway = app
    return made


def taking(handler: Callable[[Request, Form], Response]) -> Callable[[Request], object]:
    """The endpoint of a form: only from a page of this site, its blocking work in a thread."""

    async def endpoint(request: Request) -> Response:
        if not login.is_own(request, request.app.state.gateway):
            return await run_in_threadpool(_plain_page, request, "not-from-here", 403)
        return await run_in_threadpool(handler, request, await login.form_of(request))

    return endpoint


def _completing(request: Request, form: Form) -> Response:
    return login.confirm(request)


def _style(request: Request) -> Response:
    # Its URL names its content, so it never changes.
    kept = {"Cache-Control": f"public, max-age={_A_YEAR}, immutable"}
    return Response(style_sheet(), media_type="text/css", headers=kept)


def _robots(request: Request) -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")


ROUTES: tuple[BaseRoute, ...] = (
    Route("/style.css", _style),
    Route("/robots.txt", _robots),
    Route("/login", login.ask_form, methods=["GET"]),
    Route("/login", taking(login.ask), methods=["POST"]),
    Route("/login/{code}", login.confirm_form, methods=["GET"]),
    Route("/login/{code}", taking(_completing), methods=["POST"]),
    Route("/logout", taking(login.log_out), methods=["POST"]),
    *front.ROUTES,
    # Lists' letters last: what is longer than they are stands before.
    *threads.ROUTES,
)


def _plain_page(request: Request, template: str, status: int) -> Response:
    app: App = request.app.state.gateway
    spoken = rendering.negotiated(request.headers.get("accept-language", ""))
    return rendering.page(app, spoken, template, status, said="")


def _http_fault(request: Request, fault: Exception) -> Response:
    status = fault.status_code if isinstance(fault, HTTPException) else 500
    headers = fault.headers if isinstance(fault, HTTPException) else None
    if status == 404:
        return _plain_page(request, "not-there", status)
    name = {405: "Method not allowed", 413: "Too large"}.get(status, "Bad request")
    return PlainTextResponse(f"{status} {name}\n", status, headers=headers)


def _our_fault(request: Request, fault: Exception) -> Response:
    """503 and no word of what it was: a value in it could be content."""
    said = str(fault) if isinstance(fault, Unavailable) else trace(fault)
    log.error("web archive: %s", said)
    return PlainTextResponse(
        "503 Something went wrong here. Nothing was lost; try again in a minute.\n",
        503,
        headers={"Retry-After": "60"},
    )
