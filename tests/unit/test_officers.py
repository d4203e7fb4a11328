"""Officers' mails open and verify with the list's gpg, and officers read what a list would send."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pysequoia import Cert, Sig

from gateway.crypto.keyring import Keyring
from gateway.resources import gnupg_skeleton
from tests import officers, programs
from tests.officers import Officer, parse, signed_parts
from tests.unit.keyring_home import fingerprint

LIST = "wildlife@environet.example"
SUBJECT = "Ivory at Mombasa — 12 tusks"
TEXT = "Two containers, façade of timber.\nSee the list attached.  \n-- \nAna\n"
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def keyring() -> Iterator[Keyring]:
    with TemporaryDirectory(prefix="list") as folder:
        made = Keyring.create(Path(folder) / "gnupg", gnupg_skeleton())
        made.generate("ENVIRONET Wildlife", LIST)
        yield made
        made.close()


@pytest.fixture(scope="module")
def list_certificate(keyring: Keyring) -> bytes:
    return keyring.export(fingerprint(keyring))


@pytest.fixture(scope="module", params=["gpg", "sq", "rnp", "sequoia"])
def officer(request: pytest.FixtureRequest) -> Iterator[Officer]:
    with create(request.param) as made:
        yield made


def create(program: str, **options: object) -> Officer:
    try:
        return Officer.create(program, "Ana Lind", "ana.lind@customs.example", **options)  # type: ignore[arg-type]
    except officers.ProgramMissing as error:
        pytest.skip(str(error))


def opened(keyring: Keyring, mail: bytes) -> bytes:
    """What the list's gpg decrypts of a PGP/MIME mail, one layer in full."""
    parts = list(parse(mail).iter_parts())
    assert [part.get_content_type() for part in parts] == [
        "application/pgp-encrypted",
        "application/octet-stream",
    ]
    message = parts[1].get_payload(decode=True)
    assert isinstance(message, bytes)
    return keyring.unwrap(message, LIMIT)


def test_combined_message(officer: Officer, keyring: Keyring, list_certificate: bytes) -> None:
    mail = officer.write(
        to=[LIST],
        certificates=[list_certificate],
        subject=SUBJECT,
        text=TEXT,
        attachments=[("tusks.csv", "text/csv", b"tusk;kg\r\n1;12\r\n")],
    )
    outer = parse(mail)
    assert (outer["Subject"], outer["To"]) == ("...", LIST)
    signer, content = programs.verify_message(opened(keyring, mail), officer.certificate)
    assert signer == officer.fingerprint
    entity = parse(content)
    assert (entity["Subject"], entity["Message-ID"]) == (SUBJECT, outer["Message-ID"])
    assert entity.get_param("hp") == "cipher"
    assert "Subject: ..." in entity.get_all("HP-Outer", [])
    text, table = entity.iter_parts()
    assert text.get_content().splitlines() == TEXT.splitlines()
    assert table.get_filename() == "tusks.csv"


def test_signed_then_encrypted(officer: Officer, keyring: Keyring, list_certificate: bytes) -> None:
    mail = officer.write(
        to=[LIST], certificates=[list_certificate], subject=SUBJECT, text=TEXT, form="6.1"
    )
    signer, content = programs.verify_message(opened(keyring, mail), officer.certificate)
    assert signer is None
    assert programs.verify_detached(*signed_parts(content), officer.certificate) == (
        officer.fingerprint
    )


def test_signed_only(officer: Officer) -> None:
    mail = officer.write(to=[LIST], subject=SUBJECT, text=TEXT, form="signed")
    body, signature = signed_parts(mail)
    assert parse(mail)["Subject"] == SUBJECT
    assert parse(body).get_content().splitlines() == TEXT.splitlines()
    assert programs.verify_detached(body, signature, officer.certificate) == officer.fingerprint
    changed = body.replace(b"containers", b"container")
    assert programs.verify_detached(changed, signature, officer.certificate) is None


def test_inline(officer: Officer, keyring: Keyring, list_certificate: bytes) -> None:
    mail = officer.write(
        to=[LIST], certificates=[list_certificate], subject=SUBJECT, text=TEXT, form="inline"
    )
    message = parse(mail).get_payload(decode=True)
    assert isinstance(message, bytes)
    inside = keyring.unwrap(message, LIMIT)
    signer, text = programs.verify_message(inside, officer.certificate)
    assert signer == officer.fingerprint
    assert text.decode().splitlines() == TEXT.splitlines()


def test_inline_signed(officer: Officer) -> None:
    mail = officer.write(to=[LIST], subject=SUBJECT, text=TEXT, form="inline-signed")
    message = parse(mail).get_payload(decode=True)
    assert isinstance(message, bytes)
    assert message.startswith(b"-----BEGIN PGP SIGNED MESSAGE-----")
    signer, _ = programs.verify_message(message, officer.certificate)
    assert signer == officer.fingerprint


