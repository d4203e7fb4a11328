"""ASCII armor (RFC 9580 6), read strictly, and written once for many subscribers."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from gateway.errors import Malformed

CRLF: Final = b"\r\n"

_INIT: Final = 0xB704CE  # RFC 9580 6.1.1
_GENERATOR: Final = 0x1864CFB

# x^1257 + x^24 + x^16 + 1 is a multiple of the generator; so is its square, which over GF(2) has
# the same four terms at twice the exponents, and so on. Such a sparse multiple lets three shifts of
# a big number replace half of its octets, where a table would take a step for each.
_FOLD: Final = 1257
_FOLD_TERMS: Final = (24, 16, 0)
_FOLD_FROM: Final = 512

_LINE: Final = 64  # characters; RFC 9580 6.6 allows 76
_LINE_OCTETS: Final = _LINE // 4 * 3
_TAILS_KEPT: Final = 2
_BLANKS: Final = re.compile(rb"[ \t\r\n\f\v]*")
# A checksum line is "=", four characters and a line end; transport may add blanks.
_CHECKSUM_OCTETS: Final = 100
# The CRC is folded by big integers of this many octets, several of which are in memory at once.
_PIECE: Final = 1 << 20
_WHOLE_LINES: Final = 8192 * _LINE_OCTETS


def dearmor(text: bytes, kind: str = "MESSAGE") -> bytes:
    """The octets in one armored block of this kind; white space around it is ignored.

    Headers are skipped unread, and so is a CRC-24, right or wrong, as RFC 9580 6.1 has it: what
    is inside has better protection. Raises Malformed, also when anything stands before or after
    the block.
    """
    # By offsets: the block may be 50 MB, and each slice of it a copy.
    begin = _BLANKS.match(text).end()  # type: ignore[union-attr]  # it matches nothing, too
    first = begin + len(_edge("BEGIN", kind))
    last = text.rfind(_edge("END", kind))
    if text[begin:first] != _edge("BEGIN", kind) or not _BLANKS.fullmatch(
        text, last + len(_edge("END", kind))
    ):
        raise Malformed(f"not an armored {kind}")
    first = _after_headers(text, first)
    if text[last - 1 : last] != b"\n" or first > last:
        raise Malformed("armor ends in the middle of a line")
    checksum = text.rfind(b"\n=", max(first, last - _CHECKSUM_OCTETS), last)
    return _base64(text, first, last if checksum < 0 else checksum)


def armor(data: bytes, kind: str = "MESSAGE", line_end: bytes = CRLF) -> bytes:
    """An armored block with CRC-24; `line_end` ends each line, the last one too."""
    return b"".join(
        (
            _edge("BEGIN", kind) + line_end + line_end,
            _lines(data, line_end),
            _foot(crc24(data), kind, line_end),
        )
    )


class SharedArmor:
    """Armors PKESK ‖ data for many PKESKs, encoding the shared data once.

    Base64 turns each 48 octets into a line of its own, so once a PKESK and the first few octets
    of the data fill whole lines, all lines after them are the same for every PKESK whose length
    has the same remainder. The CRC-24 is linear: the tail's is combined with each head's.
    """

    __slots__ = ("_data", "_line_end", "_tails")

    def __init__(self, data: bytes, line_end: bytes = CRLF) -> None:
        self._data = data
        self._line_end = line_end
        self._tails: dict[int, _Tail] = {}

    def parts(self, pkesks: bytes) -> tuple[bytes, bytes, bytes]:
        """(head, tail, foot) of the armored message; the tail is one object for many subscribers.

        Joined they equal armor(pkesks + data). The CRC-24 is kept although RFC 9580 6.1 no longer
        asks for it: GnuPG 2.2 fails without it whenever the length is a multiple of three.
        """
        tail = self._tail(self.kind(pkesks))
        opening = pkesks + self._data[: tail.start]
        head = (
            _edge("BEGIN", "MESSAGE")
            + self._line_end
            + self._line_end
            + _lines(opening, self._line_end)
        )
        crc = _multiply(crc24(opening), tail.shift) ^ tail.crc
        return head, tail.text, _foot(crc, "MESSAGE", self._line_end)

    def kind(self, pkesks: bytes) -> int:
        """Equal where two share their tail. Only the last few tails are kept."""
        return -len(pkesks) % _LINE_OCTETS

    def _tail(self, start: int) -> _Tail:
        if start not in self._tails:
            if len(self._tails) == _TAILS_KEPT:
                del self._tails[next(iter(self._tails))]
            rest = memoryview(self._data)[start:]
            self._tails[start] = _Tail(
                start, _lines(rest, self._line_end), crc24(rest, 0), _power(8 * len(rest))
            )
        return self._tails[start]


def crc24(data: bytes | memoryview, register: int = _INIT) -> int:
    """RFC 9580 6.1.1; `register` is the CRC of what came before."""
    table = _table()
    for start in range(0, len(data), _PIECE):
        piece = bytes(data[start : start + _PIECE])
        if len(piece) >= _FOLD_FROM:
            piece, register = _fold(piece, register), 0
        for octet in piece:
            register = (register << 8 & 0xFFFFFF) ^ table[register >> 16 ^ octet]
    return register


@dataclass(frozen=True, slots=True)
class _Tail:
    """Data from octet `start` on, encoded; its CRC-24 from register 0; x^(its bits)."""

    start: int
    text: bytes
    crc: int
    shift: int


def _edge(word: str, kind: str) -> bytes:
    return f"-----{word} PGP {kind}-----".encode("ascii")


def _after_headers(text: bytes, position: int) -> int:
    """The offset behind the blank line that ends the armor headers (RFC 9580 6.2.2)."""
    line_feed = text.find(b"\n", position)
    if text[position:line_feed].strip():
        raise Malformed("armor header line is broken")
    while line_feed >= 0:
        position = line_feed + 1
        line_feed = text.find(b"\n", position)
        line = text[position:line_feed].strip() if line_feed >= 0 else b"-"
        if not line:
            return position
        if b":" not in line:
            break
    raise Malformed("armor has no blank line after its headers")


def _base64(text: bytes, start: int, end: int) -> bytes:
    """text[start:end] decoded piece by piece, so that the whole is in memory but once more."""
    decoded: list[bytes] = []
    rest = b""
    for at in range(start, end, _PIECE):
        # Mail transport may add or cut blanks at the end of lines; they mean nothing in base64.
        clean = rest + text[at : min(at + _PIECE, end)].translate(None, b" \t\r\n")
        cut = len(clean) if at + _PIECE >= end else len(clean) - len(clean) % 4
        rest = clean[cut:]
        try:
            decoded.append(binascii.a2b_base64(clean[:cut], strict_mode=True))
        except binascii.Error:
            raise Malformed("armor is not base64") from None
        if clean[:cut].endswith(b"=") and at + _PIECE < end:
            raise Malformed("armor goes on behind its padding")
    return b"".join(decoded)


def _lines(data: bytes | memoryview, line_end: bytes) -> bytes:
    """Piece by piece: a line alone takes twice its length."""
    written: list[bytes] = []
    for at in range(0, len(data), _WHOLE_LINES):
        text = binascii.b2a_base64(data[at : at + _WHOLE_LINES], newline=False)
        lines = line_end.join([text[i : i + _LINE] for i in range(0, len(text), _LINE)])
        written += (lines, line_end)
    return b"".join(written)


def _foot(crc: int, kind: str, line_end: bytes) -> bytes:
    encoded = binascii.b2a_base64(crc.to_bytes(3, "big"), newline=False)
    return b"=" + encoded + line_end + _edge("END", kind) + line_end


def _fold(data: bytes, register: int) -> bytes:
    """At most 158 octets with the same CRC-24 from register 0 as `data` from `register`."""
    value = int.from_bytes(data, "big") ^ register << 8 * len(data) - 24
    scale = 1 << (value.bit_length() // _FOLD).bit_length()
    while scale:
        width = _FOLD * scale
        while value.bit_length() > width:
            high = value >> width
            value &= (1 << width) - 1
            for term in _FOLD_TERMS:
                value ^= high << term * scale
        scale >>= 1
    return value.to_bytes(-(-_FOLD // 8), "big")


@cache
def _table() -> tuple[int, ...]:
    return tuple(_reduce(octet << 24) for octet in range(256))


def _reduce(value: int) -> int:
    """The remainder of a polynomial of degree under 48 by the generator."""
    for bit in range(47, 23, -1):
        if value >> bit & 1:
            value ^= _GENERATOR << bit - 24
    return value


def _multiply(left: int, right: int) -> int:
    """The product of two polynomials of degree under 24, modulo the generator."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left <<= 1
        right >>= 1
    return _reduce(product)


def _power(exponent: int) -> int:
    """x^exponent modulo the generator."""
    result, square = 1, 2
    while exponent:
        if exponent & 1:
            result = _multiply(result, square)
        square = _multiply(square, square)
        exponent >>= 1
    return result
