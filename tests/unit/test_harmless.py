"""An author's content as it travels: no style of it reaches the attestation over it."""

from __future__ import annotations

import re
from base64 import encodebytes
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import quote

import pytest

from gateway.archive import harmless
from gateway.message import entity
from gateway.message.composing import MAIL_AS_FILE

STYLE = b"<style>.moz-text-plain{display:none}</style>"
FORGED = (
    STYLE + b'<p style="position:absolute;top:0" class="x" id="y" onclick="z()">Author: Bo</p>'
    b'<img src="https://collect.example/p.png"><img src="cid:seal@x"><script>1</script><!-- c -->'
    b'<a href="javascript:1">a</a><a href="https://cites.example/">b</a><td colspan=2 bgcolor=red>'
)
FORWARDED = b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n" + FORGED


def mixed(*parts: bytes) -> bytes:
    body = b"".join(b"--q\r\n" + one + b"\r\n" for one in parts)
    return b"Content-Type: multipart/mixed; boundary=q; hp=cipher\r\n\r\n" + body + b"--q--\r\n"


def sent(payload: bytes) -> tuple[bytes, list[EmailMessage]]:
    """As it travels, and its parts."""
    made = harmless.content(entity.read(payload))
    whole = message_from_bytes(made, policy=SMTP)
    assert isinstance(whole, EmailMessage)
    return made, [one for one in whole.walk() if isinstance(one, EmailMessage)]


def test_hypertext_has_no_style_left_and_loads_nothing() -> None:
    for payload in (
        b"Content-Type: text/html; charset=utf-8\r\nSubject: x\r\n\r\n" + FORGED,
        mixed(
            b"Content-Type: text/plain\r\n\r\nText.", b"Content-Type: text/html\r\n\r\n" + FORGED
        ),
    ):
        _, parts = sent(payload)
        (part,) = (one for one in parts if one.get_content_type() == "text/html")
        markup = part.get_content()
        assert "Author: Bo" in markup
        for gone in ("style", "class", "id=", "onclick", "collect.example", "script", "<!--",
                     "bgcolor"):  # fmt: skip
            assert gone not in markup
        assert 'src="cid:seal@x"' in markup
        assert 'href="https://cites.example/"' in markup


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: message/rfc822\r\nContent-Disposition: inline; filename=a.eml\r\n",
        b"Content-Type: application/octet-stream; name=a.eml\r\n",
        b"Content-Type: application/octet-stream\r\n"
        b'Content-Disposition: attachment; filename="a.EML"\r\n',
        b"Content-Type: application/xhtml+xml; name=a.html\r\n",
        b"Content-Type: image/png; name=a.eml\r\n",
        b"Content-Type: text/enriched\r\n",
    ],
)
def test_what_a_program_could_show_is_a_file_in_base64(header: bytes) -> None:
    made, (_, part) = sent(mixed(header + b"\r\n" + FORWARDED))
    assert part.get_content_disposition() == "attachment"
    assert part.get_content_type() != "message/rfc822"
    assert part["Content-Transfer-Encoding"] == "base64"
    assert part.get_payload(decode=True) == FORWARDED
    assert b"<style>" not in made


@pytest.mark.parametrize(
    "name",
    [
        "original-signed.eml",
        "Original Signed.EML",
        "or\u0456ginal_signed.pgp",
        "x/original.signed.asc",
    ],
)
@pytest.mark.parametrize("field", ["Content-Type: message/rfc822; name", "filename"])
def test_a_file_that_is_named_as_the_evidence_is_said_to_be_the_authors(
    name: str, field: str
) -> None:
    kind = "Content-Type: message/rfc822\r\nContent-Disposition: inline; filename"
    header = f"{kind if field == 'filename' else field}*=utf-8''{quote(name)}\r\n\r\n"
    _, (_, part) = sent(mixed(header.encode() + FORWARDED))
    assert re.fullmatch(r"of-author-[A-Za-z0-9.-]*", part.get_filename() or "")
    assert part.get_payload(decode=True) == FORWARDED


