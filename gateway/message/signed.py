"""A signed OpenPGP message once its encryption is off: the signed octets and their signatures."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from gateway.errors import Malformed, TooLarge
from gateway.message.packet import (
    COMPRESSED,
    IGNORED,
    LITERAL,
    ONE_PASS,
    SIGNATURE,
    Packet,
    body,
    packets,
)

BINARY: Final = 0x00  # RFC 9580 5.2.1
TEXT: Final = 0x01

# Each signature costs a verification; nobody signs one mail with more keys than this.
_MOST_SIGNATURES: Final = 16
_MOST_PACKETS: Final = 2 * _MOST_SIGNATURES + 8

_SUBPACKET_CREATED: Final = 2  # RFC 9580 5.2.3.7
_SUBPACKET_ISSUER_KEY_ID: Final = 16
_SUBPACKET_ISSUER_FINGERPRINT: Final = 33
_SUBPACKET_RECIPIENT: Final = 35

# RFC 9580 5.2.3: how many MPIs, or for the newer algorithms how many octets, make a signature.
_MPIS: Final = {1: 1, 3: 1, 17: 2, 19: 2, 22: 2}
_OCTETS: Final = {27: 64, 28: 114, 30: 3373, 31: 4741, 32: 7856, 33: 17088, 34: 29792}

_HASHES: Final = {
    1: "md5",
    2: "sha1",
    3: "ripemd160",
    8: "sha256",
    9: "sha384",
    10: "sha512",
    11: "sha224",
    12: "sha3-256",
    14: "sha3-512",
}


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """What a message says and who may have signed it; nothing in it is verified yet.

    body: the literal octets, unchanged, which each signature is a detached signature over.
    signatures: whole signature packets, in the order they stand in the message.
    format: what the sender calls the body: "b" binary, "t" text, "u" UTF-8, "m" MIME.
    """

    body: bytes
    signatures: tuple[bytes, ...]
    format: str


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """What a signature packet claims about itself.

    version: 4 or 6. type: BINARY, TEXT or another number of RFC 9580 5.2.1.
    algorithm, hash: numbers of RFC 9580 9.1 and 9.5.
    created: UTC, from the hashed area. None when absent.
    issuer_fingerprint, issuer_key_id: upper-case hex, "" when not told; a hint, since it may stand
    in the unhashed area.
    intended_recipients: fingerprints, upper-case hex, from the hashed area (RFC 9580 5.2.3.36).
    digest: SHA-256 in hex of what is signed together with the document. The signature's own numbers
    are left out: whoever has an ECDSA signature can make another good one of it.
    """

    version: int
    type: int
    algorithm: int
    hash: int
    created: datetime | None
    issuer_fingerprint: str
    issuer_key_id: str
    intended_recipients: tuple[str, ...]
    digest: str


def open_message(data: bytes, limit: int) -> SignedMessage:
    """Read an unencrypted message: OPS* literal signature*, signature* literal, perhaps compressed.

    limit: octets that the message may have before and after decompression.
    Raises TooLarge, or Malformed for any other grammar (RFC 9580 10.3 allows more than we do).
    """
    if len(data) > limit:
        raise TooLarge(f"message has more than {limit} octets")
    found = _packets(data)
    if [packet.tag for packet in found] == [COMPRESSED]:
        data = _inflate(body(data, found[0]), limit)
        found = _packets(data)
    tags = [packet.tag for packet in found]
    prefix, signed = tags.count(ONE_PASS), tags.count(SIGNATURE)
    one_pass = [ONE_PASS] * prefix + [LITERAL] + [SIGNATURE] * prefix
    if tags not in (one_pass, [SIGNATURE] * signed + [LITERAL]):
        raise Malformed("message is not one literal with its signatures")
    format_, text = _literal(data, next(p for p in found if p.tag == LITERAL))
    signatures = tuple(data[p.start : p.end] for p in found if p.tag == SIGNATURE)
    # One-pass packets and signatures nest like brackets (RFC 9580 10.3).
    for index, signature in enumerate(reversed(signatures[:prefix])):
        last = index == prefix - 1
        if not _announces(body(data, found[index]), signature_facts(signature), last=last):
            raise Malformed("one-pass signature packet does not belong to its signature")
    return SignedMessage(text, signatures, format_)


def detached(data: bytes) -> tuple[bytes, ...]:
    """The signature packets of a binary detached signature, at least one. Raises Malformed."""
    found = _packets(data)
    if not found or any(packet.tag != SIGNATURE for packet in found):
        raise Malformed("not a detached signature")
    return tuple(data[packet.start : packet.end] for packet in found)


def signature_facts(packet: bytes) -> SignatureFacts:
    """What one whole signature packet says. Raises Malformed unless it is well-formed to the end.

    Octets after the signature are refused: programs skip them, so they would let a replayed
    signature look new.
    """
    found = list(packets(packet))
    if [each.tag for each in found] != [SIGNATURE]:
        raise Malformed("not one signature packet")
    content = body(packet, found[0])
    version = content[0] if content else 0
    if version not in (4, 6):
        raise Malformed("signature of unknown version")
    width = 2 if version == 4 else 4  # RFC 9580 5.2.3: length of the areas' lengths
    hashed, end_hashed = read_area(content, 4, width)
    unhashed, end = read_area(content, end_hashed, width)
    made = content[end + 2 :]
    salt = 1 + made[0] if version == 6 and made else 0
    _check_signature(content[2], made[salt:])
    subpackets = list(read_subpackets(hashed))
    fingerprint = _issuer(subpackets, unhashed, _SUBPACKET_ISSUER_FINGERPRINT)[2:]
    key_id = _issuer(subpackets, unhashed, _SUBPACKET_ISSUER_KEY_ID)
    return SignatureFacts(
        version=version,
        type=content[1],
        algorithm=content[2],
        hash=content[3],
        created=_created(subpackets),
        issuer_fingerprint=fingerprint,
        issuer_key_id=key_id_of(fingerprint) if fingerprint else key_id,
        intended_recipients=tuple(
            value[1:].hex().upper() for kind, value in subpackets if kind == _SUBPACKET_RECIPIENT
        ),
        digest=sha256(content[:end_hashed]).hexdigest(),
    )


def key_id_of(fingerprint: str) -> str:
    """The 16 hex digits that stand for a fingerprint (RFC 9580 5.5.4)."""
    return fingerprint[:16] if len(fingerprint) == 64 else fingerprint[-16:]


def micalg(hash_: int) -> str:
    """The micalg parameter of multipart/signed for a hash number, as "pgp-sha512" (RFC 3156 5)."""
    if hash_ not in _HASHES:
        raise Malformed("signature with an unknown hash")
    return "pgp-" + _HASHES[hash_]


_MOST_LITERAL_HEAD: Final = 1 + 1 + 255 + 4


def _packets(data: bytes) -> list[Packet]:
    found = []
    for count, packet in enumerate(packets(data)):
        if count == _MOST_PACKETS:
            raise Malformed("message has too many packets")
        if packet.tag not in IGNORED:
            found.append(packet)
    if sum(packet.tag == SIGNATURE for packet in found) > _MOST_SIGNATURES:
        raise Malformed("message has too many signatures")
    return found


def _inflate(content: bytes, limit: int) -> bytes:
    """A compressed packet's body (RFC 9580 5.6) decompressed, never making more than limit + 1.

    Octets behind the end of the compressed stream are ignored: sq pads messages with them.
    """
    algorithm, data = content[:1], memoryview(content)[1:]
    stream: zlib._Decompress | bz2.BZ2Decompressor
    match algorithm:
        case b"\x00":
            return bytes(data)
        case b"\x01":
            stream = zlib.decompressobj(-zlib.MAX_WBITS)
        case b"\x02":
            stream = zlib.decompressobj()
        case b"\x03":
            stream = bz2.BZ2Decompressor()
        case _:
            raise Malformed("message is compressed in an unknown way")
    try:
        inflated = stream.decompress(data, limit + 1)
    except (zlib.error, OSError):
        raise Malformed("compressed data is broken") from None
    if len(inflated) > limit:
        raise TooLarge(f"message has more than {limit} octets once decompressed")
    if not stream.eof:
        raise Malformed("compressed data is cut short")
    return inflated


def _literal(data: bytes, packet: Packet) -> tuple[str, bytes]:
    """(format, octets) of a literal packet (RFC 9580 5.9); its name and date are not signed."""
    (offset, length), *others = packet.chunks
    head = data[offset : offset + min(length, _MOST_LITERAL_HEAD)]
    format_ = head[:1].decode("latin-1")
    if format_ not in ("b", "t", "u", "m"):
        raise Malformed("literal data of unknown format")
    start = 2 + int.from_bytes(head[1:2], "big") + 4
    if length < start:
        raise Malformed("literal data is cut short")
    # Without its head from the beginning: what follows may be 50 MB, and each slice is a copy.
    spans = [(offset + start, length - start), *others]
    pieces = [data[at : at + size] for at, size in spans]
    return format_, pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _announces(one_pass: bytes, facts: SignatureFacts, *, last: bool) -> bool:
    """Whether a one-pass packet (RFC 9580 5.4) is the opening bracket of this signature.

    Only the last may have the nesting octet set: on another it says that the signature is over
    the inner signature too, so not over the literal alone.
    """
    if one_pass[1:4] != bytes([facts.type, facts.hash, facts.algorithm]):
        return False
    if one_pass[0] == 3 and facts.version == 4:
        issuer, known = one_pass[4:12], facts.issuer_key_id
        length = 13
    elif one_pass[0] == 6 and facts.version == 6:
        salt = int.from_bytes(one_pass[4:5], "big")
        issuer, known = one_pass[5 + salt : 37 + salt], facts.issuer_fingerprint
        length = 38 + salt
    else:
        return False
    named = not any(issuer) or not known or issuer.hex().upper() == known
    return len(one_pass) == length and named and bool(one_pass[-1]) == last


def read_area(content: bytes, position: int, width: int) -> tuple[bytes, int]:
    """(subpacket area, offset behind it); the area's length stands at `position`."""
    start = position + width
    end = start + int.from_bytes(content[position:start], "big")
    if end + 2 > len(content):
        raise Malformed("signature is cut short")
    return content[start:end], end


