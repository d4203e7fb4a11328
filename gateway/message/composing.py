"""MIME as the gateway writes it: text parts, multiparts and their boundaries."""

from __future__ import annotations

import uuid
from base64 import encodebytes
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP

MAIL_AS_FILE = "application/vnd.environet.mail"
"""A mail that programs show as a file: as message/rfc822 most show it on the same page, and what is
application/octet-stream and named .eml KMail takes for that and shows nothing of it."""


def text_part(text: str) -> bytes:
    """A text/plain part in UTF-8, its body quoted-printable so that no line is too long."""
    part = EmailMessage(policy=SMTP)
    part.set_content(text, cte="quoted-printable")
    del part["MIME-Version"]
    # The last line keeps its own end: programs that show parts one after another don't join lines.
    return undotted(part.as_bytes().rstrip(b"\r\n") + b"\r\n")


def file_part(name: str, data: bytes) -> bytes:
    """A file as an attached part, base64. name: of letters that need no quoting."""
    kind = MAIL_AS_FILE if name.endswith(".eml") else "application/octet-stream"
    head = (
        f'Content-Type: {kind}; name="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
    )
    return head.encode() + encodebytes(data).replace(b"\n", b"\r\n").removesuffix(b"\r\n")


def undotted(quoted_printable: bytes) -> bytes:
    """The same with no line that begins with a dot: what is not encrypted needs no dot-stuffing
    then (RFC 5321 4.5.2)."""
    return quoted_printable.replace(b"\r\n.", b"\r\n=2E")


def multipart(head: bytes, boundary: str, parts: Sequence[bytes]) -> bytes:
    """A multipart (RFC 2046 5.1.1) under a head of whole lines, with a line end after its closing
    delimiter: notmuch calls a signature over one without it bad."""
    delimiter = b"--" + boundary.encode()
    pieces = [head, b"\r\n"]
    for part in parts:
        pieces += (delimiter, b"\r\n", part, b"\r\n")
    return b"".join((*pieces, delimiter, b"--\r\n"))  # at once: a part may have 50 MB


def new_boundary(parts: Sequence[bytes]) -> str:
    """One that stands in none of the parts."""
    while True:
        boundary = f"=_{uuid.uuid4().hex}"
        if not any(boundary.encode() in part for part in parts):
            return boundary
