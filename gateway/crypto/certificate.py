"""Members' certificates: reading them, and judging whether they serve.

The gateway never imports them into a GnuPG home; pysequoia works on their octets, in this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pysequoia
from pysequoia.packet import Packet as Parsed
from pysequoia.packet import SignatureType, Tag

from gateway.crypto import algorithm
from gateway.crypto.algorithm import Algorithm
from gateway.crypto.components import (
    CERTIFICATIONS,
    Component,
    Packet,
    contents,
    first_line,
    joined,
    made,
    newest,
    serialised,
    verified,
)
from gateway.crypto.components import Cert as Cert
from gateway.crypto.components import parse as parse
from gateway.errors import BadCertificate
from gateway.message.packet import PUBLIC_KEY, split

_LEAST_BITS: Final = 2048


SERVED = "Ed25519, Ed448, RSA from 3072 bits on, and P-256, P-384 and P-521 are."
"""Beside those of version 6, which nobody has without knowing it."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a certificate, as its owner's newest verified self-signature describes it.

    fingerprint, key_id: upper-case hex. signs, encrypts: flagged for it and not of a weak
    algorithm; expiry and revocation aside. Times: UTC; expires_at None means never.
    """

    fingerprint: str
    key_id: str
    primary: bool
    signs: bool
    encrypts: bool
    created_at: datetime
    expires_at: datetime | None
    revoked: bool
    algorithm: Algorithm

    def live(self, now: datetime) -> bool:
        return not self.revoked and not is_past(self.expires_at, now)


@dataclass(frozen=True, slots=True)
class Certificate:
    """An OpenPGP certificate (RFC 9580 10.1), public packets alone.

    fingerprint: upper-case hex. data: binary, in one form: primary key, user IDs and subkeys with
    what the primary key verifiably signed on them, and nothing else, so copies that say the same
    are the same octets. user_ids: those that their owner has not revoked. Times: UTC, of the
    primary key; expires_at None means never. keys: the primary key first; a subkey without a
    binding signature that holds is no part of it, nor one for signing that doesn't agree to it.
    """

    fingerprint: str
    version: int
    data: bytes
    user_ids: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked: bool
    keys: tuple[Key, ...]


def read(data: bytes) -> Certificate:
    """Read one certificate, armored or binary, of at most 1 MB.

    What a key may do and until when is taken from the newest signature that the primary key made
    on it with a hash that still counts; certifications by others don't. Where Sequoia and we
    read an expiry differently the earlier holds. Raises BadCertificate.
    """
    found = contents(data)
    if found[0][0] != PUBLIC_KEY:
        raise BadCertificate("It is not a certificate.")
    return _judged(found)


def merge(held: Certificate, offered: bytes) -> Certificate:
    """The certificate with all that `offered` adds: expiry, subkeys, user IDs, revocations.

    offered: another copy of it, or a revocation alone, armored or binary. Nobody but the owner can
    add to a certificate or take from it: statements that the primary key verifiably made are
    gathered, the newest counts, and a revocation counts for good; so an older copy changes nothing,
    and the order of merging makes no difference. Older statements stay, because a signature is
    judged as of its time. Raises BadCertificate, also where it is another certificate.
    """
    return _judged(joined(held.data, contents(offered)))


def _judged(found: Iterable[Packet]) -> Certificate:
    components = verified(found)
    data = serialised(components)
    primary = components[0]
    user_ids = [each for each in components if each.packet.tag == Tag.UserID and _holds(each)]
    own = [one for each in (primary, *user_ids) for one in each.signatures]
    statements = newest(own, SignatureType.DirectKey, *CERTIFICATIONS)
    flagged = newest(
        [each for each in own if each.key_flags is not None],
        SignatureType.DirectKey,
        *CERTIFICATIONS,
    )
    revoked = primary.has(SignatureType.KeyRevocation)
    expires_at, by_sequoia = _sequoia_reading(
        data, revoked, algorithm.of_key(primary.packet.body).name
    )
    expires_at = earliest(expires_at, _expiry(primary.packet, statements))
    subkeys = [
        _key(each.packet, bindings, bindings, each.has(SignatureType.SubkeyRevocation))
        for each in components
        if each.packet.tag == Tag.PublicSubkey
        and (bindings := each.newest(SignatureType.SubkeyBinding))
    ]
    key = _key(primary.packet, statements, flagged, revoked or by_sequoia, expires_at)
    return Certificate(
        fingerprint=key.fingerprint,
        version=primary.packet.body[0],
        data=data,
        user_ids=tuple(each.packet.user_id or "" for each in user_ids),
        created_at=key.created_at,
        expires_at=expires_at,
        revoked=key.revoked,
        keys=(key, *subkeys),
    )


def admit(data: bytes, now: datetime) -> Certificate:
    """Read a certificate that a member may use. Raises BadCertificate with every reason against."""
    certificate = read(data)
    if faults := admission_faults(certificate, now):
        raise BadCertificate(" ".join(faults))
    return certificate


def admission_faults(certificate: Certificate, now: datetime) -> tuple[str, ...]:
    """Why a member can't use this certificate at `now` (UTC), one sentence each; empty if it can.

    It must be able to sign and to be encrypted to. The latter is tried: what Sequoia encrypts to
    has to be exactly the keys that we judged.
    """
    faults = []
    if certificate.version not in (4, 6):
        faults.append(f"Keys of version {certificate.version} are not accepted.")
    if certificate.revoked:
        faults.append("The certificate is revoked.")
    if is_past(certificate.expires_at, now):
        faults.append(f"The certificate expired on {certificate.expires_at:%Y-%m-%d}.")
    if certificate.created_at > now:
        faults.append("The certificate was made in the future.")
    if not any(key.signs and key.live(now) for key in certificate.keys):
        faults.append("It has no key in force that can sign.")
    in_use = encryption_keys(certificate)
    if not in_use:
        faults.append("It has no key that can be encrypted to, or only one with a weak algorithm.")
    faults.extend(
        f"Its encryption key {key.key_id} expired on {key.expires_at:%Y-%m-%d}."
        for key in in_use
        if not key.live(now)
    )
    if in_use and not encrypts_to(certificate):
        faults.append(
            f"It can't be encrypted to: a key or signature in it is too weak, or broken, or "
            f"{' or '.join(sorted({key.algorithm.name for key in in_use}))} is not served here. "
            f"{SERVED}"
        )
    return tuple(faults)


def encryption_fault(certificate: Certificate, now: datetime) -> str | None:
    """Why nothing may be encrypted to a certificate at `now` (UTC); None if it may. No crypto."""
    if certificate.revoked:
        return "The certificate is revoked."
    if is_past(certificate.expires_at, now):
        return f"The certificate expired on {certificate.expires_at:%Y-%m-%d}."
    in_use = encryption_keys(certificate)
    if not in_use or not all(key.live(now) for key in in_use):
        return "It has no encryption key in force."
    return None


def encrypts_until(certificate: Certificate) -> datetime | None:
    """The moment (UTC) from which encryption_fault names an expiry; None means never."""
    return earliest(
        certificate.expires_at, *(key.expires_at for key in encryption_keys(certificate))
    )


def strip(certificate: Certificate) -> bytes:
    """The least of a certificate that can be encrypted to: twice as fast to read, and small.

    Primary key, its newest self-signatures on itself and on one user ID, and the encryption keys
    in use (see encryption_keys) with their newest binding.
    """
    in_use = {key.fingerprint for key in encryption_keys(certificate)}
    primary, *others = verified(contents(certificate.data))
    kept = [primary.packet, *primary.newest(SignatureType.DirectKey)]
    user_ids = [
        (each.packet, each.newest(*CERTIFICATIONS)[0])
        for each in others
        if each.packet.tag == Tag.UserID and _holds(each)
    ]
    if user_ids:
        # The primary user ID's preferences are the ones that count (RFC 9580 5.2.3.27).
        first = max(user_ids, key=lambda pair: (bool(pair[1].primary_userid), made(pair[1])))
        kept.extend(first)
    for each in others:
        if (each.packet.fingerprint or "").upper() in in_use:
            kept.extend((each.packet, *each.newest(SignatureType.SubkeyBinding)))
    return b"".join(bytes(packet) for packet in kept)


def encrypt_to(body: bytes, certs: list[Cert]) -> bytes:
    """One binary message to all of them. Raises BadCertificate, naming the one that is refused."""
    try:
        return pysequoia.encrypt(bytes=body, recipients=certs, armor=False)
    except RuntimeError as error:
        raise BadCertificate(first_line(error)) from None


def _holds(user_id: Component) -> bool:
    """Whether the owner's last word on a user ID is a certification, not a revocation."""
    certified = user_id.newest(*CERTIFICATIONS)
    return bool(certified) and all(
        made(each) < made(certified[0])
        for each in user_id.signatures
        if each.signature_type == SignatureType.CertificationRevocation
    )


