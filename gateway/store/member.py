"""Members: who takes part, in which role, which topics they ticked off, how they want mail."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum

import pycountry
from sqlalchemy import ForeignKey, UniqueConstraint, exists, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.errors import Faults, UsageError
from gateway.message import address as addresses
from gateway.message import lookalike
from gateway.store.database import Base
from gateway.store.mailing_list import Invitation, MailingList

_LONGEST_NAME = 100
NOWHERE = "ZZ"
"""The country of who is no member, but stands in for authors that nobody knows (ISO 3166-1 leaves
it to its users)."""


class State(StrEnum):
    APPLICANT = "applicant"
    """Nominated, and no member yet: gets what belongs to joining, and nothing else."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class Kind(StrEnum):
    """Of a member's organisation."""

    CUSTOMS = "customs"
    POLICE = "police"
    AGENCY = "agency"
    INTERNATIONAL = "international"
    REGIONAL = "regional"


class Role(StrEnum):
    EXPERT = "expert"
    CONTACT_POINT = "contact-point"
    MODERATOR = "moderator"
    LIBRARIAN = "librarian"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    SUPPORT = "support"


class DeliveryMode(StrEnum):
    """How a member wants postings: each as it comes, or collected."""

    EACH = "each"
    DAILY = "daily"
    WEEKLY = "weekly"


class Member(Base):
    __tablename__ = "member"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    organisation: Mapped[str]
    kind: Mapped[Kind]
    country: Mapped[str]
    state: Mapped[State] = mapped_column(default=State.ACTIVE, index=True)
    suspended_by_country: Mapped[bool] = mapped_column(default=False)
    """By a contact point, and so for one to restore; else for administrators."""
    joined_at: Mapped[datetime]
    languages: Mapped[str] = mapped_column(default="")
    time_zone: Mapped[str] = mapped_column(default="")
    """IANA name of the zone that the archive shows them times in; "" for their country's."""
    delivery: Mapped[DeliveryMode] = mapped_column(default=DeliveryMode.EACH, index=True)
    none_until: Mapped[datetime | None]
    own_copies: Mapped[bool] = mapped_column(default=True)
    digest_at: Mapped[datetime | None]
    ticked_off: Mapped[list[TickOff]] = relationship(cascade="all, delete-orphan")
    roles: Mapped[list[MemberRole]] = relationship(cascade="all, delete-orphan")

    @property
    def language(self) -> str:
        """ISO 639-1 code of the language that they are written to in; English where none is set."""
        return (self.languages.split() or ["en"])[0]

    def has_role(self, role: Role, list_id: int | None = None) -> bool:
        """Whether the member has a role: for one list, or for all where it was given for all."""
        return any(
            entry.role is role and (entry.list_id is None or entry.list_id == list_id)
            for entry in self.roles
        )

    @property
    def searched(self) -> str:
        """What a search for a member's particulars looks in."""
        values = (self.address, self.name, self.organisation, self.country, self.kind, self.state)
        return " ".join(values).casefold()

    @property
    def described(self) -> str:
        """How others see the member: "Ana Lind (Revenue Authority, KE)"."""
        return f"{self.name} ({self.organisation}, {self.country})"


class TickOff(Base):
    """A topic that a member does not want."""

    __tablename__ = "tick_off"

    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("mailing_list.id"), primary_key=True)


