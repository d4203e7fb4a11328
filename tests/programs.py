"""The OpenPGP programs that members use: GnuPG, Sequoia's sq, RNP, and Sequoia in-process.

Each keeps one key without a passphrase in a home of its own. Messages and signatures made here are
in ASCII armor with LF line ends; certificates are taken armored or binary.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

import pysequoia
from pysequoia.packet import PacketPile, Tag

_T = TypeVar("_T")


class ProgramMissing(Exception):
    """The program is not installed here."""


class ProgramFailed(Exception):
    """The program refused; str() is its own words."""


class Unsupported(Exception):
    """The program can't do this (an algorithm, a faked clock)."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key to be made. created and expires: UTC; None is now, and never."""

    user_id: str
    algorithm: str = "cv25519"
    created: datetime | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class How:
    """at: the moment the program takes for now (UTC); None is the clock's. options: arguments."""

    at: datetime | None = None
    options: Sequence[str] = ()


USUAL = How()


class Program(ABC):
    """One OpenPGP program with one secret key."""

    certificate: bytes

    def __init__(self, home: Path, request: KeyRequest) -> None:
        self.home = home
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.certificate = self._generate(request)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.certificate)

    @abstractmethod
    def _generate(self, request: KeyRequest) -> bytes:
        """Make the key; return its certificate, armored."""

    @abstractmethod
    def sign(self, data: bytes, mode: str = "detached", how: How = USUAL) -> bytes:
        """mode: "detached", "inline" (a one-pass signed message) or "clear" (RFC 9580 7)."""

    @abstractmethod
    def encrypt(
        self, data: bytes, certificates: Sequence[bytes], sign: bool = False, how: How = USUAL
    ) -> bytes:
        """To all these certificates, and signed within the same message if `sign`."""

    @abstractmethod
    def decrypt(self, message: bytes) -> bytes:
        """What is in a message to this key; signatures are not judged. Raises ProgramFailed."""

    def close(self) -> None:  # noqa: B027  most programs leave nothing running
        """End whatever the program left running."""


class Gpg(Program):
    """GnuPG 2.2 and later. The home's path must be short: gpg-agent has a socket in it."""

    _ALGORITHMS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "cv25519": ("ed25519", "cv25519"),
        "rsa2048": ("rsa2048", "rsa2048"),
        "rsa3072": ("rsa3072", "rsa3072"),
        "rsa4096": ("rsa4096", "rsa4096"),
        "nistp256": ("nistp256", "nistp256"),
        "nistp384": ("nistp384", "nistp384"),
        "nistp521": ("nistp521", "nistp521"),
        "brainpoolP256r1": ("brainpoolP256r1", "brainpoolP256r1"),
        "brainpoolP384r1": ("brainpoolP384r1", "brainpoolP384r1"),
        "brainpoolP512r1": ("brainpoolP512r1", "brainpoolP512r1"),
        "dsa": ("dsa2048", "cv25519"),
        "elgamal": ("ed25519", "elg2048"),
    }

    def _generate(self, request: KeyRequest) -> bytes:
        signing, encryption = _choice(self._ALGORITHMS, request.algorithm)
        expires = f"{request.expires:%Y%m%dT%H%M%S}" if request.expires else "never"
        made = ["--passphrase", "", "--status-fd", "1"]
        user_id = request.user_id
        status = self._gpg(
            *made, "--quick-gen-key", user_id, signing, "sign", expires, at=request.created
        )
        key = status.split(b"KEY_CREATED P ")[1].split()[0].decode()
        self._gpg(*made, "--quick-add-key", key, encryption, "encr", expires, at=request.created)
        return self._gpg("--armor", "--export", key)

    def sign(self, data: bytes, mode: str = "detached", how: How = USUAL) -> bytes:
        command = {"detached": "--detach-sign", "inline": "--sign", "clear": "--clear-sign"}[mode]
        return self._gpg(*how.options, "--armor", command, data=data, at=how.at)

    def encrypt(
        self, data: bytes, certificates: Sequence[bytes], sign: bool = False, how: How = USUAL
    ) -> bytes:
        with _files(certificates) as paths:
            recipients = [word for path in paths for word in ("--recipient-file", str(path))]
            signing = ["--sign"] if sign else []
            command = ["--armor", *recipients, *signing, "--encrypt"]
            return self._gpg(*how.options, *command, data=data, at=how.at)

    def decrypt(self, message: bytes) -> bytes:
        return self._gpg("--decrypt", "--skip-verify", data=message)

    def secret(self) -> bytes:
        """The secret key, armored, for another program of the same officer's."""
        return self._gpg("--armor", "--export-secret-keys")

    def close(self) -> None:
        run(["gpgconf", "--homedir", str(self.home), "--kill", "all"])

    def _gpg(self, *arguments: str, data: bytes = b"", at: datetime | None = None) -> bytes:
        clock = [f"--faked-system-time={int(at.timestamp())}!"] if at else []
        return gpg(self.home, *clock, *arguments, data=data)


