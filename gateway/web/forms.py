"""The few forms that the web archive takes: small, and from its own pages alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.app import App
from gateway.web import faults

Form = dict[str, str]
MOST_BYTES = 8 * 1024
_MOST_FIELDS = 10
_SECONDS = 10.0
"""For all of a form to arrive."""


def taking(
    taken: Callable[[Request, Form], Response], shown: Callable[[Request], Response]
) -> Callable[[Request], object]:
    """The endpoint of a form: `shown` answers GET, `taken` POST. Both in a thread."""

    async def endpoint(request: Request) -> Response:
        if request.method != "POST":
            return await run_in_threadpool(shown, request)
        if not is_own(request):
            return await run_in_threadpool(faults.plain_page, request, "not-from-here", 403)
        return await run_in_threadpool(taken, request, await _fields(request))

    return endpoint


def is_own(request: Request) -> bool:
    """Whether a form was sent from a page of this site, as browsers say of every POST.

    Fetch Metadata where the browser has it; else its Origin, which must be ours. As our pages have
    no referrer, a browser of today says "null" of them, as it does of a page of nobody's: that
    alone is not enough. No browser leaves out both.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    app: App = request.app.state.gateway
    here = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
    return request.headers.get("origin", here) in (app.config.archive_url, here)


async def _fields(request: Request) -> Form:
    """A form's fields, the last of a name. Raises HTTPException, before more is read than a form
    may have."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
        raise HTTPException(413)
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BYTES:
                    raise HTTPException(413)
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, headers={"Connection": "close"}) from None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    try:
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise HTTPException(400) from None
    return dict(pairs)
