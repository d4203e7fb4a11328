"""Mailing lists: the topics A to G and whatever lists administrators add, each with its key."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.errors import UsageError
from gateway.store.database import Base

TOPICS = (
    ("A", "waste", "Waste", "Hazardous waste and chemicals"),
    ("B", "wildlife", "Wildlife", "Wildlife"),
    ("C", "lmo", "LMO", "Living modified organisms"),
    ("D", "ozone", "Ozone", "Ozone-depleting substances"),
    ("E", "logging", "Logging", "Illegal logging"),
    ("F", "fishing", "Fishing", "Illegal fishing"),
    ("G", "general", "General", "General matters"),
)
"""What a new gateway starts with: letter, local part, title, description."""

RESERVED = frozenset({"library", "gateway", "register", "environet", "support", "bounce", "archive",
                      "postmaster", "abuse", "mailer-daemon"})  # fmt: skip


LIBRARY_LETTER = "L"

TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 -]{0,39}")


class Moderation(StrEnum):
    """Whose postings to a list are held."""

    OPEN = "open"
    """Nobody's."""
    NEW = "new"
    """A new member's, until some were approved."""
    ALL = "all"
    """Everybody's."""
    ANNOUNCEMENT = "announcement"
    """Only moderators write at all."""


class Audience(StrEnum):
    """Whom a list's postings go to. All but the first are desks: few read, and who wrote gets the
    answers in their thread."""

    SUBSCRIBERS = "subscribers"
    EXPERTS = "experts"
    MODERATORS = "moderators"
    ADMINISTRATORS = "administrators"
    SUPPORT = "support"


class Purpose(StrEnum):
    LIST = "list"
    COMMAND = "command"
    ARCHIVE = "archive"


class GatewayKey(Base):
    """The public side of one of the gateway's own keys; the secret one stays behind gpg-agent.

    key_ids: fingerprints and key IDs of it and its subkeys, upper-case hex, blanks between.
    expires_at: None for never. announced_at: when members were last told of it; announced_to: the
    last member of those who are being told now, by id, None once all are. warned_days: the last
    warning before it expires; told_expired_at: the last one after.
    """

    __tablename__ = "gateway_key"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(index=True)
    purpose: Mapped[Purpose]
    certificate: Mapped[bytes]
    key_ids: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    announced_at: Mapped[datetime | None]
    announced_to: Mapped[int | None]
    warned_days: Mapped[int | None]
    told_expired_at: Mapped[datetime | None]


class MailingList(Base):
    __tablename__ = "mailing_list"

    id: Mapped[int] = mapped_column(primary_key=True)
    letter: Mapped[str] = mapped_column(unique=True)
    local_part: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    description: Mapped[str]
    key_fingerprint: Mapped[str] = mapped_column(ForeignKey("gateway_key.fingerprint"))
    moderation: Mapped[Moderation] = mapped_column(default=Moderation.OPEN)
    signed_only: Mapped[bool] = mapped_column(default=False)
    by_invitation: Mapped[bool] = mapped_column(default=False)
    signature_days: Mapped[int | None]
    evidence_bytes: Mapped[int | None]
    closed_at: Mapped[datetime | None]
    audience: Mapped[Audience] = mapped_column(default=Audience.SUBSCRIBERS)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("mailing_list.id"))
    moderators_needed: Mapped[int] = mapped_column(default=1)
    key: Mapped[GatewayKey] = relationship(lazy="joined")
    parent: Mapped[MailingList | None] = relationship(remote_side="MailingList.id")

    @property
    def is_desk(self) -> bool:
        return self.audience is not Audience.SUBSCRIBERS

    @property
    def topic_id(self) -> int:
        """Id of the list that roles are given for: a desk's parent, else its own."""
        return self.parent_id or self.id

    @property
    def topic_letter(self) -> str:
        return self.letter if self.parent is None else self.parent.letter

    @property
    def called(self) -> tuple[str, str, str]:
        """What members may write for it, in lower case: letter, name, title."""
        return self.letter.casefold(), self.local_part, self.title.casefold()

    def address(self, domain: str) -> str:
        return f"{self.local_part}@{domain}"

    def signature_window(self, default_days: int) -> timedelta:
        return timedelta(days=self.signature_days or default_days)


class Trust(Base):
    """A member whose postings to a list need no moderator."""

    __tablename__ = "trust"

    list_id: Mapped[int] = mapped_column(ForeignKey("mailing_list.id"), primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)


class Invitation(Base):
    """Explicit membership of a list that is by invitation."""

    __tablename__ = "invitation"

    list_id: Mapped[int] = mapped_column(ForeignKey("mailing_list.id"), primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)


def all_lists(session: Session) -> list[MailingList]:
    """Topics and lists; the desks left out."""
    query = select(MailingList).where(MailingList.audience == Audience.SUBSCRIBERS)
    return list(session.scalars(query.order_by(MailingList.id)))


def desks(session: Session) -> list[MailingList]:
    query = select(MailingList).where(MailingList.audience != Audience.SUBSCRIBERS)
    return list(session.scalars(query.order_by(MailingList.id)))


def known_to(session: Session, member_id: int) -> list[MailingList]:
    """The lists that a member takes part in or may, closed ones too: the others do not exist for
    them."""
    invited = invitations(session, member_id)
    return [one for one in all_lists(session) if not one.by_invitation or one.id in invited]