class MemberRole(Base):
    __tablename__ = "member_role"
    __table_args__ = (UniqueConstraint("member_id", "role", "list_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), index=True)
    role: Mapped[Role]
    list_id: Mapped[int | None] = mapped_column(ForeignKey("mailing_list.id"))
    words: Mapped[str] = mapped_column(default="")
    """What an expert knows about, in their own words."""


def profile_faults(name: str, organisation: str, country: str) -> list[UsageError]:
    """What is wrong with a member's particulars; empty: nothing."""
    faults = []
    for label, value in (("name", name), ("organisation", organisation)):
        if not value.strip() or len(value) > _LONGEST_NAME:
            faults.append(UsageError("%(label)s: must have 1 to 100 characters", label=label))
        # These strings stand in header fields and in the attestation: nothing that could end a
        # line, hide text or turn its direction.
        elif any(unicodedata.category(char)[0] == "C" for char in value) or re.search(
            r"[\u2028\u2029<>\"\\]", value
        ):
            faults.append(
                UsageError(
                    "%(label)s: has control characters, quotes or angle brackets", label=label
                )
            )
        elif lookalike.mixes_scripts(value):
            faults.append(
                UsageError(
                    "%(label)s: a word has letters of two scripts that look alike", label=label
                )
            )
    if pycountry.countries.get(alpha_2=country.upper()) is None:
        faults.append(
            UsageError(
                "country: '%(country)s' is no ISO 3166-1 alpha-2 code, such as KE", country=country
            )
        )
    return faults


def add(
    session: Session,
    *,
    address: str,
    name: str,
    organisation: str,
    kind: Kind,
    country: str,
    now: datetime,
) -> Member:
    """A new active member. Raises UsageError with every fault."""
    normal = addresses.normalise(address)
    faults = profile_faults(name, organisation, country)
    if normal is None:
        faults.insert(0, UsageError("address: '%(address)s' is no mail address", address=address))
    elif not normal.isascii() and lookalike.seen(normal).isascii():
        faults.insert(
            0, UsageError("address: '%(address)s' looks like another one", address=address)
        )
    earlier = find(session, normal) if normal else None
    if earlier is not None and earlier.state not in (State.REMOVED, State.APPLICANT):
        faults.append(UsageError("address: %(address)s is a member already", address=normal))
    if faults or normal is None:
        raise Faults(faults)
    # Somebody who was removed comes back as the same member: the archive knows them.
    member = earlier or Member(address=normal)
    member.name, member.organisation = name.strip(), organisation.strip()
    member.kind, member.country = kind, country.upper()
    member.state, member.joined_at = State.ACTIVE, now
    member.ticked_off, member.roles = [], []
    member.languages = member.time_zone = ""
    member.delivery, member.own_copies = DeliveryMode.EACH, True
    member.none_until = member.digest_at = None
    member.suspended_by_country = False
    session.add(member)
    session.flush()
    return member


def find(session: Session, address: str) -> Member | None:
    normal = addresses.normalise(address)
    return session.scalar(select(Member).where(Member.address == normal))


def is_another(session: Session, addresses: Collection[str], than: int) -> bool:
    """Whether one of those normal addresses is of a member other than the one of that id."""
    named = exists().where(Member.address.in_(addresses), Member.id != than)
    return bool(session.scalar(select(named)))


def get(session: Session, address: str) -> Member:
    """Raises UsageError where nobody has that address."""
    member = find(session, address)
    if member is None:
        raise UsageError("%(address)s is no member's address", address=address)
    return member


def search(session: Session, words: Sequence[str]) -> list[Member]:
    """Members, removed ones left out, in whose particulars each of the words stands, either case;
    by address."""
    query = select(Member).where(Member.state != State.REMOVED).order_by(Member.address)
    wanted = [one.casefold() for one in words]
    return [one for one in session.scalars(query) if all(map(one.searched.__contains__, wanted))]


def invited(session: Session, list_id: int) -> list[Member]:
    """Who is on a list by invitation."""
    query = select(Member).join(Invitation, Invitation.member_id == Member.id)
    return list(session.scalars(query.where(Invitation.list_id == list_id).order_by(Member.id)))


def checked_languages(text: str) -> str:
    """ISO 639-1 codes, blanks or commas between, lower case. Raises UsageError."""
    codes = text.replace(",", " ").lower().split()
    wrong = [code for code in codes if pycountry.languages.get(alpha_2=code) is None]
    if wrong or len(codes) > 10:
        raise UsageError(
            "language: %(code)s is no ISO 639-1 code, such as fr", code=" ".join(wrong or codes)
        )
    return " ".join(dict.fromkeys(codes))


def tick_off(session: Session, member: Member, lists: Iterable[MailingList]) -> None:
    known = {entry.list_id for entry in member.ticked_off}
    member.ticked_off += [TickOff(list_id=one.id) for one in lists if one.id not in known]
    session.flush()


def grant(session: Session, member: Member, role: Role, mailing_list: MailingList | None) -> None:
    list_id = None if mailing_list is None else mailing_list.id
    if all((entry.role, entry.list_id) != (role, list_id) for entry in member.roles):
        member.roles.append(MemberRole(role=role, list_id=list_id))
        session.flush()
