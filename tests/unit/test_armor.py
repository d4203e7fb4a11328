"""ASCII armor: read strictly, written once for many."""

from __future__ import annotations

import base64
import random
import re

import pysequoia
import pytest

from gateway.errors import Malformed
from gateway.message.armor import SharedArmor, armor, crc24, dearmor

DATA = bytes(range(256)) * 3
ARMORED = armor(DATA, line_end=b"\n")


def test_armor_is_what_sequoia_writes() -> None:
    assert ARMORED.decode() == pysequoia.armor(DATA, pysequoia.ArmorKind.Message)
    expected = pysequoia.armor(DATA, pysequoia.ArmorKind.Signature).replace("\n", "\r\n")
    assert armor(DATA, "SIGNATURE").decode() == expected


@pytest.mark.parametrize("size", [1, 47, 48, 49, 511, 512, 513, 700, 100_003])
def test_the_checksum_of_any_size_is_what_sequoia_computes(size: int) -> None:
    data = random.Random(size).randbytes(size)
    checksum = pysequoia.armor(data, pysequoia.ArmorKind.Message).split("\n=")[1][:4]
    assert crc24(data) == int.from_bytes(base64.b64decode(checksum), "big")
    assert crc24(data[200:], crc24(data[:200])) == crc24(data)


@pytest.mark.parametrize(
    "text",
    [
        ARMORED,
        ARMORED.replace(b"\n", b"\r\n"),
        b"\r\n \n" + ARMORED + b"\n\n",
        ARMORED.removesuffix(b"\n"),
        ARMORED.replace(b"\n\n", b"\nVersion: X 1\nComment: a: b\nHash:\n \t\n", 1),
        ARMORED.replace(b"\n", b" \t\n"),
        ARMORED[: ARMORED.index(b"\n=") + 1] + b"-----END PGP MESSAGE-----\n",
    ],
    ids=["LF", "CRLF", "white space", "no last line end", "headers", "blanks", "no checksum"],
)
def test_tolerated_forms(text: bytes) -> None:
    assert dearmor(text) == DATA


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN PGP MESSAGE-----",
        b"-----BEGIN PGP MESSAGE----------END PGP MESSAGE-----",
        b"Hello\n" + ARMORED,
        ARMORED + b"Bye\n",
        ARMORED + ARMORED,
        ARMORED.replace(b"MESSAGE", b"SIGNATURE"),
        ARMORED.replace(b"END PGP MESSAGE", b"END PGP SIGNATURE"),
        ARMORED.replace(b"\n\n", b"\n", 1),
        ARMORED.replace(b"\n\n", b"\nnot a header\n\n", 1),
        ARMORED.replace(b"MESSAGE-----\n\n", b"MESSAGE----- x\n\n", 1),
        ARMORED.replace(b"\nAAEC", b"\nA?EC", 1),
        ARMORED.replace(b"\n-----END", b"-----END", 1),
    ],
)
def test_anything_else_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        dearmor(text)


def test_a_checksum_is_passed_over_right_or_wrong() -> None:
    """RFC 9580 6.1: what disagrees with it, or has a broken one, must not be rejected."""
    checksum = re.search(rb"\n=(.{4})\n", ARMORED)
    assert checksum is not None
    for other in (b"AAAA", b"AA", b"?", b"AAAAAA"):
        assert dearmor(ARMORED.replace(checksum[1], other, 1)) == DATA
    assert dearmor(ARMORED.replace(b"\nAAEC", b"\nAAED", 1)) != DATA


def test_kinds_are_not_mixed_up() -> None:
    assert dearmor(armor(DATA, "PUBLIC KEY BLOCK"), "PUBLIC KEY BLOCK") == DATA
    with pytest.raises(Malformed):
        dearmor(armor(DATA, "PUBLIC KEY BLOCK"), "SIGNATURE")


def test_the_tail_is_one_object_for_all_of_the_same_remainder() -> None:
    shared = SharedArmor(DATA * 20)
    heads_and_tails = [shared.parts(bytes([each]) * 94) for each in range(3)]
    assert len({head for head, _, _ in heads_and_tails}) == 3
    assert len({id(tail) for _, tail, _ in heads_and_tails}) == 1
    assert shared.parts(bytes(94 + 48))[1] is heads_and_tails[0][1]


def test_all_lengths_of_the_first_part_give_the_whole() -> None:
    for size in (0, 5, 47, 48, 2000):
        data = random.Random(size).randbytes(size)
        for line_end in (b"\n", b"\r\n"):
            shared = SharedArmor(data, line_end)
            for length in (*range(60), 94, 268, 524):
                first = bytes(length)
                assert b"".join(shared.parts(first)) == armor(first + data, line_end=line_end)
