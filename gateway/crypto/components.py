"""What a certificate consists of once everything is left out that its owner did not sign.

Anybody can add packets to a certificate and change what no signature covers. So it is cut down to
one form: the primary key, and each user ID and subkey with the signatures that the primary key
verifiably made on it. Two copies are merged by putting their packets one behind the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import pysequoia
from pysequoia.packet import Packet as Parsed
from pysequoia.packet import PacketPile, SignatureType, Tag

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
    body,
    frame,
    packets,
)
from gateway.message.signed import read_area, read_subpackets

Cert = pysequoia.Cert
Packet = tuple[int, bytes]
"""(tag, body)"""
Subpacket = tuple[int, bytes]
"""(type, value)"""

CERTIFICATIONS: Final = (
    SignatureType.GenericCertification,
    SignatureType.PersonaCertification,
    SignatureType.CasualCertification,
    SignatureType.PositiveCertification,
)

_MOST_OCTETS: Final = 1 << 20
_MOST_PACKETS: Final = 20_000
# Sequoia tries each misplaced signature on each component, so the number of both is bounded.
_MOST_COMPONENTS: Final = 100
_MOST_SIGNATURES: Final = 1000

# Packets of RFC 9580 10.1, and those that mean nothing to us; 40 to 63 are not critical.
_KEPT: Final = frozenset({PUBLIC_KEY, PUBLIC_SUBKEY, USER_ID, SIGNATURE})
_DROPPED: Final = frozenset({MARKER, TRUST, PADDING, USER_ATTRIBUTE, *range(40, 64)})

# Sequoia writes a certificate with each verified self-signature under its component, then
# components it doesn't know, then signatures that verify nowhere. So an unknown packet of our
# own is the boundary between what the owner said and what somebody added.
_BOUNDARY: Final = 60

_REVOCATIONS: Final = frozenset({0x20, 0x28, 0x30})  # RFC 9580 5.2.1
_STATEMENTS: Final = frozenset({0x10, 0x11, 0x12, 0x13, 0x18, 0x1F})
_KEY_BINDING: Final = 0x19
_WEAK_HASHES: Final = frozenset({1, 2, 3})  # RFC 9580 9.5: MD5, SHA-1, RIPEMD-160

_ISSUER_KEY_ID: Final = 16  # RFC 9580 5.2.3.7
_KEY_FLAGS: Final = 27
_EMBEDDED: Final = 32
_ISSUER_FINGERPRINT: Final = 33
_SIGNS: Final = 0x02  # RFC 9580 5.2.3.29


@dataclass(frozen=True, slots=True)
class Component:
    """A key or user ID and the verified signatures that the primary key made on it.

    No signature but a revocation has a hash that can be forged.
    """

    packet: Parsed
    signatures: tuple[Parsed, ...]

    def newest(self, *types: SignatureType) -> tuple[Parsed, ...]:
        return newest(self.signatures, *types)

    def has(self, type_: SignatureType) -> bool:
        return any(each.signature_type == type_ for each in self.signatures)


@dataclass(frozen=True, slots=True, order=True)
class _Form:
    """A signature packet in the one form that we keep. stated: all that is signed but the subject,
    in the packet's own words; made: the signature; unhashed: what stands between them."""

    stated: bytes
    made: bytes
    unhashed: bytes

    @property
    def body(self) -> bytes:
        width = 2 if self.stated[0] == 4 else 4  # RFC 9580 5.2.3
        return self.stated + len(self.unhashed).to_bytes(width, "big") + self.unhashed + self.made


def contents(data: bytes) -> list[Packet]:
    """The meaningful packets of an armored or binary certificate; no signature is verified.

    Or those of a revocation that stands alone, signatures only. Raises BadCertificate.
    """
    if len(data) > _MOST_OCTETS:
        raise BadCertificate("The certificate is larger than 1 MB.")
    try:
        if b"PRIVATE KEY BLOCK" in data[:200]:
            raise BadCertificate("This is a secret key: keep it, and send the public one.")
        if not data[:1] or not data[0] & 0x80:
            data = dearmor(data, "PUBLIC KEY BLOCK")
        found = [(each.tag, body(data, each)) for each in islice(packets(data), _MOST_PACKETS)]
    except Malformed as error:
        raise BadCertificate(f"It is not a certificate: {error}.") from None
    if len(found) == _MOST_PACKETS:
        raise BadCertificate("The certificate has too many packets.")
    meaningful = [packet for packet in found if packet[0] not in _DROPPED]
    tags = [tag for tag, _ in meaningful]
    if {SECRET_KEY, SECRET_SUBKEY} & set(tags):
        raise BadCertificate("This is a secret key: keep it, and send the public one.")
    is_key, is_revocation = tags[:1] == [PUBLIC_KEY], set(tags) == {SIGNATURE}
    if not (is_key or is_revocation) or not _KEPT.issuperset(tags):
        raise BadCertificate("It is not a certificate.")
    if tags.count(PUBLIC_KEY) > 1:
        raise BadCertificate("There is more than one certificate.")
    if len(tags) - tags.count(SIGNATURE) > _MOST_COMPONENTS:
        raise BadCertificate("The certificate has too many keys and user IDs.")
    return meaningful


