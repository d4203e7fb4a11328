"""What `environet judge` says of a mail is what becomes of it, and nothing comes of its saying so;
and mails that came apart on their way."""

from __future__ import annotations

import json
import re
from base64 import encodebytes
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import func, select

from gateway.store.posting import Posting
from tests.gateway import DOMAIN, CommandFailed
from tests.officers import Officer, encrypted_entity, parse
from tests.scenarios.judged import (
    COMMANDS,
    LIST,
    SECRET,
    Ground,
    fields_of,
    founded,
    opened,
)

FOOTER = b"-- \r\nThis mail was scanned, and is as safe as can be.\r\n"


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with founded() as made:
        yield made


@pytest.fixture
def signed_part(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A gateway that takes what is signed of a mail."""
    monkeypatch.setenv("ENVIRONET_POLICY_PARTLY_SIGNED", "signed-part")
    return ground


Part = tuple[str, bytes]
"""Type with its parameters, content."""


def message_of(mail: bytes) -> bytes:
    """The armored message of an encrypted mail."""
    message = list(parse(mail).iter_parts())[1].get_payload(decode=True)
    assert isinstance(message, bytes)
    return message


def of_parts(mail: bytes, kind: str, *parts: Part) -> bytes:
    """The mail with other parts, each in base64, under its header."""
    body = b"".join(
        f"--x\r\nContent-Type: {one}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
        + encodebytes(content).replace(b"\n", b"\r\n")
        for one, content in parts
    )
    head = fields_of(mail) + f'Content-Type: multipart/{kind}; boundary="x"\r\n\r\n'.encode()
    return head + body + b"--x--\r\n"


EMPTY_PAGE = b"<html><body><div><br></div>&nbsp;</body></html>"


def by_exchange(
    mail: bytes,
    text: bytes | None = b"",
    control: bytes = b"Version: 1\r\n",
    *,
    renamed: bool = False,
    kind: str = "plain",
) -> bytes:
    """As Microsoft Exchange leaves a multipart/encrypted behind."""
    name = "octet-stream; name=ATT00001" if renamed else "pgp-encrypted; name=version.txt"
    before = [] if text is None else [(f"text/{kind}; charset=us-ascii", text)]
    return of_parts(
        mail, "mixed", *before, (f"application/{name}", control),
        ("application/octet-stream; name=encrypted.asc", message_of(mail)),
    )  # fmt: skip


def by_google(mail: bytes, footer: bytes = b"\r\n-- \r\n\r\n") -> bytes:
    """With a footer, of which the address of the company is empty."""
    outer = parse(mail)
    entity = mail[mail.index(b"Content-Type: multipart/encrypted") :]
    assert outer.get_content_type() == "multipart/encrypted"
    text = (
        b"Content-Type: text/plain; charset=UTF-8\r\nContent-Disposition: inline\r\n\r\n" + footer
    )
    body = b"--z\r\n" + text + b"\r\n--z\r\n" + entity + b"\r\n--z--\r\n"
    return fields_of(mail) + b"Content-Type: multipart/mixed; boundary=z\r\n\r\n" + body


def by_webmail(mail: bytes, more: str = "") -> bytes:
    """An armored message as somebody put it into a page that writes hypertext."""
    message = message_of(mail).decode().replace("\r\n", "\n")
    lines = "".join(f"<div>{line or '<br>'}</div>" for line in (more + message).split("\n"))
    markup = f'<div dir="ltr">{lines}</div>'.encode()
    return of_parts(mail, "alternative", ("text/plain", message.encode()), ("text/html", markup))


def with_footer(ground: Ground, *, second: bool = False) -> bytes:
    """What Ana signed, with more beside it, encrypted as a whole by somebody on the way."""
    signed = ground.mail(form="6.1", encrypt=False, protected=False)
    entity = signed[signed.index(b"Content-Type: multipart/signed") :]
    parts = [entity, entity] if second else [entity]
    parts.append(b"Content-Type: text/plain\r\n\r\n" + FOOTER)
    body = b"".join(b"--y\r\n" + one + b"\r\n" for one in parts)
    mixed = b'Content-Type: multipart/mixed; boundary="y"\r\n\r\n' + body + b"--y--\r\n"
    message = ground.ana.program.encrypt(mixed, [ground.gateway.certificate(LIST)], False)
    return fields_of(signed) + encrypted_entity(message)


def test_who_is_judged_is_what_would_be_done(ground: Ground) -> None:
    assert ground.post(ground.mail()).startswith("250 ")
    assert ground.post(ground.mail(ground.stranger), ground.stranger).startswith("550 ")
    assert ground.post(ground.mail(encrypt=False)).startswith("523 ")
    assert ground.post(ground.mail(), to=f"nobody@{DOMAIN}").startswith("550 5.1.1")
    assert ground.post(ground.mail(headers={"Auto-Submitted": "auto-replied"})).startswith("250 ")
    assert ground.post(ground.mail(to=COMMANDS, text="help\n"), to=COMMANDS).startswith("250 ")
    assert ground.post(b"no mail at all").startswith("5")


def test_the_command_tells_who_signed_and_which_rule_decides_but_no_content(
    ground: Ground, tmp_path: Path
) -> None:
    file = tmp_path / "mail.eml"
    file.write_bytes(
        b"From somebody Mon Mar  2 09:00:00 2026\n" + ground.mail().replace(b"\r\n", b"\n")
    )
    shown = ground.gateway.environet("judge", str(file))
    assert f"Signed by {ground.ana.address}" in shown
    assert "accept by rule accept" in shown
    assert SECRET not in shown
    told = json.loads(ground.gateway.environet("judge", str(file), "--json"))
    assert told["taken"]
    assert told["signer"]["key"] == ground.ana.fingerprint
    file.write_bytes(ground.mail(ground.stranger))
    with pytest.raises(CommandFailed, match="no-good-signature") as failed:
        ground.gateway.environet("judge", str(file), "--to", LIST)
    assert failed.value.status == 3


MENDED = {
    "Exchange": by_exchange,
    "Exchange, with other names": partial(by_exchange, renamed=True),
    "Proton": partial(by_exchange, text=b"Empty Message"),
    "Google": by_google,
    "Exchange, without a text": partial(by_exchange, text=None),
    "with an empty page": partial(by_exchange, text=EMPTY_PAGE, kind="html"),
}


@pytest.mark.parametrize("how", MENDED.values(), ids=MENDED)
def test_a_frame_that_was_taken_apart_is_put_together_and_said_to_be(
    ground: Ground, how: Callable[[bytes], bytes]
) -> None:
    assert ground.post(how(ground.mail())).startswith("250 ")
    copy = ground.delivered()
    assert SECRET.encode() in copy
    assert b"a mail server had taken the frame of the mail apart" in copy


def test_an_armored_message_in_hypertext_is_taken_where_the_text_says_the_same(
    ground: Ground,
) -> None:
    mail = ground.mail(form="inline", subject="In a page", text="At dusk, by webmail.\n")
    message = parse(mail).get_payload(decode=True)
    assert isinstance(message, bytes)
    carrier = fields_of(mail) + encrypted_entity(message)
    assert ground.post(by_webmail(carrier)).startswith("250 ")
    assert b"At dusk, by webmail." in ground.delivered()


NOT_MENDED = {
    "text": partial(by_exchange, text=b"Clear text beside it.\r\n"),
    "a word in a picture": partial(by_exchange, text=b"<img alt='Trust this'>", kind="html"),
    "a word in a page": partial(by_exchange, text=EMPTY_PAGE.replace(b"<br>", b"x"), kind="html"),
    "control": partial(by_exchange, control=b"Version: 2\r\n"),
    "footer": partial(by_google, footer=b"-- \r\nTrust this.\r\n"),
    "hypertext": partial(by_webmail, more="Trust this.\n"),
}


@pytest.mark.parametrize("how", NOT_MENDED.values(), ids=NOT_MENDED)
def test_a_frame_with_anything_else_in_it_is_not(
    ground: Ground, how: Callable[[bytes], bytes]
) -> None:
    assert ground.post(how(ground.mail())).startswith("523 ")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n", b"\r\n--m--\r\n"),
    ],
    ids=["alone", "in a frame"],
)
@pytest.mark.parametrize("kind", ["text/plain", "application/pgp; format=text; x-action=encrypt"])
def test_an_armored_message_may_be_all_of_a_mail(
    ground: Ground, kind: str, before: bytes, after: bytes
) -> None:
    text = f"As {kind}, {len(before)}."
    certificates = [ground.gateway.certificate(LIST)]
    message = ground.ana.program.encrypt(f"{text}\n".encode(), certificates, True)
    entity = f"Content-Type: {kind}\r\n\r\n".encode() + message
    assert ground.post(fields_of(ground.mail()) + before + entity + after).startswith("250 ")
    assert text.encode() in ground.delivered()
    beside = b"\r\n--m\r\n\r\nTrust this.\r\n--m--\r\n"
    if before:
        assert ground.post(fields_of(ground.mail()) + before + entity + beside).startswith("523 ")


def test_an_encryption_without_its_protocol_is_told_by_its_control_part(ground: Ground) -> None:
    mail = re.sub(rb'; protocol="application/pgp-encrypted"', b"", ground.mail(text="Lost.\n"))
    assert b"protocol" not in mail
    assert ground.post(mail).startswith("250 ")


def test_what_is_signed_in_part_is_refused(ground: Ground) -> None:
    assert ground.post(with_footer(ground)).startswith("550 ")


def test_by_a_setting_the_signed_part_alone_is_passed_on(signed_part: Ground) -> None:
    assert signed_part.post(with_footer(signed_part)).startswith("250 ")
    copy = signed_part.delivered()
    assert b"At dawn." in copy
    assert FOOTER.strip() not in copy
    assert b"parts of the mail were not signed, and are left out" in copy


def test_nobody_says_which_of_two_signed_parts_is_the_mail(signed_part: Ground) -> None:
    assert signed_part.post(with_footer(signed_part, second=True)).startswith("550 ")


def test_what_stands_outside_otherwise_is_noted_and_does_not_count(ground: Ground) -> None:
    mail = ground.mail()
    forged = mail.replace(b"\r\nSubject: ...", b"\r\nSubject: All is well", 1)
    assert forged != mail
    assert ground.post(forged).startswith("250 ")
    copy = ground.delivered()
    assert b"other values stood outside for Subject" in copy
    assert SECRET.encode() in copy
    assert b"All is well" not in copy
    assert ground.post(ground.mail()).startswith("250 ")
    assert b"other values" not in ground.delivered()


WRITTEN = {
    "koi8-r": "Слоновая кость", "windows-1252": "Tusks – 84 “raw”", "gb18030": "象牙 八十四",
    "iso-2022-jp": "象牙です", "shift_jis": "象牙です", "iso-8859-2": "Kły słoniowe",
}  # fmt: skip


@pytest.mark.parametrize("where", ["armor", "field"])
@pytest.mark.parametrize("charset", WRITTEN)
def test_an_inline_text_is_read_in_the_charset_that_is_said(
    ground: Ground, charset: str, where: str
) -> None:
    text = f"{WRITTEN[charset]}, {where}\n"
    certificates = [ground.gateway.certificate(LIST)]
    message = ground.ana.program.encrypt(text.encode(charset), certificates, True)
    said = "us-ascii" if where == "armor" else charset
    if where == "armor":
        begin = b"-----BEGIN PGP MESSAGE-----\n"
        message = message.replace(begin, begin + f"Charset: {charset}\n".encode())
    kind = f"Content-Type: text/plain; charset={said}\r\n\r\n".encode()
    assert ground.post(fields_of(ground.mail()) + kind + message).startswith("250 ")
    assert text.strip() in ground.ana.read(ground.copy()).text


@pytest.mark.parametrize(
    "charset", ["iso-2022-jp", "utf-16", "hz", "cp037", "koi8*r", "x\r\nBcc: a@b", ""]
)
def test_what_is_said_of_a_charset_changes_no_utf_8(ground: Ground, charset: str) -> None:
    text = f"Слоновая ~{{ кость {len(charset)}\n"
    certificates = [ground.gateway.certificate(LIST)]
    message = ground.ana.program.encrypt(text.encode(), certificates, True)
    kind = "Content-Type: text/plain; charset*=utf-8''" + quote(charset) + "\r\n\r\n"
    assert ground.post(fields_of(ground.mail()) + kind.encode() + message).startswith("250 ")
    assert text.strip() in ground.ana.read(ground.copy()).text


def test_what_is_said_of_a_charset_changes_no_ascii(ground: Ground) -> None:
    certificates = [ground.gateway.certificate(LIST)]
    message = ground.ana.program.encrypt(b"caf\xe9 at dawn, EBCDIC\n", certificates, True)
    kind = b"Content-Type: text/plain; charset=cp037\r\n\r\n"
    assert ground.post(fields_of(ground.mail()) + kind + message).startswith("250 ")
    assert "caf\u00e9 at dawn" in ground.ana.read(ground.copy()).text


def test_a_text_that_was_signed_and_then_encrypted_is_taken(ground: Ground) -> None:
    """As Kleopatra's clipboard does it, and gpg --clear-sign | gpg --encrypt."""
    clear = ground.ana.program.sign("Vierzig Stück\n\nSeen at dawn.\n".encode(), "clear")
    message = ground.ana.program.encrypt(clear, [ground.gateway.certificate(LIST)], False)
    kind = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    assert ground.post(fields_of(ground.mail()) + kind + message).startswith("250 ")
    assert "Vierzig Stück\n\nSeen at dawn." in ground.ana.read(ground.copy()).text
    around = clear + b"and more\n"
    message = ground.ana.program.encrypt(around, [ground.gateway.certificate(LIST)], False)
    assert ground.post(fields_of(ground.mail()) + kind + message).startswith("550 ")


def resigned(ground: Ground, entity: bytes) -> bytes:
    """Ana's mail with an entity as it is inside, signed as a whole."""
    certificates = [ground.gateway.certificate(LIST)]
    message = ground.ana.program.encrypt(entity, certificates, True)
    return fields_of(ground.mail()) + encrypted_entity(message)


@pytest.mark.parametrize(
    "header", [b"", b"MIME-Version: 1.0\r\n", b"Content-Transfer-Encoding: 8bit\r\n"]
)
def test_what_says_nothing_of_its_type_is_text(ground: Ground, header: bytes) -> None:
    text = f"Seen {len(header)}.".encode()
    assert ground.post(resigned(ground, header + b"\r\n" + text + b"\r\n")).startswith("250 ")
    assert text in ground.delivered()


@pytest.mark.parametrize(
    "begin",
    [
        b"Seen: two crates\r\n", b"Seen two crates\r\n", b"From: x\r\n",
        b"From what I saw, two are NOT ours.\r\n", b": not ours\r\n",
        b"Content-wise: do NOT open them.\r\n", b"MIME-Version: 1.0\r\nContent-wise: no\r\n",
        b"Content-Description: do NOT open them.\r\n", b"MIME-Version: do NOT open them.\r\n",
        b" \r\nNot ours.\r\n", b"MIME-Version: 1.0\r\nNot ours.\r\n",
    ],
)  # fmt: skip
def test_text_in_the_place_of_a_header_is_not_dropped(ground: Ground, begin: bytes) -> None:
    assert ground.post(resigned(ground, begin + b"\r\nAt dawn.\r\n")).startswith("550 ")


def test_a_checksum_is_nobodys_concern(ground: Ground) -> None:
    mail = re.sub(rb"\r\n=[\w+/]{4}\r\n", b"\r\n=AAAA\r\n", ground.mail(text="Once.\n"))
    assert b"\r\n=AAAA\r\n" in mail
    assert ground.post(mail).startswith("250 ")


def test_what_is_alone_in_a_frame_is_all_of_it(ground: Ground) -> None:
    mail = ground.mail(text="In a frame.\n")
    entity = mail[mail.index(b"Content-Type: multipart/encrypted") :]
    body = b"--z\r\n" + entity + b"\r\n--z--\r\n"
    kind = b"Content-Type: multipart/mixed; boundary=z\r\n\r\n"
    assert ground.post(fields_of(mail) + kind + body).startswith("250 ")
    signed = ground.mail(form="6.1", encrypt=False, protected=False, text="In another.\n")
    entity = signed[signed.index(b"Content-Type: multipart/signed") :]
    inside = kind + b"--z\r\n" + entity + b"\r\n--z--\r\n"
    message = ground.ana.program.encrypt(inside, [ground.gateway.certificate(LIST)], False)
    assert ground.post(fields_of(signed) + encrypted_entity(message)).startswith("250 ")
    assert b"In another." in ground.delivered()


def test_a_server_that_calls_a_members_mail_bulk_loses_nothing(ground: Ground) -> None:
    before = held_or_kept(ground)
    bulk = {"Precedence": "bulk"}
    assert ground.post(ground.mail(text="Bulk.\n", headers=bulk)).startswith("250 ")
    assert held_or_kept(ground) == before + 1
    strangers = ground.mail(ground.stranger, headers=bulk)
    assert ground.post(strangers, ground.stranger).startswith("550 ")
    nobodys = ground.mail(ground.stranger, headers=bulk, form="plain")
    assert ground.post(nobodys, ground.stranger).startswith("250 ")
    assert held_or_kept(ground) == before + 1


def held_or_kept(ground: Ground) -> int:
    with opened(ground.gateway) as app, app.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Posting)) or 0


def test_who_is_named_and_did_not_sign_is_told_of(ground: Ground) -> None:
    with Officer.create("sequoia", "Bo Berg", "bo.berg@police.example") as bo:
        ground.gateway.add_member(bo)
    mail = ground.mail(text="From Bo?\n", protected=False)
    named = b"From: <Bo.Berg@police.example>"
    mail = mail.replace(b"From: Ana Lind <ana.lind@customs.example>", named)
    assert ground.post(mail).startswith("250 ")
    attestation = ground.ana.read(ground.copy()).text
    assert "Author:    Ana Lind" in attestation
    assert "From named another member, who did not sign it" in attestation
    assert ground.post(ground.mail(text="From Ana.\n", protected=False)).startswith("250 ")
    assert "From named" not in ground.ana.read(ground.copy()).text
    both = ground.mail(text="From both.\n", protected=False).replace(
        b"From: Ana Lind <ana.lind@customs.example>",
        b"From: Bo <bo.berg@police.example>, Ana Lind <ana.lind@customs.example>",
    )
    assert ground.post(both).startswith("250 ")
    assert "From named another member" in ground.ana.read(ground.copy()).text
