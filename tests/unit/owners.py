"""Keys whose owners do with them what tests ask for: gpg's, and one that is written by hand."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha1, sha512
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.crypto.certificate import Certificate, merge, read
from gateway.message.packet import (
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    SIGNATURE,
    USER_ID,
    body,
    frame,
    packets,
)
from tests import programs

DAY = timedelta(days=1)
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
LATER = LONG_AGO + 10 * DAY
NOW = datetime.now(UTC) + timedelta(hours=2)
"""Later than any key that a test makes, however long the tests take."""
USER = "Ana Lind <ana@customs.example>"


class Home:
    """A GnuPG home with officers' keys, all made LONG_AGO."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def gpg(self, *arguments: str, data: bytes = b"", at: datetime | None = None) -> bytes:
        clock = [f"--faked-system-time={int(at.timestamp())}!"] if at else []
        return programs.gpg(self.path, "--passphrase", "", *clock, *arguments, data=data)

    def key(
        self, user_id: str = USER, expires: str = "never", subkey_expires: str = "never"
    ) -> str:
        """A new key's fingerprint; it has a subkey for encryption. expires: as gpg takes it."""
        new = ("--yes", "--status-fd", "1", "--quick-gen-key", user_id, "ed25519", "sign", expires)
        status = self.gpg("--allow-freeform-uid", *new, at=LONG_AGO)
        fingerprint = status.split(b"KEY_CREATED P ")[1].split()[0].decode()
        self.add(fingerprint, "cv25519", "encr", subkey_expires)
        return fingerprint

    def add(self, fingerprint: str, algorithm: str, use: str, expires: str = "never") -> None:
        self.gpg("--quick-add-key", fingerprint, algorithm, use, expires, at=LONG_AGO)

    def edit(self, fingerprint: str, *answers: str, at: datetime = LATER) -> None:
        command = ("--command-fd", "0", "--edit-key", fingerprint)
        self.gpg(*command, data="\n".join((*answers, "save", "")).encode(), at=at)

    def certificate(self, fingerprint: str) -> bytes:
        return self.gpg("--export", fingerprint)

    def revocation(self, fingerprint: str) -> bytes:
        """The revocation that gpg makes along with a key, armored, standing alone."""
        stored = (self.path / "openpgp-revocs.d" / f"{fingerprint}.rev").read_bytes()
        return stored[stored.index(b":-----BEGIN") + 1 :]


@contextmanager
def gpg_home() -> Iterator[Home]:
    with TemporaryDirectory(prefix="g", dir="/tmp") as folder:
        yield Home(Path(folder))
        programs.run(["gpgconf", "--homedir", folder, "--kill", "all"])


class Owner:
    """A version 4 Ed25519 key made LONG_AGO that signs what no program would (RFC 9580 5.2.4)."""

    def __init__(self) -> None:
        self._secret = Ed25519PrivateKey.generate()
        point = b"\x40" + self._secret.public_key().public_bytes_raw()
        curve = bytes.fromhex("092b06010401da470f01")
        made = int(LONG_AGO.timestamp()).to_bytes(4, "big")
        self.body = b"\x04" + made + b"\x16" + curve + number(point)
        self.primary = frame(PUBLIC_KEY, self.body)
        self.subkey = frame(PUBLIC_SUBKEY, self.body)

    @property
    def fingerprint(self) -> bytes:
        return sha1(hashed_key(self.body)).digest()

    @property
    def issuer(self) -> bytes:
        return subpacket(33, b"\x04" + self.fingerprint)

    @property
    def key_id(self) -> bytes:
        return subpacket(16, self.fingerprint[-8:])

    def on_user_id(self, kind: int, user_id: bytes, *also: bytes, **how: Any) -> bytes:
        subject = hashed_key(self.body) + b"\xb4" + len(user_id).to_bytes(4, "big") + user_id
        return self._sign(kind, subject, also, **how)

    def on_key(self, kind: int, *also: bytes, **how: Any) -> bytes:
        return self._sign(kind, hashed_key(self.body), also, **how)

    def on_subkey(self, kind: int, subkey: bytes, *also: bytes, **how: Any) -> bytes:
        return self._sign(kind, hashed_key(self.body) + hashed_key(subkey), also, **how)

    def agrees_to(self, primary: Owner, at: datetime = LONG_AGO) -> bytes:
        """The embedded signature, as a subpacket, by which this key agrees to be a subkey."""
        subject = hashed_key(primary.body) + hashed_key(self.body)
        made = self._sign(0x19, subject, (), at=at)
        return subpacket(32, body(made, next(packets(made))))

    def certificate(self, user_id: bytes = USER.encode()) -> bytes:
        signature = self.on_user_id(0x13, user_id, SIGNS)
        return self.primary + frame(USER_ID, user_id) + signature

    def _sign(
        self,
        kind: int,
        subject: bytes,
        also: Sequence[bytes],
        at: datetime = LONG_AGO,
        issuer: bytes | None = None,
        unhashed: bytes = b"",
        forged: bool = False,
    ) -> bytes:
        """A signature packet. also: more hashed subpackets. issuer: those that name it."""
        made = subpacket(2, int(at.timestamp()).to_bytes(4, "big"))
        hashed = made + (self.issuer if issuer is None else issuer) + b"".join(also)
        head = bytes([4, kind, 22, 10]) + len(hashed).to_bytes(2, "big") + hashed
        digest = sha512(subject + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
        good = os.urandom(64) if forged else self._secret.sign(digest)
        content = head + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2]
        return frame(SIGNATURE, content + number(good[:32]) + number(good[32:]))


def subpacket(kind: int, value: bytes) -> bytes:
    length = len(value) + 1
    head = bytes([length]) if length < 192 else b"\xff" + length.to_bytes(4, "big")
    return head + bytes([kind]) + value


def number(octets: bytes) -> bytes:
    value = int.from_bytes(octets, "big")
    return value.bit_length().to_bytes(2, "big") + value.to_bytes(
        -(-value.bit_length() // 8), "big"
    )


def hashed_key(content: bytes) -> bytes:
    return b"\x99" + len(content).to_bytes(2, "big") + content


CERTIFIES, SIGNS, ENCRYPTS = (subpacket(27, bytes([flag])) for flag in (0x01, 0x02, 0x0C))


def pieces(data: bytes) -> list[bytes]:
    return [data[each.start : each.end] for each in packets(data)]


def tags(data: bytes) -> list[int]:
    return [each.tag for each in packets(data)]


def rewritten(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A certificate with the unhashed areas changed, which no signature covers."""
    made = []
    for packet, whole in zip(packets(data), pieces(data), strict=True):
        if packet.tag == SIGNATURE:
            content = body(data, packet)
            end = 6 + int.from_bytes(content[4:6], "big")
            rest = end + 2 + int.from_bytes(content[end : end + 2], "big")
            area = change(content[end + 2 : rest])
            content = content[:end] + len(area).to_bytes(2, "big") + area + content[rest:]
            made.append(frame(SIGNATURE, content))
        else:
            made.append(whole)
    return b"".join(made)


def merged(*copies: bytes) -> Certificate:
    """All copies merged, whose order must make no difference, nor must merging them again."""
    results = []
    for first, *others in itertools.permutations(copies):
        certificate = read(first)
        for other in (*others, first, *others):
            certificate = merge(certificate, other)
        results.append(certificate)
    assert len(set(results)) == 1
    assert merge(results[0], results[0].data) == results[0]
    assert read(results[0].data) == results[0]
    return results[0]