def _expiry(key: Parsed, statements: Iterable[Parsed]) -> datetime | None:
    """RFC 9580 5.2.3.13 (key expiration) and 5.2.3.18 (the statement's own), whichever is first."""
    created = key.key_created
    periods = [each.key_validity_period for each in statements]
    return earliest(
        *(created + each for each in periods if created is not None and each),
        *(each.signature_expiration_time for each in statements),
    )


def _sequoia_reading(data: bytes, revoked: bool, name: str) -> tuple[datetime | None, bool]:
    """(expiry, revoked) of the primary key as Sequoia, which verifies with it, understands it.

    name: of the key's algorithm. Where nothing but a revocation is left to read, that is enough.
    """
    cert = parse(data)
    try:
        return cert.expiration, cert.is_revoked
    except RuntimeError as error:
        if revoked:
            return None, True
        raise BadCertificate(
            f"Its primary key is {name}, a weak algorithm or one that is not served here, or has "
            f"no self-signature that counts (SHA-1 no longer does): {first_line(error)}. {SERVED}"
        ) from None


def _key(
    packet: Parsed,
    statements: Sequence[Parsed],
    flagged: Sequence[Parsed],
    revoked: bool,
    expires_at: datetime | None = None,
) -> Key:
    flags = [each.key_flags for each in flagged]
    used = algorithm.of_key(packet.body)
    able = bool(flags) and not 0 < used.modulus_bits < _LEAST_BITS
    if packet.fingerprint is None or packet.key_id is None or packet.key_created is None:
        raise BadCertificate("It has a key of unknown version.")
    return Key(
        fingerprint=packet.fingerprint.upper(),
        key_id=packet.key_id.upper(),
        primary=packet.tag == Tag.PublicKey,
        signs=able and all(each is not None and each.signing for each in flags),
        encrypts=able
        and all(
            each is not None and (each.transport_encryption or each.storage_encryption)
            for each in flags
        ),
        created_at=packet.key_created,
        expires_at=earliest(expires_at, _expiry(packet, statements)),
        revoked=revoked,
        algorithm=used,
    )


