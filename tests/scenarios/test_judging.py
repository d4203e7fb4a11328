"""What `environet judge` says of a mail is what becomes of it, and nothing comes of its saying so;
and mails that came apart on their way."""

from __future__ import annotations

import asyncio
import json
from base64 import encodebytes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import dispatch, judging
from gateway.app import App, open_app
from gateway.delivery.worker import Worker
from gateway.message.envelope import Envelope
from gateway.store import ledger
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import Officer, encrypted_entity, header_lines, parse
from tests.scenarios.test_worker import Hand

LIST, COMMANDS = f"wildlife@{DOMAIN}", f"gateway@{DOMAIN}"
LIMIT = 1 << 26
SECRET = "Tusks on the MV Wanderer"
FOOTER = b"-- \r\nThis mail was scanned, and is as safe as can be.\r\n"


@dataclass(frozen=True, slots=True)
class Ground:
    gateway: RunningGateway
    ana: Officer
    stranger: Officer

    def mail(self, author: Officer | None = None, to: str = LIST, **how: object) -> bytes:
        return (author or self.ana).write(
            to=[to], certificates=[self.gateway.certificate(to)],
            **{"subject": SECRET, "text": "At dawn.\n", **how},  # type: ignore[arg-type]
        )  # fmt: skip

    def post(self, mail: bytes, author: Officer | None = None, to: str = LIST) -> str:
        """The reply; each is asked of the judge first, whose word holds."""
        with opened(self.gateway) as app:
            sender = (author or self.ana).address
            envelope = Envelope(sender, (to,), mail, "127.0.0.1", app.clock())
            before = totals(app)
            (destined,) = judging.judge(app, envelope).destined
            assert totals(app) == before
            (reply,) = dispatch.submit(app, envelope, LIMIT) or ()
        assert destined.reply == reply
        return str(reply)

    def delivered(self) -> bytes:
        """The last copy for Ana, opened."""
        with opened(self.gateway) as app:
            hand = Hand()
            asyncio.run(Worker(app, "w", hand).drain())
            copy = [b"".join(one.parts) for one in hand.seen if one.recipient == self.ana.address]
        return self.ana.read(copy[-1]).plain


@contextmanager
def opened(gateway: RunningGateway) -> Iterator[App]:
    app = open_app(gateway.state)
    try:
        yield app
    finally:
        app.close()


def totals(app: App) -> tuple[object, ...]:
    with app.database.reading() as session:
        head = ledger.head(session).sequence
        rows = [session.connection().exec_driver_sql(f"SELECT count(*) FROM {one}").scalar()
                for one in ("posting", "outbox", "hold", "seen", "member")]  # fmt: skip
        return (head, *rows)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with (
        RunningGateway(short_place("judge")) as gateway,
        Officer.create("sequoia", "Ana Lind", "ana.lind@customs.example") as ana,
        Officer.create("sequoia", "Eve Sly", "eve.sly@unknown.example") as stranger,
    ):
        gateway.found()
        gateway.add_member(ana)
        gateway.environet("list", "set", "wildlife", "--moderation", "open")
        yield Ground(gateway, ana, stranger)


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


def fields_of(mail: bytes) -> bytes:
    """The header lines of a mail, but those of MIME."""
    outer = parse(mail)
    names = ("From", "To", "Subject", "Date", "Message-ID")
    return header_lines({name: str(outer[name]) for name in names}) + b"MIME-Version: 1.0\r\n"


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
