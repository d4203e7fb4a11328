"""A file of any size encrypted to a certificate, and decrypted, by gpg through pipes.

Neither end has more of it in memory than a pipe holds, and nothing of it in the clear on a disk.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import IO, Final

from gateway.crypto.certificate import Certificate, encryption_fault, read
from gateway.crypto.gpg_process import PipedGpg, gpgconf
from gateway.errors import BadCertificate, Unavailable, Undecryptable, UsageError

_VERSION: Final = 4
_CHUNK: Final = 2**18
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  a folder of this user's own is made in it
_ALONE: Final = ("--no-options", "--batch", "--no-tty", "--quiet")


def recipient(file: Path, now: datetime) -> Certificate:
    """The certificate in a file, which gpg can encrypt to. Raises UsageError."""
    try:
        certificate = read(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except BadCertificate as error:
        raise UsageError(f"{file}: {error}") from None
    fault = encryption_fault(certificate, now)
    if certificate.version != _VERSION:
        fault = f"gpg can't encrypt to keys of version {certificate.version}."
    if fault is not None:
        raise UsageError(f"{file}: {fault}")
    return certificate


@contextmanager
def encrypting(to: Certificate, write: Callable[[bytes], object]) -> Iterator[IO[bytes]]:
    """A stream: what is written to it is handed to `write` as one OpenPGP message (RFC 9580 10.3),
    of which all is handed on once the block has ended.

    Raises Unavailable where gpg fails, and what `write` raises.
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="environet-")))
        file = home / "recipient"
        file.write_bytes(to.data)
        # Sealed content can't be compressed; trying takes ten times as long.
        words = [*_ALONE, "--no-autostart", "--trust-model", "always", "--compress-algo", "none",
                 "--recipient-file", str(file), "--encrypt"]  # fmt: skip
        gpg = stack.enter_context(PipedGpg(home, words, stdin=subprocess.PIPE))
        pump = _Pump(gpg.output, write, gpg.kill)
        pump.start()
        try:
            yield gpg.input
            gpg.input.close()
        except BrokenPipeError:
            gpg.kill()  # it has ended: the reason is what the pump met, or what gpg says
        except BaseException:
            gpg.kill()
            raise
        finally:
            pump.join()
        if pump.met is not None:
            raise pump.met
        answer = gpg.answer()
        if answer.returncode != 0 or not answer.has("END_ENCRYPTION"):
            raise Unavailable(f"gpg can't encrypt to {to.fingerprint}")


class _Pump(Thread):
    """Hands on what gpg writes. met: the fault that ended it, and gpg."""

    def __init__(
        self, stream: IO[bytes], write: Callable[[bytes], object], kill: Callable[[], None]
    ) -> None:
        super().__init__(name="encrypted")
        self._stream, self._write, self._kill = stream, write, kill
        self.met: Exception | None = None

    def run(self) -> None:
        try:
            while chunk := self._stream.read(_CHUNK):
                self._write(chunk)
        except Exception as error:
            self.met = error
            self._kill()


class Decryption:
    """stream: what was encrypted; none of it is proven until `finish` has returned."""

    def __init__(self, gpg: PipedGpg, file: Path) -> None:
        self._gpg, self._file = gpg, file
        self.stream = gpg.output

    def finish(self) -> None:
        """Read on to the end. Raises Undecryptable where the file can't be opened, was changed
        after it was made, or is cut off."""
        while self.stream.read(_CHUNK):
            pass
        answer = self._gpg.answer()
        if answer.returncode == 0 and answer.has("DECRYPTION_OKAY", "GOODMDC"):
            return
        if answer.has("DECRYPTION_KEY"):
            raise Undecryptable(f"{self._file} is damaged: it was changed, or is cut off")
        if answer.has("ENC_TO"):
            names = ", ".join(line[0] for line in answer.all("ENC_TO"))
            raise Undecryptable(
                f"{self._file} is encrypted to {names}: no key here opens it, or its passphrase is "
                "another"
            )
        raise Undecryptable(f"{self._file} is not an encrypted file")


@contextmanager
def decrypting(file: Path, secret_key: Path | None) -> Iterator[Decryption]:
    """secret_key: file with the one to use, armored or binary; None for those of this user's own
    GnuPG home, where gpg may ask for a passphrase as it always does.

    Raises UsageError where one of the files can't be read or has no secret key.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(_opened(file))
        if secret_key is None:
            gpg = PipedGpg(None, ["--decrypt"], stdin=stream)
        else:
            home = stack.enter_context(_home_with(secret_key))
            # gpg asks for a passphrase itself, on the terminal, and not through a pinentry.
            words = ["--no-options", "--pinentry-mode", "loopback", "--decrypt"]
            gpg = PipedGpg(home, words, stdin=stream)
        yield Decryption(stack.enter_context(gpg), file)


@contextmanager
def _home_with(secret_key: Path) -> Iterator[Path]:
    """A GnuPG home with one secret key, in memory where there is such a folder."""
    place = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="environet-", dir=place) as folder, _opened(secret_key) as key:
        home = Path(folder)
        try:
            with PipedGpg(home, [*_ALONE, "--import"], stdin=key) as gpg:
                answer = gpg.answer()
            counts = answer.all("IMPORT_RES")  # of them, the tenth: secret keys read
            if not counts or int(counts[-1][9]) == 0:
                raise UsageError(f"{secret_key} has no secret key")
            yield home
        finally:
            with suppress(Unavailable):
                gpgconf(home, "--kill", "all")


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    try:
        stream = file.open("rb")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    with stream:
        yield stream
