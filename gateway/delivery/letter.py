"""What the gateway writes: the entity that a list signs once, and the header that stands outside.

The form is messages.md's, tried in real mail programs: a multipart/signed by the list inside the
encryption, with protected headers for programs old and new.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, formataddr

from gateway.message.composing import multipart, new_boundary
from gateway.message.entity import crlf, encoded_field

Sign = Callable[[bytes], tuple[bytes, str]]
"""Bytes -> (armored detached signature, micalg)."""

Field = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Letter:
    """Ready to be encrypted for anybody: header is all that is readable on the way, CRLF lines
    without the blank one; entity is the signed MIME entity. token names what it is of."""

    header: bytes
    entity: bytes
    token: str


def letter(
    token: str,
    outer: Sequence[Field],
    protected: Sequence[Field],
    parts: list[bytes],
    sign: Sign,
    *,
    encrypted: bool = True,
) -> Letter:
    """Put together and sign. `protected` are the fields that readers see; each field that stands
    outside as well is repeated there as HP-Outer, as it was sent (RFC 9788 2.2).

    encrypted: whether it will be; else its lines may not begin with a dot.
    """
    names = {name for name, _ in protected} if encrypted else set()
    copies = [("HP-Outer", f"{name}: {value}") for name, value in outer if name in names]
    boundary = new_boundary(parts)
    fields = b"".join(_field(name, value) for name, value in (*protected, *copies))
    level = "cipher" if encrypted else "clear"
    # RFC 9788 2.1.1 and, for Thunderbird and notmuch, the form before it.
    type_field = (
        f'Content-Type: multipart/mixed; boundary="{boundary}"; hp="{level}";\r\n'
        ' protected-headers="v1"\r\n'
    )
    signed = multipart(type_field.encode() + fields, boundary, parts)
    del parts  # as large as the posting, as is all that follows
    signature, micalg = sign(signed)
    signature_part = (
        b'Content-Type: application/pgp-signature; name="signature.asc"\r\n'
        b"Content-Description: OpenPGP digital signature\r\n\r\n" + crlf(signature).rstrip(b"\r\n")
    )
    outer_boundary = new_boundary([signed])
    # RFC 3156 5
    head = (
        f'Content-Type: multipart/signed; micalg="{micalg}";\r\n'
        f' protocol="application/pgp-signature"; boundary="{outer_boundary}"\r\n'
    )
    entity = multipart(head.encode(), outer_boundary, [signed, signature_part])
    return Letter(b"".join(_field(name, value) for name, value in outer), entity, token)


def mailbox(name: str, address: str) -> str:
    return formataddr((name, address), "utf-8")


def date(moment: datetime) -> str:
    return format_datetime(moment)


def autocrypt(address: str, certificate: bytes) -> Field:
    """Autocrypt 1.1, 2.1: the certificate that answers are to be encrypted to."""
    keydata = base64.b64encode(certificate).decode()
    folded = "".join(f"\r\n {keydata[at : at + 72]}" for at in range(0, len(keydata), 72))
    return "Autocrypt", f"addr={address}; prefer-encrypt=mutual; keydata={folded}"


def _field(name: str, value: str) -> bytes:
    if "\r\n " in value or value.isascii():  # folded or encoded by its maker
        return f"{name}: {value}\r\n".encode()
    return encoded_field(name, value)
