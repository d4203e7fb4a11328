"""Members' certificates: which one a member has, and whose key made a signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ForeignKey, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.crypto import certificate as openpgp
from gateway.errors import UsageError
from gateway.store.database import Base
from gateway.store.member import Member, State

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class MemberCertificate(Base):
    """The certificate that a member has now: one a member, one member a fingerprint."""

    __tablename__ = "member_certificate"

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), unique=True)
    fingerprint: Mapped[str] = mapped_column(unique=True)
    data: Mapped[bytes]
    stripped: Mapped[bytes]
    encrypts_until: Mapped[datetime | None]
    admitted_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    warned_days: Mapped[int | None]
    told_expired_at: Mapped[datetime | None]
    keys: Mapped[list[CertificateKey]] = relationship(cascade="all, delete-orphan")
    member: Mapped[Member] = relationship()


class CertificateKey(Base):
    """A primary key or subkey of a certificate. Unique: two members never share a key."""

    __tablename__ = "certificate_key"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(index=True)
    certificate_id: Mapped[int] = mapped_column(ForeignKey("member_certificate.id"), index=True)


def admit(
    session: Session, member: Member, certificate: openpgp.Certificate, now: datetime
) -> MemberCertificate:
    """Give a member an admitted certificate. Raises UsageError where a key of it is taken."""
    taken = session.scalar(
        select(Member)
        .join(MemberCertificate, MemberCertificate.member_id == Member.id)
        .join(CertificateKey, CertificateKey.certificate_id == MemberCertificate.id)
        .where(CertificateKey.fingerprint.in_([key.fingerprint for key in certificate.keys]))
        .limit(1)
    )
    if taken is not None:
        raise UsageError(f"certificate: a key of it belongs to {taken.address} already")
    row = MemberCertificate(
        member_id=member.id,
        fingerprint=certificate.fingerprint,
        data=certificate.data,
        stripped=openpgp.strip(certificate),
        encrypts_until=openpgp.encrypts_until(certificate),
        admitted_at=now,
        keys=[
            CertificateKey(fingerprint=key.fingerprint, key_id=key.key_id)
            for key in certificate.keys
        ],
    )
    session.add(row)
    session.flush()
    return row


def of(session: Session, member: Member) -> MemberCertificate | None:
    return session.scalar(select(MemberCertificate).where(MemberCertificate.member_id == member.id))


@dataclass(frozen=True, slots=True)
class Addressee:
    """A member as somebody to encrypt to. certificate: stripped; encrypts_until: None, for good."""

    address: str
    active: bool
    certificate: bytes
    fingerprint: str
    key_ids: frozenset[str]
    encrypts_until: datetime | None


def addressees(session: Session, member_ids: Sequence[int]) -> dict[int, Addressee]:
    """Member id -> addressee. A member without a certificate counts as expired long ago."""
    key_ids: dict[int, set[str]] = {}
    for certificate_id, fingerprint, key_id in session.execute(
        select(CertificateKey.certificate_id, CertificateKey.fingerprint, CertificateKey.key_id)
        .join(MemberCertificate)
        .where(MemberCertificate.member_id.in_(member_ids))
    ):
        key_ids.setdefault(certificate_id, set()).update((fingerprint, key_id))
    rows = session.execute(
        select(Member, MemberCertificate)
        .outerjoin(MemberCertificate, MemberCertificate.member_id == Member.id)
        .where(Member.id.in_(member_ids))
    )
    found = {}
    for member, row in rows:
        found[member.id] = Addressee(
            member.address,
            member.state is State.ACTIVE,
            row.stripped if row else b"",
            row.fingerprint if row else "",
            frozenset(key_ids.get(row.id, ())) if row else frozenset(),
            row.encrypts_until if row else _LONG_AGO,
        )
    return found


def of_issuer(session: Session, issuer: str) -> list[tuple[int, State, bytes]]:
    """(member id, state, certificate) of the active and suspended members who own the key that a
    signature names.

    issuer: upper-case hex fingerprint or key ID. A key ID can be made to collide, hence a list.
    """
    rows = session.execute(
        select(MemberCertificate.member_id, Member.state, MemberCertificate.data)
        .join(CertificateKey)
        .join(Member, Member.id == MemberCertificate.member_id)
        .where(
            or_(CertificateKey.fingerprint == issuer, CertificateKey.key_id == issuer),
            Member.state.in_((State.ACTIVE, State.SUSPENDED)),
        )
        .distinct()
    )
    return [(member_id, state, data) for member_id, state, data in rows]