def read_subpackets(area: bytes) -> Iterator[tuple[int, bytes]]:
    """(type without the critical bit, value) of each subpacket (RFC 9580 5.2.3.7)."""
    position = 0
    while position < len(area):
        first = area[position]
        if first < 192:
            length, start = first, position + 1
        elif first < 255:
            second = int.from_bytes(area[position + 1 : position + 2], "big")
            length, start = (first - 192 << 8) + second + 192, position + 2
        else:
            length, start = (
                int.from_bytes(area[position + 1 : position + 5], "big"),
                position + 5,
            )
        position = start + length
        if length == 0 or position > len(area):
            raise Malformed("signature has a broken subpacket")
        yield area[start] & 0x7F, area[start + 1 : position]


def _issuer(hashed: list[tuple[int, bytes]], unhashed: bytes, wanted: int) -> str:
    """The first issuer subpacket of this type in hex, of the hashed area if it has one."""
    for kind, value in (*hashed, *read_subpackets(unhashed)):
        if kind == wanted:
            return value.hex().upper()
    return ""


def _created(subpackets: list[tuple[int, bytes]]) -> datetime | None:
    values = [value for kind, value in subpackets if kind == _SUBPACKET_CREATED]
    if not values:
        return None
    if len(values) > 1 or len(values[0]) != 4:
        raise Malformed("signature has no single creation time")
    return datetime.fromtimestamp(int.from_bytes(values[0], "big"), UTC)


def _check_signature(algorithm: int, made: bytes) -> None:
    """Refuse algorithm-specific octets that have a second spelling, or others behind them."""
    if algorithm in _MPIS:
        end = 0
        for _ in range(_MPIS[algorithm]):
            bits = int.from_bytes(made[end : end + 2], "big")
            start, end = end + 2, end + 2 + (bits + 7) // 8
            if int.from_bytes(made[start:end], "big").bit_length() != bits:
                raise Malformed("signature has a badly written number")
    elif algorithm in _OCTETS:
        end = _OCTETS[algorithm]
    else:
        raise Malformed("signature of an unknown algorithm")
    if end != len(made):
        raise Malformed("signature has too few octets, or too many")
