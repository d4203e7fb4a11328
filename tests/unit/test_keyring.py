"""The gateway's keys with a real gpg: what opens, and what never will."""

from __future__ import annotations

import logging
import os
import stat
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pysequoia import Cert

from gateway.crypto.keyring import Keyring
from gateway.errors import TooLarge, Unavailable, Undecryptable, UsageError
from tests import programs
from tests.programs import Program, gpg
from tests.unit.keyring_home import LIMIT, LIST, TEXT, encrypted, fingerprint, made


@pytest.fixture(scope="module")
def keyring() -> Iterator[Keyring]:
    with made() as one:
        yield one


@pytest.fixture
def own() -> Iterator[Keyring]:
    """A keyring that a test may change."""
    with made() as one:
        yield one


# Keys


def test_a_new_home_is_private_and_configured(keyring: Keyring) -> None:
    assert stat.S_IMODE(keyring.home.stat().st_mode) == 0o700
    assert "auto-expand-secmem" in (keyring.home / "gpg-agent.conf").read_text()


def test_generated_key(own: Keyring) -> None:
    made = own.generate("ENVIRONET Forêts & forests", "logging@environet.example")
    assert made == made.upper()
    assert (own.home / "openpgp-revocs.d" / f"{made}.rev").is_file()
    certificate = Cert.from_bytes(own.export(made))
    assert certificate.fingerprint.upper() == made
    assert [str(one) for one in certificate.user_ids] == [
        "ENVIRONET Forêts & forests <logging@environet.example>"
    ]
    assert certificate.expiration is None
    assert own.export_armored(made).startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    listing = gpg(own.home, "--with-colons", "--list-keys", made).decode()
    keys = [line.split(":") for line in listing.splitlines() if line[:3] in ("pub", "sub")]
    assert [key[16] for key in keys] == ["ed25519", "cv25519"]
    assert [set(key[11]) & set("esc") for key in keys] == [{"s", "c"}, {"e"}]


def test_generated_key_with_an_end(own: Keyring) -> None:
    end = datetime(2040, 5, 17, 12, 30, tzinfo=UTC)
    made = own.generate("ENVIRONET Operation", "operation@environet.example", end)
    assert Cert.from_bytes(own.export(made)).expiration == end


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("A\nKey-Usage: auth", "a@x.example"),
        ("A", "a@x.example\n%no"),
        ("", "a@x.example"),
        ("A", "nobody"),
        ("A <b@x.example>", "a@x.example"),
        (" A", "a@x.example"),
    ],
)
def test_user_ids_are_one_line(keyring: Keyring, name: str, address: str) -> None:
    with pytest.raises(UsageError):
        keyring.generate(name, address)
    with pytest.raises(UsageError):
        keyring.generate("B", "b@x.example", also=[(name, address)])
    with pytest.raises(UsageError):
        keyring.add_user_id(fingerprint(keyring), name, address)


def test_a_home_is_made_once_and_on_a_short_path(keyring: Keyring, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"):
        Keyring.create(keyring.home, {})
    with pytest.raises(UsageError, match="shorter"):
        Keyring.create(tmp_path / ("x" * 100) / "gnupg", {})
    assert not (tmp_path / ("x" * 100)).exists()


# What opens


def test_unwrap_of_each_program(keyring: Keyring, program: Program) -> None:
    certificate = keyring.export(fingerprint(keyring))
    signer, text = programs.verify_message(
        keyring.unwrap(program.encrypt(TEXT, [certificate], True), LIMIT), program.certificate
    )
    assert (signer, text) == (program.fingerprint, TEXT)


def test_unwrap_of_a_hidden_recipient(keyring: Keyring) -> None:
    hidden = gpg(keyring.home, "--hidden-recipient", LIST, "--encrypt", data=TEXT)
    assert keyring.unwrap(hidden, LIMIT)


def test_unwrap_does_not_inflate(keyring: Keyring) -> None:
    bomb = encrypted(keyring, bytes(100 << 20))
    inside = keyring.unwrap(bomb, len(bomb))
    assert len(inside) < len(bomb) < 1 << 20


def test_unwrap_of_64_at_once(keyring: Keyring) -> None:
    texts = [b"%d" % number for number in range(64)]
    messages = [encrypted(keyring, text, "--compress-algo", "none") for text in texts]
    with ThreadPoolExecutor(64) as pool:
        inside = list(pool.map(lambda one: keyring.unwrap(one, LIMIT), messages))
    assert all(one.endswith(text) for one, text in zip(inside, texts, strict=True))


# What is refused for good


def test_every_flipped_byte_is_the_messages_fault(keyring: Keyring) -> None:
    message = encrypted(keyring, TEXT, "--compress-algo", "none")
    accepted = []
    for offset in range(len(message)):
        flipped = bytearray(message)
        flipped[offset] ^= 0x41
        try:
            keyring.unwrap(bytes(flipped), LIMIT)
        except Undecryptable:
            continue
        accepted.append(offset)
    assert accepted == []


def test_every_cut_is_the_messages_fault(keyring: Keyring) -> None:
    message = encrypted(keyring, TEXT, "--compress-algo", "none")
    for length in range(len(message)):
        with pytest.raises(Undecryptable):
            keyring.unwrap(message[:length], LIMIT)


def test_no_integrity_protection(keyring: Keyring) -> None:
    with pytest.raises(Undecryptable, match="integrity"):
        keyring.unwrap(encrypted(keyring, TEXT, "--rfc2440", "--disable-mdc"), LIMIT)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"no OpenPGP\r\n" * 100_000,
        b"\xcb\x07b\x00\x00\x00\x00\x00x",
        # gpg ends at once and leaves the rest unread.
        b"\xd2\xff\x00\x4c\x4b\x40\x09" + bytes(0x4C4B3F),
    ],
    ids=["empty", "text", "literal", "unknown version"],
)
def test_not_encrypted(keyring: Keyring, message: bytes) -> None:
    with pytest.raises(Undecryptable):
        keyring.unwrap(message, LIMIT)


