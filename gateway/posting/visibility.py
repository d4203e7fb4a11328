"""Who may read what is kept: whoever got it, or would have got it, when it went out.

The one place that says so, for commands by mail and the archive.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, exists, false, or_, select
from sqlalchemy.orm import Session

from gateway.message.marking import Marking
from gateway.posting import moderators
from gateway.store import audience, mailing_list
from gateway.store import posting as postings
from gateway.store.mailing_list import Audience, Invitation, MailingList
from gateway.store.member import Member, Role, State, TickOff
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Placement, Posting, PostingList

_TO_ALL = (Marking.GREEN.label, Marking.CLEAR.label)
TO_SUBSCRIBERS = (*_TO_ALL, Marking.AMBER.label)
"""What whoever subscribes to a list may read, though it went out before."""
_NEVER_GOT = (Delivery.DROPPED, Delivery.REFUSED)


def may_read(session: Session, member: Member, posting: Posting) -> bool:
    """Whether a member may read a posting, or may know of it where it was withdrawn."""
    query = select(Posting.id).where(Posting.id == posting.id, readable(session, member))
    return session.scalar(query) is not None


def readable(session: Session, member: Member) -> ColumnElement[bool]:
    """The postings that a member may read, for the where() of a query on Posting. Made once for
    many postings, as finding an administrator's desks costs some queries.

    Their own, and what a list accepted and they take part in: of a topic what is TLP:GREEN or
    TLP:CLEAR, what is TLP:AMBER if they did not tick the topic off, and what they got; of a list by
    invitation what the invited may read; of a desk what those read who have its role, and what they
    got. Of a list's experts everybody can be one, so they read what they got alone. Nothing that is
    stricter than TLP:AMBER, unless they got it.
    """
    if member.state is not State.ACTIVE:
        return false()
    got = (
        exists()
        .where(
            OutboxEntry.posting_id == Posting.id,
            OutboxEntry.member_id == member.id,
            OutboxEntry.state.not_in(_NEVER_GOT),
        )
        .correlate(Posting)
    )
    not_strict = Posting.marking.in_(TO_SUBSCRIBERS)
    is_topic = and_(MailingList.audience == Audience.SUBSCRIBERS, ~MailingList.by_invitation)
    ticked_off = exists().where(TickOff.list_id == MailingList.id, TickOff.member_id == member.id)
    invited = exists().where(
        Invitation.list_id == MailingList.id, Invitation.member_id == member.id
    )
    takes_part = or_(
        and_(MailingList.audience == Audience.SUBSCRIBERS, invited),
        and_(
            MailingList.audience != Audience.EXPERTS,
            MailingList.id.in_(desks_of(session, member)),
        ),
        and_(MailingList.audience != Audience.SUBSCRIBERS, got),
    )
    theirs = exists().where(
        PostingList.posting_id == Posting.id,
        PostingList.placement == Placement.ACCEPTED,
        MailingList.id == PostingList.list_id,
        or_(
            and_(is_topic, or_(Posting.marking.in_(_TO_ALL), and_(not_strict, ~ticked_off), got)),
            and_(takes_part, or_(not_strict, got)),
        ),
    )
    return or_(Posting.author_id == member.id, theirs)


def get(session: Session, member: Member, label: str) -> Posting:
    """The posting of a label as somebody typed it. What there is not and what they may not read is
    the same to them. Raises UsageError."""
    found = postings.get(session, label)
    if not may_read(session, member, found):
        raise postings.no_such_posting(label)
    return found


def placements(posting: Posting, topics: Collection[int]) -> list[PostingList]:
    """The lists and desks that accepted a posting, of those that a reader may know of: that it went
    to one by invitation as well is for the invited. topics: ids of the lists known to them."""
    return [
        one
        for one in posting.placements
        if one.placement is Placement.ACCEPTED
        and (moderators.is_own_desk(one.mailing_list) or one.mailing_list.topic_id in topics)
    ]


def desks_of(session: Session, member: Member) -> Collection[int]:
    """Ids of the desks that a member reads at."""
    # Administrators read where nobody else does.
    stands_in = member.has_role(Role.ADMINISTRATOR)
    return [
        one.id
        for one in (mailing_list.desks(session) if member.roles else ())
        if (stands_in or member.has_role(audience.DESK_ROLES[one.audience], one.topic_id))
        and member.id in audience.readers(session, one)
    ]