def desks_of(session: Session, lists: Collection[MailingList]) -> list[MailingList]:
    """The desks of lists: whoever wrote there, or reads there, finds it with the list."""
    ids = {one.id for one in lists}
    return [one for one in desks(session) if one.parent_id in ids]


def desk_of(session: Session, parent: MailingList | None, audience: Audience) -> MailingList:
    """The desk of a list, or one of the gateway's own where parent is None."""
    query = select(MailingList).where(MailingList.audience == audience)
    parent_id = None if parent is None else parent.id
    return session.scalars(query.where(MailingList.parent_id == parent_id)).one()


def find(session: Session, name: str) -> MailingList | None:
    """By letter or local part, either case."""
    return session.scalar(
        select(MailingList).where(
            or_(MailingList.letter == name.upper(), MailingList.local_part == name.lower())
        )
    )


def get(session: Session, name: str) -> MailingList:
    """Raises UsageError with the lists there are."""
    found = find(session, name)
    if found is None:
        raise no_such_list(session, name)
    return found


def get_topic(session: Session, name: str) -> MailingList:
    """The same, of what members subscribe to: no desk."""
    found = find(session, name)
    if found is None or found.is_desk:
        raise no_such_list(session, name)
    return found


def no_such_list(session: Session, name: str) -> UsageError:
    names = ", ".join(f"{one.letter} ({one.local_part})" for one in all_lists(session))
    return UsageError("there is no list '%(name)s'; there are %(names)s", name=name, names=names)


def check_new(session: Session, local_part: str, letter: str) -> None:
    """Raises UsageError where a list of that name can't be added."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,39}", local_part):
        raise UsageError(
            "'%(name)s' can't be a list's name: 2 to 40 of a-z, 0-9 and '-', a letter first",
            name=local_part,
        )
    if local_part in RESERVED or local_part.endswith(("-owner", "-experts")):
        raise UsageError("'%(name)s' is an address that every gateway has", name=local_part)
    if not re.fullmatch(r"[A-Z][A-Z0-9]{0,9}", letter) or letter.lower() in RESERVED:
        raise UsageError(
            "'%(letter)s' can't be a list's letter: 1 to 10 of A-Z and 0-9", letter=letter
        )
    if letter == LIBRARY_LETTER:
        raise UsageError("'%(letter)s' is the letter of the Library's documents", letter=letter)
    for name in (local_part, letter):
        if find(session, name) is not None:
            raise UsageError("there is a list '%(name)s' already", name=name)


def by_key(session: Session) -> dict[str, frozenset[int]]:
    """Fingerprint or key ID, of primary keys and subkeys -> ids of the lists that it serves.

    A list and its desks share a key; a key that was replaced is theirs still.
    """
    lists: dict[str, set[int]] = {}
    for one in session.scalars(select(MailingList)):
        lists.setdefault(one.key.address, set()).add(one.id)
    keys = session.execute(select(GatewayKey.key_ids, GatewayKey.address))
    return {
        name: frozenset(lists.get(address, ())) for names, address in keys for name in names.split()
    }


def service_key_ids(session: Session) -> frozenset[str]:
    """Fingerprints and key IDs of the key that commands are encrypted to, replaced ones too."""
    query = select(GatewayKey.key_ids).where(GatewayKey.purpose == Purpose.COMMAND)
    return frozenset(name for names in session.scalars(query) for name in names.split())


def is_own(session: Session, local_part: str) -> bool:
    """Whether an address of the gateway's domain is a list's or one that every gateway has."""
    reserved = local_part in RESERVED or local_part.startswith("bounce+")
    return reserved or find(session, local_part) is not None


def invite(session: Session, mailing_list: MailingList, member_id: int, *, invited: bool) -> None:
    """Put a member on a list by invitation, or take them off it; harmless where it is so."""
    row = session.get(Invitation, (mailing_list.id, member_id))
    if invited and row is None:
        session.add(Invitation(list_id=mailing_list.id, member_id=member_id))
    elif row is not None and not invited:
        session.delete(row)
    session.flush()


def invitations(session: Session, member_id: int) -> list[int]:
    """Ids of the lists by invitation that a member is on."""
    query = select(Invitation.list_id).where(Invitation.member_id == member_id)
    return list(session.scalars(query.order_by(Invitation.list_id)))


def may_post(session: Session, mailing_list: MailingList, member_id: int) -> bool:
    """Any active member may write to a topic; to a list by invitation, who was invited."""
    if not mailing_list.by_invitation:
        return True
    return session.get(Invitation, (mailing_list.id, member_id)) is not None


def is_trusted(session: Session, list_id: int, member_id: int) -> bool:
    return session.get(Trust, (list_id, member_id)) is not None


def own_key(session: Session, purpose: Purpose) -> GatewayKey:
    """The newest of the gateway's own keys for a purpose."""
    query = select(GatewayKey).where(GatewayKey.purpose == purpose)
    return session.scalars(query.order_by(GatewayKey.created_at.desc()).limit(1)).one()


def key_of(session: Session, address: str, domain: str) -> GatewayKey | None:
    """The key in use of one of the gateway's own addresses; a list also answers to its letter."""
    local, _, given_domain = address.lower().rpartition("@")
    if given_domain != domain:
        return None
    found = find(session, local)
    if found is not None:
        return found.key
    query = select(GatewayKey).where(GatewayKey.address == address.lower())
    own = session.scalar(query.order_by(GatewayKey.created_at.desc()).limit(1))
    # What is no list's and no key's own address is served by the key for commands.
    return own_key(session, Purpose.COMMAND) if own is None and local in RESERVED else own
