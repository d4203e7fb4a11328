"""Members' certificates: which one a member has, and whose key made a signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ForeignKey, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.crypto import certificate as openpgp
from gateway.crypto.key_health import serves_until
from gateway.errors import BadCertificate, UsageError
from gateway.store.database import Base
from gateway.store.member import Member, State

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_HEARD = (State.ACTIVE, State.SUSPENDED)
"""Whose signatures are looked at."""


class MemberCertificate(Base):
    """The certificate that a member has now: one a member, one member a fingerprint.

    encrypts_until: when encrypting to it stops; serves_until: when that or signing with it does,
    the earlier; None never. warned_days: the last warning before that; told_expired_at: when its
    owner was told last that it is over.
    """

    __tablename__ = "member_certificate"

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), unique=True)
    fingerprint: Mapped[str] = mapped_column(unique=True)
    data: Mapped[bytes]
    stripped: Mapped[bytes]
    encrypts_until: Mapped[datetime | None]
    serves_until: Mapped[datetime | None]
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
    _refuse_taken(session, certificate)
    row = MemberCertificate(
        member_id=member.id, fingerprint=certificate.fingerprint, admitted_at=now
    )
    _fill(row, certificate, now)
    session.add(row)
    session.flush()
    return row


def refresh(
    session: Session, row: MemberCertificate, certificate: openpgp.Certificate, now: datetime
) -> None:
    """Keep what became of a member's certificate: new dates, subkeys, revocations.

    Raises UsageError as `admit` does: nobody has to prove that a subkey for encryption is theirs,
    so whoever adds another member's would share what is encrypted to that member.
    """
    _refuse_taken(session, certificate, but=row.member_id)
    before = row.serves_until
    _fill(row, certificate, now)
    if row.serves_until != before:
        row.warned_days = row.told_expired_at = None
    session.flush()


def replace(
    session: Session, member: Member, certificate: openpgp.Certificate, now: datetime
) -> MemberCertificate:
    """Give a member another certificate in place of theirs. Raises UsageError as `admit` does."""
    held = of(session, member)
    if held is not None:
        session.delete(held)
        session.flush()
    return admit(session, member, certificate, now)


def reread(session: Session, now: datetime) -> None:
    """Work out anew what follows from each certificate: an older version knew less of it."""
    for row_id in list(session.scalars(select(MemberCertificate.id))):
        row = session.get_one(MemberCertificate, row_id)
        # What can't be read is left as it is: it costs its owner mail, and must not stop others.
        with suppress(BadCertificate):
            _fill(row, openpgp.read(row.data), now)
    session.flush()


def owner(
    session: Session, certificate: openpgp.Certificate, but: int | None = None
) -> Member | None:
    """The member who has a key of this certificate already. but: id of one who does not count."""
    query = (
        select(Member)
        .join(MemberCertificate, MemberCertificate.member_id == Member.id)
        .join(CertificateKey, CertificateKey.certificate_id == MemberCertificate.id)
        .where(CertificateKey.fingerprint.in_([key.fingerprint for key in certificate.keys]))
    )
    if but is not None:
        query = query.where(Member.id != but)
    return session.scalar(query.limit(1))


def of(session: Session, member: Member) -> MemberCertificate | None:
    return session.scalar(select(MemberCertificate).where(MemberCertificate.member_id == member.id))


def locked(session: Session, member_id: int) -> MemberCertificate | None:
    """The certificate of an active or suspended member, its row locked and as it is now."""
    query = (
        select(MemberCertificate)
        .join(Member, Member.id == MemberCertificate.member_id)
        .where(MemberCertificate.member_id == member_id, Member.state.in_(_HEARD))
        .with_for_update(of=MemberCertificate)
        .execution_options(populate_existing=True)
    )
    return session.scalar(query)


@dataclass(frozen=True, slots=True)
class Addressee:
    """A member as somebody to encrypt to. certificate: stripped; encrypts_until: None, for good;
    revoked: it is not even until then."""

    address: str
    active: bool
    certificate: bytes
    fingerprint: str
    key_ids: frozenset[str]
    encrypts_until: datetime | None
    revoked: bool = False


def addressees(session: Session, member_ids: Sequence[int]) -> dict[int, Addressee]:
    """Member id -> addressee. A member without a certificate counts as expired long ago."""
    key_ids: dict[int, set[str]] = {}
    for certificate_id, fingerprint, key_id in session.execute(
        select(CertificateKey.certificate_id, CertificateKey.fingerprint, CertificateKey.key_id)
        .join(MemberCertificate)
        .where(MemberCertificate.member_id.in_(member_ids))
    ):
        key_ids.setdefault(certificate_id, set()).update((fingerprint, key_id))
    held = MemberCertificate
    # Columns, not rows of the session: for thousands of copies that is most of what reading costs.
    rows = session.execute(
        select(
            Member.id,
            Member.address,
            Member.state,
            held.id,
            held.stripped,
            held.fingerprint,
            held.encrypts_until,
            held.revoked_at,
        )
        .outerjoin(held, held.member_id == Member.id)
        .where(Member.id.in_(member_ids))
    )
    found = {}
    for member_id, address, state, held_id, stripped, fingerprint, until, revoked_at in rows:
        found[member_id] = Addressee(
            address,
            state is State.ACTIVE,
            stripped or b"",
            fingerprint or "",
            frozenset(key_ids.get(held_id, ())),
            _LONG_AGO if held_id is None else until,
            revoked_at is not None,
        )
    return found


def instead(addressee: Addressee, certificate: bytes) -> Addressee:
    """The same member, to be encrypted to with another certificate: one that is not theirs yet."""
    other = openpgp.read(certificate)
    return dataclasses.replace(
        addressee,
        certificate=certificate,
        fingerprint=other.fingerprint,
        key_ids=frozenset(name for key in other.keys for name in openpgp.names(key)),
        encrypts_until=openpgp.encrypts_until(other),
        revoked=other.revoked,
    )


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
            Member.state.in_(_HEARD),
        )
        .distinct()
    )
    return [(member_id, state, data) for member_id, state, data in rows]


def _refuse_taken(
    session: Session, certificate: openpgp.Certificate, but: int | None = None
) -> None:
    taken = owner(session, certificate, but)
    if taken is not None:
        raise UsageError(
            "certificate: a key of it belongs to %(address)s already", address=taken.address
        )


def _fill(row: MemberCertificate, certificate: openpgp.Certificate, now: datetime) -> None:
    """All that follows from a certificate."""
    row.data = certificate.data
    row.stripped = openpgp.strip(certificate)
    row.encrypts_until = openpgp.encrypts_until(certificate)
    row.serves_until = serves_until(certificate)
    if certificate.revoked and row.revoked_at is None:
        row.revoked_at = now
    known = {key.fingerprint: key for key in row.keys}
    row.keys = [
        known.get(key.fingerprint) or CertificateKey(fingerprint=key.fingerprint, key_id=key.key_id)
        for key in certificate.keys
    ]