class Sq(Program):
    """Sequoia's sq, with the arguments of version 0.27. The key is a file."""

    _ALGORITHMS: ClassVar[Mapping[str, str]] = {
        "cv25519": "cv25519",
        "rsa3072": "rsa3k",
        "rsa4096": "rsa4k",
    }

    def _generate(self, request: KeyRequest) -> bytes:
        suite = _choice(self._ALGORITHMS, request.algorithm)
        created = ["--creation-time", _iso(request.created)] if request.created else []
        expires = _iso(request.expires) if request.expires else "never"
        command = ["key", "generate", "-u", request.user_id, "-c", suite, "--expires", expires]
        run(["sq", *command, *created, "--export", self._key])
        return run(["sq", "key", "extract-cert", self._key])

    @property
    def _key(self) -> str:
        return str(self.home / "key.pgp")

    def sign(self, data: bytes, mode: str = "detached", how: How = USUAL) -> bytes:
        form = {"detached": ["--detached"], "inline": [], "clear": ["--cleartext-signature"]}[mode]
        clock = ["--time", _iso(how.at)] if how.at else []
        return run(["sq", "sign", *how.options, *clock, *form, "--signer-key", self._key], data)

    def encrypt(
        self, data: bytes, certificates: Sequence[bytes], sign: bool = False, how: How = USUAL
    ) -> bytes:
        clock = ["--time", _iso(how.at)] if how.at else []
        signing = ["--signer-key", self._key] if sign else []
        with _files(certificates) as paths:
            recipients = [word for path in paths for word in ("--recipient-cert", str(path))]
            return run(["sq", "encrypt", *how.options, *clock, *signing, *recipients], data)

    def decrypt(self, message: bytes) -> bytes:
        return run(["sq", "decrypt", "--recipient-key", self._key], message)


class Rnp(Program):
    """RNP, Thunderbird's library, through its command line."""

    # Answers to the questions of rnpkeys --expert.
    _ALGORITHMS: ClassVar[Mapping[str, bytes]] = {
        "cv25519": b"22\n",
        "rsa3072": b"1\n3072\n",
        "rsa4096": b"1\n4096\n",
        "nistp256": b"19\n1\n",
    }

    def _generate(self, request: KeyRequest) -> bytes:
        answers = _choice(self._ALGORITHMS, request.algorithm)
        expires = f"{request.expires:%Y-%m-%d}" if request.expires else "0"
        command = ["--generate-key", "--expert", "--userid", request.user_id, "--password", ""]
        clock = self._clock(request.created)
        self._keys(*command, "--expiration", expires, *clock, data=answers)
        return self._keys("--export-key", request.user_id)

    def sign(self, data: bytes, mode: str = "detached", how: How = USUAL) -> bytes:
        form = {
            "detached": ["--sign", "--detach", "--armor"],
            "inline": ["--sign", "--armor"],
            "clear": ["--clearsign"],
        }[mode]
        return self._rnp(
            *how.options, *self._clock(how.at), *form, "-u", self.fingerprint, data=data
        )

    def encrypt(
        self, data: bytes, certificates: Sequence[bytes], sign: bool = False, how: How = USUAL
    ) -> bytes:
        with _files(certificates) as paths:
            for path in paths:
                self._keys("--import-keys", str(path))
        recipients = [word for one in certificates for word in ("-r", fingerprint(one))]
        signing = ["--sign", "-u", self.fingerprint] if sign else []
        command = ["--encrypt", "--armor", *signing, *recipients]
        return self._rnp(*how.options, *self._clock(how.at), *command, data=data)

    def decrypt(self, message: bytes) -> bytes:
        # rnp exits with an error when it can't verify a signature, though it has decrypted.
        command = ["rnp", "--homedir", str(self.home), "--notty", "--decrypt", "--output", "-"]
        done = _execute(command, message)
        if not done.stdout:
            raise ProgramFailed(done.stderr.decode(errors="replace"))
        return done.stdout

    @staticmethod
    def _clock(at: datetime | None) -> list[str]:
        return ["--current-time", str(int(at.timestamp()))] if at else []

    def _keys(self, *arguments: str, data: bytes = b"") -> bytes:
        return run(["rnpkeys", "--homedir", str(self.home), *arguments], data)

    def _rnp(self, *arguments: str, data: bytes) -> bytes:
        command = ["rnp", "--homedir", str(self.home), "--password", "", *arguments]
        return run([*command, "--output", "-"], data)


