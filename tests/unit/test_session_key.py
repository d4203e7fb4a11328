"""Session keys that are worth showing to GnuPG, by algorithm."""

from __future__ import annotations

import pytest

from gateway.errors import ForOthers, Malformed
from gateway.message.packet import PKESK, SEIPD, frame, split
from gateway.message.session_key import MOST_HIDDEN, MOST_NAMED, addressed

NAME = "0123456789ABCDEF"
DATA = frame(SEIPD, b"\x01" + bytes(40))
NUMBER = b"\x08\x00" + b"\xff" * 256
SMALL = b"\x00\x08\xff"
POINT = b"\x01\x07\x40" + bytes(32)


def pkesk(algorithm: int, fields: bytes, name: str = NAME) -> bytes:
    return frame(PKESK, b"\x03" + bytes.fromhex(name) + bytes([algorithm]) + fields)


@pytest.mark.parametrize(
    ("algorithm", "fields", "is_sound"),
    [
        (1, NUMBER, True),
        (1, NUMBER + b"x", False),
        (1, NUMBER[:-1], False),
        (1, SMALL, False),
        (1, b"\x08\x00\x3f" + bytes(255), True),
        (16, NUMBER + NUMBER, True),
        (16, NUMBER, False),
        (16, NUMBER + SMALL, False),
        (16, SMALL + NUMBER, False),
        (18, POINT + b"\x30" + bytes(48), True),
        (18, b"\x02\x03\x04" + bytes(64) + b"\x28" + bytes(40), True),
        (18, POINT + b"\x30" + bytes(47), False),
        (18, POINT + b"\x31" + bytes(49), False),
        (18, b"\x01\x06\x20" + bytes(32) + b"\x30" + bytes(48), False),
        (25, bytes(90), False),
    ],
)
def test_what_an_algorithm_asks_for_is_there_and_nothing_else(
    algorithm: int, fields: bytes, is_sound: bool
) -> None:
    for name, ours in ((NAME, {NAME: algorithm}), ("0" * 16, {"F" * 16: algorithm})):
        message = pkesk(algorithm, fields, name) + DATA
        if is_sound:
            assert addressed(split(message), ours) == message
        else:
            with pytest.raises(Malformed):
                addressed(split(message), ours)


@pytest.mark.parametrize("content", [b"\x06\x00\x19", b"\x06\x00" + bytes(80)])
def test_a_hidden_one_of_version_6_is_none_for_us(content: bytes) -> None:
    with pytest.raises(Malformed):
        addressed(split(frame(PKESK, content) + DATA), {NAME: 18})


def test_it_is_of_the_algorithm_that_the_key_has() -> None:
    message = split(pkesk(1, NUMBER) + DATA)
    with pytest.raises(Malformed):
        addressed(message, {NAME: 18})
    with pytest.raises(ForOthers):
        addressed(message, {"F" * 16: 1})


def test_those_for_others_are_left_out_and_of_ours_some_are_enough() -> None:
    ours = pkesk(1, NUMBER)
    hidden = pkesk(1, NUMBER, "0" * 16)
    others = pkesk(1, NUMBER, "A" * 16)
    message = split((others + ours + hidden) * 30 + DATA)
    assert addressed(message, {NAME: 1}) == ours * MOST_NAMED + hidden * MOST_HIDDEN + DATA
