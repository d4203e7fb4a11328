"""Who may read what the Library has, and who decides about what waits.

The one place that says so.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, false, or_, select
from sqlalchemy.orm import Session

from gateway.message.marking import Marking
from gateway.notices.notice import holders
from gateway.store import library
from gateway.store.library import Document, DocumentTopic, Status, Version
from gateway.store.mailing_list import Invitation, MailingList
from gateway.store.member import Member, Role, State, TickOff

_KEEPERS = (Role.LIBRARIAN, Role.ADMINISTRATOR)


def readable(session: Session, member: Member) -> ColumnElement[bool]:
    """The versions that a member may read, or may know of where they were withdrawn, for the
    where() of a query on Version. Made once for many, as finding what waits for them costs some
    queries.

    Their own; what waits for them to decide; and of what was approved: what has no topic, and what
    has one that they may see. That is any topic, but a list by invitation for the invited alone;
    and for what is TLP:AMBER a topic that they did not tick off, which librarians need not heed.
    """
    if member.state is not State.ACTIVE:
        return false()
    of_version = and_(
        DocumentTopic.version_id == Version.id, DocumentTopic.list_id == MailingList.id
    )
    invited = (
        exists()
        .where(Invitation.list_id == MailingList.id, Invitation.member_id == member.id)
        .correlate(MailingList)
    )
    ticked_off = (
        exists()
        .where(TickOff.list_id == MailingList.id, TickOff.member_id == member.id)
        .correlate(MailingList)
    )
    keeps = member.has_role(Role.LIBRARIAN)
    heeded = or_(Version.marking != Marking.AMBER.label, MailingList.by_invitation, ~ticked_off)
    sees = (
        exists()
        .where(of_version, or_(~MailingList.by_invitation, invited), *([] if keeps else [heeded]))
        .correlate(Version)
    )
    for_all = ~exists().where(DocumentTopic.version_id == Version.id).correlate(Version)
    return or_(
        Version.author_id == member.id,
        and_(Version.status == Status.APPROVED, or_(for_all, sees)),
        Version.id.in_([one.id for one in waiting(session, member)]),
    )


def find(session: Session, member: Member, label: str) -> Version | None:
    """The version of "L-12/2" that a member may read; of "L-12" the newest of these, one that was
    approved before others. None where there is none, or none of theirs."""
    typed = library.typed_label(label)
    if typed is None:
        return None
    query = select(Version).where(Version.document_id == typed[0], readable(session, member))
    if typed[1] is not None:
        query = query.where(Version.number == typed[1])
    found = session.scalars(
        query.order_by(
            Version.withdrawn_at.is_not(None), Version.status != Status.APPROVED,
            Version.number.desc(),
        ).limit(1)
    )  # fmt: skip
    return found.one_or_none()


def get(session: Session, member: Member, label: str) -> Version:
    """The same. Raises UsageError; of what is not theirs to read as of what there is not."""
    found = find(session, member, label)
    if found is None:
        raise library.no_such_document(label)
    return found


def versions(session: Session, member: Member, document: Document) -> list[Version]:
    """Those of a document that a member may read, the newest first."""
    query = select(Version).where(Version.document_id == document.id, readable(session, member))
    return list(session.scalars(query.order_by(Version.number.desc())))


def waiting(session: Session, member: Member) -> list[Version]:
    """What a member is asked to decide about, the oldest first."""
    if not any(member.has_role(one) for one in _KEEPERS):
        return []
    query = (
        select(Version)
        .where(Version.status == Status.WAITING, Version.withdrawn_at.is_(None))
        .order_by(Version.id)
    )
    return [
        one
        for one in session.scalars(query)
        if member.id in [each.id for each in asked(session, one)]
    ]


def asked(session: Session, version: Version) -> list[Member]:
    """Who decides about a version: the librarians who may see one of its topics; where there is
    none, the administrators. Its author only where there is nobody else."""
    librarians = [
        one for one in holders(session, Role.LIBRARIAN) if _may_see(session, one, version)
    ]
    others = [one for one in librarians if one.id != version.author_id]
    if others:
        return others
    administrators = holders(session, Role.ADMINISTRATOR)
    others = [one for one in administrators if one.id != version.author_id]
    return others or librarians or administrators


def topics(session: Session, member: Member, version: Version) -> list[MailingList]:
    """Those of a version's topics that a member may know of."""
    return [
        one
        for one in version.topics
        if not one.by_invitation or session.get(Invitation, (one.id, member.id)) is not None
    ]


def _may_see(session: Session, member: Member, version: Version) -> bool:
    """Whether it has no topics, or one that they may know of."""
    return not version.topics or bool(topics(session, member, version))
