"""OpenPGP packet framing (RFC 9580 4.2) and the outer grammar of an encrypted message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.errors import Malformed

PKESK: Final = 1
SIGNATURE: Final = 2
ONE_PASS: Final = 4
SECRET_KEY: Final = 5
PUBLIC_KEY: Final = 6
SECRET_SUBKEY: Final = 7
COMPRESSED: Final = 8
SYMMETRIC: Final = 9
MARKER: Final = 10
LITERAL: Final = 11
TRUST: Final = 12
USER_ID: Final = 13
PUBLIC_SUBKEY: Final = 14
USER_ATTRIBUTE: Final = 17
SEIPD: Final = 18
PADDING: Final = 21

# Packets without meaning: a receiver must ignore them (RFC 9580 5.8, 5.14).
IGNORED: Final = frozenset({MARKER, PADDING})

# RFC 9580 4.2.1.4: partial lengths (and 4.2.2.1: indeterminate ones) are for data packets alone.
_STREAMED: Final = frozenset({COMPRESSED, SYMMETRIC, LITERAL, SEIPD, 20})
_FIRST_CHUNK: Final = 512

# A sender may cut a 50 MB packet into single octets; each piece costs us a hundred. Real programs
# cut at kilobytes.
_SPARE_CHUNKS: Final = 64
_CHUNK_AVERAGE: Final = 256

# More marker and padding packets than this before the data are an attack on our time.
_MOST_IGNORED: Final = 8


@dataclass(frozen=True, slots=True)
class Packet:
    """Where one packet lies: its header begins at `start`, `end` is one past its last octet.

    chunks: (offset, length) of each piece of the body, in octets; more than one when the sender
    used partial lengths.
    """

    tag: int
    start: int
    end: int
    chunks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Encrypted:
    """An encrypted message taken apart.

    pkesks: (key ID or fingerprint in upper-case hex, "" for an anonymous recipient; whole packet).
    data: the whole SEIPD packet. Any one pkesk followed by data is a message of its own.
    """

    pkesks: tuple[tuple[str, bytes], ...]
    data: bytes


def packets(data: bytes) -> Iterator[Packet]:
    """The packets that `data` consists of, without reading what is in them.

    Raises Malformed when the framing breaks (RFC 9580 4.2) or the last packet is cut short.
    """
    position = 0
    while position < len(data):
        packet = _packet(data, position)
        yield packet
        position = packet.end


def body(data: bytes, packet: Packet) -> bytes:
    """The packet's body in one piece."""
    pieces = [data[offset : offset + length] for offset, length in packet.chunks]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def frame(tag: int, content: bytes) -> bytes:
    """A whole packet with a five-octet length (RFC 9580 4.2.1.3)."""
    return bytes([0xC0 | tag, 0xFF]) + len(content).to_bytes(4, "big") + content


def pkesk_key_id(content: bytes) -> str:
    """Whom a PKESK body is for: key ID (v3) or fingerprint (v6) in upper-case hex, "" if hidden.

    Raises Malformed for other versions and for bodies too short for what they announce.
    """
    match content[:1]:
        case b"\x03":  # RFC 9580 5.1.1
            key_id = content[1:9]
            if len(content) < 11:
                raise Malformed("PKESK packet is cut short")
            return key_id.hex().upper() if any(key_id) else ""
        case b"\x06":  # RFC 9580 5.1.2: length of (key version, fingerprint), zero if anonymous
            announced = int.from_bytes(content[1:2], "big")
            if len(content) < 3 + announced:
                raise Malformed("PKESK packet is cut short")
            if not announced:
                return ""
            if (content[2], announced) not in {(4, 21), (6, 33)}:
                raise Malformed("PKESK packet names a key of unknown version")
            return content[3 : 2 + announced].hex().upper()
        case _:
            raise Malformed("PKESK packet of unknown version")


def split(message: bytes, limit: int = 1_000_000) -> Encrypted:
    """Take a binary encrypted message apart: 1 to `limit` PKESKs, one SEIPD, nothing after it.

    This is the check that must come before any OpenPGP program sees a stranger's message, so
    what a program might still accept is refused here: symmetric passwords, data without integrity
    protection (tag 9), packets in clear text behind the encrypted ones. Raises Malformed.
    """
    pkesks: list[tuple[str, bytes]] = []
    ignored = 0
    for packet in packets(message):
        if packet.tag == PKESK:
            if len(pkesks) == limit:
                raise Malformed(f"message is encrypted to more than {limit} keys")
            key_id = pkesk_key_id(body(message, packet))
            pkesks.append((key_id, message[packet.start : packet.end]))
        elif packet.tag == SEIPD:
            if not pkesks:
                raise Malformed("encrypted data without a recipient's key before it")
            if packet.end != len(message):
                raise Malformed("something follows the encrypted data")
            offset, length = packet.chunks[0]
            if length == 0 or message[offset] not in (1, 2):  # RFC 9580 5.13
                raise Malformed("encrypted data of unknown version")
            return Encrypted(tuple(pkesks), message[packet.start :])
        elif packet.tag in IGNORED and ignored < _MOST_IGNORED:
            ignored += 1
        else:
            raise Malformed(f"unexpected packet of type {packet.tag} in an encrypted message")
    raise Malformed("message without encrypted data")


def _packet(data: bytes, start: int) -> Packet:
    header = data[start]
    if not header & 0x80:
        raise Malformed("not an OpenPGP packet")
    tag = header & 0x3F if header & 0x40 else header >> 2 & 0x0F
    if tag == 0:
        raise Malformed("packet of the reserved type 0")
    read = _new_chunks if header & 0x40 else _old_chunks
    try:
        chunks = tuple(read(data, start, tag))
    except IndexError:
        raise Malformed(f"packet of type {tag} is cut short") from None
    return Packet(tag, start, sum(chunks[-1]), chunks)


def _new_chunks(data: bytes, start: int, tag: int) -> Iterator[tuple[int, int]]:
    """RFC 9580 4.2.1. Raises IndexError at the end of the data."""
    position, count = start + 1, 0
    most = _SPARE_CHUNKS + len(data) // _CHUNK_AVERAGE
    while True:
        octet = data[position]
        partial = 224 <= octet < 255
        if octet < 192:
            length, position = octet, position + 1
        elif octet < 224:
            length, position = (octet - 192 << 8) + data[position + 1] + 192, position + 2
        elif partial:
            length, position = 1 << (octet & 0x1F), position + 1
        else:
            length, position = _number(data, position + 1, 4), position + 5
        if position + length > len(data):
            raise IndexError
        yield position, length
        if not partial:
            return
        if tag not in _STREAMED:
            raise Malformed(f"packet of type {tag} must have a definite length")
        if count == 0 and length < _FIRST_CHUNK:
            raise Malformed("first partial length is under 512 octets")
        if count == most:
            raise Malformed("packet is cut into too many pieces")
        position, count = position + length, count + 1


def _old_chunks(data: bytes, start: int, tag: int) -> Iterator[tuple[int, int]]:
    """RFC 9580 4.2.2. Raises IndexError at the end of the data."""
    width = (1, 2, 4, 0)[data[start] & 3]
    position = start + 1 + width
    if width:
        length = _number(data, start + 1, width)
    elif tag in _STREAMED:
        length = len(data) - position
    else:
        raise Malformed(f"packet of type {tag} must have a definite length")
    if position + length > len(data):
        raise IndexError
    yield position, length


def _number(data: bytes, position: int, width: int) -> int:
    if position + width > len(data):
        raise IndexError
    return int.from_bytes(data[position : position + width], "big")
