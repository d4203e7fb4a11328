"""The gateway's keys over time with a real gpg: user IDs, expiry, and keys that had their day."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pysequoia.packet import PacketPile

from gateway.crypto.certificate import Certificate, read, strip
from gateway.crypto.keyring import Keyring
from gateway.errors import Unavailable, Undecryptable, UsageError
from gateway.message.packet import split
from tests import programs
from tests.programs import Program, ProgramFailed, gpg
from tests.unit.keyring_home import LIMIT, LIST, TEXT, encrypted, fingerprint, made

OWNER = ("ENVIRONET Wildlife owner", "wildlife-owner@environet.example")
EXPERTS = ("-ENVIRONET: Forêts \\x & experts", "wildlife-experts@environet.example")
NAMES = [
    "ENVIRONET Wildlife <wildlife@environet.example>",
    "ENVIRONET Wildlife owner <wildlife-owner@environet.example>",
    "-ENVIRONET: Forêts \\x & experts <wildlife-experts@environet.example>",
]
END = datetime(2040, 5, 17, 12, 30, tzinfo=UTC)
LATER = datetime(2093, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.fixture
def own() -> Iterator[Keyring]:
    with made() as one:
        yield one


@pytest.fixture
def expired(own: Keyring) -> str:
    """Fingerprint of a key for OWNER's address that was made in 2017 and expired in 2020."""
    clock, end = "--faked-system-time=1500000000!", "20200101T000000"
    user_id = f"Old <{OWNER[1]}>"
    gpg(own.home, clock, "--passphrase", "", "--quick-gen-key", user_id, "ed25519", "sign", end)
    listing = gpg(own.home, "--with-colons", "--list-keys", OWNER[1]).decode()
    key = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
    gpg(own.home, clock, "--passphrase", "", "--quick-add-key", key, "cv25519", "encr", end)
    return key


def to_expired(keyring: Keyring, option: str) -> bytes:
    """Encrypted to the expired key while it was valid, binary."""
    clock = "--faked-system-time=1550000000!"
    return gpg(keyring.home, clock, option, OWNER[1], "--encrypt", data=TEXT)


def now(keyring: Keyring, key: str) -> Certificate:
    return read(keyring.export(key))


def primary_user_id(certificate: Certificate) -> str:
    (user_id,) = read(strip(certificate)).user_ids
    return user_id


def ends(certificate: Certificate) -> set[datetime | None]:
    assert len(certificate.keys) == 2
    return {certificate.expires_at, *(key.expires_at for key in certificate.keys)}


def around(moment: datetime) -> set[datetime | None]:
    """gpg may be a second late."""
    return {moment, moment + timedelta(seconds=1)}


# User IDs


def test_a_key_with_three_user_ids_has_the_first_as_its_primary_one(own: Keyring) -> None:
    key = own.generate("ENVIRONET Wildlife", LIST, END, [OWNER, EXPERTS])
    certificate = now(own, key)
    assert sorted(certificate.user_ids) == sorted(NAMES)
    assert primary_user_id(certificate) == NAMES[0]
    # RNP, so Thunderbird, takes the one that is marked, else the first.
    flags: dict[str, bool] = {}
    for packet in PacketPile.from_bytes(own.export(key)):
        if packet.user_id is not None:
            last = packet.user_id
        elif packet.primary_userid is not None:
            flags[last] = packet.primary_userid
    assert flags == {NAMES[0]: True}
    assert ends(certificate) == {END}
    listing = gpg(own.home, "--list-keys", key).decode()
    assert [line.partition("] ")[2] for line in listing.splitlines() if line[:3] == "uid"] == NAMES


def test_a_key_with_three_user_ids_is_made_without_waiting(own: Keyring) -> None:
    """gpg would wait for the next second, for each of the gateway's keys."""
    took = []
    for _ in range(3):
        begun = time.monotonic()
        own.generate("ENVIRONET Wildlife", LIST, END, [OWNER, EXPERTS])
        took.append(time.monotonic() - begun)
    assert min(took) < 0.9


def test_a_user_id_that_is_added_later_is_not_the_primary_one(own: Keyring) -> None:
    key = fingerprint(own)
    own.add_user_id(key, *OWNER)
    own.add_user_id(key, *EXPERTS)
    assert sorted(now(own, key).user_ids) == sorted(NAMES)
    assert primary_user_id(now(own, key)) == NAMES[0]


def test_a_user_id_that_is_there_changes_nothing(own: Keyring) -> None:
    key = own.generate("ENVIRONET Wildlife", LIST, also=[OWNER])
    before = own.export(key)
    own.add_user_id(key, *OWNER)
    own.add_user_id(key, "ENVIRONET Wildlife", LIST)
    assert own.export(key) == before