def test_both_names_of_a_file_count() -> None:
    word = "=?utf-8?b?" + encodebytes(b"original-signed.eml").decode().strip() + "?="
    header = f'Content-Type: text/x-a; name="{word}"\r\nContent-Disposition: inline; filename=a.txt'
    _, (_, part) = sent(mixed(header.encode() + b"\r\n\r\n" + FORWARDED))
    assert part.get_filename() == "of-author-a.txt"
    header = "Content-Type: application/octet-stream; name=a.eml"
    disposition = "\r\nContent-Disposition: attachment; filename=a.txt"
    encoding = "\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA"
    _, (_, part) = sent(mixed((header + disposition + encoding).encode()))
    assert part.get_content_type() == MAIL_AS_FILE


def test_a_digests_parts_are_mails() -> None:
    payload = b"Content-Type: multipart/digest; boundary=q\r\n\r\n--q\r\n\r\n"
    made, (_, part) = sent(payload + FORWARDED + b"\r\n--q--\r\n")
    assert (part.get_content_type(), part.get_content_disposition()) == (MAIL_AS_FILE, "attachment")
    assert part.get_payload(decode=True) == FORWARDED
    assert b"<style>" not in made


@pytest.mark.parametrize(
    "name",
    ["filename=x.bin; filename*=utf-8''original%2Dsigned.eml", 'filename="orig\\inal-signed.pgp"',
     "filename=a.eml; x=original-signed.asc"],
)  # fmt: skip
def test_no_way_of_writing_a_name_passes_for_the_evidence(name: str) -> None:
    header = f"Content-Type: application/x\r\nContent-Disposition: attachment; {name}\r\n\r\n"
    _, (_, part) = sent(mixed(header.encode() + FORWARDED))
    assert (part.get_filename() or "").startswith("of-author-")
    assert b"original" not in bytes(part).partition(b"\n\n")[0].replace(b"of-author-original", b"")


def test_an_encoding_that_nobody_knows_stops_no_copy() -> None:
    odd = b"Content-Type: application/x\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nM....."
    _, (_, part) = sent(mixed(odd))
    assert part.get_payload(decode=True) == b"M....."


def test_a_forwarded_mail_is_a_file_though_it_is_in_base64_already() -> None:
    encoded = encodebytes(FORWARDED).replace(b"\n", b"\r\n").rstrip()
    _, (_, part) = sent(
        mixed(b"Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=a.eml\r\n"
              b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded)
    )  # fmt: skip
    assert part.get_content_type() == MAIL_AS_FILE
    assert part.get_payload(decode=True) == FORWARDED


def test_what_is_named_as_a_mail_is_no_file_of_any_kind() -> None:
    encoded = encodebytes(FORWARDED).replace(b"\n", b"\r\n").rstrip()
    _, (_, part) = sent(
        mixed(b"Content-Type: application/octet-stream; name=a.eml\r\n"
              b"Content-Disposition: attachment; filename=a.eml\r\n"
              b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded)
    )  # fmt: skip
    assert part.get_content_type() == MAIL_AS_FILE
    assert part.get_filename() == "a.eml"


def test_text_pictures_and_files_stay_as_they_are() -> None:
    parts = (
        b"Content-Type: text/plain; charset=utf-8; format=flowed\r\n\r\nAuthor: Bo\r\n.",
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <a@b>\r\n"
        b"\r\niVBORw0=",
        b"Content-Type: application/pdf; name=\"fa\xc3\xa7ade.pdf\"\r\n"
        b"Content-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==",
    )  # fmt: skip
    payload = mixed(*parts)
    assert sent(payload)[0] == payload.replace(b"; hp=cipher", b"")


def test_a_hypertext_that_takes_too_long_is_a_file() -> None:
    slow = b"<div>" * 190_000
    _, parts = sent(mixed(b"Content-Type: text/html\r\n\r\n" + slow))
    assert parts[1].get_content_type() == "application/octet-stream"
    assert parts[1].get_content_disposition() == "attachment"
    assert parts[1].get_payload(decode=True) == slow
