"""Certificates as gpg, sq, rnp and Sequoia make them: admitted, refused, encrypted to, verified."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pysequoia
import pytest

from gateway.crypto.certificate import (
    Certificate,
    admission_faults,
    admit,
    encryption_fault,
    encrypts_until,
    read,
    strip,
)
from gateway.crypto.encryptor import Encryptor, Recipient
from gateway.crypto.signature import Verified, examine
from gateway.errors import BadCertificate
from gateway.message.armor import armor, dearmor
from gateway.message.packet import (
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    SEIPD,
    SIGNATURE,
    TRUST,
    USER_ID,
    body,
    frame,
    packets,
)
from gateway.message.signed import detached, signature_facts
from tests import programs
from tests.programs import KeyRequest, Program, ProgramMissing

BODY = b"Two containers of timber\r\nat Mombasa\r\n"
DAY = timedelta(days=1)
MINUTES = timedelta(minutes=10)
NOW = datetime.now(UTC) + timedelta(hours=2)
"""Later than any key that a test makes, however long the tests take."""
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


def verify(
    body: bytes,
    signature: bytes,
    certificates: Iterable[Certificate],
    now: datetime,
    max_future: timedelta,
) -> Verified | None:
    verdict = examine(body, signature, certificates, now, max_future)
    return verdict if isinstance(verdict, Verified) else None


class Home:
    """A GnuPG home full of officers' keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made = 0

    def gpg(self, *arguments: str, data: bytes = b"", at: datetime | None = None) -> bytes:
        clock = [f"--faked-system-time={int(at.timestamp())}!"] if at else []
        options = ["--passphrase", "", *clock]
        return programs.gpg(self.path, *options, *arguments, data=data)

    def key(
        self,
        *options: str,
        algorithm: str = "ed25519",
        use: str = "sign",
        encryption: str | None = "cv25519",
        expires: str = "never",
        subkey_expires: str = "never",
        at: datetime | None = None,
    ) -> str:
        """A new key's fingerprint. expires: as gpg takes it, "30d"."""
        self.made += 1
        user_id = f"Officer {self.made} <officer{self.made}@customs.example>"
        self.gpg(*options, "--quick-gen-key", user_id, algorithm, use, expires, at=at)
        fingerprint = self.fingerprints(user_id)[0]
        if encryption:
            self.add(fingerprint, encryption, "encr", subkey_expires, *options, at=at)
        return fingerprint

    def add(
        self,
        fingerprint: str,
        algorithm: str,
        use: str,
        expires: str,
        *options: str,
        at: datetime | None = None,
    ) -> None:
        self.gpg(*options, "--quick-add-key", fingerprint, algorithm, use, expires, at=at)

    def fingerprints(self, name: str) -> list[str]:
        listing = self.gpg("--with-colons", "--list-keys", name).decode().splitlines()
        return [line.split(":")[9] for line in listing if line.startswith("fpr:")]

    def edit(self, fingerprint: str, *answers: str) -> None:
        command = ["--command-fd", "0", "--edit-key", fingerprint]
        self.gpg(*command, data="\n".join((*answers, "save", "")).encode())

    def certificate(self, fingerprint: str) -> bytes:
        return self.gpg("--export", fingerprint)

    def revocation(self, fingerprint: str) -> bytes:
        """The certificate revoked, by the revocation that gpg makes along with a key."""
        stored = (self.path / "openpgp-revocs.d" / f"{fingerprint}.rev").read_bytes()
        block = stored[stored.index(b":-----BEGIN") + 1 :]
        revocation = dearmor(block, "PUBLIC KEY BLOCK")
        first, *rest = pieces(self.certificate(fingerprint))
        return b"".join((first, revocation, *rest))

    def sign(self, fingerprint: str, *options: str, data: bytes = BODY) -> bytes:
        made = self.gpg(*options, "-u", fingerprint, "--detach-sign", data=data)
        return detached(made)[0]


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with TemporaryDirectory(prefix="g", dir="/tmp") as folder:
        yield Home(Path(folder))
        programs.run(["gpgconf", "--homedir", folder, "--kill", "all"])


@pytest.fixture(scope="module")
def carrier(home: Home) -> bytes:
    return home.certificate(home.key())


