"""Handing finished copies into Maildirs, one for each recipient, instead of to a mail server.

For a machine whose readers' mailboxes lie beside the gateway, and for trials. Line ends become LF:
that is how Maildir readers (mutt, Dovecot, notmuch) and every local delivery agent keep mail.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

from gateway.delivery.handoff import (
    Copies,
    Copy,
    GroupCommit,
    Live,
    Lost,
    Outcome,
    Record,
    Supply,
    always,
    one_line,
    share,
)


class MaildirHandoff:
    """DIR/RECIPIENT/{tmp,new,cur}; a copy is sent when file and directory are on the disk."""

    def __init__(self, root: Path, hostname: str, *, writers: int = 4) -> None:
        self._root = root
        self._hostname = hostname
        self._writers = writers

    async def deliver(self, copies: Copies, record: Record, live: Live = always) -> None:
        await share(copies, record, live, self._lane, self._writers)

    async def check(self) -> None:
        """A folder is there, or is made."""

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _lane(self, supply: Supply, commit: GroupCommit) -> Lost | None:
        while (copy := await supply.take()) is not None:
            await commit(await asyncio.to_thread(self._store, copy))
        return None

    def _store(self, copy: Copy) -> Outcome:
        try:
            maildir = _maildir(self._root, copy.recipient)
            # The id alone could come again, after a backup was restored or with a new gateway.
            name = ".".join(filter(None, (str(copy.id), copy.token, "environet", self._hostname)))
            _store(maildir, name, copy.parts)
        except OSError as error:
            return Outcome(copy.id, "deferred", None, one_line(f"Maildir: {error.strerror}"))
        return Outcome(copy.id, "sent", None, "stored in a Maildir")


def folder_name(recipient: str) -> str:
    """The address as a file name that can be read back: what is unsafe is percent-encoded."""
    name = quote(recipient, safe="@+=")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def _maildir(root: Path, recipient: str) -> Path:
    maildir = root / folder_name(recipient)
    if not (maildir / "cur").is_dir():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # cur last: it tells that the others are there
        for directory in (maildir, maildir / "tmp", maildir / "new", maildir / "cur"):
            directory.mkdir(mode=0o700, exist_ok=True)
        for directory in (maildir, root, root.parent):
            _sync(directory)
    return maildir


def _store(maildir: Path, name: str, parts: tuple[bytes, ...]) -> None:
    """Write a mail so that a repeat after a crash overwrites it, and leaves a read one alone.

    The name depends on the outbox row alone; a reader moves it to cur/ and appends flags after
    ":", or what it keeps with the name after ",".
    """
    seen = os.listdir(maildir / "cur")
    if any(entry.startswith((f"{name}:", f"{name},")) or entry == name for entry in seen):
        return
    written = maildir / "tmp" / name
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(b"".join(parts).replace(b"\r\n", b"\n"))
            file.flush()
            os.fsync(file.fileno())
        written.rename(maildir / "new" / name)
    except OSError:
        written.unlink(missing_ok=True)
        raise
    _sync(maildir / "new")


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
