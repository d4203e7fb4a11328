"""How to use the archive."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from gateway.message.marking import Marking
from gateway.notices.language import N_
from gateway.web.visit import Visit, for_members

MEANINGS = {
    Marking.CLEAR: N_("May be told to anybody."),
    Marking.GREEN: N_("For members and those whom they work with; it is not published."),
    Marking.AMBER: N_(
        "For the readers' own organisations and those whom they serve, and there only for those "
        "who need to know it. A posting without any label is TLP:AMBER."
    ),
    Marking.AMBER_STRICT: N_(
        "For the readers' own organisations alone, and there only for those who need to know it. "
        "It is in no digest and in no download of several postings."
    ),
    Marking.RED: N_("For its named readers alone; it never goes to a list."),
}
"""What the labels of TLP 2.0 (FIRST) mean here."""


def help_page(visit: Visit) -> Response:
    meanings = [(one.label, visit.say(said)) for one, said in MEANINGS.items()]
    topics = [one for one in visit.topics() if one.closed_at is None]
    hours = visit.app.config.web.session_hours
    return visit.page("help", meanings=meanings, topics=topics, hours=hours)


ROUTES = (Route("/help", for_members(help_page)),)