def test_a_user_id_that_became_the_primary_one_is_put_in_its_place(own: Keyring) -> None:
    key = fingerprint(own)
    gpg(own.home, "--quick-add-uid", key, NAMES[1])
    assert primary_user_id(now(own, key)) == NAMES[1]
    own.add_user_id(key, *OWNER)
    assert primary_user_id(now(own, key)) == NAMES[0]


def test_a_user_id_that_was_revoked_is_a_fault_to_be_told(own: Keyring) -> None:
    key = own.generate("ENVIRONET Wildlife", LIST, also=[OWNER])
    gpg(own.home, "--quick-revoke-uid", key, NAMES[1])
    with pytest.raises(Unavailable):
        own.add_user_id(key, *OWNER)
    own.add_user_id(key, *EXPERTS)
    assert sorted(now(own, key).user_ids) == sorted([NAMES[0], NAMES[2]])


# Expiry


def test_an_expiry_is_of_the_key_and_its_subkey(own: Keyring) -> None:
    key = own.generate("ENVIRONET Wildlife", LIST, also=[OWNER])
    assert ends(now(own, key)) == {None}
    own.set_expiry(key, END)
    assert ends(now(own, key)) <= around(END)
    own.set_expiry(key, LATER)
    assert ends(now(own, key)) <= around(LATER)
    before = own.export(key)
    own.set_expiry(key, LATER)
    assert own.export(key) == before
    own.set_expiry(key, None)
    assert ends(now(own, key)) == {None}
    assert primary_user_id(now(own, key)) == NAMES[0]


def test_an_expiry_is_taken_to_the_second_and_up_to_the_last_one(own: Keyring) -> None:
    assert ends(now(own, own.generate("ENVIRONET Wildlife", LIST, LATER))) == {LATER}


@pytest.mark.parametrize("year", [2020, 2094])
def test_an_expiry_that_gpg_would_get_wrong_is_refused(own: Keyring, year: int) -> None:
    key, expires = fingerprint(own), datetime(year, 1, 1, tzinfo=UTC)
    before = own.export(key)
    with pytest.raises(UsageError):
        own.set_expiry(key, expires)
    with pytest.raises(UsageError):
        own.generate("ENVIRONET", "new@environet.example", expires)
    assert own.export(key) == before


def test_a_revoked_subkey_is_left_alone(own: Keyring) -> None:
    key = fingerprint(own)
    gpg(own.home, "--passphrase", "", "--quick-add-key", key, "cv25519", "encr")
    commands = b"key 1\nrevkey\ny\n0\n\ny\nsave\n"
    gpg(own.home, "--no-batch", "--command-fd", "0", "--edit-key", key, data=commands)
    own.set_expiry(key, END)
    primary, *subkeys = now(own, key).keys
    assert {primary.expires_at} <= around(END)
    assert {one.expires_at for one in subkeys if one.revoked} == {None}
    assert {one.expires_at for one in subkeys if not one.revoked} <= around(END)
    assert len(subkeys) == 2


def test_a_revoked_key_takes_no_expiry(own: Keyring) -> None:
    key = fingerprint(own)
    revocation = (own.home / "openpgp-revocs.d" / f"{key}.rev").read_text()
    gpg(own.home, "--import", data=revocation.replace(":-----BEGIN", "-----BEGIN").encode())
    with pytest.raises(Unavailable):
        own.set_expiry(key, END)


# Keys that had their day


@pytest.mark.parametrize("option", ["--recipient", "--hidden-recipient"])
def test_mail_to_an_expired_key_is_read(own: Keyring, expired: str, option: str) -> None:
    inside = own.unwrap(to_expired(own, option), LIMIT)
    assert programs.verify_message(inside, own.export(expired)) == (None, TEXT)
    with pytest.raises(Unavailable):
        own.sign(TEXT, expired)


def test_an_agent_that_fails_with_an_expired_key_is_not_the_messages_fault(
    own: Keyring, expired: str
) -> None:
    message = to_expired(own, "--recipient")
    shutil.rmtree(own.home / "private-keys-v1.d")
    own.close()
    with pytest.raises(Unavailable):
        own.unwrap(message, LIMIT)
    for key in [LIST, expired]:
        assert own.export(key)


def test_an_expired_key_is_exported_with_its_subkey(own: Keyring, expired: str) -> None:
    assert [key.encrypts for key in now(own, expired).keys] == [False, True]