def pieces(data: bytes) -> list[bytes]:
    return [data[each.start : each.end] for each in packets(data)]


def tags(data: bytes) -> list[int]:
    return [each.tag for each in packets(data)]


def made(name: str, **options: object) -> pysequoia.Tsk:
    settings = {"profile": pysequoia.Profile.RFC4880, **options}
    return pysequoia.Tsk.generate(f"{name} <{name}@customs.example>", **settings)  # type: ignore[arg-type]


def public(key: pysequoia.Tsk) -> bytes:
    return bytes(key.extract_certificate())


def refused(data: bytes, now: datetime = NOW) -> str:
    with pytest.raises(BadCertificate) as caught:
        admit(data, now)
    return str(caught.value)


# Reading


def test_a_certificate_of_gpg(home: Home) -> None:
    fingerprint = home.key(expires="60d", subkey_expires="30d", at=LONG_AGO)
    certificate = read(home.certificate(fingerprint))
    primary, subkey = certificate.keys
    assert (certificate.fingerprint, certificate.version) == (fingerprint, 4)
    assert certificate.user_ids == (f"Officer {home.made} <officer{home.made}@customs.example>",)
    assert (certificate.created_at, certificate.expires_at) == (LONG_AGO, LONG_AGO + 60 * DAY)
    assert (primary.primary, primary.signs, primary.encrypts) == (True, True, False)
    assert (subkey.primary, subkey.signs, subkey.encrypts) == (False, False, True)
    assert (subkey.created_at, subkey.expires_at) == (LONG_AGO, LONG_AGO + 30 * DAY)
    assert (primary.key_id, subkey.fingerprint) == (
        fingerprint[-16:],
        home.fingerprints(fingerprint)[1],
    )
    assert not any((certificate.revoked, primary.revoked, subkey.revoked))


def test_a_certificate_of_version_6() -> None:
    certificate = admit(public(made("eve", profile=pysequoia.Profile.RFC9580)), NOW)
    assert certificate.version == 6
    assert certificate.keys[0].key_id == certificate.fingerprint[:16]
    assert len(certificate.fingerprint) == 64
    assert [(key.signs, key.encrypts) for key in certificate.keys].count((True, False)) == 1


@pytest.mark.parametrize("program", ["sq", "rnp"])
def test_certificates_of_other_programs(program: str) -> None:
    with TemporaryDirectory(prefix="g", dir="/tmp") as folder:
        officer = start(program, folder)
        certificate = admit(officer.certificate, NOW)
        signature = detached(dearmor(officer.sign(BODY), "SIGNATURE"))[0]
        assert certificate.fingerprint == officer.fingerprint
        assert verify(BODY, signature, [certificate], NOW, MINUTES) is not None


def start(program: str, folder: str) -> Program:
    try:
        return programs.start(program, Path(folder), KeyRequest("Ana <ana@customs.example>"))
    except ProgramMissing as missing:
        pytest.skip(str(missing))


def test_armored_and_binary_are_the_same() -> None:
    data = public(made("ana"))
    certificate = read(data)
    assert read(armor(data, "PUBLIC KEY BLOCK")) == certificate
    assert read(data + frame(TRUST, b"x")) == certificate
    assert read(certificate.data) == certificate


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not a certificate"),
        (b"hello", "not a certificate"),
        (bytes(made("ana")), "secret key"),
        (str(made("ana")).encode(), "secret key"),
        (public(made("ana")) + public(made("ben")), "more than one"),
        (public(made("ana"))[:-1], "not a certificate"),
        (frame(USER_ID, b"Ana") + public(made("ana")), "not a certificate"),
        (public(made("ana")) + frame(SEIPD, b"x"), "not a certificate"),
        (public(made("ana")) + frame(USER_ID, b"Ana") * 200, "too many"),
        (bytes((1 << 20) + 1), "larger than 1 MB"),
        (frame(PUBLIC_KEY, b""), r"\w"),
        (frame(PUBLIC_KEY, b"\x04" + bytes(20)), r"\w"),
        (pieces(public(made("ana")))[0], "no self-signature"),
    ],
)
def test_what_is_not_one_public_certificate(data: bytes, word: str) -> None:
    with pytest.raises(BadCertificate, match=word):
        read(data)