def encryption_keys(certificate: Certificate) -> tuple[Key, ...]:
    """The keys to encrypt to: not revoked, and not replaced by a newer one that lasts longer.

    A member who renews a subkey keeps the expired one in the certificate for old mail.
    """
    able = [key for key in certificate.keys if key.encrypts and not key.revoked]
    return tuple(
        key
        for key in able
        if not any(
            other.created_at > key.created_at and _outlasts(other.expires_at, key.expires_at)
            for other in able
        )
    )


def _outlasts(one: datetime | None, other: datetime | None) -> bool:
    return other is not None and (one is None or one > other)


def encrypts_to(certificate: Certificate) -> bool:
    """Whether Sequoia does encrypt to it, and to the very keys that we judged."""
    try:
        message = encrypt_to(b"", [parse(strip(certificate))])
    except BadCertificate:
        return False
    allowed = {name: key for key in encryption_keys(certificate) for name in names(key)}
    used = [key_id for key_id, _ in split(message).pkesks]
    return {allowed.get(key_id) for key_id in used} == set(allowed.values())


def names(key: Key) -> tuple[str, str]:
    """What a PKESK may call a key by: fingerprint (version 6), key ID (version 3)."""
    return key.fingerprint, key.key_id


def is_past(moment: datetime | None, now: datetime) -> bool:
    """Whether an expiry has come; None never does."""
    return moment is not None and moment <= now


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of these moments, None meaning never."""
    return min((each for each in moments if each is not None), default=None)