def test_an_expired_key_is_renewed_and_serves_again(
    own: Keyring, expired: str, program: Program
) -> None:
    old = to_expired(own, "--recipient")
    own.add_user_id(expired, *EXPERTS)
    own.set_expiry(expired, END)
    certificate = now(own, expired)
    assert ends(certificate) <= around(END)
    assert primary_user_id(certificate) == f"Old <{OWNER[1]}>"
    signature, _ = own.sign(TEXT, expired)
    assert programs.verify_detached(TEXT, signature, own.export(expired)) == expired
    assert own.unwrap(old, LIMIT)
    assert own.unwrap(program.encrypt(TEXT, [own.export(expired)]), LIMIT)


def test_a_changed_key_serves_every_program(own: Keyring, program: Program) -> None:
    key = own.generate("ENVIRONET Wildlife", LIST, END, [OWNER])
    own.add_user_id(key, *EXPERTS)
    own.set_expiry(key, LATER)
    signer, text = programs.verify_message(
        own.unwrap(program.encrypt(TEXT, [own.export(key)], True), LIMIT), program.certificate
    )
    assert (signer, text) == (program.fingerprint, TEXT)


def test_an_old_key_opens_and_the_new_one_signs(own: Keyring) -> None:
    old = fingerprint(own)
    message, hidden = encrypted(own, TEXT), gpg(own.home, "-R", old, "--encrypt", data=TEXT)
    new = own.generate("ENVIRONET Wildlife", LIST, END, [OWNER])
    to_new = gpg(own.home, "--recipient", new, "--encrypt", data=TEXT)
    for each in (message, hidden, to_new):
        assert own.unwrap(each, LIMIT)
    for key in (old, new):
        signature, _ = own.sign(TEXT, key)
        assert programs.verify_detached(TEXT, signature, own.export(key)) == key


def to_nobody_in_particular(keyring: Keyring) -> bytes:
    """To a key that is not the first which gpg tries, and to the sender's own, neither named."""
    key = keyring.generate("ENVIRONET Forests", "logging@environet.example")
    with made() as sender:
        certificate = sender.home / "certificate"
        certificate.write_bytes(sender.export(fingerprint(sender)))
        recipients = ["--hidden-recipient", key, "--hidden-recipient-file", str(certificate)]
        options = [*recipients, "--compress-algo", "none"]
        message = gpg(keyring.home, *options, "--encrypt", data=TEXT)
    assert [key_id for key_id, _ in split(message).pkesks] == ["", ""]
    return message


def test_a_message_to_nobody_in_particular_opens_with_each_key(own: Keyring) -> None:
    assert own.unwrap(to_nobody_in_particular(own), LIMIT).endswith(TEXT)


def test_a_message_to_nobody_in_particular_is_refused_if_it_was_changed(own: Keyring) -> None:
    message = to_nobody_in_particular(own)
    for offset in range(len(message) - len(split(message).data), len(message)):
        flipped = bytearray(message)
        flipped[offset] ^= 0x41
        with pytest.raises(Undecryptable):
            own.unwrap(bytes(flipped), LIMIT)


# What happens meanwhile


def test_a_message_is_not_blamed_while_a_key_is_changed(own: Keyring) -> None:
    """gpg renames two files; for whoever looks in between there are no keys."""
    key, faults = fingerprint(own), set[str]()
    messages = [encrypted(own, TEXT), gpg(own.home, "-R", key, "--encrypt", data=TEXT)]

    def read_on(number: int) -> None:
        while not changed.done():
            try:
                own.unwrap(messages[number % 2], LIMIT)
            except Unavailable:
                pass
            except Undecryptable as error:
                faults.add(str(error))

    def change() -> None:
        for number in range(60):
            gpg(own.home, "--quick-add-uid", key, f"{number} <{number}@environet.example>")

    with ThreadPoolExecutor(4) as pool:
        changed = pool.submit(change)
        list(pool.map(read_on, range(3)))
    changed.result()
    assert faults == set()


