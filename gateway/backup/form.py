"""What is in a backup, once it is decrypted: a tar archive (POSIX.1-2001), which tar lists too.

`backup.json` comes first and says what there is; then the files of the state directory, under
`state/`; then the rows of each table, in parts of some megabytes, under `database/TABLE/`; at last
`manifest.json`, with the size and SHA-256 of each file and of each table's parts one after the
other. A row is a line of JSON, an array in the order of its table's columns, with the size of what
is octets in its place; then these octets.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from typing import IO, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import Malformed

FORMAT: Final = 1
STATE: Final = "state/"
DATABASE: Final = "database/"
PLAIN: Final = "plain"
MOMENT: Final = "moment"
OCTETS: Final = "octets"
PART_BYTES: Final = 4 * 2**20
_HEADER: Final = "backup.json"
_MANIFEST: Final = "manifest.json"
_BUFFER: Final = 2**16
_DAMAGED: Final = "the backup is damaged or not whole"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shape(_Frozen):
    """A table. columns: name -> PLAIN, MOMENT (ISO 8601) or OCTETS."""

    name: str
    columns: dict[str, str]
    rows: int


class Header(_Frozen):
    """made_at: moment that the rows are of. program: version. schema_version: the database's.
    entries, head: of the ledger. tables: each after those that it refers to."""

    format: int
    made_at: datetime
    domain: str
    program: str
    schema_version: str = Field(pattern=r"^[0-9]{4}$")
    entries: int
    head: str
    tables: tuple[Shape, ...]

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.tables)


class Sums:
    """Size and SHA-256 of what is written or read, by name."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._hashes: dict[str, Any] = {}

    def add(self, name: str, data: bytes) -> None:
        self._sizes[name] = self._sizes.get(name, 0) + len(data)
        self._hashes.setdefault(name, sha256()).update(data)

    def found(self) -> dict[str, dict[str, int | str]]:
        return {
            name: {"bytes": size, "sha256": self._hashes[name].hexdigest()}
            for name, size in self._sizes.items()
        }


class Writer:
    """Writes a backup to a stream, which is whole once the block has ended."""

    def __init__(self, stream: IO[bytes], header: Header) -> None:
        self._tar = tarfile.open(  # noqa: SIM115  closed with the block
            mode="w|", fileobj=stream, format=tarfile.PAX_FORMAT, bufsize=_BUFFER
        )
        self._sums = Sums()
        self._modified = int(header.made_at.timestamp())
        self._add(_HEADER, _HEADER, [header.model_dump_json().encode()])

    def add_file(self, path: str, content: bytes) -> None:
        """path: inside the state directory."""
        self._add(STATE + path, STATE + path, [content])

    def add_rows(self, shape: Shape, rows: Iterable[Sequence[object]]) -> None:
        number, size, part = 1, 0, list[bytes]()
        for row in rows:
            pieces = _written(row)
            part += pieces
            size += sum(map(len, pieces))
            if size >= PART_BYTES:
                self._add(f"{DATABASE}{shape.name}/{number}", DATABASE + shape.name, part)
                number, size, part = number + 1, 0, []
        self._add(f"{DATABASE}{shape.name}/{number}", DATABASE + shape.name, part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._add(_MANIFEST, _MANIFEST, [json.dumps(self._sums.found(), indent=1).encode()])
            self._tar.close()
        elif self._tar.fileobj is not None:
            # Or it writes what it has still when it is collected, to a stream that is gone.
            with suppress(OSError, ValueError):
                self._tar.fileobj.close()

    def _add(self, path: str, name: str, pieces: Sequence[bytes]) -> None:
        content = b"".join(pieces)
        self._sums.add(name, content)
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode, entry.mtime = len(content), 0o600, self._modified
        self._tar.addfile(entry, BytesIO(content))


class Reader:
    """Reads a backup from a stream, in its order: `header`, then all of `files`, then the rows of
    each table, then `finish`. Each raises Malformed; nothing is proven before the last."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._sums = Sums()
        with _judged():
            self._tar = tarfile.open(  # noqa: SIM115  the stream is closed by who opened it
                mode="r|", fileobj=stream, bufsize=_BUFFER
            )
            self._entry = self._tar.next()
            written = self._taken(_HEADER, _HEADER)
            if json.loads(written)["format"] != FORMAT:
                raise Malformed("the backup is of a newer version: use the newer program")
            self.header = Header.model_validate_json(written)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """(path inside the state directory, content)."""
        with _judged():
            while self._is_in(STATE):
                path = self._path
                yield path.removeprefix(STATE), self._taken(path, path)

    def rows(self, shape: Shape) -> Iterator[dict[str, object]]:
        """A table's rows by column."""
        name, count = DATABASE + shape.name, 0
        self._sums.add(name, b"")  # one without rows has a sum too
        with _judged():
            while self._is_in(name + "/"):
                with self._opened() as stream:
                    while line := stream.readline():
                        self._sums.add(name, line)
                        yield self._read(name, shape, line, stream)
                        count += 1
            if count != shape.rows:
                raise Malformed(_DAMAGED)

    def finish(self) -> None:
        found = self._sums.found()
        with _judged():
            written = json.loads(self._taken(_MANIFEST, _MANIFEST))
        if written != found or self._entry is not None:
            raise Malformed(_DAMAGED)

    def _read(self, name: str, shape: Shape, line: bytes, stream: IO[bytes]) -> dict[str, object]:
        row: dict[str, object] = {}
        for (column, kind), value in zip(shape.columns.items(), json.loads(line), strict=True):
            if value is None or kind == PLAIN:
                row[column] = value
            elif kind == MOMENT:
                row[column] = datetime.fromisoformat(value)
            else:
                octets = stream.read(value)
                self._sums.add(name, octets)
                row[column] = octets
        return row

    @property
    def _path(self) -> str:
        return "" if self._entry is None else self._entry.name

    def _is_in(self, folder: str) -> bool:
        return self._path.startswith(folder)

    def _taken(self, path: str, name: str) -> bytes:
        if self._path != path:
            raise Malformed(_DAMAGED)
        with self._opened() as stream:
            content = stream.read()
        self._sums.add(name, content)
        return content

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        """The content of the entry that it is at; it goes on to the next one after that."""
        stream = None if self._entry is None else self._tar.extractfile(self._entry)
        if stream is None:
            raise Malformed(_DAMAGED)
        yield stream
        self._entry = self._tar.next()


def _written(row: Sequence[object]) -> list[bytes]:
    line: list[object] = []
    octets: list[bytes] = []
    for value in row:
        if isinstance(value, bytes):
            line.append(len(value))
            octets.append(value)
        elif isinstance(value, datetime):
            line.append(value.isoformat())
        else:
            line.append(value)
    return [json.dumps(line, ensure_ascii=False).encode() + b"\n", *octets]


@contextmanager
def _judged() -> Iterator[None]:
    """What is amiss with what is read, as Malformed."""
    try:
        yield
    except (tarfile.TarError, ValidationError, ValueError, TypeError, KeyError):
        raise Malformed(_DAMAGED) from None