def later_and_longer(signature: bytes) -> bytes:
    """A self-signature with its time a year later and the key's life ten times as long, forged."""
    content = bytearray(body(signature, next(packets(signature))))
    time, life = content.index(b"\x05\x02") + 2, content.index(b"\x05\x09") + 2
    created = int.from_bytes(content[time : time + 4], "big")
    content[time : time + 4] = (created + 31536000).to_bytes(4, "big")
    seconds = int.from_bytes(content[life : life + 4], "big")
    content[life : life + 4] = (seconds * 10).to_bytes(4, "big")
    return frame(SIGNATURE, bytes(content))


@pytest.mark.parametrize("place", [2, 4])
def test_a_forged_signature_extends_nothing(home: Home, place: int) -> None:
    data = home.certificate(home.key(expires="60d", subkey_expires="30d", at=LONG_AGO))
    packets_ = pieces(data)
    assert tags(data) == [PUBLIC_KEY, USER_ID, SIGNATURE, PUBLIC_SUBKEY, SIGNATURE]
    forged = later_and_longer(packets_[place])
    certificate = read(b"".join((*packets_[: place + 1], forged, *packets_[place + 1 :])))
    assert certificate.expires_at == LONG_AGO + 60 * DAY
    assert certificate.keys[1].expires_at == LONG_AGO + 30 * DAY


def test_others_certifications_extend_nothing(home: Home) -> None:
    fingerprint, other = home.key(expires="60d"), home.key()
    before = read(home.certificate(fingerprint))
    home.gpg("-u", other, "--yes", "--quick-sign-key", fingerprint, at=NOW + DAY)
    data = home.certificate(fingerprint)
    assert tags(data).count(SIGNATURE) == 3
    assert read(data).expires_at == before.expires_at is not None


def test_the_owner_extends_and_shortens(home: Home) -> None:
    fingerprint = home.key(expires="60d", subkey_expires="30d", at=LONG_AGO)
    old = home.certificate(fingerprint)
    home.gpg("--quick-set-expire", fingerprint, "90d", at=LONG_AGO + 10 * DAY)
    home.gpg("--quick-set-expire", fingerprint, "5d", "*", at=LONG_AGO + 10 * DAY)
    new = home.certificate(fingerprint)
    for data in (new, old + b"".join(pieces(new)[1:]), new + b"".join(pieces(old)[1:])):
        certificate = read(data)
        assert certificate.expires_at == LONG_AGO + 100 * DAY
        assert certificate.keys[1].expires_at == LONG_AGO + 15 * DAY


def test_a_revoked_user_id_is_not_shown(home: Home) -> None:
    fingerprint = home.key(at=LONG_AGO)
    home.gpg("--quick-add-uid", fingerprint, "Ana <ana@customs.example>")
    assert len(read(home.certificate(fingerprint)).user_ids) == 2
    home.gpg("--quick-revoke-uid", fingerprint, "Ana <ana@customs.example>")
    certificate = read(home.certificate(fingerprint))
    assert certificate.user_ids == (f"Officer {home.made} <officer{home.made}@customs.example>",)


def test_others_certifications_bring_no_user_id_back(home: Home) -> None:
    fingerprint, other = home.key(at=LONG_AGO), home.key()
    home.gpg("--quick-add-uid", fingerprint, "Ana <ana@customs.example>", at=LONG_AGO + DAY)
    home.gpg("-u", other, "--yes", "--quick-sign-key", fingerprint, at=NOW + DAY)
    home.gpg("--quick-revoke-uid", fingerprint, "Ana <ana@customs.example>")
    data = home.certificate(fingerprint)
    assert tags(data).count(SIGNATURE) == 6
    assert len(read(data).user_ids) == 1


# Admitting


@pytest.mark.parametrize(
    ("algorithm", "encryption"),
    [("ed25519", "cv25519"), ("rsa2048", "rsa2048"), ("nistp256", "nistp256")],
)
def test_common_certificates_are_admitted(home: Home, algorithm: str, encryption: str) -> None:
    data = home.certificate(home.key(algorithm=algorithm, encryption=encryption))
    certificate = admit(armor(data, "PUBLIC KEY BLOCK"), NOW)
    assert admission_faults(certificate, NOW) == ()
    assert encryption_fault(certificate, NOW) is None
    assert encrypts_until(certificate) is None