def joined(held: bytes, offered: list[Packet]) -> list[Packet]:
    """The packets of a certificate, then those of another copy of it, or of a revocation.

    Raises BadCertificate where they belong to another primary key.
    """
    ours = contents(held)
    if offered[0] == ours[0]:
        return [*ours, *offered]
    primary = _primary(ours[0])
    if offered[0][0] != SIGNATURE or not all(_own(each, primary, None) for _, each in offered):
        raise BadCertificate("It belongs to another primary key.")
    return [*ours, ours[0], *offered]


def verified(found: Iterable[Packet]) -> list[Component]:
    """The primary key, then user IDs and subkeys, in an order that the packets' order has no say
    in, each with what the primary key signed on it. One without such a signature is left out.

    found: the packets of one certificate, of several copies of it one behind the other perhaps.
    Raises BadCertificate.
    """
    cert = parse(_claimed(found) + frame(_BOUNDARY, b""))
    try:
        ordered = bytes(cert)
        end = next(packet.start for packet in packets(ordered) if packet.tag == _BOUNDARY)
        pile: list[Parsed] = list(PacketPile.from_bytes(ordered[:end]))
    except RuntimeError as error:
        raise BadCertificate(first_line(error)) from None
    groups: list[tuple[Parsed, list[Parsed]]] = []
    for packet in pile:
        if packet.tag == Tag.Signature:
            groups[-1][1].append(packet)
        else:
            groups.append((packet, []))
    primary, *others = [Component(packet, tuple(signatures)) for packet, signatures in groups]
    others = [each for each in others if each.signatures]
    if len(others) >= _MOST_COMPONENTS:
        raise BadCertificate("The certificate has too many keys and user IDs.")
    return [primary, *sorted(others, key=lambda each: (int(each.packet.tag), each.packet.body))]


def serialised(components: Sequence[Component]) -> bytes:
    """A certificate's one form: the same octets for the same keys, user IDs and statements.

    Raises BadCertificate over 1 MB.
    """
    primary = components[0].packet
    written: list[bytes] = []
    for each in components:
        packet = (int(each.packet.tag), each.packet.body)
        subkey = _subkey(packet)
        forms = [_own(signature.body, primary, subkey) for signature in each.signatures]
        # An ECDSA signature can be turned into another good one: of two the same is always taken.
        distinct = {form.stated: form for form in sorted(filter(None, forms), reverse=True)}
        written.append(frame(*packet))
        written.extend(frame(SIGNATURE, form.body) for form in reversed(distinct.values()))
    data = b"".join(written)
    if len(data) > _MOST_OCTETS:
        raise BadCertificate("The certificate is larger than 1 MB.")
    return data


def newest(signatures: Iterable[Parsed], *types: SignatureType) -> tuple[Parsed, ...]:
    """The newest of these types, several when made in the same second."""
    counting = [each for each in signatures if each.signature_type in types]
    latest = max(map(made, counting), default=0.0)
    return tuple(each for each in counting if made(each) == latest)


def made(signature: Parsed) -> float:
    """Seconds since 1970 UTC; a signature without a creation time is older than any."""
    return signature.signature_created.timestamp() if signature.signature_created else -1.0


def parse(data: bytes) -> Cert:
    """A certificate as Sequoia has it. Raises BadCertificate."""
    try:
        return Cert.from_bytes(data)
    except RuntimeError as error:
        raise BadCertificate(first_line(error)) from None


def first_line(error: Exception) -> str:
    """What Sequoia says, without the stack of its own calls that may follow."""
    return str(error).partition("\n")[0]


