"""The front page."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from gateway.web.visit import Visit, for_members


def front(visit: Visit) -> Response:
    """Topics."""
    return visit.page("front", topics=visit.topics())


ROUTES = (Route("/", for_members(front)),)
