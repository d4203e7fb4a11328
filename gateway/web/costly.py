"""Pages that take seconds and much memory: a few at once, so that others wait for none of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from gateway.web.visit import Endpoint

MOST_AT_ONCE = 3


def limiter() -> CapacityLimiter:
    """What counts them; the application has it as `state.costly`."""
    return CapacityLimiter(MOST_AT_ONCE)


def few_at_once(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint in a thread beside those of the other pages. A mail with a hundred pictures that
    are built to be slow has its readers' browsers ask for each of them."""

    @wraps(endpoint)
    async def waiting(request: Request) -> Response:
        return await to_thread.run_sync(endpoint, request, limiter=request.app.state.costly)

    return waiting