def _claimed(found: Iterable[Packet]) -> bytes:
    """The certificate with the signatures that claim to be its owner's, everything once."""
    groups: dict[Packet, dict[tuple[bytes, bytes], _Form]] = {}
    primary: Parsed | None = None
    for packet in found:
        if packet[0] != SIGNATURE:
            primary = primary or _primary(packet)
            subkey = _subkey(packet)
            current = groups.setdefault(packet, {})
        elif primary and (form := _own(packet[1], primary, subkey)):
            current.setdefault((form.stated, form.made), form)
    if sum(map(len, groups.values())) > _MOST_SIGNATURES:
        raise BadCertificate("The certificate has too many signatures.")
    return b"".join(
        frame(*packet) + b"".join(frame(SIGNATURE, form.body) for form in forms.values())
        for packet, forms in groups.items()
    )


def _primary(packet: Packet) -> Parsed:
    found = _key(packet)
    if found is None:
        raise BadCertificate("It has a key of unknown version.")
    return found


def _subkey(packet: Packet) -> Parsed | None:
    return _key(packet) if packet[0] == PUBLIC_SUBKEY else None


def _key(packet: Packet) -> Parsed | None:
    """A key packet as Sequoia has it; None where it doesn't know that kind of key."""
    try:
        (key,) = PacketPile.from_bytes(frame(*packet))
    except (RuntimeError, ValueError):
        return None
    return key if key.fingerprint and key.key_id else None


def _own(content: bytes, primary: Parsed, subkey: Parsed | None) -> _Form | None:
    """A signature that claims to be the primary key's and is of a kind and hash that count; None
    for others. subkey: that it is about. Nothing is verified here.
    """
    if len(content) < 4:
        return None
    kind, hash_ = content[1], content[3]
    if kind not in _REVOCATIONS and (kind not in _STATEMENTS or hash_ in _WEAK_HASHES):
        return None
    return _one_form(content, primary, subkey)


def _one_form(content: bytes, issuer: Parsed, subkey: Parsed | None) -> _Form | None:
    """As _own, for any issuer, kind and hash.

    No signature covers the unhashed area (RFC 9580 5.2.3), so what anybody may have written there
    is left out, but for what programs look for: the issuer's key ID, and the signature by which a
    subkey for signing agrees to be one (RFC 9580 5.2.1.9).
    """
    if content[0] != issuer.body[0]:  # RFC 9580 10.1: signatures are of the key's version
        return None
    width = 2 if content[0] == 4 else 4
    try:
        area, end = read_area(content, 4, width)
        hashed = dict(read_subpackets(area))
        area, rest = read_area(content, end, width)
        unhashed = list(read_subpackets(area))
    except Malformed:
        return None
    if not _is_by(issuer, hashed.items(), unhashed):
        return None
    kept = b""
    if width == 2 and _ISSUER_KEY_ID not in hashed:
        kept = bytes([9, _ISSUER_KEY_ID]) + bytes.fromhex(issuer.key_id or "")
    signs = hashed.get(_KEY_FLAGS, b"")[:1]
    if subkey and signs and signs[0] & _SIGNS and _EMBEDDED not in hashed:
        kept += _agreement(subkey, unhashed)
    return _Form(stated=content[:end], made=content[rest:], unhashed=kept)


def _agreement(subkey: Parsed, unhashed: Iterable[Subpacket]) -> bytes:
    """The subpacket in which a subkey agrees to a binding; b"" without one."""
    embedded = (value for kind, value in unhashed if kind == _EMBEDDED)
    bindings = (value for value in embedded if len(value) >= 4 and value[1] == _KEY_BINDING)
    forms = (_one_form(value, subkey, None) for value in bindings)
    found = next(filter(None, forms), None)
    if found is None:
        return b""
    content = bytes([_EMBEDDED]) + found.body
    return b"\xff" + len(content).to_bytes(4, "big") + content


def _is_by(issuer: Parsed, hashed: Iterable[Subpacket], unhashed: Iterable[Subpacket]) -> bool:
    """Whether a signature names this issuer; what is signed counts before what isn't."""
    names = {
        (_ISSUER_KEY_ID, issuer.key_id),
        (_ISSUER_FINGERPRINT, f"{issuer.body[0]:02x}{issuer.fingerprint}"),
    }
    return not names.isdisjoint(_issuers(hashed) or _issuers(unhashed))


def _issuers(subpackets: Iterable[Subpacket]) -> set[tuple[int, str | None]]:
    kinds = (_ISSUER_KEY_ID, _ISSUER_FINGERPRINT)
    return {(kind, value.hex()) for kind, value in subpackets if kind in kinds}
