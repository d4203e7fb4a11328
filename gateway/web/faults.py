"""What is answered when something goes wrong, and that no word of it gets out."""

from __future__ import annotations

import logging
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app import App
from gateway.errors import Unavailable, trace
from gateway.web import rendering

log = logging.getLogger(__name__)

_TRY_AGAIN = "503 Something went wrong here. Nothing was lost; try again in a minute.\n"


class Faults:
    """ASGI middleware: 503 for what nobody expected.

    Nothing is raised past it: servers log an exception with its text, in which a value could be
    content.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            said = str(error) if isinstance(error, Unavailable) else trace(error)
            log.error("web archive: %s", said)  # noqa: TRY400  its text says all
            if not started:  # else the server closes what was not completed
                response = PlainTextResponse(_TRY_AGAIN, 503, headers={"Retry-After": "60"})
                await response(scope, receive, send)


def http_fault(request: Request, fault: Exception) -> Response:
    """The page for a request that is wrong in itself."""
    status = fault.status_code if isinstance(fault, HTTPException) else 400
    headers = fault.headers if isinstance(fault, HTTPException) else None
    if status == HTTPStatus.NOT_FOUND:
        return plain_page(request, "not-there", status)
    return PlainTextResponse(f"{status} {HTTPStatus(status).phrase}\n", status, headers=headers)


def plain_page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """A page for whoever it is, in the language that their browser asks for."""
    app: App = request.app.state.gateway
    spoken = rendering.negotiated(request.headers.get("accept-language", ""))
    return rendering.page(app, spoken, template, status, **values)
