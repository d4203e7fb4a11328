"""A file that is there once all of it is on the disk, and not before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Self

from gateway.errors import Unavailable, UsageError


class NewFile:
    """Written under another name (with `.part`), mode 0600, it gets its own at the block's end, and
    is removed where the block fails. size: bytes so far.

    Raises UsageError where there is one of its name, and Unavailable where it can't be written.
    """

    def __init__(self, file: Path) -> None:
        if file.exists():
            raise UsageError(f"{file} is there already")
        self._file = file
        self._unfinished = file.with_name(file.name + ".part")
        self._hash = sha256()
        self.size = 0

    def __enter__(self) -> Self:
        with self._judged():
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            self._stream = os.fdopen(os.open(self._unfinished, flags, 0o600), "wb")
        return self

    def write(self, data: bytes) -> None:
        with self._judged():
            self._stream.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self._judged():
                    self._stream.flush()
                    os.fsync(self._stream.fileno())
                    self._unfinished.rename(self._file)
                    sync_folder(self._file.parent)
        finally:
            with suppress(OSError):  # where the disk is full still
                self._stream.close()
            self._unfinished.unlink(missing_ok=True)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(f"{self._file} can't be written: {error.strerror}") from None


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
