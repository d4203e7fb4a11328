"""OpenPGP framing and the outer grammar of an encrypted message."""

from __future__ import annotations

import pytest

from gateway.errors import Malformed
from gateway.message.packet import (
    LITERAL,
    MARKER,
    PADDING,
    PKESK,
    SEIPD,
    SYMMETRIC,
    body,
    frame,
    packets,
    pkesk_key_id,
    split,
)

KEY_ID = bytes.fromhex("0123456789ABCDEF")
ONE = frame(PKESK, b"\x03" + KEY_ID + b"\x12" + b"s" * 40)
TWO = frame(PKESK, b"\x06\x15\x04" + b"\xaa" * 20 + b"\x19" + b"s" * 40)
DATA = frame(SEIPD, b"\x01" + b"c" * 60)


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"\xcb\x05", 5),
        (b"\xcb\xc0\x00", 192),
        (b"\xcb\xdf\xff", 8383),
        (b"\xcb\xff\x00\x00\x20\xc0", 8384),
        (b"\xac\x05", 5),
        (b"\xad\x01\x00", 256),
        (b"\xae\x00\x01\x00\x00", 65536),
    ],
)
def test_each_way_to_write_a_length(header: bytes, length: int) -> None:
    content = bytes(length)
    data = header + content + frame(MARKER, b"PGP")
    first, second = packets(data)
    assert (first.tag, body(data, first)) == (LITERAL, content)
    assert (second.tag, second.start, second.end) == (MARKER, first.end, len(data))


def test_partial_lengths_are_joined() -> None:
    data = b"\xcb\xe9" + b"a" * 512 + b"\xe0b" + b"\x03ccc"
    (packet,) = packets(data)
    assert body(data, packet) == b"a" * 512 + b"bccc"
    assert [length for _, length in packet.chunks] == [512, 1, 3]


def test_an_indeterminate_length_runs_to_the_end() -> None:
    (packet,) = packets(b"\xaf" + b"x" * 1000)
    assert packet.end == 1001


@pytest.mark.parametrize(
    "data",
    [
        b"\x3f",  # bit 7 clear
        b"\xc0\x00",  # reserved type
        b"\xcb",
        b"\xcb\xc0",
        b"\xcb\xff\x00\x00",
        b"\xcb\x05abcd",
        b"\xae\x00\x00\x01",
        b"\xad\x01\x00abc",
        b"\xcb\xe9" + b"a" * 512,  # nothing after a partial length
        b"\xcb\xe8" + b"a" * 256 + b"\x00",  # first piece under 512 octets
        b"\xc1\xe9" + b"a" * 512 + b"\x00",  # partial length on a PKESK
        b"\x87" + b"a" * 30,  # indeterminate length on a PKESK
        b"\xcb\xe9" + b"a" * 512 + b"\xe0b" * 5000 + b"\x00",  # thousands of one-octet pieces
    ],
)
def test_broken_framing_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        list(packets(data))


def test_whom_a_session_key_is_for() -> None:
    rest = b"\x12" + b"s" * 40
    assert pkesk_key_id(b"\x03" + KEY_ID + rest) == "0123456789ABCDEF"
    assert pkesk_key_id(b"\x03" + bytes(8) + rest) == ""
    assert pkesk_key_id(b"\x06\x00" + rest) == ""
    assert pkesk_key_id(b"\x06\x15\x04" + b"\xaa" * 20 + rest) == "AA" * 20
    assert pkesk_key_id(b"\x06\x21\x06" + b"\xbb" * 32 + rest) == "BB" * 32


@pytest.mark.parametrize(
    "content",
    [b"", b"\x02" + bytes(40), b"\x03" + KEY_ID, b"\x06", b"\x06\x15\x04ab", b"\x06\x03\x04ab\x19"],
)
def test_a_session_key_for_nobody_known_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed):
        pkesk_key_id(content)


def test_split_gives_each_packet_whole() -> None:
    message = frame(MARKER, b"PGP") + ONE + frame(PADDING, b"\x00" * 9) + TWO + DATA
    encrypted = split(message)
    assert encrypted.pkesks == (("0123456789ABCDEF", ONE), ("AA" * 20, TWO))
    assert encrypted.data == DATA


LITERAL_PACKET = frame(LITERAL, b"b\x00\x00\x00\x00\x00forged")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        ONE,
        DATA,
        DATA + ONE,
        ONE + DATA + DATA,
        ONE + DATA + TWO,
        ONE + DATA + LITERAL_PACKET,
        ONE + frame(SEIPD, b"") + LITERAL_PACKET,  # gpg says GOODMDC to this one
        ONE + DATA + frame(PADDING, b"x"),
        ONE + frame(SEIPD, b""),
        ONE + frame(SEIPD, b"\x03" + b"c" * 60),
        ONE + frame(SYMMETRIC, b"c" * 60),
        ONE + frame(3, b"\x04\x09\x00\x08") + DATA,
        LITERAL_PACKET,
        frame(PADDING, b"") * 100 + ONE + DATA,
    ],
)
def test_any_other_outer_grammar_is_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        split(message)


def test_the_number_of_recipients_is_bounded() -> None:
    assert len(split(ONE * 3 + DATA, limit=3).pkesks) == 3
    with pytest.raises(Malformed, match="more than 3 keys"):
        split(ONE * 4 + DATA, limit=3)
