"""The front page: topics, what is new in them, alerts."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import listing
from gateway.store import mailing_list
from gateway.web import library
from gateway.web.visit import Visit, for_members

NEWEST = 10
"""Threads on the front page."""


def front(visit: Visit) -> Response:
    """Topics, and the newest threads over all of them and over the desks."""
    topics = visit.topics()
    lists = [*topics, *mailing_list.desks_of(visit.session, topics)]
    page = listing.threads(visit.session, visit.app, visit.member, lists, most=NEWEST)
    return visit.page(
        "front",
        topics=topics,
        ticked_off={one.list_id for one in visit.member.ticked_off},
        threads=page.rows,
        alerts=library.alerts(visit),
    )


ROUTES = (Route("/", for_members(front)),)