@pytest.fixture
def hasty(
    own: Keyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[Keyring, Callable[[float], object]]:
    """The same keyring with gpg killed each time, and how many seconds after its start."""
    program, seconds = tmp_path / "timeout", tmp_path / "seconds"
    kill = f"{shutil.which('timeout')} --signal=KILL $(cat {seconds})"
    program.write_text(f'#!/bin/sh\nshift 2\nexec {kill} "$@"\n')
    program.chmod(0o700)
    seconds.write_text("60")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return Keyring(own.home), lambda number: seconds.write_text(f"{number:f}")


def test_what_was_cut_off_ends_well_when_it_is_run_again(
    own: Keyring, hasty: tuple[Keyring, Callable[[float], object]]
) -> None:
    other, kill_after = hasty
    key, message, failed = fingerprint(own), encrypted(own, TEXT), 0

    def cut_off(call: Callable[..., object], *arguments: object) -> None:
        nonlocal failed
        try:
            call(*arguments)
        except Unavailable:
            failed += 1

    for number in range(1, 21):
        name = (f"Desk {number}", f"desk{number}@environet.example")
        kill_after(number / 2000)
        cut_off(other.add_user_id, key, *name)
        cut_off(other.set_expiry, key, END + timedelta(days=number))
        kill_after(number / 500)
        cut_off(other.generate, "ENVIRONET", "new@environet.example", END, [OWNER])
        own.add_user_id(key, *name)
        assert f"{name[0]} <{name[1]}>" in now(own, key).user_ids
    assert failed > 5
    own.set_expiry(key, END)
    new = own.generate("ENVIRONET", "new@environet.example", END, [OWNER])
    assert primary_user_id(now(own, key)) == NAMES[0]
    assert ends(now(own, key)) <= around(END)
    assert ends(now(own, new)) == {END}
    assert own.unwrap(message, LIMIT)


@pytest.fixture(params=["no keybox", "a new one without keys", "one that was not written"])
def halfway(request: pytest.FixtureRequest, own: Keyring) -> Keyring:
    """A home as it is when gpg's second renaming did not come, and what became of it since."""
    keybox = own.home / "pubring.kbx"
    keybox.rename(own.home / "pubring.kbx~")
    if request.param == "a new one without keys":
        gpg(own.home, "--list-keys")
        assert keybox.stat().st_size == 32
    if request.param == "one that was not written":
        keybox.touch()
    return own


def test_keys_that_a_power_cut_took_away_are_back_after_a_start(halfway: Keyring) -> None:
    assert Keyring(halfway.home).sign(TEXT, fingerprint(halfway))


def test_a_change_starts_from_keys_that_a_power_cut_took_away(halfway: Keyring) -> None:
    new = halfway.generate("ENVIRONET Forests", "logging@environet.example")
    for key in (new, fingerprint(halfway)):
        assert halfway.sign(TEXT, key)


def test_a_keybox_that_another_process_is_changing_is_not_touched(own: Keyring) -> None:
    keybox = own.home / "pubring.kbx"
    keybox.rename(own.home / "pubring.kbx~")
    descriptor = os.open(own.home, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        Keyring(own.home)
        assert not keybox.exists()
    finally:
        os.close(descriptor)
    Keyring(own.home)
    assert keybox.exists()


def test_changes_at_the_same_time_are_all_made(own: Keyring) -> None:
    key = fingerprint(own)

    def change(number: int) -> None:
        Keyring(own.home).add_user_id(key, f"Desk {number}", f"desk{number}@environet.example")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(12)))
    assert len(now(own, key).user_ids) == 13


def test_nobody_is_asked_for_anything(own: Keyring) -> None:
    """Neither for a passphrase, by pinentry, nor for trust, also without gpg's record of it."""
    asked, pinentry = own.home / "asked", own.home / "pinentry"
    pinentry.write_text(f"#!/bin/sh\ntouch {asked}\nexit 1\n")
    pinentry.chmod(0o700)
    with (own.home / "gpg-agent.conf").open("a") as conf:
        conf.write(f"\npinentry-program {pinentry}\n")
    own.close()
    for name in ("trustdb.gpg", "tofu.db"):
        (own.home / name).unlink(missing_ok=True)
    key = own.generate("ENVIRONET Wildlife", LIST, END, [OWNER])
    for one in (key, fingerprint(own)):
        own.add_user_id(one, *EXPERTS)
        own.set_expiry(one, LATER)
        assert own.sign(TEXT, one)
        assert own.decrypt(own.encrypt_to_self(TEXT, one)) == TEXT
    assert not asked.exists()
    with pytest.raises(ProgramFailed):
        gpg(own.home, "--quick-gen-key", "A key with a passphrase")
    assert asked.exists()


def test_a_key_is_on_the_disk_before_it_is_told_of(
    own: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = set[str]()

    def fsync(descriptor: int) -> None:
        written.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    real = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    secrets = own.home / "private-keys-v1.d"
    before = set(secrets.iterdir())
    key = own.generate("ENVIRONET", "new@environet.example")
    keybox = own.home / "pubring.kbx"
    wanted = {own.home, keybox, secrets, *(set(secrets.iterdir()) - before)}
    assert len(wanted) == 5
    assert {str(path) for path in wanted} <= written
    written.clear()
    own.add_user_id(key, *OWNER)
    assert {str(own.home), str(keybox)} <= written
    written.clear()
    own.set_expiry(key, END)
    assert {str(own.home), str(keybox)} <= written
