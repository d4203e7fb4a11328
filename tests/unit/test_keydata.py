"""Certificates found in mails: attached, pasted, in Autocrypt fields; and what is left alone."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from email.message import EmailMessage

import pysequoia
import pytest

from gateway.errors import TooLarge
from gateway.message.armor import armor
from gateway.message.entity import Entity, read
from gateway.message.keydata import MOST_CERTIFICATES, offered
from gateway.message.packet import PUBLIC_KEY, SECRET_KEY, USER_ID, frame
from tests.officers import compose_entity

ADDRESS = "ana@customs.example"


def key(name: str = "ana") -> pysequoia.Tsk:
    return pysequoia.Tsk.generate(
        f"{name} <{name}@customs.example>", profile=pysequoia.Profile.RFC4880
    )


ANA, BEN = key(), key("ben")
CERTIFICATE = bytes(ANA.extract_certificate())
OTHER = bytes(BEN.extract_certificate())


def block(data: bytes = CERTIFICATE, line_end: bytes = b"\r\n") -> bytes:
    return armor(data, "PUBLIC KEY BLOCK", line_end)


def with_files(*files: tuple[str, str, bytes], text: str = "Here it is.\n") -> Entity:
    """files: (name, type, content)"""
    return read(compose_entity(text, files))


def with_text(text: bytes, encoding: str = "8bit") -> Entity:
    head = f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return read(head.encode() + b"\r\n" + text)


def with_fields(*fields: tuple[str, str], hp: str = "") -> Entity:
    type_ = f"text/plain; charset=utf-8{hp}"
    lines = [f"{name}: {value}\r\n" for name, value in (*fields, ("Content-Type", type_))]
    return read("".join(lines).encode() + b"\r\nHello\r\n")


def autocrypt(data: bytes = CERTIFICATE, address: str = ADDRESS, extra: str = "") -> str:
    text = base64.b64encode(data).decode()
    folded = "\r\n ".join(text[at : at + 70] for at in range(0, len(text), 70))
    return f"addr={address}; {extra}keydata=\r\n {folded}"


NOTHING = read(b"From: ana@customs.example\r\nContent-Type: text/plain\r\n\r\nHello\r\n")
FROM = ("From", f"Ana Lind <{ADDRESS}>")


# Attached


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("OpenPGP_0x1234.asc", "application/pgp-keys"),
        ("unnamed", "application/pgp-keys"),
        ("ana.asc", "text/plain"),
        ("ana.asc", "application/octet-stream"),
        ("Ana.ASC", "application/pgp-signature"),
        ("ana.key", "application/octet-stream"),
        ("ana.gpg", "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("data", [block(), block(line_end=b"\n"), CERTIFICATE])
def test_an_attached_certificate_is_found(name: str, type_: str, data: bytes) -> None:
    assert offered(NOTHING, with_files((name, type_, data))) == (CERTIFICATE,)


def test_a_file_of_another_name_is_left_alone() -> None:
    assert offered(NOTHING, with_files(("ana.txt", "application/octet-stream", block()))) == ()
    assert offered(NOTHING, with_files(("ana.bin", "application/octet-stream", CERTIFICATE))) == ()


@pytest.mark.parametrize("charset", ["utf-16", "utf-8-sig"])
def test_a_block_that_windows_redirected_into_a_file_is_found(charset: str) -> None:
    data = block().decode().encode(charset)
    files = ("ana.asc", "application/octet-stream", data)
    assert offered(NOTHING, with_files(files)) == (CERTIFICATE,)


def test_several_blocks_and_several_certificates_in_one_are_taken_apart() -> None:
    two_blocks = block() + b"and another\r\n" + block(OTHER)
    for data in (two_blocks, block(CERTIFICATE + OTHER), CERTIFICATE + OTHER):
        files = ("keys.asc", "application/pgp-keys", data)
        assert offered(NOTHING, with_files(files)) == (CERTIFICATE, OTHER)


def test_a_certificate_is_offered_once() -> None:
    files = ("ana.asc", "text/plain", block())
    payload = with_files(files, files, text=block().decode())
    assert offered(with_fields(FROM, ("Autocrypt", autocrypt())), payload) == (CERTIFICATE,)


def test_a_broken_block_is_offered_as_it_is() -> None:
    broken = block().replace(b"\r\n\r\n", b"\r\n\r\n?", 1).rstrip()
    (found,) = offered(NOTHING, with_files(("ana.asc", "application/pgp-keys", broken)))
    assert found == broken


def test_a_revocation_alone_is_offered() -> None:
    cert = ANA.extract_certificate()
    revocation = bytes(cert.revoke(ANA.certifier()))
    files = ("revocation.asc", "application/pgp-keys", block(revocation))
    assert offered(NOTHING, with_files(files)) == (revocation,)


@pytest.mark.parametrize(
    "data",
    [
        str(ANA).encode(),
        bytes(ANA),
        armor(bytes(ANA), "PUBLIC KEY BLOCK"),
        armor(CERTIFICATE + bytes(ANA), "PUBLIC KEY BLOCK"),
        CERTIFICATE + bytes(ANA),
        frame(PUBLIC_KEY, b"x") + frame(SECRET_KEY, b"x"),
    ],
)
def test_a_secret_key_is_never_offered(data: bytes) -> None:
    assert offered(NOTHING, with_files(("ana.asc", "application/pgp-keys", data))) == ()
    assert offered(NOTHING, with_text(data)) == ()


def test_other_openpgp_files_are_left_alone() -> None:
    message = pysequoia.encrypt(b"x", [ANA.extract_certificate()])
    signature = pysequoia.sign(ANA.signer(), b"x", mode=pysequoia.SignatureMode.DETACHED)
    binary = pysequoia.encrypt(b"x", [ANA.extract_certificate()], armor=False)
    for data in (message, signature, binary):
        assert offered(NOTHING, with_files(("one.asc", "application/pgp-keys", data))) == ()


# Pasted


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_a_pasted_block_is_found(encoding: str) -> None:
    text = b"My new key:\r\n" + block() + b"\r\nRegards\r\n"
    if encoding == "base64":
        text = base64.encodebytes(text)
    elif encoding == "quoted-printable":
        text = text.replace(b"=", b"=3D").replace(b"new key", b"new=\r\n key")
    assert offered(NOTHING, with_text(text, encoding)) == (CERTIFICATE,)


def test_a_quoted_block_is_left_alone() -> None:
    quoted = b"> " + block().replace(b"\n", b"\n> ")
    assert offered(NOTHING, with_text(quoted)) == ()
    assert offered(NOTHING, with_text(quoted + b"\r\n" + block(OTHER))) == (OTHER,)


def test_a_block_without_its_end_hides_no_other() -> None:
    cut = block()[:200]
    assert offered(NOTHING, with_text(cut + b"\r\n" + block(OTHER))) == (OTHER,)
    assert offered(NOTHING, with_text(block(OTHER) + cut)) == (OTHER,)
    assert offered(NOTHING, with_text(b"-----END PGP PUBLIC KEY BLOCK-----\n" + cut)) == ()


def test_what_is_not_signed_is_not_searched() -> None:
    assert offered(with_text(block()), with_text(b"Hello\r\n")) == ()
    assert offered(with_text(block()), None) == (CERTIFICATE,)


def test_html_and_forwarded_mails_are_left_alone() -> None:
    html = read(b"Content-Type: text/html\r\n\r\n" + block())
    assert offered(NOTHING, html) == ()
    forwarded = EmailMessage()
    forwarded.set_content(block().decode())
    mail = EmailMessage()
    mail.set_content("See below.")
    mail.add_attachment(forwarded, filename="ana.asc")
    assert offered(NOTHING, read(mail.as_bytes().replace(b"\n", b"\r\n"))) == ()


# Autocrypt


def test_an_autocrypt_field_is_read() -> None:
    mail = with_fields(FROM, ("Autocrypt", autocrypt()))
    assert offered(mail, None) == (CERTIFICATE,)
    assert offered(mail, with_text(b"Hello\r\n")) == (CERTIFICATE,)


@pytest.mark.parametrize(
    ("extra", "counts"),
    [
        ("prefer-encrypt=mutual; ", True),
        ("prefer-encrypt=whatever; ", True),
        ("_new=1; _other; ", True),
        ("new=1; ", False),
        ("type=1; ", False),
        (f"addr={ADDRESS}; ", False),
        ("keydata=; ", False),
    ],
)
def test_critical_attributes_make_the_field_invalid(extra: str, counts: bool) -> None:
    mail = with_fields(FROM, ("Autocrypt", autocrypt(extra=extra)))
    assert bool(offered(mail, None)) is counts


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"addr={ADDRESS}",
        f"keydata={base64.b64encode(CERTIFICATE).decode()}",
        autocrypt() + "; prefer-encrypt=mutual",
        autocrypt(address="ben@customs.example"),
        autocrypt() + "!",
        autocrypt(b"no certificate"),
        autocrypt(block()),
        autocrypt(bytes(ANA)),
        autocrypt(CERTIFICATE + frame(USER_ID, bytes(10_000))),
        "addr=\u00e9; keydata=\u00e9",
    ],
)
def test_an_invalid_autocrypt_field_is_ignored(value: str) -> None:
    assert offered(with_fields(FROM, ("Autocrypt", value)), None) == ()


def test_of_several_valid_autocrypt_fields_none_counts() -> None:
    mine, same, bens = autocrypt(), autocrypt(OTHER), autocrypt(OTHER, "ben@customs.example")
    both = with_fields(FROM, ("Autocrypt", mine), ("Autocrypt", same))
    assert offered(both, None) == ()
    newer = with_fields(FROM, ("Autocrypt", mine), ("Autocrypt", autocrypt(OTHER, extra="v=2; ")))
    assert offered(newer, None) == (CERTIFICATE,)
    others = with_fields(FROM, ("Autocrypt", bens), ("Autocrypt", mine))
    assert offered(others, None) == (CERTIFICATE,)


def test_the_address_is_compared_as_addresses_are() -> None:
    mail = with_fields(FROM, ("Autocrypt", autocrypt(address="Ana@Customs.Example")))
    assert offered(mail, None) == (CERTIFICATE,)


@pytest.mark.parametrize("sender", ["", "nobody", f"{ADDRESS}, ben@customs.example"])
def test_autocrypt_is_for_a_single_author(sender: str) -> None:
    assert offered(with_fields(("From", sender), ("Autocrypt", autocrypt())), None) == ()


def test_a_protected_autocrypt_field_is_preferred() -> None:
    outside = with_fields(FROM, ("Autocrypt", autocrypt(OTHER)))
    inside = [FROM, ("Autocrypt", autocrypt())]
    assert offered(outside, with_fields(*inside, hp='; hp="cipher"')) == (CERTIFICATE,)
    assert offered(outside, with_fields(*inside, hp="; protected-headers=v1")) == (CERTIFICATE,)
    assert offered(outside, with_fields(*inside)) == (OTHER,)
    assert offered(outside, with_fields(FROM, hp='; hp="cipher"')) == (OTHER,)
    without_from = with_fields(("Autocrypt", autocrypt()), hp='; hp="cipher"')
    assert offered(outside, without_from) == (CERTIFICATE,)


def test_gossip_is_left_alone() -> None:
    assert offered(with_fields(FROM, ("Autocrypt-Gossip", autocrypt())), None) == ()


# Order and bounds


def distinct(count: int) -> list[bytes]:
    """Certificates to the eye of this module."""
    return [frame(PUBLIC_KEY, b"x") + frame(USER_ID, b"%d" % number) for number in range(count)]


def test_attachments_come_before_text_and_text_before_autocrypt() -> None:
    first, second = distinct(2)
    payload = with_files(("a.asc", "application/pgp-keys", first), text=block(second).decode())
    mail = with_fields(FROM, ("Autocrypt", autocrypt()))
    assert offered(mail, payload) == (first, second, CERTIFICATE)


def files_of(certificates: Sequence[bytes]) -> list[tuple[str, str, bytes]]:
    return [(f"{n}.gpg", "application/pgp-keys", one) for n, one in enumerate(certificates)]


def test_at_most_ten_are_offered() -> None:
    many = distinct(MOST_CERTIFICATES + 5)
    for payload in (
        with_files(*files_of(many)),
        with_files(*files_of([b"".join(many)])),
        with_files(*files_of([b"".join(block(one) for one in many)])),
    ):
        assert offered(NOTHING, payload) == tuple(many[:MOST_CERTIFICATES])


def test_one_of_more_than_a_megabyte_is_passed_over() -> None:
    large = frame(PUBLIC_KEY, b"x") + frame(USER_ID, bytes(1 << 20))
    payload = with_files(*files_of([large, CERTIFICATE]))
    assert offered(NOTHING, payload) == (CERTIFICATE,)
    huge = with_files(*files_of([frame(PUBLIC_KEY, b"x") + frame(USER_ID, bytes(3 << 20)), OTHER]))
    assert offered(NOTHING, huge) == (OTHER,)
    assert offered(NOTHING, with_text(b"x\r\n" * (1 << 20) + block())) == ()


def test_parts_that_can_not_be_decoded_are_passed_over() -> None:
    broken = with_files(("ana.asc", "application/pgp-keys", CERTIFICATE))
    data = broken.raw.replace(b"base64", b"rot13", 1)
    assert offered(NOTHING, read(data)) == ()


def test_nesting_without_end_is_refused() -> None:
    entity = b"Content-Type: text/plain\r\n\r\nx"
    for depth in range(30):
        mark = b"b%d" % depth
        entity = b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n%s\r\n--%s--\r\n" % (
            mark, mark, entity, mark,
        )  # fmt: skip
    with pytest.raises(TooLarge):
        offered(NOTHING, read(entity))


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n" * 80_000,
        b"-----END PGP PUBLIC KEY BLOCK-----\n" * 80_000,
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n-----END PGP PUBLIC KEY BLOCK-----\n" * 40_000,
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n" * 80_000 + b"-----END PGP PUBLIC KEY BLOCK-----",
        b">-----BEGIN PGP PUBLIC KEY BLOCK-----\n-----END PGP PUBLIC KEY BLOCK-----\n" * 40_000,
        block(b"\xc6\x00" * 500_000),
        b"addr=;" * 500_000,
    ],
)
def test_hostile_text_takes_no_time(text: bytes) -> None:
    mail = with_fields(FROM, *(("Autocrypt", "x=;" * 3000) for _ in range(20)))
    started = time.process_time()
    offered(mail, with_text(text))
    assert time.process_time() - started < 2
