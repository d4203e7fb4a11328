"""A GnuPG home as files, which gpg changes without care for readers, other writers and power cuts.

It writes a new keybox, renames the old one to a backup and then the new one into its place: in
between there is none, and nothing waits for the disk.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.errors import Unavailable

_KEYBOX: Final = "pubring.kbx"
_PASSING: Final = re.compile(r"\..*|.*(~|\.lock|\.tmp)|random_seed|trustdb\.gpg|tofu\.db.*")
# What gpg makes where it finds no keybox: a header without keys.
_EMPTY_BYTES: Final = 32


def keybox(home: Path) -> tuple[int, int, int] | None:
    """Which keybox is there, None for none: it is another one after each change."""
    try:
        found = (home / _KEYBOX).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def changing(home: Path) -> Iterator[None]:
    """While the keys are changed: alone, from a whole keybox, and on the disk once it is done.

    Raises Unavailable where the home is not there or can't be written.
    """
    try:
        with _locked(home, fcntl.LOCK_EX):
            _mend(home)
            before = _stamps(home)
            yield
            # Not all of it each time: a home has several files for each key.
            for path, stamp in _stamps(home).items():
                if before.get(path) != stamp:
                    with suppress(FileNotFoundError):
                        _fsync(path)
    except OSError:
        raise Unavailable(f"the GnuPG home {home} can't be changed") from None


def mend(home: Path) -> None:
    """Put the keybox back where a change was cut off, unless one is going on. Raises Unavailable.

    It has to come before gpg changes anything, which would make an empty keybox its backup.
    """
    try:
        with _locked(home, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _mend(home)
    except BlockingIOError:
        return
    except OSError:
        raise Unavailable(f"the GnuPG home {home} can't be used") from None


def files(home: Path) -> dict[str, bytes]:
    """All that a home keeps, by its path inside: of one moment, between two changes of the keys.

    Without locks, sockets, what gpg makes by itself, and what a change that was cut off has left.
    Raises Unavailable where the home can't be read.
    """
    try:
        with _locked(home, fcntl.LOCK_EX):
            _mend(home)
            return {
                str(path.relative_to(home)): path.read_bytes()
                for path in sorted(_stamps(home))
                if path.is_file() and not _PASSING.fullmatch(path.name)
            }
    except OSError:
        raise Unavailable(f"the GnuPG home {home} can't be read") from None


@contextmanager
def _locked(home: Path, operation: int) -> Iterator[None]:
    descriptor = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _mend(home: Path) -> None:
    found, backup = home / _KEYBOX, home / f"{_KEYBOX}~"
    if _size(found) <= _EMPTY_BYTES < _size(backup):
        backup.replace(found)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _stamps(home: Path) -> dict[Path, tuple[int, int, int]]:
    """Each file and folder -> what changes when it does."""
    stamps = {}
    for path in (home, *home.rglob("*")):
        # gpg's locks and temporary files may be gone by now.
        with suppress(FileNotFoundError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
                stamps[path] = (found.st_ino, found.st_mtime_ns, found.st_size)
    return stamps


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
