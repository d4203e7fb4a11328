"""SMTP smuggling: only CRLF.CRLF ends a message, and nothing inside one becomes a command."""

from __future__ import annotations

import os
import time
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.intake.wire import LINE_TOO_LONG, MESSAGE_TOO_LARGE, DataReader
from tests.unit.smtp_peer import ACCEPTED, Mailbox, RawClient, open_door

END = b"\r\n.\r\n"
SMUGGLED = (
    b"MAIL FROM:<smuggled@evil.example>\r\nRCPT TO:<topic@lists.example>\r\n"
    b"DATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n"
)
SPOKEN = ("\n", "\r", "\r\n", "")
# Every way to write a lone dot between line ends, right and wrong ones, and a few with more.
VARIANTS = sorted(
    {f"{before}.{after}" for before, after in product(SPOKEN, SPOKEN) if before and after}
    | {"\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\n\r.\n\r", "\r\n.\n\r"}
)


def _corpus() -> list[str]:
    """The variants that a public scanner tries; none where the corpora are not at hand."""
    corpora = os.environ.get("ENVIRONET_CORPORA")
    if not corpora:
        return []
    lines = [
        line.rstrip("\r")
        for file in sorted((Path(corpora) / "smtp-smuggling").glob("eod-*.txt"))
        for line in file.read_text("ascii").split("\n")
        if line.strip() and not line.startswith("#")
    ]
    return sorted({line.encode().decode("unicode_escape") for line in lines})


def _attack(end: bytes) -> tuple[list[str], Mailbox]:
    """Send a message with end in its middle and a smuggled transaction after it."""
    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(b"Subject: innocent\r\n\r\nfirst line" + end + SMUGGLED + b"QUIT\r\n")
        return client.rest(), mailbox


def _assert_nothing_smuggled(end: bytes) -> None:
    replies, mailbox = _attack(end)
    if end == END:
        assert len(mailbox.kept) == 2, "the one true end: what follows is the client's next mail"
        return
    assert len(replies) == 1
    assert replies[0].startswith("550 5.6.0 ")
    assert mailbox.kept == []


@pytest.mark.parametrize("end", VARIANTS, ids=ascii)
def test_no_other_end_of_data(end: str) -> None:
    _assert_nothing_smuggled(end.encode())


@pytest.mark.skipif(not _corpus(), reason="ENVIRONET_CORPORA is not set")
@pytest.mark.parametrize("end", _corpus(), ids=ascii)
def test_no_end_of_data_of_the_scanner(end: str) -> None:
    _assert_nothing_smuggled(end.encode())


def test_a_dot_line_that_was_stuffed_ends_nothing() -> None:
    replies, mailbox = _attack(b"\r\n..\r\n")
    assert [reply[:3] for reply in replies] == ["250", "221"]
    (envelope,) = mailbox.kept
    assert envelope.sender == "officer@customs.example"
    assert b"\r\n.\r\nMAIL FROM:<smuggled@evil.example>\r\n" in envelope.data


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (b"bare\nline", "550 5.6.0 Bare <LF> in the message"),
        (b"bare\rline", "550 5.6.0 Bare <CR> in the message"),
        (b"\nfirst", "550 5.6.0 Bare <LF> in the message"),
        (b"no\0thing", "550 5.6.0 NUL in the message"),
        (b"x" * 2000 + b"\n", "550 5.6.0 Bare <LF> in the message"),
    ],
)
def test_the_refusal_comes_at_once(text: bytes, reply: str) -> None:
    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(text)  # no end of data: the client waits, and is told already
        began = time.monotonic()
        assert client.rest() == [reply]
        assert time.monotonic() - began < 1.5
    assert mailbox.kept == []


def test_the_refusal_reaches_a_client_that_sends_on() -> None:
    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(b"bare\nline\r\n" + b"and much more\r\n" * 200_000 + b".\r\n" + SMUGGLED)
        assert client.rest() == ["550 5.6.0 Bare <LF> in the message"]
    assert mailbox.kept == []


MESSAGE = b".leading\r\nline\r\n\r\n..\r\n.\r\nlast\r\n"


def _stuff(message: bytes) -> bytes:
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]


