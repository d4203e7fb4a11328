"""Who gets what a list or desk takes, and who reads at a desk."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, or_, select, true
from sqlalchemy.orm import Session

from gateway.store.mailing_list import Audience, Invitation, MailingList, may_post
from gateway.store.member import Member, MemberRole, Role, State, TickOff
from gateway.store.posting import Posting, PostingList

DESK_ROLES = {
    Audience.EXPERTS: Role.EXPERT,
    Audience.MODERATORS: Role.MODERATOR,
    Audience.ADMINISTRATORS: Role.ADMINISTRATOR,
    Audience.SUPPORT: Role.SUPPORT,
}


def readers(session: Session, desk: MailingList) -> list[int]:
    """Ids of the active members who read at a desk; where nobody does, the administrators."""
    topic = desk.parent
    query = select(Member.id).join(MemberRole).where(Member.state == State.ACTIVE)
    if topic is not None and topic.by_invitation:
        query = query.join(
            Invitation, and_(Invitation.member_id == Member.id, Invitation.list_id == topic.id)
        )
    of_topic = or_(MemberRole.list_id.is_(None), MemberRole.list_id == desk.topic_id)
    wanted = query.where(MemberRole.role == DESK_ROLES[desk.audience], of_topic)
    everywhere = (
        select(Member.id)
        .join(MemberRole)
        .where(
            Member.state == State.ACTIVE,
            MemberRole.role == Role.ADMINISTRATOR,
            MemberRole.list_id.is_(None),
        )
    )
    return list(session.scalars(wanted.distinct())) or list(session.scalars(everywhere.distinct()))


def experts(session: Session, topic: MailingList) -> dict[Member, list[str]]:
    """The active experts of a list, by name, each with what they say that they know about."""
    of_topic = or_(MemberRole.list_id.is_(None), MemberRole.list_id == topic.id)
    query = (
        select(Member, MemberRole.words)
        .join(MemberRole)
        .where(Member.state == State.ACTIVE, MemberRole.role == Role.EXPERT, of_topic)
        .order_by(Member.name, Member.id)
    )
    found: dict[Member, list[str]] = {}
    for member, words in session.execute(query):
        if may_post(session, topic, member.id):
            found.setdefault(member, []).append(words)
    return found


def of_posting(
    session: Session, posting: Posting, mailing_list: MailingList, now: datetime
) -> ColumnElement[bool]:
    """Who gets what a list takes.

    Of a list: active members who did not tick it off, or were invited where it is by invitation,
    and want mail now. Of a desk: those with its role, whoever wrote in the thread, and a suspended
    member who began it.
    """
    active = Member.state == State.ACTIVE
    if mailing_list.audience is not Audience.SUBSCRIBERS:
        wrote = (
            select(Posting.author_id)
            .join(PostingList)
            .where(PostingList.list_id == mailing_list.id, Posting.thread_id == posting.thread_id)
        )
        began = beginner(session, posting, mailing_list)
        return or_(
            and_(active, Member.id.in_(readers(session, mailing_list))),
            and_(active, Member.id.in_(wrote), _may_still(mailing_list)),
            and_(Member.state == State.SUSPENDED, Member.id == began),
        )
    unwanted = exists().where(TickOff.member_id == Member.id, TickOff.list_id == mailing_list.id)
    invited = exists().where(
        Invitation.member_id == Member.id, Invitation.list_id == mailing_list.id
    )
    awake = or_(Member.none_until.is_(None), Member.none_until <= now)
    return and_(active, awake, invited if mailing_list.by_invitation else ~unwanted)


def _may_still(desk: MailingList) -> ColumnElement[bool]:
    """Whether who wrote to a desk may know of its list still, if it is by invitation."""
    if desk.parent is None or not desk.parent.by_invitation:
        return true()
    return exists().where(Invitation.member_id == Member.id, Invitation.list_id == desk.parent.id)


def beginner(session: Session, posting: Posting, mailing_list: MailingList) -> int | None:
    """Id of who began a posting's thread at one of the gateway's own desks: suspended since, or
    before, they are answered all the same. None elsewhere."""
    if mailing_list.audience not in (Audience.ADMINISTRATORS, Audience.SUPPORT):
        return None
    query = (
        select(Posting.author_id)
        .join(PostingList)
        .where(PostingList.list_id == mailing_list.id, Posting.thread_id == posting.thread_id)
    )
    return session.scalar(query.order_by(Posting.id).limit(1))
