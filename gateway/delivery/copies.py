"""Each subscriber's own copy: one encryption for many, split by packet, the armored tail shared."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gateway.crypto.domain import Signer
from gateway.crypto.encryptor import Encryptor, Recipient
from gateway.delivery.handoff import Copy
from gateway.delivery.letter import Letter
from gateway.message.armor import SharedArmor

Envelope = Callable[[int], tuple[str, str]]
"""Outbox id -> (sender, recipient)."""
Wanted = Callable[[int], bool]
"""Outbox id -> whether its copy may go out still."""


def copies(
    encryptor: Encryptor,
    letter: Letter,
    recipients: Sequence[Recipient],
    carrier: bytes,
    envelope: Envelope,
    failed: dict[int, str],
    wanted: Wanted = lambda _: True,
    sign: Signer | None = None,
) -> Iterator[Copy]:
    """Encrypt a letter for recipients (by outbox id) and yield what goes on the wire to each.

    carrier: our own certificate, see Encryptor. Whoever can't be encrypted to is put into `failed`
    with the reason; the others get theirs. sign: for the domain (DKIM).
    """
    head, foot = _frame(letter)
    stamp = sign(head) if sign else None
    for batch in encryptor.encrypt(letter.entity, recipients, carrier):
        failed.update(batch.failed)
        armor = SharedArmor(batch.data, line_end=b"\r\n")
        # Those that share a tail one after the other, so that one tail at a time is in memory.
        for entry_id, pkesks in sorted(batch.pkesks.items(), key=lambda each: armor.kind(each[1])):
            rest = (*armor.parts(pkesks), foot)
            parts = (stamp(rest), head, *rest) if stamp else (head, *rest)
            yield _copy(letter, entry_id, parts, envelope, wanted)


def plain_copy(
    letter: Letter, entry_id: int, envelope: Envelope, wanted: Wanted, sign: Signer | None = None
) -> Copy:
    """A letter as it is, signed and not encrypted."""
    whole = letter.header + b"MIME-Version: 1.0\r\n" + letter.entity
    parts = (sign(whole)(()), whole) if sign else (whole,)
    return _copy(letter, entry_id, parts, envelope, wanted)


def _copy(
    letter: Letter,
    entry_id: int,
    parts: tuple[bytes, ...],
    envelope: Envelope,
    wanted: Wanted,
) -> Copy:
    sender, recipient = envelope(entry_id)
    size = sum(map(len, parts))
    return Copy(entry_id, sender, recipient, parts, size, letter.token, partial(wanted, entry_id))


def _frame(letter: Letter) -> tuple[bytes, bytes]:
    """What stands before and after the armor, the same for every copy. RFC 3156 4."""
    boundary = f"=_{uuid.uuid4().hex}"
    head = (
        "MIME-Version: 1.0\r\n"
        'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";\r\n'
        f' boundary="{boundary}"\r\n'
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: application/pgp-encrypted\r\n"
        "Content-Description: PGP/MIME version identification\r\n"
        "\r\n"
        "Version: 1\r\n"
        "\r\n"
        f"--{boundary}\r\n"
        'Content-Type: application/octet-stream; name="encrypted.asc"\r\n'
        "Content-Description: OpenPGP encrypted message\r\n"
        'Content-Disposition: inline; filename="encrypted.asc"\r\n'
        "\r\n"
    )
    return letter.header + head.encode(), f"\r\n--{boundary}--\r\n".encode()
