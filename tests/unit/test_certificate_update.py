"""Certificates over time, as gpg, sq, rnp and Sequoia make and change them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pysequoia
import pytest

from gateway.crypto.certificate import (
    Certificate,
    admission_faults,
    admit,
    encryption_fault,
    merge,
    read,
)
from gateway.crypto.certificate_update import Change, Kind, changes
from gateway.crypto.key_health import health
from gateway.crypto.signature import Verified, examine
from gateway.errors import BadCertificate
from gateway.message import entity, keydata
from gateway.message.armor import armor, dearmor
from gateway.message.packet import USER_ID, frame
from gateway.message.signed import detached
from tests import programs
from tests.officers import compose_entity
from tests.programs import KeyRequest, Program, ProgramMissing
from tests.unit.owners import (
    DAY,
    ENCRYPTS,
    LATER,
    LONG_AGO,
    NOW,
    SIGNS,
    USER,
    Home,
    Owner,
    gpg_home,
    merged,
    pieces,
)

BODY = b"Two containers of timber\r\nat Mombasa\r\n"
MINUTES = timedelta(minutes=10)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with gpg_home() as home:
        yield home


def kinds(before: Certificate, after: Certificate) -> list[Kind]:
    return [change.kind for change in changes(before, after)]


def refused(held: bytes, offered: bytes) -> str:
    with pytest.raises(BadCertificate) as caught:
        merge(read(held), offered)
    return str(caught.value)


# What the owner changes, by gpg


def test_a_later_expiry_is_taken_and_an_old_copy_does_not_bring_the_old_one_back(
    home: Home,
) -> None:
    fingerprint = home.key(expires="60d", subkey_expires="30d")
    old = home.certificate(fingerprint)
    home.gpg("--quick-set-expire", fingerprint, "90d", at=LATER)
    home.gpg("--quick-set-expire", fingerprint, "80d", "*", at=LATER)
    new = home.certificate(fingerprint)
    before, after = read(old), merged(old, new)
    assert after.expires_at == LONG_AGO + 100 * DAY
    assert changes(before, after) == (
        Change(Kind.EXPIRY, fingerprint, LONG_AGO + 60 * DAY, LONG_AGO + 100 * DAY),
        Change(Kind.EXPIRY, before.keys[1].fingerprint, LONG_AGO + 30 * DAY, LONG_AGO + 90 * DAY),
    )
    assert changes(after, merge(after, old)) == ()


def test_an_earlier_expiry_is_taken_too(home: Home) -> None:
    fingerprint = home.key()
    old = home.certificate(fingerprint)
    home.gpg("--quick-set-expire", fingerprint, "5d", at=LATER)
    after = merged(old, home.certificate(fingerprint))
    assert changes(read(old), after) == (Change(Kind.EXPIRY, fingerprint, None, LATER + 5 * DAY),)


def test_a_new_encryption_subkey(home: Home) -> None:
    fingerprint = home.key(subkey_expires="30d")
    old = home.certificate(fingerprint)
    home.gpg("--quick-add-key", fingerprint, "cv25519", "encr", "never", at=LATER)
    after = merged(old, home.certificate(fingerprint))
    assert encryption_fault(read(old), NOW) is not None
    assert encryption_fault(after, NOW) is None
    assert changes(read(old), after) == (Change(Kind.SUBKEY_ADDED, after.keys[2].fingerprint),)


def test_a_new_signing_subkey_verifies_signatures(home: Home) -> None:
    fingerprint = home.key()
    old = home.certificate(fingerprint)
    home.add(fingerprint, "ed25519", "sign")
    signature = detached(home.gpg("-u", fingerprint, "--detach-sign", data=BODY))[0]
    after = merged(old, home.certificate(fingerprint))
    found = examine(BODY, signature, [after], NOW, MINUTES)
    assert isinstance(found, Verified)
    assert found.key_fingerprint == after.keys[2].fingerprint
    assert isinstance(examine(BODY, signature, [read(old)], NOW, MINUTES), str)


def test_a_revoked_subkey_stays_revoked(home: Home) -> None:
    fingerprint = home.key()
    old = home.certificate(fingerprint)
    home.edit(fingerprint, "key 1", "revkey", "y", "1", "", "y")
    after = merged(old, home.certificate(fingerprint))
    assert [key.revoked for key in after.keys] == [False, True]
    assert changes(read(old), after) == (Change(Kind.SUBKEY_REVOKED, after.keys[1].fingerprint),)
    assert encryption_fault(after, NOW) == "It has no encryption key in force."


@pytest.mark.parametrize("reason", ["0", "1", "2", "3"])
def test_a_revoked_certificate_stays_revoked_whatever_the_reason(home: Home, reason: str) -> None:
    fingerprint = home.key()
    old = home.certificate(fingerprint)
    home.gpg("--quick-set-expire", fingerprint, "0", at=LATER + 5 * DAY)
    newer = home.certificate(fingerprint)
    home.edit(fingerprint, "revkey", "y", reason, "", "y", at=LATER)
    after = merged(old, newer, home.certificate(fingerprint))
    assert after.revoked
    assert changes(read(old), after) == (Change(Kind.REVOKED, fingerprint),)
    assert "The certificate is revoked." in admission_faults(after, NOW)
    assert encryption_fault(after, NOW) == "The certificate is revoked."


def test_a_revocation_alone_is_enough(home: Home) -> None:
    fingerprint = home.key()
    held = read(home.certificate(fingerprint))
    after = merge(held, home.revocation(fingerprint))
    assert after.revoked
    assert merge(after, home.revocation(fingerprint)) == after
    assert merge(after, held.data) == after


def test_a_revocation_of_another_certificate_is_refused(home: Home) -> None:
    other = home.revocation(home.key())
    held = home.certificate(home.key())
    assert refused(held, other) == "It belongs to another primary key."
    with pytest.raises(BadCertificate, match="not a certificate"):
        read(other)


def test_a_user_id_with_another_address_is_told(home: Home) -> None:
    fingerprint = home.key()
    old = home.certificate(fingerprint)
    home.gpg("--quick-add-uid", fingerprint, "Ana Lind <ana@harbour.example>", at=LATER)
    added = home.certificate(fingerprint)
    assert changes(read(old), merged(old, added)) == (
        Change(Kind.USER_ID_ADDED, "Ana Lind <ana@harbour.example>"),
    )
    home.gpg("--quick-revoke-uid", fingerprint, USER, at=LATER + DAY)
    after = merged(old, added, home.certificate(fingerprint))
    assert after.user_ids == ("Ana Lind <ana@harbour.example>",)
    assert changes(read(added), after) == (Change(Kind.USER_ID_REMOVED, USER),)


def test_a_user_id_is_told_on_one_line(home: Home) -> None:
    fingerprint = home.key()
    old = home.certificate(fingerprint)
    evil = "Ana\u2028Approved: yes\u202e" + "x" * 300
    home.gpg("--allow-freeform-uid", "--quick-add-uid", fingerprint, evil, at=LATER)
    (change,) = changes(read(old), merge(read(old), home.certificate(fingerprint)))
    assert change.subject == ("Ana Approved: yes " + "x" * 300)[:200]


def test_a_signature_from_before_the_change_is_good_still(home: Home) -> None:
    fingerprint = home.key()
    old = home.certificate(fingerprint)
    made = home.gpg("-u", fingerprint, "--detach-sign", data=BODY, at=LONG_AGO + DAY)
    home.gpg("--quick-set-expire", fingerprint, "0", at=LATER)
    after = merge(read(old), home.certificate(fingerprint))
    assert isinstance(examine(BODY, detached(made)[0], [after], NOW, MINUTES), Verified)


# The other programs


def start(program: str, folder: Path, expires: datetime | None = None) -> Program:
    try:
        return programs.start(program, folder, KeyRequest(USER, expires=expires))
    except ProgramMissing as missing:
        pytest.skip(str(missing))


def test_sequoia_extends_and_revokes() -> None:
    key = pysequoia.Tsk.generate(
        USER, profile=pysequoia.Profile.RFC4880, validity_seconds=20 * 86400
    )
    old = key.extract_certificate()
    end = (NOW + 90 * DAY).replace(microsecond=0)
    while datetime.now(UTC) < read(bytes(old)).created_at + timedelta(seconds=1):
        time.sleep(0.05)  # statements of one second count together
    new = old.set_expiration(end, key.certifier())
    after = merged(bytes(old), bytes(new))
    assert after.expires_at == end
    assert Kind.EXPIRY in kinds(read(bytes(old)), after)
    revoked = merge(after, bytes(old.revoke(key.certifier())))
    assert kinds(after, revoked) == [Kind.REVOKED]


def test_sq_adds_a_user_id_and_revokes(tmp_path: Path) -> None:
    officer = start("sq", tmp_path)
    key, new = str(tmp_path / "key.pgp"), str(tmp_path / "new.pgp")
    programs.run(["sq", "key", "userid", "add", "-u", "Ana <ana@harbour.example>", "-o", new, key])
    added = programs.run(["sq", "key", "extract-cert", new])
    before, after = read(officer.certificate), merged(officer.certificate, added)
    assert kinds(before, after) == [Kind.USER_ID_ADDED]
    revoke = ["sq", "revoke", "certificate", "--certificate", key, "--revocation-key", key]
    alone = programs.run([*revoke, "retired", "Left the service"])
    whole = programs.run(
        ["sq", "keyring", "merge", "/dev/stdin"], b"\n".join((officer.certificate, alone))
    )
    for offered in (alone, whole):
        assert kinds(after, merge(after, offered)) == [Kind.REVOKED]


def test_rnp_revokes_a_subkey_and_the_whole(tmp_path: Path) -> None:
    officer = start("rnp", tmp_path)
    rnp = partial(_rnpkeys, tmp_path)
    before = read(officer.certificate)
    rnp("--revoke-key", before.keys[1].fingerprint)
    after = merged(officer.certificate, rnp("--export-key", before.fingerprint))
    assert kinds(before, after) == [Kind.SUBKEY_REVOKED]
    alone = rnp("--export-rev", before.fingerprint, "--rev-type", "compromised")
    assert kinds(after, merge(after, alone)) == [Kind.REVOKED]


def _rnpkeys(home: Path, *words: str) -> bytes:
    return programs.run(["rnpkeys", "--homedir", str(home), "--password", "", "--force", *words])


@pytest.mark.parametrize("program", ["gpg", "sq", "rnp", "sequoia"])
@pytest.mark.parametrize("reader", ["gpg", "sq", "rnp"])
def test_every_program_encrypts_to_what_is_kept(program: str, reader: str) -> None:
    with (
        TemporaryDirectory(prefix="g", dir="/tmp") as first,
        TemporaryDirectory(prefix="g", dir="/tmp") as second,
    ):
        owner, friend = start(program, Path(first)), start(reader, Path(second))
        kept = merge(read(owner.certificate), owner.certificate).data
        message = friend.encrypt(BODY, [armor(kept, "PUBLIC KEY BLOCK", b"\n")])
        assert owner.decrypt(message) == BODY
        for each in (owner, friend):
            each.close()


def test_gpg_finds_everything_in_what_is_kept(home: Home) -> None:
    fingerprint = home.key(expires="60d")
    home.add(fingerprint, "ed25519", "sign", "30d")
    home.gpg("--quick-set-expire", fingerprint, "90d", at=LATER)
    home.edit(fingerprint, "key 1", "revkey", "y", "0", "", "y")
    data = home.certificate(fingerprint)

    def listing(certificate: bytes) -> bytes:
        return home.gpg("--with-colons", "--import-options", "show-only", "--import",
                        data=certificate)  # fmt: skip

    assert listing(read(data).data) == listing(data)


# Corners


def test_user_ids_certified_in_the_same_words_stay_both() -> None:
    ana = Owner()
    second = b"Ana Lind <ana@harbour.example>"
    added = frame(USER_ID, second) + ana.on_user_id(0x13, second, SIGNS)
    assert set(merged(ana.certificate(), ana.certificate() + added).user_ids) == {
        USER, second.decode(),
    }  # fmt: skip


def test_a_revocation_that_comes_before_what_it_revokes_holds() -> None:
    ana, ben = Owner(), Owner()
    name = b"Ana Lind <ana@harbour.example>"
    binding = ana.on_subkey(0x18, ben.body, ENCRYPTS)
    added = frame(USER_ID, name) + ana.on_user_id(0x13, name, SIGNS) + ben.subkey + binding
    gone = frame(USER_ID, name) + ana.on_user_id(0x30, name, at=LATER)
    gone += ben.subkey + ana.on_subkey(0x28, ben.body, at=LATER)
    after = merged(ana.certificate(), ana.certificate() + gone, ana.certificate() + added)
    assert after.user_ids == (USER,)
    assert [key.revoked for key in after.keys] == [False, True]


def test_a_revocation_with_a_weak_hash_holds_and_no_other_statement_does(home: Home) -> None:
    fingerprint = home.key()
    old = home.certificate(fingerprint)
    weak = ("--cert-digest-algo", "SHA1")
    home.gpg(*weak, "--quick-set-expire", fingerprint, "900d", at=LATER)
    after = merge(read(old), home.certificate(fingerprint))
    assert after == read(old)
    command = ("--command-fd", "0", "--edit-key", fingerprint)
    home.gpg(*weak, *command, data=b"revkey\ny\n0\n\ny\nsave\n", at=LATER + DAY)
    revoked = merge(after, home.certificate(fingerprint))
    assert revoked.revoked
    assert merge(revoked, old) == revoked


def test_a_certificate_of_which_everything_is_revoked_is_read() -> None:
    key = pysequoia.Tsk.generate(USER, profile=pysequoia.Profile.RFC4880)
    cert = key.extract_certificate()
    first, direct, *rest = pieces(bytes(cert))
    data = b"".join((first, *rest))
    assert direct not in data
    name = bytes(cert.revoke_user_id(cert.user_ids[0], key.certifier()))
    after = merged(data, data + name, data + bytes(cert.revoke(key.certifier())))
    assert after.revoked
    assert after.user_ids == ()
    assert health(after, NOW).fault is not None


def test_a_revoked_certificate_without_any_statement_that_counts_is_read() -> None:
    ana = Owner()
    alone = ana.primary + ana.on_key(0x20)
    assert read(alone).revoked
    assert merged(ana.certificate(), alone).revoked


@pytest.mark.parametrize(
    "options",
    [
        {"profile": pysequoia.Profile.RFC4880},
        {"profile": pysequoia.Profile.RFC9580},
        {
            "profile": pysequoia.Profile.RFC9580,
            "cipher_suite": pysequoia.CipherSuite.MLDSA65_Ed25519,
        },
    ],
)
def test_keys_of_every_version_keep_what_they_have(options: dict[str, object]) -> None:
    key = pysequoia.Tsk.generate(USER, **options)  # type: ignore[arg-type]
    cert = key.extract_certificate()
    certificate = merged(bytes(cert), bytes(cert))
    assert len(certificate.data) >= len(bytes(cert))
    signature = pysequoia.sign(key.signer(), BODY, mode=pysequoia.SignatureMode.DETACHED)
    packet = detached(dearmor(signature, "SIGNATURE"))[0]
    assert isinstance(examine(BODY, packet, [certificate], NOW, MINUTES), Verified)
    assert merge(certificate, bytes(cert.revoke(key.certifier()))).revoked


# A new key by mail


def test_a_certificate_from_a_mail_proves_that_its_owner_has_the_key(home: Home) -> None:
    fingerprint, other = home.key(), home.key()
    attachment = ("new.asc", "application/pgp-keys", home.gpg("-a", "--export", fingerprint))
    payload = entity.read(compose_entity("key replace\n", [attachment]))
    (found,) = keydata.offered(payload, payload)
    certificate = admit(found, NOW)
    good = detached(home.gpg("-u", fingerprint, "--detach-sign", data=payload.raw))[0]
    verdict = examine(payload.raw, good, [certificate], NOW, MINUTES)
    assert isinstance(verdict, Verified)
    assert verdict.fingerprint == certificate.fingerprint == fingerprint
    for bad, text in (
        (detached(home.gpg("-u", other, "--detach-sign", data=payload.raw))[0], payload.raw),
        (good, payload.raw + b"x"),
    ):
        assert isinstance(examine(text, bad, [certificate], NOW, MINUTES), str)
