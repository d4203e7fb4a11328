"""The web archive as an ASGI application: its routes.

docs/urls.md lists the addresses; a test holds the list to the routes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.app import App
from gateway.resources import style_sheet
from gateway.web import (
    costly,
    feeds,
    files,
    front,
    helping,
    holding,
    key_directory,
    ledger,
    library,
    login,
    people,
    profile,
    reading,
    search,
    takeout,
    thread_page,
    threads,
)
from gateway.web.faults import Faults, http_fault
from gateway.web.forms import taking
from gateway.web.protection import Protection

_A_YEAR = 31_536_000
_THREADS = 12
"""Pages that are made at once, costly ones not counted: each has a connection to the database, of
which there are 15."""


def site(app: App) -> Starlette:
    """The archive of a gateway; its App is opened for the web."""
    made = Starlette(
        routes=ROUTES,
        middleware=[
            Middleware(Protection, secure=app.config.archive_url.startswith("https:")),
            Middleware(Faults),
        ],
        exception_handlers={HTTPException: http_fault},
        lifespan=_lifespan,
    )
    # It would answer with a URL made from the request's Host.
    made.router.redirect_slashes = False
    made.state.gateway = app
    return made


@asynccontextmanager
async def _lifespan(made: Starlette) -> AsyncIterator[None]:
    made.state.costly = costly.limiter()
    to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _style(request: Request) -> Response:
    # Its URL names its content, so it never changes.
    kept = {"Cache-Control": f"public, max-age={_A_YEAR}, immutable"}
    return Response(style_sheet(), media_type="text/css", headers=kept)


def _robots(request: Request) -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")


ROUTES: tuple[BaseRoute, ...] = (
    Route("/style.css", _style),
    Route("/robots.txt", _robots),
    *key_directory.ROUTES,
    Route("/login", taking(login.ask, login.ask_form), methods=["GET", "POST"]),
    Route("/login/{code}", taking(login.confirm, login.confirm_form), methods=["GET", "POST"]),
    Route("/logout", taking(login.log_out, login.to_buttons), methods=["GET", "POST"]),
    *front.ROUTES,
    *profile.ROUTES,
    *people.ROUTES,
    *holding.ROUTES,
    *ledger.ROUTES,
    *library.ROUTES,
    *helping.ROUTES,
    *feeds.ROUTES,
    *search.ROUTES,
    *reading.ROUTES,
    *thread_page.ROUTES,
    *files.ROUTES,
    *takeout.ROUTES,
    # Lists' letters last: what is longer than they are stands before.
    *threads.ROUTES,
)
