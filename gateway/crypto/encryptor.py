"""Encrypting one body to many certificates at once, each recipient's own packets told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from gateway.crypto.certificate import Cert, encrypt_to, names, parse, read
from gateway.errors import BadCertificate, Malformed
from gateway.message.packet import Packet, body, packets, split


@dataclass(frozen=True, slots=True)
class Recipient:
    """One copy's reader. id: the caller's; certificate: binary, best stripped.

    fingerprint: the certificate's; key_ids: key IDs and fingerprints of its keys; upper-case hex.
    """

    id: int
    certificate: bytes
    fingerprint: str
    key_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Batch:
    """One encryption for many. Recipient i's message is pkesks[i] followed by data.

    data: SEIPD packet, b"" when nobody could be served. failed: recipient id -> reason.
    """

    data: bytes
    pkesks: dict[int, bytes]
    failed: dict[int, str]


class Encryptor:
    """Encrypts one body to many certificates, keeping up to `capacity` of them parsed.

    A parsed certificate takes 18 KiB stripped, 27 KiB whole, and 50 microseconds.
    """

    def __init__(self, capacity: int = 5000) -> None:
        self._capacity = capacity
        self._parsed: dict[tuple[str, bytes], Cert] = {}

    def encrypt(self, body: bytes, recipients: Sequence[Recipient], carrier: bytes) -> list[Batch]:
        """One batch for the recipients, and one more where some have keys of version 6.

        carrier: the list's own certificate, made by gpg. Sequoia writes the format that all keys
        of a call announce; with this one among them it is SEIPDv1, which every program reads.
        Holders of version 6 keys read the newer format, so they get theirs apart, without carrier.
        A recipient who can't be served is in a batch's `failed` and delays nobody.
        Raises BadCertificate when it is the carrier that can't be encrypted to.
        """
        newer = [each for each in recipients if _is_version_6(each.certificate)]
        older = [each for each in recipients if not _is_version_6(each.certificate)]
        batches = []
        if older:
            batches.append(self._batch(body, older, carrier))
        if newer:
            batches.append(self._batch(body, newer, None))
        return batches

    def _batch(self, body: bytes, recipients: list[Recipient], carrier: bytes | None) -> Batch:
        failed: dict[int, str] = {}
        parsed: dict[int, Cert] = {}
        for each in recipients:
            try:
                parsed[each.id] = self._cert(each)
            except BadCertificate as error:
                failed[each.id] = str(error)
        extra = [parse(carrier)] if carrier is not None else []
        message = _encrypt_to_good(body, parsed, extra, failed)
        if not message:
            return Batch(b"", {}, failed)
        encrypted = split(message)
        del message  # as large as the posting
        owners: dict[str, set[int]] = {}
        for each in recipients:
            if each.id in parsed:
                for key_id in each.key_ids:
                    owners.setdefault(key_id, set()).add(each.id)
        ours = {name for key in read(carrier).keys for name in names(key)} if carrier else set()
        pkesks: dict[int, list[bytes]] = {id_: [] for id_ in parsed}
        for key_id, packet in encrypted.pkesks:
            whose = owners.get(key_id, set())
            if len(whose) + (key_id in ours) > 1:
                # Key IDs can be made to collide: better no copy than somebody else's.
                failed.update(dict.fromkeys(whose, "its key ID is another's key ID too"))
            for id_ in whose:
                pkesks[id_].append(packet)
        for id_, found in pkesks.items():
            if not found:
                failed[id_] = "its encryption key is not one of those recorded for it"
        served = {id_: b"".join(found) for id_, found in pkesks.items() if id_ not in failed}
        return Batch(encrypted.data, served, failed)

    def _cert(self, recipient: Recipient) -> Cert:
        key = (recipient.fingerprint, sha256(recipient.certificate).digest())
        if key not in self._parsed:
            cert = parse(recipient.certificate)
            if cert.fingerprint.upper() != recipient.fingerprint:
                raise BadCertificate("it is not the certificate recorded")
            if len(self._parsed) >= self._capacity:
                # Subscribers come in the same order each time: the oldest are the next needed.
                self._parsed.popitem()
            self._parsed[key] = cert
        return self._parsed[key]


def _encrypt_to_good(
    body: bytes,
    parsed: dict[int, Cert],
    extra: list[Cert],
    failed: dict[int, str],
) -> bytes:
    """Encrypt, moving from `parsed` to `failed` whom Sequoia refuses; b"" when nobody is left.

    Sequoia refuses a whole call for one certificate, naming its fingerprint.
    """
    while parsed:
        try:
            return encrypt_to(body, [*parsed.values(), *extra])
        except BadCertificate as error:
            reason = str(error)
        refused = [id_ for id_, cert in parsed.items() if cert.fingerprint.upper() in reason]
        refused = refused or [id_ for id_, cert in parsed.items() if not _can_encrypt(cert)]
        if not refused:
            raise BadCertificate(f"the list's own certificate is refused: {reason}")
        for id_ in refused:
            failed[id_] = reason
            del parsed[id_]
    return b""


def _can_encrypt(cert: Cert) -> bool:
    try:
        return bool(encrypt_to(b"", [cert]))
    except BadCertificate:
        return False


def _is_version_6(certificate: bytes) -> bool:
    try:
        first: Packet | None = next(packets(certificate), None)
    except Malformed:
        return False
    return first is not None and body(certificate, first)[:1] == b"\x06"
