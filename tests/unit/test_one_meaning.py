"""What is signed reads the same in every program, or is refused."""

from __future__ import annotations

import pytest

from gateway.errors import Malformed
from gateway.message import entity, protected, submission
from gateway.message.submission import Content

TEXT = b"Content-Type: text/plain\r\n\r\nHarmless.\r\n"


def mixed(part: bytes = TEXT, field: bytes = b"boundary=b", mark: bytes = b"b") -> bytes:
    """A multipart with a part; field: of its Content-Type."""
    end = b"\r\n--" + mark + b"--\r\n"
    return b"Content-Type: multipart/mixed; " + field + b"\r\n\r\n--" + mark + b"\r\n" + part + end


def check(payload: bytes) -> None:
    submission.check_payload(Content(payload, (), payload))


@pytest.mark.parametrize(
    "payload",
    [
        mixed(),
        mixed(field=b'boundary="simple boundary"', mark=b"simple boundary"),
        mixed(field=b"charset=utf-8; boundary=----=_Part_1.2", mark=b"----=_Part_1.2"),
        mixed(field=b'report-type=x;\r\n\tboundary="=_b(1)"', mark=b"=_b(1)"),
        mixed(b"\r\nNo header at all.\r\n"),
        mixed(b"Content-Type: text/html; charset=iso-2022-jp\r\n"
              b"Content-Transfer-Encoding: BASE64\r\n\r\nSGFy\r\nbWxlc3M=\r\n"),
    ],
)  # fmt: skip
def test_what_mail_programs_make_is_taken(payload: bytes) -> None:
    check(payload)


@pytest.mark.parametrize(
    "payload",
    [
        mixed(field=b"boundary=AAA (x)", mark=b"AAA (x)"),
        mixed(field=b"boundary=AAA (x)", mark=b"AAA"),
        mixed(field=b'boundary="AAA;hp=z"', mark=b"AAA;hp=z"),
        mixed(field=b'boundary*0="A"; boundary*1=B', mark=b"AB"),
        mixed(field=b"boundary=b; boundary=c"),
        mixed(b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\r\n"),
        mixed(b"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: base64\r\n\r\nS\r\n"),
        mixed(b"Content-Type : text/html\r\n\r\nx\r\n"),
        mixed(b"Content-Type: text\r\n\r\nx\r\n"),
        mixed(b"Content-Transfer-Encoding: base64 (x)\r\n\r\nSGk=\r\n"),
        mixed(b"Content-Transfer-Encoding: base64\r\n\r\nSGk=SGk=\r\n"),
        mixed(b"Content-Type: text/plain; charset=utf-7\r\n\r\n+AEE-\r\n"),
        mixed(b"Content-Type: text/plain; charset=\"x-unicode-2-0-utf-7\"\r\n\r\n+AEE-\r\n"),
        mixed(b"Content-Type: application/octet-stream\r\n\r\nx\r--b\r\n"),
        mixed().replace(b"; boundary", b"\r\nContent-Transfer-Encoding: base64\r\nX: y; boundary"),
    ],
)  # fmt: skip
def test_what_programs_read_differently_is_not(payload: bytes) -> None:
    with pytest.raises(Malformed):
        check(payload)


def test_a_mark_of_protection_goes_as_a_whole_parameter_alone() -> None:
    raw = mixed(field=b'x="a;hp=z"; boundary="b"; hp="cipher"; protected-headers=v1')
    kept = protected.content_header(entity.read(raw))
    assert kept == b'Content-Type: multipart/mixed; x="a;hp=z"; boundary="b"\r\n'


def test_a_long_text_without_an_empty_line_is_a_text() -> None:
    text = b"A line.\n" * 4000
    assert not submission._begins_with_a_header(text)
    assert submission._begins_with_a_header(b"X: y\n" * 4000 + b"Content-Type: text/html\n")
