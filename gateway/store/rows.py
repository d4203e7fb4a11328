"""All rows of a database, table by table, whatever version its schema has: to be kept elsewhere and
put back. The search index is left out: it is made anew from what is sealed."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from sqlalchemy import DateTime, LargeBinary, MetaData, Row, Table, event, func, inspect, select
from sqlalchemy.orm import Session

from gateway.store.database import UtcDateTime, is_kept

BATCH_BYTES = 8 * 2**20
"""So much of what is sealed, or one such value, is read at once."""
BATCH_ROWS = 500


def tables(session: Session) -> list[Table]:
    """Those that are there, each after those that it refers to."""
    connection = session.connection()
    names = [one for one in inspect(connection).get_table_names() if is_kept(one)]
    metadata = MetaData()
    event.listen(metadata, "column_reflect", _in_utc)
    metadata.reflect(connection, only=names)
    return metadata.sorted_tables


def _in_utc(_: object, __: object, column: Any) -> None:
    if isinstance(column["type"], DateTime):
        column["type"] = UtcDateTime()


def batches(session: Session, table: Table) -> Generator[list[Row[tuple[object, ...]]]]:
    """A table's rows, those that others refer to first. One is fetched at a time where it may be as
    large as a mail."""
    large = [at for at, one in enumerate(table.columns) if isinstance(one.type, LargeBinary)]
    query = select(table).order_by(*table.primary_key)
    options = {"yield_per": 1 if large else BATCH_ROWS}
    batch: list[Row[tuple[object, ...]]] = []
    size = 0
    with session.connection().execute(query, execution_options=options) as result:
        for row in result:
            batch.append(row)
            size += sum(len(row[at] or b"") for at in large)
            if len(batch) == BATCH_ROWS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def count(session: Session, table: Table) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def set_sequences(session: Session, filled: Sequence[Table]) -> None:
    """Rows came with their numbers, of which PostgreSQL's sequences know nothing."""
    if session.get_bind().dialect.name == "sqlite":
        return
    for table in filled:
        for column in table.primary_key:
            sequence = func.pg_get_serial_sequence(table.name, column.name)
            if session.scalar(select(sequence)) is None:
                continue
            highest = session.scalar(select(func.max(column)))
            session.execute(select(func.setval(sequence, highest or 1, highest is not None)))