def test_an_expired_primary_key(home: Home) -> None:
    certificate = read(home.certificate(home.key(expires="60d", at=LONG_AGO)))
    end = LONG_AGO + 60 * DAY
    assert admission_faults(certificate, end - DAY) == ()
    assert "The certificate expired on 2024-03-01." in admission_faults(certificate, end)
    assert encryption_fault(certificate, end - timedelta(seconds=1)) is None
    assert encryption_fault(certificate, end) == "The certificate expired on 2024-03-01."
    assert encrypts_until(certificate) == end


def test_an_expired_encryption_key(home: Home) -> None:
    fingerprint = home.key(subkey_expires="30d", at=LONG_AGO)
    certificate = read(home.certificate(fingerprint))
    key_id = certificate.keys[1].key_id
    assert admission_faults(certificate, NOW) == (
        f"Its encryption key {key_id} expired on 2024-01-31.",
    )
    assert encryption_fault(certificate, NOW) == "It has no encryption key in force."
    assert encrypts_until(certificate) == LONG_AGO + 30 * DAY


def test_an_expired_encryption_key_that_was_replaced(home: Home) -> None:
    fingerprint = home.key(subkey_expires="30d", at=LONG_AGO)
    home.add(fingerprint, "cv25519", "encr", "never")
    certificate = admit(home.certificate(fingerprint), NOW)
    assert encryption_fault(certificate, NOW) is None
    stripped = read(strip(certificate))
    newest = max(certificate.keys, key=lambda key: key.created_at)
    assert [key.fingerprint for key in stripped.keys[1:]] == [newest.fingerprint]


def test_an_expired_signing_key(home: Home) -> None:
    fingerprint = home.key(use="cert", at=LONG_AGO)
    home.add(fingerprint, "ed25519", "sign", "30d", at=LONG_AGO)
    certificate = read(home.certificate(fingerprint))
    assert admission_faults(certificate, LONG_AGO + DAY) == ()
    assert admission_faults(certificate, NOW) == ("It has no key in force that can sign.",)


def test_a_revoked_certificate(home: Home) -> None:
    certificate = read(home.revocation(home.key()))
    assert certificate.revoked
    assert certificate.keys[0].revoked
    assert "The certificate is revoked." in admission_faults(certificate, NOW)
    assert encryption_fault(certificate, NOW) == "The certificate is revoked."


def test_a_revocation_by_somebody_else_revokes_nothing(home: Home) -> None:
    data, other = home.certificate(home.key()), home.revocation(home.key())
    first, *rest = pieces(data)
    assert not read(b"".join((first, pieces(other)[1], *rest))).revoked


def test_a_revoked_encryption_key(home: Home) -> None:
    fingerprint = home.key()
    home.edit(fingerprint, "key 1", "revkey", "y", "0", "", "y")
    certificate = read(home.certificate(fingerprint))
    assert [key.revoked for key in certificate.keys] == [False, True]
    assert "It has no key that can be encrypted to" in refused(home.certificate(fingerprint))
    assert encryption_fault(certificate, NOW) == "It has no encryption key in force."


def test_a_certificate_that_signs_only(home: Home) -> None:
    assert refused(home.certificate(home.key(encryption=None))).startswith(
        "It has no key that can be encrypted to"
    )


def test_sha_1_binds_nothing(home: Home) -> None:
    whole = home.certificate(home.key("--cert-digest-algo", "SHA1"))
    assert "SHA-1 no longer does" in refused(whole)
    fingerprint = home.key(encryption=None)
    home.add(fingerprint, "cv25519", "encr", "never", "--cert-digest-algo", "SHA1")
    assert "no key that can be encrypted to" in refused(home.certificate(fingerprint))


def test_weak_keys(home: Home) -> None:
    weak = home.key(algorithm="rsa1024", encryption="rsa1024")
    assert "weak algorithm" in refused(home.certificate(weak))
    mixed = home.key(encryption="rsa1024")
    assert "weak algorithm" in refused(home.certificate(mixed))
    elgamal = home.key(encryption="elg2048")
    assert "too weak, or broken" in refused(home.certificate(elgamal))


