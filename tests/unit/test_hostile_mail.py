"""Mails made to cost much: each is read or refused in little time and memory.

The time-outs are far above what is needed; what they catch takes minutes.
"""

import time
import tracemalloc

import pysequoia
import pytest

from gateway.errors import TooLarge
from gateway.message import entity, lookalike, marking, mended, pgpmime, submission, thread

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


def test_hypertext_is_not_read_beside_a_text_that_is_no_message() -> None:
    markup = b"<p>ab" * (2 * MEGABYTE // 5)
    for text in (b"hi", b"-----BEGIN PGP MESSAGE-----\r\n"):
        raw = (
            b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n" + text
            + b"\r\n--b\r\nContent-Type: text/html\r\n\r\n" + markup + b"\r\n--b--\r\n"
        )  # fmt: skip
        started = time.process_time()
        assert mended.text_within(entity.read(raw)) is None
        assert time.process_time() - started < 0.3  # it takes a hundredth; a second before


def test_a_signed_part_is_not_looked_for_in_any_depth() -> None:
    def nested(depth: int) -> bytes:
        inner = b"-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n-----END PGP SIGNATURE-----"
        raw = b"Content-Type: text/plain\r\n\r\n" + inner
        for number in range(depth):
            mark = b"b%d" % number
            raw = (b"Content-Type: multipart/mixed; boundary=" + mark + b"\r\n\r\n--" + mark
                   + b"\r\n" + raw + b"\r\n--" + mark + b"--\r\n")  # fmt: skip
        return raw

    assert pgpmime.signed_part(entity.read(nested(10))) is not None
    assert pgpmime.signed_part(entity.read(nested(25))) is None


def test_no_dashes_in_a_body_make_its_evidence_slow() -> None:
    key = pysequoia.Tsk.generate("Ana <ana@customs.example>", profile=pysequoia.Profile.RFC4880)
    body = b"Content-Type: text/plain\r\n\r\noriginal-signed-object" + b"-" * 100_000 + b"\r\n"
    data = bytes(pysequoia.sign(key.signer(), body, armor=False))
    source = pgpmime.Signed(pgpmime.Form.MESSAGE, data)
    opened = submission.content(source, MEGABYTE)
    started = time.process_time()
    _, made = submission.evidence(source, opened, [("From", "Ana <ana@customs.example>")])
    assert time.process_time() - started < 1  # it takes a hundredth; three before
    first, _ = entity.read(made).parts()
    assert first.raw == body
