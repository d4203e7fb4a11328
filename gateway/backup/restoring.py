"""Restoring a gateway from a backup: all of it, or nothing that a command takes for a gateway.

The settings come into place last, when all else has been compared with what the backup says of
itself and is on the disk: without them there is no gateway in a state directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sqlalchemy import Table, insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from gateway import config as settings
from gateway.app import KEYRING, Clock, new_state
from gateway.backup import settling
from gateway.backup.form import Header, Reader, Shape
from gateway.backup.making import Progress
from gateway.backup.new_file import sync_folder
from gateway.config import ConfigError
from gateway.crypto.file_encryption import decrypting
from gateway.crypto.keyring import Keyring
from gateway.errors import Malformed, UsageError
from gateway.store import data_key, ledger, rows
from gateway.store.database import Database, newest_schema
from gateway.store.ledger import Verdict


@dataclass(frozen=True, slots=True)
class Restored:
    """header: what the backup says of itself. ledger: what came of verifying it. parked: copies and
    notices that wait for an administrator now. is_older: `environet upgrade` has to follow."""

    header: Header
    ledger: Verdict
    parked: int
    is_older: bool


@dataclass(frozen=True, slots=True)
class Source:
    """file: the backup. secret_key: file with the key that opens it, None for this user's own
    GnuPG home. database: URL of an empty one, in place of that in the backup's settings."""

    file: Path
    secret_key: Path | None = None
    database: str | None = None


def restore(
    state: Path, source: Source, clock: Clock, progress: Progress, *, moved: bool = False
) -> Restored:
    """Make a gateway of a backup, in a directory and a database that are empty. moved: the one
    that it was made of had stopped before, so that nothing was sent or taken since.

    Raises UsageError where one is not empty, Undecryptable and Malformed where the backup can't be
    opened or is damaged, and Unavailable; then there is nothing in the directory.
    """
    if source.database is not None and make_url(source.database).password is not None:
        raise UsageError("leave the password out of the URL: it belongs into ~/.pgpass")
    with new_state(state, "restore"), decrypting(source.file, source.secret_key) as decryption:
        try:
            reader = Reader(decryption.stream)
            text = _place_files(state, reader)
            if source.database is not None:
                text = settings.with_database(text, source.database)
            with closing(Database(settings.database_url(text), state)) as database:
                _prepare(database, reader.header)
                with database.transaction() as session:
                    tables = _fill(session, reader, progress)
                    reader.finish()
                    decryption.finish()
                    _check_keys(session, state)
                    verdict = ledger.verify(session)
                    parked = settling.settle(session, tables, reader.header, clock(), moved=moved)
                    rows.set_sequences(session, [*tables.values()])
        except (Malformed, ConfigError):
            decryption.finish()  # which knows the reason better, if it is one
            raise
        _finish(state, text)
    return Restored(reader.header, verdict, parked, reader.header.schema_version < newest_schema())


def _place_files(state: Path, reader: Reader) -> str:
    """All files but for the settings, whose text is returned."""
    text: str | None = None
    for name, content in reader.files():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise Malformed("the backup has a file that is outside of the state directory")
        if name == settings.FILE:
            text = _decoded(content)
            continue
        (state / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(state / path, content)
    if text is None:
        raise Malformed("the backup has no settings")
    return text


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Malformed("the backup has settings that are no text") from None


def _write(file: Path, content: bytes) -> None:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _prepare(database: Database, header: Header) -> None:
    if header.schema_version > newest_schema():
        raise UsageError(
            f"the backup is of a newer version ({header.schema_version}) than this program "
            f"({newest_schema()}): use the newer one"
        )
    if not database.is_empty():
        raise UsageError("the database is not empty; name an empty one with --database")
    database.migrate(header.schema_version)
    if database.schema() != header.schema_version:
        raise UsageError("the database was used by another version; name a new one with --database")


def _fill(session: Session, reader: Reader, progress: Progress) -> dict[str, Table]:
    tables = {one.name: one for one in rows.tables(session)}
    for shape in reader.header.tables:
        there = tables.get(shape.name)
        if there is None or {*shape.columns} != {*there.columns.keys()}:
            raise Malformed(f"the backup has another table {shape.name} than its version has")
        for batch in _batches(reader, shape):
            try:
                session.connection().execute(insert(there), batch)
            except (DataError, IntegrityError):
                raise Malformed(f"the backup has a row that {shape.name} does not take") from None
            progress(shape.name, len(batch), reader.header.rows)
    return tables


def _batches(reader: Reader, shape: Shape) -> Iterator[list[dict[str, object]]]:
    """Rows to be inserted at once: some, or one that is as large as a mail."""
    batch, size = list[dict[str, object]](), 0
    for row in reader.rows(shape):
        batch.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, bytes))
        if len(batch) == rows.BATCH_ROWS or size >= rows.BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check_keys(session: Session, state: Path) -> None:
    """Raises Undecryptable or Unavailable where what is sealed could not be opened."""
    with closing(Keyring(state / KEYRING)) as keyring:
        for sealed in data_key.messages(session).values():
            keyring.decrypt(sealed)


def _finish(state: Path, text: str) -> None:
    """The moment from which on there is a gateway."""
    unfinished = state / f"{settings.FILE}.new"
    _write(unfinished, text.encode())
    for folder in (state, *(one for one in state.rglob("*") if one.is_dir())):
        sync_folder(folder)
    unfinished.rename(state / settings.FILE)
    sync_folder(state)