def test_every_fault_is_told(home: Home) -> None:
    text = refused(home.certificate(home.key(encryption=None, expires="60d", at=LONG_AGO)))
    assert text.count(".") == 3
    assert "expired" in text
    assert "can sign" in text
    assert "encrypted to" in text


def test_a_certificate_from_the_future_is_refused() -> None:
    assert "in the future" in refused(public(made("ana")), LONG_AGO)


def test_stripped_is_smaller_and_encrypts_alike(home: Home) -> None:
    fingerprint = home.key()
    home.gpg("--quick-add-uid", fingerprint, "Ana <ana@customs.example>")
    home.add(fingerprint, "ed25519", "sign", "never")
    certificate = read(home.certificate(fingerprint))
    small = strip(certificate)
    assert tags(small) == [PUBLIC_KEY, USER_ID, SIGNATURE, PUBLIC_SUBKEY, SIGNATURE]
    cert = pysequoia.Cert.from_bytes(small)
    message = pysequoia.encrypt(BODY, [cert])
    assert home.gpg("--decrypt", data=message) == BODY


# Verifying


def test_a_good_signature_names_certificate_and_key(home: Home) -> None:
    fingerprint = home.key()
    home.add(fingerprint, "ed25519", "sign", "never")
    signature = home.sign(fingerprint, "--digest-algo", "SHA384")
    others = [read(home.certificate(home.key())) for _ in range(2)]
    certificate = read(home.certificate(fingerprint))
    found = verify(BODY, signature, [*others, certificate], NOW, MINUTES)
    created = signature_facts(signature).created
    assert created is not None
    assert found == Verified(fingerprint, home.fingerprints(fingerprint)[2], created, 9)
    assert verify(BODY + b"x", signature, [certificate], NOW, MINUTES) is None
    assert verify(BODY, signature, others, NOW, MINUTES) is None
    assert verify(BODY, signature[:-1], [certificate], NOW, MINUTES) is None


def test_a_text_signature_covers_both_line_ends(home: Home) -> None:
    fingerprint = home.key()
    signature = home.sign(fingerprint, "--textmode", data=b"one\ntwo\n")
    certificates = [read(home.certificate(fingerprint))]
    for text in (b"one\ntwo\n", b"one\r\ntwo\r\n"):
        assert verify(text, signature, certificates, NOW, MINUTES) is not None
    assert verify(b"one two\n", signature, certificates, NOW, MINUTES) is None


def why(
    signature: bytes, certificate: Certificate, now: datetime = NOW, future: timedelta = MINUTES
) -> str:
    verdict = examine(BODY, signature, [certificate], now, future)
    assert isinstance(verdict, str)
    assert verify(BODY, signature, [certificate], now, future) is None
    return verdict


def test_an_expired_key_can_not_backdate(home: Home) -> None:
    fingerprint = home.key(expires="60d", at=LONG_AGO)
    signature = detached(
        home.gpg("-u", fingerprint, "--detach-sign", data=BODY, at=LONG_AGO + DAY)
    )[0]
    certificate = read(home.certificate(fingerprint))
    assert verify(BODY, signature, [certificate], LONG_AGO + 2 * DAY, MINUTES) is not None
    assert why(signature, certificate) == "signer's key has expired"


def test_an_expired_subkey_can_not_backdate(home: Home) -> None:
    fingerprint = home.key(use="cert", at=LONG_AGO)
    home.add(fingerprint, "ed25519", "sign", "30d", at=LONG_AGO)
    signature = detached(
        home.gpg("-u", fingerprint, "--detach-sign", data=BODY, at=LONG_AGO + DAY)
    )[0]
    certificate = read(home.certificate(fingerprint))
    assert verify(BODY, signature, [certificate], LONG_AGO + 2 * DAY, MINUTES) is not None
    assert why(signature, certificate) == "signer's key has expired"


def test_a_key_revoked_since_does_not_count(home: Home) -> None:
    fingerprint = home.key()
    signature = home.sign(fingerprint)
    revoked = replace(read(home.certificate(fingerprint)), revoked=True)
    assert why(signature, revoked) == "signer's key is revoked"
    assert why(signature, read(home.revocation(fingerprint)))