class Sequoia(Program):
    """pysequoia, in this process: fast, and able to make keys that the others can't."""

    _ALGORITHMS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cv25519": {"cipher_suite": pysequoia.CipherSuite.Cv25519},
        "rsa3072": {"cipher_suite": pysequoia.CipherSuite.RSA3k},
        "nistp256": {"cipher_suite": pysequoia.CipherSuite.P256},
        "v6": {"profile": pysequoia.Profile.RFC9580},
        "v6-448": {
            "profile": pysequoia.Profile.RFC9580,
            "cipher_suite": pysequoia.CipherSuite.Cv448,
        },
        "v6-mlkem768": {
            "profile": pysequoia.Profile.RFC9580,
            "encryption_algorithm": pysequoia.EncryptionAlgorithm.MLKEM768_X25519,
        },
        "v6-mldsa65": {
            "profile": pysequoia.Profile.RFC9580,
            "cipher_suite": pysequoia.CipherSuite.MLDSA65_Ed25519,
        },
        "v6-mldsa87": {
            "profile": pysequoia.Profile.RFC9580,
            "cipher_suite": pysequoia.CipherSuite.MLDSA87_Ed448,
        },
    }

    def _generate(self, request: KeyRequest) -> bytes:
        options = _choice(self._ALGORITHMS, request.algorithm)
        if request.created is not None:
            raise Unsupported("pysequoia makes keys at the present time only")
        if request.expires is not None:
            lifetime = request.expires - datetime.now(UTC)
            options = {**options, "validity_seconds": int(lifetime.total_seconds())}
        self._key = pysequoia.Tsk.generate(request.user_id, **options)
        return str(self._key.extract_certificate()).encode()

    def sign(self, data: bytes, mode: str = "detached", how: How = USUAL) -> bytes:
        self._refuse(how)
        form = {
            "detached": pysequoia.SignatureMode.DETACHED,
            "inline": pysequoia.SignatureMode.INLINE,
            "clear": pysequoia.SignatureMode.CLEAR,
        }[mode]
        return bytes(pysequoia.sign(self._key.signer(), data, mode=form))

    def encrypt(
        self, data: bytes, certificates: Sequence[bytes], sign: bool = False, how: How = USUAL
    ) -> bytes:
        self._refuse(how)
        recipients = [pysequoia.Cert.from_bytes(one) for one in certificates]
        signer = self._key.signer() if sign else None
        return bytes(pysequoia.encrypt(data, recipients, signer))

    def decrypt(self, message: bytes) -> bytes:
        try:
            return bytes(pysequoia.decrypt(message, self._key.decryptor()).bytes or b"")
        except Exception as error:
            raise ProgramFailed(str(error)) from None

    @staticmethod
    def _refuse(how: How) -> None:
        if how != USUAL:
            raise Unsupported("pysequoia has no clock and no options to set")


PROGRAMS: Mapping[str, type[Program]] = {"gpg": Gpg, "sq": Sq, "rnp": Rnp, "sequoia": Sequoia}
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "gpg": ("gpg", "gpgconf"),
    "sq": ("sq",),
    "rnp": ("rnp", "rnpkeys"),
    "sequoia": (),
}


def start(program: str, home: Path, request: KeyRequest) -> Program:
    """A program with a new key in `home`. Raises ProgramMissing where it is not installed."""
    for command in COMMANDS[program]:
        if shutil.which(command) is None:
            raise ProgramMissing(f"{command} is not installed")
    return PROGRAMS[program](home, request)


