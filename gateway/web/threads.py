"""A topic's threads."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import listing
from gateway.store import mailing_list
from gateway.web.visit import Visit, for_members


def topic(visit: Visit) -> Response:
    """A topic's threads and those at its desks, the one with the newest posting first."""
    found = visit.topic(visit.request.path_params["letter"])
    before = visit.number("before")
    lists = [found, *mailing_list.desks_of(visit.session, [found])]
    page = listing.threads(visit.session, visit.app, visit.member, lists, before)
    return visit.page(
        "topic",
        topic=found,
        ticked_off=any(one.list_id == found.id for one in visit.member.ticked_off),
        threads=page.rows,
        newer=f"/{found.letter}" if before is not None else "",
        older=f"/{found.letter}?before={page.older}" if page.older is not None else "",
    )


ROUTES = (Route("/{letter}", for_members(topic)),)
