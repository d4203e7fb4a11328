"""Attacks by who carries a mail, holds a signed object, or is a member: each was done once.

The doors are left out: mails go to `dispatch.submit` of a real App, with real signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from gateway import dispatch
from gateway.app import App, open_app
from gateway.delivery.writing import posting_letter
from gateway.message.envelope import Envelope
from gateway.posting.opening import inflation_limit
from gateway.store import mailing_list
from gateway.store.outbox import OutboxEntry
from gateway.store.posting import Posting
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer, encrypted_entity, header_lines, signed_entity

WILDLIFE, GENERAL, CORAL = (f"{one}@{DOMAIN}" for one in ("wildlife", "general", "op-coral"))


@dataclass
class Place:
    """A gateway with two members; Ana is on a list by invitation, Eve is not."""

    gateway: RunningGateway
    app: App
    ana: Officer
    eve: Officer
    keys: dict[str, bytes]

    def submit(self, mail: bytes, *to: str) -> list[str]:
        envelope = Envelope("carrier@elsewhere.example", to, mail, "127.0.0.1", self.app.clock())
        limit = inflation_limit(self.app.config)
        replies = dispatch.submit(self.app, envelope, limit) or ()
        return [f"{one.code} {one.status}" for one in replies]

    def write(self, to: Sequence[str], subject: str = "Ivory", **how: object) -> bytes:
        keys = [self.keys[one] for one in to]
        text = str(how.pop("text", "Two containers.\n"))
        return self.ana.write(to=to, certificates=keys, subject=subject, text=text, **how)  # type: ignore[arg-type]

    def encrypted(self, message: bytes, to: str) -> bytes:
        """Somebody encrypts what Ana signed, to a list."""
        made = self.eve.program.encrypt(message, [self.keys[to]])
        return header_lines({"From": "x@x.example", "To": to}) + encrypted_entity(made)

    def postings(self) -> int:
        with self.app.database.reading() as session:
            return session.query(Posting).count()

    def notices(self) -> int:
        with self.app.database.reading() as session:
            return session.query(OutboxEntry).where(OutboxEntry.notice_id.is_not(None)).count()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with (
        RunningGateway(short_place("attack")) as gateway,
        Officer.create("gpg", "Ana Lind", "ana@customs.example") as ana,
        Officer.create("gpg", "Eve Moss", "eve@police.example") as eve,
    ):
        gateway.found()
        gateway.add_member(ana)
        gateway.add_member(eve)
        gateway.environet("list", "add", "op-coral", "--letter", "OPC", "--title", "Coral",
                          "--invite", ana.address)  # fmt: skip
        app = open_app(gateway.state)
        keys = {one: gateway.certificate(one) for one in (WILDLIFE, GENERAL, CORAL)}
        yield Place(gateway, app, ana, eve, keys)
        app.close()


def test_a_carrier_can_not_swallow_a_mail_by_its_message_id(place: Place) -> None:
    before = place.postings()
    for text in ("The first.\n", "The second.\n"):
        mail = place.write([WILDLIFE], text=text, protected=False, message_id="<1@x.example>")
        assert place.submit(mail, WILDLIFE) == ["250 2.0.0"]
    assert place.postings() == before + 2


def test_a_carrier_can_not_have_a_closed_lists_posting_sent_for_another(place: Place) -> None:
    secret = place.write([CORAL], "Secret", message_id="<2@x.example>")
    assert place.submit(secret, CORAL) == ["250 2.0.0"]
    before = place.postings()
    harmless = place.write(
        [WILDLIFE], text="Harmless.\n", protected=False, message_id="<2@x.example>"
    )
    assert place.submit(harmless, WILDLIFE) == ["250 2.0.0"]
    assert place.postings() == before + 1


def test_a_carrier_can_not_turn_a_mail_to_another_list(place: Place) -> None:
    mail = place.write([CORAL], text="For this list alone.\n", protected=False)
    assert place.submit(mail, GENERAL) == ["550 5.7.1"]
    assert place.submit(mail, CORAL) == ["250 2.0.0"]


def test_a_mime_entity_is_not_shown_as_text_without_its_protected_headers(place: Place) -> None:
    entity = (
        b'Content-Type: text/plain; hp="cipher"\r\nTo: eve@police.example\r\n'
        b"Subject: I resign\r\n\r\nGoodbye.\r\n"
    )
    signed = place.ana.program.sign(entity, "inline")
    made = place.eve.program.encrypt(signed, [place.keys[WILDLIFE]])
    inline = header_lines({"From": "x@x.example", "To": WILDLIFE}) + b"\r\n" + made
    for form in ("inline", "clear"):
        clear = place.ana.program.sign(entity.replace(b"\r\n", b"\n"), "clear")
        body = b"Content-Type: text/plain\r\n\r\n" + clear
        mail = inline if form == "inline" else place.encrypted(body, WILDLIFE)
        assert place.submit(mail, WILDLIFE) == ["550 5.7.1"]


def test_signed_text_is_not_shown_as_mime_without_its_first_paragraph(place: Place) -> None:
    text = b"To be clear: I refuse.\r\n\r\nThe desk may release the suspects.\r\n"
    entity = signed_entity(text, place.ana.program.sign(text))
    assert place.submit(place.encrypted(entity, WILDLIFE), WILDLIFE) == ["550 5.7.1"]


def test_a_bare_cr_does_not_hide_what_a_text_signature_covers(place: Place) -> None:
    text = b"Content-Type: text/plain\r\n\r\nI do NOT agree:\r\n\r\nRelease them.\r\n"
    gpg = place.ana.program
    signature = gpg._gpg("--textmode", "--armor", "--detach-sign", data=text)  # type: ignore[attr-defined]
    good = place.encrypted(signed_entity(text, signature), WILDLIFE)
    assert place.submit(good, WILDLIFE) == ["250 2.0.0"]
    altered = text.replace(b"agree:\r\n\r\n", b"agree:\r\r")
    bad = place.encrypted(signed_entity(altered, signature), WILDLIFE)
    assert place.submit(bad, WILDLIFE) == ["550 5.7.1"]


def test_one_captured_mail_does_not_fill_its_authors_mailbox(place: Place) -> None:
    mail = place.write([WILDLIFE])
    assert place.submit(mail, WILDLIFE, GENERAL) == ["250 2.0.0", "550 5.7.1"]
    before = place.notices()
    for _ in range(3):
        place.submit(mail, WILDLIFE, GENERAL)
    assert place.notices() == before


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Type: application/pdf; name*=''%E4.pdf; hp=\"cipher\"\r\n",
        b"Content-Type: application/pdf; name*=bogus''x\r\n",
        b'Content-Type: text/plain; charset="x\x00y"\r\n',
        b'Content-Type: text/plain; protected-headers="v1"\r\nSubject: '
        + b"Ivory " * 20
        + b"\x0cEvil: x\r\n",
    ],
)
def test_what_is_accepted_can_be_written(place: Place, fields: bytes) -> None:
    """A mail that is answered 250 and makes the writer of copies fail would reach nobody."""
    entity = fields + b"\r\nbody\r\n"
    message = place.ana.program.encrypt(entity, [place.keys[WILDLIFE]], sign=True)
    outside = {"From": "x@x.example", "To": WILDLIFE, "Subject": "..."}
    mail = header_lines(outside) + encrypted_entity(message)
    before = place.postings()
    answer = place.submit(mail, WILDLIFE)
    assert (answer, place.postings()) in ((["250 2.0.0"], before + 1), (["550 5.7.1"], before))
    with place.app.database.reading() as session:
        posting = session.query(Posting).order_by(Posting.id.desc()).first()
        assert posting is not None
        on = mailing_list.get(session, "wildlife")
        letter = posting_letter(session, place.app, posting, on, place.app.clock())
    assert b"\nEvil:" not in letter.entity


@pytest.mark.parametrize(
    "fields",
    [
        b"To: " + b"(" * 600,
        b"Content-Type: multipart/encrypted; p*=x; p*0=y",
        b"Content-Type: text/plain; a*9=x; a*=y",
        b'Content-Type: multipart/mixed; a="' + b";" * 240_000 + b'"',
        b"X: y\r\n" * 5000,
    ],
)
@pytest.mark.timeout(20)
def test_a_hostile_header_is_the_senders_fault_and_costs_little(
    place: Place, fields: bytes
) -> None:
    """Refused for good: 451 would bring it back for days."""
    mail = b"From: x@x.example\r\n" + fields + b"\r\n\r\nHello\r\n"
    assert place.submit(mail, WILDLIFE)[0] in ("550 5.6.0", "550 5.7.1", "523 5.7.10")
