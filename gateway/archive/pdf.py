"""The text of a PDF. Runs in a process of its own (see `confined`)."""

from __future__ import annotations

import io

from gateway.archive.confined import load

MOST_BYTES = 20 << 20
MOST_PAGES = 500
MOST_CHARACTERS = 400_000


def prepare() -> None:
    """Load all of pypdf, which loads parts of itself where it needs them."""
    import pypdf

    load(pypdf)


def work(data: bytes) -> bytes:
    """What a PDF's pages say, UTF-8. Raises whatever pypdf does on a broken one."""
    from pypdf import PdfReader

    found: list[str] = []
    length = 0
    for page in PdfReader(io.BytesIO(data)).pages[:MOST_PAGES]:
        found.append(page.extract_text())
        length += len(found[-1])
        if length > MOST_CHARACTERS:
            break
    return "\n".join(found)[:MOST_CHARACTERS].encode("utf-8", "replace")
