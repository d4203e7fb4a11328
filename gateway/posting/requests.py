"""Requests to a list's experts: opened, closed, and not forgotten in between."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import UsageError
from gateway.notices.links import mailto
from gateway.notices.notice import holders, tell, tell_all
from gateway.posting import moderators, visibility
from gateway.posting.notice import subject_of
from gateway.store import audience, ledger
from gateway.store import request as store
from gateway.store.actor import GATEWAY, Actor
from gateway.store.mailing_list import Audience, MailingList
from gateway.store.member import Member, Role, State
from gateway.store.posting import Posting
from gateway.store.request import Request


def follow(session: Session, app: App, posting: Posting, one: MailingList, now: datetime) -> None:
    """Open a request where a posting that goes out begins a thread at a list's experts."""
    if one.audience is not Audience.EXPERTS or posting.ancestors:
        return
    opened = Request(
        posting=posting,
        mailing_list=one,
        opened_at=now,
        answer_by=now + timedelta(days=app.config.policy.answer_days),
    )
    session.add(opened)
    session.flush()
    ledger.enter(
        session, now, "request-opened",
        posting=posting.label, list=one.local_part, member=posting.author_id,
    )  # fmt: skip
    tell(session, app, posting.author, "request-opened", **_about(app, opened))


def may_close(session: Session, member: Member, request: Request) -> bool:
    """Who asked, those who read at the experts' desk, and administrators."""
    return (
        member.id == request.posting.author_id
        or member.has_role(Role.ADMINISTRATOR)
        or member.id in audience.readers(session, request.mailing_list)
    )


def known_to(session: Session, member: Member) -> list[Request]:
    """The open requests that a member may know of, the oldest first: theirs, those at the desks
    that they read at, and all of them for an administrator."""
    if member.has_role(Role.ADMINISTRATOR):
        return store.open_requests(session)
    desks = visibility.desks_of(session, member)
    return store.open_requests(session, desks=desks, asker=member.id)


def close(session: Session, app: App, request: Request, by: Actor) -> None:
    """Note that a request is answered, and tell who asked and whoever worked on it.

    Raises UsageError where it is closed already.
    """
    if request.closed_at is not None:
        raise UsageError(
            "the request %(label)s was closed already, on %(date)s",
            label=request.label,
            date=f"{request.closed_at:%Y-%m-%d}",
        )
    request.closed_at, request.closed_by = app.clock(), by.member_id
    ledger.enter(
        session, app.clock(), "request-answered",
        posting=request.label, list=request.mailing_list.local_part, by=by.ledger,
    )  # fmt: skip
    concerned = {request.posting.author_id, *store.answerers(session, request)} - {by.member_id}
    tell_all(
        session, app, _active(session, concerned), "request-closed",
        by=by.shown, **_about(app, request),
    )  # fmt: skip


def remind(session: Session, app: App, request: Request) -> None:
    """At half its time: the experts where nobody has answered, else who asked."""
    request.reminded_at = app.clock()
    asker, answers = request.posting.author, store.answerers(session, request)
    _enter(session, app, "request-reminded", request, answers)
    values = _about(app, request) | {"answers": len(answers)}
    if answers:
        tell_all(session, app, _active(session, [asker.id]), "request-answered", **values)
        return
    experts = set(audience.readers(session, request.mailing_list)) - {asker.id}
    tell_all(session, app, _active(session, experts), "request-waiting", **values)


def escalate(session: Session, app: App, request: Request) -> None:
    """At the end of its time: the list's moderators and the administrators, who do not read at the
    desk and so are not told what it is about, and who asked."""
    request.escalated_at = app.clock()
    asker, answers = request.posting.author, store.answerers(session, request)
    _enter(session, app, "request-escalated", request, answers)
    values = _about(app, request) | {"answers": len(answers)}
    moderating = moderators.moderators(session, request.mailing_list)
    to = [*moderating, *holders(session, Role.ADMINISTRATOR)]
    others = [one for one in to if one.id != asker.id]
    tell_all(session, app, others, "request-escalated", **values)
    tell_all(session, app, _active(session, [asker.id]), "request-overdue", **values)


def _active(session: Session, member_ids: Iterable[int | None]) -> list[Member]:
    query = select(Member).where(Member.id.in_(set(member_ids)), Member.state == State.ACTIVE)
    return list(session.scalars(query.order_by(Member.id)))


def _enter(session: Session, app: App, event: str, request: Request, answers: list[int]) -> None:
    ledger.enter(
        session, app.clock(), event, posting=request.label,
        list=request.mailing_list.local_part, answers=len(answers), by=GATEWAY.ledger,
    )  # fmt: skip


def _about(app: App, request: Request) -> dict[str, Any]:
    posting, desk = request.posting, request.mailing_list
    line, domain = f"answered {posting.label}", app.config.domain
    return {
        "label": posting.label,
        "subject": subject_of(app, posting),
        "asker": posting.author.described,
        "title": (desk.parent or desk).title,
        "topic": desk.topic_letter,
        "address": desk.address(domain),
        "opened_at": request.opened_at,
        "answer_by": request.answer_by,
        "command": line,
        "link": mailto(f"gateway@{domain}", line, line),
    }
