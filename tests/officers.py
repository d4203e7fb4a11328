"""Made-up officers who write submissions and read delivered copies with real OpenPGP programs.

For scenarios, interoperability tests and the demonstration; needs no pytest. Mails are whole
messages, bytes on the wire with CRLF line ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, make_msgid
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Self
from uuid import uuid4

from gateway.message.armor import armor, dearmor
from tests import programs
from tests.programs import How, KeyRequest, Program, ProgramFailed, ProgramMissing, Unsupported

__all__ = [
    "FORMS",
    "Attachment",
    "Officer",
    "ProgramFailed",
    "ProgramMissing",
    "Reading",
    "Unsupported",
]

Attachment = tuple[str, str, bytes]
FORMS = ("6.2", "6.1", "signed", "plain", "inline", "inline-signed")
_POLICY = SMTP.clone(cte_type="7bit")
_BEGIN = b"-----BEGIN PGP MESSAGE-----"


@dataclass(frozen=True, slots=True)
class Reading:
    """What an officer finds in a mail.

    outer: the mail as it travelled. entity: the content, out of encryption and signature.
    plain: the decrypted bytes of that content's container. list_signature: fingerprint of the
    list's key where gpg finds its signature good. evidence: the author's signed object, and its
    file name.
    """

    outer: EmailMessage
    entity: EmailMessage
    plain: bytes
    pkesk_key_ids: tuple[str, ...] = ()
    list_signature: str | None = None
    evidence_name: str | None = None
    evidence: bytes | None = None

    @property
    def text(self) -> str:
        """All text that a mail program shows, in order, with LF line ends."""
        return "".join(
            str(part.get_content()).replace("\r\n", "\n")
            for part in self.entity.walk()
            if part.get_content_type() == "text/plain" and part.get_filename() is None
        )

    @property
    def attachments(self) -> dict[str, bytes]:
        """File name -> content, of all but the evidence."""
        return {
            name: part.get_payload(decode=True) or b""  # type: ignore[misc]
            for part in self.entity.walk()
            if (name := part.get_filename()) is not None and name != self.evidence_name
        }

    @property
    def first_text(self) -> str:
        """The first text that a mail program shows, with LF line ends; "" where there is none."""
        for part in self.entity.walk():
            if part.get_content_type() == "text/plain" and part.get_filename() is None:
                return str(part.get_content()).replace("\r\n", "\n")
        return ""

    def author(self, certificate: bytes) -> str | None:
        """Fingerprint of the author where gpg finds the evidence good under their certificate."""
        if self.evidence is None:
            return None
        if (self.evidence_name or "").endswith(".pgp"):
            return programs.verify_message(self.evidence, certificate)[0]
        body, signature = signed_parts(self.evidence)
        return programs.verify_detached(body, signature, certificate)


class Officer:
    """A member with one key in one OpenPGP program ("gpg", "sq", "rnp" or "sequoia")."""

    def __init__(self, name: str, address: str, program: Program, *, own_home: bool) -> None:
        self.name = name
        self.address = address
        self.program = program
        self._own_home = own_home

    @classmethod
    def create(
        cls,
        program: str,
        name: str,
        address: str,
        home: Path | None = None,
        algorithm: str = "cv25519",
        *,
        created: datetime | None = None,
        expires: datetime | None = None,
    ) -> Self:
        """Make an officer and their key. created, expires: UTC; None is now, and never.

        home: where the program keeps the key, on a short path for gpg's sake; None is a directory
        of its own that close() removes. Raises ProgramMissing, and Unsupported where the program
        has no such algorithm or clock.
        """
        place = home or Path(mkdtemp(prefix="officer", dir="/tmp"))
        # A user ID is plain UTF-8 (RFC 9580 5.11), unlike a header field.
        request = KeyRequest(f"{name} <{address}>", algorithm, created, expires)
        try:
            started = programs.start(program, place, request)
        except Exception:
            if home is None:
                rmtree(place)
            raise
        return cls(name, address, started, own_home=home is None)

    @property
    def certificate(self) -> bytes:
        """Armored."""
        return self.program.certificate

    @property
    def fingerprint(self) -> str:
        """Of the primary key, upper-case hex."""
        return self.program.fingerprint

    def write(
        self,
        *,
        to: Sequence[str],
        certificates: Sequence[bytes] = (),
        subject: str,
        text: str,
        attachments: Sequence[Attachment] = (),
        form: str = "6.2",
        cc: Sequence[str] = (),
        protected: bool = True,
        outer_subject: str | None = "...",
        in_reply_to: str | None = None,
        references: Sequence[str] = (),
        date: datetime | None = None,
        headers: Mapping[str, str] | None = None,
        sign: bool = True,
        encrypt: bool = True,
        message_id: str | None = None,
        line_end: str = "crlf",
        at: datetime | None = None,
        options: Sequence[str] = (),
        also_by: Program | None = None,
    ) -> bytes:
        """A whole mail in one of FORMS: RFC 3156's 6.2 and 6.1, 5 alone, or the inline ones.

        certificates: to encrypt to. attachments: (file name, content type, content).
        protected: the header fields stand inside too (RFC 9788 and Thunderbird's older form), and
        outer_subject, unless None, hides the subject of an encrypted mail outside. headers: more
        fields outside. line_end: "lf" encrypts the entity as it lies on a Unix disk, as NeoMutt
        does. at: the moment the program takes for now. options: arguments for the program.
        also_by: makes a second signature over the same content, in the forms 6.1 and signed.
        """
        how = How(at, options)
        signers = (self.program,) if also_by is None else (self.program, also_by)
        encrypt = encrypt and form in ("6.2", "6.1", "inline")
        recipients = certificates if encrypt else None
        sign = sign and form != "plain"
        inside = {
            "From": formataddr((self.name, self.address)),
            "To": ", ".join(to),
            "Cc": ", ".join(cc),
            "Subject": subject,
            "Date": format_datetime(date or at or datetime.now(UTC)),
            "Message-ID": message_id or make_msgid(domain=self.address.partition("@")[2]),
            "In-Reply-To": in_reply_to or "",
            "References": " ".join(references),
        }
        inside = {name: value for name, value in inside.items() if value}
        hidden = encrypt and protected and outer_subject is not None
        outside = {**inside, "Subject": str(outer_subject)} if hidden else inside
        if form.startswith("inline"):
            made = text.replace("\r\n", "\n").replace("\n", "\r\n").encode()
        else:
            level = ("cipher" if encrypt else "clear") if protected and (sign or encrypt) else None
            made = compose_entity(text, attachments, inside if level else {}, level, outside)
        if line_end == "lf":
            made = made.replace(b"\r\n", b"\n")
        if form.startswith("inline"):
            body = _inline(self.program, made, recipients, sign, how)
        else:
            combined = sign and form == "6.2" and encrypt
            if sign and not combined:
                made = signed_entity(made, _signatures(made, signers, how))
            body = made
            if recipients is not None:
                message = self.program.encrypt(made, recipients, combined, how)
                body = encrypted_entity(message)
        return header_lines({**outside, **(headers or {})}) + body

    def read(self, mail: bytes, list_certificate: bytes | None = None) -> Reading:
        """Open a mail with this officer's program; gpg judges the list's signature, if asked to.

        Raises ProgramFailed where the officer's key does not open it.
        """
        outer = parse(mail)
        message = _ciphertext(outer)
        plain = mail if message is None else self.program.decrypt(message)
        entity = parse(plain)
        signer = None
        if entity.get_content_type() == "multipart/signed":
            body, signature = signed_parts(plain)
            entity = parse(body)
            if list_certificate is not None:
                signer = programs.verify_detached(body, signature, list_certificate)
        name, evidence = _evidence(entity)
        ids = () if message is None else programs.pkesk_key_ids(message)
        return Reading(outer, entity, plain, ids, signer, name, evidence)

    def close(self) -> None:
        """End the program's agent, and remove a home that create() chose."""
        self.program.close()
        if self._own_home:
            rmtree(self.program.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compose_entity(
    text: str,
    attachments: Sequence[Attachment] = (),
    fields: Mapping[str, str] | None = None,
    level: str | None = None,
    outside: Mapping[str, str] | None = None,
) -> bytes:
    """A MIME entity of seven-bit lines with CRLF, as RFC 3156 5 asks for before signing.

    fields: header fields inside it. level: RFC 9788 4.2 "cipher" or "clear". outside: the fields
    outside, told by HP-Outer where they are encrypted (RFC 9788 2.2).
    """
    message = EmailMessage(policy=_POLICY)
    for name, value in (fields or {}).items():
        message[name] = value
    if level == "cipher":
        for name, value in (outside or {}).items():
            message["HP-Outer"] = f"{name}: {value}"
    message.set_content(text)
    for filename, content_type, content in attachments:
        maintype, _, subtype = content_type.partition("/")
        if maintype == "message":
            message.add_attachment(parse(content), filename=filename)
        else:
            message.add_attachment(content, maintype=maintype, subtype=subtype, filename=filename)
    if level is not None:
        message.set_param("hp", level)
        message.set_param("protected-headers", "v1")
    return message.as_bytes()


def encrypted_entity(message: bytes) -> bytes:
    """multipart/encrypted around an armored OpenPGP message (RFC 3156 4)."""
    return _multipart(
        'encrypted; protocol="application/pgp-encrypted"',
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n",
        b"Content-Type: application/octet-stream; name=encrypted.asc\r\n\r\n" + _crlf(message),
    )


def signed_entity(entity: bytes, signature: bytes) -> bytes:
    """multipart/signed around an entity and an armored detached signature (RFC 3156 5)."""
    return _multipart(
        f'signed; micalg={programs.micalg(signature)}; protocol="application/pgp-signature"',
        entity,
        b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n" + _crlf(signature),
    )


def signed_parts(entity: bytes) -> tuple[bytes, bytes]:
    """The exact bytes that a multipart/signed entity signs, and the armored signature."""
    boundary = parse(entity).get_boundary("")
    # RFC 2046 5.1.1: the CRLF before a delimiter line belongs to the delimiter.
    _, body, signature = (b"\r\n" + entity).split(f"\r\n--{boundary}".encode())[:3]
    payload = parse(signature.removeprefix(b"\r\n")).get_payload(decode=True)
    return body.removeprefix(b"\r\n"), payload if isinstance(payload, bytes) else b""


def header_lines(fields: Mapping[str, str]) -> bytes:
    """Header fields, encoded (RFC 2047) and folded, without the empty line."""
    message = EmailMessage(policy=_POLICY)
    for name, value in fields.items():
        message[name] = value
    return message.as_bytes().removesuffix(b"\r\n")


def parse(data: bytes) -> EmailMessage:
    return message_from_bytes(data, policy=_POLICY)


def _signatures(entity: bytes, signers: Sequence[Program], how: How) -> bytes:
    """One armored block with a detached signature of each program."""
    first, *others = (program.sign(entity, how=how) for program in signers)
    if not others:
        return first
    packets = [dearmor(one, "SIGNATURE") for one in (first, *others)]
    return armor(b"".join(packets), "SIGNATURE", b"\n")


def _inline(
    program: Program, text: bytes, recipients: Sequence[bytes] | None, sign: bool, how: How
) -> bytes:
    """Armor as the text of a mail."""
    if recipients is not None:
        text = program.encrypt(text, recipients, sign, how)
    elif sign:
        # The framework makes the line ends itself (RFC 9580 7); sq errs where they are CRLF.
        text = program.sign(text.replace(b"\r\n", b"\n"), "clear", how)
    head = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return head + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + _crlf(text)


def readers(mail: bytes) -> frozenset[str]:
    """Key IDs that a mail is encrypted to, PGP/MIME or inline; none where it is not encrypted."""
    message = _ciphertext(parse(mail))
    return frozenset() if message is None else frozenset(programs.pkesk_key_ids(message))


def _ciphertext(mail: EmailMessage) -> bytes | None:
    """The armored message of an encrypted mail, PGP/MIME or inline."""
    parts = list(mail.iter_parts())
    carrier = parts[1] if mail.get_content_type() == "multipart/encrypted" else mail
    payload = carrier.get_payload(decode=True)
    is_message = isinstance(payload, bytes) and payload.lstrip().startswith(_BEGIN)
    return payload if is_message and isinstance(payload, bytes) else None


def _evidence(entity: EmailMessage) -> tuple[str, bytes] | tuple[None, None]:
    for part in entity.walk():
        name = part.get_filename() or ""
        if name.startswith("original-signed."):
            payload = part.get_payload(decode=True)
            return name, payload if isinstance(payload, bytes) else b""
    return None, None


def _multipart(kind: str, *parts: bytes) -> bytes:
    boundary = uuid4().hex
    head = f'MIME-Version: 1.0\r\nContent-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n'
    delimited = b"".join(f"\r\n--{boundary}\r\n".encode() + part for part in parts)
    return head.encode() + delimited + f"\r\n--{boundary}--\r\n".encode()


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
