"""A posting's page, and that of its hypertext."""

from __future__ import annotations

from sqlalchemy import func, select
from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import reading
from gateway.errors import Malformed
from gateway.message import submission
from gateway.posting import moderators, visibility
from gateway.store.hold import Decision, Hold
from gateway.store.posting import Posting
from gateway.web import actions, hypertext
from gateway.web.costly import few_at_once
from gateway.web.visit import NotThere, Visit, for_members

_NO_PICTURES = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""The content security policy of a page with foreign hypertext: ours without pictures."""


def posting(visit: Visit) -> Response:
    """A posting, its signature checked again."""
    found = found_at(visit)
    shown = reading.open_posting(visit.session, visit.app, found)
    if shown.body is not None:
        visit.enter("read", posting=found.label)
    lists = actions.lists_of(actions.known_topics(visit), found)
    gone = found.withdrawn_at is not None
    theirs = found.author_id == visit.member.id
    return visit.page(
        "posting",
        shown=shown,
        lists=lists,
        placed=found.placements if theirs and not gone else [],
        holds=[] if gone else _to_decide(visit, found),
        actions=[] if gone else actions.about(visit, lists, found, shown),
        in_thread=_in_thread(visit, found),
    )


def as_hypertext(visit: Visit) -> Response:
    """A posting's hypertext, sanitised."""
    found = found_at(visit)
    if found.withdrawn_at is not None:
        raise NotThere
    try:
        hypertexts = reading.parts_of(visit.app, found).hypertexts
    except Malformed:
        raise NotThere from None
    if not hypertexts:
        raise NotThere
    markup = submission.text(hypertexts[0], 4 * hypertext.MOST_MARKUP)
    visit.enter("read", posting=found.label, part="html")
    response = visit.page(
        "html",
        shown=reading.open_posting(visit.session, visit.app, found),
        sanitised=hypertext.confined(markup),
        cut=len(markup) > hypertext.MOST_MARKUP,
    )
    response.headers["Content-Security-Policy"] = _NO_PICTURES
    return response


def found_at(visit: Visit) -> Posting:
    """The posting that an address names. Raises NotThere."""
    path = visit.request.path_params
    return visit.posting(path["letter"], path["number"])


def _in_thread(visit: Visit, found: Posting) -> int:
    """Postings of its thread that the reader may read."""
    theirs = (
        Posting.thread_id == found.thread_id,
        visibility.readable(visit.session, visit.member),
    )
    return visit.session.scalar(select(func.count()).select_from(Posting).where(*theirs)) or 0


def _to_decide(visit: Visit, found: Posting) -> list[Hold]:
    """Where it waits for the reader, who may read it anyway."""
    query = select(Hold).where(Hold.posting_id == found.id, Hold.decision == Decision.OPEN)
    return [
        one
        for one in visit.session.scalars(query.order_by(Hold.id))
        if moderators.moderates(visit.session, visit.member, one.mailing_list)
    ]


ROUTES = (
    Route("/{letter}/{number}", for_members(posting)),
    Route("/{letter}/{number}/html", few_at_once(for_members(as_hypertext))),
)
