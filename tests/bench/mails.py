"""What made-up officers send: a mail's text and attachments as a signed MIME entity."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pysequoia

ATTACHED = 0.12
"""Of postings have attachments. Guessed: officers send lists and pictures, kernel hackers don't."""
_PLAIN = "Content-Type: text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Said:
    """language: ISO 639-1 code. attached: file name -> text."""

    language: str
    subject: str
    text: str
    attached: dict[str, str]


def attached(chance: random.Random, number: int) -> dict[str, str]:
    """The attachments of a posting, mostly none."""
    if chance.random() >= ATTACHED:
        return {}
    return {
        f"manifest-{number}-{at}.csv": "".join(
            f"{line},{chance.randrange(10**6)},kg\r\n" for line in range(20)
        )
        for at in range(chance.randint(1, 3))
    }


def signed(signer: Any, sender: str, said: Said, message_id: str) -> bytes:
    """A multipart/signed entity (RFC 3156 5) whose header fields are protected (RFC 9788)."""
    header = f"From: {sender}\r\nSubject: {said.subject}\r\nMessage-ID: <{message_id}>\r\n"
    payload = (header + _content(said)).encode()
    block = bytes(pysequoia.sign(signer, payload, mode=pysequoia.SignatureMode.DETACHED))
    return (
        b'Content-Type: multipart/signed; micalg="pgp-sha512";\r\n'
        b' protocol="application/pgp-signature"; boundary="sig"\r\n\r\n--sig\r\n'
        + payload
        + b"\r\n--sig\r\nContent-Type: application/pgp-signature\r\n\r\n"
        + block.replace(b"\n", b"\r\n")
        + b"\r\n--sig--\r\n"
    )


def _content(said: Said) -> str:
    text = said.text.replace("\n", "\r\n") + "\r\n"
    if not said.attached:
        return f'{_PLAIN}; hp="clear"\r\n\r\n{text}'
    parts = [f"{_PLAIN}\r\n\r\n{text}"]
    for name, inside in said.attached.items():
        parts.append(
            f'Content-Type: text/csv; name="{name}"\r\n'
            f'Content-Disposition: attachment; filename="{name}"\r\n\r\n{inside}'
        )
    joined = "".join(f"--parts\r\n{one}\r\n" for one in parts)
    return (
        f'Content-Type: multipart/mixed; boundary="parts"; hp="clear"\r\n\r\n{joined}--parts--\r\n'
    )
