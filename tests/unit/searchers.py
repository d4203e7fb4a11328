"""A group with an archive to search, on either database, and what its members find."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from gateway.archive import indexing, searching
from gateway.archive.searching import Order, Results
from gateway.store import member
from tests import postgresql
from tests.unit.group import Group

ROLES = {"ana": (), "ben": (), "carla": (), "mo": ("moderator:B",), "ada": ("administrator",)}


@contextmanager
def group_on(kind: str, roles: Mapping[str, Sequence[str]] = ROLES) -> Iterator[Group]:
    """kind: "sqlite" or "postgresql"."""
    if kind == "sqlite":
        with Group(roles) as made:
            yield made
        return
    with postgresql.running_server() as server, pytest.MonkeyPatch.context() as patch:
        url = server.database("searched")
        patch.setenv("ENVIRONET_DATABASE_URL", url)
        with Group(roles, {"database.url": url}) as made:
            yield made


def index(group: Group) -> int:
    """All that waits; how many postings that is. One call does as much as fits into its time."""
    total = 0
    while indexing.due_count(group.app):
        total += indexing.run(group.app)
    return total


def results(group: Group, who: str, text: str, **how: object) -> Results:
    index(group)
    with group.app.database.reading() as session:
        reader = member.get(session, group.officers[who].address)
        return searching.search(session, group.app, reader, text, **how)  # type: ignore[arg-type]


def found(group: Group, who: str, text: str, order: Order = Order.NEWEST) -> list[str]:
    """Labels, in order."""
    return [one.label for one in results(group, who, text, order=order).hits]


def pdf(text: str) -> bytes:
    """A document of one page with one line of text."""
    return pdf_of(f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode())


def pdf_of(content: bytes, *, kids: str = "[4 0 R]") -> bytes:
    """kids: the pages that its tree refers to."""
    packed = zlib.compress(content)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids {kids} /Count 1 >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R "
        b"/Resources << /Font << /F1 3 0 R >> >> >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed),
    ]
    made, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % one for one in places)
    return (
        made
        + b"xref\n0 6\n0000000000 65535 f \n%strailer << /Size 6 /Root 1 0 R >>\n" % table
        + (b"startxref\n%d\n%%%%EOF\n" % len(made))
    )
