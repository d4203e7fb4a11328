"""A thread's page: flat with an outline of who answered whom, or nested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import defer, joinedload, selectinload
from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import outline, reading
from gateway.archive.reading import Shown
from gateway.message import marking
from gateway.posting import presenting, subjects, visibility
from gateway.store.mailing_list import MailingList
from gateway.store.posting import Posting
from gateway.web import actions
from gateway.web.actions import Action
from gateway.web.reading import found_at
from gateway.web.visit import Visit, for_members

MOST_POSTINGS = 50
"""Postings on one page of a thread."""
MOST_BYTES = 32_000_000
"""What they have together, sealed or opened; a larger one has a page for itself."""
MOST_TEXT = 6_000
"""Characters of each; the rest is on its own page."""
_ANSWERS = "re:"


@dataclass(frozen=True, slots=True)
class Row:
    """A posting in its thread. subject: "" where it is the thread's."""

    shown: Shown
    subject: str
    reply: Action | None

    @property
    def token(self) -> str:
        return self.shown.token

    @property
    def ancestors(self) -> tuple[str, ...]:
        return self.shown.ancestors


def thread(visit: Visit) -> Response:
    """What the reader may read of a posting's thread, the oldest first; the others are not there,
    and answers to them stand under what those answered."""
    found = found_at(visit)
    after = visit.number("after") or 0
    theirs = _theirs(visit, found)
    found_here, more = _page(visit, theirs, after)
    shown = _opened(visit, found_here)
    more = more or len(shown) < len(found_here)
    subject = _subject(visit, theirs)
    known = actions.known_topics(visit)
    rows = [
        _row(visit, one, actions.lists_of(known, posting), subject)
        for posting, one in zip(found_here, shown, strict=False)
    ]
    read = [one.id for one in shown if one.body is not None]
    visit.enter(
        "thread-read", posting=found.label, postings=len(read), numbers=" ".join(map(str, read))
    )
    postings, people = _counts(visit, theirs)
    return visit.page(
        "thread",
        label=found.label,
        path=presenting.path(found.label),
        subject=subject,
        lists=actions.lists_of(known, found),
        strictest=max((one.marking for one in shown), key=marking.of_label, default=found.marking),
        postings=postings,
        people=people,
        rows=rows,
        tree=outline.tree(rows),
        nested=visit.request.query_params.get("view") == "nested",
        after=after,
        next=shown[-1].id if more and shown else None,
    )


def _theirs(visit: Visit, found: Posting) -> tuple[ColumnElement[bool], ...]:
    """For a where(): the postings of the thread that the reader may read."""
    return Posting.thread_id == found.thread_id, visibility.readable(visit.session, visit.member)


def _page(
    visit: Visit, theirs: Sequence[ColumnElement[bool]], after: int
) -> tuple[list[Posting], bool]:
    """(postings, whether more follow), by number. Sealed lengths first: what they have could be
    50 MB each."""
    session = visit.session
    query = select(Posting.id, func.length(Posting.submission)).where(*theirs, Posting.id > after)
    lengths = session.execute(query.order_by(Posting.id).limit(MOST_POSTINGS + 1)).all()
    wanted: list[int] = []
    total = 0
    for posting_id, length in lengths[:MOST_POSTINGS]:
        total += length
        if wanted and total > MOST_BYTES:
            break
        wanted.append(posting_id)
    rows = session.scalars(
        select(Posting)
        .where(Posting.id.in_(wanted))
        .order_by(Posting.id)
        .options(joinedload(Posting.author), selectinload(Posting.placements))
    )
    return list(rows), len(wanted) < len(lengths)


def _opened(visit: Visit, found: Sequence[Posting]) -> list[Shown]:
    """As many of them as may be opened for one page: what was sealed may have been compressed."""
    shown: list[Shown] = []
    total = 0
    for one in reading.open_all(visit.session, visit.app, found, MOST_TEXT):
        shown.append(one)
        total += one.length
        if total > MOST_BYTES:
            break
    return shown


def _row(visit: Visit, shown: Shown, lists: Sequence[MailingList], subject: str) -> Row:
    own = "" if shown.body is None else shown.body.subject
    reply = None if shown.withdrawn_at else actions.reply(visit, lists, shown)
    return Row(shown, "" if _bare(own) == _bare(subject) else own, reply)


def _bare(subject: str) -> str:
    return subject.casefold().removeprefix(_ANSWERS).strip()


def _subject(visit: Visit, theirs: Sequence[ColumnElement[bool]]) -> str:
    """That of its first posting that is still there."""
    query = select(Posting).where(*theirs, Posting.withdrawn_at.is_(None)).order_by(Posting.id)
    blobs = (defer(Posting.submission), defer(Posting.certificate))
    first = visit.session.scalar(query.options(*blobs).limit(1))
    if first is None:
        return ""
    return subjects.listed(visit.app.vault, first, subjects.titles(visit.session)) or ""


def _counts(visit: Visit, theirs: Sequence[ColumnElement[bool]]) -> tuple[int, int]:
    """(postings, people) of the whole thread that the reader may read."""
    query = select(func.count(), func.count(Posting.author_id.distinct())).where(*theirs)
    postings, people = visit.session.execute(query).one()
    return postings, people


ROUTES = (Route("/{letter}/{number}/thread", for_members(thread)),)
