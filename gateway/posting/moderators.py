"""Who decides about what a list holds."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from gateway.notices.notice import holders
from gateway.store import mailing_list
from gateway.store.hold import Hold
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member, Role, State


def is_own_desk(one: MailingList) -> bool:
    """Whether an address is of the gateway as a whole, and of no list."""
    return one.is_desk and one.parent_id is None


def moderates(session: Session, member: Member, one: MailingList) -> bool:
    """Whether somebody may moderate a list or desk: an administrator, or a moderator of it or, for
    its desks, of the list. The gateway's own desks have administrators only."""
    if member.has_role(Role.ADMINISTRATOR):
        return True
    return not is_own_desk(one) and (
        member.has_role(Role.MODERATOR, one.topic_id)
        and mailing_list.may_post(session, one.parent or one, member.id)
    )


def moderators(session: Session, one: MailingList) -> list[Member]:
    """The active moderators of a list, of those whom it is for. Administrators not among them."""
    if is_own_desk(one):
        return []
    topic = one.parent or one
    return [
        member
        for member in holders(session, Role.MODERATOR, one.topic_id)
        if mailing_list.may_post(session, topic, member.id)
    ]


def readers_of(session: Session, one: MailingList, author_id: int, needed: int = 1) -> list[Member]:
    """Who is shown an author's posting to a list: its moderators, and the administrators too where
    those are too few. The author only where there is nobody else."""
    found = moderators(session, one)
    if len(_others(found, author_id)) < needed:
        found = _each_once([*found, *holders(session, Role.ADMINISTRATOR)])
    return _others(found, author_id) or found


def asked(session: Session, hold: Hold) -> list[Member]:
    """Who is asked to decide about a hold."""
    one = hold.mailing_list
    return readers_of(session, one, hold.posting.author_id, one.moderators_needed)


def approvers(session: Session, hold: Hold) -> list[Member]:
    """Those whose approvals count: who gave one, and still may."""
    return [
        one.member
        for one in hold.approvals
        if one.member.state is State.ACTIVE and moderates(session, one.member, hold.mailing_list)
    ]


def _others(members: Iterable[Member], author_id: int) -> list[Member]:
    return [one for one in members if one.id != author_id]


def _each_once(members: Iterable[Member]) -> list[Member]:
    return list({one.id: one for one in members}.values())