def fingerprint(certificate: bytes) -> str:
    """Upper-case hex."""
    return str(pysequoia.Cert.from_bytes(certificate).fingerprint).upper()


def micalg(signature: bytes) -> str:
    """The MIME name of a signature's hash (RFC 3156 5)."""
    name = str(pysequoia.Sig.from_bytes(signature).hash_algorithm)
    return "pgp-" + name.rpartition(".")[2].lower()


def pkesk_key_ids(message: bytes) -> tuple[str, ...]:
    """Whom a message is encrypted to, in its order: key IDs, or fingerprints of version 6."""
    bodies = [packet.body for packet in PacketPile.from_bytes(message) if packet.tag == Tag.PKESK]
    # RFC 9580 5.1.1 and 5.1.2.
    names = [body[1:9] if body[0] == 3 else body[3 : 2 + body[1]] for body in bodies]
    return tuple(name.hex().upper() for name in names)


def verify_detached(data: bytes, signature: bytes, certificate: bytes) -> str | None:
    """GnuPG's verdict: fingerprint of the primary key that made a good signature, or None."""
    with _files([certificate, signature]) as (_, sig), _reader(certificate) as home:
        return _signer(home, ["--verify", str(sig), "-"], data)[0]


def verify_by_all(data: bytes, signature: bytes, certificates: Sequence[bytes]) -> tuple[str, ...]:
    """GnuPG's verdict on several signatures in one block: fingerprints of the primary keys that
    made them, in their order, where all are good; else none."""
    with (
        _files([*certificates, signature]) as files,
        TemporaryDirectory(prefix="pgp") as folder,
    ):
        home = Path(folder)
        gpg(home, "--no-autostart", "--import", *map(str, files[:-1]))
        return _signers(home, ["--verify", str(files[-1]), "-"], data)[0]


def verify_message(message: bytes, certificate: bytes) -> tuple[str | None, bytes]:
    """GnuPG's verdict on a one-pass or cleartext signed message, and what it says was signed."""
    with _reader(certificate) as home:
        return _signer(home, ["--decrypt"], message)


def _signer(home: Path, command: Sequence[str], data: bytes) -> tuple[str | None, bytes]:
    signers, output = _signers(home, command, data)
    return (signers[0] if len(signers) == 1 else None), output


def _signers(home: Path, command: Sequence[str], data: bytes) -> tuple[tuple[str, ...], bytes]:
    status = home / "status"
    arguments = [*_GPG, "--homedir", str(home), "--status-file", str(status), *command]
    done = _execute(arguments, data)
    lines = [line.split(" ") for line in status.read_text(errors="replace").split("\n")]
    valid = [line[-1] for line in lines if line[:2] == ["[GNUPG:]", "VALIDSIG"]]
    return (tuple(valid) if done.returncode == 0 else ()), done.stdout


_GPG = ("gpg", "--batch", "--no-tty", "--quiet", "--no-auto-key-retrieve", "--trust-model=always")


def gpg(home: Path, *arguments: str, data: bytes = b"") -> bytes:
    """Output of gpg on this home. Raises ProgramFailed."""
    return run([*_GPG, "--homedir", str(home), *arguments], data)


def run(command: Sequence[str], data: bytes = b"") -> bytes:
    """Output of a program. Raises ProgramFailed with what it said."""
    done = _execute(command, data)
    if done.returncode != 0:
        raise ProgramFailed(f"{command[0]}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def suspend(pid: int) -> None:
    """SIGSTOP, and wait until it has taken effect: each thread stops when it next runs."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def _execute(command: Sequence[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=120)


@contextmanager
def _reader(certificate: bytes) -> Iterator[Path]:
    """A GnuPG home, for as long as it takes, that knows this certificate alone."""
    with TemporaryDirectory(prefix="pgp") as folder:
        home = Path(folder)
        gpg(home, "--no-autostart", "--import", data=certificate)
        yield home


@contextmanager
def _files(contents: Sequence[bytes]) -> Iterator[list[Path]]:
    """Temporary files with these contents, in order."""
    with TemporaryDirectory(prefix="pgp") as folder:
        paths = [Path(folder) / str(number) for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        yield paths


def _choice(table: Mapping[str, _T], algorithm: str) -> _T:
    if algorithm not in table:
        raise Unsupported(f"no {algorithm} keys here; there are {', '.join(table)}")
    return table[algorithm]


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
