"""Mails made to cost much: each is read or refused in little time and memory.

The time-outs are far above what is needed; what they catch takes minutes.
"""

import tracemalloc

import pytest

from gateway.errors import TooLarge
from gateway.message import entity, lookalike, marking, submission, thread

MEGABYTE = 1 << 20


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "value",
    [
        "a" + " " * 240_000 + "b",
        "=?utf-8?q?" + "=20" * 70_000 + "?= x",
        "a\r\n " * 60_000,
        "\r" * 200_000,
    ],
)
def test_blanks_in_a_field(value: str) -> None:
    text = entity.decoded(value)
    assert len(text) <= entity.MOST_FIELD
    assert "\n" not in text
    entity.encoded_field("Subject", value)


@pytest.mark.timeout(20)
def test_blanks_in_a_subject_and_in_a_marking() -> None:
    marking.find("tlp" + " " * 500_000 + "x", "tlp amber" + " " * 500_000)
    thread.own_subject("[Wildlife] a" + " " * 500_000 + "(b", ["Wildlife"])


def test_an_encoded_line_end_ends_no_line() -> None:
    words = "=?utf-8?q?Dear_Ana=2C=0A=0D=0Csend_your_key_to_us?="
    assert entity.decoded(words) == "Dear Ana, send your key to us"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "zlib", "x\x00y", "utf-7"]
)
def test_a_charset_that_is_none_of_mails_is_not_used(charset: str) -> None:
    header = f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode()
    part = entity.read(header + b"a-" * 100_000)
    assert submission.text(part).startswith("a-a-")


@pytest.mark.timeout(30)
def test_parts_are_counted_before_they_are_read() -> None:
    inner = b"\r\n--i\r\n\r\nx" * 900 + b"\r\n--i--"
    middle = (b"\r\n--m\r\nContent-Type: multipart/mixed; boundary=i\r\n" + inner) * 100
    raw = b"Content-Type: multipart/mixed; boundary=m\r\n" + middle + b"\r\n--m--\r\n"
    with pytest.raises(TooLarge):
        list(submission.leaves(entity.read(raw)))


def test_a_part_with_very_many_fields_is_refused_before_it_takes_memory() -> None:
    part = b"\r\n--b\r\n" + b"A:\r\n" * 60_000 + b"\r\nx"
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n" + part * 20 + b"\r\n--b--\r\n"
    tracemalloc.start()
    with pytest.raises(TooLarge):
        list(submission.leaves(entity.read(raw)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MEGABYTE


def test_the_first_lines_of_a_large_text_take_little_memory() -> None:
    raw = "Content-Type: text/plain; charset=utf-8\r\n\r\nTLP:GREEN 🐘\r\n".encode()
    raw += b"x" * 20 * MEGABYTE
    tracemalloc.start()
    assert lookalike.first_lines(entity.read(raw))[0].startswith("TLP:GREEN")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MEGABYTE


def test_a_marking_in_broken_base64_is_found_all_the_same() -> None:
    raw = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nVExQOlJFRA=!="
    assert lookalike.first_lines(entity.read(raw))[0] == "TLP:RED"
