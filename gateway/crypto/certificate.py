"""Members' certificates: reading them, and judging whether they serve.

The gateway never imports them into a GnuPG home; pysequoia works on their octets, in this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pysequoia
from pysequoia.packet import HashAlgorithm, PacketPile, SignatureType, Tag
from pysequoia.packet import Packet as Parsed

from gateway.errors import BadCertificate, Malformed
from gateway.message.armor import dearmor
from gateway.message.packet import (
    MARKER,
    PADDING,
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    SECRET_KEY,
    SECRET_SUBKEY,
    SIGNATURE,
    TRUST,
    USER_ATTRIBUTE,
    USER_ID,
    frame,
    packets,
    split,
)

Cert = pysequoia.Cert

_MOST_OCTETS: Final = 1 << 20
# Sequoia tries each misplaced signature on each component, so their number is bounded.
_MOST_COMPONENTS: Final = 100

# Packets of RFC 9580 10.1, and those that mean nothing to a receiver; 40 to 63 are not critical.
_KEPT: Final = frozenset({PUBLIC_KEY, PUBLIC_SUBKEY, USER_ID, USER_ATTRIBUTE, SIGNATURE})
_DROPPED: Final = frozenset({MARKER, TRUST, PADDING, *range(40, 64)})

# Sequoia writes a certificate with each verified self-signature under its component, then
# components it doesn't know, then signatures that verify nowhere. So an unknown packet of our
# own is the boundary between what the owner said and what somebody added.
_BOUNDARY: Final = 60

_WEAK_HASHES: Final = (HashAlgorithm.MD5, HashAlgorithm.SHA1, HashAlgorithm.RipeMD)
_LEAST_BITS: Final = 2048
_MODULUS_ALGORITHMS: Final = frozenset({1, 2, 3, 16, 17})  # RFC 9580 9.1: RSA, ElGamal, DSA
_CERTIFICATIONS: Final = (
    SignatureType.GenericCertification,
    SignatureType.PersonaCertification,
    SignatureType.CasualCertification,
    SignatureType.PositiveCertification,
)


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

    def live(self, now: datetime) -> bool:
        return not self.revoked and not is_past(self.expires_at, now)


@dataclass(frozen=True, slots=True)
class Certificate:
    """An OpenPGP certificate (RFC 9580 10.1), public packets alone.

    fingerprint: upper-case hex. data: binary. user_ids: those that their owner has not revoked.
    Times: UTC, of the primary key; expires_at None means never. keys: the primary key first; a
    subkey without a binding signature that holds is no part of it.
    """

    fingerprint: str
    version: int
    data: bytes
    user_ids: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked: bool
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class _Component:
    """A key or user ID and the verified signatures that the primary key made on it."""

    packet: Parsed
    signatures: tuple[Parsed, ...]

    def newest(self, *types: SignatureType) -> tuple[Parsed, ...]:
        return _newest(self.signatures, *types)

    def has(self, type_: SignatureType) -> bool:
        return any(each.signature_type == type_ for each in self.signatures)


def read(data: bytes) -> Certificate:
    """Read one certificate, armored or binary, of at most 1 MB.

    What a key may do and until when is taken from the newest signature that the primary key made
    on it with a hash that still counts; certifications by others don't. Where Sequoia and we
    read an expiry differently the earlier holds. Raises BadCertificate.
    """
    public = _public(data)
    components = _components(public)
    primary = components[0]
    user_ids = [each for each in components if each.packet.tag == Tag.UserID and _holds(each)]
    own = [one for each in (primary, *user_ids) for one in each.signatures]
    statements = _newest(own, SignatureType.DirectKey, *_CERTIFICATIONS)
    flagged = _newest(
        [each for each in own if each.key_flags is not None],
        SignatureType.DirectKey,
        *_CERTIFICATIONS,
    )
    expires_at, revoked = _sequoia_reading(public)
    expires_at = _earliest(expires_at, _expiry(primary.packet, statements))
    revoked = revoked or primary.has(SignatureType.KeyRevocation)
    subkeys = [
        _key(each.packet, bindings, bindings, each.has(SignatureType.SubkeyRevocation))
        for each in components
        if each.packet.tag == Tag.PublicSubkey
        and (bindings := each.newest(SignatureType.SubkeyBinding))
    ]
    key = _key(primary.packet, statements, flagged, revoked, expires_at)
    return Certificate(
        fingerprint=key.fingerprint,
        version=primary.packet.body[0],
        data=public,
        user_ids=tuple(each.packet.user_id or "" for each in user_ids),
        created_at=key.created_at,
        expires_at=expires_at,
        revoked=revoked,
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
    in_use = _encryption_keys(certificate)
    if not in_use:
        faults.append("It has no key that can be encrypted to, or only one with a weak algorithm.")
    faults.extend(
        f"Its encryption key {key.key_id} expired on {key.expires_at:%Y-%m-%d}."
        for key in in_use
        if not key.live(now)
    )
    if in_use and not _encrypts_to(certificate, in_use):
        faults.append("It can't be encrypted to: a key or signature in it is too weak, or broken.")
    return tuple(faults)


def encryption_fault(certificate: Certificate, now: datetime) -> str | None:
    """Why nothing may be encrypted to a certificate at `now` (UTC); None if it may. No crypto."""
    if certificate.revoked:
        return "The certificate is revoked."
    if is_past(certificate.expires_at, now):
        return f"The certificate expired on {certificate.expires_at:%Y-%m-%d}."
    in_use = _encryption_keys(certificate)
    if not in_use or not all(key.live(now) for key in in_use):
        return "It has no encryption key in force."
    return None


def encrypts_until(certificate: Certificate) -> datetime | None:
    """The moment (UTC) from which encryption_fault names an expiry; None means never."""
    return _earliest(
        certificate.expires_at, *(key.expires_at for key in _encryption_keys(certificate))
    )


def strip(certificate: Certificate) -> bytes:
    """The least of a certificate that can be encrypted to: twice as fast to read, and small.

    Primary key, its newest self-signatures on itself and on one user ID, and the encryption keys
    in use (see _encryption_keys) with their newest binding.
    """
    in_use = {key.fingerprint for key in _encryption_keys(certificate)}
    primary, *others = _components(certificate.data)
    kept = [primary.packet, *primary.newest(SignatureType.DirectKey)]
    user_ids = [
        (each.packet, each.newest(*_CERTIFICATIONS)[0])
        for each in others
        if each.packet.tag == Tag.UserID and _holds(each)
    ]
    if user_ids:
        # The primary user ID's preferences are the ones that count (RFC 9580 5.2.3.27).
        first = max(user_ids, key=lambda pair: (bool(pair[1].primary_userid), _made(pair[1])))
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
        raise BadCertificate(_first_line(error)) from None


def parse(data: bytes) -> Cert:
    """A certificate as Sequoia has it. Raises BadCertificate."""
    try:
        return pysequoia.Cert.from_bytes(data)
    except RuntimeError as error:
        raise BadCertificate(_first_line(error)) from None


def _first_line(error: Exception) -> str:
    """What Sequoia says, without the stack of its own calls that may follow."""
    return str(error).partition("\n")[0]


def _public(data: bytes) -> bytes:
    """The meaningful packets of one certificate, binary; its grammar checked as far as framing."""
    if len(data) > _MOST_OCTETS:
        raise BadCertificate("The certificate is larger than 1 MB.")
    try:
        if b"PRIVATE KEY BLOCK" in data[:200]:
            raise BadCertificate("This is a secret key: keep it, and send the public one.")
        if not data[:1] or not data[0] & 0x80:
            data = dearmor(data, "PUBLIC KEY BLOCK")
        found = list(packets(data))
    except Malformed as error:
        raise BadCertificate(f"It is not a certificate: {error}.") from None
    tags = [packet.tag for packet in found if packet.tag not in _DROPPED]
    if {SECRET_KEY, SECRET_SUBKEY} & set(tags):
        raise BadCertificate("This is a secret key: keep it, and send the public one.")
    if tags[:1] != [PUBLIC_KEY] or not _KEPT.issuperset(tags):
        raise BadCertificate("It is not a certificate.")
    if tags.count(PUBLIC_KEY) > 1:
        raise BadCertificate("There is more than one certificate.")
    if len(tags) - tags.count(SIGNATURE) > _MOST_COMPONENTS:
        raise BadCertificate("The certificate has too many keys and user IDs.")
    return b"".join(data[each.start : each.end] for each in found if each.tag in _KEPT)


def _components(public: bytes) -> list[_Component]:
    """The primary key, then user IDs and subkeys, each with what the primary key signed on it."""
    cert = parse(public + frame(_BOUNDARY, b""))
    try:
        ordered = bytes(cert)
        end = next(packet.start for packet in packets(ordered) if packet.tag == _BOUNDARY)
        pile: list[Parsed] = list(PacketPile.from_bytes(ordered[:end]))
    except RuntimeError as error:
        raise BadCertificate(_first_line(error)) from None
    groups: list[tuple[Parsed, list[Parsed]]] = []
    for packet in pile:
        if packet.tag != Tag.Signature:
            groups.append((packet, []))
        elif _is_by(packet, pile[0]):
            groups[-1][1].append(packet)
    return [_Component(packet, tuple(signatures)) for packet, signatures in groups]


def _is_by(signature: Parsed, primary: Parsed) -> bool:
    if signature.issuer_fingerprint is not None:
        return signature.issuer_fingerprint == primary.fingerprint
    return signature.issuer_key_id == primary.key_id


def _made(signature: Parsed) -> float:
    """Seconds since 1970 UTC; a signature without a creation time is older than any."""
    return signature.signature_created.timestamp() if signature.signature_created else -1.0


def _newest(signatures: Iterable[Parsed], *types: SignatureType) -> tuple[Parsed, ...]:
    """The newest that count, several when made in the same second; expiry then is the earliest."""
    counting = [
        each
        for each in signatures
        if each.signature_type in types and each.hash_algorithm not in _WEAK_HASHES
    ]
    latest = max(map(_made, counting), default=0.0)
    return tuple(each for each in counting if _made(each) == latest)


def _holds(user_id: _Component) -> bool:
    """Whether the owner's last word on a user ID is a certification, not a revocation."""
    certified = user_id.newest(*_CERTIFICATIONS)
    return bool(certified) and all(
        _made(each) < _made(certified[0])
        for each in user_id.signatures
        if each.signature_type == SignatureType.CertificationRevocation
    )