def test_a_subkey_revoked_since_does_not_count(home: Home) -> None:
    fingerprint = home.key(use="cert", encryption=None)
    home.add(fingerprint, "ed25519", "sign", "never")
    signature = home.sign(fingerprint)
    assert verify(BODY, signature, [read(home.certificate(fingerprint))], NOW, MINUTES)
    home.edit(fingerprint, "key 1", "revkey", "y", "0", "", "y")
    assert why(signature, read(home.certificate(fingerprint)))


def test_the_future_is_minutes_away_at_most(home: Home) -> None:
    fingerprint = home.key()
    signature, certificate = home.sign(fingerprint), read(home.certificate(fingerprint))
    created = signature_facts(signature).created
    assert created is not None
    assert verify(BODY, signature, [certificate], created - MINUTES, MINUTES) is not None
    early = created - MINUTES - timedelta(seconds=1)
    assert why(signature, certificate, early) == "signature was made in the future"


def test_forgeable_hashes_do_not_count(home: Home) -> None:
    fingerprint = home.key(algorithm="rsa2048", encryption=None)
    certificate = read(home.certificate(fingerprint))
    for hash_ in ("SHA1", "RIPEMD160"):
        signature = home.sign(fingerprint, "--digest-algo", hash_)
        assert why(signature, certificate) == "signature uses a hash that can be forged"


def test_other_kinds_of_signatures_do_not_count(home: Home) -> None:
    data = home.certificate(home.key())
    assert why(pieces(data)[2], read(data)) == "signature is not over a document"
    assert why(b"junk", read(data)) == "not an OpenPGP packet"


# Encrypting


def recipient(id_: int, data: bytes) -> Recipient:
    certificate = read(data)
    names = {name for key in certificate.keys for name in (key.fingerprint, key.key_id)}
    return Recipient(id_, strip(certificate), certificate.fingerprint, frozenset(names))


def copy(data: bytes, pkesks: bytes) -> bytes:
    return armor(pkesks + data)


def test_each_gets_a_copy_that_they_alone_can_read(home: Home, carrier: bytes) -> None:
    readers = {1: home.key(), 2: home.key(algorithm="rsa2048", encryption="rsa2048"), 3: home.key()}
    tsk = made("ana")
    recipients = [recipient(id_, home.certificate(key)) for id_, key in readers.items()]
    (batch,) = Encryptor().encrypt(BODY, [*recipients, recipient(4, public(tsk))], carrier)
    assert (set(batch.pkesks), batch.failed) == ({1, 2, 3, 4}, {})
    for id_ in (1, 2, 3):
        message = copy(batch.data, batch.pkesks[id_])
        assert home.gpg("--decrypt", data=message) == BODY
        names = {name[-16:] for name in recipients[id_ - 1].key_ids}
        assert set(programs.pkesk_key_ids(message)) <= names
        with pytest.raises(RuntimeError):
            pysequoia.decrypt(message, tsk.decryptor())
    own = copy(batch.data, batch.pkesks[4])
    assert pysequoia.decrypt(own, tsk.decryptor()).bytes == BODY


@pytest.mark.parametrize("program", ["sq", "rnp"])
def test_other_programs_read_their_copy(home: Home, carrier: bytes, program: str) -> None:
    with TemporaryDirectory(prefix="g", dir="/tmp") as folder:
        officer = start(program, folder)
        recipients = [recipient(1, home.certificate(home.key())), recipient(2, officer.certificate)]
        (batch,) = Encryptor().encrypt(BODY, recipients, carrier)
        assert officer.decrypt(copy(batch.data, batch.pkesks[2])) == BODY


def test_the_carrier_gets_nothing_and_keeps_the_old_format(carrier: bytes) -> None:
    tsk = made("ana")
    (batch,) = Encryptor().encrypt(BODY, [recipient(7, public(tsk))], carrier)
    (pkesk,) = pieces(batch.pkesks[7])
    assert body(pkesk, next(packets(pkesk)))[0] == 3
    assert body(batch.data, next(packets(batch.data)))[0] == 1


