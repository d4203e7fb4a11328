"""Running gpg: one process a call, and what it said. The only module that imports gnupg."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, Self

import gnupg

from gateway.errors import Unavailable

# At debug level python-gnupg logs gpg's messages, with user IDs and file names; above it, faults
# that are all told again by the exceptions raised here.
logging.getLogger("gnupg").setLevel(logging.CRITICAL)

# timeout(1): 124 when time is up, 125 to 127 when the program can't be run, 128 and a signal.
_NOT_RUN: Final = 124
_NO_LOCK: Final = "gpg: can't allocate lock for "


class Answer:
    """What one gpg process gave, in the shape of python-gnupg's results.

    python-gnupg sets `stderr`, `returncode` and `data`, which stays empty: `take` has the output.
    """

    data = b""
    stderr = ""
    returncode: int | None = None

    def __init__(self, max_output: int | None) -> None:
        self._max_output = max_output
        self._output = BytesIO()
        self.overflowed = False

    def handle_status(self, keyword: str, value: str) -> None:
        """Nothing: python-gnupg ends a line at U+0085 too, so a sender could forge one."""

    def take(self, chunk: bytes) -> bool:
        """Keep a piece of output; False tells python-gnupg not to keep it as well."""
        size = self._output.tell() + len(chunk)
        self.overflowed |= self._max_output is not None and size > self._max_output
        if not self.overflowed:
            self._output.write(chunk)
        return False

    @property
    def output(self) -> bytes:
        return self._output.getvalue()

    @property
    def ran(self) -> bool:
        return self.returncode is not None and 0 <= self.returncode < _NOT_RUN

    def all(self, keyword: str) -> list[list[str]]:
        """The arguments of every status line with this keyword (GnuPG's doc/DETAILS)."""
        lines = (line.split() for line in self.stderr.split("\n"))
        return [line[2:] for line in lines if line[:2] == ["[GNUPG:]", keyword]]

    def has(self, *keywords: str) -> bool:
        return all(self.all(keyword) for keyword in keywords)

    @property
    def had_no_lock(self) -> bool:
        """Whether gpg could not write to its home, such as on a full disk. It goes on all the same,
        and its exit status is that of a fault whatever the message is."""
        return any(line.startswith(_NO_LOCK) for line in self.stderr.split("\n"))


class TimedGpg(gnupg.GPG):  # type: ignore[misc]
    """python-gnupg waits for gpg for ever; timeout(1) ends it."""

    def __init__(self, seconds: float, **options: Any) -> None:
        self._timeout = ["timeout", "--kill-after=5", str(seconds)]
        super().__init__(**options)

    def make_args(self, args: list[str], passphrase: bool) -> list[str]:
        return [*self._timeout, *super().make_args(args, passphrase)]

    def edit_key(self, command: str, fingerprint: str, *values: str) -> None:
        """Run one of gpg's --quick commands on a key, for which python-gnupg has no methods."""
        result = self.result_map["edit"](self)
        # What comes after the fingerprint is no option, also where it starts with a dash.
        done = subprocess.run(  # noqa: S603
            self.make_args([command, fingerprint, *values], False),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.env,
            check=False,
        )
        result.returncode = done.returncode


class PipedGpg:
    """One gpg process with what it reads and writes as streams; it ends with the block.

    home: path of a GnuPG home, None for this user's own, whose pinentry may ask on the terminal.
    stdin: a file, or subprocess.PIPE. Raises Unavailable where gpg can't be run.
    """

    def __init__(self, home: Path | None, words: Sequence[str], stdin: IO[bytes] | int) -> None:
        environment = dict(os.environ)
        with suppress(OSError):
            environment.setdefault("GPG_TTY", os.ttyname(2))
        where = [] if home is None else ["--homedir", str(home)]
        command = ["gpg", *where, "--status-fd", "2", *words]
        self._said = TemporaryFile()  # noqa: SIM115  closed with the block
        try:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=environment,
            )
        except OSError:
            self._said.close()
            raise Unavailable("gpg can't be run") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self.output, self._said):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    @property
    def input(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101  it was asked for
        return self._process.stdin

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout is not None  # noqa: S101  it was asked for
        return self._process.stdout

    def kill(self) -> None:
        self._process.kill()

    def answer(self) -> Answer:
        """What it said, once it has ended; its output must have been read."""
        answer = Answer(None)
        answer.returncode = self._process.wait()
        self._said.seek(0)
        answer.stderr = self._said.read().decode(errors="replace")
        return answer


def gpgconf(home: Path, *arguments: str) -> str:
    """What gpgconf says of this GnuPG home. Raises Unavailable."""
    command = ["gpgconf", "--homedir", str(home), *arguments]
    try:
        return subprocess.run(  # noqa: S603
            command, capture_output=True, check=True, text=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        raise Unavailable(f"gpgconf can't be run on the GnuPG home {home}") from None