def _expiry(key: Parsed, statements: Iterable[Parsed]) -> datetime | None:
    """RFC 9580 5.2.3.13 (key expiration) and 5.2.3.18 (the statement's own), whichever is first."""
    created = key.key_created
    periods = [each.key_validity_period for each in statements]
    return _earliest(
        *(created + each for each in periods if created is not None and each),
        *(each.signature_expiration_time for each in statements),
    )


def _sequoia_reading(public: bytes) -> tuple[datetime | None, bool]:
    """(expiry, revoked) of the primary key as Sequoia, which verifies with it, understands it."""
    cert = parse(public)
    try:
        return cert.expiration, cert.is_revoked
    except RuntimeError as error:
        raise BadCertificate(
            "Its primary key is of a weak algorithm, or has no self-signature that counts "
            f"(SHA-1 no longer does): {_first_line(error)}."
        ) from None


def _key(
    packet: Parsed,
    statements: Sequence[Parsed],
    flagged: Sequence[Parsed],
    revoked: bool,
    expires_at: datetime | None = None,
) -> Key:
    flags = [each.key_flags for each in flagged]
    able = bool(flags) and not _is_weak(packet.body)
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
        expires_at=_earliest(expires_at, _expiry(packet, statements)),
        revoked=revoked,
    )


def _is_weak(key: bytes) -> bool:
    """Whether a key packet's body has a modulus of under 2048 bits (RFC 9580 5.5.2, 5.5.5)."""
    start = 10 if key[0] == 6 else 6
    bits = int.from_bytes(key[start : start + 2], "big")
    return key[5] in _MODULUS_ALGORITHMS and bits < _LEAST_BITS


def _encryption_keys(certificate: Certificate) -> tuple[Key, ...]:
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


def _encrypts_to(certificate: Certificate, keys: Iterable[Key]) -> bool:
    try:
        message = encrypt_to(b"", [parse(strip(certificate))])
    except BadCertificate:
        return False
    allowed = {name: key for key in keys for name in names(key)}
    used = [key_id for key_id, _ in split(message).pkesks]
    return {allowed.get(key_id) for key_id in used} == set(allowed.values())


def names(key: Key) -> tuple[str, str]:
    """What a PKESK may call a key by: fingerprint (version 6), key ID (version 3)."""
    return key.fingerprint, key.key_id


def is_past(moment: datetime | None, now: datetime) -> bool:
    """Whether an expiry has come; None never does."""
    return moment is not None and moment <= now


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((each for each in moments if each is not None), default=None)