def test_a_key_for_each_device_gives_two_packets(home: Home, carrier: bytes) -> None:
    fingerprint = home.key()
    home.add(fingerprint, "cv25519", "encr", "never")
    (batch,) = Encryptor().encrypt(BODY, [recipient(1, home.certificate(fingerprint))], carrier)
    assert len(pieces(batch.pkesks[1])) == 2


def test_version_6_goes_in_a_batch_of_its_own(home: Home, carrier: bytes) -> None:
    eve, ana = made("eve", profile=pysequoia.Profile.RFC9580), home.key()
    recipients = [recipient(1, public(eve)), recipient(2, home.certificate(ana))]
    older, newer = Encryptor().encrypt(BODY, recipients, carrier)
    assert (set(older.pkesks), set(newer.pkesks)) == ({2}, {1})
    assert body(newer.data, next(packets(newer.data)))[0] == 2
    assert pysequoia.decrypt(copy(newer.data, newer.pkesks[1]), eve.decryptor()).bytes == BODY
    assert home.gpg("--decrypt", data=copy(older.data, older.pkesks[2])) == BODY


def test_bad_certificates_delay_nobody(home: Home, carrier: bytes) -> None:
    good = home.key()
    no_key, other = home.certificate(home.key(encryption=None)), home.certificate(home.key())
    recipients = [
        replace(recipient(1, other), certificate=no_key, fingerprint=read(no_key).fingerprint),
        replace(recipient(2, other), fingerprint="AB" * 20),
        replace(recipient(3, other), certificate=b"junk"),
        replace(recipient(4, other), certificate=b""),
        replace(recipient(5, other), key_ids=frozenset({"0123456789ABCDEF"})),
        recipient(6, home.certificate(good)),
    ]
    (batch,) = Encryptor().encrypt(BODY, recipients, carrier)
    assert set(batch.failed) == {1, 2, 3, 4, 5}
    assert "\n" not in "".join(batch.failed.values())
    assert set(batch.pkesks) == {6}
    assert home.gpg("--decrypt", data=copy(batch.data, batch.pkesks[6])) == BODY


def test_an_ambiguous_key_id_serves_nobody(home: Home, carrier: bytes) -> None:
    ana, ben = home.certificate(home.key()), home.certificate(home.key())
    greedy = recipient(2, ben)
    greedy = replace(greedy, key_ids=greedy.key_ids | recipient(1, ana).key_ids)
    (batch,) = Encryptor().encrypt(BODY, [recipient(1, ana), greedy], carrier)
    assert (set(batch.failed), batch.pkesks) == ({1, 2}, {})
    (batch,) = Encryptor().encrypt(BODY, [recipient(3, carrier), recipient(4, ana)], carrier)
    assert (set(batch.failed), set(batch.pkesks)) == ({3}, {4})


def test_nobody_left_is_no_message(home: Home, carrier: bytes) -> None:
    junk = replace(recipient(1, carrier), certificate=b"junk")
    (batch,) = Encryptor().encrypt(BODY, [junk], carrier)
    assert (batch.data, batch.pkesks, set(batch.failed)) == (b"", {}, {1})
    assert Encryptor().encrypt(BODY, [], carrier) == []


def test_a_carrier_that_can_not_be_encrypted_to_is_said(home: Home) -> None:
    ana = recipient(1, home.certificate(home.key()))
    with pytest.raises(BadCertificate, match="list's own certificate"):
        Encryptor().encrypt(BODY, [ana], home.certificate(home.key(encryption=None)))


def test_the_cache_is_bounded_and_follows_changes(home: Home, carrier: bytes) -> None:
    encryptor = Encryptor(capacity=2)
    keys = [home.key() for _ in range(3)]
    recipients = [recipient(i, home.certificate(key)) for i, key in enumerate(keys)]
    for _ in range(2):
        (batch,) = encryptor.encrypt(BODY, recipients, carrier)
        assert set(batch.pkesks) == {0, 1, 2}
    home.edit(keys[0], "key 1", "revkey", "y", "0", "", "y")
    home.add(keys[0], "cv25519", "encr", "never")
    changed = recipient(0, home.certificate(keys[0]))
    (batch,) = encryptor.encrypt(BODY, [changed], carrier)
    (name,) = programs.pkesk_key_ids(copy(batch.data, batch.pkesks[0]))
    assert name == home.fingerprints(keys[0])[2][-16:]