def _read(chunks: list[bytes], message_bytes: int = 10**6) -> tuple[DataReader, bytes]:
    reader = DataReader(message_bytes, 1000)
    for count, chunk in enumerate(chunks, start=1):
        rest = reader.feed(chunk)
        if rest is not None:
            return reader, rest + b"".join(chunks[count:])
    raise AssertionError("no end of data")


def _cut(data: bytes, *places: int) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def test_data_cut_at_any_two_places() -> None:
    wire = _stuff(MESSAGE) + b".\r\nRSET\r\n"
    for first in range(len(wire) + 1):
        for second in range(first, len(wire) + 1):
            reader, rest = _read(_cut(wire, first, second))
            assert reader.message() == MESSAGE
            assert rest == b"RSET\r\n"
            assert reader.fault is None


@pytest.mark.parametrize("end", [v.encode() for v in VARIANTS if v != "\r\n.\r\n"], ids=ascii)
def test_a_false_end_cut_at_any_place(end: bytes) -> None:
    wire = b"text" + end + b"MAIL FROM:<>\r\n.\r\n"
    for first in range(len(wire) + 1):
        for second in range(first, len(wire) + 1):
            with pytest.raises(Malformed):
                _read(_cut(wire, first, second))


LINES = st.lists(st.sampled_from([b"", b".", b"..", b"text", b".text", b"\xff", b"x" * 998]))


@given(LINES, st.lists(st.integers(0, 5000), max_size=8))
def test_what_a_client_stuffs_is_what_is_read(parts: list[bytes], places: list[int]) -> None:
    message = b"".join(part + b"\r\n" for part in parts)
    wire = _stuff(message) + b".\r\nQUIT\r\n"
    reader, rest = _read(_cut(wire, *(place % (len(wire) + 1) for place in places)))
    assert (reader.message(), rest, reader.fault) == (message, b"QUIT\r\n", None)


@given(
    st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\r\n.\r\n"]), max_size=12),
    st.lists(st.integers(0, 100), max_size=8),
)
def test_any_bytes_are_read_as_by_the_plainest_reader(
    parts: list[bytes], places: list[int]
) -> None:
    wire = b"".join(parts) + END
    text, _, rest = (b"\r\n" + wire).partition(END)
    chunks = _cut(wire, *(place % (len(wire) + 1) for place in places))
    lines = (text + b"\r\n").split(b"\r\n")[1:]
    if any(b"\r" in line or b"\n" in line for line in lines):
        with pytest.raises(Malformed):
            _read(chunks)
    else:
        reader, found = _read(chunks)
        assert reader.message() == b"\r\n".join(line.removeprefix(b".") for line in lines)
        assert found == rest


@given(st.integers(990, 1010), st.integers(0, 2100), st.booleans())
def test_the_longest_line_wherever_it_is_cut(length: int, place: int, stuffed: bool) -> None:
    line = b"." * stuffed + b"x" * (length - 2 - stuffed) + b"\r\n"
    message = b"short\r\n" * 20 + line + b"short\r\n"
    wire = _stuff(message) + b".\r\n"
    reader, _ = _read(_cut(wire, place % len(wire)))
    assert reader.fault == (None if length <= 1000 else LINE_TOO_LONG)


@given(st.integers(0, 40), st.integers(0, 200))
def test_beyond_its_size_a_message_is_not_held(size: int, place: int) -> None:
    message = b"x" * size + b"\r\n"
    wire = message + b".\r\nNOOP\r\n"
    reader, rest = _read(_cut(wire, place % len(wire)), message_bytes=20)
    assert rest == b"NOOP\r\n"
    if len(message) <= 20:
        assert (reader.fault, reader.message()) == (None, message)
    else:
        assert (reader.fault, reader.held) == (MESSAGE_TOO_LARGE, 0)


def test_an_end_split_over_two_writes() -> None:

    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(b"innocent\r\n.\r")
        client.send(b"\r\n" + SMUGGLED)
        assert client.rest() == ["550 5.6.0 Bare <CR> in the message"]
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(b"innocent\r\n.\r")
        client.send(b"\n")
        assert client.reply() == str(ACCEPTED)
    assert [envelope.data for envelope in mailbox.kept] == [b"innocent\r\n"]
