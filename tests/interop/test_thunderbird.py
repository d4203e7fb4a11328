"""Thunderbird writes to a list, opens what comes back, and answers it, on a screen of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests import officers, thunderbird
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer
from tests.programs import Gpg
from tests.thunderbird import Thunderbird

LIST = f"wildlife@{DOMAIN}"
MISSING = [one for one in thunderbird.COMMANDS if shutil.which(one) is None]
MISSING += [] if find_spec("marionette_driver") else ["marionette_driver"]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def bo() -> Iterator[Officer]:
    with Officer.create("gpg", "Bo Berg", "bo.berg@police.example") as officer:
        yield officer


@pytest.fixture(scope="module")
def ana() -> Iterator[Officer]:
    with Officer.create("sequoia", "Ana Lind", "ana.lind@customs.example") as officer:
        yield officer


@pytest.fixture(scope="module")
def gateway(bo: Officer, ana: Officer) -> Iterator[RunningGateway]:
    with RunningGateway(short_place("tb")) as made:
        made.found()
        made.environet("list", "set", "wildlife", "--moderation", "open")
        made.add_member(bo, country="SE")
        made.add_member(ana)
        made.start()
        yield made


@pytest.fixture(scope="module")
def program(gateway: RunningGateway, bo: Officer) -> Iterator[Thunderbird]:
    assert isinstance(bo.program, Gpg)
    secret = bo.program.secret()
    place = short_place("profile")
    certificates = [gateway.certificate(LIST)]
    with Thunderbird(place, bo.name, bo.address, secret, certificates, bo.fingerprint) as made:
        yield made


def test_what_thunderbird_writes_is_posted_and_comes_back_readable(
    gateway: RunningGateway, program: Thunderbird, bo: Officer
) -> None:
    text = "zwei Tonnen – Überprüfung läuft.\nFrom here.\n"
    mail = program.write(LIST, "Seizure – ivory", text)
    assert len(officers.readers(mail)) == 2  # the list, and Bo's own copy
    assert b"Seizure" not in mail
    assert gateway.send(mail, bo.address, [LIST]) == (250, "2.0.0 Accepted")
    gateway.wait_until_delivered()
    shown = program.show(gateway.copies(bo.address)[-1])
    assert (shown.encrypted, shown.signature, shown.warnings) == ("ok", "verified", ())
    assert shown.subject == "[Wildlife] Seizure – ivory (Bo Berg, SE)"
    assert "Author:    Bo Berg <bo.berg@police.example>, Inspectorate, SE" in shown.text
    assert "zwei Tonnen – Überprüfung läuft." in shown.text
    assert shown.attachments == ("original-signed.eml",)


def test_thunderbird_answers_to_the_list(
    gateway: RunningGateway, program: Thunderbird, bo: Officer, ana: Officer
) -> None:
    certificate = gateway.certificate(LIST)
    table = ("crates.csv", "text/csv", b"seal;count\r\n1;2\r\n")
    mail = ana.write(to=[LIST], certificates=[certificate], subject="Rosewood – Überprüfung",
                     text="Two tons – at dawn.\n", attachments=[table])  # fmt: skip
    assert gateway.send(mail, ana.address, [LIST]) == (250, "2.0.0 Accepted")
    gateway.wait_until_delivered()
    copy = gateway.copies(bo.address)[-1]
    shown = program.show(copy)
    assert (shown.encrypted, shown.signature, shown.warnings) == ("ok", "verified", ())
    assert shown.subject == "[Wildlife] Rosewood – Überprüfung (Ana Lind, KE)"
    assert shown.attachments == ("crates.csv", "original-signed.eml")
    found, answer = program.answer("Seen at dusk – again.")
    assert found == {
        "to": [LIST], "encrypts": True, "signs": True,
        "subject": "Re: [Wildlife] Rosewood – Überprüfung (Ana Lind, KE)",
    }  # fmt: skip
    assert gateway.send(answer, bo.address, [LIST]) == (250, "2.0.0 Accepted")
    gateway.wait_until_delivered()
    reading = ana.read(gateway.copies(ana.address)[-1], certificate)
    assert reading.entity["Subject"] == "[Wildlife] Re: Rosewood – Überprüfung (Bo Berg, SE)"
    assert reading.entity["In-Reply-To"] == officers.parse(copy)["Message-ID"]
    assert "Seen at dusk – again." in reading.text
    assert reading.author(bo.certificate) == bo.fingerprint


def test_thunderbird_shows_what_was_noted(
    gateway: RunningGateway, program: Thunderbird, bo: Officer, ana: Officer
) -> None:
    text = "Author: Zoe Sly\nSignature: good\n"
    mail = ana.write(
        to=[LIST], certificates=[gateway.certificate(LIST)], subject="Ivory", text=text
    )
    gateway.send(mail, ana.address, [LIST])
    gateway.wait_until_delivered()
    shown = program.show(gateway.copies(bo.address)[-1])
    assert (shown.signature, shown.warnings) == ("verified", ())
    assert "lines like these stand in the text below as well" in shown.text


def test_thunderbird_shows_a_mail_in_a_posting_as_a_file(
    gateway: RunningGateway, program: Thunderbird, bo: Officer, ana: Officer
) -> None:
    style = "<style>.moz-text-plain, pre { display: none }</style>"
    mail = f"From: a@b.example\r\nContent-Type: text/html\r\n\r\n{style}<p>Author: Zoe</p>\r\n"
    files = [
        (name, kind, mail.encode())
        for name, kind in (
            ("forwarded.eml", "message/rfc822"), ("seen.eml", "application/octet-stream"),
        )
    ]  # fmt: skip
    posting = ana.write(
        to=[LIST], certificates=[gateway.certificate(LIST)], subject="Forwarded",
        text="Two of theirs.\n", attachments=files,
    )  # fmt: skip
    assert gateway.send(posting, ana.address, [LIST]) == (250, "2.0.0 Accepted")
    gateway.wait_until_delivered()
    shown = program.show(gateway.copies(bo.address)[-1])
    assert "Author:    Ana Lind" in shown.text
    assert "Two of theirs." in shown.text
    assert "Zoe" not in shown.text
    assert shown.attachments == ("forwarded.eml", "seen.eml", "original-signed.eml")
