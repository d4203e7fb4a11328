"""What `environet judge` says of a mail is what becomes of it, and nothing comes of its saying so;
and mails that came apart on their way."""

from __future__ import annotations

import json
from base64 import encodebytes
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import DOMAIN, CommandFailed
from tests.officers import encrypted_entity, parse
from tests.scenarios.judged import (
    COMMANDS,
    LIST,
    SECRET,
    Ground,
    fields_of,
    founded,
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


def taken_apart(mail: bytes, text: bytes = b"", control: bytes = b"Version: 1\r\n") -> bytes:
    """As Microsoft Exchange leaves a multipart/encrypted behind."""
    outer = parse(mail)
    message = list(outer.iter_parts())[1].get_payload(decode=True)
    assert isinstance(message, bytes)
    parts = (
        ("text/plain; charset=us-ascii", text),
        ("application/pgp-encrypted; name=version.txt", control),
        ("application/octet-stream; name=encrypted.asc", message),
    )
    body = b"".join(
        f"--x\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
        + encodebytes(content).replace(b"\n", b"\r\n")
        for kind, content in parts
    )
    return (
        fields_of(mail)
        + b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n'
        + body
        + b"--x--\r\n"
    )


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


def test_a_frame_that_was_taken_apart_is_put_together_and_said_to_be(ground: Ground) -> None:
    assert ground.post(taken_apart(ground.mail())).startswith("250 ")
    copy = ground.delivered()
    assert SECRET.encode() in copy
    assert b"a mail server had taken the frame of the mail apart" in copy


@pytest.mark.parametrize(
    "how", [{"text": b"Clear text beside it.\r\n"}, {"control": b"Version: 2\r\n"}]
)
def test_a_frame_with_anything_else_in_it_is_not(ground: Ground, how: dict[str, bytes]) -> None:
    assert ground.post(taken_apart(ground.mail(), **how)).startswith("523 ")


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