@pytest.mark.parametrize("option", ["--recipient", "--hidden-recipient"])
def test_to_somebody_else(keyring: Keyring, own: Keyring, option: str) -> None:
    with pytest.raises(Undecryptable, match="not encrypted to a key of ours"):
        keyring.unwrap(gpg(own.home, option, LIST, "--encrypt", data=TEXT), LIMIT)


def test_one_that_opens_after_one_that_does_not(keyring: Keyring, own: Keyring) -> None:
    for first in (encrypted(own, TEXT), encrypted(keyring, TEXT, "--rfc2440", "--disable-mdc")):
        with pytest.raises(Undecryptable):
            keyring.unwrap(first + encrypted(keyring, TEXT), LIMIT)


def test_by_passphrase_alone(keyring: Keyring) -> None:
    secret = ["--passphrase", "x", "--pinentry-mode", "loopback", "--symmetric"]
    with pytest.raises(Undecryptable):
        keyring.unwrap(gpg(keyring.home, *secret, data=TEXT), LIMIT)


def test_more_than_the_limit(keyring: Keyring) -> None:
    message = encrypted(keyring, os.urandom(5 << 20), "--compress-algo", "none")
    with pytest.raises(TooLarge):
        keyring.unwrap(message, 5 << 20)
    assert keyring.unwrap(message, 6 << 20)


def test_what_gpg_lets_through_and_the_callers_grammar_must_not(keyring: Keyring) -> None:
    """Why unwrap wants its outer packets checked first."""
    message = encrypted(keyring, TEXT, "--compress-algo", "none")
    assert keyring.unwrap(message + b"injected", LIMIT).endswith(b"injected")
    empty = encrypted(keyring, b"", "--compress-algo", "none")
    clear = gpg(keyring.home, "--sign", data=b"clear")
    assert keyring.unwrap(empty + clear, LIMIT)


# Signing and the vault's data key


def test_signature(keyring: Keyring) -> None:
    signature, micalg = keyring.sign(TEXT, fingerprint(keyring))
    certificate = keyring.export(fingerprint(keyring))
    assert micalg == programs.micalg(signature) == "pgp-sha512"
    assert programs.verify_detached(TEXT, signature, certificate) == fingerprint(keyring)
    assert programs.verify_detached(TEXT + b" ", signature, certificate) is None


def test_no_other_key_signs_in_its_place(own: Keyring) -> None:
    lost = own.generate("ENVIRONET General", "general@environet.example")
    gpg(own.home, "--yes", "--delete-secret-keys", lost)
    with pytest.raises(Unavailable):
        own.sign(TEXT, lost)
    with pytest.raises(Unavailable):
        own.sign(TEXT, "0" * 40)
    assert own.sign(TEXT, fingerprint(own))


def test_data_key(keyring: Keyring) -> None:
    key = os.urandom(32)
    sealed = keyring.encrypt_to_self(key, fingerprint(keyring))
    assert key not in sealed
    assert keyring.decrypt(sealed) == key
    with pytest.raises(Undecryptable):
        keyring.decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(TooLarge):
        keyring.decrypt(encrypted(keyring, bytes(2 << 20)))


# Discretion


def test_nothing_is_written_or_logged(
    own: Keyring, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No temporary file, no new file in the home, no word of the content in any log record."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    caplog.set_level(logging.DEBUG)
    message = encrypted(own, TEXT, "--set-filename", "tusks.txt")
    own.sign(TEXT, fingerprint(own))
    before = {path: path.stat().st_mtime_ns for path in own.home.rglob("*")}
    own.unwrap(message, LIMIT)
    own.sign(TEXT, fingerprint(own))
    own.decrypt(own.encrypt_to_self(TEXT, fingerprint(own)))
    with pytest.raises(Undecryptable):
        own.unwrap(b"no OpenPGP" * 100_000, LIMIT)
    after = {path: path.stat().st_mtime_ns for path in own.home.rglob("*")}
    changed = {path.name for path in after if before.get(path) != after[path]}
    assert changed <= {"random_seed"}
    assert list(tmp_path.iterdir()) == []
    assert [record for record in caplog.records if record.name == "gnupg"] == []


def test_memory_of_a_large_message(keyring: Keyring) -> None:
    """One copy of what comes out, and the room a buffer keeps for growing."""
    size = 50 << 20
    message = encrypted(keyring, os.urandom(size), "--compress-algo", "none")
    tracemalloc.start()
    try:
        inside = keyring.unwrap(message, size + (1 << 20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(inside) > size
    assert peak < 1.3 * size
