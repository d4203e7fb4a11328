"""Making a backup of a gateway, which may run meanwhile: one file, encrypted to its administrators.

All rows are of one moment. Then come the keys: one is in the GnuPG home before a row names it, and
is never deleted, so there is none missing. Nothing lies on a disk in the clear on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Column, LargeBinary, Table
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.backup import kept
from gateway.backup.form import FORMAT, MOMENT, OCTETS, PLAIN, Header, Shape, Writer
from gateway.backup.new_file import NewFile
from gateway.crypto import file_encryption
from gateway.errors import UsageError
from gateway.store import ledger, rows
from gateway.store.actor import OPERATOR
from gateway.store.database import UtcDateTime, schema_of

Progress = Callable[[str, int, int], None]
"""Told a table's name, how many of its rows were done since it was last told, and how many rows
there are in all."""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup's file. size: bytes; sha256: of the file; to: fingerprint that it is encrypted to;
    entries, head: of the ledger in it."""

    file: Path
    size: int
    sha256: str
    to: str
    entries: int
    head: str


def make(app: App, file: Path, progress: Progress) -> Made:
    """Write a backup to a new file, of which there is nothing before it is whole and on the disk.

    Raises UsageError where the file is there already or no certificate serves, and Unavailable
    where the database does not serve, the disk is full, or gpg fails.
    """
    chosen = app.config.backup.certificate
    if not chosen:
        raise UsageError(
            "set backup.certificate to a file with the administrators' OpenPGP certificate: "
            "see docs/backup.md"
        )
    to = file_encryption.recipient(app.state / chosen, app.clock())
    with NewFile(file) as out, file_encryption.encrypting(to, out.write) as clear:
        header = _write(app, clear, progress)
    made = Made(file, out.size, out.sha256, to.fingerprint, header.entries, header.head)
    with app.database.transaction() as session:
        ledger.enter(
            session, app.clock(), "backed-up",
            size=made.size, sha256=made.sha256, key=made.to, by=OPERATOR.ledger,
        )  # fmt: skip
    return made


def _write(app: App, clear: IO[bytes], progress: Progress) -> Header:
    with app.database.reading(snapshot=True) as session:
        tables = rows.tables(session)
        header = _header(app, session, tables)
        with Writer(clear, header) as writer:
            for path, content in kept.files(app.state, app.config):
                writer.add_file(path, content)
            for table, shape in zip(tables, header.tables, strict=True):
                writer.add_rows(shape, _each(session, table, header, progress))
    return header


def _header(app: App, session: Session, tables: Sequence[Table]) -> Header:
    schema = schema_of(session)
    if schema is None:
        raise UsageError("the database is empty: there is nothing to keep")
    head = ledger.head(session)
    return Header(
        format=FORMAT,
        made_at=app.clock(),
        domain=app.config.domain,
        program=version("environet-gateway"),
        schema_version=schema,
        entries=head.sequence,
        head=head.hash,
        tables=tuple(_shape(session, one) for one in tables),
    )


def _shape(session: Session, table: Table) -> Shape:
    columns = {one.name: _kind(one) for one in table.columns}
    return Shape(name=table.name, columns=columns, rows=rows.count(session, table))


def _kind(column: Column[Any]) -> str:
    if isinstance(column.type, LargeBinary):
        return OCTETS
    return MOMENT if isinstance(column.type, UtcDateTime) else PLAIN


def _each(
    session: Session, table: Table, header: Header, progress: Progress
) -> Iterator[Sequence[object]]:
    for batch in rows.batches(session, table):
        yield from batch
        progress(table.name, len(batch), header.rows)