def test_plain_and_unsigned(officer: Officer, keyring: Keyring, list_certificate: bytes) -> None:
    plain = officer.write(to=[LIST], subject=SUBJECT, text=TEXT, form="plain")
    assert officer.read(plain).text == TEXT
    mail = officer.write(
        to=[LIST], certificates=[list_certificate], subject=SUBJECT, text=TEXT, sign=False
    )
    signer, content = programs.verify_message(opened(keyring, mail), officer.certificate)
    assert signer is None
    assert parse(content)["Subject"] == SUBJECT


def test_bare_line_feeds_are_signed_as_they_are(
    officer: Officer, keyring: Keyring, list_certificate: bytes
) -> None:
    mail = officer.write(
        to=[LIST], certificates=[list_certificate], subject=SUBJECT, text=TEXT, line_end="lf"
    )
    signer, content = programs.verify_message(opened(keyring, mail), officer.certificate)
    assert signer == officer.fingerprint
    assert b"\r" not in content


def test_officer_reads_a_delivered_copy(
    officer: Officer, keyring: Keyring, list_certificate: bytes
) -> None:
    with create("sequoia") as author, create("sequoia") as stranger:
        evidence = author.write(to=[LIST], subject=SUBJECT, text=TEXT, form="signed")
        entity = officers.compose_entity(
            "Author: Ana Lind\n",
            [
                ("tusks.csv", "text/csv", b"1;12\r\n"),
                ("original-signed.eml", "application/octet-stream", evidence),
            ],
        )
        signature, _ = keyring.sign(entity, fingerprint(keyring))
        # The list's certificate makes Sequoia write what RNP reads: version 1, no AEAD.
        sealed = author.program.encrypt(
            officers.signed_entity(entity, signature), [officer.certificate, list_certificate]
        )
        copy = b"From: list\r\nSubject: [Wildlife] ...\r\n" + officers.encrypted_entity(sealed)

        reading = officer.read(copy, list_certificate)
        assert reading.list_signature == fingerprint(keyring)
        assert len(reading.pkesk_key_ids) == 2
        assert reading.outer["Subject"] == "[Wildlife] ..."
        assert reading.text.splitlines() == ["Author: Ana Lind"]
        assert reading.attachments == {"tusks.csv": b"1;12\r\n"}
        assert reading.author(author.certificate) == author.fingerprint
        assert reading.author(stranger.certificate) is None
        assert officer.read(copy, stranger.certificate).list_signature is None
        with pytest.raises(officers.ProgramFailed):
            stranger.read(copy)


def test_evidence_as_an_openpgp_message(officer: Officer, list_certificate: bytes) -> None:
    evidence = officer.program.sign(b"text\n", "inline")
    mail = officer.write(
        to=[LIST],
        certificates=[officer.certificate],
        subject=SUBJECT,
        text=TEXT,
        sign=False,
        attachments=[("original-signed.pgp", "application/octet-stream", evidence)],
    )
    assert officer.read(mail).author(officer.certificate) == officer.fingerprint
    assert officer.read(mail).author(list_certificate) is None


def test_officer_reads_an_inline_mail(officer: Officer) -> None:
    mail = officer.write(
        to=[LIST],
        certificates=[officer.certificate],
        subject="B",
        text="Grüße\n",
        form="inline",
    )
    assert officer.read(mail).plain.decode().splitlines() == ["Grüße"]


@pytest.mark.parametrize("program", ["gpg", "sq", "rnp"])
def test_expired_key_and_faked_clock(program: str) -> None:
    now = datetime.now(UTC)
    created, expires = now - timedelta(days=400), now - timedelta(days=30)
    with create(program, created=created, expires=expires) as officer:
        certificate = Cert.from_bytes(officer.certificate)
        assert certificate.expiration is not None
        then = created + timedelta(days=10)
        mail = officer.write(to=[LIST], subject="A", text="x\n", form="signed", at=then)
        _, signature = signed_parts(mail)
        made = Sig.from_bytes(signature).created
        assert made is not None
        assert abs(made - then) < timedelta(seconds=2)
        assert abs(certificate.expiration - expires) < timedelta(days=1)


@pytest.mark.parametrize(
    ("program", "algorithm"),
    [
        ("gpg", "rsa3072"),
        ("gpg", "nistp256"),
        ("sq", "rsa3072"),
        ("rnp", "rsa3072"),
        ("rnp", "nistp256"),
        ("sequoia", "rsa3072"),
        ("sequoia", "nistp256"),
    ],
)
def test_algorithms(program: str, algorithm: str, list_certificate: bytes) -> None:
    with create(program, algorithm=algorithm) as officer:
        mail = officer.write(
            to=[LIST],
            certificates=[list_certificate, officer.certificate],
            subject=SUBJECT,
            text=TEXT,
        )
        reading = officer.read(mail)
        assert reading.text == TEXT
        assert len(reading.pkesk_key_ids) == 2


def test_what_a_program_cannot_do_is_said() -> None:
    with pytest.raises(officers.Unsupported):
        create("sq", algorithm="nistp256")
    with pytest.raises(officers.Unsupported):
        create("sequoia", created=datetime(2020, 1, 1, tzinfo=UTC))


def test_missing_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(officers.ProgramMissing):
        Officer.create("rnp", "Ana Lind", "ana.lind@customs.example")
