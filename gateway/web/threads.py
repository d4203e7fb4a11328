"""A topic's threads, a thread, a posting."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from gateway.web.visit import Visit, for_members


def topic(visit: Visit) -> Response:
    """A topic's threads, the one with the newest posting first."""
    return visit.page("topic", topic=visit.topic(visit.request.path_params["letter"]))


ROUTES = (Route("/{letter}", for_members(topic)),)
