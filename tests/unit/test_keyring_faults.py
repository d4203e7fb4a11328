"""Faults on the gateway's own side, with a real gpg: never a verdict on the message."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.crypto.keyring import Keyring
from gateway.errors import Unavailable
from tests import programs
from tests.faults.machine import has_disks
from tests.gateway import short_place
from tests.programs import gpg, run
from tests.unit.keyring_home import LIMIT, LIST, TEXT, encrypted, fingerprint, made


@pytest.fixture
def own() -> Iterator[Keyring]:
    with made() as one:
        yield one


def agent_pid(keyring: Keyring) -> int:
    answer = programs.run(
        ["gpg-connect-agent", "--homedir", str(keyring.home), "getinfo pid", "/bye"]
    )
    return int(answer.split()[1])


@pytest.fixture
def no_agent(own: Keyring) -> Callable[[str], Keyring]:
    def replace(agent: str) -> Keyring:
        program = own.home / "agent"
        program.write_text(f"#!/bin/sh\n{agent}\n")
        program.chmod(0o700)
        with (own.home / "gpg.conf").open("a") as conf:
            conf.write(f"\nagent-program {program}\n")
        own.close()
        return Keyring(own.home, timeout=1)

    return replace


@pytest.mark.parametrize("agent", ["exit 1", "kill -SEGV $$", "sleep 30"])
def test_agent_that_does_not_start(
    own: Keyring, no_agent: Callable[[str], Keyring], agent: str
) -> None:
    data_key = own.encrypt_to_self(b"key", fingerprint(own))
    hidden = gpg(own.home, "--hidden-recipient", LIST, "--encrypt", data=TEXT)
    certificate = fingerprint(own)
    broken = no_agent(agent)
    for attempt in (
        lambda: broken.unwrap(data_key, LIMIT),
        lambda: broken.unwrap(hidden, LIMIT),
        lambda: broken.decrypt(data_key),
        lambda: broken.sign(TEXT, certificate),
        lambda: broken.generate("ENVIRONET", "new@environet.example"),
        lambda: broken.add_user_id(certificate, "ENVIRONET", "new@environet.example"),
        lambda: broken.set_expiry(certificate, datetime(2040, 1, 1, tzinfo=UTC)),
    ):
        with pytest.raises(Unavailable):
            attempt()


def test_agent_that_hangs(own: Keyring) -> None:
    message, key = encrypted(own, TEXT), fingerprint(own)
    impatient = Keyring(own.home, timeout=0.5)
    assert impatient.unwrap(message, LIMIT)
    pid = agent_pid(own)
    programs.suspend(pid)
    begun = time.monotonic()
    try:
        with pytest.raises(Unavailable, match="124"):
            impatient.unwrap(message, LIMIT)
        with pytest.raises(Unavailable):
            impatient.sign(TEXT, "0" * 40)
        with pytest.raises(Unavailable, match="124"):
            impatient.add_user_id(key, "ENVIRONET", "new@environet.example")
        assert time.monotonic() - begun < 3
    finally:
        os.kill(pid, signal.SIGCONT)
    assert impatient.unwrap(message, LIMIT)


@pytest.mark.skipif(not has_disks(), reason="needs root, for a disk that can be filled")
@pytest.mark.parametrize("agent_runs", [True, False])
def test_a_full_disk_is_not_the_messages_fault(tmp_path: Path, agent_runs: bool) -> None:
    place = short_place("full")
    run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(place)])
    try:
        own = Keyring.create(place / "gnupg", {})
        own.generate("Wildlife", LIST)
        message = encrypted(own, TEXT)
        assert own.unwrap(message, LIMIT)
        if not agent_runs:
            own.close()
        with (place / "filling").open("wb", buffering=0) as filling:
            with suppress(OSError):
                while True:
                    filling.write(bytes(4096))
            with pytest.raises(Unavailable):
                own.unwrap(message, LIMIT)
            filling.truncate(0)
            assert own.unwrap(message, LIMIT)
        own.close()
    finally:
        run(["umount", "--lazy", str(place)])  # an agent takes a moment to end
        place.rmdir()


def test_agent_without_memory(own: Keyring) -> None:
    """64 RSA decryptions at once in an agent that may not expand its secure memory."""
    gpg(own.home, "--passphrase", "", "--quick-gen-key", "r@x.example", "rsa4096", "sign,encr")
    message = gpg(own.home, "--recipient", "r@x.example", "--encrypt", data=TEXT)
    (own.home / "gpg-agent.conf").write_text("disable-scdaemon\n")
    own.close()
    crowded = Keyring(own.home, parallel=64)

    def attempt(_: int) -> bool:
        try:
            crowded.unwrap(message, LIMIT)
        except Unavailable:
            return False
        return True

    with ThreadPoolExecutor(64) as pool:
        if all(pool.map(attempt, range(128))):
            pytest.skip("this gpg-agent found memory enough")


def test_lost_keys(own: Keyring) -> None:
    message = encrypted(own, TEXT)
    (own.home / "private-keys-v1.d").rename(own.home / "elsewhere")
    with pytest.raises(Unavailable):
        own.unwrap(message, LIMIT)
    (own.home / "elsewhere").rename(own.home / "private-keys-v1.d")
    (own.home / "pubring.kbx").rename(own.home / "elsewhere")
    with pytest.raises(Unavailable):
        own.unwrap(message, LIMIT)
    (own.home / "elsewhere").rename(own.home / "pubring.kbx")
    assert own.unwrap(message, LIMIT)


@pytest.mark.parametrize("damage", ["home", "pubring"])
def test_lost_home(own: Keyring, damage: str) -> None:
    message, key, elsewhere = encrypted(own, TEXT), fingerprint(own), own.home.parent / "elsewhere"
    if damage == "home":
        own.home.rename(elsewhere)
    else:
        (own.home / "pubring.kbx").write_bytes(b"no keybox\n" * 100)
    attempts: dict[str, Callable[[], object]] = {
        "unwrap": lambda: own.unwrap(message, LIMIT),
        "export": lambda: own.export(key),
        "encrypt": lambda: own.encrypt_to_self(b"x", key),
        "sign": lambda: own.sign(TEXT, key),
        "generate": lambda: own.generate("ENVIRONET", "new@environet.example"),
        "user ID": lambda: own.add_user_id(key, "ENVIRONET", "new@environet.example"),
        "expiry": lambda: own.set_expiry(key, None),
    }
    answered = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except Unavailable:
            continue
        answered.append(name)
    if damage == "home":
        shutil.rmtree(own.home, ignore_errors=True)
        elsewhere.rename(own.home)
    assert answered == []


def test_no_gpg(own: Keyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable):
        Keyring(own.home)
    with pytest.raises(Unavailable):
        Keyring(tmp_path / "none")
    with pytest.raises(Unavailable):
        own.close()
    monkeypatch.undo()


def test_unwrap_after_the_agent_was_killed(own: Keyring) -> None:
    message = encrypted(own, TEXT)
    os.kill(agent_pid(own), signal.SIGKILL)
    assert own.unwrap(message, LIMIT)
    own.close()
    assert own.unwrap(message, LIMIT)


def test_unwrap_while_the_agent_is_killed_again_and_again(own: Keyring) -> None:
    message = encrypted(own, TEXT)
    hidden = gpg(own.home, "--hidden-recipient", LIST, "--encrypt", data=TEXT)
    expected = own.unwrap(message, LIMIT)

    def attempt(one: bytes) -> bytes | None:
        try:
            return own.unwrap(one, LIMIT)
        except Unavailable:
            return None

    with ThreadPoolExecutor(4) as pool:
        attempts = pool.map(attempt, [message, hidden] * 30)
        for _ in range(5):
            os.kill(agent_pid(own), signal.SIGKILL)
        assert set(attempts) <= {expected, own.unwrap(hidden, LIMIT), None}
    assert own.unwrap(message, LIMIT) == expected
