"""The health of certificates: what fails, what will, and what is getting old."""

from __future__ import annotations

from collections.abc import Iterator

import pysequoia
import pytest

from gateway.crypto.certificate import merge, read
from gateway.crypto.key_health import health
from tests.unit.owners import (
    DAY,
    LATER,
    LONG_AGO,
    NOW,
    USER,
    Home,
    gpg_home,
)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with gpg_home() as home:
        yield home


def test_a_healthy_certificate(home: Home) -> None:
    found = health(read(home.certificate(home.key())), NOW)
    assert (found.fault, found.signs, found.encrypts) == (None, True, True)
    assert (found.expires_at, found.algorithm) == (None, "Ed25519/Cv25519")
    assert (found.post_quantum, found.weaknesses) == (False, ())


def test_it_serves_until_the_first_of_its_keys_expires(home: Home) -> None:
    fingerprint = home.key(expires="90d", subkey_expires="60d")
    home.add(fingerprint, "ed25519", "sign", "30d")
    certificate = read(home.certificate(fingerprint))
    assert health(certificate, LONG_AGO + DAY).expires_at == LONG_AGO + 60 * DAY
    home.edit(fingerprint, "change-usage", "s", "q", at=LATER)
    certificate = read(home.certificate(fingerprint))
    assert not certificate.keys[0].signs
    assert health(certificate, LATER).expires_at == LONG_AGO + 30 * DAY


def test_one_key_that_signs_for_ever_is_enough(home: Home) -> None:
    fingerprint = home.key()
    home.gpg("--quick-add-key", fingerprint, "rsa2048", "sign", "30d", at=LATER)
    certificate = read(home.certificate(fingerprint))
    assert health(certificate, NOW).expires_at is None
    assert health(certificate, NOW).algorithm == "Ed25519/Cv25519"
    assert health(certificate, LATER).algorithm == "RSA-2048/Cv25519"


@pytest.mark.parametrize(
    ("days", "signs", "encrypts", "word"),
    [
        (29, True, True, None),
        (30, True, False, "encryption key"),
        (60, False, False, "certificate expired"),
    ],
)
def test_what_expires_is_told(
    home: Home, days: int, signs: bool, encrypts: bool, word: str | None
) -> None:
    fingerprint = home.key(expires="60d", subkey_expires="30d")
    home.add(fingerprint, "ed25519", "sign")
    certificate = read(home.certificate(fingerprint))
    found = health(certificate, LONG_AGO + days * DAY)
    assert (found.signs, found.encrypts) == (signs, encrypts)
    assert word in found.fault if word and found.fault else found.fault is word
    assert found.expires_at == LONG_AGO + 30 * DAY


def test_a_revoked_certificate_serves_for_nothing(home: Home) -> None:
    fingerprint = home.key()
    after = merge(read(home.certificate(fingerprint)), home.revocation(fingerprint))
    found = health(after, NOW)
    assert (found.fault, found.signs, found.encrypts) == (
        "The certificate is revoked. It has no key in force that can sign.", False, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("signing", "encryption", "name", "weaknesses", "encrypts"),
    [
        ("rsa4096", "rsa4096", "RSA-4096", 0, True),
        ("rsa2048", "rsa2048", "RSA-2048", 2, True),
        ("ed25519", "rsa2048", "Ed25519/RSA-2048", 1, True),
        ("nistp384", "nistp384", "P-384", 0, True),
        ("ed25519", "elg2048", "Ed25519/ElGamal-2048", 1, False),
    ],
)
def test_algorithms_are_named(
    home: Home, signing: str, encryption: str, name: str, weaknesses: int, encrypts: bool
) -> None:
    user_id = f"{signing} <{encryption}@customs.example>"
    home.gpg("--quick-gen-key", user_id, signing, "sign")
    listing = home.gpg("--with-colons", "--list-keys", user_id).decode().splitlines()
    fingerprint = next(line.split(":")[9] for line in listing if line.startswith("fpr:"))
    home.gpg("--quick-add-key", fingerprint, encryption, "encr", "never")
    found = health(read(home.certificate(fingerprint)), NOW)
    assert (found.algorithm, len(found.weaknesses)) == (name, weaknesses)
    assert (found.encrypts, found.fault is None) == (encrypts, encrypts)


@pytest.mark.parametrize(
    ("options", "name", "post_quantum"),
    [
        ({}, "Ed25519/X25519", False),
        ({"cipher_suite": pysequoia.CipherSuite.Cv448}, "Ed448/X448", False),
        (
            {"encryption_algorithm": pysequoia.EncryptionAlgorithm.MLKEM768_X25519},
            "Ed25519/ML-KEM-768+X25519",
            True,
        ),
        (
            {"cipher_suite": pysequoia.CipherSuite.MLDSA87_Ed448},
            "ML-DSA-87+Ed448/ML-KEM-1024+X448",
            True,
        ),
    ],
)
def test_newer_algorithms_are_named(
    options: dict[str, object], name: str, post_quantum: bool
) -> None:
    key = pysequoia.Tsk.generate(USER, profile=pysequoia.Profile.RFC9580, **options)  # type: ignore[arg-type]
    found = health(read(bytes(key.extract_certificate())), NOW)
    assert (found.algorithm, found.post_quantum, found.fault) == (name, post_quantum, None)
