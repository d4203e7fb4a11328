"""What Thunderbird, NeoMutt and Mutt sent goes through, and is read by gpg, sq and RNP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree

import pytest

from tests import officers, programs
from tests.gateway import RunningGateway, short_place
from tests.interop import typing
from tests.officers import Officer, ProgramMissing, parse
from tests.programs import Gpg, KeyRequest

LIST = "wildlife@lists.example"
AUTHOR = "bo.berg@member.example"
SUBJECT = "[Wildlife] Seizure in Mombasa – ivory (Bo Berg, SE)"
SUBMISSIONS = {
    "thunderbird-153-to-list.eml": "original-signed.eml",
    # Signed over bare line feeds, which MIME's CRLF form would break.
    "neomutt-to-list.eml": "original-signed.pgp",
    "mutt-to-list.eml": "original-signed.pgp",
}
READERS = ("gpg", "sq", "rnp", "sequoia")


@pytest.fixture(scope="module")
def folder(corpora: Path) -> Path:
    found = corpora / "mail-programs"
    if not found.is_dir():
        pytest.skip(f"{found} is missing")
    return found


@pytest.fixture(scope="module")
def author(folder: Path) -> Iterator[Officer]:
    """The officer who wrote the submissions, with the key that signed them."""

    class GpgWithThatKey(Gpg):
        def _generate(self, request: KeyRequest) -> bytes:
            self._gpg("--import", data=(folder / "sub.sec.asc").read_bytes())
            return (folder / "sub.pub.asc").read_bytes()

    home = short_place("author")
    program = GpgWithThatKey(home, KeyRequest("Bo Berg"))
    with Officer("Bo Berg", AUTHOR, program, own_home=True) as officer:
        yield officer


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, Officer]]:
    with ExitStack() as stack:
        found = {}
        for name in READERS:
            try:
                made = Officer.create(name, f"Reader {name}", f"{name}@reader.example")
            except ProgramMissing:
                continue
            found[name] = stack.enter_context(made)
        yield found


@pytest.fixture(scope="module")
def gateway(folder: Path, author: Officer, readers: dict[str, Officer]) -> Iterator[RunningGateway]:
    """The gateway that the submissions were written to: it has the list's old key as well."""
    with RunningGateway(short_place("programs"), domain="lists.example") as made:
        made.found()
        old_key = (folder / "list.sec.asc").read_bytes()
        programs.gpg(made.state / "gnupg", "--import", data=old_key)
        made.environet("list", "set", "wildlife", "--signature-days", "36500")
        made.add_member(author, country="SE")
        for reader in readers.values():
            made.add_member(reader)
        made.start()
        yield made
        assert "Traceback" not in made.log_text


@pytest.fixture(scope="module")
def list_key(gateway: RunningGateway) -> tuple[str, bytes]:
    """The list's fingerprint and certificate."""
    (shown,) = (one for one in gateway.lists() if one["address"] == LIST)
    return shown["fingerprint"], gateway.certificate(LIST)


@pytest.fixture(scope="module", params=sorted(SUBMISSIONS))
def delivered(
    request: pytest.FixtureRequest,
    folder: Path,
    gateway: RunningGateway,
    author: Officer,
    readers: dict[str, Officer],
) -> tuple[str, dict[str, bytes]]:
    """(a submission's file name, reader -> their copy of it)."""
    mail = (folder / request.param).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert gateway.send(mail, AUTHOR, [LIST]) == (250, "2.0.0 Accepted")
    gateway.wait_until_delivered()
    everybody = {**readers, "author": author}
    return request.param, {
        name: gateway.copies(officer.address)[-1] for name, officer in everybody.items()
    }


@pytest.mark.parametrize("reader", [*READERS, "author"])
def test_a_real_programs_mail_is_read_by_every_program(
    delivered: tuple[str, dict[str, bytes]],
    reader: str,
    readers: dict[str, Officer],
    author: Officer,
    list_key: tuple[str, bytes],
) -> None:
    if reader != "author" and reader not in readers:
        pytest.skip(f"{reader} is not installed")
    name, copies = delivered
    officer = author if reader == "author" else readers[reader]
    fingerprint, certificate = list_key
    reading = officer.read(copies[reader], certificate)
    assert len(reading.pkesk_key_ids) == 1
    assert reading.list_signature == fingerprint
    assert reading.entity["Subject"] == SUBJECT
    assert "zwei Tonnen – Überprüfung läuft." in reading.text
    assert "Bo Berg <bo.berg@member.example>" in reading.text
    (attached,) = reading.attachments.values()
    # NeoMutt and Mutt write =0D before a line end that is LF to them and CRLF on the wire.
    attached = attached.replace(b"\r\r\n", b"\r\n")
    assert attached == "seal;container;count\r\nÄ-17;MSKU1234567;42\r\n".encode()
    assert reading.evidence_name == SUBMISSIONS[name]
    assert reading.author(author.certificate) == author.fingerprint
    outside = parse(copies[reader])
    for value in ("member.example", "Thunderbird", "Berg", "User-Agent"):
        assert value not in str(outside.items())


def test_the_evidence_is_what_the_program_had_signed(
    delivered: tuple[str, dict[str, bytes]], author: Officer, folder: Path
) -> None:
    name, copies = delivered
    reading = author.read(copies["author"])
    original = (folder / name.replace(".eml", ".decrypted")).read_bytes()
    assert reading.evidence is not None
    if SUBMISSIONS[name].endswith(".pgp"):
        assert programs.verify_message(reading.evidence, author.certificate)[1] == original
    else:
        assert original.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") in reading.evidence


@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_a_copy_is_opened_and_answered_in_mutt(
    program: str,
    delivered: tuple[str, dict[str, bytes]],
    gateway: RunningGateway,
    author: Officer,
    list_key: tuple[str, bytes],
) -> None:
    _, copies = delivered
    place = short_place("mutt")
    try:
        mutt = typing.Mutt(program, place, author, [list_key[1]])
        screen = mutt.read(copies["author"])
        answer = mutt.answer(copies["author"], "Seen at dusk – again.\n", opened=True)
    finally:
        rmtree(place)
    assert "Good signature from: " in screen
    assert "BAD" not in screen
    assert SUBJECT in screen
    assert "Author: Bo Berg <bo.berg@member.example>" in screen
    assert "zwei Tonnen – Überprüfung läuft." in screen
    assert "text/csv" in screen
    assert re.search(r"original-signed\.(eml|pgp)", screen)
    assert parse(answer)["To"].endswith(f"<{LIST}>")
    assert len(officers.readers(answer)) == 2  # the list, and the author's own copy
    assert gateway.send(answer, AUTHOR, [LIST]) == (250, "2.0.0 Accepted")
    gateway.wait_until_delivered()
    reading = author.read(gateway.copies(AUTHOR)[-1], list_key[1])
    assert reading.list_signature == list_key[0]
    assert reading.entity["Subject"] == SUBJECT.replace("] ", "] Re: ", 1)
    assert reading.entity["In-Reply-To"] == parse(copies["author"])["Message-ID"]
    assert "Seen at dusk – again." in reading.text
