"""What every response of the web archive says to the browser, whoever made it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""No script, no frame, nothing from anywhere else."""

_ALWAYS = (
    ("Content-Security-Policy", CONTENT_SECURITY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cache-Control", "no-store"),
    ("X-Robots-Tag", "noindex, nofollow, noarchive"),
)


class Protection:
    """ASGI middleware: adds these fields where a response has none of its own. secure: whether the
    archive's URL is https, which browsers are then to keep to."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._fields = _ALWAYS + (
            (("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),)
            if secure
            else ()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._fields:
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, protected)
